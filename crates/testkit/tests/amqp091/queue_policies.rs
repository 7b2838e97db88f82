//! Policies for queues: what queues do by their word, from when on, and until when.

use leveret_protocol::amqp091::Value;
use leveret_protocol::amqp091::method::QueueDeclare;
use leveret_testkit::amqp091::{Channel, Connection, queue_declare, table};
use leveret_testkit::policy::{self, Setting};
use leveret_testkit::unique;

use crate::dead_letter::{to_exchange, to_queue};
use crate::length_limits::refused;
use crate::queue_expiry::await_unroutable;
use crate::queues::{declare, queue_with};
use crate::traffic::{await_count, drain, let_pass, publish_surely};

/// The pattern of one name alone; dots match themselves and more, which no other name here has.
fn only(name: &str) -> String {
    format!("^{name}$")
}

/// Sets a policy of its own for one queue or exchange.
fn set(name: &str, definition: &[(&str, Setting<'_>)]) -> policy::PolicySet {
    policy::set(name, &only(name), definition)
}

/// Takes and rejects the first message of a queue.
#[track_caller]
fn reject_first(channel: &Channel, queue: &str) {
    let got = channel.get(queue).unwrap();
    channel.reject(got.delivery_tag);
    channel.round_trip();
}

#[test]
fn a_limit_counts_for_what_is_there_at_once() {
    let connection = Connection::open();
    let channel = connection.channel();
    for (key, limit) in [("max-length", 2), ("max-length-bytes", 5)] {
        let queue = channel.temporary_queue();
        let bodies = ["11", "22", "33", "44"];
        publish_surely(&connection, "", &queue, &bodies);
        let policy = set(&queue, &[(key, limit.into())]);
        await_count(&channel, &queue, 2);
        publish_surely(&connection, "", &queue, &["55"]);
        assert_eq!(drain(&channel, &queue), ["44", "55"], "{key}");
        policy.clear();
        publish_surely(&connection, "", &queue, &bodies);
        assert_eq!(drain(&channel, &queue), bodies, "{key}");
    }
}

#[test]
fn an_overflow_counts_for_what_comes() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = queue_with(&channel, &[("x-max-length", Value::I32(2))]);
    publish_surely(&connection, "", &queue, &["1", "2"]);
    let policy = set(&queue, &[("overflow", "reject-publish".into())]);
    assert_eq!(refused(&connection, "", &queue, &["3", "4"]), [1, 2]);
    policy.clear();
    assert_eq!(refused(&connection, "", &queue, &["5"]), [0; 0]);
    assert_eq!(drain(&channel, &queue), ["2", "5"]);
}

#[test]
fn a_time_to_live_counts_for_what_comes() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["before"]);
    let policy = set(&queue, &[("message-ttl", 20.into())]);
    publish_surely(&connection, "", &queue, &["expires"]);
    let_pass(&connection, 50);
    assert_eq!(drain(&channel, &queue), ["before"]);
    publish_surely(&connection, "", &queue, &["expires"]);
    await_count(&channel, &queue, 0);
    policy.clear();
    publish_surely(&connection, "", &queue, &["after"]);
    let_pass(&connection, 50);
    assert_eq!(drain(&channel, &queue), ["after"]);
}

#[test]
fn a_queue_that_nobody_uses_expires() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (used, unused) = (channel.temporary_queue(), channel.temporary_queue());
    channel.consume(&used);
    let pattern = format!("^({used}|{unused})$");
    let policy = policy::set(&used, &pattern, &[("expires", 50.into())]);
    await_unroutable(&connection, &unused);
    policy.clear();
    publish_surely(&connection, "", &used, &["still there"]);
    assert_eq!(channel.next_delivery().body, b"still there");
}

#[test]
fn dead_letters_go_where_a_policy_says() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, target) = (channel.temporary_queue(), channel.temporary_queue());
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    reject_first(&channel, &queue);
    let to_target = [("dead-letter-exchange", "".into()), ("dead-letter-routing-key", Setting::Text(&target))];
    let policy = set(&queue, &to_target);
    reject_first(&channel, &queue);
    await_count(&channel, &target, 1);
    policy.clear();
    reject_first(&channel, &queue);
    assert_eq!(drain(&channel, &target), ["2"]);
}

#[test]
fn arguments_of_dead_letters_win_over_a_policy() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (by_argument, by_policy) = (channel.temporary_queue(), channel.temporary_queue());
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "direct");
    channel.bind(&by_policy, &exchange, &by_policy);
    let full = queue_with(&channel, &to_queue(&by_argument));
    let part = queue_with(&channel, &[to_exchange("")]);
    let definition =
        [("dead-letter-exchange", Setting::Text(&exchange)), ("dead-letter-routing-key", (&*by_policy).into())];
    let _full = set(&full, &definition);
    let _part = set(&part, &definition);
    for queue in [&full, &part] {
        publish_surely(&connection, "", queue, &[queue]);
        reject_first(&channel, queue);
    }
    await_count(&channel, &by_argument, 1);
    await_count(&channel, &by_policy, 1);
    assert_eq!(drain(&channel, &by_argument), [full]);
    let got = channel.get(&by_policy).unwrap();
    assert_eq!((got.exchange, got.body), ("", part.into_bytes()));
}

#[test]
fn the_smaller_of_argument_and_policies_counts() {
    let connection = Connection::open();
    let channel = connection.channel();
    for (argument, user, operator, expected) in [
        (Some(2), Some(3), None, 2),
        (Some(3), Some(2), None, 2),
        (Some(3), None, Some(2), 2),
        (None, Some(3), Some(2), 2),
        (None, Some(2), Some(3), 2),
        (Some(2), Some(3), Some(4), 2),
        (Some(4), Some(2), Some(3), 2),
        (None, None, Some(2), 2),
    ] {
        let arguments: Vec<_> = argument.iter().map(|length| ("x-max-length", Value::I32(*length))).collect();
        let queue = queue_with(&channel, &arguments);
        let user = user.map(|length| set(&queue, &[("max-length", length.into())]));
        let operator =
            operator.map(|length| policy::set_operator(&queue, &only(&queue), &[("max-length", length.into())]));
        publish_surely(&connection, "", &queue, &["1", "2", "3", "4", "5"]);
        assert_eq!(channel.message_count(&queue), expected, "{argument:?} {user:?} {operator:?}");
    }
}

#[test]
fn an_operator_policy_ends_with_its_removal() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let _user = set(&queue, &[("max-length", 3.into()), ("overflow", "reject-publish".into())]);
    let operator = policy::set_operator(&queue, &only(&queue), &[("max-length", 1.into())]);
    assert_eq!(refused(&connection, "", &queue, &["1", "2", "3", "4"]), [2, 3, 4]);
    operator.clear();
    assert_eq!(refused(&connection, "", &queue, &["2", "3", "4"]), [3]);
    assert_eq!(drain(&channel, &queue), ["1", "2", "3"]);
}

#[test]
fn a_policy_counts_for_queues_declared_later_and_is_not_compared() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = unique("queue");
    let _policy = set(&queue, &[("max-length", 2.into())]);
    let plain = QueueDeclare { ..queue_declare(&queue) };
    declare(&channel, &plain);
    declare(&channel, &plain);
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    assert_eq!(drain(&channel, &queue), ["2", "3"]);
    channel.delete_queue(&queue);
    declare(&channel, &QueueDeclare { arguments: table(&[("x-max-length", Value::I32(1))]), ..plain });
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    assert_eq!(drain(&channel, &queue), ["3"]);
}

#[test]
fn a_policy_that_is_replaced_counts_as_it_is_now() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    // Under one name there is one policy, so one is to be cleared.
    std::mem::forget(set(&queue, &[("max-length", 1.into())]));
    let policy = set(&queue, &[("max-length", 2.into()), ("overflow", "reject-publish".into())]);
    assert_eq!(refused(&connection, "", &queue, &["1", "2", "3"]), [3]);
    policy.clear();
    assert_eq!(refused(&connection, "", &queue, &["4"]), [0; 0]);
    assert_eq!(drain(&channel, &queue), ["1", "2", "4"]);
}
