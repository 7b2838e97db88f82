//! From the mailbox to basic.deliver.

use leveret_broker::clock::Timestamp;
use leveret_broker::mailbox::Inbox;
use leveret_broker::queue::Delivery;
use leveret_protocol::amqp091::frame;
use leveret_protocol::amqp091::method::BasicDeliver;

use super::Session;
use super::stats::Run;
use super::unsettled::Delivered;

impl Session {
    /// Encodes deliveries in order; those that want settling are kept until then. The clock is read at most once.
    pub(super) fn deliver_all(&mut self, inbox: &mut Inbox, out: &mut Vec<u8>) {
        let frame_max = self.frame_max();
        let (mut now, mut run) = (None, Run::default());
        self.follow_taps(self.node.generation());
        if self.taps.are_there() {
            for Delivery { key, redelivered, message, .. } in &inbox.deliveries {
                self.tap_delivery(*key, message, *redelivered);
            }
        }
        for delivery in inbox.deliveries.drain(..) {
            if !run.is_of(delivery.key) {
                self.count_deliveries(std::mem::replace(&mut run, Run::of(delivery.key)));
            }
            run.add(delivery.redelivered);
            self.deliver_one(delivery, frame_max, &mut now, out);
        }
        self.count_deliveries(run);
    }

    #[inline]
    fn deliver_one(&mut self, delivery: Delivery, frame_max: usize, now: &mut Option<Timestamp>, out: &mut Vec<u8>) {
        let Delivery { key, redelivered, position, message } = delivery;
        let Some(source) = self.sources.get_mut(key) else { return };
        let Some(channel) = self.channels.get_mut(source.channel) else { return };
        channel.delivery_tag += 1;
        let delivery_tag = channel.delivery_tag;
        let deliver = BasicDeliver {
            consumer_tag: &source.tag,
            delivery_tag,
            redelivered,
            exchange: message.exchange(),
            routing_key: message.routing_key(),
        };
        frame::write_content(out, source.channel, &deliver, message.properties(), message.body(), frame_max);
        if source.no_ack {
            if source.is_stored() {
                self.sources.discard(key, position);
            }
        } else {
            source.outstanding += 1;
            channel.unsettled.push(Delivered { tag: delivery_tag, source: key, position, message });
            if source.timeout.is_set() {
                let now = *now.get_or_insert_with(|| self.node.now());
                self.deadline.delivered((key, source), delivery_tag, now, &channel.unsettled);
            }
        }
    }
}
