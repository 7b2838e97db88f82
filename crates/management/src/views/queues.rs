//! Queues.

use leveret_broker::node::{ListedQueue, Node};
use leveret_broker::properties::Property;
use leveret_broker::queue::{ConsumerInfo, QueueKind, QueueReport};
use leveret_broker::report::KnownConnection;
use leveret_broker::{Error, Name};
use serde_json::{Value as Json, json};

use super::{Form, Row, RowBuilder, StatsOf, View, message_stats, queue_fields, time};
use crate::json;

/// Milliseconds without anything to do after which a queue is called idle.
const IDLE_AFTER_MS: u64 = 1000;

impl<'a> View<'a> {
    /// The queues of a vhost in the order of their names. Each is asked when its turn comes.
    pub fn queues(self, vhost: &str) -> Result<impl Iterator<Item = Row> + 'a, Error> {
        let queues = self.node.list_queues(vhost)?;
        Ok(queues.filter_map(move |queue| self.queue_row(&queue)))
    }

    /// A queue.
    pub fn queue(self, vhost: &str, name: &str) -> Result<Row, Error> {
        self.listed_queue(&self.node.listed_queue(vhost, name)?)
    }

    /// A queue that was looked up.
    pub fn listed_queue(self, queue: &ListedQueue) -> Result<Row, Error> {
        let gone = || Error::NotFound { resource: queue.cell.resource() };
        self.queue_row(queue).ok_or_else(gone)
    }

    /// None if the queue was deleted meanwhile.
    fn queue_row(self, queue: &ListedQueue) -> Option<Row> {
        let report = queue.cell.report();
        if report.is_closed {
            return None;
        }
        let mut row = self.row();
        self.declared(&mut row, queue);
        self.consumed(&mut row, &report);
        self.counted(&mut row, queue.kind, &report);
        let members = queue.cell.members(self.node.name());
        let names = |names: &[Name]| -> Json { names.iter().map(|name| json!(&**name)).collect() };
        row.add("memory", || report.memory)
            .add("slave_pids", || Json::Null)
            .add("synchronised_slave_pids", || Json::Null)
            .add("state", || if queue.is_paused { "paused" } else { "running" })
            .name("leader", members.as_ref().map(|members| &members.leader))
            .add("members", || members.as_ref().map(|members| names(&members.members)))
            .add("online", || members.as_ref().map(|members| names(&members.online)));
        match self.form {
            Form::Listing => Some(row.row),
            Form::Api => {
                if let Some(stats) = message_stats(&report.stats, StatsOf::Queue) {
                    row.add("message_stats", || stats);
                }
                if self.node.now().ms_since(report.touched) >= IDLE_AFTER_MS {
                    row.add("idle_since", || time(report.touched));
                }
                queue_fields::add(&mut row, queue.kind, &report, self.node.name());
                Some(queue_fields::cut(row.row, queue.kind))
            }
        }
    }

    fn declared(self, row: &mut RowBuilder<'_>, queue: &ListedQueue) {
        let policies = queue.policies.as_ref();
        row.add("name", || queue.name.to_string())
            .add("vhost", || queue.vhost.to_string())
            .add("durable", || queue.durable)
            .add("auto_delete", || queue.auto_delete)
            .add("exclusive", || queue.owner.is_some())
            .add("arguments", || self.table(&queue.arguments))
            .name("policy", policies.and_then(|policies| policies.policy()))
            .name("operator_policy", policies.and_then(|policies| policies.operator_policy()))
            .add("effective_policy_definition", || match (policies, self.form) {
                (Some(policies), _) => Json::Object(json::table(policies.definition())),
                (None, Form::Api) => json!({}),
                (None, Form::Listing) => json!([]),
            })
            .add("type", || queue.kind.as_str())
            .add("pid", || self.pids.queue(queue.id))
            .add("owner_pid", || queue.owner.map(|owner| self.pids.connection(owner)));
        if self.form == Form::Api {
            row.add("node", || self.node.name().to_string());
            if let Some(owner) = queue.owner {
                row.add("owner_pid_details", || {
                    self.node.known_connection(owner).map(|known| connection_details(&known))
                });
            }
        }
    }

    fn consumed(self, row: &mut RowBuilder<'_>, report: &QueueReport) {
        let pid =
            |consumer: &ConsumerInfo| self.pids.channel(consumer.subscriber.connection, consumer.subscriber.channel);
        let (exclusive, single) = (report.exclusive_consumer.as_ref(), report.single_active_consumer.as_ref());
        row.add("consumers", || report.consumers)
            .add("exclusive_consumer_pid", || exclusive.map(pid))
            .name("exclusive_consumer_tag", exclusive.map(|consumer| &consumer.tag))
            .add("single_active_consumer_pid", || single.map(pid))
            .name("single_active_consumer_tag", single.map(|consumer| &consumer.tag));
        for name in ["consumer_utilisation", "consumer_capacity"] {
            row.add(name, || match report.consumers {
                0 => json!(0),
                _ => json!(capacity(report)),
            });
        }
    }

    fn counted(self, row: &mut RowBuilder<'_>, kind: QueueKind, report: &QueueReport) {
        let QueueReport { ready, unsettled, ready_in_memory, .. } = *report;
        let octets = report.octets;
        row.add("messages_ready", || ready)
            .add("messages_unacknowledged", || unsettled)
            .add("messages", || ready + unsettled)
            .add("messages_ready_ram", || ready_in_memory)
            .add("messages_unacknowledged_ram", || unsettled)
            .add("messages_ram", || ready_in_memory + unsettled)
            .add("messages_paged_out", || ready.saturating_sub(ready_in_memory))
            .add("messages_persistent", || report.persistent)
            .add("message_bytes", || octets.all())
            .add("message_bytes_ready", || octets.ready)
            .add("message_bytes_unacknowledged", || octets.unsettled)
            .add("message_bytes_ram", || octets.in_memory())
            .add("message_bytes_paged_out", || octets.paged_out())
            .add("message_bytes_persistent", || octets.persistent)
            .add("head_message_timestamp", || first_timestamp(self.node, report))
            .add("disk_reads", || (kind == QueueKind::Classic).then_some(report.disk_reads))
            .add("disk_writes", || (kind == QueueKind::Classic).then_some(report.disk_writes));
    }
}

/// When the first message that waits was made, if it says so and is in memory, in seconds since 1970.
pub(crate) fn first_timestamp(node: &Node, report: &QueueReport) -> Option<u64> {
    let first = report.first.as_ref()?;
    let seconds = node.properties().property(first, Property::Timestamp)?;
    std::str::from_utf8(&seconds).ok()?.parse().ok()
}

/// How much of the time consumers could take messages.
pub(crate) const fn capacity(report: &QueueReport) -> f64 {
    if report.consumers == 0 { 0.0 } else { report.capacity }
}

/// A connection as the API names it within something else.
pub(super) fn connection_details(known: &KnownConnection) -> Json {
    json!({
        "name": known.peer.connection_name(),
        "peer_host": known.peer.address.ip().to_string(),
        "peer_port": known.peer.address.port(),
    })
}
