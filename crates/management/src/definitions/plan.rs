//! What definitions change in a topology: each is looked up first, and what is not as it should be is made so in the draft.

mod access;
mod declared;
mod settings;

use std::collections::{HashMap, HashSet};

use leveret_broker::access::PasswordHash;
use leveret_broker::topology::{Change, Destination, Draft, Vhost};
use leveret_broker::value::{Table, Value};
use leveret_broker::{Error, Name};

use super::import::{OnProgress, Progress, Scope};
use super::read::one_line;
use super::report::{Kind, Report};
use super::sections::{At, Definitions, Place};
use crate::json;

/// After how many definitions it is told how far it is.
const PROGRESS_STEP: usize = 1000;

/// Why a plan was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// Something in the definitions is wrong.
    Wrong(String),
    /// Somebody asked for it.
    Asked,
}

/// Bindings that lead to the same place: source, key and arguments as JSON shows them.
type Shown = HashSet<(Name, Name, String)>;

/// Goes through definitions and makes a draft what they say.
pub(super) struct Planner<'a, 'p> {
    draft: &'a mut Draft,
    scope: &'a Scope,
    /// The hashes of passwords that came as they are, by user.
    hashes: &'a [Option<PasswordHash>],
    report: &'a mut Report,
    progress: &'a mut OnProgress<'p>,
    /// Components and settings that a warning was given for.
    warned: HashSet<String>,
    /// Bindings with arguments, by where they lead; see [`Planner::has_equivalent`].
    bindings: HashMap<(Name, Destination), Shown>,
}

impl<'a, 'p> Planner<'a, 'p> {
    pub(super) fn new(
        draft: &'a mut Draft,
        scope: &'a Scope,
        hashes: &'a [Option<PasswordHash>],
        report: &'a mut Report,
        progress: &'a mut OnProgress<'p>,
    ) -> Self {
        let (warned, bindings) = (HashSet::new(), HashMap::new());
        Self { draft, scope, hashes, report, progress, warned, bindings }
    }

    /// In RabbitMQ's order, so that what is needed is there.
    pub(super) fn run(mut self, definitions: &Definitions) -> Result<(), Stop> {
        for remark in &definitions.remarks {
            self.report.warn(remark.clone());
        }
        if let Scope::Vhost(vhost) = self.scope {
            self.draft.topology().vhost(vhost).map_err(|error| Stop::Wrong(error.to_string()))?;
            self.leave_out(definitions);
        } else {
            let hashes = self.hashes;
            self.each("users", &definitions.users, |planner, at, user| {
                planner.user(at, user, hashes.get(at.index).and_then(Option::as_ref))
            })?;
            self.each("vhosts", &definitions.vhosts, Self::vhost)?;
            self.each("permissions", &definitions.permissions, Self::permission)?;
        }
        self.each("exchanges", &definitions.exchanges, Self::exchange)?;
        if *self.scope == Scope::All {
            self.each("topic_permissions", &definitions.topic_permissions, Self::topic_permission)?;
            self.each("global_parameters", &definitions.global_parameters, Self::global_parameter)?;
        }
        self.each("policies", &definitions.policies, |planner, _, policy| planner.policy(policy))?;
        self.each("parameters", &definitions.parameters, |planner, _, parameter| planner.parameter(parameter))?;
        self.each("queues", &definitions.queues, Self::queue)?;
        self.each("bindings", &definitions.bindings, Self::binding)
    }

    fn leave_out(&mut self, definitions: &Definitions) {
        for (section, count) in [
            ("users", definitions.users.len()),
            ("vhosts", definitions.vhosts.len()),
            ("permissions", definitions.permissions.len()),
            ("topic_permissions", definitions.topic_permissions.len()),
            ("global_parameters", definitions.global_parameters.len()),
        ] {
            if count > 0 {
                self.report.warn(format!("{section} are not imported into a single vhost: {count} are left out"));
            }
        }
    }

    fn each<T>(
        &mut self,
        section: &'static str,
        items: &[T],
        mut plan: impl FnMut(&mut Self, At, &T) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for (index, item) in items.iter().enumerate() {
            if index % PROGRESS_STEP == 0 {
                self.tell(Progress { what: section, done: index, of: items.len() })?;
            }
            plan(self, At { section, index }, item)?;
        }
        if items.is_empty() {
            Ok(())
        } else {
            self.tell(Progress { what: section, done: items.len(), of: items.len() })
        }
    }

    fn tell(&mut self, progress: Progress) -> Result<(), Stop> {
        if (self.progress)(progress).is_break() { Err(Stop::Asked) } else { Ok(()) }
    }

    /// The vhost that something goes into.
    fn place(&self, at: At, place: &Place) -> Result<Name, Stop> {
        match (self.scope, place) {
            (Scope::Vhost(vhost), _) | (Scope::All, Some(vhost)) => Ok(Name::clone(vhost)),
            (Scope::All, None) => Err(Stop::Wrong(format!(
                "{at}.vhost: is missing; definitions of a single vhost have to be imported into one that is named"
            ))),
        }
    }

    fn in_vhost(&self, at: At, vhost: &Name) -> Result<&Vhost, Stop> {
        self.draft.topology().vhost(vhost).map_err(|error| refused(at, &error))
    }

    /// Makes a change in the draft.
    fn apply(&mut self, at: At, change: Change) -> Result<(), Stop> {
        self.draft.apply(change).map(|_| ()).map_err(|error| refused(at, &error))
    }

    /// Counts something that was set.
    fn settled(&mut self, kind: Kind, is_new: bool, how: &[String], what: impl FnOnce() -> String) {
        if is_new {
            self.report.created(kind, what);
        } else {
            self.report.changed(kind, what, how);
        }
    }

    /// Warns of something once, however often it is met.
    fn warn_once(&mut self, warning: String) {
        if !self.warned.contains(&warning) {
            self.report.warn(warning.clone());
            self.warned.insert(warning);
        }
    }
}

/// What the broker refuses, and where it stands.
fn refused(at: At, error: &Error) -> Stop {
    let path = match error {
        Error::InvalidArgument { argument, .. }
        | Error::InvalidArgumentType { argument, .. }
        | Error::ArgumentOfOtherType { argument, .. } => format!(".arguments.{argument}"),
        Error::InvalidProperty { property: "non-durable", .. } => ".durable".to_owned(),
        Error::InvalidProperty { property: "auto-delete", .. } => ".auto_delete".to_owned(),
        Error::UnknownExchangeType { .. } => ".type".to_owned(),
        Error::VhostNotFound { .. } => ".vhost".to_owned(),
        Error::UserNotFound { .. } => ".user".to_owned(),
        _ => String::new(),
    };
    Stop::Wrong(format!("{at}{path}: {}", one_line(error)))
}

/// Whether two tables say the same, in whatever order and with numbers of whatever width.
fn same(one: &Table, other: &Table) -> bool {
    one.len() == other.len() && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| alike(value, other)))
}

fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Table(one), Value::Table(other)) => same(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        _ => one.equivalent(other),
    }
}

/// How a member changed, for a person.
fn change(member: &str, before: &Value, now: &Value) -> String {
    format!("{member} {} -> {}", json::value(before), json::value(now))
}

/// How the members of a table changed.
fn changes(prefix: &str, before: &Table, now: &Table, how: &mut Vec<String>) {
    for (name, value) in now.iter() {
        match before.get(name) {
            Some(before) if alike(before, value) => {}
            Some(before) => how.push(change(&format!("{prefix}{name}"), before, value)),
            None => how.push(format!("{prefix}{name} {} is new", json::value(value))),
        }
    }
    for (name, _) in before.iter().filter(|(name, _)| now.get(name).is_none()) {
        how.push(format!("{prefix}{name} goes"));
    }
}
