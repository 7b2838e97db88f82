//! One object of a section, member by member.

use std::fmt;

use leveret_broker::Name;
use leveret_broker::value::{Table, Value};
use serde_json::{Map, Value as Json};

use super::sections::{At, Place};
use crate::json;

/// Octets that a name may have which clients use: what AMQP has room for.
const NAME_MAX: usize = 255;
/// Octets that any other text may have which is kept as a name.
const TEXT_MAX: usize = u16::MAX as usize;

/// What is wrong, and with which member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The members that lead there, with a dot before each; empty for the whole object.
    pub(super) path: String,
    pub(super) text: String,
}

impl Problem {
    pub(super) fn at(member: &str, text: impl fmt::Display) -> Self {
        Self { path: format!(".{member}"), text: text.to_string() }
    }
}

/// An object of a section.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) at: At,
    members: Map<String, Json>,
    /// What people know it by, for errors.
    subject: String,
}

impl Item {
    pub(super) fn new(at: At, members: Map<String, Json>) -> Self {
        let text = |key: &str| members.get(key).and_then(Json::as_str);
        let place = text("vhost").map(|vhost| format!(" in vhost '{vhost}'")).unwrap_or_default();
        let subject = match (at.section, text("name")) {
            ("bindings", _) => {
                let (source, destination) = (text("source"), text("destination"));
                format!("binding from '{}' to '{}'{place}", source.unwrap_or_default(), destination.unwrap_or_default())
            }
            ("permissions" | "topic_permissions", _) => {
                format!("permissions of user '{}'{place}", text("user").unwrap_or_default())
            }
            (_, Some(name)) => format!("{} '{name}'{place}", singular(at.section)),
            (_, None) => String::new(),
        };
        Self { at, members, subject }
    }

    /// An error as people read it.
    pub(super) fn explain(&self, Problem { path, text }: &Problem) -> String {
        let subject = if self.subject.is_empty() { String::new() } else { format!(" ({})", self.subject) };
        format!("{}{path}: {text}{subject}", self.at)
    }

    fn take(&mut self, key: &str) -> Option<Json> {
        self.members.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn optional_text(&mut self, key: &str) -> Result<Option<String>, Problem> {
        match self.take(key) {
            None => Ok(None),
            Some(Json::String(text)) if text.len() > TEXT_MAX => {
                Err(Problem::at(key, format!("is longer than {TEXT_MAX} bytes")))
            }
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(Problem::at(key, format!("expected a string, found {}", kind(&other)))),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<String, Problem> {
        self.optional_text(key)?.ok_or_else(|| Problem::at(key, "is missing"))
    }

    /// A name that clients use.
    pub(super) fn name(&mut self, key: &str) -> Result<Name, Problem> {
        let name = self.text(key)?;
        if name.len() > NAME_MAX {
            return Err(Problem::at(key, format!("is longer than {NAME_MAX} bytes")));
        }
        Ok(name.into())
    }

    /// A name that has to be one.
    pub(super) fn full_name(&mut self, key: &str) -> Result<Name, Problem> {
        let name = self.name(key)?;
        if name.is_empty() { Err(Problem::at(key, "is empty")) } else { Ok(name) }
    }

    /// The vhost, which definitions of one vhost leave out.
    pub(super) fn place(&mut self) -> Result<Place, Problem> {
        if self.members.get("vhost").is_none_or(Json::is_null) {
            return Ok(None);
        }
        self.full_name("vhost").map(Some)
    }

    pub(super) fn flag(&mut self, key: &str, default: Flag) -> Result<bool, Problem> {
        Ok(self.optional_flag(key)?.unwrap_or(default == Flag::Set))
    }

    pub(super) fn optional_flag(&mut self, key: &str) -> Result<Option<bool>, Problem> {
        match self.take(key) {
            None => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(Problem::at(key, format!("expected true or false, found {}", kind(&other)))),
        }
    }

    pub(super) fn integer(&mut self, key: &str) -> Result<i64, Problem> {
        match self.take(key) {
            None => Ok(0),
            Some(Json::Number(number)) if number.as_i64().is_some() => Ok(number.as_i64().unwrap_or_default()),
            Some(other) => Err(Problem::at(key, format!("expected a whole number, found {}", kind(&other)))),
        }
    }

    /// Words: a list, or in files of RabbitMQ up to 3.8 a text with commas.
    pub(super) fn words(&mut self, key: &str) -> Result<Option<Vec<Name>>, Problem> {
        match self.take(key) {
            None => Ok(None),
            Some(Json::String(text)) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                Ok(Some(words.map(Name::from).collect()))
            }
            Some(Json::Array(words)) => {
                let word = |word: Json| match word {
                    Json::String(word) => Ok(word.into()),
                    other => Err(Problem::at(key, format!("expected strings, found {}", kind(&other)))),
                };
                words.into_iter().map(word).collect::<Result<_, _>>().map(Some)
            }
            Some(other) => {
                Err(Problem::at(key, format!("expected a list of strings or a string, found {}", kind(&other))))
            }
        }
    }

    /// An object of AMQP's values; none is an empty one.
    pub(super) fn table(&mut self, key: &str) -> Result<Table, Problem> {
        match self.take(key) {
            None => Ok(Table::new()),
            Some(value) => table(key, value),
        }
    }

    /// A value of any type.
    pub(super) fn value(&mut self, key: &str) -> Result<Value, Problem> {
        // Nothing at all is not the same as null.
        let value = self.members.remove(key).ok_or_else(|| Problem::at(key, "is missing"))?;
        json::to_value(&value).map_err(|error| Problem::at(key, error))
    }

    /// An object within it, as an item of its own; none if it is not there.
    pub(super) fn within(&mut self, key: &str) -> Result<Self, Problem> {
        match self.take(key) {
            None => Ok(Self { at: self.at, members: Map::new(), subject: String::new() }),
            Some(Json::Object(members)) => Ok(Self { at: self.at, members, subject: String::new() }),
            Some(other) => Err(Problem::at(key, format!("expected an object, found {}", kind(&other)))),
        }
    }
}

/// What holds of a flag that nothing is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    Set,
    Clear,
}

/// An object, or the list of pairs that `rabbitmqctl` of RabbitMQ 3.x makes of some.
fn table(key: &str, value: Json) -> Result<Table, Problem> {
    let members = match value {
        Json::Object(members) => members,
        Json::Array(pairs) => {
            let mut members = Map::new();
            for pair in pairs {
                let Json::Array(pair) = pair else { return Err(not_an_object(key, "an array")) };
                let Ok([Json::String(name), value]) = <[Json; 2]>::try_from(pair) else {
                    return Err(not_an_object(key, "an array"));
                };
                members.insert(name, value);
            }
            members
        }
        other => return Err(not_an_object(key, kind(&other))),
    };
    let mut table = Table::new();
    for (name, value) in members {
        if name.len() > NAME_MAX {
            return Err(Problem::at(key, format!("the key '{name}' is longer than {NAME_MAX} bytes")));
        }
        let value = json::to_value(&value).map_err(|error| Problem::at(&format!("{key}.{name}"), error))?;
        table.push(name.into(), value);
    }
    Ok(table)
}

fn not_an_object(key: &str, found: &str) -> Problem {
    Problem::at(key, format!("expected an object, found {found}"))
}

/// What something is in JSON.
pub(super) const fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

/// What one of a section is called.
fn singular(section: &str) -> String {
    match section {
        "policies" => "policy".to_owned(),
        other => other.strip_suffix('s').unwrap_or(other).replace('_', " "),
    }
}
