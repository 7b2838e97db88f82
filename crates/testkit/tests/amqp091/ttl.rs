//! Time to live: of the messages of a queue, and of single messages.

use std::time::{Duration, Instant};

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::Value;
use leveret_protocol::amqp091::method::{BasicConsume, BasicPublish, QueueDeclare, QueuePurgeOk};
use leveret_testkit::amqp091::{Channel, Connection, basic_consume, basic_publish, queue_declare, table};
use leveret_testkit::unique;

use crate::queues::{declare, purge, queue_with, shared};
use crate::traffic::{await_acks, await_count, drain, let_pass, next_bodies, publish_expiring, publish_surely};

/// How much earlier than told a client may see a message expire: clocks count whole milliseconds.
const EARLY: Duration = Duration::from_millis(2);

fn ttl_queue(channel: &Channel, ttl_ms: i32) -> String {
    queue_with(channel, &[("x-message-ttl", Value::I32(ttl_ms))])
}

#[test]
fn a_message_expires_after_the_ttl_of_its_queue() {
    let connection = Connection::open();
    let channel = connection.channel();
    let ttl = Duration::from_millis(40);
    let queue = ttl_queue(&channel, 40);
    for round in 0..2 {
        let start = Instant::now();
        publish_surely(&connection, "", &queue, &["1", "2", "3"]);
        await_count(&channel, &queue, 0);
        assert!(start.elapsed() + EARLY >= ttl, "round {round}: gone after {:?}", start.elapsed());
        assert!(channel.get(&queue).is_none());
    }
}

#[test]
fn a_message_expires_after_its_own_ttl() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let start = Instant::now();
    publish_expiring(&connection, &queue, "40", "expires");
    publish_surely(&connection, "", &queue, &["stays"]);
    await_count(&channel, &queue, 1);
    assert!(start.elapsed() + EARLY >= Duration::from_millis(40), "gone after {:?}", start.elapsed());
    assert_eq!(drain(&channel, &queue), ["stays"]);
}

#[test]
fn the_shorter_of_two_ttls_counts() {
    let connection = Connection::open();
    let channel = connection.channel();
    for (of_queue, of_message, expires) in
        [(20, "600000", true), (600_000, "20", true), (20, "20", true), (600_000, "600000", false)]
    {
        let queue = ttl_queue(&channel, of_queue);
        publish_expiring(&connection, &queue, of_message, "message");
        if expires {
            await_count(&channel, &queue, 0);
        } else {
            let_pass(&connection, 50);
            assert_eq!(drain(&channel, &queue), ["message"], "{of_queue} {of_message}");
        }
    }
}

#[test]
fn a_ttl_of_ten_years_is_no_reason_to_expire() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = queue_with(&channel, &[("x-message-ttl", Value::I64(315_360_000_000))]);
    publish_expiring(&connection, &queue, "315360000000", "1");
    publish_surely(&connection, "", &queue, &["2"]);
    let_pass(&connection, 20);
    assert_eq!(drain(&channel, &queue), ["1", "2"]);
}

#[test]
fn a_ttl_of_zero_expires_what_no_consumer_waits_for() {
    let connection = Connection::open();
    let (channel, publisher) = (connection.channel(), connection.channel());
    let (of_queue, of_message) = (ttl_queue(&channel, 0), channel.temporary_queue());
    publisher.confirm_select();
    // A message that expires at once has been routed all the same: it is confirmed and does not come back.
    for (number, (queue, expiration)) in (1..).zip([(&of_queue, None), (&of_message, Some("0"))]) {
        let properties = Properties { expiration, delivery_mode: Some(number), ..Properties::default() };
        let publish = BasicPublish { mandatory: true, ..basic_publish("", queue) };
        publisher.send_content(&publish, &properties, b"message");
    }
    await_acks(&publisher, 2);
    publisher.expect_nothing();
    for queue in [&of_queue, &of_message] {
        assert!(channel.get(queue).is_none());
        assert_eq!(channel.message_count(queue), 0);
    }
}

#[test]
fn a_ttl_of_zero_reaches_a_consumer_that_waits() {
    let connection = Connection::open();
    for no_ack in [false, true] {
        let channel = connection.channel();
        let (of_queue, of_message) = (ttl_queue(&channel, 0), channel.temporary_queue());
        for queue in [&of_queue, &of_message] {
            channel.consume_with(&BasicConsume { no_ack, ..basic_consume(queue) });
        }
        for number in 0..20_u8 {
            channel.publish("", &of_queue, &[number]);
            assert_eq!(channel.next_delivery().body, [number]);
            publish_expiring(&connection, &of_message, "0", &number.to_string());
            assert_eq!(channel.next_delivery().body, number.to_string().as_bytes());
        }
    }
}

#[test]
fn a_ttl_of_zero_does_not_wait_for_a_consumer_without_credit() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = ttl_queue(&channel, 0);
    channel.qos(1);
    channel.consume(&queue);
    publish_surely(&connection, "", &queue, &["taken"]);
    publish_surely(&connection, "", &queue, &["1", "2"]);
    assert_eq!(channel.next_delivery().body, b"taken");
    channel.ack(1);
    channel.expect_nothing_from(&queue);
    publish_surely(&connection, "", &queue, &["next"]);
    assert_eq!(channel.next_delivery().body, b"next");
}

#[test]
fn a_message_of_ttl_zero_that_comes_back_expires() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = ttl_queue(&other, 0);
    let consumer = channel.consume(&queue);
    publish_surely(&connection, "", &queue, &["message"]);
    assert_eq!(channel.next_delivery().body, b"message");
    channel.cancel(consumer);
    channel.requeue(1);
    channel.round_trip();
    assert!(other.get(&queue).is_none());
}

#[test]
fn only_the_head_expires() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["head"]);
    publish_expiring(&connection, &queue, "20", "behind");
    let_pass(&connection, 50);
    assert_eq!(channel.message_count(&queue), 2, "what has expired behind the head still counts");
    let got = channel.get(&queue).unwrap();
    assert_eq!(got.body, b"head");
    assert!(channel.get(&queue).is_none());
    assert_eq!(channel.message_count(&queue), 0);
    // Back at the head, the first keeps nothing alive.
    channel.requeue(got.delivery_tag);
    assert_eq!(drain(&channel, &queue), ["head"]);
}

#[test]
fn a_consumer_gets_nothing_that_has_expired_behind_the_head() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    for number in 0..20 {
        let body = number.to_string();
        if number % 4 == 0 {
            publish_surely(&connection, "", &queue, &[&body]);
        } else {
            publish_expiring(&connection, &queue, "20", &body);
        }
    }
    let_pass(&connection, 50);
    assert_eq!(channel.message_count(&queue), 20);
    channel.consume(&queue);
    assert_eq!(next_bodies(&channel, 5), ["0", "4", "8", "12", "16"]);
    channel.expect_nothing_from(&queue);
}

#[test]
fn what_expires_sooner_waits_for_what_is_in_front() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let start = Instant::now();
    publish_expiring(&connection, &queue, "60", "later");
    publish_expiring(&connection, &queue, "1", "sooner");
    await_count(&channel, &queue, 0);
    assert!(start.elapsed() + EARLY >= Duration::from_millis(60), "gone after {:?}", start.elapsed());
}

#[test]
fn an_unsettled_message_does_not_expire() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = ttl_queue(&channel, 150);
    publish_surely(&connection, "", &queue, &["1"]);
    let got = channel.get(&queue).unwrap();
    publish_surely(&connection, "", &queue, &["2"]);
    await_count(&channel, &queue, 0);
    channel.ack(got.delivery_tag);
    channel.expect_nothing();
}

#[test]
fn a_requeued_message_keeps_its_expiry() {
    let connection = Connection::open();
    let channel = connection.channel();
    for of_queue in [true, false] {
        let queue = if of_queue { ttl_queue(&channel, 150) } else { channel.temporary_queue() };
        publish_expiring(&connection, &queue, if of_queue { "600000" } else { "150" }, "message");
        let got = channel.get(&queue).unwrap();
        let_pass(&connection, 180);
        // Its time has passed while it was handed out.
        channel.requeue(got.delivery_tag);
        assert!(channel.get(&queue).is_none(), "{of_queue}");
    }
}

#[test]
fn no_way_of_coming_back_lets_an_expired_message_live() {
    let connection = Connection::open();
    let admin = connection.channel();
    let (queue, consumed) = (ttl_queue(&admin, 60), ttl_queue(&admin, 60));
    let channel = connection.channel();
    channel.consume(&consumed);
    publish_surely(&connection, "", &consumed, &["1", "2"]);
    assert_eq!(next_bodies(&channel, 2), ["1", "2"]);
    let_pass(&connection, 80);
    channel.close();
    assert_eq!(admin.message_count(&consumed), 0);
    assert!(admin.get(&consumed).is_none());
    assert!(admin.get(&queue).is_none());
}

#[test]
fn get_never_gives_an_expired_message() {
    let connection = Connection::open();
    let (channel, publisher) = (connection.channel(), connection.channel());
    let ttl = Duration::from_millis(40);
    let queue = ttl_queue(&channel, 40);
    publisher.confirm_select();
    publisher.publish("", &queue, b"message");
    await_acks(&publisher, 1);
    let start = Instant::now();
    loop {
        let asked = start.elapsed();
        let Some(got) = channel.get(&queue) else { break };
        assert!(asked <= ttl + EARLY, "got after {asked:?}");
        channel.requeue(got.delivery_tag);
    }
    assert!(start.elapsed() < ttl * 50, "still there after {:?}", start.elapsed());
}

#[test]
fn what_has_expired_is_neither_purged_nor_deleted() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = ttl_queue(&channel, 20);
    publish_surely(&connection, "", &queue, &["1", "2"]);
    await_count(&channel, &queue, 0);
    assert_eq!(channel.call::<QueuePurgeOk>(&purge(&queue)).message_count, 0);
    assert_eq!(channel.delete_queue(&queue), 0);
}

#[test]
fn persistent_messages_expire_too() {
    let connection = Connection::open();
    let (channel, publisher) = (connection.channel(), connection.channel());
    let queue = unique("durable");
    let arguments = table(&[("x-message-ttl", Value::I32(600_000))]);
    declare(&channel, &QueueDeclare { durable: true, arguments, ..shared(&queue) });
    publisher.confirm_select();
    for (body, expiration) in [("1", Some("40")), ("2", Some("40")), ("stays", None), ("behind", Some("40"))] {
        let properties = Properties { delivery_mode: Some(2), expiration, ..Properties::default() };
        publisher.publish_with("", &queue, &properties, body.as_bytes());
    }
    await_acks(&publisher, 4);
    await_count(&channel, &queue, 2);
    // The last may have come later than the first, and has its whole time.
    let_pass(&connection, 50);
    assert_eq!(drain(&channel, &queue), ["stays"]);
    channel.delete_queue(&queue);
}

#[test]
fn a_queue_of_many_messages_expires_them_all() {
    let connection = Connection::open();
    let (channel, publisher) = (connection.channel(), connection.channel());
    let queue = unique("queue");
    declare(
        &channel,
        &QueueDeclare { arguments: table(&[("x-message-ttl", Value::U16(50))]), ..queue_declare(&queue) },
    );
    publisher.confirm_select();
    for number in 0..2000_u32 {
        publisher.publish("", &queue, &number.to_be_bytes());
    }
    await_acks(&publisher, 2000);
    await_count(&channel, &queue, 0);
    publish_surely(&connection, "", &queue, &["later"]);
    assert_eq!(drain(&channel, &queue), ["later"]);
}
