//! Policies, operator policies and limits of vhosts, for which the protocol has no means: set in the node of this process,
//! or in RabbitMQ by `rabbitmqctl`.

use std::fmt::Write;

use leveret_broker::access::Permissions;
use leveret_broker::topology::{ApplyTo, Change, Policy, PolicyKind};
use leveret_broker::value::{Table, Value};

use crate::broker;
use crate::rabbitmqctl::rabbitmqctl;

/// The value of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting<'a> {
    /// An integer.
    Number(i64),
    /// Text.
    Text(&'a str),
    /// True or false.
    Flag(bool),
}

impl From<i64> for Setting<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a str> for Setting<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Setting<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// A policy that is set, until it is dropped. It applies by the time there is one.
#[derive(Debug)]
pub struct PolicySet {
    kind: PolicyKind,
    name: String,
}

/// Sets a policy with priority 0 for queues and exchanges that match `pattern`, or replaces the one with that name.
pub fn set(name: &str, pattern: &str, definition: &[(&str, Setting<'_>)]) -> PolicySet {
    set_with(PolicyKind::User, name, pattern, ApplyTo::All, 0, definition)
}

/// Sets an operator policy with priority 0 for queues that match `pattern`, or replaces the one with that name.
pub fn set_operator(name: &str, pattern: &str, definition: &[(&str, Setting<'_>)]) -> PolicySet {
    set_with(PolicyKind::Operator, name, pattern, ApplyTo::Queues, 0, definition)
}

/// Sets a policy, or replaces the one with that name; panics if it is refused.
pub fn set_with(
    kind: PolicyKind,
    name: &str,
    pattern: &str,
    apply_to: ApplyTo,
    priority: i64,
    definition: &[(&str, Setting<'_>)],
) -> PolicySet {
    if broker::is_foreign() {
        let command = match kind {
            PolicyKind::User => "set_policy",
            PolicyKind::Operator => "set_operator_policy",
        };
        let (priority, definition) = (priority.to_string(), json(definition));
        let options = ["--priority", &priority, "--apply-to", apply_to.as_str(), "--"];
        rabbitmqctl(command, Some(&broker::url().vhost), &[&options[..], &[name, pattern, &definition]].concat());
    } else {
        let (name, pattern, definition) = (name.into(), pattern.into(), table(definition));
        let policy = Policy { name, pattern, apply_to, priority, definition };
        apply(Change::SetPolicy { vhost: vhost(), kind, policy });
    }
    PolicySet { kind, name: name.to_owned() }
}

impl PolicySet {
    /// Takes the policy away, and is through when it no longer applies.
    pub fn clear(self) {
        drop(self);
    }
}

impl Drop for PolicySet {
    fn drop(&mut self) {
        if broker::is_foreign() {
            let command = match self.kind {
                PolicyKind::User => "clear_policy",
                PolicyKind::Operator => "clear_operator_policy",
            };
            rabbitmqctl(command, Some(&broker::url().vhost), &[&self.name]);
        } else {
            let name = self.name.as_str().into();
            // It may be gone with its vhost, or by the hand of the test.
            let _ = broker::shared_node().apply(Change::ClearPolicy { vhost: vhost(), kind: self.kind, name });
        }
    }
}

/// Whether what comes into and goes out of a vhost is copied to `amq.rabbitmq.trace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firehose {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// A vhost of a test's own, where limits disturb nobody else; dropping it deletes it.
#[derive(Debug)]
pub struct OwnVhost {
    name: String,
}

/// Creates a vhost that the user of the tests may use.
pub fn own_vhost() -> OwnVhost {
    own_vhost_named(&crate::unique("vhost"))
}

/// Creates a vhost of this name that the user of the tests may use.
pub fn own_vhost_named(name: &str) -> OwnVhost {
    let name = name.to_owned();
    if broker::is_foreign() {
        rabbitmqctl("add_vhost", None, &["--", &name]);
        rabbitmqctl("set_permissions", Some(&name), &[&broker::url().user, ".*", ".*", ".*"]);
    } else {
        apply(Change::CreateVhost { vhost: name.as_str().into() });
        let (user, vhost) = (broker::url().user.as_str().into(), name.as_str().into());
        apply(Change::SetPermissions { user, vhost, permissions: Permissions::all() });
    }
    OwnVhost { name }
}

impl OwnVhost {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Deletes it, and is through when it is no longer there.
    pub fn delete(self) {
        drop(self);
    }

    /// Sets its limits: `max-queues` and `max-connections`. A negative one is none.
    pub fn limit(&self, limits: &[(&str, Setting<'_>)]) {
        if broker::is_foreign() {
            rabbitmqctl("set_vhost_limits", Some(&self.name), &["--", &json(limits)]);
        } else {
            let (vhost, component, name) = (self.name.as_str().into(), "vhost-limits".into(), "limits".into());
            apply(Change::SetParameter { vhost, component, name, value: Value::Table(table(limits)) });
        }
    }
}

impl OwnVhost {
    /// Turns its firehose on or off.
    pub fn set_firehose(&self, firehose: Firehose) {
        match firehose {
            Firehose::On if broker::is_foreign() => rabbitmqctl("trace_on", Some(&self.name), &[]),
            Firehose::Off if broker::is_foreign() => rabbitmqctl("trace_off", Some(&self.name), &[]),
            Firehose::On => broker::shared_node().trace(&self.name).unwrap_or_else(|error| panic!("{error}")),
            Firehose::Off => broker::shared_node().stop_tracing(&self.name),
        }
    }
}

impl Drop for OwnVhost {
    fn drop(&mut self) {
        if broker::is_foreign() {
            rabbitmqctl("delete_vhost", None, &["--", &self.name]);
        } else {
            // The test may have deleted it.
            let _ = broker::shared_node().apply(Change::DeleteVhost { vhost: self.name.as_str().into() });
        }
    }
}

fn vhost() -> leveret_broker::Name {
    broker::url().vhost.as_str().into()
}

pub(crate) fn apply(change: Change) {
    broker::shared_node().apply(change).unwrap_or_else(|error| panic!("{error}"));
}

pub(crate) fn table(settings: &[(&str, Setting<'_>)]) -> Table {
    let value = |setting: &Setting<'_>| match setting {
        Setting::Number(number) => Value::I64(*number),
        Setting::Text(text) => Value::text(text),
        Setting::Flag(flag) => Value::Bool(*flag),
    };
    settings.iter().map(|(key, setting)| ((*key).into(), value(setting))).collect()
}

pub(crate) fn json(settings: &[(&str, Setting<'_>)]) -> String {
    let mut json = String::from("{");
    for (index, (key, setting)) in settings.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let written = match setting {
            Setting::Number(number) => write!(json, "{comma}{key:?}:{number}"),
            // Rust and JSON quote alike what names and settings are made of.
            Setting::Text(text) => write!(json, "{comma}{key:?}:{text:?}"),
            Setting::Flag(flag) => write!(json, "{comma}{key:?}:{flag}"),
        };
        written.unwrap_or_else(|error| panic!("{error}"));
    }
    json.push('}');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_as_json() {
        let settings = [("max-length", 5.into()), ("overflow", "drop-head".into()), ("delayed-message", true.into())];
        assert_eq!(json(&settings), r#"{"max-length":5,"overflow":"drop-head","delayed-message":true}"#);
    }
}
