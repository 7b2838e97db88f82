//! Permissions that change while connections are open.

use leveret_protocol::amqp091::method::QueueDeclare;
use leveret_testkit::amqp091::Channel;
use leveret_testkit::broker;
use leveret_testkit::users::Permissions;

use crate::access::Right::{Configure, Read, Write};
use crate::access::{Bench, Refusal, outcome, outcome_so_far};
use crate::queues::{self, get, purge, shared};

/// The channel that has seen what was allowed before; with RabbitMQ another one, as its channels remember it for a while.
fn later(bench: &Bench, before: Channel) -> Channel {
    if broker::is_rabbitmq() { bench.client.channel() } else { before }
}

type Case<'a> = (&'a str, Permissions<'a>, fn(&Channel), Refusal);

#[test]
fn rights_that_are_taken_back_are_gone_at_once() {
    let bench = Bench::with(Permissions::ALL);
    let vhost = bench.vhost.name();
    queues::declare(&bench.owner.channel(), &shared("q"));
    let none = Permissions::NONE;
    let all = Permissions::ALL;
    let cases: [Case<'_>; 4] = [
        (
            "publish",
            Permissions { write: "", ..all },
            |channel| channel.publish("", "q", b""),
            bench.no_exchange_access(Write, "amq.default"),
        ),
        (
            "get",
            Permissions { read: "^other$", ..all },
            |channel| channel.send(&get("q")),
            bench.no_queue_access(Read, "q"),
        ),
        (
            "declare",
            Permissions { configure: "", ..all },
            |channel| channel.send(&shared("q")),
            bench.no_queue_access(Configure, "q"),
        ),
        ("purge", none, |channel| channel.send(&purge("q")), bench.no_queue_access(Read, "q")),
    ];
    for (name, permissions, send, refusal) in cases {
        bench.user.set_permissions(vhost, Permissions::ALL);
        let channel = bench.client.channel();
        send(&channel);
        outcome_so_far(&channel).assert_allowed(name);
        bench.user.set_permissions(vhost, permissions);
        let channel = later(&bench, channel);
        send(&channel);
        outcome(&channel).assert_refused(&refusal, name);
    }
}

#[test]
fn rights_that_are_given_hold_at_once() {
    let bench = Bench::with(Permissions::NONE);
    let channel = bench.client.channel();
    channel.round_trip();
    bench
        .outcome(|channel| channel.send(&shared("q")))
        .assert_refused(&bench.no_queue_access(Configure, "q"), "before");
    bench.user.set_permissions(bench.vhost.name(), Permissions::ALL);
    let channel = later(&bench, channel);
    channel.send(&QueueDeclare { exclusive: true, ..shared("q") });
    channel.publish("", "q", b"");
    channel.send(&get("q"));
    outcome(&channel).assert_allowed("after");
}

#[test]
fn topics_that_are_taken_back_are_gone_at_once() {
    let bench = Bench::with(Permissions::ALL);
    let channel = bench.client.channel();
    channel.publish("amq.topic", "key", b"");
    channel.round_trip();
    bench.user.set_topic_permissions(bench.vhost.name(), "amq.topic", "^other$", "");
    let channel = later(&bench, channel);
    channel.publish("amq.topic", "key", b"");
    outcome(&channel).assert_refused(&bench.no_topic_access(Write, "amq.topic", "key"), "publish");
}

#[test]
fn a_connection_outlives_the_permissions_for_its_vhost_without_any_right() {
    let bench = Bench::with(Permissions::ALL);
    let channel = bench.client.channel();
    channel.declare_queue("q");
    bench.user.clear_permissions(bench.vhost.name());
    let channel = later(&bench, channel);
    channel.publish("", "q", b"");
    outcome(&channel).assert_refused(&bench.no_exchange_access(Write, "amq.default"), "publish");
    bench.user.set_permissions(bench.vhost.name(), Permissions::ALL);
    bench.outcome(|channel| channel.publish("", "q", b"")).assert_allowed("again");
}

#[test]
fn consumers_of_a_user_that_may_no_longer_read_are_cancelled() {
    if broker::is_rabbitmq() {
        eprintln!("RabbitMQ leaves consumers alone that may no longer read");
        return;
    }
    let bench = Bench::with(Permissions::ALL);
    let channel = bench.client.channel();
    for queue in ["kept", "lost"] {
        queues::declare(&bench.owner.channel(), &shared(queue));
    }
    channel.consume("kept");
    let lost = channel.consume("lost");
    bench.user.set_permissions(bench.vhost.name(), Permissions { read: "^kept$", ..Permissions::ALL });
    assert_eq!(channel.next_cancel(), lost);
    let owner = bench.owner.channel();
    owner.publish("", "lost", b"stays");
    owner.publish("", "kept", b"comes");
    assert_eq!(channel.next_delivery().body, b"comes");
    assert_eq!(owner.message_count("lost"), 1);
}
