//! With which keys a user may publish to topic exchanges and bind to them.

use leveret_protocol::amqp091::method::{QueueBindOk, QueueDeclare, TxCommit, TxSelect};
use leveret_testkit::amqp091::{Channel, queue_bind};
use leveret_testkit::broker;
use leveret_testkit::users::Permissions;

use crate::access::Right::{Read, Write};
use crate::access::{Bench, outcome, refused};
use crate::copies::{copies, with_headers};
use crate::exchanges::{self, lasting};
use crate::queues::{self, shared};
use crate::traffic::drain;

/// A vhost with a user that may do anything there, a queue `q`, and exchanges of all types, each named for its own.
#[track_caller]
fn bench() -> Bench {
    let bench = Bench::with(Permissions::ALL);
    let owner = bench.owner.channel();
    queues::declare(&owner, &shared("q"));
    for kind in ["direct", "fanout", "headers", "topic"] {
        exchanges::declare(&owner, &lasting(kind, kind));
    }
    exchanges::declare(&owner, &lasting("other", "topic"));
    bench
}

type Send = fn(&Channel, &str, &str);

/// The methods that name a source of bindings.
const BINDING: [(&str, (u16, u16), Send); 4] = [
    ("queue.bind", (50, 20), |channel, source, key| channel.send(&queue_bind("q", source, key))),
    ("queue.unbind", (50, 50), |channel, source, key| channel.send(&queues::unbind("q", source, key))),
    ("exchange.bind", (40, 30), |channel, source, key| channel.send(&exchanges::bind("direct", source, key))),
    ("exchange.unbind", (40, 40), |channel, source, key| channel.send(&exchanges::unbind("direct", source, key))),
];

#[test]
fn a_user_of_whom_no_topics_are_said_has_all() {
    let bench = bench();
    bench.user.set_topic_permissions(bench.vhost.name(), "other", "^$", "^$");
    bench.outcome(|channel| channel.publish("topic", "any.key", b"")).assert_allowed("publish");
    for (name, _, send) in BINDING {
        bench.outcome(|channel| send(channel, "topic", "any.key")).assert_allowed(name);
    }
}

#[test]
fn routing_keys_take_the_right_to_write() {
    let bench = bench();
    bench.user.set_topic_permissions(bench.vhost.name(), "topic", "^w", "^r");
    for (key, allowed) in [("w", true), ("w.a", true), ("r", false), ("x.w", false), ("", false), ("W", false)] {
        let got = bench.outcome(|channel| channel.publish("topic", key, b""));
        if allowed {
            got.assert_allowed(key);
        } else {
            got.assert_refused(&bench.no_topic_access(Write, "topic", key).blaming((60, 40)), key);
        }
    }
}

#[test]
fn binding_keys_take_the_right_to_read() {
    let bench = bench();
    bench.user.set_topic_permissions(bench.vhost.name(), "topic", "^w", "^r");
    for (name, ids, send) in BINDING {
        for (key, allowed) in [("r", true), ("r.#", true), ("w", false), ("#", false), ("", false), ("*.r", false)] {
            let got = bench.outcome(|channel| send(channel, "topic", key));
            let case = format!("{name} {key}");
            if allowed {
                got.assert_allowed(&case);
            } else {
                got.assert_refused(&bench.no_topic_access(Read, "topic", key).blaming(ids), &case);
            }
        }
    }
}

#[test]
fn topics_are_those_of_the_exchange_that_bindings_come_from() {
    let bench = bench();
    bench.user.set_topic_permissions(bench.vhost.name(), "topic", "", "");
    for source in ["other", "direct"] {
        bench.outcome(|channel| channel.send(&exchanges::bind("topic", source, "key"))).assert_allowed(source);
        bench.outcome(|channel| channel.publish(source, "key", b"")).assert_allowed(source);
    }
}

#[test]
fn exchanges_of_other_types_have_no_topics() {
    let bench = bench();
    for kind in ["direct", "fanout", "headers"] {
        bench.user.set_topic_permissions(bench.vhost.name(), kind, "^w", "^r");
        bench.outcome(|channel| channel.publish(kind, "key", b"")).assert_allowed(kind);
        bench.outcome(|channel| channel.send(&queue_bind("q", kind, "key"))).assert_allowed(kind);
    }
    bench.outcome(|channel| channel.publish("", "q", b"")).assert_allowed("default");
}

#[test]
fn the_pre_declared_topic_exchange_has_topics_too() {
    let bench = bench();
    bench.user.set_topic_permissions(bench.vhost.name(), "amq.topic", "^w", "^r");
    bench.outcome(|channel| channel.publish("amq.topic", "w", b"")).assert_allowed("w");
    let refusal = bench.no_topic_access(Write, "amq.topic", "x");
    bench.outcome(|channel| channel.publish("amq.topic", "x", b"")).assert_refused(&refusal, "x");
}

#[test]
fn topic_permissions_do_not_make_up_for_missing_rights() {
    let bench = bench();
    let vhost = bench.vhost.name();
    bench.user.set_topic_permissions(vhost, "topic", ".*", ".*");
    bench.user.set_permissions(vhost, Permissions { configure: "", write: "^q$", read: "" });
    let connection = bench.user.open(vhost);
    let check = |send: &dyn Fn(&Channel)| {
        let channel = connection.channel();
        send(&channel);
        outcome(&channel)
    };
    check(&|channel| channel.publish("topic", "k", b""))
        .assert_refused(&bench.no_exchange_access(Write, "topic"), "publish");
    check(&|channel| channel.send(&queue_bind("q", "topic", "k")))
        .assert_refused(&bench.no_exchange_access(Read, "topic"), "bind");
}

#[test]
fn copies_take_the_right_to_their_keys() {
    let bench = bench();
    bench.user.set_topic_permissions(bench.vhost.name(), "topic", "^w", "^r");
    let owner = bench.owner.channel();
    for key in ["w.copy", "copy"] {
        let _: QueueBindOk = owner.call(&queue_bind("q", "topic", key));
    }
    let not_looked_at = broker::differs("the keys of copies are not looked at");
    for header in ["CC", "BCC"] {
        let publish = |key: &str, copy: &str| {
            let properties = with_headers(copies(header, &["w.other", copy]));
            bench.outcome(|channel| channel.publish_with("topic", key, &properties, copy.as_bytes()))
        };
        publish("w", "w.copy").assert_allowed(header);
        assert_eq!(drain(&owner, "q"), ["w.copy"], "{header}");
        if not_looked_at {
            publish("w", "copy").assert_allowed(header);
            assert_eq!(drain(&owner, "q"), ["copy"], "{header}");
        } else {
            let refusal = bench.no_topic_access(Write, "topic", "copy");
            publish("w", "copy").assert_refused(&refusal, header);
            assert!(drain(&owner, "q").is_empty(), "{header}");
        }
        // The key of the method itself comes first.
        publish("x", "copy").assert_refused(&bench.no_topic_access(Write, "topic", "x"), header);
    }
}

#[test]
fn an_empty_binding_key_of_the_last_queue_is_its_name() {
    let bench = bench();
    bench.user.set_topic_permissions(bench.vhost.name(), "topic", "", "^r");
    let bind = |queue: &'static str| {
        bench.outcome(|channel| {
            channel.send(&QueueDeclare { exclusive: true, ..shared(queue) });
            channel.send(&queue_bind("", "topic", ""));
        })
    };
    bind("read").assert_allowed("read");
    bind("none").assert_refused(&bench.no_topic_access(Read, "topic", "none"), "none");
}

#[test]
fn a_topic_comes_before_a_missing_queue_and_after_a_missing_exchange() {
    let bench = bench();
    let vhost = bench.vhost.name();
    bench.user.set_topic_permissions(vhost, "topic", "^w", "^r");
    bench.user.set_topic_permissions(vhost, "missing", "^w", "^r");
    let bind = |queue: &str, exchange: &str, key: &str| {
        let (queue, exchange, key) = (queue.to_owned(), exchange.to_owned(), key.to_owned());
        bench.outcome(move |channel| channel.send(&queue_bind(&queue, &exchange, &key)))
    };
    bind("missing", "topic", "x").assert_refused(&bench.no_topic_access(Read, "topic", "x"), "topic");
    let text = format!("NOT_FOUND - no queue 'missing' in vhost '{vhost}'");
    bind("missing", "topic", "r").assert_refused(&refused(404, &text), "queue");
    let text = format!("NOT_FOUND - no exchange 'missing' in vhost '{vhost}'");
    bind("q", "missing", "x").assert_refused(&refused(404, &text), "exchange");
}

#[test]
fn variables_in_topics_stand_for_the_user_and_the_vhost() {
    let bench = bench();
    let (user, vhost) = (bench.user.name(), bench.vhost.name());
    bench.user.set_topic_permissions(vhost, "topic", "^{username}$", "^{vhost}/{username}$");
    bench.outcome(|channel| channel.publish("topic", user, b"")).assert_allowed("user");
    bench
        .outcome(|channel| channel.publish("topic", "{username}", b""))
        .assert_refused(&bench.no_topic_access(Write, "topic", "{username}"), "the variable itself");
    let both = format!("{vhost}/{user}");
    bench.outcome(|channel| channel.send(&queue_bind("q", "topic", &both))).assert_allowed("both");
    bench
        .outcome(|channel| channel.send(&queue_bind("q", "topic", vhost)))
        .assert_refused(&bench.no_topic_access(Read, "topic", vhost), "vhost");
    // What stands for the user is no pattern.
    if !broker::differs("a dot in a user's name matches anything") {
        let other = user.replace('.', "x");
        bench
            .outcome(|channel| channel.publish("topic", &other, b""))
            .assert_refused(&bench.no_topic_access(Write, "topic", &other), "dots");
    }
}

#[test]
fn a_variable_that_stands_for_nothing_is_its_own_name() {
    let bench = bench();
    bench.user.set_topic_permissions(bench.vhost.name(), "topic", "^{other}$", "^[{]client_id[}]$");
    bench.outcome(|channel| channel.publish("topic", "{other}", b"")).assert_allowed("other");
    bench.outcome(|channel| channel.send(&queue_bind("q", "topic", "{client_id}"))).assert_allowed("client_id");
}

#[test]
fn a_publish_without_its_topic_costs_confirm_channels_and_transactions_too() {
    let bench = bench();
    bench.user.set_topic_permissions(bench.vhost.name(), "topic", "^w", "^r");
    let refusal = bench.no_topic_access(Write, "topic", "x").blaming((60, 40));
    bench
        .outcome(|channel| {
            channel.confirm_select();
            channel.publish("topic", "x", b"");
        })
        .assert_refused(&refusal, "confirm");
    // Not only by the commit.
    bench
        .outcome(|channel| {
            channel.send(&TxSelect {});
            channel.publish("topic", "x", b"");
        })
        .assert_refused(&refusal, "transaction");
    let owner = bench.owner.channel();
    let _: QueueBindOk = owner.call(&queue_bind("q", "topic", "#"));
    bench
        .outcome(|channel| {
            channel.send(&TxSelect {});
            channel.publish("topic", "w", b"first");
            channel.publish("topic", "x", b"second");
            channel.send(&TxCommit {});
        })
        .assert_refused(&refusal, "transaction with a commit");
    assert!(drain(&owner, "q").is_empty(), "nothing was committed");
}

#[test]
fn topic_permissions_are_taken_back_together() {
    let bench = bench();
    let vhost = bench.vhost.name();
    for exchange in ["topic", "other"] {
        bench.user.set_topic_permissions(vhost, exchange, "", "");
    }
    let publish = |exchange: &'static str| {
        let connection = bench.user.open(vhost);
        let channel = connection.channel();
        channel.publish(exchange, "k", b"");
        outcome(&channel).0.is_ok()
    };
    assert_eq!(["topic", "other"].map(publish), [false, false]);
    bench.user.clear_topic_permissions(vhost);
    assert_eq!(["topic", "other"].map(publish), [true, true]);
}
