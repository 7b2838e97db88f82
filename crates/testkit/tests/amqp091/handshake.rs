//! From the protocol header to connection.open-ok, heartbeats, and the end of a connection.

use std::time::{Duration, Instant};

use leveret_protocol::amqp091::frame::{FrameKind, write_heartbeat};
use leveret_protocol::amqp091::method::{
    ChannelOpen, ConnectionClose, ConnectionCloseOk, ConnectionOpen, ConnectionOpenOk, ConnectionStart,
    ConnectionStartOk, ConnectionTune, ConnectionTuneOk, ConnectionUpdateSecret, ConnectionUpdateSecretOk, Encode,
    QueueDeclare,
};
use leveret_protocol::amqp091::{ProtocolHeader, ReplyCode, Table, Value};
use leveret_testkit::amqp091::{
    Connection, RawConnection, basic_publish, method_frame, plain, queue_declare, start_ok, table,
};
use leveret_testkit::{broker, unique};

use crate::Blame as _;

/// The header that RabbitMQ 4 offers instead of one it does not know.
const OFFER: [u8; 8] = *b"AMQP\x03\x01\0\0";

const GOODBYE: ConnectionClose<'_> =
    ConnectionClose { reply_code: 200, reply_text: "Goodbye", class_id: 0, method_id: 0 };

fn open(virtual_host: &str) -> ConnectionOpen<'_> {
    ConnectionOpen { virtual_host, capabilities: "", insist: false }
}

/// A queue that would be seen from other connections and outlive its own.
fn lasting_queue(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare { durable: true, exclusive: false, ..queue_declare(queue) }
}

#[track_caller]
fn assert_no_queue(queue: &str) {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.send(&QueueDeclare { passive: true, ..lasting_queue(queue) });
    channel.expect_channel_error(ReplyCode::NotFound, &format!("no queue '{queue}' in vhost '/'"));
}

#[test]
fn the_server_starts_with_version_mechanisms_and_locale() {
    let (_raw, start) = RawConnection::start();
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    let mechanisms: Vec<_> = std::str::from_utf8(start.mechanisms).unwrap().split(' ').collect();
    assert!(mechanisms.contains(&"PLAIN") && mechanisms.contains(&"AMQPLAIN"), "{mechanisms:?}");
    assert_eq!(start.locales, b"en_US");
}

#[test]
fn server_properties_name_the_product_as_clients_expect() {
    let (_raw, start) = RawConnection::start();
    for name in ["product", "version", "platform", "copyright", "information", "cluster_name"] {
        let value = start.server_properties.get(name);
        assert!(matches!(value, Some(Value::LongStr(text)) if !text.is_empty()), "{name}: {value:?}");
    }
    assert_eq!(start.server_properties.get("product"), Some(Value::LongStr(b"RabbitMQ")));
}

#[test]
fn server_properties_name_nine_capabilities() {
    let (_raw, start) = RawConnection::start();
    let Some(Value::Table(capabilities)) = start.server_properties.get("capabilities") else {
        panic!("no capabilities: {:?}", start.server_properties)
    };
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert_eq!(capabilities.get(name), Some(Value::Bool(true)), "{name}");
    }
    assert_eq!(capabilities.iter().count(), 9);
}

#[test]
fn the_header_of_amqp_0_9_is_taken_for_0_9_1() {
    let mut raw = RawConnection::connect();
    raw.send(&ProtocolHeader::AMQP_0_9.octets());
    let start: ConnectionStart<'_> = raw.expect();
    assert_eq!((start.version_major, start.version_minor), (0, 9));
}

#[test]
fn a_protocol_header_may_come_octet_by_octet() {
    let mut raw = RawConnection::connect();
    for octet in ProtocolHeader::AMQP_0_9_1.octets() {
        raw.send(&[octet]);
    }
    let _: ConnectionStart<'_> = raw.expect();
}

#[test]
fn a_header_of_a_later_amqp_0_is_answered_with_0_9_1() {
    for header in [b"AMQP\0\0\x09\0", b"AMQP\0\0\x09\x02", b"AMQP\0\0\x0a\0"] {
        let mut raw = RawConnection::connect();
        raw.send(header);
        assert_eq!(raw.read_octets(), ProtocolHeader::AMQP_0_9_1.octets(), "{header:?}");
        raw.expect_end();
    }
}

#[test]
fn any_other_header_is_answered_with_amqp_1_0() {
    let tls_client_hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";
    for header in [
        &b"AMQP\0\0\x08\0"[..],
        b"AMQP\x04\x01\0\0",
        b"AMQP\x09\x09\x09\x09",
        b"amqp\0\0\x09\x01",
        b"GET / HTTP/1.1\r\nHost: leveret\r\n\r\n",
        tls_client_hello,
    ] {
        let mut raw = RawConnection::connect();
        raw.send(header);
        let answer = if broker::differs("a wrong header is answered with AMQP 0-9-1") {
            ProtocolHeader::AMQP_0_9_1.octets()
        } else {
            OFFER
        };
        assert_eq!(raw.read_octets(), answer, "{header:?}");
        raw.expect_end();
    }
}

#[test]
fn the_header_of_amqp_0_8_is_answered_with_amqp_1_0() {
    if broker::differs("AMQP 0-8 is still spoken") {
        return;
    }
    for header in [b"AMQP\x01\x01\x08\0", b"AMQP\x01\x01\x09\x01"] {
        let mut raw = RawConnection::connect();
        raw.send(header);
        assert_eq!(raw.read_octets(), OFFER, "{header:?}");
        raw.expect_end();
    }
}

#[test]
fn amqp_1_0_without_its_sasl_layer_is_answered_with_the_sasl_header() {
    if broker::differs("AMQP 1.0 is a plugin, which answers with 0-9-1 when off") {
        return;
    }
    for header in [b"AMQP\0\x01\0\0", b"AMQP\x02\x01\0\0"] {
        let mut raw = RawConnection::connect();
        raw.send(header);
        assert_eq!(raw.read_octets(), OFFER, "{header:?}");
        raw.expect_end();
    }
}

#[test]
fn a_handshake_not_finished_in_ten_seconds_ends_the_connection() {
    let begun = Instant::now();
    let mut half_header = RawConnection::connect();
    half_header.send(b"AMQP");
    let unfinished = [
        RawConnection::connect(),
        half_header,
        RawConnection::start().0,
        Connection::builder().through_start_ok(),
        Connection::builder().through_tune_ok(),
    ];
    for (step, raw) in unfinished.into_iter().enumerate() {
        let mut raw = raw.with_deadline(Duration::from_secs(15));
        if step == 3 {
            let _: ConnectionTune = raw.expect();
        }
        raw.expect_end();
        assert!(begun.elapsed() > Duration::from_secs(9), "step {step} ended after {:?}", begun.elapsed());
    }
}

#[test]
fn plain_logs_in() {
    Connection::open().channel().round_trip();
}

#[test]
fn amqplain_logs_in() {
    let url = broker::url();
    let response =
        table(&[("LOGIN", Value::LongStr(url.user.as_bytes())), ("PASSWORD", Value::LongStr(url.password.as_bytes()))]);
    Connection::builder().mechanism("AMQPLAIN", response.octets()).open().channel().round_trip();
}

#[test]
fn the_locale_a_client_picks_does_not_matter() {
    let (mut raw, _) = RawConnection::start();
    let url = broker::url();
    let response = plain(&url.user, &url.password);
    raw.send_method(0, &ConnectionStartOk { locale: "xx_XX", ..start_ok("PLAIN", &response) });
    let _: ConnectionTune = raw.expect();
}

#[test]
fn an_unknown_or_malformed_login_ends_the_connection_without_a_word() {
    let without_password = table(&[("LOGIN", Value::LongStr(b"guest"))]);
    let logins = [
        ("PLAIN", &b"guest"[..]),
        ("PLAIN", b""),
        ("PLAIN", b"\0guest"),
        ("AMQPLAIN", without_password.octets()),
        ("AMQPLAIN", b""),
        ("LEVERET", b"\0guest\0guest"),
        ("plain", b"\0guest\0guest"),
        ("", b""),
    ];
    let refused: Vec<_> = logins
        .iter()
        .map(|(mechanism, response)| Connection::builder().mechanism(mechanism, response).through_start_ok())
        .collect();
    for mut raw in refused {
        raw.expect_end();
    }
}

#[test]
fn bad_credentials_are_refused_with_403_if_the_client_can_take_it() {
    let nobody = unique("nobody");
    for (user, password) in [("guest", "wrong"), ("guest", ""), (&nobody, "guest")] {
        let login =
            table(&[("LOGIN", Value::LongStr(user.as_bytes())), ("PASSWORD", Value::LongStr(password.as_bytes()))]);
        for (mechanism, response) in [("PLAIN", plain(user, password)), ("AMQPLAIN", login.octets().to_vec())] {
            let mut raw = Connection::builder().mechanism(mechanism, &response).through_start_ok();
            let text = format!(
                "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
            );
            let close = raw.expect_close(ReplyCode::AccessRefused, &text);
            assert_eq!(close.blame(), (0, 0));
        }
    }
}

#[test]
fn bad_credentials_end_the_connection_without_a_word_if_the_client_can_not_take_it() {
    let mut raw = Connection::builder()
        .user("guest", "wrong")
        .without_capability("authentication_failure_close")
        .through_start_ok();
    raw.expect_end();
}

#[test]
fn limits_beyond_those_of_the_server_are_refused() {
    let mut raw = Connection::builder().through_start_ok();
    let tune: ConnectionTune = raw.expect();
    assert_eq!((tune.channel_max, tune.frame_max, tune.heartbeat), (2047, 131_072, 60));
    let refused = [
        (0, 131_072, "channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"),
        (2048, 131_072, "channel_max = 2048 is higher than the maximum allowed value (2047)"),
        (u16::MAX, 131_072, "channel_max = 65535 is higher than the maximum allowed value (2047)"),
        (2047, 0, "frame_max = 0 is higher than the maximum allowed value (131072)"),
        (2047, 131_073, "frame_max = 131073 is higher than the maximum allowed value (131072)"),
        (2047, 1, "frame_max = 1 is lower than the minimum allowed value (8192)"),
        (2047, 4095, "frame_max = 4095 is lower than the minimum allowed value (8192)"),
        (0, 1, "frame_max = 1 is lower than the minimum allowed value (8192)"),
    ];
    let tuned = refused.map(|(channel_max, frame_max, text)| {
        (Connection::builder().channel_max(channel_max).frame_max(frame_max).through_tune_ok(), text)
    });
    for (raw, text) in tuned {
        assert_limit_refused(raw, text);
    }
}

#[test]
fn frames_of_less_than_eight_kilobytes_are_refused() {
    if broker::differs("frame_max may be as low as 4096") {
        return;
    }
    for frame_max in [4096, 8191] {
        let raw = Connection::builder().frame_max(frame_max).through_tune_ok();
        let text = format!("frame_max = {frame_max} is lower than the minimum allowed value (8192)");
        assert_limit_refused(raw, &text);
    }
}

/// RabbitMQ has the text, fails on the way to sending it, and hangs up.
#[track_caller]
fn assert_limit_refused(mut raw: RawConnection, text: &str) {
    if broker::is_rabbitmq() {
        raw.expect_end();
    } else {
        let close = raw.expect_close(ReplyCode::NotAllowed, &format!("negotiated {text}"));
        assert_eq!(close.blame(), (10, 30), "{text}");
    }
}

#[test]
fn limits_within_those_of_the_server_are_accepted() {
    for (channel_max, frame_max) in [(1, 8192), (2047, 131_072), (100, 10_000)] {
        Connection::builder().channel_max(channel_max).frame_max(frame_max).open().channel().round_trip();
    }
}

#[test]
fn an_unknown_virtual_host_is_refused() {
    let vhost = unique("vhost");
    let mut raw = Connection::builder().vhost(&vhost).through_open();
    let close = raw.expect_close(ReplyCode::NotAllowed, &format!("vhost {vhost} not found"));
    assert_eq!(close.blame(), (10, 40));
}

#[test]
fn a_handshake_may_come_in_one_write() {
    let url = broker::url();
    let mut raw = RawConnection::connect();
    let mut octets = ProtocolHeader::AMQP_0_9_1.octets().to_vec();
    octets.extend(method_frame(0, &start_ok("PLAIN", &plain(&url.user, &url.password))));
    octets.extend(method_frame(0, &ConnectionTuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 }));
    octets.extend(method_frame(0, &open(&url.vhost)));
    raw.send(&octets);
    let _: ConnectionStart<'_> = raw.expect();
    let _: ConnectionTune = raw.expect();
    let _: ConnectionOpenOk<'_> = raw.expect();
}

#[test]
fn a_wrong_step_before_tuning_is_done_ends_the_connection_without_a_word() {
    let channel_open = method_frame(1, &ChannelOpen { out_of_band: "" });
    let undecodable = b"\x01\0\0\0\0\0\x04\0\x0a\0\x0b\xce";
    let unknown_kind = b"\x09\0\0\0\0\0\0\xce";
    let too_large = b"\x01\0\0\0\0\x40\0";
    let steps = [
        method_frame(0, &open("/")),
        method_frame(0, &GOODBYE),
        channel_open,
        undecodable.to_vec(),
        unknown_kind.to_vec(),
        too_large.to_vec(),
    ];
    let after_start = steps.iter().map(|step| (RawConnection::start().0, step));
    let after_tune = steps.iter().map(|step| {
        let mut raw = Connection::builder().through_start_ok();
        let _: ConnectionTune = raw.expect();
        (raw, step)
    });
    let mut sent: Vec<_> = after_start.chain(after_tune).collect();
    for (raw, step) in &mut sent {
        raw.send(step);
    }
    for (mut raw, _) in sent {
        raw.expect_end();
    }
}

#[test]
fn a_method_out_of_place_before_open_is_504() {
    let tune_ok = ConnectionTuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 };
    for (step, ids) in [(method_frame(0, &tune_ok), (10, 31)), (method_frame(0, &GOODBYE), (10, 50))] {
        let mut raw = Connection::builder().through_tune_ok();
        raw.send(&step);
        let close = raw.expect_close(ReplyCode::ChannelError, "unexpected method in connection state opening");
        assert_eq!(close.blame(), ids);
    }
}

#[test]
fn a_channel_before_open_is_505() {
    let mut raw = Connection::builder().through_tune_ok();
    raw.send_method(1, &ChannelOpen { out_of_band: "" });
    let close = raw.expect_close(ReplyCode::UnexpectedFrame, "type 1, all octets = <<0,20,0,10,0>>");
    assert_eq!(close.blame(), (0, 0));
}

#[test]
fn a_method_out_of_place_on_channel_0_is_504() {
    fn check(method: &impl Encode) {
        let connection = Connection::open();
        connection.send(method);
        let text = "unexpected method in connection state running";
        let close = connection.expect_connection_error(ReplyCode::ChannelError, text);
        assert_eq!(close.blame(), (method.class_id(), method.method_id()));
    }
    check(&open("/"));
    check(&ConnectionTuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 });
    check(&ConnectionTune { channel_max: 10, frame_max: 131_072, heartbeat: 0 });
    check(&ConnectionCloseOk {});
    check(&ChannelOpen { out_of_band: "" });
    check(&queue_declare("q"));
    check(&basic_publish("", "q"));
}

#[test]
fn a_secret_can_be_updated() {
    let connection = Connection::open();
    let new_secret = broker::url().password.as_bytes();
    connection.send(&ConnectionUpdateSecret { new_secret, reason: "it is time" });
    let _: ConnectionUpdateSecretOk = connection.expect();
    connection.channel().round_trip();
}

#[test]
fn client_properties_may_hold_anything() {
    let nested = table(&[("deep", Value::Decimal { scale: 2, value: 314 })]);
    let connection = Connection::builder()
        .property("connection_name", Value::LongStr("Häschen".as_bytes()))
        .property("nested", Value::Table(nested))
        .property("none", Value::Void)
        .open();
    connection.channel().round_trip();

    let url = broker::url();
    let response = plain(&url.user, &url.password);
    for client_properties in [Table::default(), table(&[("capabilities", Value::LongStr(b"not a table"))])] {
        let (mut raw, _) = RawConnection::start();
        raw.send_method(0, &ConnectionStartOk { client_properties, ..start_ok("PLAIN", &response) });
        let _: ConnectionTune = raw.expect();
    }
}

#[test]
fn a_login_of_eight_kilobytes_is_accepted() {
    if broker::differs("frames before tuning have 4096 octets at most") {
        return;
    }
    Connection::builder().property("filler", Value::LongStr(&[b'x'; 7000])).open().channel().round_trip();
}

#[test]
fn the_server_sends_heartbeats_twice_per_interval() {
    let connection = Connection::builder().heartbeat(1).open();
    let begun = Instant::now();
    for _ in 0..3 {
        connection.next_heartbeat();
        connection.send_frame(FrameKind::Heartbeat as u8, 0, &[]);
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "three heartbeats took {:?}", begun.elapsed());
}

#[test]
fn a_silent_client_is_dropped_after_two_or_three_intervals() {
    let connection = Connection::builder().heartbeat(1).open();
    let begun = Instant::now();
    connection.expect_end();
    let lived = begun.elapsed();
    assert!((Duration::from_millis(1500)..Duration::from_secs(5)).contains(&lived), "dropped after {lived:?}");
}

#[test]
fn heartbeats_keep_a_client() {
    let connection = Connection::builder().heartbeat(1).open();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        connection.next_heartbeat();
        connection.send_frame(FrameKind::Heartbeat as u8, 0, &[]);
    }
    connection.channel().round_trip();
}

#[test]
fn anything_a_client_sends_keeps_it() {
    let connection = Connection::builder().heartbeat(1).open();
    let channel = connection.channel();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        connection.next_heartbeat();
        channel.round_trip();
    }
}

#[test]
fn heartbeats_are_taken_from_a_client_that_negotiated_none() {
    let connection = Connection::open();
    let mut octets = Vec::new();
    for _ in 0..100 {
        write_heartbeat(&mut octets);
    }
    connection.send_octets(&octets);
    connection.channel().round_trip();
}

#[test]
fn a_connection_closes_with_channels_open() {
    let connection = Connection::open();
    let channel = connection.channel();
    connection.channel().confirm_select();
    let queue = channel.temporary_queue();
    channel.publish("", &queue, b"unread");
    channel.consume(&queue);
    connection.close();
}

#[test]
fn exclusive_queues_are_gone_when_close_ok_comes() {
    let connection = Connection::open();
    let queue = connection.channel().temporary_queue();
    connection.close();
    assert_no_queue(&queue);
}

#[test]
fn what_follows_connection_close_is_ignored() {
    let connection = Connection::open();
    let channel = connection.channel();
    let ignored = unique("ignored");
    let mut octets = method_frame(0, &GOODBYE);
    octets.extend(method_frame(channel.number(), &lasting_queue(&ignored)));
    octets.extend(method_frame(7, &ChannelOpen { out_of_band: "" }));
    octets.extend(method_frame(0, &open("/")));
    connection.send_octets(&octets);
    let _: ConnectionCloseOk = connection.expect();
    assert_no_queue(&ignored);
}

#[test]
fn after_its_connection_close_the_server_ignores_all_but_close_and_close_ok() {
    let connection = Connection::open();
    let channel = connection.channel();
    connection.send(&open("/"));
    let close: ConnectionClose<'_> = connection.expect();
    assert_eq!(close.reply_code, ReplyCode::ChannelError.code());
    let ignored = unique("ignored");
    channel.send(&lasting_queue(&ignored));
    connection.send(&open("/"));
    connection.send_frame(9, 0, b"no such frame type");
    connection.send(&GOODBYE);
    let _: ConnectionCloseOk = connection.expect();
    connection.send(&ConnectionCloseOk {});
    connection.expect_end();
    assert_no_queue(&ignored);
}

#[test]
fn a_client_that_does_not_answer_connection_close_is_dropped_after_a_heartbeat_interval() {
    let connection = Connection::builder().heartbeat(1).open();
    connection.send(&open("/"));
    let _: ConnectionClose<'_> = connection.expect();
    connection.expect_end();
}
