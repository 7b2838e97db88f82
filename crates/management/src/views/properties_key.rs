//! How RabbitMQ calls a binding among those of the same two ends: by its routing key, and by a hash of its arguments if it has any.
//!
//! The hash is Erlang's `phash2` of the arguments as RabbitMQ keeps them, so that scripts find bindings under the names they know.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leveret_broker::value::{Table, Value};

/// What a path calls the binding with this key and these arguments.
pub fn properties_key(routing_key: &str, arguments: &Table) -> String {
    let mut key = quote(routing_key).replace('~', "%7E");
    let has_arguments = arguments.iter().next().is_some();
    if key.is_empty() || has_arguments {
        key.push('~');
    }
    if has_arguments {
        let mut arguments = arguments.clone();
        arguments.sort();
        key.push_str(&URL_SAFE_NO_PAD.encode(Hash::default().table(&arguments).0.to_be_bytes()));
    }
    key
}

/// A text as RabbitMQ quotes it in paths: a space is a plus sign.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => quoted.push(char::from(octet)),
            b' ' => quoted.push('+'),
            // Writing to a text does not fail.
            _ => drop(write!(quoted, "%{octet:02X}")),
        }
    }
    quoted
}

/// The constant of which the hash of each kind of term has a multiple.
const GOLDEN: u32 = 0x9e37_79b9;
/// Numbers below have a hash of their own.
const SMALL: i128 = 1 << 27;

/// The kinds of terms, by their multiples.
mod kind {
    pub(super) const SMALL: u32 = 1;
    pub(super) const NIL: u32 = 2;
    pub(super) const ATOM: u32 = 3;
    pub(super) const TUPLE: u32 = 9;
    pub(super) const NEGATIVE: u32 = 10;
    pub(super) const POSITIVE: u32 = 11;
    pub(super) const FLOAT: u32 = 12;
    pub(super) const BINARY: u32 = 13;
}

/// The hash of the terms so far, from left to right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Hash(u32);

impl Hash {
    /// A list of triples: name, type, value.
    fn table(self, table: &Table) -> Self {
        table.iter().fold(self, |hash, (name, value)| hash.triple(name, value)).nil()
    }

    fn triple(self, name: &str, value: &Value) -> Self {
        self.tuple(3).binary(name.as_bytes()).atom(value.type_name()).value(value)
    }

    fn value(self, value: &Value) -> Self {
        match value {
            Value::Bool(value) => self.atom(if *value { "true" } else { "false" }),
            Value::I8(value) => self.integer((*value).into()),
            Value::U8(value) => self.integer((*value).into()),
            Value::I16(value) => self.integer((*value).into()),
            Value::U16(value) => self.integer((*value).into()),
            Value::I32(value) => self.integer((*value).into()),
            Value::U32(value) => self.integer((*value).into()),
            Value::I64(value) => self.integer((*value).into()),
            Value::U64(value) | Value::Timestamp(value) => self.integer((*value).into()),
            Value::F32(value) => self.float((*value).into()),
            Value::F64(value) => self.float(*value),
            Value::Decimal { scale, value } => self.tuple(2).integer((*scale).into()).integer((*value).into()),
            Value::LongStr(octets) | Value::Bytes(octets) => self.binary(octets),
            Value::Array(values) => {
                let pair = |hash: Self, value: &Value| hash.tuple(2).atom(value.type_name()).value(value);
                values.iter().fold(self, pair).nil()
            }
            Value::Table(table) => self.table(table),
            Value::Void => self.atom("undefined"),
        }
    }

    fn nil(self) -> Self {
        if self.0 == 0 { Self(3_468_870_702) } else { self.words(2, 0, kind::NIL) }
    }

    fn tuple(self, arity: u32) -> Self {
        self.words(arity, 0, kind::TUPLE)
    }

    fn atom(self, name: &str) -> Self {
        let hash = name.bytes().fold(0_u32, |hash, octet| {
            let hash = (hash << 4).wrapping_add(octet.into());
            let high = hash & 0xf000_0000;
            hash ^ (high >> 24) ^ high
        });
        if self.0 == 0 { Self(hash) } else { self.words(hash, 0, kind::ATOM) }
    }

    fn integer(self, value: i128) -> Self {
        let size = value.unsigned_abs();
        if (-SMALL..SMALL).contains(&value) {
            let small = |hash: Self, value: i128| hash.words(low(value.cast_unsigned()), 0, kind::SMALL);
            // A negative one is mixed in twice: without its sign, then as it is.
            let before = if value < 0 { small(self, value.abs()) } else { self };
            return small(before, value);
        }
        // No value has more than one of those digits of 64 bits.
        self.words(low(size), low(size >> 32), if value < 0 { kind::NEGATIVE } else { kind::POSITIVE })
    }

    fn float(self, value: f64) -> Self {
        let bits = u128::from(if value == 0.0 { 0 } else { value.to_bits() });
        // The higher half comes first, unlike with whole numbers.
        self.words(low(bits >> 32), low(bits), kind::FLOAT)
    }

    fn binary(self, octets: &[u8]) -> Self {
        let start = GOLDEN.wrapping_mul(kind::BINARY).wrapping_add(self.0);
        if octets.is_empty() {
            return Self(start);
        }
        let (mut a, mut b, mut c) = (GOLDEN, GOLDEN, start);
        let word = |part: Option<&[u8]>| {
            part.unwrap_or_default().iter().rev().fold(0_u32, |word, octet| (word << 8) | u32::from(*octet))
        };
        let mut blocks = octets.chunks_exact(12);
        for block in &mut blocks {
            a = a.wrapping_add(word(block.get(..4)));
            b = b.wrapping_add(word(block.get(4..8)));
            c = c.wrapping_add(word(block.get(8..)));
            (a, b, c) = mix(a, b, c);
        }
        let rest = blocks.remainder();
        let part = |from: usize, to: usize| word(rest.get(from..rest.len().min(to)));
        a = a.wrapping_add(part(0, 4));
        b = b.wrapping_add(part(4, 8));
        // The lowest octet of the last word is the length.
        c = c.wrapping_add(low(octets.len() as u128)).wrapping_add(part(8, 11) << 8);
        Self(mix(a, b, c).2)
    }

    fn words(self, one: u32, other: u32, kind: u32) -> Self {
        let constant = GOLDEN.wrapping_mul(kind);
        Self(mix(constant.wrapping_add(one), constant.wrapping_add(other), self.0).2)
    }
}

/// The lowest 32 bits.
const fn low(value: u128) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Bob Jenkins' mix of three words (1996, in the public domain).
fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for [right, left, last] in [[13, 8, 13], [12, 16, 5], [3, 10, 15]] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> right);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << left);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> last);
    }
    (a, b, c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, Value)]) -> Table {
        fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    #[test]
    fn keys_are_those_that_rabbitmq_3_10_gives() {
        for (routing_key, arguments, expected) in [
            ("", of(&[]), "~"),
            ("k1", of(&[]), "k1"),
            ("a.#", of(&[]), "a.%23"),
            ("k/ä b~c", of(&[]), "k%2F%C3%A4+b%7Ec"),
            ("r1", of(&[("z", Value::I64(1))]), "r1~e_RnAw"),
            ("k2", of(&[("b", Value::text("two")), ("a", Value::I64(1))]), "k2~hJUxMA"),
            ("", of(&[("x-match", Value::text("all")), ("n", Value::I64(5)), ("s", Value::text("t"))]), "~CNY8AQ"),
        ] {
            assert_eq!(properties_key(routing_key, &arguments), expected, "{routing_key} {arguments:?}");
        }
    }

    #[test]
    fn all_types_have_the_hash_that_erlang_gives_them() {
        for (value, expected) in [
            (Value::Bool(true), 896_762_095),
            (Value::I8(-5), 3_699_487_447),
            (Value::U16(65_535), 2_447_975_904),
            (Value::I64(134_217_727), 320_081_707),
            (Value::I64(134_217_728), 3_026_540_441),
            (Value::I64(-134_217_728), 2_676_470_749),
            (Value::I64(-134_217_729), 263_323_047),
            (Value::I64(i64::MAX), 1_716_168_660),
            (Value::I64(i64::MIN), 1_603_132_458),
            (Value::Timestamp(1_700_000_000_000), 3_705_489_135),
            (Value::F64(1.5), 825_142_011),
            (Value::F32(-0.25), 1_724_431_611),
            (Value::F64(0.0), 2_315_671_339),
            (Value::Decimal { scale: 2, value: 314 }, 2_858_603_085),
            (Value::text(""), 1_842_920_927),
            (Value::text("twelve octets and some more of them"), 914_000_616),
            (Value::Bytes([0, 255].as_slice().into()), 56_642_509),
            (Value::Array(vec![Value::I64(1), Value::text("a")]), 262_545_448),
            (Value::Table(of(&[("x", Value::Bool(false))])), 1_120_043_540),
            (Value::Void, 500_891_071),
        ] {
            assert_eq!(Hash::default().table(&of(&[("k", value.clone())])).0, expected, "{value:?}");
        }
    }
}
