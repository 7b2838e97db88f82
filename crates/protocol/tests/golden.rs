//! Real clients and RabbitMQ: every frame of their sessions decodes, reads as expected and encodes to the same octets.
//!
//! `golden/NAME.bin` is one direction of a session as recorded by `golden/record.py`, `golden/NAME.txt` how it reads: a
//! line per method with its channel, and for content the announced size and the size of each body frame.

mod shared;

use leveret_protocol::amqp091::frame::{write_content, write_frame, write_header};
use leveret_protocol::amqp091::method::BasicPublish;
use leveret_protocol::amqp091::{ContentHeader, Encode, Frame, FrameKind, Method, Properties, ProtocolHeader, Value};
use shared::invariants;
use shared::methods::{METHODS, name};
use shared::sessions::{SESSIONS, payloads, tables};
use std::fmt::Write;

/// Frames of at most so many octets were agreed on.
const FRAME_MAX: usize = 4096;

#[test]
fn a_session_reads_as_it_was_made() {
    for session in SESSIONS {
        let mut reading = String::new();
        for (frame, _) in session.frames() {
            let channel = frame.channel;
            match frame.kind {
                FrameKind::Method => {
                    write!(reading, "\n{channel} {}", name(&Method::decode(frame.payload).unwrap())).unwrap();
                }
                FrameKind::Header => {
                    write!(reading, " of {}:", ContentHeader::decode(frame.payload).unwrap().body_size).unwrap();
                }
                FrameKind::Body => write!(reading, " {}", frame.payload.len()).unwrap(),
                FrameKind::Heartbeat => write!(reading, "\n{channel} heartbeat").unwrap(),
            }
        }
        assert_eq!(reading.trim(), session.reading.trim(), "{} reads:{reading}", session.name);
    }
}

#[test]
fn a_client_opens_with_the_protocol_header() {
    for session in SESSIONS {
        if let Some(header) = session.header().first_chunk() {
            assert_eq!(ProtocolHeader::decode(header), Some(ProtocolHeader::AMQP_0_9_1), "{}", session.name);
        }
    }
}

#[test]
fn every_frame_encodes_to_the_octets_it_came_in() {
    for session in SESSIONS {
        for (number, (frame, octets)) in session.frames().enumerate() {
            let mut written = Vec::new();
            match frame.kind {
                FrameKind::Method => {
                    let method = Method::decode(frame.payload).unwrap();
                    write_frame(&mut written, frame.kind, frame.channel, |out| method.encode(out));
                }
                FrameKind::Header => {
                    let header = ContentHeader::decode(frame.payload).unwrap();
                    let mut properties = Vec::new();
                    Properties::decode(header.properties).unwrap().encode(&mut properties);
                    write_header(&mut written, frame.channel, &properties, header.body_size);
                }
                FrameKind::Body | FrameKind::Heartbeat => {
                    write_frame(&mut written, frame.kind, frame.channel, |out| out.extend_from_slice(frame.payload));
                }
            }
            assert_eq!(written, octets, "frame {number} of {}", session.name);
        }
    }
}

#[test]
fn content_is_cut_into_frames_as_clients_and_the_broker_cut_it() {
    let mut contents = 0;
    for session in SESSIONS {
        let frames: Vec<(Frame<'_>, &[u8])> = session.frames().collect();
        for (at, (frame, _)) in frames.iter().enumerate() {
            if frame.kind != FrameKind::Header {
                continue;
            }
            let header = ContentHeader::decode(frame.payload).unwrap();
            let bodies = frames.get(at + 1..).unwrap().iter().take_while(|(frame, _)| frame.kind == FrameKind::Body);
            let bodies: Vec<_> = bodies.collect();
            let body: Vec<u8> = bodies.iter().flat_map(|(frame, _)| frame.payload.iter().copied()).collect();
            assert_eq!(body.len() as u64, header.body_size);
            let expected: Vec<u8> = frames
                .get(at - 1..=at + bodies.len())
                .unwrap()
                .iter()
                .flat_map(|(_, octets)| octets.iter().copied())
                .collect();
            let written = match Method::decode(frames.get(at - 1).unwrap().0.payload).unwrap() {
                Method::BasicPublish(method) => content(frame.channel, &method, header.properties, &body),
                Method::BasicReturn(method) => content(frame.channel, &method, header.properties, &body),
                Method::BasicDeliver(method) => content(frame.channel, &method, header.properties, &body),
                Method::BasicGetOk(method) => content(frame.channel, &method, header.properties, &body),
                other => panic!("{other:?} has no content"),
            };
            assert_eq!(written, expected, "{}, frame {at}", session.name);
            contents += 1;
        }
    }
    assert!(contents > 20, "{contents} contents");
}

fn content(channel: u16, method: &impl Encode, properties: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_content(&mut out, channel, method, properties, body, FRAME_MAX);
    out
}

/// The first content of each direction carries every property and the header types its client knows.
#[test]
fn properties_arrive_as_clients_and_the_broker_write_them() {
    for session in SESSIONS {
        let header = session.frames().map(|(frame, _)| frame).find(|frame| frame.kind == FrameKind::Header).unwrap();
        // The broker's first content is a return, without properties; its second is the message.
        let header = match session.name {
            "pika.server" | "amqplib.server" => {
                let headers = session.frames().map(|(frame, _)| frame).filter(|frame| frame.kind == FrameKind::Header);
                headers.skip(1).find(|frame| frame.payload.len() > 100).unwrap()
            }
            _ => header,
        };
        let properties = Properties::decode(ContentHeader::decode(header.payload).unwrap().properties).unwrap();
        let headers = properties.headers.unwrap();
        let name = session.name;
        assert_eq!(properties.content_type, Some("text/plain"), "{name}");
        assert_eq!(properties.content_encoding, Some("utf-8"), "{name}");
        assert_eq!((properties.delivery_mode, properties.priority), (Some(2), Some(5)), "{name}");
        assert_eq!((properties.expiration, properties.timestamp), (Some("60000"), Some(1_700_000_000)), "{name}");
        assert_eq!((properties.kind, properties.user_id), (Some("kind"), Some("guest")), "{name}");
        let fields: &[(&str, Value<'_>)] = if name.starts_with("pika") {
            assert_eq!((properties.correlation_id, properties.message_id), (Some("correlation"), Some("message-1")));
            assert_eq!(properties.reply_to, Some("amq.rabbitmq.reply-to.x"));
            assert_eq!((properties.app_id, properties.cluster_id), (Some("golden"), Some("cluster")));
            &[
                ("bool", Value::Bool(true)),
                ("int", Value::I32(-7)),
                ("long", Value::I64(1 << 40)),
                ("decimal", Value::Decimal { scale: 2, value: 314 }),
                ("text", Value::LongStr("café ☕".as_bytes())),
                ("bytes", Value::Bytes(b"\x00\xff\xce")),
                ("time", Value::Timestamp(1_577_934_245)),
                ("void", Value::Void),
                ("", Value::LongStr(b"a name of no octets")),
            ]
        } else {
            assert_eq!((properties.correlation_id, properties.message_id), (Some("c"), Some("m")));
            assert_eq!((properties.reply_to, properties.app_id), (Some("r"), Some("a")));
            &[
                ("yes", Value::Bool(true)),
                ("small", Value::I8(1)),
                ("negative", Value::I32(-70_000)),
                ("large", Value::I64(1 << 40)),
                ("fraction", Value::F64(0.1)),
                ("bytes", Value::Bytes(b"\x00\xff\xce")),
                ("nothing", Value::Void),
                ("int8", Value::I8(-8)),
                ("uint8", Value::U8(200)),
                ("short", Value::I16(-300)),
                ("uint16", Value::U16(60_000)),
                ("uint32", Value::U32(4_000_000_000)),
                ("float", Value::F32(0.5)),
                ("decimal", Value::Decimal { scale: 2, value: 314 }),
                ("time", Value::Timestamp(1_700_000_000)),
            ]
        };
        for (field, value) in fields {
            assert_eq!(headers.get(field), Some(*value), "{name}: {field}");
        }
        let Some(Value::Table(table)) = headers.get("table") else { panic!("{headers:?}") };
        let Some(Value::Table(deep)) = table.get("deep") else { panic!("{table:?}") };
        assert!(deep.get("deeper").is_some(), "{deep:?}");
        let Some(Value::Array(list)) = headers.get("list") else { panic!("{headers:?}") };
        assert_eq!(list.iter().count(), 4);
        assert_eq!(list.iter().nth(1), Some(Value::LongStr(b"two")));
    }
}

#[test]
fn recorded_octets_keep_the_rules_of_any_octets() {
    for session in SESSIONS {
        invariants::frames(session.stream());
    }
    for octets in tables() {
        invariants::table(octets);
    }
    assert!(payloads(FrameKind::Method).len() > 100);
}

/// `golden/methods.txt` holds every method as RabbitMQ's encoder writes it, made by `golden/methods.escript`: only another
/// implementation can tell that two arguments of one type have changed places.
#[test]
fn every_method_stands_on_the_wire_as_rabbitmq_writes_it() {
    let mut seen = Vec::new();
    for line in include_str!("golden/methods.txt").lines() {
        let (hex, reading) = line.split_once(' ').unwrap();
        let digits: Vec<u8> = hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
        let octets: Vec<u8> = digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect();
        let method = Method::decode(&octets).unwrap();
        assert_eq!(format!("{method:?}"), format!("{}({reading})", name(&method)));
        let mut written = Vec::new();
        method.encode(&mut written);
        assert_eq!(written, octets, "{reading}");
        seen.push(name(&method));
    }
    seen.dedup();
    assert_eq!(seen.len(), METHODS.len(), "recorded: {seen:?}");
}

/// A limit of 0 is no limit, in tuning as here.
#[test]
fn without_a_frame_limit_a_body_stays_whole() {
    let publish = BasicPublish { ticket: 0, exchange: "", routing_key: "q", mandatory: false, immediate: false };
    let mut out = Vec::new();
    write_content(&mut out, 1, &publish, &[], &vec![b'x'; 1 << 20], 0);
    let mut frames = 0;
    let mut rest = out.as_slice();
    while let Some((_, used)) = Frame::decode(rest, usize::MAX).unwrap() {
        rest = rest.split_at(used).1;
        frames += 1;
    }
    assert_eq!((frames, rest.len()), (3, 0));
}
