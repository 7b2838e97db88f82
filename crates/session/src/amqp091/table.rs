//! From the wire's tables to the broker's.

use leveret_broker::value;
use leveret_protocol::amqp091::{Table, Value};

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
