//! Policies and limits, as clients see what they come to.

use std::time::{Duration, Instant};

use leveret_broker::topology::{ApplyTo, PolicyKind};
use leveret_protocol::amqp091::{ReplyCode, Value};
use leveret_testkit::amqp091::{Channel, Connection, queue_declare, table};
use leveret_testkit::{policy, unique};

use crate::refusal::assert_channel_lost;
use crate::traffic::{drain, publish_surely};

#[test]
fn a_policy_gives_exchanges_an_alternate_exchange_and_takes_it_away() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, alternate) = (unique("exchange"), unique("alternate"));
    channel.declare_exchange(&exchange, "direct");
    channel.declare_exchange(&alternate, "fanout");
    let spare = channel.temporary_queue();
    channel.bind(&spare, &alternate, "");
    let pattern = format!("^{}$", exchange.replace('.', "\\."));
    // The channel knows the way of this before the policy is there.
    channel.publish(&exchange, "nowhere", b"before");
    assert!(drain(&channel, &spare).is_empty());
    let name = unique("policy");
    let set = policy::set(&name, &pattern, &[("alternate-exchange", alternate.as_str().into())]);
    channel.publish(&exchange, "nowhere", b"while");
    assert_eq!(drain(&channel, &spare), ["while"]);
    // A policy with a higher priority applies alone.
    let higher = policy::set_with(
        PolicyKind::User,
        &unique("policy"),
        &pattern,
        ApplyTo::Exchanges,
        1,
        &[("alternate-exchange", "nowhere".into())],
    );
    channel.publish(&exchange, "nowhere", b"higher");
    assert!(drain(&channel, &spare).is_empty());
    higher.clear();
    channel.publish(&exchange, "nowhere", b"again");
    assert_eq!(drain(&channel, &spare), ["again"]);
    set.clear();
    channel.publish(&exchange, "nowhere", b"after");
    assert!(drain(&channel, &spare).is_empty());
    channel.delete_exchange(&exchange);
    channel.delete_exchange(&alternate);
}

/// Awaits that so many messages are ready. RabbitMQ tells its queues of policies without waiting for them.
#[track_caller]
fn await_count(channel: &Channel, queue: &str, count: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while channel.message_count(queue) != count {
        assert!(Instant::now() < deadline, "{queue} does not come to {count} messages");
    }
}

#[test]
fn the_narrower_limit_of_argument_policy_and_operator_policy_applies_at_once() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = unique("queue");
    channel.declare_queue_with(&queue, table(&[("x-max-length", Value::I32(3))]));
    let fill = || publish_surely(&connection, "", &queue, &["1", "2", "3", "4", "5"]);
    let pattern = format!("^{}$", queue.replace('.', "\\."));
    fill();
    assert_eq!(channel.message_count(&queue), 3);
    let user = policy::set(&unique("policy"), &pattern, &[("max-length", 2.into())]);
    await_count(&channel, &queue, 2);
    let operator = policy::set_operator(&unique("policy"), &pattern, &[("max-length", 1.into())]);
    await_count(&channel, &queue, 1);
    assert_eq!(drain(&channel, &queue), ["5"]);
    operator.clear();
    user.clear();
    fill();
    assert_eq!(drain(&channel, &queue), ["3", "4", "5"]);
    channel.delete_queue(&queue);
}

#[test]
fn a_vhost_takes_as_many_queues_as_it_may() {
    let vhost = policy::own_vhost();
    vhost.limit(&[("max-queues", 1.into())]);
    let connection = Connection::builder().vhost(vhost.name()).open();
    let channel = connection.channel();
    channel.declare_queue("q");
    channel.declare_queue("q");
    let text = format!("cannot declare queue 'r': queue limit in vhost '{}' (1) is reached", vhost.name());
    assert_channel_lost(&channel, &queue_declare("r"), ReplyCode::PreconditionFailed, &text);
    vhost.limit(&[("max-queues", (-1).into())]);
    connection.channel().declare_queue("r");
    connection.close();
}

#[test]
fn a_vhost_takes_as_many_connections_as_it_may() {
    let vhost = policy::own_vhost();
    vhost.limit(&[("max-connections", 1.into())]);
    let first = Connection::builder().vhost(vhost.name()).open();
    let mut second = Connection::builder().vhost(vhost.name()).through_open();
    let text = format!("access to vhost '{}' refused for user 'guest': connection limit (1) is reached", vhost.name());
    second.expect_close(ReplyCode::NotAllowed, &text);
    first.close();
}
