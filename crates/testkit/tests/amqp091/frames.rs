//! Framing: what is no frame, frames out of place, content cut into frames, and octets that come in any portions.

use leveret_protocol::amqp091::frame::{write_content, write_header};
use leveret_protocol::amqp091::method::{
    BasicAck, BasicConsumeOk, BasicDeliver, ChannelFlow, ChannelFlowOk, ChannelOpen, ChannelOpenOk, ConfirmSelect,
    ConfirmSelectOk, ConnectionClose, ConnectionOpenOk, QueueDeclareOk,
};
use leveret_protocol::amqp091::{CLASS_BASIC, ContentHeader, FrameKind, ReplyCode};
use leveret_testkit::amqp091::{
    Channel, Confirm, Connection, basic_consume, basic_publish, header_frame, method_frame, queue_declare,
};
use leveret_testkit::{broker, unique};

use crate::Blame as _;

const PUBLISH: (u16, u16) = (60, 40);
const NONE: (u16, u16) = (0, 0);

/// Sends octets on a connection with channel 1 open and expects it to end with this error.
#[track_caller]
fn assert_refused(octets: &[u8], code: ReplyCode, text: &str, blame: (u16, u16)) {
    let connection = Connection::open();
    let _channel = connection.channel();
    connection.send_octets(octets);
    assert_eq!(connection.expect_connection_error(code, text).blame(), blame, "{text}");
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, b"\xce"].concat()
}

fn publish_frame(channel: u16, queue: &str) -> Vec<u8> {
    method_frame(channel, &basic_publish("", queue))
}

fn message_frames(channel: u16, queue: &str, body: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    write_content(&mut octets, channel, &basic_publish("", queue), &[], body, 131_072);
    octets
}

fn confirming_channel(connection: &Connection) -> (Channel, String) {
    let channel = connection.channel();
    channel.confirm_select();
    let queue = channel.temporary_queue();
    (channel, queue)
}

#[track_caller]
fn assert_acked(channel: &Channel, delivery_tag: u64) {
    assert_eq!(channel.next_confirm(), Confirm::Ack { delivery_tag, multiple: false });
}

#[test]
fn a_frame_larger_than_negotiated_is_501() {
    let text = "type 1, all octets = <<>>: {frame_too_large,131073,131064}";
    assert_refused(b"\x01\0\x01\0\x02\0\x01", ReplyCode::FrameError, text, NONE);
    let text = "type 3, all octets = <<>>: {frame_too_large,4294967295,131064}";
    assert_refused(b"\x03\0\x01\xff\xff\xff\xff", ReplyCode::FrameError, text, NONE);
}

#[test]
fn the_frame_size_that_was_negotiated_counts() {
    let connection = Connection::builder().frame_max(10_000).open();
    connection.send_octets(b"\x03\0\x01\0\0\x27\x11");
    let text = "type 3, all octets = <<>>: {frame_too_large,10001,9992}";
    connection.expect_connection_error(ReplyCode::FrameError, text);
}

#[test]
fn a_frame_may_exceed_the_negotiated_size_by_its_overhead() {
    let connection = Connection::open();
    let (channel, queue) = confirming_channel(&connection);
    let body = vec![b'x'; connection.tuned().frame_max as usize];
    channel.send_octets(&publish_frame(channel.number(), &queue));
    channel.send_octets(&header_frame(channel.number(), CLASS_BASIC, body.len() as u64));
    channel.send_frame(FrameKind::Body as u8, &body);
    assert_acked(&channel, 1);
    assert_eq!(channel.get(&queue).unwrap().body, body);
}

#[test]
fn a_frame_that_does_not_end_with_the_end_marker_is_501() {
    let text = "type 1, all octets = <<0,20,0,20,1>>: {invalid_frame_end_marker,0}";
    assert_refused(b"\x01\0\x01\0\0\0\x05\0\x14\0\x14\x01\0", ReplyCode::FrameError, text, NONE);
    let text = "type 3, all octets = <<\"abc\">>: {invalid_frame_end_marker,205}";
    assert_refused(b"\x03\0\x01\0\0\0\x03abc\xcd", ReplyCode::FrameError, text, NONE);
}

#[test]
fn a_frame_of_unknown_type_is_501() {
    for channel in [0, 1, 9] {
        for (kind, payload, snippet) in [
            (9, &b""[..], "all octets = <<>>"),
            (0, b"\x01\x02\xff", "all octets = <<1,2,255>>"),
            (4, b"hello", "all octets = <<\"hello\">>"),
            (5, b"\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", {
                "all octets = <<0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15>>"
            }),
            (255, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "first 16 octets = <<0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0>>"),
        ] {
            let text = format!("type {kind}, {snippet}: unknown_frame");
            assert_refused(&frame(kind, channel, payload), ReplyCode::FrameError, &text, NONE);
        }
    }
}

#[test]
fn a_payload_too_short_for_its_type_is_501() {
    for (kind, payload, snippet) in [
        (1, &b""[..], "<<>>"),
        (1, b"\0\x3c\0", "<<0,60,0>>"),
        (2, b"\0\x3c\0\0\0\0\0\0\0\0\0", "<<0,60,0,0,0,0,0,0,0,0,0>>"),
    ] {
        let text = format!("type {kind}, all octets = {snippet}: unknown_frame");
        assert_refused(&frame(kind, 1, payload), ReplyCode::FrameError, &text, NONE);
    }
}

#[test]
fn a_heartbeat_with_a_payload_is_501() {
    let text = "type 8, all octets = <<\"abc\">>: unknown_frame";
    for channel in [0, 1] {
        assert_refused(&frame(8, channel, b"abc"), ReplyCode::FrameError, text, NONE);
    }
}

#[test]
fn a_method_whose_arguments_do_not_decode_is_501() {
    for (payload, octets, blame) in [
        (&b"\0\x32\0\x0a\0\0\x05ab"[..], "<<0,0,5,97,98>>", (50, 10)),
        (b"\0\x3c\0\x0a\0\0\0\0\0\x01\0zz", "<<0,0,0,0,0,1,0,122,122>>", (60, 10)),
        (b"\0\x3c\0\x50\0", "<<0>>", (60, 80)),
        (b"\0\x14\0\x0a", "<<>>", (20, 10)),
    ] {
        let text = format!("cannot decode {octets}");
        assert_refused(&frame(1, 1, payload), ReplyCode::FrameError, &text, blame);
    }
}

#[test]
fn a_report_of_what_does_not_decode_is_cut_at_255_octets() {
    let payload = [&b"\0\x3c\0\x0a"[..], &[100; 80]].concat();
    let whole = format!("FRAME_ERROR - cannot decode <<{}>>", ["100"; 80].join(","));
    let text = format!("{}...", &whole["FRAME_ERROR - ".len()..252]);
    assert_refused(&frame(1, 1, &payload), ReplyCode::FrameError, &text, (60, 10));
}

#[test]
fn a_short_string_that_is_not_utf_8_is_501() {
    for name in [&b"\xff\xfe"[..], b"\xc0\x80", b"caf\xe9"] {
        let length = u8::try_from(name.len()).unwrap();
        let payload = [b"\0\x32\0\x0a\0\0", &[length][..], name, b"\0\0\0\0\0"].concat();
        assert_refused(&frame(1, 1, &payload), ReplyCode::FrameError, "Malformed UTF-8 in shortstr", NONE);
    }
}

/// RabbitMQ hangs up without a word; any connection.close says more.
#[test]
fn an_unknown_method_or_a_malformed_table_ends_the_connection() {
    let unknown_field_type = b"\0\x32\0\x0a\0\0\x01q\0\0\0\0\x03\x01k?";
    let table_cut_short = b"\0\x32\0\x0a\0\0\x01q\0\0\0\0\x04\x01kI\0";
    for (channel, payload) in [
        (1, &b"\0\x3c\x03\xe7"[..]),
        (1, b"\0\x4d\0\x0a"),
        (0, b"\0\x0a\x03\xe7"),
        (0, b"\0\x4d\0\x0a"),
        (1, unknown_field_type),
        (1, table_cut_short),
    ] {
        let connection = Connection::open();
        let _channel = connection.channel();
        connection.send_frame(FrameKind::Method as u8, channel, payload);
        if !broker::is_rabbitmq() {
            let close: ConnectionClose<'_> = connection.expect();
            assert!(matches!(close.reply_code, 501..=503 | 540 | 541), "{payload:?}: {close:?}");
            connection.send(&leveret_protocol::amqp091::method::ConnectionCloseOk {});
        }
        connection.expect_end();
    }
}

#[test]
fn content_announced_larger_than_512_mebibytes_is_501() {
    if broker::differs("it waits for content of any size") {
        return;
    }
    let size = 512 * 1024 * 1024 + 1;
    let octets = [publish_frame(1, "q"), header_frame(1, CLASS_BASIC, size)].concat();
    let text = "content body size 536870913 exceeds maximum allowed size 536870912";
    assert_refused(&octets, ReplyCode::FrameError, text, PUBLISH);
}

#[test]
fn content_longer_than_announced_is_501() {
    if broker::differs("it waits for more") {
        return;
    }
    let text = "content body frame exceeds remaining content size";
    for bodies in [&[&b"abc"[..]][..], &[b"a", b"bc"]] {
        let mut octets = [publish_frame(1, "q"), header_frame(1, CLASS_BASIC, 2)].concat();
        for body in bodies {
            octets.extend(frame(3, 1, body));
        }
        assert_refused(&octets, ReplyCode::FrameError, text, PUBLISH);
    }
}

#[test]
fn content_before_a_method_is_505() {
    let text = "expected method frame, got non method frame instead";
    // On a channel that was never opened as well: the frame is looked at before the channel is.
    for channel in [1, 2] {
        for octets in [header_frame(channel, CLASS_BASIC, 1), frame(3, channel, b"x")] {
            assert_refused(&octets, ReplyCode::UnexpectedFrame, text, NONE);
        }
    }
}

#[test]
fn a_body_frame_after_content_is_complete_is_505() {
    let text = "expected method frame, got non method frame instead";
    for body in [&b""[..], b"whole"] {
        let octets = [message_frames(1, "q", body), frame(3, 1, b"")].concat();
        assert_refused(&octets, ReplyCode::UnexpectedFrame, text, NONE);
    }
}

#[test]
fn anything_but_a_header_after_publish_is_505() {
    let text = "expected content header for class 60, got non content header frame instead";
    let weighty_header = frame(2, 1, b"\0\x3c\0\x01\0\0\0\0\0\0\0\0\0\0");
    for next in [frame(3, 1, b"x"), method_frame(1, &ChannelFlow { active: true }), weighty_header] {
        let octets = [publish_frame(1, "q"), next].concat();
        assert_refused(&octets, ReplyCode::UnexpectedFrame, text, PUBLISH);
    }
}

#[test]
fn a_header_of_another_class_is_505() {
    for class_id in [0, 50, 61] {
        let text = format!("expected content header for class 60, got one for class {class_id} instead");
        for size in [0, 1] {
            let octets = [publish_frame(1, "q"), header_frame(1, class_id, size)].concat();
            assert_refused(&octets, ReplyCode::UnexpectedFrame, &text, PUBLISH);
        }
    }
}

#[test]
fn anything_but_a_body_after_a_header_is_505() {
    let text = "expected content body, got non content body frame instead";
    for next in [header_frame(1, CLASS_BASIC, 1), method_frame(1, &ChannelFlow { active: true })] {
        let octets = [publish_frame(1, "q"), header_frame(1, CLASS_BASIC, 2), frame(3, 1, b"a"), next].concat();
        assert_refused(&octets, ReplyCode::UnexpectedFrame, text, PUBLISH);
    }
}

#[test]
fn a_heartbeat_on_a_channel_is_505() {
    for channel in [1, 2] {
        let text = "type 8, all octets = <<>>";
        assert_refused(&frame(8, channel, b""), ReplyCode::UnexpectedFrame, text, NONE);
    }
}

#[test]
fn content_on_channel_0_is_505() {
    let text = "type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,0,0,0,0>>";
    assert_refused(&header_frame(0, CLASS_BASIC, 0), ReplyCode::UnexpectedFrame, text, NONE);
    let text = "type 3, all octets = <<\"abc\">>";
    assert_refused(&frame(3, 0, b"abc"), ReplyCode::UnexpectedFrame, text, NONE);
}

#[test]
fn octets_may_come_one_by_one() {
    let connection = Connection::open();
    let (channel, queue) = confirming_channel(&connection);
    for octet in message_frames(channel.number(), &queue, b"piece by piece") {
        connection.send_octets(&[octet]);
    }
    assert_acked(&channel, 1);
    assert_eq!(channel.get(&queue).unwrap().body, b"piece by piece");
}

#[test]
fn octets_may_be_cut_anywhere() {
    let connection = Connection::open();
    let (channel, queue) = confirming_channel(&connection);
    let octets = message_frames(channel.number(), &queue, b"in two pieces");
    for (cut, tag) in (1..octets.len()).zip(1..) {
        let (first, second) = octets.split_at(cut);
        connection.send_octets(first);
        connection.send_octets(second);
        assert_acked(&channel, tag);
        assert_eq!(channel.get(&queue).unwrap().body, b"in two pieces", "cut at {cut}");
    }
}

#[test]
fn many_frames_may_come_in_one_write() {
    let connection = Connection::open();
    let queue = unique("queue");
    let mut octets = method_frame(5, &ChannelOpen { out_of_band: "" });
    octets.extend(method_frame(5, &ConfirmSelect { no_wait: false }));
    octets.extend(method_frame(5, &queue_declare(&queue)));
    for number in 0..1000 {
        octets.extend(message_frames(5, &queue, format!("message {number}").as_bytes()));
    }
    let channel = connection.unopened_channel(5);
    connection.send_octets(&octets);
    let _: ChannelOpenOk<'_> = channel.expect();
    let _: ConfirmSelectOk = channel.expect();
    let _: QueueDeclareOk<'_> = channel.expect();
    let mut confirmed = 0;
    while confirmed < 1000 {
        match channel.next_confirm() {
            Confirm::Ack { delivery_tag, multiple } => {
                assert!(delivery_tag == confirmed + 1 || multiple && delivery_tag > confirmed);
                confirmed = delivery_tag;
            }
            nack @ Confirm::Nack { .. } => panic!("{nack:?}"),
        }
    }
    let got = channel.get(&queue).unwrap();
    assert_eq!((got.body.as_slice(), got.message_count), (&b"message 0"[..], 999));
}

#[test]
fn content_of_two_channels_may_interleave() {
    let connection = Connection::open();
    let (one, queue_one) = confirming_channel(&connection);
    let (two, queue_two) = confirming_channel(&connection);
    let (first, second) = (one.number(), two.number());
    let octets = [
        publish_frame(first, &queue_one),
        publish_frame(second, &queue_two),
        header_frame(first, CLASS_BASIC, 4),
        frame(3, first, b"on"),
        header_frame(second, CLASS_BASIC, 4),
        frame(3, second, b"tw"),
        frame(3, first, b"e!"),
        frame(8, 0, b""),
        frame(3, second, b"o!"),
    ];
    connection.send_octets(&octets.concat());
    assert_acked(&one, 1);
    assert_acked(&two, 1);
    assert_eq!(one.get(&queue_one).unwrap().body, b"one!");
    assert_eq!(two.get(&queue_two).unwrap().body, b"two!");
}

#[test]
fn a_body_may_be_cut_into_frames_of_any_size() {
    let connection = Connection::open();
    let (channel, queue) = confirming_channel(&connection);
    let mut octets = [publish_frame(1, &queue), header_frame(1, CLASS_BASIC, 6)].concat();
    for piece in [&b""[..], b"abc", b"", b"", b"d", b"ef"] {
        octets.extend(frame(3, 1, piece));
    }
    connection.send_octets(&octets);
    assert_acked(&channel, 1);
    assert_eq!(channel.get(&queue).unwrap().body, b"abcdef");
}

#[test]
fn content_without_body_has_no_body_frame() {
    let mut raw = Connection::builder().through_open();
    let _: ConnectionOpenOk<'_> = raw.expect();
    raw.send_method(1, &ChannelOpen { out_of_band: "" });
    let _: ChannelOpenOk<'_> = raw.expect();
    let queue = unique("queue");
    raw.send_method(1, &queue_declare(&queue));
    let _: QueueDeclareOk<'_> = raw.expect();
    raw.send_method(1, &basic_consume(&queue));
    let _: BasicConsumeOk<'_> = raw.expect();
    raw.send(&message_frames(1, &queue, b""));
    let _: BasicDeliver<'_> = raw.expect();
    let header = raw.read_frame();
    assert_eq!(header.kind, FrameKind::Header);
    assert_eq!(ContentHeader::decode(&header.payload).unwrap().body_size, 0);
    raw.send_method(1, &ChannelFlow { active: true });
    let _: ChannelFlowOk = raw.expect();
}

#[test]
fn the_server_keeps_to_the_negotiated_frame_size() {
    for frame_max in [8192, 131_072] {
        let mut raw = Connection::builder().frame_max(frame_max).through_open();
        let _: ConnectionOpenOk<'_> = raw.expect();
        raw.send_method(1, &ChannelOpen { out_of_band: "" });
        let _: ChannelOpenOk<'_> = raw.expect();
        let queue = unique("queue");
        raw.send_method(1, &queue_declare(&queue));
        let _: QueueDeclareOk<'_> = raw.expect();
        raw.send_method(1, &basic_consume(&queue));
        let _: BasicConsumeOk<'_> = raw.expect();
        let payload_max = frame_max as usize - 8;
        for size in [payload_max, payload_max + 1, 3 * payload_max] {
            let mut octets = Vec::new();
            let body = vec![b'x'; size];
            write_content(&mut octets, 1, &basic_publish("", &queue), &[], &body, frame_max as usize);
            raw.send(&octets);
            let deliver: BasicDeliver<'_> = raw.expect();
            let header = raw.read_frame();
            assert_eq!(ContentHeader::decode(&header.payload).unwrap().body_size, size as u64);
            let mut received = 0;
            while received < size {
                let body = raw.read_frame();
                assert_eq!(body.kind, FrameKind::Body);
                assert!(body.payload.len() <= payload_max, "a frame of {} in {frame_max}", body.payload.len() + 8);
                received += body.payload.len();
            }
            raw.send_method(1, &BasicAck { delivery_tag: deliver.delivery_tag, multiple: false });
        }
    }
}

#[test]
fn a_message_of_many_frames_comes_back_whole() {
    let connection = Connection::open();
    let (channel, queue) = confirming_channel(&connection);
    let body: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_be_bytes).collect();
    channel.publish("", &queue, &body);
    assert_acked(&channel, 1);
    assert!(channel.get(&queue).unwrap().body == body);
}

/// The header frame of a message without body, and its property flags and list as they are.
fn properties_frame(channel: u16, properties: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    write_header(&mut octets, channel, properties, 0);
    octets
}

#[test]
fn properties_that_do_not_decode_are_541() {
    let list_cut_short = b"\x80\0\x09a";
    let unknown_field_type = b"\x20\0\0\0\0\x03\x01k?";
    let table_cut_short = b"\x20\0\0\0\0\x04\x01kI\0";
    for properties in [&list_cut_short[..], unknown_field_type, table_cut_short] {
        let octets = [publish_frame(1, "q"), properties_frame(1, properties)].concat();
        assert_refused(&octets, ReplyCode::InternalError, "", NONE);
    }
}

#[test]
fn properties_that_are_not_utf_8_are_passed_on() {
    let mut raw = Connection::builder().through_open();
    let _: ConnectionOpenOk<'_> = raw.expect();
    raw.send_method(1, &ChannelOpen { out_of_band: "" });
    let _: ChannelOpenOk<'_> = raw.expect();
    let queue = unique("queue");
    raw.send_method(1, &queue_declare(&queue));
    let _: QueueDeclareOk<'_> = raw.expect();
    raw.send_method(1, &basic_consume(&queue));
    let _: BasicConsumeOk<'_> = raw.expect();
    let correlation_id = b"\x04\0\x04caf\xe9";
    raw.send(&[publish_frame(1, &queue), properties_frame(1, correlation_id)].concat());
    let _: BasicDeliver<'_> = raw.expect();
    let header = raw.read_frame();
    assert_eq!(ContentHeader::decode(&header.payload).unwrap().properties, correlation_id);
}

#[test]
fn content_cut_off_by_the_end_of_the_connection_is_dropped() {
    let keeper = Connection::open();
    let channel = keeper.channel();
    let queue = channel.temporary_queue();
    for cut in [b"".to_vec(), frame(3, 1, b"half"), b"\x03\0\x01\0\0\0\x08ha".to_vec()] {
        let connection = Connection::open();
        let publisher = connection.channel();
        publisher.publish("", &queue, b"whole");
        publisher.round_trip();
        connection.send_octets(&[publish_frame(1, &queue), header_frame(1, CLASS_BASIC, 8), cut].concat());
        drop((publisher, connection));
    }
    assert_eq!(channel.message_count(&queue), 3);
}
