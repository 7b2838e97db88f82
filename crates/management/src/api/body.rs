//! The members of a body, read as leniently as RabbitMQ does and refused in its words.

use std::fmt::{self, Debug, Formatter};

use leveret_broker::Name;
use leveret_broker::value::Table;
use serde_json::{Map, Value, json};
use zeroize::Zeroize;

use super::Failure;
use crate::json;

/// Columns of a line, beyond which RabbitMQ breaks the list of what is missing.
const LINE: usize = 80;
/// Octets that a name may have.
const NAME_MAX: usize = 255;
/// What is said of arguments without a value, which AMQP has a type for.
const NULL: &str = "null_not_allowed";

/// The members of a body. They may have passwords, so they are not shown, and are wiped.
pub(super) struct Members(Map<String, Value>);

impl Members {
    pub(super) const fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// Fails unless all of these are there.
    pub(super) fn need(&self, names: &[&str]) -> Result<(), Failure> {
        let missing = names.iter().filter(|name| !self.0.contains_key(**name));
        let missing: Vec<String> = missing.map(|name| format!("{{key_missing,{name}}}")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let length: usize = missing.iter().map(|one| one.len() + 1).sum();
        let between = if length < LINE { "," } else { ",\n " };
        Err(Failure::bad_request(format!("[{}]", missing.join(between))))
    }

    /// Whatever a member is; also null.
    pub(super) fn raw(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// What a member is, if it is something.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        self.value(name).map(|value| value.as_str().ok_or_else(|| wrong("not_string", &json!(name)))).transpose()
    }

    /// A text that has to be there.
    pub(super) fn needed_text(&self, name: &str) -> Result<&str, Failure> {
        self.text(name)?.ok_or_else(|| wrong("not_string", &json!(name)))
    }

    /// True or false, also as text.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" => Ok(Some(false)),
            Some(other) => Err(wrong("not_boolean", other)),
        }
    }

    /// A whole number, also as text.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        number.map(Some).ok_or_else(|| wrong("not_integer", value))
    }

    /// A text, also as a number; empty if it is not there.
    pub(super) fn key(&self, name: &str) -> Result<Name, Failure> {
        let key = match self.value(name) {
            Some(Value::Number(number)) => number.to_string(),
            _ => self.text(name)?.unwrap_or_default().to_owned(),
        };
        self::name(name, &key)
    }

    /// Words: in a list, or as text with commas between them.
    pub(super) fn words(&self, name: &str) -> Result<Option<Vec<Name>>, Failure> {
        let no_word = || wrong("not_string", &json!(name));
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => {
                Ok(Some(text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Name::from).collect()))
            }
            Some(Value::Array(words)) => {
                let words = words.iter().map(|word| word.as_str().map(Name::from).ok_or_else(no_word));
                words.collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(no_word()),
        }
    }

    /// An object.
    pub(super) fn table(&self, name: &str) -> Result<Option<Table>, Failure> {
        let read = |value| json::to_table(value).map_err(|error| Failure::bad_request(format!("{name}: {error}")));
        self.value(name).map(read).transpose()
    }

    /// Arguments, or headers: an object in which nothing is null; an empty array stands for none.
    pub(super) fn arguments(&self, name: &str) -> Result<Table, Failure> {
        match self.raw(name) {
            None => Ok(Table::new()),
            Some(Value::Array(elements)) if elements.is_empty() => Ok(Table::new()),
            Some(Value::Null) => Err(Failure::bad_request(NULL)),
            Some(members @ Value::Object(_)) => {
                if has_null(members) {
                    return Err(Failure::bad_request(NULL));
                }
                json::to_table(members).map_err(|error| Failure::bad_request(format!("{name}: {error}")))
            }
            Some(_) => Err(wrong("not_an_object", &json!(name))),
        }
    }

    /// Some of the members, of the object that one of them is.
    pub(super) fn within(&self, name: &str) -> Self {
        Self(self.0.get(name).and_then(Value::as_object).cloned().unwrap_or_default())
    }
}

/// Whether there is a null in it, however deep; JSON is not read from so deep that this could be too much.
fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The name that something is to have, or is found by, unless it is too long for one.
pub(super) fn name(what: &str, name: &str) -> Result<Name, Failure> {
    if name.len() > NAME_MAX {
        let reason = format!("{what} should be less than {NAME_MAX} bytes, actually was {}\n", name.len());
        return Err(Failure::bad_request(reason));
    }
    Ok(name.into())
}

/// A member that is not what it should be.
fn wrong(what: &str, value: &Value) -> Failure {
    Failure::bad_request(json!([what, value]))
}

impl Debug for Members {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

/// Overwrites all texts in a value.
pub(super) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: Value) -> Members {
        match value {
            Value::Object(members) => Members::new(members),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn what_is_missing_is_told_as_erlang_prints_it() {
        let members = members(json!({"read": null}));
        for (names, expected) in [
            (&["read"][..], None),
            (&["read", "write"], Some("[{key_missing,write}]")),
            (
                &["configure", "write", "pattern"],
                Some("[{key_missing,configure},{key_missing,write},{key_missing,pattern}]"),
            ),
            (
                &["routing_key", "properties", "payload", "payload_encoding"],
                Some(
                    "[{key_missing,routing_key},\n {key_missing,properties},\n {key_missing,payload},\n \
                     {key_missing,payload_encoding}]",
                ),
            ),
        ] {
            let missing = members.need(names).err().map(|failure| failure.reason);
            assert_eq!(missing, expected.map(Value::from), "{names:?}");
        }
    }

    #[test]
    fn members_are_read_in_any_form_that_rabbitmq_takes() {
        let members = members(json!({
            "yes": true, "no": "false", "five": 5, "none": null, "text": "x",
            "list": ["a", "b"], "commas": "a, b ,c,", "mixed": ["a", 5],
        }));
        for (name, expected) in [
            ("yes", Ok(Some(true))),
            ("no", Ok(Some(false))),
            ("none", Ok(None)),
            ("absent", Ok(None)),
            ("text", Err(json!(["not_boolean", "x"]))),
        ] {
            assert_eq!(members.flag(name).map_err(|failure| failure.reason), expected, "{name}");
        }
        for (name, expected) in [
            ("list", Ok(Some(vec!["a", "b"]))),
            ("commas", Ok(Some(vec!["a", "b", "c"]))),
            ("none", Ok(None)),
            ("five", Err(json!(["not_string", "five"]))),
            ("mixed", Err(json!(["not_string", "mixed"]))),
        ] {
            let words = members.words(name).map_err(|failure| failure.reason);
            let expected = expected.map(|words| words.map(|words| words.into_iter().map(Name::from).collect()));
            assert_eq!(words, expected, "{name}");
        }
        assert_eq!(members.text("text").unwrap(), Some("x"));
        assert_eq!(members.text("five").map_err(|failure| failure.reason), Err(json!(["not_string", "five"])));
        assert_eq!(members.needed_text("none").map_err(|failure| failure.reason), Err(json!(["not_string", "none"])));
    }

    #[test]
    fn numbers_and_keys_are_read_either_way() {
        let members = members(json!({"one": 1, "n": "-5", "half": 1.5, "text": "x"}));
        for (name, expected) in [
            ("one", Ok(Some(1))),
            ("n", Ok(Some(-5))),
            ("absent", Ok(None)),
            ("half", Err(json!(["not_integer", 1.5]))),
            ("text", Err(json!(["not_integer", "x"]))),
        ] {
            assert_eq!(members.number(name).map_err(|failure| failure.reason), expected, "{name}");
        }
        for (name, expected) in [("one", "1"), ("text", "x"), ("absent", "")] {
            assert_eq!(&*members.key(name).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn arguments_are_an_object_without_null() {
        let members = members(json!({
            "empty": [], "some": {"a": [1, {"b": "c"}]}, "deep": {"a": [null]}, "none": null, "text": "x",
        }));
        for (name, expected) in [
            ("absent", Ok(0)),
            ("empty", Ok(0)),
            ("some", Ok(1)),
            ("deep", Err(json!("null_not_allowed"))),
            ("none", Err(json!("null_not_allowed"))),
            ("text", Err(json!(["not_an_object", "text"]))),
        ] {
            let found = members.arguments(name).map(|table| table.iter().count());
            assert_eq!(found.map_err(|failure| failure.reason), expected, "{name}");
        }
    }

    #[test]
    fn names_have_a_length_that_the_wire_can_hold() {
        assert!(name("queue", &"q".repeat(255)).is_ok());
        let expected = "queue should be less than 255 bytes, actually was 256\n";
        assert_eq!(name("queue", &"q".repeat(256)).unwrap_err().reason, json!(expected));
    }
}
