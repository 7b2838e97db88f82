//! Whatever is encoded decodes to itself, however the stream is cut; whatever else comes is refused without harm.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod shared;

use leveret_protocol::amqp091::frame::{write_content, write_frame, write_heartbeat};
use leveret_protocol::amqp091::method::BasicDeliver;
use leveret_protocol::amqp091::{
    Array, ContentHeader, FRAME_OVERHEAD, Frame, FrameKind, Method, Properties, Table, TableWriter, Value,
    clip_shortstr,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use shared::methods::{Pool, name, one_of_each};
use shared::{invariants, sessions};

proptest! {
    #[test]
    fn any_method_decodes_to_itself(arguments in arguments()) {
        for method in one_of_each(&mut arguments.pool()) {
            let mut octets = Vec::new();
            method.encode(&mut octets);
            prop_assert_eq!(Method::decode(&octets), Ok(method));
            invariants::method(&octets);
        }
    }

    #[test]
    fn a_method_cut_short_or_long_is_refused(arguments in arguments(), at in any::<prop::sample::Index>()) {
        for method in one_of_each(&mut arguments.pool()) {
            let mut octets = Vec::new();
            method.encode(&mut octets);
            let short = octets.split_at(at.index(octets.len())).0;
            prop_assert!(Method::decode(short).is_err(), "{} of {} octets", name(&method), short.len());
            octets.push(0);
            prop_assert!(Method::decode(&octets).is_err(), "{} and an octet", name(&method));
        }
    }

    #[test]
    fn any_properties_decode_to_themselves(owned in owned_properties()) {
        let mut raw = Vec::new();
        owned.properties().encode(&mut raw);
        prop_assert_eq!(Properties::decode(&raw), Ok(owned.properties()));
        invariants::properties(&raw);
        if let Some((_, short)) = raw.split_last() && short.len() >= 2 {
            prop_assert!(Properties::decode(short).is_err());
        }
    }

    #[test]
    fn any_content_header_decodes_to_itself(class_id: u16, body_size: u64, owned in owned_properties()) {
        let mut properties = Vec::new();
        owned.properties().encode(&mut properties);
        let header = ContentHeader { class_id, body_size, properties: &properties };
        let mut octets = Vec::new();
        header.encode(&mut octets);
        prop_assert_eq!(ContentHeader::decode(&octets), Ok(header));
    }

    #[test]
    fn any_table_is_read_as_written(fields in vec((text(), field()), 0..8)) {
        let octets = table_octets(&fields);
        let table = Table::parse(&octets).unwrap();
        prop_assert_eq!(read_table(table), fields);
        invariants::table(&octets);
    }

    #[test]
    fn any_array_is_read_as_written(values in vec(field(), 0..8)) {
        let mut octets = Vec::new();
        write_array(&mut TableWriter::new(&mut octets), &values);
        prop_assert_eq!(read_array(Array::parse(&octets).unwrap()), values);
        invariants::table(&octets);
    }

    #[test]
    fn any_content_comes_whole_out_of_frames_of_any_size(
        body in vec(any::<u8>(), 0..3000), frame_max in prop_oneof![0_usize..64, 0_usize..5000], owned in owned_properties(),
    ) {
        let deliver =
            BasicDeliver { consumer_tag: "tag", delivery_tag: 1, redelivered: false, exchange: "", routing_key: "q" };
        let mut properties = Vec::new();
        owned.properties().encode(&mut properties);
        let mut octets = Vec::new();
        write_content(&mut octets, 9, &deliver, &properties, &body, frame_max);
        let frames = all_frames(&octets);
        let (method, header, bodies) = match frames.as_slice() {
            [method, header, bodies @ ..] => (method, header, bodies),
            fewer => panic!("{} frames", fewer.len()),
        };
        prop_assert_eq!(Method::decode(&method.2), Ok(Method::from(deliver)));
        let header = ContentHeader::decode(&header.2).unwrap();
        prop_assert_eq!((header.body_size, header.properties), (body.len() as u64, properties.as_slice()));
        let mut joined = Vec::new();
        for (kind, channel, payload) in bodies {
            prop_assert_eq!((*kind, *channel), (FrameKind::Body, 9));
            prop_assert!(!payload.is_empty());
            // A limit that leaves no room at all cannot be kept: an octet each is the least.
            prop_assert!(frame_max == 0 || payload.len() + FRAME_OVERHEAD <= frame_max.max(FRAME_OVERHEAD + 1));
            joined.extend_from_slice(payload);
        }
        prop_assert_eq!(joined, body);
    }

    #[test]
    fn a_stream_gives_the_same_frames_wherever_it_is_cut(
        frames in vec((kind(), any::<u16>(), vec(any::<u8>(), 0..200)), 1..12),
        cuts in vec(1_usize..300, 1..20),
    ) {
        let mut octets = Vec::new();
        for (kind, channel, payload) in &frames {
            match kind {
                FrameKind::Heartbeat if payload.len() % 2 == 0 => write_heartbeat(&mut octets),
                _ => write_frame(&mut octets, *kind, *channel, |out| out.extend_from_slice(payload)),
            }
        }
        let whole = all_frames(&octets);
        prop_assert_eq!(whole.len(), frames.len());

        let mut seen = Vec::new();
        let mut buffer = Vec::new();
        let mut rest = octets.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            buffer.extend_from_slice(piece);
            while let Some((frame, used)) = Frame::decode(&buffer, usize::MAX).unwrap() {
                seen.push((frame.kind, frame.channel, frame.payload.to_vec()));
                buffer.drain(..used);
            }
        }
        prop_assert_eq!(seen, whole);
        prop_assert_eq!(buffer.len(), 0);
    }

    #[test]
    fn random_octets_are_taken_or_refused(octets in vec(any::<u8>(), 0..600)) {
        any_octets(&octets);
    }

    /// Random ids hardly ever name a method: here they always do, and the arguments are random.
    #[test]
    fn random_arguments_are_taken_or_refused(arguments in arguments(), random in vec(any::<u8>(), 0..100)) {
        for method in one_of_each(&mut arguments.pool()) {
            let (class_id, method_id) = method.ids();
            invariants::method(&[&class_id.to_be_bytes()[..], &method_id.to_be_bytes(), &random].concat());
        }
    }

    #[test]
    fn mutated_octets_are_taken_or_refused(
        arguments in arguments(), owned in owned_properties(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let change = |octets: &[u8]| {
            let mut octets = octets.to_vec();
            for (at, value) in &changes {
                let at = at.index(octets.len());
                *octets.get_mut(at).unwrap() = *value;
            }
            octets
        };
        let mut stream = Vec::new();
        for method in one_of_each(&mut arguments.pool()) {
            let mut octets = Vec::new();
            method.encode(&mut octets);
            invariants::method(&change(&octets));
            write_frame(&mut stream, FrameKind::Method, 1, |out| out.extend_from_slice(&octets));
        }
        invariants::frames(&change(&stream));
        for octets in arguments.tables.iter().filter(|octets| !octets.is_empty()) {
            invariants::table(&change(octets));
        }
        let mut raw = Vec::new();
        owned.properties().encode(&mut raw);
        invariants::properties(&change(&raw));
        for payload in sessions::payloads(FrameKind::Header) {
            invariants::content(&change(payload));
        }
    }
}

/// Announcing four gigabytes costs the peer nothing and gets it nothing.
#[test]
fn an_announced_length_is_not_believed() {
    for octets in [&b"\x01\0\0\xff\xff\xff\xff"[..], b"\x03\0\x01\xff\xff\xff\xfe\xce\xce"] {
        assert_eq!(Frame::decode(octets, usize::MAX), Ok(None));
        assert!(Frame::decode(octets, 4088).is_err());
    }
    for letter in [b'S', b'A', b'F', b'x'] {
        any_octets(&[1, b'a', letter, 0xff, 0xff, 0xff, 0xff]);
        assert!(Table::parse(&[1, b'a', letter, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(Array::parse(&[letter, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}

fn any_octets(octets: &[u8]) {
    invariants::frames(octets);
    invariants::method(octets);
    invariants::content(octets);
    invariants::properties(octets);
    invariants::table(octets);
}

type Octets = (FrameKind, u16, Vec<u8>);

fn all_frames(mut rest: &[u8]) -> Vec<Octets> {
    let mut frames = Vec::new();
    while let Some((frame, used)) = Frame::decode(rest, usize::MAX).unwrap() {
        frames.push((frame.kind, frame.channel, frame.payload.to_vec()));
        rest = rest.split_at(used).1;
    }
    assert!(rest.is_empty());
    frames
}

fn kind() -> impl Strategy<Value = FrameKind> {
    prop::sample::select(vec![FrameKind::Method, FrameKind::Header, FrameKind::Body, FrameKind::Heartbeat])
}

/// Texts of up to 255 octets, often short, sometimes as long as they may be, of letters and of any characters.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => vec(prop::char::range('!', '~'), 0..24).prop_map(String::from_iter),
        2 => vec(any::<char>(), 0..24).prop_map(String::from_iter),
        1 => vec(any::<char>(), 255).prop_map(|chars| clip_shortstr(&String::from_iter(chars)).to_owned()),
        1 => Just("x".repeat(255)),
    ]
}

/// Values of every argument type.
#[derive(Debug)]
struct Arguments {
    texts: Vec<String>,
    octets: Vec<Vec<u8>>,
    tables: Vec<Vec<u8>>,
    numbers: Vec<u64>,
}

impl Arguments {
    fn pool(&self) -> Pool<'_> {
        Pool { texts: &self.texts, octets: &self.octets, tables: &self.tables, numbers: &self.numbers, taken: 0 }
    }
}

fn arguments() -> impl Strategy<Value = Arguments> {
    let table = vec((text(), field()), 0..4).prop_map(|fields| table_octets(&fields));
    (vec(text(), 1..7), vec(vec(any::<u8>(), 0..40), 1..4), vec(table, 1..3), vec(any::<u64>(), 1..12))
        .prop_map(|(texts, octets, tables, numbers)| Arguments { texts, octets, tables, numbers })
}

/// Properties that own their texts, in the order of the wire.
#[derive(Debug)]
struct OwnedProperties {
    texts: Vec<Option<String>>,
    headers: Option<Vec<u8>>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
    timestamp: Option<u64>,
}

impl OwnedProperties {
    fn properties(&self) -> Properties<'_> {
        let [
            content_type,
            content_encoding,
            correlation_id,
            reply_to,
            expiration,
            message_id,
            kind,
            user_id,
            app_id,
            cluster_id,
        ] = self.texts.as_slice()
        else {
            panic!("ten texts")
        };
        Properties {
            content_type: content_type.as_deref(),
            content_encoding: content_encoding.as_deref(),
            headers: self.headers.as_deref().map(|octets| Table::parse(octets).unwrap()),
            delivery_mode: self.delivery_mode,
            priority: self.priority,
            correlation_id: correlation_id.as_deref(),
            reply_to: reply_to.as_deref(),
            expiration: expiration.as_deref(),
            message_id: message_id.as_deref(),
            timestamp: self.timestamp,
            kind: kind.as_deref(),
            user_id: user_id.as_deref(),
            app_id: app_id.as_deref(),
            cluster_id: cluster_id.as_deref(),
        }
    }
}

fn owned_properties() -> impl Strategy<Value = OwnedProperties> {
    let headers = vec((text(), field()), 0..5).prop_map(|fields| table_octets(&fields));
    (vec(option::of(text()), 10), option::of(headers), any::<Option<u8>>(), any::<Option<u8>>(), any::<Option<u64>>())
        .prop_map(|(texts, headers, delivery_mode, priority, timestamp)| OwnedProperties {
            texts,
            headers,
            delivery_mode,
            priority,
            timestamp,
        })
}

/// A field value that owns what it holds. Floats as their bits, so that a NaN is equal to itself.
#[derive(Debug, Clone, PartialEq)]
enum Field {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(u32),
    F64(u64),
    Decimal(u8, u32),
    LongStr(Vec<u8>),
    Bytes(Vec<u8>),
    Timestamp(u64),
    Void,
    Array(Vec<Field>),
    Table(Vec<(String, Field)>),
}

fn field() -> impl Strategy<Value = Field> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Field::Bool),
        any::<i8>().prop_map(Field::I8),
        any::<u8>().prop_map(Field::U8),
        any::<i16>().prop_map(Field::I16),
        any::<u16>().prop_map(Field::U16),
        any::<i32>().prop_map(Field::I32),
        any::<u32>().prop_map(Field::U32),
        any::<i64>().prop_map(Field::I64),
        any::<u32>().prop_map(Field::F32),
        any::<u64>().prop_map(Field::F64),
        any::<(u8, u32)>().prop_map(|(scale, value)| Field::Decimal(scale, value)),
        vec(any::<u8>(), 0..40).prop_map(Field::LongStr),
        vec(any::<u8>(), 0..40).prop_map(Field::Bytes),
        any::<u64>().prop_map(Field::Timestamp),
        Just(Field::Void),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Field::Array), vec((text(), inner), 0..4).prop_map(Field::Table),]
    })
}

fn table_octets(fields: &[(String, Field)]) -> Vec<u8> {
    let mut octets = Vec::new();
    write_table(&mut TableWriter::new(&mut octets), fields);
    octets
}

fn write_table(writer: &mut TableWriter<'_>, fields: &[(String, Field)]) {
    for (name, field) in fields {
        match field {
            Field::Array(values) => writer.array(name, |writer| write_array(writer, values)),
            Field::Table(fields) => writer.table(name, |writer| write_table(writer, fields)),
            leaf => writer.field(name, leaf_value(leaf)),
        };
    }
}

fn write_array(writer: &mut TableWriter<'_>, values: &[Field]) {
    for field in values {
        match field {
            Field::Array(values) => writer.array_value(|writer| write_array(writer, values)),
            Field::Table(fields) => writer.table_value(|writer| write_table(writer, fields)),
            leaf => writer.value(leaf_value(leaf)),
        };
    }
}

fn leaf_value(field: &Field) -> Value<'_> {
    match field {
        Field::Bool(v) => Value::Bool(*v),
        Field::I8(v) => Value::I8(*v),
        Field::U8(v) => Value::U8(*v),
        Field::I16(v) => Value::I16(*v),
        Field::U16(v) => Value::U16(*v),
        Field::I32(v) => Value::I32(*v),
        Field::U32(v) => Value::U32(*v),
        Field::I64(v) => Value::I64(*v),
        Field::F32(v) => Value::F32(f32::from_bits(*v)),
        Field::F64(v) => Value::F64(f64::from_bits(*v)),
        Field::Decimal(scale, value) => Value::Decimal { scale: *scale, value: *value },
        Field::LongStr(v) => Value::LongStr(v),
        Field::Bytes(v) => Value::Bytes(v),
        Field::Timestamp(v) => Value::Timestamp(*v),
        Field::Void => Value::Void,
        Field::Array(_) | Field::Table(_) => panic!("no leaf: {field:?}"),
    }
}

fn read_table(table: Table<'_>) -> Vec<(String, Field)> {
    table.iter().map(|(name, value)| (name.to_owned(), read_value(value))).collect()
}

fn read_array(array: Array<'_>) -> Vec<Field> {
    array.iter().map(read_value).collect()
}

fn read_value(value: Value<'_>) -> Field {
    match value {
        Value::Bool(v) => Field::Bool(v),
        Value::I8(v) => Field::I8(v),
        Value::U8(v) => Field::U8(v),
        Value::I16(v) => Field::I16(v),
        Value::U16(v) => Field::U16(v),
        Value::I32(v) => Field::I32(v),
        Value::U32(v) => Field::U32(v),
        Value::I64(v) => Field::I64(v),
        Value::F32(v) => Field::F32(v.to_bits()),
        Value::F64(v) => Field::F64(v.to_bits()),
        Value::Decimal { scale, value } => Field::Decimal(scale, value),
        Value::LongStr(v) => Field::LongStr(v.to_vec()),
        Value::Bytes(v) => Field::Bytes(v.to_vec()),
        Value::Timestamp(v) => Field::Timestamp(v),
        Value::Void => Field::Void,
        Value::Array(array) => Field::Array(read_array(array)),
        Value::Table(table) => Field::Table(read_table(table)),
    }
}
