//! `leveret storage dump`: definitions and messages, a JSON object per line.
//!
//! A message is printed in each queue it is in, at its position there: that is how consumers would see it, and what can be
//! taken out by queue. Messages are read as they are printed, so that memory does not grow with them.

use std::io::Write;

use leveret_broker::message::Message;
use leveret_broker::topology::{BindingRecord, Destination, PolicyKind, Protection, Record};
use leveret_server::Purpose;
use leveret_storage::messages::inspect::Inspection;
use leveret_storage::messages::{QueueKey, Reader, RecoveredQueue};

use super::definitions::{Definitions, QueueName};
use super::folder::Folder;
use super::json::{Line, argument, arguments, properties};
use super::{Bodies, DumpOptions, Failure, Verdict};

/// Octets of messages that are read at a time.
const LOAD_OCTETS: usize = 1 << 20;

pub(super) fn run(options: &DumpOptions, output: &mut dyn Write) -> Result<Verdict, Failure> {
    let folder = Folder::open(&options.dir, Purpose::Look)?;
    let definitions = Definitions::read(&folder)?;
    for problem in definitions.problems.iter().chain(&definitions.skipped) {
        eprintln!("leveret storage: {problem}");
    }
    let inspection = match folder.messages()? {
        Some(disk) => Some(Inspection::open(&disk).map_err(|error| folder.failure(&error))?),
        None => None,
    };
    let mut queues = inspection.as_ref().map(Inspection::queues).unwrap_or_default();
    // By name, as people look for them; those without a name come last.
    let name = |queue: &RecoveredQueue| definitions.queue(queue.queue.0);
    queues.sort_by(|one, other| (name(one).is_none(), name(one)).cmp(&(name(other).is_none(), name(other))));
    queues.retain(|queue| options.wants_queue(queue.queue.0, name(queue)));
    let is_declared = definitions.queues().any(|(id, name)| options.wants_queue(id, Some(name)));
    if !is_declared && queues.is_empty() && options.is_about_a_queue() {
        return Err(Failure::Folder(options.no_such_queue(&folder)));
    }
    let mut lines = Lines { options, folder: &folder, output, verdict: Verdict::of(definitions.is_sound()) };
    for record in definitions.topology.durable_records() {
        if options.wants_record(&record, &definitions) {
            lines.definition(&record)?;
        }
    }
    if let Some(inspection) = &inspection {
        let reader = inspection.reader();
        for queue in queues {
            lines.queue(&reader, &queue, definitions.queue(queue.queue.0))?;
        }
    }
    Ok(lines.verdict)
}

impl DumpOptions {
    fn is_about_a_queue(&self) -> bool {
        self.queue.is_some() || self.id.is_some()
    }

    fn wants_queue(&self, id: u64, name: Option<&QueueName>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&String>| {
            wanted.as_ref().is_none_or(|wanted| Some(wanted) == found)
        };
        is(&self.queue, name.map(|name| &name.name))
            && is(&self.vhost, name.map(|name| &name.vhost))
            && self.id.is_none_or(|wanted| wanted == id)
    }

    fn wants_record(&self, record: &Record, definitions: &Definitions) -> bool {
        let (vhost, queue) = match record {
            Record::GlobalParameterSet { .. }
            | Record::GlobalParameterCleared { .. }
            | Record::DefaultsCreated
            | Record::UserSet { .. }
            | Record::UserDeleted { .. }
            | Record::UserLimitsSet { .. } => return self.vhost.is_none() && !self.is_about_a_queue(),
            Record::VhostCreated { vhost }
            | Record::VhostDeleted { vhost }
            | Record::ExchangeDeclared { vhost, .. }
            | Record::ExchangeDeleted { vhost, .. }
            | Record::DelayNumbered { vhost, .. }
            | Record::PolicySet { vhost, .. }
            | Record::PolicyCleared { vhost, .. }
            | Record::VhostDescribed { vhost, .. }
            | Record::ParameterSet { vhost, .. }
            | Record::ParameterCleared { vhost, .. }
            | Record::PermissionsSet { vhost, .. }
            | Record::PermissionsCleared { vhost, .. }
            | Record::TopicPermissionsSet { vhost, .. }
            | Record::TopicPermissionsCleared { vhost, .. } => (vhost, None),
            Record::QueueDeclared { vhost, name, .. }
            | Record::QueueDeleted { vhost, name, .. }
            | Record::QueuePaused { vhost, name, .. } => (vhost, Some(name)),
            Record::Bound(binding) | Record::Unbound(binding) => match &binding.destination {
                Destination::Queue(queue) => (&binding.vhost, Some(queue)),
                Destination::Exchange(_) => (&binding.vhost, None),
            },
        };
        if !self.is_about_a_queue() {
            return self.vhost.as_ref().is_none_or(|wanted| **wanted == **vhost);
        }
        let of_this = |(id, name): (u64, &QueueName)| {
            self.wants_queue(id, Some(name))
                && *name.vhost == **vhost
                && queue.is_some_and(|queue| *name.name == **queue)
        };
        definitions.queues().any(of_this)
    }

    fn no_such_queue(&self, folder: &Folder) -> String {
        let dir = folder.path.display();
        match (&self.queue, &self.vhost, self.id) {
            (Some(queue), Some(vhost), _) => {
                format!("there is no durable queue `{queue}` in the vhost `{vhost}` in {dir}")
            }
            (Some(queue), None, _) => format!("there is no durable queue `{queue}` in {dir}"),
            (None, _, id) => format!("there is no queue with the number {} in {dir}", id.unwrap_or_default()),
        }
    }
}

/// The line of a binding.
fn bound(binding: &BindingRecord) -> Line {
    let (kind, destination) = match &binding.destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    };
    let mut line = Line::new("binding");
    line.add("vhost", &*binding.vhost);
    line.add("source", &*binding.source);
    line.add("destination", &**destination);
    line.add("destination_type", kind);
    line.add("routing_key", &*binding.routing_key);
    line.add("arguments", arguments(&binding.arguments));
    line
}

/// What is printed, and whether something could not be.
struct Lines<'a> {
    options: &'a DumpOptions,
    folder: &'a Folder,
    output: &'a mut dyn Write,
    verdict: Verdict,
}

impl Lines<'_> {
    fn print(&mut self, line: Line) -> Result<(), Failure> {
        self.output.write_all(line.end().as_bytes()).map_err(Failure::Output)
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind, and each is short")]
    fn definition(&mut self, record: &Record) -> Result<(), Failure> {
        let line = match record {
            Record::VhostCreated { vhost } => {
                let mut line = Line::new("vhost");
                line.add("name", &**vhost);
                line
            }
            Record::ExchangeDeclared { vhost, name, kind, auto_delete, internal, arguments: table } => {
                let mut line = Line::new("exchange");
                line.add("vhost", &**vhost);
                line.add("name", &**name);
                line.add("kind", kind.as_str());
                line.add("auto_delete", *auto_delete);
                line.add("internal", *internal);
                line.add("arguments", arguments(table));
                line
            }
            Record::DelayNumbered { vhost, exchange, id } => {
                let mut line = Line::new("delay");
                line.add("vhost", &**vhost);
                line.add("exchange", &**exchange);
                line.add("id", id.0);
                line
            }
            Record::QueueDeclared { vhost, name, id, auto_delete, arguments: table } => {
                let mut line = Line::new("queue");
                line.add("vhost", &**vhost);
                line.add("name", &**name);
                line.add("id", id.0);
                line.add("auto_delete", *auto_delete);
                line.add("arguments", arguments(table));
                line
            }
            Record::Bound(binding) => bound(binding),
            Record::PolicySet { vhost, kind, policy } => {
                let mut line = Line::new(match kind {
                    PolicyKind::User => "policy",
                    PolicyKind::Operator => "operator_policy",
                });
                line.add("vhost", &**vhost);
                line.add("name", &*policy.name);
                line.add("pattern", &*policy.pattern);
                line.add("apply-to", policy.apply_to.as_str());
                line.add("priority", policy.priority);
                line.add("definition", arguments(&policy.definition));
                line
            }
            Record::VhostDescribed { vhost, metadata } => {
                let mut line = Line::new("vhost_metadata");
                line.add("vhost", &**vhost);
                line.add("description", &*metadata.description);
                line.add("tags", metadata.tags.iter().map(|tag| &**tag).collect::<Vec<&str>>());
                line.add("default_queue_type", metadata.default_queue_type.as_deref());
                line.add("protected_from_deletion", metadata.protection == Protection::Deletion);
                line
            }
            Record::ParameterSet { vhost, component, name, value } => {
                let mut line = Line::new("parameter");
                line.add("vhost", &**vhost);
                line.add("component", &**component);
                line.add("name", &**name);
                line.add("value", argument(value));
                line
            }
            Record::GlobalParameterSet { name, value } => {
                let mut line = Line::new("global_parameter");
                line.add("name", &**name);
                line.add("value", argument(value));
                line
            }
            Record::UserLimitsSet { user, limits } => {
                let mut line = Line::new("user_limits");
                line.add("user", &**user);
                line.add("limits", arguments(limits));
                line
            }
            Record::DefaultsCreated => Line::new("defaults_created"),
            // Not the hash: what is printed is shown to others when something is wrong.
            Record::UserSet { user, password, tags } => {
                let mut line = Line::new("user");
                line.add("name", &**user);
                line.add("hashing_algorithm", (!password.is_none()).then(|| password.algorithm.as_str()));
                line.add("tags", tags.iter().map(|tag| &**tag).collect::<Vec<&str>>());
                line
            }
            Record::PermissionsSet { user, vhost, permissions } => {
                let mut line = Line::new("permissions");
                line.add("user", &**user);
                line.add("vhost", &**vhost);
                line.add("configure", &**permissions.configure.text());
                line.add("write", &**permissions.write.text());
                line.add("read", &**permissions.read.text());
                line
            }
            Record::TopicPermissionsSet { user, vhost, exchange, permissions } => {
                let mut line = Line::new("topic_permissions");
                line.add("user", &**user);
                line.add("vhost", &**vhost);
                line.add("exchange", &**exchange);
                line.add("write", &**permissions.write.text());
                line.add("read", &**permissions.read.text());
                line
            }
            Record::QueuePaused { vhost, name, paused } => {
                let mut line = Line::new("paused_queue");
                line.add("vhost", &**vhost);
                line.add("name", &**name);
                line.add("paused", *paused);
                line
            }
            // What is there now is never told by what was deleted.
            Record::VhostDeleted { .. }
            | Record::ExchangeDeleted { .. }
            | Record::QueueDeleted { .. }
            | Record::Unbound(_)
            | Record::PolicyCleared { .. }
            | Record::ParameterCleared { .. }
            | Record::UserDeleted { .. }
            | Record::PermissionsCleared { .. }
            | Record::TopicPermissionsCleared { .. }
            | Record::GlobalParameterCleared { .. } => return Ok(()),
        };
        self.print(line)
    }

    fn queue(&mut self, reader: &Reader, queue: &RecoveredQueue, name: Option<&QueueName>) -> Result<(), Failure> {
        let mut at = queue.first;
        let mut left = self.options.limit.unwrap_or(u64::MAX);
        while at < queue.next && left > 0 {
            let loaded =
                reader.load(queue.queue, at..queue.next, LOAD_OCTETS).map_err(|error| self.folder.failure(&error))?;
            at = loaded.up_to;
            let mut lost = loaded.lost.into_iter().peekable();
            for (position, octets) in loaded.messages {
                while let Some(lost) = lost.next_if(|lost| *lost < position) {
                    self.unreadable(queue.queue, name, lost)?;
                }
                if left == 0 {
                    return Ok(());
                }
                match Message::from_octets(octets) {
                    Some(message) => {
                        left -= 1;
                        self.message(queue, name, position, &message)?;
                    }
                    None => self.unreadable(queue.queue, name, position)?,
                }
            }
            for lost in lost {
                self.unreadable(queue.queue, name, lost)?;
            }
        }
        Ok(())
    }

    fn message(
        &mut self,
        queue: &RecoveredQueue,
        name: Option<&QueueName>,
        position: u64,
        message: &Message,
    ) -> Result<(), Failure> {
        let mut line = place("message", queue.queue, name, position);
        line.add("redelivered", position < queue.delivered_before);
        line.add("exchange", message.exchange());
        line.add("routing_key", message.routing_key());
        line.add("properties", properties(message.properties()));
        line.add("size", message.body().len());
        if self.options.bodies == Bodies::Full {
            line.add_octets("body", message.body());
        }
        self.print(line)
    }

    fn unreadable(&mut self, queue: QueueKey, name: Option<&QueueName>, position: u64) -> Result<(), Failure> {
        self.verdict = Verdict::Damaged;
        self.print(place("unreadable", queue, name, position))
    }
}

/// A line about a position of a queue.
fn place(kind: &str, queue: QueueKey, name: Option<&QueueName>, position: u64) -> Line {
    let mut line = Line::new(kind);
    line.add("vhost", name.map(|name| name.vhost.as_str()));
    line.add("queue", name.map(|name| name.name.as_str()));
    line.add("id", queue.0);
    line.add("position", position);
    line
}
