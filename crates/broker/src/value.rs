//! Argument and header values: the types an AMQP 0-9-1 field table can hold, free of their encoding.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::Name;

/// One value of an argument table or of a message's headers.
///
/// `==` tells types apart (and floats by their bits, so that tables can be keys); [`Value::equivalent`] is the looser
/// comparison a re-declaration uses and [`Value::matches`] the one of a headers exchange.
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
    /// Field types `l` and `L`, which are the same to every RabbitMQ client.
    I64(i64),
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
            Self::I64(_) => "long",
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

    /// Whether a re-declaration with the one value agrees with the other: integers of any width agree by value, so do
    /// the two float types, everything else needs the same type.
    pub fn equivalent(&self, other: &Self) -> bool {
        todo_equivalent(self, other)
    }
}
