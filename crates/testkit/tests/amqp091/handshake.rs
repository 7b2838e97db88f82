//! From the protocol header to connection.open-ok, heartbeats, and the end of a connection.

use std::time::{Duration, Instant};

use leveret_protocol::amqp091::method::{
    ChannelOpen, ConnectionClose, ConnectionOpen, ConnectionOpenOk, ConnectionStart, ConnectionStartOk, ConnectionTune,
    ConnectionTuneOk,
};
use leveret_protocol::amqp091::{ProtocolHeader, ReplyCode, Table, Value};
use leveret_testkit::amqp091::{Connection, RawConnection, method_frame, plain, start_ok, table};
use leveret_testkit::{broker, unique};

use crate::Blame as _;

/// The header that RabbitMQ 4 offers instead of one it does not know.
const OFFER: [u8; 8] = *b"AMQP\x03\x01\0\0";

const GOODBYE: ConnectionClose<'_> =
    ConnectionClose { reply_code: 200, reply_text: "Goodbye", class_id: 0, method_id: 0 };

fn open(virtual_host: &str) -> ConnectionOpen<'_> {
    ConnectionOpen { virtual_host, capabilities: "", insist: false }
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
    for vhost in ["", "/nowhere", &unique("vhost")] {
        let mut raw = Connection::builder().vhost(vhost).through_open();
        let close = raw.expect_close(ReplyCode::NotAllowed, &format!("vhost {vhost} not found"));
        assert_eq!(close.blame(), (10, 40));
    }
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
