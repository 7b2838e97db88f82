//! The queue class: declare, bind, unbind, purge, delete.

use leveret_broker::error::{InvalidValue, Resource};
use leveret_broker::queue::{CloseCondition, QueueKind};
use leveret_broker::topology::{Change, Destination, Origin, Topology, clean_name};
use leveret_broker::{Error, Name};
use leveret_protocol::amqp091::method::{
    QueueBind, QueueBindOk, QueueDeclare, QueueDeclareOk, QueueDelete, QueueDeleteOk, QueuePurge, QueuePurgeOk,
    QueueUnbind, QueueUnbindOk,
};
use leveret_protocol::amqp091::{ReplyCode, Value};

use super::fault::Fault;
use super::parking::Wait;
use super::reply_to::is_reply_name;
use super::settings::generated_name;
use super::{Handled, Session, table};

impl Session {
    /// The queue a method means: an empty name stands for the one declared last on the channel.
    pub(super) fn queue_name(&mut self, number: u16, name: &str) -> Result<Name, Fault> {
        if !name.is_empty() {
            return Ok(name.into());
        }
        let last = self.channels.get_mut(number).and_then(|channel| channel.last_queue.clone());
        last.ok_or_else(|| Fault::new(ReplyCode::NotFound, "no previously declared queue"))
    }

    pub(super) fn queue_declare(&mut self, number: u16, declare: &QueueDeclare<'_>, out: &mut Vec<u8>) -> Handled {
        if is_reply_name(declare.queue) {
            return self.declare_replies(number, declare, out);
        }
        let asked_for_name = clean_name(declare.queue).is_empty();
        let name = self.declared_name(number, declare)?;
        let mut written = None;
        if !declare.passive {
            // A prefix is the client's choice, so it may not reach into the reserved names either.
            let is_prefixed = declare.arguments.get(PREFIX_ARGUMENT).is_some();
            let origin = if asked_for_name && !is_prefixed { Origin::Broker } else { Origin::Client };
            if let Some(channel) = self.channels.get_mut(number) {
                channel.generated = None;
            }
            let mut arguments = table::to_broker(declare.arguments);
            if asked_for_name {
                self.check_server_named(declare, &arguments)?;
                // The prefix has done what it is for.
                arguments = arguments.iter().filter(|(name, _)| &**name != PREFIX_ARGUMENT).cloned().collect();
            }
            let changed = self.node.apply_as(
                Change::DeclareQueue {
                    vhost: Name::clone(&self.vhost),
                    name: Name::clone(&name),
                    durable: declare.durable,
                    exclusive: declare.exclusive.then_some(self.id),
                    auto_delete: declare.auto_delete,
                    arguments,
                    origin,
                    id: None,
                },
                &self.user,
            )?;
            written = changed.written;
        }
        let queue = self.node.queue(&self.vhost, &name, self.id)?;
        if declare.passive {
            // Asking for it is using it, as declaring it anew is.
            queue.touch();
        }
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        channel.last_queue = Some(Name::clone(&name));
        let counts = queue.counts();
        let ok = QueueDeclareOk {
            queue: &name,
            message_count: u32::try_from(counts.ready).unwrap_or(u32::MAX),
            consumer_count: u32::try_from(counts.consumers).unwrap_or(u32::MAX),
        };
        self.answer_once_written(number, written.map(Wait::Journal), (!declare.no_wait).then_some(&ok), out)
    }

    /// The queue that a declaration means. A name that is generated stays the same until the queue is declared.
    pub(super) fn declared_name(&mut self, number: u16, declare: &QueueDeclare<'_>) -> Result<Name, Fault> {
        let asked = clean_name(declare.queue);
        if !asked.is_empty() {
            return Ok(asked.into());
        }
        if declare.passive {
            return self.queue_name(number, "");
        }
        let prefix = self.prefix(declare)?;
        let random = self.settings.random;
        let generate = || Name::from(generated_name(&clean_name(prefix.unwrap_or("amq.gen-")), random()));
        let Some(channel) = self.channels.get_mut(number) else { return Ok(generate()) };
        Ok(Name::clone(channel.generated.get_or_insert_with(generate)))
    }

    /// Refuses to name a queue of a type whose queues have names of their clients.
    fn check_server_named(&self, declare: &QueueDeclare<'_>, arguments: &leveret_broker::value::Table) -> Handled {
        let asked = arguments.get(TYPE_ARGUMENT).and_then(|kind| kind.as_str()).unwrap_or_default();
        let is_quorum = if matches!(asked, "" | "undefined") {
            let can_be_any = declare.durable && !declare.exclusive && !declare.auto_delete;
            let is_default = |topology: &Topology| {
                let default = topology.vhost(&self.vhost).ok()?.metadata().default_queue_type.clone();
                Some(default.as_deref() == Some(QueueKind::Quorum.as_str()))
            };
            can_be_any && self.node.read(is_default).unwrap_or(false)
        } else {
            asked == QueueKind::Quorum.as_str()
        };
        if is_quorum {
            let explanation = format!("Cannot declare a server-named queue for type {}", QueueKind::Quorum.module());
            return Err(Fault::new(ReplyCode::PreconditionFailed, explanation));
        }
        Ok(())
    }

    /// How the client wants the name of a server-named queue to begin.
    fn prefix<'a>(&self, declare: &QueueDeclare<'a>) -> Result<Option<&'a str>, Fault> {
        let Some(value) = declare.arguments.get(PREFIX_ARGUMENT) else { return Ok(None) };
        let prefix = match value {
            Value::LongStr(octets) => std::str::from_utf8(octets).ok(),
            _ => None,
        };
        let Some(prefix) = prefix else {
            let reason = InvalidValue::Type(table::value_to_broker(value).type_name());
            let resource = Resource::queue(&self.vhost, "");
            return Err(Error::InvalidArgument { resource, argument: PREFIX_ARGUMENT.into(), reason }.into());
        };
        if prefix.len() > PREFIX_MAX {
            let explanation = format!("Queue name prefix '{prefix}' exceeds the {PREFIX_MAX}-byte limit");
            return Err(Fault::new(ReplyCode::PreconditionFailed, explanation));
        }
        Ok(Some(prefix))
    }

    pub(super) fn queue_bind(&mut self, number: u16, bind: &QueueBind<'_>, out: &mut Vec<u8>) -> Handled {
        let (queue, routing_key) = self.binding_ends(number, bind.queue, bind.routing_key)?;
        let bound = self.node.apply_as(
            Change::Bind {
                vhost: Name::clone(&self.vhost),
                source: clean_name(bind.exchange).into(),
                destination: Destination::Queue(queue),
                routing_key,
                arguments: table::to_broker(bind.arguments),
                asking: Some(self.id),
            },
            &self.user,
        )?;
        self.answer_once_written(
            number,
            bound.written.map(Wait::Journal),
            (!bind.no_wait).then_some(&QueueBindOk {}),
            out,
        )
    }

    pub(super) fn queue_unbind(&mut self, number: u16, unbind: &QueueUnbind<'_>, out: &mut Vec<u8>) -> Handled {
        let (queue, routing_key) = self.binding_ends(number, unbind.queue, unbind.routing_key)?;
        let unbound = self.node.apply_as(
            Change::Unbind {
                vhost: Name::clone(&self.vhost),
                source: clean_name(unbind.exchange).into(),
                destination: Destination::Queue(queue),
                routing_key,
                arguments: table::to_broker(unbind.arguments),
                asking: Some(self.id),
            },
            &self.user,
        )?;
        self.answer_once_written(number, unbound.written.map(Wait::Journal), Some(&QueueUnbindOk {}), out)
    }

    /// Queue name and routing key of a binding: with both empty, the key is the name of the queue declared last.
    pub(super) fn binding_ends(&mut self, number: u16, queue: &str, routing_key: &str) -> Result<(Name, Name), Fault> {
        let name = self.queue_name(number, &clean_name(queue))?;
        if is_reply_name(&name) {
            let explanation = "cannot bind or unbind to a volatile (direct reply-to) queue";
            return Err(Fault::new(ReplyCode::AccessRefused, explanation));
        }
        let routing_key =
            if queue.is_empty() && routing_key.is_empty() { Name::clone(&name) } else { routing_key.into() };
        Ok((name, routing_key))
    }

    pub(super) fn queue_purge(&mut self, number: u16, purge: &QueuePurge<'_>, out: &mut Vec<u8>) -> Handled {
        let name = self.queue_name(number, purge.queue)?;
        let (count, written) = self.node.queue(&self.vhost, &name, self.id)?.purge()?;
        let ok = QueuePurgeOk { message_count: u32::try_from(count).unwrap_or(u32::MAX) };
        self.answer_once_written(number, written.map(Wait::Log), (!purge.no_wait).then_some(&ok), out)
    }

    pub(super) fn queue_delete(&mut self, number: u16, delete: &QueueDelete<'_>, out: &mut Vec<u8>) -> Handled {
        let name = self.queue_name(number, &clean_name(delete.queue))?;
        let condition = CloseCondition { if_unused: delete.if_unused, if_empty: delete.if_empty, if_over: false };
        let deleted = self.node.delete_queue(&self.vhost, &name, self.id, condition)?;
        let ok = QueueDeleteOk { message_count: u32::try_from(deleted.messages).unwrap_or(u32::MAX) };
        self.answer_once_written(number, deleted.written.map(Wait::Journal), (!delete.no_wait).then_some(&ok), out)
    }
}

/// The argument that says what a queue is made of.
const TYPE_ARGUMENT: &str = "x-queue-type";
/// The argument that says how a generated name begins.
const PREFIX_ARGUMENT: &str = "x-name-prefix";
/// Octets it may have.
const PREFIX_MAX: usize = 64;
