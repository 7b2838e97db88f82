//! Values of AMQP as JSON, and back.
//!
//! Three forms are in use: the management API shows tables as objects ([`table`]); the listings of `rabbitmqctl` show each value
//! with its type ([`typed_table`]); and what operators write is JSON ([`to_table`], [`to_value`]).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leveret_broker::value::{Table, Value};
use serde_json::{Map, Value as Json, json};

/// Tables and arrays within each other that are taken from JSON.
const DEPTH_MAX: usize = 64;

/// JSON that stands for nothing that AMQP has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A number is too large.
    #[error("a number is out of range")]
    OutOfRange,
    /// Arrays and objects are too deep within each other.
    #[error("arrays and objects are nested too deeply")]
    TooDeep,
    /// It should have been an object.
    #[error("not an object")]
    NoObject,
}

/// A table as an object. Of several values of one name the first counts.
pub fn table(table: &Table) -> Map<String, Json> {
    let mut members = Map::new();
    for (name, field) in table.iter() {
        members.entry(name.to_string()).or_insert_with(|| value(field));
    }
    members
}

/// A value as the management API shows it. Octets that are no UTF-8 come as text that says so, in base64; what JSON has no number
/// for comes as text.
pub fn value(value: &Value) -> Json {
    plain(value, self::value, |inner| Json::Object(table(inner)))
}

/// A table as `rabbitmqctl` lists it: an array with name, type and value of each.
pub fn typed_table(table: &Table) -> Json {
    table.iter().map(|(name, field)| json!([&**name, field.type_name(), typed_value(field)])).collect()
}

/// A value as it stands in such an array. An array has a pair of type and value for each of its values.
fn typed_value(value: &Value) -> Json {
    plain(value, |inner| json!([inner.type_name(), typed_value(inner)]), typed_table)
}

fn plain(value: &Value, in_array: impl Fn(&Value) -> Json, in_table: impl Fn(&Table) -> Json) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::I8(value) => json!(value),
        Value::U8(value) => json!(value),
        Value::I16(value) => json!(value),
        Value::U16(value) => json!(value),
        Value::I32(value) => json!(value),
        Value::U32(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::U64(value) | Value::Timestamp(value) => json!(value),
        Value::F32(value) => float(f64::from(*value)),
        Value::F64(value) => float(*value),
        Value::Decimal { scale, value } => decimal(*scale, *value),
        Value::LongStr(octets) | Value::Bytes(octets) => text(octets),
        Value::Array(values) => values.iter().map(in_array).collect(),
        Value::Table(table) => in_table(table),
        Value::Void => Json::Null,
    }
}

/// The same with the members of all objects in the order of their names, so that a text of it is always the same.
pub fn in_order(json: Json) -> Json {
    match json {
        Json::Array(values) => values.into_iter().map(in_order).collect(),
        Json::Object(members) => {
            let members: BTreeMap<String, Json> =
                members.into_iter().map(|(name, value)| (name, in_order(value))).collect();
            Json::Object(members.into_iter().collect())
        }
        other => other,
    }
}

/// Octets as text, or the word of their being none.
pub fn text(octets: &[u8]) -> Json {
    match std::str::from_utf8(octets) {
        Ok(text) => json!(text),
        Err(_) => json!(format!("Invalid UTF-8, base64 is: {}", STANDARD.encode(octets))),
    }
}

/// JSON has no word for infinity, so that stands as text.
fn float(value: f64) -> Json {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}

/// A decimal as text: as a number it could be rounded.
fn decimal(scale: u8, value: u32) -> Json {
    let digits = format!("{value:0>width$}", width = usize::from(scale) + 1);
    let (before, behind) = digits.split_at(digits.len() - usize::from(scale));
    json!(if behind.is_empty() { before.to_owned() } else { format!("{before}.{behind}") })
}

/// The table that an object stands for: whole numbers are of type `long`, others `double`, and null is `void`.
pub fn to_table(json: &Json) -> Result<Table, JsonError> {
    let Json::Object(members) = json else { return Err(JsonError::NoObject) };
    members_to_table(members, DEPTH_MAX)
}

/// The value that JSON stands for, by the same rules.
pub fn to_value(json: &Json) -> Result<Value, JsonError> {
    to_value_within(json, DEPTH_MAX)
}

fn members_to_table(members: &Map<String, Json>, depth: usize) -> Result<Table, JsonError> {
    members.iter().map(|(name, value)| Ok((name.as_str().into(), to_value_within(value, depth)?))).collect()
}

fn to_value_within(json: &Json, depth: usize) -> Result<Value, JsonError> {
    let within = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
    Ok(match json {
        Json::Null => Value::Void,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => Value::I64(whole),
            (None, Some(_), _) | (None, None, None) => return Err(JsonError::OutOfRange),
            (None, None, Some(double)) => Value::F64(double),
        },
        Json::String(text) => Value::text(text),
        Json::Array(values) => {
            Value::Array(values.iter().map(|value| to_value_within(value, within)).collect::<Result<_, _>>()?)
        }
        Json::Object(members) => Value::Table(members_to_table(members, within)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, Value)]) -> Table {
        fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    #[test]
    fn values_are_shown_with_and_without_their_types() {
        let array = Value::Array(vec![Value::I64(1), Value::text("b"), Value::Bool(true)]);
        for (value, api, listed) in [
            (Value::Bool(true), json!(true), json!(["k", "bool", true])),
            (Value::I8(-1), json!(-1), json!(["k", "byte", -1])),
            (Value::U64(u64::MAX), json!(u64::MAX), json!(["k", "long", u64::MAX])),
            (Value::F64(1.5), json!(1.5), json!(["k", "double", 1.5])),
            (Value::F64(f64::INFINITY), json!("inf"), json!(["k", "double", "inf"])),
            (Value::Decimal { scale: 2, value: 5 }, json!("0.05"), json!(["k", "decimal", "0.05"])),
            (Value::Decimal { scale: 0, value: 5 }, json!("5"), json!(["k", "decimal", "5"])),
            (Value::Timestamp(7), json!(7), json!(["k", "timestamp", 7])),
            (Value::text("ü"), json!("ü"), json!(["k", "longstr", "ü"])),
            (Value::Void, json!(null), json!(["k", "void", null])),
            (
                Value::LongStr([0xFF].as_slice().into()),
                json!("Invalid UTF-8, base64 is: /w=="),
                json!(["k", "longstr", "Invalid UTF-8, base64 is: /w=="]),
            ),
            (
                Value::Table(of(&[("a", array)])),
                json!({"a": [1, "b", true]}),
                json!(["k", "table", [["a", "array", [["long", 1], ["longstr", "b"], ["bool", true]]]]]),
            ),
        ] {
            let fields = of(&[("k", value.clone())]);
            assert_eq!(self::value(&value), api);
            assert_eq!(typed_table(&fields), json!([listed]));
        }
    }

    #[test]
    fn the_first_of_a_name_is_shown_as_it_is_the_one_that_counts() {
        let fields = of(&[("a", Value::I32(1)), ("a", Value::I32(2))]);
        assert_eq!(Json::Object(table(&fields)), json!({"a": 1}));
    }

    #[test]
    fn members_are_put_in_order() {
        let json: Json = serde_json::from_str(r#"{"b":[{"d":1,"c":2}],"a":null}"#).unwrap();
        assert_eq!(in_order(json).to_string(), r#"{"a":null,"b":[{"c":2,"d":1}]}"#);
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let json = json!({"a": [1, -2.5, "x", true, null, {"b": {}}], "z": i64::MIN});
        let table = to_table(&json).unwrap();
        assert_eq!(Json::Object(self::table(&table)), json);
        assert_eq!(table.get("z"), Some(&Value::I64(i64::MIN)));
    }

    #[test]
    fn what_amqp_cannot_hold_is_refused() {
        let mut deep = json!(1);
        for _ in 0..DEPTH_MAX {
            deep = json!([deep]);
        }
        for (json, error) in [
            (json!({"a": u64::MAX}), JsonError::OutOfRange),
            (json!({"a": deep}), JsonError::TooDeep),
            (json!([]), JsonError::NoObject),
        ] {
            assert_eq!(to_table(&json), Err(error), "{json}");
        }
    }
}
