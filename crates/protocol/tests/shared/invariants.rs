//! What holds for any octets, well formed or not. Nothing here may panic but the assertions.

use super::methods;
use leveret_protocol::amqp091::frame::write_frame;
use leveret_protocol::amqp091::table::DEPTH_MAX;
use leveret_protocol::amqp091::{
    Array, ContentHeader, FRAME_OVERHEAD, Frame, FrameKind, Method, ProtocolHeader, RawProperties, Table, TableWriter,
    Value,
};

/// A frame uses exactly the octets it was written with, whatever the limit, and its payload keeps the rules too.
pub(crate) fn frames(octets: &[u8]) {
    for payload_max in [0, 1, 100, 4088, usize::MAX] {
        let mut rest = octets;
        while let Ok(Some((frame, used))) = Frame::decode(rest, payload_max) {
            assert!(frame.payload.len() <= payload_max, "a payload beyond the limit of {payload_max}");
            assert_eq!(used, frame.payload.len() + FRAME_OVERHEAD);
            let (taken, after) = rest.split_at(used);
            assert_inside(frame.payload, taken);
            let mut written = Vec::new();
            write_frame(&mut written, frame.kind, frame.channel, |out| out.extend_from_slice(frame.payload));
            assert_eq!(written, taken);
            // One octet less is no frame yet.
            assert_eq!(Frame::decode(taken.split_last().map_or(&[][..], |(_, most)| most), payload_max), Ok(None));
            match frame.kind {
                FrameKind::Method => method(frame.payload),
                FrameKind::Header => content(frame.payload),
                FrameKind::Body | FrameKind::Heartbeat => {}
            }
            rest = after;
        }
    }
    if let Some(head) = octets.first_chunk::<8>()
        && let Some(header) = ProtocolHeader::decode(head)
    {
        assert_eq!(header.octets(), *head);
    }
}

/// A method decodes to what encodes to the same method, in as many octets.
pub(crate) fn method(payload: &[u8]) {
    let Ok(method) = Method::decode(payload) else { return };
    methods::walk(&method);
    let mut written = Vec::new();
    method.encode(&mut written);
    assert_eq!(written.len(), payload.len(), "{method:?}");
    assert_eq!(Method::decode(&written), Ok(method));
    let (class_id, method_id) = method.ids();
    assert_eq!(written.get(..4), Some(&[class_id.to_be_bytes(), method_id.to_be_bytes()].concat()[..]));
}

/// A content header decodes to what encodes to the same header; its properties to the same octets.
pub(crate) fn content(payload: &[u8]) {
    let Ok(header) = ContentHeader::decode(payload) else { return };
    assert_inside(header.properties, payload);
    let mut written = Vec::new();
    header.encode(&mut written);
    let again = ContentHeader::decode(&written).unwrap();
    assert_eq!((again.class_id, again.body_size), (header.class_id, header.body_size));
    properties(header.properties);
}

/// Properties that decode encode to the octets they came from.
pub(crate) fn properties(raw: &[u8]) {
    let Ok(properties) = RawProperties::decode(raw) else { return };
    if let Some(headers) = properties.headers {
        assert_inside(headers.octets(), raw);
        walk_table(headers);
    }
    let mut written = Vec::new();
    properties.encode(&mut written);
    // The two flags that nobody defines are not written again.
    let mut expected = if raw.is_empty() { vec![0, 0] } else { raw.to_vec() };
    if let Some(low) = expected.get_mut(1) {
        *low &= !0b11;
    }
    assert_eq!(written, expected, "{properties:?}");
    assert_eq!(RawProperties::decode(&written), Ok(properties));
}

/// A table or an array that parses can be read to its end and written again in as many octets.
pub(crate) fn table(octets: &[u8]) {
    if let Ok(table) = Table::parse(octets) {
        walk_table(table);
        let written = rewritten(|writer| rewrite_table(writer, table));
        assert_eq!(written.len(), octets.len(), "{table:?}");
        // The letter of a long and the octet of a bool may differ the first time, never the second.
        let again = Table::parse(&written).unwrap();
        assert_eq!(rewritten(|writer| rewrite_table(writer, again)), written);
    }
    if let Ok(array) = Array::parse(octets) {
        let mut values = 0;
        walk_array(array, 0, &mut values);
        let written = rewritten(|writer| rewrite_array(writer, array));
        assert_eq!(written.len(), octets.len(), "{array:?}");
        assert_eq!(rewritten(|writer| rewrite_array(writer, Array::parse(&written).unwrap())), written);
    }
}

/// Goes through a table and everything in it: all there, all in place, none of it too deep.
pub(crate) fn walk_table(table: Table<'_>) {
    let mut values = 0;
    walk_fields(table, 0, &mut values);
    assert!(values * 2 <= table.octets().len(), "{values} fields in {} octets", table.octets().len());
    assert_eq!(table.is_empty(), table.raw_fields().next().is_none());
    if let Some((name, value)) = table.iter().next() {
        // By text: a NaN is not equal to itself.
        assert_eq!(format!("{:?}", table.get(name)), format!("{:?}", Some(value)));
    }
}

fn walk_fields(table: Table<'_>, depth: usize, values: &mut usize) {
    let mut used = 0;
    for (name, value) in table.raw_fields() {
        assert_inside(name, table.octets());
        *values += 1;
        used += 1 + name.len() + walk_value(value, table.octets(), depth, values);
    }
    assert_eq!(used, table.octets().len(), "fields end before the table");
}

fn walk_array(array: Array<'_>, depth: usize, values: &mut usize) {
    let used: usize = array.iter().map(|value| walk_value(value, array.octets(), depth, values)).sum();
    assert_eq!(used, array.octets().len(), "values end before the array");
}

/// The octets a value takes.
fn walk_value(value: Value<'_>, within: &[u8], depth: usize, values: &mut usize) -> usize {
    assert!(depth <= DEPTH_MAX);
    1 + match value {
        Value::Void => 0,
        Value::Bool(_) | Value::I8(_) | Value::U8(_) => 1,
        Value::I16(_) | Value::U16(_) => 2,
        Value::I32(_) | Value::U32(_) | Value::F32(_) => 4,
        Value::Decimal { .. } => 5,
        Value::I64(_) | Value::F64(_) | Value::Timestamp(_) => 8,
        Value::LongStr(octets) | Value::Bytes(octets) => {
            assert_inside(octets, within);
            4 + octets.len()
        }
        Value::Array(array) => {
            assert_inside(array.octets(), within);
            walk_array(array, depth + 1, values);
            4 + array.octets().len()
        }
        Value::Table(table) => {
            assert_inside(table.octets(), within);
            walk_fields(table, depth + 1, values);
            4 + table.octets().len()
        }
    }
}

fn rewritten(fill: impl FnOnce(&mut TableWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    fill(&mut TableWriter::new(&mut out));
    out
}

fn rewrite_table(writer: &mut TableWriter<'_>, table: Table<'_>) {
    for (name, value) in table.raw_fields() {
        writer.raw_field(name, value);
    }
}

fn rewrite_array(writer: &mut TableWriter<'_>, array: Array<'_>) {
    for value in array.iter() {
        match value {
            Value::Table(table) => writer.table_value(|writer| rewrite_table(writer, table)),
            Value::Array(array) => writer.array_value(|writer| rewrite_array(writer, array)),
            value => writer.value(value),
        };
    }
}

/// Decoding copies nothing: what it hands out lies in the octets it was given. With types that are `Copy`, and so own
/// nothing, that leaves no room for an announced length to become an allocation.
fn assert_inside(part: &[u8], whole: &[u8]) {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    assert!(part.is_empty() || (whole.start <= part.start && part.end <= whole.end), "not from the input");
}

const fn owns_nothing<T: Copy>() {}
const _: () = {
    owns_nothing::<Frame<'_>>();
    owns_nothing::<Method<'_>>();
    owns_nothing::<ContentHeader<'_>>();
    owns_nothing::<RawProperties<'_>>();
    owns_nothing::<Table<'_>>();
    owns_nothing::<Array<'_>>();
    owns_nothing::<Value<'_>>();
};
