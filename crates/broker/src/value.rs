//! Argument and header values: the types an AMQP 0-9-1 field table can hold, free of their encoding.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::Name;

/// One value of an argument table or of a message's headers.
///
/// `==` tells types apart (and floats by their bits, so that tables can be keys); [`Value::equivalent`] is the looser
/// comparison of re-declarations and headers exchanges.
#[derive(Clone, Debug)]
pub enum Value {
    /// Field type `t`.
    Bool(bool),
    /// Field type `b`.
    I8(i8),
    /// Field type `B`.
    U8(u8),
    /// Field type `s`.
    I16(i16),
    /// Field type `u`.
    U16(u16),
    /// Field type `I`.
    I32(i32),
    /// Field type `i`.
    U32(u32),
    /// Field types `l` and `L`, which RabbitMQ reads alike.
    I64(i64),
    /// No field type of AMQP 0-9-1; other protocols have it.
    U64(u64),
    /// Field type `f`.
    F32(f32),
    /// Field type `d`.
    F64(f64),
    /// Field type `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// Digits after the point.
        scale: u8,
        /// The number without its point.
        value: u32,
    },
    /// Field type `S`: text by custom, but any bytes are allowed.
    LongStr(Box<[u8]>),
    /// Field type `A`.
    Array(Vec<Value>),
    /// Field type `T`: seconds since 1970.
    Timestamp(u64),
    /// Field type `F`.
    Table(Table),
    /// Field type `x`.
    Bytes(Box<[u8]>),
    /// Field type `V`.
    Void,
}

/// A table of arguments or headers, in the order it came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table(Vec<(Name, Value)>);

impl Value {
    /// A text value.
    pub fn text(text: &str) -> Self {
        Self::LongStr(text.as_bytes().into())
    }

    /// The number, for every integer type; `None` for anything else.
    pub fn as_integer(&self) -> Option<i128> {
        match *self {
            Self::I8(value) => Some(value.into()),
            Self::U8(value) => Some(value.into()),
            Self::I16(value) => Some(value.into()),
            Self::U16(value) => Some(value.into()),
            Self::I32(value) => Some(value.into()),
            Self::U32(value) => Some(value.into()),
            Self::I64(value) => Some(value.into()),
            Self::U64(value) => Some(value.into()),
            _ => None,
        }
    }

    /// The text of a long string that is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::LongStr(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// RabbitMQ's name of the type, as its error texts show it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::I8(_) => "byte",
            Self::U8(_) => "unsignedbyte",
            Self::I16(_) => "short",
            Self::U16(_) => "unsignedshort",
            Self::I32(_) => "signedint",
            Self::U32(_) => "unsignedint",
            Self::I64(_) | Self::U64(_) => "long",
            Self::F32(_) => "float",
            Self::F64(_) => "double",
            Self::Decimal { .. } => "decimal",
            Self::LongStr(_) => "longstr",
            Self::Array(_) => "array",
            Self::Timestamp(_) => "timestamp",
            Self::Table(_) => "table",
            Self::Bytes(_) => "binary",
            Self::Void => "void",
        }
    }

    /// Whether RabbitMQ takes the values for the same where it compares what a client sent, in a re-declaration and in a
    /// headers exchange: it looks at the bare values, so the width of numbers does not count, and neither does what
    /// text or times are marked as. A whole number is never a float.
    pub fn equivalent(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::LongStr(one) | Self::Bytes(one), Self::LongStr(two) | Self::Bytes(two)) => one == two,
            (Self::F32(_) | Self::F64(_), Self::F32(_) | Self::F64(_)) => self.as_float() == other.as_float(),
            _ => match (self.as_whole_number(), other.as_whole_number()) {
                (Some(one), Some(two)) => one == two,
                _ => self == other,
            },
        }
    }

    fn as_whole_number(&self) -> Option<i128> {
        match *self {
            Self::Timestamp(seconds) => Some(seconds.into()),
            _ => self.as_integer(),
        }
    }

    fn as_float(&self) -> Option<f64> {
        match *self {
            Self::F32(value) => Some(value.into()),
            Self::F64(value) => Some(value),
            _ => None,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(one), Self::Bool(two)) => one == two,
            (Self::I8(one), Self::I8(two)) => one == two,
            (Self::U8(one), Self::U8(two)) => one == two,
            (Self::I16(one), Self::I16(two)) => one == two,
            (Self::U16(one), Self::U16(two)) => one == two,
            (Self::I32(one), Self::I32(two)) => one == two,
            (Self::U32(one), Self::U32(two)) => one == two,
            (Self::I64(one), Self::I64(two)) => one == two,
            (Self::U64(one), Self::U64(two)) | (Self::Timestamp(one), Self::Timestamp(two)) => one == two,
            (Self::F32(one), Self::F32(two)) => one.to_bits() == two.to_bits(),
            (Self::F64(one), Self::F64(two)) => one.to_bits() == two.to_bits(),
            (Self::Decimal { scale: one_scale, value: one }, Self::Decimal { scale: two_scale, value: two }) => {
                (one_scale, one) == (two_scale, two)
            }
            (Self::LongStr(one), Self::LongStr(two)) | (Self::Bytes(one), Self::Bytes(two)) => one == two,
            (Self::Array(one), Self::Array(two)) => one == two,
            (Self::Table(one), Self::Table(two)) => one == two,
            (Self::Void, Self::Void) => true,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Bool(value) => value.hash(state),
            Self::I8(value) => value.hash(state),
            Self::U8(value) => value.hash(state),
            Self::I16(value) => value.hash(state),
            Self::U16(value) => value.hash(state),
            Self::I32(value) => value.hash(state),
            Self::U32(value) => value.hash(state),
            Self::I64(value) => value.hash(state),
            Self::U64(value) | Self::Timestamp(value) => value.hash(state),
            Self::F32(value) => value.to_bits().hash(state),
            Self::F64(value) => value.to_bits().hash(state),
            Self::Decimal { scale, value } => (scale, value).hash(state),
            Self::LongStr(bytes) | Self::Bytes(bytes) => bytes.hash(state),
            Self::Array(values) => values.hash(state),
            Self::Table(table) => table.hash(state),
            Self::Void => {}
        }
    }
}

/// The value as RabbitMQ puts it into an error text: text raw, numbers in decimal, the rest as Erlang terms.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongStr(bytes) | Self::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            _ => write!(f, "{}", Term(self)),
        }
    }
}

/// A value as an Erlang term, the way RabbitMQ prints it where it does not expect text.
pub(crate) struct Term<'a>(pub(crate) &'a Value);

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Bool(value) => write!(f, "{value}"),
            Value::I8(value) => write!(f, "{value}"),
            Value::U8(value) => write!(f, "{value}"),
            Value::I16(value) => write!(f, "{value}"),
            Value::U16(value) => write!(f, "{value}"),
            Value::I32(value) => write!(f, "{value}"),
            Value::U32(value) => write!(f, "{value}"),
            Value::I64(value) => write!(f, "{value}"),
            Value::U64(value) | Value::Timestamp(value) => write!(f, "{value}"),
            Value::F32(value) => write!(f, "{:?}", f64::from(*value)),
            Value::F64(value) => write!(f, "{value:?}"),
            Value::Decimal { scale, value } => write!(f, "{{{scale},{value}}}"),
            Value::LongStr(bytes) | Value::Bytes(bytes) if bytes.is_empty() => f.write_str("<<>>"),
            Value::LongStr(bytes) | Value::Bytes(bytes) => write!(f, "<<\"{}\">>", String::from_utf8_lossy(bytes)),
            Value::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{{{},{}}}", value.type_name(), Term(value))?;
                }
                f.write_str("]")
            }
            Value::Table(table) => {
                f.write_str("[")?;
                for (index, (name, value)) in table.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{{<<\"{name}\">>,{},{}}}", value.type_name(), Term(value))?;
                }
                f.write_str("]")
            }
            Value::Void => f.write_str("undefined"),
        }
    }
}

impl Table {
    /// An empty table.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of that name; the first one if a client sent several.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(key, _)| &**key == name).map(|(_, value)| value)
    }

    /// What [`Table::get`] finds, in a table that is in the order of its names.
    pub(crate) fn find(&self, name: &str) -> Option<&Value> {
        let at = self.0.partition_point(|(key, _)| **key < *name);
        self.0.get(at).filter(|(key, _)| **key == *name).map(|(_, value)| value)
    }

    /// Adds a value at the end, without looking for one of that name.
    pub fn push(&mut self, name: Name, value: Value) {
        self.0.push((name, value));
    }

    /// The values in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(Name, Value)> + ExactSizeIterator {
        self.0.iter()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Brings the values into the order of their names, keeping the order of equal ones.
    pub fn sort(&mut self) {
        self.0.sort_by(|(one, _), (two, _)| one.cmp(two));
    }
}

impl FromIterator<(Name, Value)> for Table {
    fn from_iter<I: IntoIterator<Item = (Name, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(values: &[(&str, Value)]) -> Table {
        values.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    #[test]
    fn values_are_equivalent_whatever_their_width() {
        for (one, two, expected) in [
            (Value::I8(1), Value::U64(1), true),
            (Value::I32(2000), Value::I64(2000), true),
            (Value::I8(-1), Value::U8(255), false),
            (Value::I32(1), Value::F32(1.0), false),
            (Value::F64(0.0), Value::F64(-0.0), true),
            (Value::I32(1), Value::Timestamp(1), true),
            (Value::I32(1), Value::Bool(true), false),
            (Value::F32(0.5), Value::F64(0.5), true),
            (Value::I32(1), Value::text("1"), false),
            (Value::text("a"), Value::text("a"), true),
            (Value::text("a"), Value::Bytes(b"a".as_slice().into()), true),
            (Value::Array(vec![Value::I32(1)]), Value::Array(vec![Value::I32(1)]), true),
            (Value::Void, Value::Void, true),
            (Value::Bool(true), Value::Bool(false), false),
        ] {
            assert_eq!(one.equivalent(&two), expected, "{one:?} {two:?}");
            assert_eq!(two.equivalent(&one), expected, "{two:?} {one:?}");
        }
    }

    #[test]
    fn equal_values_have_equal_hashes_and_types_count() {
        let hash = |value: &Value| std::hash::BuildHasher::hash_one(&foldhash::fast::FixedState::default(), value);
        let values = [
            Value::I8(1),
            Value::U8(1),
            Value::I64(1),
            Value::U64(1),
            Value::Timestamp(1),
            Value::F32(1.0),
            Value::F64(1.0),
            Value::Decimal { scale: 0, value: 1 },
            Value::text("1"),
            Value::Bytes(b"1".as_slice().into()),
            Value::Array(vec![Value::I8(1)]),
            Value::Table(table(&[("a", Value::I8(1))])),
            Value::Bool(true),
            Value::Void,
        ];
        for (index, one) in values.iter().enumerate() {
            for (other, two) in values.iter().enumerate() {
                assert_eq!(one == two, index == other, "{one:?} {two:?}");
            }
            assert_eq!(hash(one), hash(&one.clone()), "{one:?}");
        }
    }

    #[test]
    fn values_are_shown_as_rabbitmq_shows_them() {
        for (value, type_name, text) in [
            (Value::text("a b"), "longstr", "a b"),
            (Value::I32(-5), "signedint", "-5"),
            (Value::U32(5), "unsignedint", "5"),
            (Value::I64(5), "long", "5"),
            (Value::I16(5), "short", "5"),
            (Value::U16(5), "unsignedshort", "5"),
            (Value::I8(5), "byte", "5"),
            (Value::U8(5), "unsignedbyte", "5"),
            (Value::Bool(true), "bool", "true"),
            (Value::F64(1.0), "double", "1.0"),
            (Value::F32(0.5), "float", "0.5"),
            (Value::Timestamp(7), "timestamp", "7"),
            (Value::Decimal { scale: 2, value: 5 }, "decimal", "{2,5}"),
            (Value::Void, "void", "undefined"),
            (Value::Array(vec![Value::text("a"), Value::I32(1)]), "array", "[{longstr,<<\"a\">>},{signedint,1}]"),
            (Value::Table(table(&[("k", Value::Bool(false))])), "table", "[{<<\"k\">>,bool,false}]"),
        ] {
            assert_eq!(value.to_string(), text);
            assert_eq!(value.type_name(), type_name);
        }
    }

    #[test]
    fn table_finds_the_first_of_a_name_and_keeps_its_order() {
        let mut values = table(&[("b", Value::I32(1)), ("a", Value::I32(2)), ("b", Value::I32(3))]);
        assert_eq!(values.get("b"), Some(&Value::I32(1)));
        assert_eq!(values.get("c"), None);
        values.sort();
        let names: Vec<i128> = values.iter().filter_map(|(_, value)| value.as_integer()).collect();
        assert_eq!(names, [2, 1, 3]);
    }
}
