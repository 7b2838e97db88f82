//! Acknowledgements, and what ends them: recover, the end of a channel, the end of the connection.

use std::sync::Arc;

use leveret_broker::Name;
use leveret_broker::queue::{Delivery, QueueCell, ReturnCause, Unsubscribed};
use leveret_protocol::amqp091::method::{BasicAck, BasicNack, BasicRecoverOk, BasicReject};
use leveret_protocol::amqp091::{ReplyCode, frame};

use super::channel::{Mode, Settlement};
use super::fault::Fault;
use super::sources::{HandOver, SourceKind};
use super::unsettled::Delivered;
use super::{Handled, Session};

impl Session {
    pub(super) fn ack(&mut self, number: u16, ack: BasicAck) -> Handled {
        self.settle(number, ack.delivery_tag, ack.multiple, Settlement::Done)
    }

    pub(super) fn nack(&mut self, number: u16, nack: BasicNack) -> Handled {
        let settlement = if nack.requeue { Settlement::Requeue } else { Settlement::Reject };
        self.settle(number, nack.delivery_tag, nack.multiple, settlement)
    }

    pub(super) fn reject(&mut self, number: u16, reject: BasicReject) -> Handled {
        let settlement = if reject.requeue { Settlement::Fail } else { Settlement::Reject };
        self.settle(number, reject.delivery_tag, false, settlement)
    }

    fn settle(&mut self, number: u16, tag: u64, multiple: bool, settlement: Settlement) -> Handled {
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        let unknown = || Fault::new(ReplyCode::PreconditionFailed, format!("unknown delivery tag {tag}"));
        let in_transaction = matches!(channel.mode, Mode::Transaction(_));
        if multiple {
            // A tag that is not outstanding is an error, even where lower ones are; 0 means all and may mean none.
            if tag != 0 && !channel.unsettled.contains(tag) {
                return Err(unknown());
            }
            let delivered = channel.unsettled.take_through(tag);
            if !in_transaction && settlement == Settlement::Done {
                channel.stats.ack += delivered.len() as u64;
            }
            if in_transaction {
                self.hold(number, settlement, delivered);
            } else {
                for delivered in delivered {
                    self.settle_one(number, settlement, delivered);
                }
            }
            return Ok(());
        }
        let Some(delivered) = channel.unsettled.take(tag) else {
            return if channel.unsettled.settle_released(tag) { Ok(()) } else { Err(unknown()) };
        };
        if in_transaction {
            self.hold(number, settlement, vec![delivered]);
        } else {
            channel.stats.ack += u64::from(settlement == Settlement::Done);
            self.settle_one(number, settlement, delivered);
        }
        Ok(())
    }

    fn hold(&mut self, number: u16, settlement: Settlement, delivered: Vec<Delivered>) {
        if let Some(channel) = self.channels.get_mut(number)
            && let Mode::Transaction(transaction) = &mut channel.mode
        {
            transaction.settled.push((settlement, delivered));
        }
    }

    /// Settles one delivery; its queue learns of it at the end of the turn.
    #[inline]
    pub(super) fn settle_one(&mut self, number: u16, settlement: Settlement, delivered: Delivered) {
        let limited = self.sources.get(delivered.source).is_some_and(super::sources::Source::is_limited);
        match settlement {
            Settlement::Done => self.sources.settle(delivered.source, delivered.position, &delivered.message),
            Settlement::Reject => self.sources.reject(delivered.source, delivered.position, delivered.message),
            Settlement::Requeue => {
                self.sources.requeue(delivered.source, ReturnCause::Requeued, delivered.position, delivered.message);
            }
            Settlement::Fail => {
                self.sources.requeue(delivered.source, ReturnCause::Failed, delivered.position, delivered.message);
            }
        }
        if limited
            && let Some(channel) = self.channels.get_mut(number)
            && channel.shared_prefetch.is_some()
        {
            channel.released += 1;
            self.mark_dirty(number);
        }
    }

    pub(super) fn recover(&mut self, number: u16, requeue: bool, answer: bool, out: &mut Vec<u8>) -> Handled {
        if !requeue {
            return Err(Fault::new(ReplyCode::NotImplemented, "requeue=false"));
        }
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        for delivered in channel.unsettled.take_through(0) {
            self.settle_one(number, Settlement::Requeue, delivered);
        }
        self.flush(out);
        if answer {
            frame::write_method(out, number, &BasicRecoverOk {});
        }
        Ok(())
    }

    /// Ends what a channel does: its consumers go, what it holds unsettled goes back to the queues.
    pub(super) fn end_channel(&mut self, number: u16, out: &mut Vec<u8>) {
        let keys = self.sources.keys_of(number);
        let unused = self.stop_sources(&keys);
        self.take_back_undelivered(Some(number), out);
        self.give_back_held(number);
        self.hand_over(&keys);
        for queue in unused {
            self.node.delete_unused(&queue);
        }
    }

    /// Gives back what a channel holds unsettled, and makes it a new one.
    fn give_back_held(&mut self, number: u16) {
        let held = self.channels.get_mut(number).map(super::channel::Channel::take_all_unsettled).unwrap_or_default();
        for delivered in held {
            self.sources.requeue(delivered.source, ReturnCause::Failed, delivered.position, delivered.message);
        }
        self.sources.flush(&self.counters);
        if let Some(channel) = self.channels.get_mut(number) {
            *channel = super::channel::Channel::new();
        }
        self.count_clients();
        self.dirty_channels.retain(|channel| *channel != number);
    }

    /// Lets the next consumers take the places of those that were stopped and have given everything back.
    pub(super) fn hand_over(&mut self, keys: &[u32]) {
        for key in keys {
            if let Some(source) = self.sources.get_mut(*key) {
                source.give_up_place();
            }
            self.sources.drop_if_done(*key);
        }
    }

    /// Lets nothing more come from these sources; gives back the auto-delete queues that lost their last consumer by that.
    pub(super) fn stop_sources(&mut self, keys: &[u32]) -> Vec<Arc<QueueCell>> {
        let mut unused = Vec::new();
        for key in keys {
            self.tell_consumer_gone(*key);
            let Some(source) = self.sources.get_mut(*key) else { continue };
            let was_live = std::mem::take(&mut source.live);
            if source.hand_over == HandOver::OnceSettled {
                source.hand_over = HandOver::OnceGivenBack;
            }
            match source.kind() {
                SourceKind::Consumer { queue, id } if was_live => {
                    let Unsubscribed { was_last, was_active } = queue.unsubscribe(*id);
                    if was_last && queue.info().auto_delete {
                        unused.push(Arc::clone(queue));
                    }
                    if was_active {
                        source.hand_over = HandOver::OnceGivenBack;
                    }
                }
                SourceKind::Replies { token } => self.node.unregister_reply(token),
                SourceKind::Consumer { .. } | SourceKind::Get { .. } => {}
            }
        }
        unused
    }

    /// Puts back what the queues handed over to a channel, or to any, and the client was not sent. Its sources are stopped, so
    /// nothing more will come. What else is in the mailbox is handled.
    fn take_back_undelivered(&mut self, channel: Option<u16>, out: &mut Vec<u8>) {
        let mut inbox = std::mem::take(&mut self.inbox);
        self.mailbox.take(&mut inbox);
        let is_own = |delivery: &Delivery| {
            let source = self.sources.get(delivery.key);
            channel.is_none_or(|number| source.is_some_and(|source| source.channel == number))
        };
        let (own, others): (Vec<Delivery>, _) = inbox.deliveries.drain(..).partition(is_own);
        inbox.deliveries = others;
        for delivery in own {
            if let Some(source) = self.sources.get_mut(delivery.key) {
                source.outstanding += 1;
                self.sources.requeue(delivery.key, ReturnCause::Unread, delivery.position, delivery.message);
            }
        }
        self.handle_inbox(inbox, out);
    }

    /// Ends all channels and what belongs to the connection: exclusive queues go.
    pub(super) fn close_channels(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        // All at once: what ends one channel must not send to another what nobody will read.
        let keys = self.sources.keys();
        let unused = self.stop_sources(&keys);
        self.take_back_undelivered(None, out);
        let numbers = self.channels.numbers();
        for &number in &numbers {
            self.give_back_held(number);
            self.channels.remove(number);
            self.tell_channel_closed(number);
        }
        self.node.close_channels(self.id, numbers.len());
        self.hand_over(&keys);
        for queue in unused {
            self.node.delete_unused(&queue);
        }
        if !self.vhost.is_empty() {
            let vhost = Name::clone(&self.vhost);
            self.node.delete_owned_by(&vhost, self.id);
        }
    }
}
