//! basic.qos, basic.consume, basic.cancel, basic.get.

use std::sync::Arc;

use leveret_broker::error::{InvalidValue, Resource};
use leveret_broker::queue::{QueueCell, QueueKind, SharedPrefetch, Subscriber, Subscription, Taken, Unsubscribed};
use leveret_broker::topology::milliseconds;
use leveret_broker::{Error, Name};
use leveret_protocol::amqp091::method::{
    BasicCancel, BasicCancelOk, BasicConsume, BasicConsumeOk, BasicGet, BasicGetEmpty, BasicGetOk, BasicQos, BasicQosOk,
};
use leveret_protocol::amqp091::{ReplyCode, Table, frame};

use super::fault::Fault;
use super::reply_to::{REPLY_TO, is_reply_name};
use super::settings::generated_name;
use super::sources::{HandOver, Source, SourceKind};
use super::stats::Got;
use super::unsettled::Delivered;
use super::{Handled, Session, table};

const TIMEOUT_ARGUMENT: &str = "x-consumer-timeout";

impl Session {
    pub(super) fn qos(&mut self, number: u16, qos: BasicQos, out: &mut Vec<u8>) -> Handled {
        if qos.prefetch_size != 0 {
            let explanation = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(Fault::new(ReplyCode::NotImplemented, explanation));
        }
        if qos.global {
            self.share_prefetch(number, qos.prefetch_count);
        } else {
            // A limit for each consumer replaces the one they share, as in RabbitMQ.
            self.share_prefetch(number, 0);
            if let Some(channel) = self.channels.get_mut(number) {
                channel.prefetch = qos.prefetch_count;
            }
        }
        frame::write_method(out, number, &BasicQosOk {});
        Ok(())
    }

    /// Sets the prefetch that all consumers of a channel share, those it has included.
    fn share_prefetch(&mut self, number: u16, limit: u16) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        let shared = if limit == 0 {
            None
        } else if let Some(shared) = &channel.shared_prefetch {
            shared.set_limit(u32::from(limit));
            Some(Arc::clone(shared))
        } else {
            // What is out already counts. Consumers' queues know theirs, what is in the mailbox included; here it is that
            // of consumers that were cancelled, which will be counted out when it is settled.
            let keys = self.sources.keys_of(number).into_iter();
            let limited = keys.filter_map(|key| self.sources.get(key)).filter(|source| source.is_limited());
            let used = limited.filter(|source| !source.live).map(|source| source.outstanding).sum();
            Some(Arc::new(SharedPrefetch::new(u32::from(limit), used)))
        };
        channel.shared_prefetch.clone_from(&shared);
        for (_, key) in &channel.consumers {
            if let Some(SourceKind::Consumer { queue, id }) = self.sources.get(*key).map(Source::kind) {
                queue.share_prefetch(*id, shared.clone());
            }
        }
    }

    pub(super) fn consume(&mut self, number: u16, consume: &BasicConsume<'_>, out: &mut Vec<u8>) -> Handled {
        let name = self.queue_name(number, consume.queue)?;
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        if channel.consumer(consume.consumer_tag).is_some() {
            let explanation = format!("attempt to reuse consumer tag '{}'", consume.consumer_tag);
            return Err(Fault::new(ReplyCode::NotAllowed, explanation));
        }
        let count = u64::try_from(channel.consumers.len()).unwrap_or(u64::MAX);
        if let Some(max) = self.settings.max_consumers_per_channel.filter(|max| count >= *max) {
            let explanation = format!("reached maximum ({max}) of consumers per channel");
            return Err(Fault::new(ReplyCode::NotAllowed, explanation));
        }
        let tag: Name = if consume.consumer_tag.is_empty() {
            generated_name("amq.ctag-", (self.settings.random)()).into()
        } else {
            consume.consumer_tag.into()
        };
        if &*name == REPLY_TO {
            return self.consume_replies(number, &tag, consume, out);
        }
        let queue = self.node.queue(&self.vhost, &name, self.id)?;
        let priority = priority(consume.arguments, &queue)?;
        let timeout_ms = own_timeout_ms(consume.arguments, || queue.resource())?;
        let arguments = table::to_broker(consume.arguments);
        if queue.kind() == QueueKind::Quorum && channel.shared_prefetch.is_some() {
            return Err(Error::SharedPrefetch { queue: queue.resource() }.into());
        }
        let key = self.sources.next_key();
        let subscription = Subscription {
            sink: Arc::clone(&self.mailbox),
            key,
            tag: Name::clone(&tag),
            no_ack: consume.no_ack,
            // Quorum queues know no exclusive use, and RabbitMQ does not tell those who ask for it.
            exclusive: consume.exclusive && queue.kind() == QueueKind::Classic,
            priority,
            prefetch: channel.prefetch,
            shared: channel.shared_prefetch.clone(),
            subscriber: Subscriber { connection: self.id, channel: number, arguments },
        };
        let id = queue.subscribe(subscription)?;
        let key = self.sources.add(number, Name::clone(&tag), consume.no_ack, SourceKind::Consumer { queue, id });
        self.sources.set_timeout(key, timeout_ms);
        channel.consumers.push((Name::clone(&tag), key));
        let prefetch = channel.prefetch;
        self.count_clients();
        self.tell_consumer(key, prefetch, consume);
        // The first delivery may be in the mailbox by now; it is encoded after this.
        if !consume.no_wait {
            frame::write_method(out, number, &BasicConsumeOk { consumer_tag: &tag });
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self, number: u16, cancel: &BasicCancel<'_>, out: &mut Vec<u8>) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        let mut unused = None;
        let mut hand_over = HandOver::Nothing;
        if let Some(key) = channel.consumer(cancel.consumer_tag) {
            channel.consumers.retain(|(_, consumer)| *consumer != key);
            if channel.reply_consumer.as_ref().is_some_and(|(_, consumer)| *consumer == key) {
                channel.reply_consumer = None;
            }
            match self.sources.get(key).map(Source::kind) {
                Some(SourceKind::Consumer { queue, id }) => {
                    let Unsubscribed { was_last, was_active } = queue.unsubscribe(*id);
                    if was_last {
                        // Nobody waits. Who comes next need not.
                        queue.hand_over(*id);
                    } else if was_active {
                        hand_over = HandOver::OnceSettled;
                    }
                    if was_last && queue.info().auto_delete {
                        unused = Some(Arc::clone(queue));
                    }
                }
                Some(SourceKind::Replies { token }) => self.node.unregister_reply(token),
                Some(SourceKind::Get { .. }) | None => {}
            }
            // What the queue had handed over goes out before the answer, and nothing after it.
            self.deliver(out);
            self.tell_consumer_gone(key);
            if let Some(source) = self.sources.get_mut(key) {
                source.live = false;
                source.hand_over = hand_over;
            }
            self.sources.go_on_without(key);
            self.count_clients();
        }
        if !cancel.no_wait {
            frame::write_method(out, number, &BasicCancelOk { consumer_tag: cancel.consumer_tag });
        }
        if let Some(queue) = unused {
            self.node.delete_unused(&queue);
        }
    }

    pub(super) fn get(&mut self, number: u16, get: &BasicGet<'_>, out: &mut Vec<u8>) -> Handled {
        let name = self.queue_name(number, get.queue)?;
        if is_reply_name(&name) {
            let explanation = format!("basic.get not supported by volatile queue '{name}' in vhost '{}'", self.vhost);
            return Err(Fault::new(ReplyCode::NotImplemented, explanation));
        }
        let queue = self.node.queue(&self.vhost, &name, self.id)?;
        if queue.has_single_active_consumer() && queue.kind() == QueueKind::Quorum {
            return Err(Error::SingleActive { queue: queue.resource() }.into());
        }
        let (taken, waiting) = queue.take(get.no_ack, &self.mailbox)?;
        let (position, message, redelivered) = match taken {
            Taken::Message(position, message, redelivered) => (position, message, redelivered),
            Taken::OnDisk => {
                self.retry_once_read(number, get);
                return Ok(());
            }
            Taken::Nothing => {
                self.count_get(number, queue.kind(), Got::Empty, false);
                frame::write_method(out, number, &BasicGetEmpty { cluster_id: "" });
                return Ok(());
            }
        };
        self.tap_get(number, &message, &queue, redelivered);
        let frame_max = self.frame_max();
        self.count_get(number, queue.kind(), if get.no_ack { Got::Gone } else { Got::Kept }, redelivered);
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        channel.delivery_tag += 1;
        let delivery_tag = channel.delivery_tag;
        let ok = BasicGetOk {
            delivery_tag,
            redelivered,
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            message_count: u32::try_from(waiting).unwrap_or(u32::MAX),
        };
        frame::write_content(out, number, &ok, message.properties(), message.body(), frame_max);
        if get.no_ack {
            if queue.is_stored() {
                queue.discard(std::slice::from_ref(&(position.0..position.0 + 1)));
            }
        } else {
            let key = self.sources.getter(number, &queue);
            channel.unsettled.push(Delivered { tag: delivery_tag, source: key, position, message });
            if let Some(source) = self.sources.get_mut(key) {
                source.outstanding += 1;
                source.follow_queue();
                if source.timeout.is_set() {
                    self.deadline.delivered((key, source), delivery_tag, self.node.now(), &channel.unsettled);
                }
            }
        }
        Ok(())
    }
}

/// The time a consumer asks for in which it has to settle, in milliseconds; 0 is for ever.
fn own_timeout_ms(arguments: Table<'_>, queue: impl Fn() -> Resource) -> Result<Option<u64>, Error> {
    let Some(value) = arguments.get(TIMEOUT_ARGUMENT) else { return Ok(None) };
    let refused = |reason| Error::InvalidArgument { resource: queue(), argument: TIMEOUT_ARGUMENT.into(), reason };
    milliseconds(&table::value_to_broker(value)).map(Some).map_err(refused)
}

/// The priority a consumer asks for, and a check of the arguments that only streams know.
fn priority(arguments: Table<'_>, queue: &QueueCell) -> Result<i32, Error> {
    for name in ["x-stream-offset", "x-stream-filter", "x-stream-match-unfiltered"] {
        if arguments.get(name).is_some() {
            let (queue, queue_type) = (queue.resource(), queue.kind().module());
            return Err(Error::ArgumentOfOtherType { queue, argument: name.into(), queue_type });
        }
    }
    let queue = queue.resource();
    let Some(value) = arguments.get("x-priority") else { return Ok(0) };
    let value = table::value_to_broker(value);
    let Some(priority) = value.as_integer() else {
        let reason = InvalidValue::NotInteger(value.type_name());
        return Err(Error::InvalidArgument { resource: queue, argument: "x-priority".into(), reason });
    };
    // Only the order counts, and nobody has use for more than four thousand million steps.
    Ok(i32::try_from(priority).unwrap_or(if priority < 0 { i32::MIN } else { i32::MAX }))
}
