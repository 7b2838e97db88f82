//! Arguments of declarations and bindings as they stand on the command line.

use std::fmt;
use std::str::FromStr;

use leveret_protocol::amqp091::{TableWriter, Value};

/// An argument of a declaration or binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Argument {
    /// Its name.
    pub(crate) key: String,
    /// Its value.
    pub(crate) value: ArgumentValue,
}

/// The value of an argument: what reads as a number or truth value is one, unless it stands in double quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ArgumentValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Anything else.
    Text(String),
}

impl ArgumentValue {
    /// What a text stands for.
    pub(crate) fn of(text: &str) -> Self {
        if let Some(quoted) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            return Self::Text(quoted.to_owned());
        }
        let truth = text.parse().map(Self::Bool).ok();
        truth.or_else(|| text.parse().map(Self::Integer).ok()).unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    /// The value as it goes into a field table.
    pub(crate) fn field(&self) -> Value<'_> {
        match self {
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Integer(number) => Value::I64(*number),
            Self::Text(text) => Value::LongStr(text.as_bytes()),
        }
    }
}

impl fmt::Display for ArgumentValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(truth) => truth.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Argument {
    /// An argument of that name and value.
    pub(crate) fn new(key: &str, value: ArgumentValue) -> Self {
        Self { key: key.to_owned(), value }
    }
}

impl FromStr for Argument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = key_and_value(text)?;
        Ok(Self::new(key, ArgumentValue::of(value)))
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// The parts of `KEY=VALUE`.
pub(crate) fn key_and_value(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| "it is KEY=VALUE".into())
}

/// The octets of a field table, without the length in front.
pub(crate) fn table(arguments: &[Argument]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut writer = TableWriter::new(&mut octets);
    for Argument { key, value } in arguments {
        writer.field(key, value.field());
    }
    octets
}

/// The value of the argument with that name.
pub(crate) fn find<'a>(arguments: &'a [Argument], key: &str) -> Option<&'a ArgumentValue> {
    arguments.iter().find(|argument| argument.key == key).map(|argument| &argument.value)
}

#[cfg(test)]
mod tests {
    use leveret_protocol::amqp091::Table;

    use super::*;

    #[test]
    fn arguments_take_the_type_they_look_like() {
        let text = |text: &str| ArgumentValue::Text(text.into());
        for (argument, key, value) in [
            ("x-queue-type=quorum", "x-queue-type", text("quorum")),
            ("x-max-length=1000", "x-max-length", ArgumentValue::Integer(1000)),
            ("x-single-active-consumer=true", "x-single-active-consumer", ArgumentValue::Bool(true)),
            ("version=\"1\"", "version", text("1")),
            ("a=b=c", "a", text("b=c")),
            ("empty=", "empty", text("")),
        ] {
            assert_eq!(argument.parse(), Ok(Argument::new(key, value)), "{argument}");
        }
        assert!("x-queue-type".parse::<Argument>().is_err());
        assert!("=quorum".parse::<Argument>().is_err());
    }

    #[test]
    fn arguments_are_written_with_their_types() {
        let arguments = ["x-queue-type=quorum", "x-max-length=7", "x-flag=true"].map(|text| text.parse().unwrap());
        let octets = table(&arguments);
        let fields: Vec<_> = Table::parse(&octets).unwrap().iter().collect();
        let expected = [
            ("x-queue-type", Value::LongStr(b"quorum")),
            ("x-max-length", Value::I64(7)),
            ("x-flag", Value::Bool(true)),
        ];
        assert_eq!(fields, expected);
    }
}
