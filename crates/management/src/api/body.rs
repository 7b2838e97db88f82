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

    /// Some of the members, of the object that one of them is.
    pub(super) fn within(&self, name: &str) -> Self {
        Self(self.0.get(name).and_then(Value::as_object).cloned().unwrap_or_default())
    }
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
}
