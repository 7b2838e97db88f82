//! What comes first if a method is refused for more than one reason.

use leveret_protocol::amqp091::method::{ExchangeDeclare, QueueDeclare, QueueDelete};
use leveret_protocol::amqp091::{Properties, Value};
use leveret_testkit::amqp091::{basic_consume, basic_publish, queue_bind, queue_delete, table};

use crate::access::Right::{Configure, Read, Write};
use crate::access::{Bench, Refusal, is_rabbitmq_3, refused};
use crate::copies::with_headers;
use crate::exchanges::{self, lasting};
use crate::queues::{self, get, locked_text, purge, shared};

const ON_DEFAULT: &str = "ACCESS_REFUSED - operation not permitted on the default exchange";

fn on_default() -> Refusal {
    refused(403, ON_DEFAULT)
}

fn missing(bench: &Bench, what: &str) -> Refusal {
    refused(404, &format!("NOT_FOUND - no {what} in vhost '{}'", bench.vhost.name()))
}

#[test]
fn a_missing_right_comes_before_a_missing_queue() {
    let bench = Bench::new();
    let read = |queue| bench.no_queue_access(Read, queue);
    bench.outcome(|c| c.send(&get("missing.cw-"))).assert_refused(&read("missing.cw-"), "get");
    bench.outcome(|c| c.send(&purge("missing.cw-"))).assert_refused(&read("missing.cw-"), "purge");
    bench.outcome(|c| c.send(&basic_consume("missing.cw-"))).assert_refused(&read("missing.cw-"), "consume");
    let configure = bench.no_queue_access(Configure, "missing.-wr");
    bench.outcome(|c| c.send(&queue_delete("missing.-wr"))).assert_refused(&configure, "delete");
    bench.outcome(|c| c.send(&queue_delete("missing.c--"))).assert_allowed("delete");
    for queue in ["missing.--r", "missing.cwr"] {
        let missing = missing(&bench, &format!("queue '{queue}'"));
        bench.outcome(|c| c.send(&get(queue))).assert_refused(&missing, "get");
        bench.outcome(|c| c.send(&purge(queue))).assert_refused(&missing, "purge");
        bench.outcome(|c| c.send(&basic_consume(queue))).assert_refused(&missing, "consume");
    }
}

#[test]
fn a_missing_right_comes_before_a_missing_exchange() {
    let bench = Bench::new();
    let configure = bench.no_exchange_access(Configure, "missing.-wr");
    bench.outcome(|c| c.send(&exchanges::delete("missing.-wr"))).assert_refused(&configure, "delete");
    bench.outcome(|c| c.send(&exchanges::delete("missing.c--"))).assert_allowed("delete");
    let write = bench.no_exchange_access(Write, "missing.c-r");
    bench.outcome(|c| c.publish("missing.c-r", "", b"")).assert_refused(&write, "publish");
    let there = missing(&bench, "exchange 'missing.-w-'");
    bench.outcome(|c| c.publish("missing.-w-", "", b"")).assert_refused(&there.blaming((60, 40)), "publish");
}

#[test]
fn rights_to_both_ends_of_a_binding_come_before_their_being_there() {
    let bench = Bench::new();
    let no_write = bench.no_queue_access(Write, "queue.c-r");
    let no_read = bench.no_exchange_access(Read, "exchange.cw-");
    for exchange in ["exchange.cwr", "exchange.cw-", ""] {
        bench.outcome(|c| c.send(&queue_bind("queue.c-r", exchange, "k"))).assert_refused(&no_write, exchange);
        bench.outcome(|c| c.send(&queues::unbind("queue.c-r", exchange, "k"))).assert_refused(&no_write, exchange);
    }
    bench.outcome(|c| c.send(&queue_bind("queue.cwr", "exchange.cw-", "k"))).assert_refused(&no_read, "bind");
    bench.outcome(|c| c.send(&queues::unbind("queue.cwr", "exchange.cw-", "k"))).assert_refused(&no_read, "unbind");
    let no_exchange = missing(&bench, "exchange 'exchange.--r'");
    bench.outcome(|c| c.send(&queue_bind("queue.-w-", "exchange.--r", "k"))).assert_refused(&no_exchange, "bind");

    let no_write = bench.no_exchange_access(Write, "exchange.c-r");
    for source in ["exchange.cwr", "exchange.cw-", ""] {
        bench.outcome(|c| c.send(&exchanges::bind("exchange.c-r", source, "k"))).assert_refused(&no_write, source);
        bench.outcome(|c| c.send(&exchanges::unbind("exchange.c-r", source, "k"))).assert_refused(&no_write, source);
    }
    bench.outcome(|c| c.send(&exchanges::bind("x.cwr", "exchange.cw-", "k"))).assert_refused(&no_read, "bind");
    bench.outcome(|c| c.send(&exchanges::unbind("x.cwr", "exchange.cw-", "k"))).assert_refused(&no_read, "unbind");
}

#[test]
fn what_the_default_exchange_does_not_take_comes_before_rights_to_it() {
    let bench = Bench::new();
    let amq_default = bench.no_exchange_access(Write, "amq.default");
    bench.outcome(|c| c.send(&queue_bind("queue.cwr", "", "k"))).assert_refused(&on_default(), "bind");
    bench.outcome(|c| c.send(&queues::unbind("queue.cwr", "", "k"))).assert_refused(&on_default(), "unbind");
    bench.outcome(|c| c.send(&exchanges::bind("exchange.cwr", "", "k"))).assert_refused(&on_default(), "bind from");
    // As what is bound it is asked for like any other.
    bench.outcome(|c| c.send(&exchanges::bind("", "exchange.cwr", "k"))).assert_refused(&amq_default, "bind to");
    bench.outcome(|c| c.send(&lasting("", "direct"))).assert_refused(&on_default(), "declare");
    bench.outcome(|c| c.send(&exchanges::delete(""))).assert_refused(&on_default(), "delete");
    bench.outcome(|c| c.send(&exchanges::passive(""))).assert_refused(&on_default(), "passive");
}

#[test]
fn what_is_the_servers_is_refused_as_such() {
    let bench = Bench::new();
    let vhost = bench.vhost.name();
    for queue in ["amq.queue.---", "amq.queue.cwr"] {
        let text = format!("ACCESS_REFUSED - queue name '{queue}' contains reserved prefix 'amq.*'");
        bench.outcome(|c| c.send(&shared(queue))).assert_refused(&refused(403, &text), queue);
    }
    let no_configure = bench.no_exchange_access(Configure, "amq.exchange.-wr");
    bench.outcome(|c| c.send(&lasting("amq.exchange.-wr", "direct"))).assert_refused(&no_configure, "declare");
    let text = "ACCESS_REFUSED - exchange name 'amq.exchange.c--' contains reserved prefix 'amq.*'";
    bench.outcome(|c| c.send(&lasting("amq.exchange.c--", "direct"))).assert_refused(&refused(403, text), "declare");
    let no_configure = bench.no_exchange_access(Configure, "amq.direct");
    let again = ExchangeDeclare { durable: true, ..lasting("amq.direct", "direct") };
    bench.outcome(|c| c.send(&again)).assert_refused(&no_configure, "declare amq.direct");
    let text = format!("ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '{vhost}' not allowed");
    bench.outcome(|c| c.send(&exchanges::delete("amq.direct"))).assert_refused(&refused(403, &text), "delete");
}

#[test]
fn a_missing_right_comes_before_a_lock() {
    let bench = Bench::new();
    let owner = bench.owner.channel();
    let locked =
        |queue| refused(405, &format!("RESOURCE_LOCKED - {}", locked_text(queue)).replace("'/'", &vhost(&bench)));
    for queue in ["queue.---", "queue.cwr"] {
        owner.declare_queue(queue);
    }
    exchanges::declare(&owner, &lasting("exchange.cwr", "direct"));
    for (name, right, method) in
        [("declare", Configure, 0), ("delete", Configure, 1), ("purge", Read, 2), ("get", Read, 3), ("bind", Write, 4)]
    {
        let check = |queue, expected: &Refusal| {
            bench
                .outcome(|c| match method {
                    0 => c.send(&shared(queue)),
                    1 => c.send(&queue_delete(queue)),
                    2 => c.send(&purge(queue)),
                    3 => c.send(&get(queue)),
                    _ => c.send(&queue_bind(queue, "exchange.cwr", "k")),
                })
                .assert_refused(expected, name);
        };
        check("queue.---", &bench.no_queue_access(right, "queue.---"));
        check("queue.cwr", &locked("queue.cwr"));
    }
}

fn vhost(bench: &Bench) -> String {
    format!("'{}'", bench.vhost.name())
}

#[test]
fn a_missing_right_comes_before_what_is_there_being_another() {
    let bench = Bench::new();
    let owner = bench.owner.channel();
    let vhost = bench.vhost.name();
    for suffix in ["c--", "-wr"] {
        queues::declare(&owner, &shared(&format!("queue.{suffix}")));
        exchanges::declare(&owner, &lasting(&format!("exchange.{suffix}"), "direct"));
    }
    let other_queue = |queue| QueueDeclare { auto_delete: true, ..shared(queue) };
    let other_exchange = |exchange| lasting(exchange, "fanout");
    let no_configure = bench.no_queue_access(Configure, "queue.-wr");
    bench.outcome(|c| c.send(&other_queue("queue.-wr"))).assert_refused(&no_configure, "queue");
    let no_configure = bench.no_exchange_access(Configure, "exchange.-wr");
    bench.outcome(|c| c.send(&other_exchange("exchange.-wr"))).assert_refused(&no_configure, "exchange");
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'queue.c--' in vhost '{vhost}': received 'true' but \
         current is 'false'"
    );
    bench.outcome(|c| c.send(&other_queue("queue.c--"))).assert_refused(&refused(406, &text), "queue");
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'exchange.c--' in vhost '{vhost}': received 'fanout' \
         but current is 'direct'"
    );
    bench.outcome(|c| c.send(&other_exchange("exchange.c--"))).assert_refused(&refused(406, &text), "exchange");
    let if_empty = QueueDelete { if_empty: true, ..queue_delete("queue.-wr") };
    owner.publish("", "queue.-wr", b"");
    owner.round_trip();
    let no_configure = bench.no_queue_access(Configure, "queue.-wr");
    bench.outcome(|c| c.send(&if_empty)).assert_refused(&no_configure, "delete");
}

#[test]
fn a_wrong_type_of_an_exchange_to_go_to_comes_before_rights_and_other_arguments_after() {
    let bench = Bench::new();
    let vhost = bench.vhost.name();
    let number = Value::I32(5);
    for suffix in ["cwr", "c--"] {
        let queue = format!("queue.{suffix}");
        let declare = QueueDeclare { arguments: table(&[("x-dead-letter-exchange", number)]), ..shared(&queue) };
        let text = format!(
            "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue '{queue}' in vhost \
             '{vhost}'"
        );
        bench.outcome(|c| c.send(&declare)).assert_refused(&refused(406, &text), suffix);
        let exchange = format!("exchange.{suffix}");
        let arguments = table(&[("alternate-exchange", number)]);
        let text = format!(
            "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange '{exchange}' in vhost \
             '{vhost}'"
        );
        bench
            .outcome(|c| c.send(&ExchangeDeclare { arguments, ..lasting(&exchange, "direct") }))
            .assert_refused(&refused(406, &text), suffix);
    }
    let with_ttl = |queue| QueueDeclare { arguments: table(&[("x-message-ttl", Value::I32(-1))]), ..shared(queue) };
    let no_configure = bench.no_queue_access(Configure, "queue.-wr");
    bench.outcome(|c| c.send(&with_ttl("queue.-wr"))).assert_refused(&no_configure, "ttl");
    assert_eq!(bench.outcome(|c| c.send(&with_ttl("queue.c--"))).0.unwrap_err().code, 406);
    let dead_letters = ("x-dead-letter-exchange", Value::LongStr(b"exchange.---"));
    let arguments = table(&[("x-message-ttl", Value::I32(-1)), dead_letters]);
    let no_write = bench.no_exchange_access(Write, "exchange.---");
    bench.outcome(|c| c.send(&QueueDeclare { arguments, ..shared("queue.cwr") })).assert_refused(&no_write, "both");
}

#[test]
fn a_publish_is_refused_for_the_first_of_its_faults() {
    let bench = Bench::new();
    let owner = bench.owner.channel();
    for suffix in ["c-r", "-w-"] {
        exchanges::declare(&owner, &lasting(&format!("exchange.{suffix}"), "topic"));
        let internal = format!("internal.{suffix}");
        exchanges::declare(&owner, &ExchangeDeclare { internal: true, ..lasting(&internal, "topic") });
    }
    bench.user.set_topic_permissions(bench.vhost.name(), "exchange.-w-", "^right$", "");
    bench.user.set_topic_permissions(bench.vhost.name(), "internal.-w-", "^right$", "");
    let internal = |exchange| {
        let vhost = bench.vhost.name();
        refused(403, &format!("ACCESS_REFUSED - cannot publish to internal exchange '{exchange}' in vhost '{vhost}'"))
    };
    let no_write = |exchange| bench.no_exchange_access(Write, exchange);
    let no_topic = |exchange| bench.no_topic_access(Write, exchange, "wrong");
    let reason = |text: &str| refused(406, &format!("PRECONDITION_FAILED - {text}"));
    let expiration = reason("invalid expiration 'x': no_integer");
    let bad_copies = copies_refused();
    let name = bench.user.name();
    let user_id = reason(&format!("user_id property set to 'other' but authenticated user was '{name}'"));
    let plain = Properties::default();
    let expiring = Properties { expiration: Some("x"), ..plain };
    let other = Properties { user_id: Some("other"), ..plain };
    let miscopied = with_headers(table(&[("CC", Value::LongStr(b"x"))]));
    let three = is_rabbitmq_3();
    for (case, exchange, key, properties, expected) in [
        ("missing right, missing exchange", "missing.c-r", "wrong", plain, no_write("missing.c-r")),
        ("missing right, internal", "internal.c-r", "right", other, no_write("internal.c-r")),
        ("missing exchange, user", "missing.-w-", "right", other, missing(&bench, "exchange 'missing.-w-'")),
        ("internal, expiration", "internal.-w-", "right", expiring, internal("internal.-w-")),
        ("internal, topic", "internal.-w-", "wrong", plain, internal("internal.-w-")),
        ("topic", "exchange.-w-", "wrong", plain, no_topic("exchange.-w-")),
        ("topic, user", "exchange.-w-", "wrong", other, no_topic("exchange.-w-")),
        ("user", "exchange.-w-", "right", other, user_id.clone()),
        // Version 3 looks at topic and user first.
        (
            "expiration, topic",
            "exchange.-w-",
            "wrong",
            expiring,
            if three { no_topic("exchange.-w-") } else { expiration.clone() },
        ),
        (
            "copies, topic",
            "exchange.-w-",
            "wrong",
            miscopied,
            if three { no_topic("exchange.-w-") } else { bad_copies.clone() },
        ),
        (
            "expiration, user",
            "exchange.-w-",
            "right",
            Properties { expiration: Some("x"), ..other },
            if three { user_id.clone() } else { expiration.clone() },
        ),
        (
            "copies, user",
            "exchange.-w-",
            "right",
            Properties { headers: miscopied.headers, ..other },
            if three { user_id.clone() } else { bad_copies.clone() },
        ),
        (
            "expiration, copies",
            "exchange.-w-",
            "right",
            Properties { headers: miscopied.headers, ..expiring },
            expiration.clone(),
        ),
    ] {
        bench
            .outcome(|c| c.send_content(&basic_publish(exchange, key), &properties, b""))
            .assert_refused(&expected.blaming((60, 40)), case);
    }
    bench.outcome(|c| c.publish("exchange.-w-", "right", b"")).assert_allowed("none");
}

fn copies_refused() -> Refusal {
    refused(406, r#"PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}"#)
}
