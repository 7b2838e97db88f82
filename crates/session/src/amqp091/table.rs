//! From the wire's tables to the broker's, and back.

use leveret_broker::value;
use leveret_protocol::amqp091::{Array, Table, TableWriter, Value};

/// Copies a table.
pub(crate) fn to_broker(table: Table<'_>) -> value::Table {
    table.iter().map(|(name, value)| (name.into(), value_to_broker(value))).collect()
}

/// Copies a value.
pub(crate) fn value_to_broker(value: Value<'_>) -> value::Value {
    match value {
        Value::Bool(v) => value::Value::Bool(v),
        Value::I8(v) => value::Value::I8(v),
        Value::U8(v) => value::Value::U8(v),
        Value::I16(v) => value::Value::I16(v),
        Value::U16(v) => value::Value::U16(v),
        Value::I32(v) => value::Value::I32(v),
        Value::U32(v) => value::Value::U32(v),
        Value::I64(v) => value::Value::I64(v),
        Value::F32(v) => value::Value::F32(v),
        Value::F64(v) => value::Value::F64(v),
        Value::Decimal { scale, value } => value::Value::Decimal { scale, value },
        Value::LongStr(v) => value::Value::LongStr(v.into()),
        Value::Array(v) => value::Value::Array(v.iter().map(value_to_broker).collect()),
        Value::Timestamp(v) => value::Value::Timestamp(v),
        Value::Table(v) => value::Value::Table(to_broker(v)),
        Value::Bytes(v) => value::Value::Bytes(v.into()),
        Value::Void => value::Value::Void,
    }
}

/// Appends a field of a table.
pub(crate) fn write_field(writer: &mut TableWriter<'_>, name: &str, value: &value::Value) {
    match value {
        value::Value::Array(values) => writer.array(name, |array| write_values(array, values)),
        value::Value::Table(fields) => writer.table(name, |table| write_fields(table, fields)),
        plain => writer.field(name, from_broker(plain)),
    };
}

/// Appends all fields of a table.
pub(crate) fn write_fields(writer: &mut TableWriter<'_>, fields: &value::Table) {
    fields.iter().for_each(|(name, value)| write_field(writer, name, value));
}

fn write_values(writer: &mut TableWriter<'_>, values: &[value::Value]) {
    for value in values {
        match value {
            value::Value::Array(values) => writer.array_value(|array| write_values(array, values)),
            value::Value::Table(fields) => writer.table_value(|table| write_fields(table, fields)),
            plain => writer.value(from_broker(plain)),
        };
    }
}

/// A value that holds no others; one that does has no octets yet and comes out empty.
fn from_broker(value: &value::Value) -> Value<'_> {
    match value {
        value::Value::Bool(v) => Value::Bool(*v),
        value::Value::I8(v) => Value::I8(*v),
        value::Value::U8(v) => Value::U8(*v),
        value::Value::I16(v) => Value::I16(*v),
        value::Value::U16(v) => Value::U16(*v),
        value::Value::I32(v) => Value::I32(*v),
        value::Value::U32(v) => Value::U32(*v),
        value::Value::I64(v) => Value::I64(*v),
        // The wire has no such type; what does not fit the signed one is no number that anybody counts to.
        value::Value::U64(v) => Value::I64(i64::try_from(*v).unwrap_or(i64::MAX)),
        value::Value::F32(v) => Value::F32(*v),
        value::Value::F64(v) => Value::F64(*v),
        value::Value::Decimal { scale, value } => Value::Decimal { scale: *scale, value: *value },
        value::Value::LongStr(v) => Value::LongStr(v),
        value::Value::Array(_) => Value::Array(Array::default()),
        value::Value::Timestamp(v) => Value::Timestamp(*v),
        value::Value::Table(_) => Value::Table(Table::default()),
        value::Value::Bytes(v) => Value::Bytes(v),
        value::Value::Void => Value::Void,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_back_from_the_wire_as_it_was() {
        let nested: value::Table = [("deep".into(), value::Value::Void)].into_iter().collect();
        let values = [
            value::Value::Bool(true),
            value::Value::I8(-1),
            value::Value::U8(1),
            value::Value::I16(-2),
            value::Value::U16(2),
            value::Value::I32(-3),
            value::Value::U32(3),
            value::Value::I64(-4),
            value::Value::F32(0.5),
            value::Value::F64(0.25),
            value::Value::Decimal { scale: 2, value: 5 },
            value::Value::text("text"),
            value::Value::Array(vec![value::Value::Array(vec![]), value::Value::Table(nested.clone())]),
            value::Value::Timestamp(7),
            value::Value::Table(nested),
            value::Value::Bytes([0, 1].into()),
            value::Value::Void,
        ];
        let fields: value::Table = values.into_iter().map(|value| ("name".into(), value)).collect();
        let mut octets = Vec::new();
        write_fields(&mut TableWriter::new(&mut octets), &fields);
        assert_eq!(to_broker(Table::parse(&octets).unwrap()), fields);
    }

    #[test]
    fn a_number_too_large_for_the_wire_is_the_largest() {
        for (number, expected) in [(5, 5), (u64::MAX, i64::MAX)] {
            assert_eq!(from_broker(&value::Value::U64(number)), Value::I64(expected));
        }
    }
}
