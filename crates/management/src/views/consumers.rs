//! Consumers. Their queues know them.

use leveret_broker::Error;
use leveret_broker::node::ListedQueue;
use leveret_broker::queue::{Activity, ConsumerInfo, Subscriber};
use leveret_broker::topology::ConnectionId;
use serde_json::{Value as Json, json};

use super::channels::{channel_name, user_of};
use super::{Form, Row, View};

impl<'a> View<'a> {
    /// The consumers of a vhost, by queue in the order of their names.
    pub fn consumers(self, vhost: &str) -> Result<impl Iterator<Item = Row> + 'a, Error> {
        let queues = self.node.list_queues(vhost)?;
        Ok(queues.flat_map(move |queue| self.consumer_rows(&queue)))
    }

    /// The consumers of a queue.
    pub fn consumers_of(self, vhost: &str, queue: &str) -> Result<Vec<Row>, Error> {
        Ok(self.consumer_rows(&self.node.listed_queue(vhost, queue)?))
    }

    /// The consumers on a channel of a connection that is open in a vhost.
    pub fn consumers_on(self, vhost: &str, connection: ConnectionId, channel: u16) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        for queue in self.node.list_queues(vhost)? {
            let consumers = queue.cell.consumers().into_iter();
            let is_on = |consumer: &ConsumerInfo| {
                (consumer.subscriber.connection, consumer.subscriber.channel) == (connection, channel)
            };
            rows.extend(consumers.filter(is_on).map(|consumer| self.consumer_row(&queue, &consumer)));
        }
        Ok(rows)
    }

    fn consumer_rows(self, queue: &ListedQueue) -> Vec<Row> {
        let rows = queue.cell.consumers().into_iter().map(|consumer| self.consumer_row(queue, &consumer));
        rows.collect()
    }

    fn consumer_row(self, queue: &ListedQueue, consumer: &ConsumerInfo) -> Row {
        let Subscriber { connection, channel, arguments } = &consumer.subscriber;
        let mut row = self.row();
        row.add("consumer_tag", || consumer.tag.to_string())
            .add("ack_required", || !consumer.no_ack)
            .add("prefetch_count", || consumer.prefetch)
            .add("active", || consumer.activity != Activity::Waiting)
            .add("activity_status", || activity(consumer.activity))
            .add("exclusive", || consumer.exclusive)
            .add("arguments", || self.table(arguments));
        match self.form {
            Form::Listing => {
                row.add("queue_name", || queue.name.to_string())
                    .add("channel_pid", || self.pids.channel(*connection, *channel));
            }
            Form::Api => {
                // Typed clients want a number; 0 is for ever.
                row.add("consumer_timeout", || queue.cell.consumer_timeout_ms().unwrap_or(0))
                    .add("queue", || json!({ "name": &*queue.name, "vhost": &*queue.vhost }))
                    .add("channel_details", || self.channel_details(&consumer.subscriber));
            }
        }
        row.row
    }

    /// A channel that is gone has no details.
    fn channel_details(self, subscriber: &Subscriber) -> Json {
        let Some(known) = self.node.known_connection(subscriber.connection) else { return json!({}) };
        json!({
            "name": channel_name(&known, subscriber.channel),
            "number": subscriber.channel,
            "connection_name": known.peer.connection_name(),
            "peer_host": known.peer.address.ip().to_string(),
            "peer_port": known.peer.address.port(),
            "node": &**self.node.name(),
            "user": user_of(&known).map(|user| &**user),
        })
    }
}

const fn activity(activity: Activity) -> &'static str {
    match activity {
        Activity::Up => "up",
        Activity::SingleActive => "single_active",
        Activity::Waiting => "waiting",
    }
}
