//! Channels: opening, closing, numbers, and what an error on one leaves standing.

use leveret_protocol::amqp091::method::{
    AccessRequest, AccessRequestOk, BasicAck, BasicCancelOk, BasicConsumeOk, BasicDeliver, BasicGetEmpty, BasicGetOk,
    BasicQos, BasicRecoverOk, BasicReturn, ChannelClose, ChannelCloseOk, ChannelFlow, ChannelFlowOk, ChannelOpen,
    ChannelOpenOk, ConfirmSelectOk, ConnectionClose, ConnectionCloseOk, ConnectionOpen, Encode, ExchangeDeclareOk,
    QueueBindOk, QueueDeclare, QueueDeclareOk, TxSelectOk,
};
use leveret_protocol::amqp091::{Properties, ReplyCode};
use leveret_testkit::amqp091::{
    Channel, Confirm, Connection, basic_consume, basic_publish, header_frame, method_frame, queue_declare,
};
use leveret_testkit::{broker, unique};

use crate::Blame as _;

const OPEN: ChannelOpen<'_> = ChannelOpen { out_of_band: "" };
const GOODBYE: ChannelClose<'_> = ChannelClose { reply_code: 200, reply_text: "Goodbye", class_id: 0, method_id: 0 };

/// queue.declare that fails on its channel: there is no such queue.
fn failing(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare { passive: true, ..queue_declare(queue) }
}

/// Makes the server close this channel.
#[track_caller]
fn fail(channel: &Channel) {
    let queue = unique("missing");
    channel.send(&failing(&queue));
    let close: ChannelClose<'_> = channel.expect();
    assert_eq!(close.reply_code, ReplyCode::NotFound.code());
    assert_eq!(close.reply_text, format!("NOT_FOUND - no queue '{queue}' in vhost '/'"));
    assert_eq!(close.blame(), (50, 10));
}

#[test]
fn a_channel_opened_twice_is_504() {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.send(&OPEN);
    let close = channel.expect_connection_error(ReplyCode::ChannelError, "second 'channel.open' seen");
    assert_eq!(close.blame(), (20, 10));
}

#[test]
fn a_method_on_a_channel_that_is_not_open_is_504() {
    #[track_caller]
    fn check(method: &impl Encode) {
        let connection = Connection::open();
        connection.unopened_channel(3).send(method);
        let close = connection.expect_connection_error(ReplyCode::ChannelError, "expected 'channel.open'");
        assert_eq!(close.blame(), (method.class_id(), method.method_id()));
    }
    check(&queue_declare("q"));
    check(&BasicQos { prefetch_size: 0, prefetch_count: 1, global: false });
    check(&BasicAck { delivery_tag: 1, multiple: false });
    check(&ChannelFlow { active: true });
    check(&GOODBYE);
    check(&ChannelCloseOk {});
}

#[test]
fn publishing_on_a_channel_that_is_not_open_is_504() {
    let connection = Connection::open();
    connection.unopened_channel(3).publish("", "q", b"body");
    let close = connection.expect_connection_error(ReplyCode::ChannelError, "expected 'channel.open'");
    assert_eq!(close.blame(), (60, 40));
}

#[test]
fn a_channel_number_is_free_after_the_client_closed_it() {
    let connection = Connection::open();
    for _ in 0..3 {
        let channel = connection.channel_numbered(1);
        channel.temporary_queue();
        channel.close();
    }
    connection.unopened_channel(1).send(&queue_declare("q"));
    connection.expect_connection_error(ReplyCode::ChannelError, "expected 'channel.open'");
}

#[test]
fn a_channel_number_is_free_after_the_server_closed_it() {
    let connection = Connection::open();
    for _ in 0..3 {
        let channel = connection.channel_numbered(1);
        channel.send(&failing("missing"));
        channel.expect_channel_error(ReplyCode::NotFound, "no queue 'missing' in vhost '/'");
    }
    connection.channel_numbered(1).round_trip();
}

#[test]
fn a_reused_number_is_a_new_channel() {
    let connection = Connection::open();
    let channel = connection.channel_numbered(1);
    channel.confirm_select();
    let queue = channel.temporary_queue();
    channel.publish("", &queue, b"one");
    channel.next_confirm();
    channel.consume(&queue);
    channel.next_delivery();
    channel.close();

    let channel = connection.channel_numbered(1);
    assert_eq!(channel.message_count(&queue), 1);
    channel.publish("", &queue, b"two");
    channel.expect_nothing_from(&queue);
    let got = channel.get(&queue).unwrap();
    assert_eq!((got.delivery_tag, got.redelivered), (1, true));
}

#[test]
fn more_channels_than_negotiated_are_530() {
    let connection = Connection::builder().channel_max(2).open();
    let _channels = [connection.channel(), connection.channel()];
    connection.unopened_channel(3).send(&OPEN);
    let text = "number of channels opened (2) has reached the negotiated channel_max (2)";
    let close = connection.expect_connection_error(ReplyCode::NotAllowed, text);
    assert_eq!(close.blame(), (0, 0));
}

#[test]
fn a_closed_channel_does_not_count() {
    let connection = Connection::builder().channel_max(2).open();
    let _kept = connection.channel();
    for number in 2..10 {
        let channel = connection.channel_numbered(number);
        if number % 2 == 0 {
            channel.close();
        } else {
            channel.send(&failing("missing"));
            channel.expect_channel_error(ReplyCode::NotFound, "no queue 'missing' in vhost '/'");
        }
    }
}

#[test]
fn channel_max_limits_how_many_not_which_numbers() {
    let connection = Connection::builder().channel_max(2).open();
    connection.channel_numbered(65_535).round_trip();
    connection.channel_numbered(3000).round_trip();
}

#[test]
fn all_negotiated_channels_can_be_open_at_once() {
    let connection = Connection::open();
    let max = connection.tuned().channel_max;
    let octets: Vec<u8> = (1..=max).flat_map(|number| method_frame(number, &OPEN)).collect();
    let channels: Vec<_> = (1..=max).map(|number| connection.unopened_channel(number)).collect();
    connection.send_octets(&octets);
    for channel in &channels {
        let _: ChannelOpenOk<'_> = channel.expect();
    }
}

#[test]
fn closing_amid_content_is_505() {
    let text = "expected content header for class 60, got non content header frame instead";
    let connection = Connection::open();
    let channel = connection.channel();
    channel.send(&basic_publish("", "q"));
    channel.send(&GOODBYE);
    let close = channel.expect_connection_error(ReplyCode::UnexpectedFrame, text);
    assert_eq!(close.blame(), (60, 40));

    let text = "expected content body, got non content body frame instead";
    let connection = Connection::open();
    let channel = connection.channel();
    channel.send(&basic_publish("", "q"));
    channel.send_octets(&header_frame(channel.number(), 60, 10));
    channel.send(&GOODBYE);
    let close = channel.expect_connection_error(ReplyCode::UnexpectedFrame, text);
    assert_eq!(close.blame(), (60, 40));
}

#[test]
fn another_channel_can_close_amid_content() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = channel.temporary_queue();
    channel.send(&basic_publish("", &queue));
    other.close();
    channel.send_octets(&header_frame(channel.number(), 60, 0));
    // RabbitMQ's counts may lag behind; what it gives does not.
    assert_eq!(channel.get(&queue).unwrap().body, b"");
}

#[test]
fn methods_are_ignored_after_the_server_closed_a_channel() {
    let connection = Connection::open();
    let channel = connection.channel();
    let other = connection.channel();
    let queue = other.temporary_queue();
    fail(&channel);
    let ignored = unique("ignored");
    channel.send(&queue_declare(&ignored));
    channel.send(&failing("missing"));
    channel.send(&ChannelFlow { active: false });
    channel.publish("", &queue, b"ignored");
    channel.send(&ChannelCloseOk {});

    let again = connection.channel_numbered(channel.number());
    assert_eq!(again.message_count(&queue), 0);
    again.expect_nothing();
    again.send(&failing(&ignored));
    again.expect_channel_error(ReplyCode::NotFound, &format!("no queue '{ignored}' in vhost '/'"));
}

#[test]
fn a_channel_opened_before_its_close_is_answered_is_504() {
    let connection = Connection::open();
    let channel = connection.channel();
    fail(&channel);
    channel.send(&OPEN);
    let close = channel.expect_connection_error(ReplyCode::ChannelError, "second 'channel.open' seen");
    assert_eq!(close.blame(), (20, 10));
}

#[test]
fn content_out_of_place_is_505_even_after_the_server_closed_a_channel() {
    let connection = Connection::open();
    let channel = connection.channel();
    fail(&channel);
    channel.send_octets(&header_frame(channel.number(), 60, 0));
    let text = "expected method frame, got non method frame instead";
    channel.expect_connection_error(ReplyCode::UnexpectedFrame, text);
}

#[test]
fn content_begun_before_the_server_closed_a_channel_may_go_on() {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.send(&failing("missing"));
    channel.send(&basic_publish("", "q"));
    let close: ChannelClose<'_> = channel.expect();
    assert_eq!(close.reply_code, ReplyCode::NotFound.code());
    channel.send_octets(&header_frame(channel.number(), 60, 2));
    channel.send_frame(3, b"ab");
    channel.send(&ChannelCloseOk {});
    connection.channel_numbered(channel.number()).round_trip();
}

#[test]
fn closes_that_cross_are_both_answered() {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.send(&failing("missing"));
    channel.send(&GOODBYE);
    let close: ChannelClose<'_> = channel.expect();
    assert_eq!(close.reply_code, ReplyCode::NotFound.code());
    let _: ChannelCloseOk = channel.expect();
    channel.send(&ChannelCloseOk {});
    connection.channel_numbered(channel.number()).round_trip();
}

#[test]
fn an_error_on_a_channel_leaves_the_others_open() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = other.temporary_queue();
    other.consume(&queue);
    fail(&channel);
    other.publish("", &queue, b"still here");
    assert_eq!(other.next_delivery().body, b"still here");
    channel.send(&ChannelCloseOk {});
    other.round_trip();
}

#[test]
fn a_queue_declared_on_a_closed_channel_stays() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    fail(&channel);
    assert_eq!(connection.channel().message_count(&queue), 0);
}

#[test]
fn unacknowledged_messages_are_requeued_before_the_server_closes_a_channel() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = other.temporary_queue();
    for body in [b"1", b"2", b"3"] {
        other.publish("", &queue, body);
    }
    other.round_trip();
    channel.consume(&queue);
    for _ in 0..3 {
        channel.next_delivery();
    }
    fail(&channel);
    // Not before close-ok, but before the close that `fail` has read.
    let passive = other.call::<QueueDeclareOk<'_>>(&failing(&queue));
    assert_eq!((passive.message_count, passive.consumer_count), (3, 0));
    for body in [b"1", b"2", b"3"] {
        let got = other.get(&queue).unwrap();
        assert_eq!((got.body.as_slice(), got.redelivered), (&body[..], true));
    }
}

#[test]
fn unacknowledged_messages_are_requeued_when_close_ok_comes() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = other.temporary_queue();
    other.publish("", &queue, b"again");
    other.round_trip();
    channel.consume(&queue);
    channel.next_delivery();
    channel.close();
    let got = other.get(&queue).unwrap();
    assert_eq!((got.body.as_slice(), got.redelivered), (&b"again"[..], true));
}

#[test]
fn messages_published_before_close_are_not_lost() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = other.temporary_queue();
    for _ in 0..100 {
        channel.publish("", &queue, b"in time");
    }
    channel.close();
    assert_eq!(other.message_count(&queue), 100);
}

#[test]
fn confirms_owed_come_before_close_ok() {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.confirm_select();
    channel.publish("", &unique("nowhere"), b"unroutable");
    let _: ChannelCloseOk = channel.call(&GOODBYE);
    assert_eq!(channel.next_confirm(), Confirm::Ack { delivery_tag: 1, multiple: false });
}

#[test]
fn flow_can_be_turned_on_but_not_off() {
    let connection = Connection::open();
    let channel = connection.channel();
    let ok: ChannelFlowOk = channel.call(&ChannelFlow { active: true });
    assert!(ok.active);
    channel.send(&ChannelFlow { active: false });
    let close = channel.expect_connection_error(ReplyCode::NotImplemented, "active=false");
    assert_eq!(close.blame(), (20, 20));
}

#[test]
fn a_method_only_the_server_sends_is_503() {
    #[track_caller]
    fn check(method: &impl Encode) {
        let connection = Connection::open();
        let channel = connection.channel();
        channel.send(method);
        let close = channel.expect_connection_error(ReplyCode::CommandInvalid, "unimplemented method");
        assert_eq!(close.blame(), (method.class_id(), method.method_id()));
    }
    check(&ChannelOpenOk { channel_id: b"" });
    check(&ChannelFlowOk { active: true });
    check(&ChannelCloseOk {});
    check(&AccessRequestOk { ticket: 1 });
    check(&ExchangeDeclareOk {});
    check(&QueueDeclareOk { queue: "q", message_count: 0, consumer_count: 0 });
    check(&QueueBindOk {});
    check(&BasicConsumeOk { consumer_tag: "t" });
    check(&BasicCancelOk { consumer_tag: "t" });
    check(&BasicGetEmpty { cluster_id: "" });
    check(&BasicRecoverOk {});
    check(&TxSelectOk {});
    check(&ConfirmSelectOk {});
}

#[test]
fn content_only_the_server_sends_is_503() {
    #[track_caller]
    fn check(method: &impl Encode) {
        let connection = Connection::open();
        let channel = connection.channel();
        channel.send_content(method, &Properties::default(), b"body");
        let close = channel.expect_connection_error(ReplyCode::CommandInvalid, "unimplemented method");
        assert_eq!(close.blame(), (method.class_id(), method.method_id()));
    }
    check(&BasicDeliver { consumer_tag: "t", delivery_tag: 1, redelivered: false, exchange: "", routing_key: "q" });
    check(&BasicReturn { reply_code: 312, reply_text: "NO_ROUTE", exchange: "", routing_key: "q" });
    check(&BasicGetOk { delivery_tag: 1, redelivered: false, exchange: "", routing_key: "q", message_count: 0 });
}

#[test]
fn a_method_of_the_connection_on_a_channel_is_503() {
    #[track_caller]
    fn check(method: &impl Encode) {
        let connection = Connection::open();
        let channel = connection.channel();
        channel.send(method);
        let close = channel.expect_connection_error(ReplyCode::CommandInvalid, "unimplemented method");
        assert_eq!(close.blame(), (method.class_id(), method.method_id()));
    }
    check(&ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
    check(&ConnectionClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
    check(&ConnectionCloseOk {});
}

#[test]
fn access_is_always_granted() {
    let connection = Connection::open();
    let channel = connection.channel();
    for bits in [false, true] {
        let ok: AccessRequestOk = channel.call(&AccessRequest {
            realm: "/data",
            exclusive: bits,
            passive: bits,
            active: bits,
            write: bits,
            read: bits,
        });
        assert_eq!(ok.ticket, 1);
    }
}

#[test]
fn a_hard_error_ends_all_channels() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = other.temporary_queue();
    other.consume(&queue);
    channel.send(&BasicQos { prefetch_size: 1, prefetch_count: 0, global: false });
    let close = channel.expect_connection_error(ReplyCode::NotImplemented, "prefetch_size!=0 (1)");
    assert_eq!(close.blame(), (60, 10));
}

#[test]
fn a_soft_error_blames_its_method() {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.send(&basic_consume("missing"));
    let close = channel.expect_channel_error(ReplyCode::NotFound, "no queue 'missing' in vhost '/'");
    assert_eq!(close.blame(), (60, 20));

    let channel = connection.channel();
    channel.publish("missing", "key", b"");
    let close = channel.expect_channel_error(ReplyCode::NotFound, "no exchange 'missing' in vhost '/'");
    assert_eq!(close.blame(), (60, 40));

    let channel = connection.channel();
    channel.ack(7);
    let close = channel.expect_channel_error(ReplyCode::PreconditionFailed, "unknown delivery tag 7");
    assert_eq!(close.blame(), (60, 80));
}

#[test]
fn a_reply_text_is_cut_at_255_octets() {
    let connection = Connection::open();
    let channel = connection.channel();
    let name = "q".repeat(255);
    channel.send(&failing(&name));
    let text = format!("no queue '{}...", "q".repeat(252 - "NOT_FOUND - no queue '".len()));
    channel.expect_channel_error(ReplyCode::NotFound, &text);
}

#[test]
fn a_reply_text_is_cut_between_characters() {
    if broker::differs("it cuts characters in two") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    // 23 octets of text before the name and two per character: the 252nd octet would begin a character.
    channel.send(&failing(&format!("q{}", "é".repeat(127))));
    let text = format!("no queue 'q{}...", "é".repeat((252 - "NOT_FOUND - no queue 'q".len()) / 2));
    channel.expect_channel_error(ReplyCode::NotFound, &text);
}
