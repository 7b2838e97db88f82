//! Queues.

use std::io::{self, Write};
use std::ops::Range;

use leveret_broker::node::{ListedQueue, Node};
use leveret_broker::queue::{Octets, QueueKind, QueueReport};

use super::collect::Scope;
use super::{Column, Family, Filter, Group, Labels, Number, Text};
use crate::views::queues::{capacity, first_timestamp};

/// What queues said of themselves, one after the other.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// The labels of all of them.
    labels: String,
    samples: Vec<Sample>,
}

/// What a queue said of itself.
#[derive(Debug)]
struct Sample {
    /// Where its labels are.
    labels: Range<usize>,
    kind: QueueKind,
    ready: usize,
    unsettled: usize,
    consumers: usize,
    ready_in_memory: usize,
    persistent: usize,
    memory: usize,
    octets: Octets,
    capacity: f64,
    first_timestamp: Option<u64>,
    disk_reads: u64,
    disk_writes: u64,
    stats: leveret_broker::stats::MessageStats,
    /// How long a sync takes, on average.
    sync_seconds: f64,
}

const COARSE: &[Column<Sample>] = &[
    Column::gauge("queue_messages_ready", "Messages ready to be delivered to consumers", |queue| queue.ready.into()),
    Column::gauge("queue_messages_unacked", "Messages delivered to consumers but not yet acknowledged", |queue| {
        queue.unsettled.into()
    }),
    Column::gauge("queue_messages", "Sum of ready and unacknowledged messages - total queue depth", |queue| {
        queue.messages().into()
    }),
];

const CONSUMERS: Column<Sample> =
    Column::gauge("queue_consumers", "Consumers on a queue", |queue| queue.consumers.into());

const CONSUMER_COUNT: &[Column<Sample>] = &[CONSUMERS];

const ALL: &[Column<Sample>] = &[
    CONSUMERS,
    Column::gauge("queue_consumer_capacity", "Consumer capacity", Sample::capacity),
    Column::gauge("queue_consumer_utilisation", "Same as consumer capacity", Sample::capacity),
    Column::gauge("queue_process_memory_bytes", "Memory in bytes used by the Erlang queue process", |queue| {
        queue.memory.into()
    }),
    Column::gauge("queue_messages_ram", "Ready and unacknowledged messages stored in memory", |queue| {
        (queue.ready_in_memory + queue.unsettled).into()
    }),
    Column::gauge("queue_messages_ram_bytes", "Size of ready and unacknowledged messages stored in memory", |queue| {
        Number::from(queue.octets.in_memory())
    }),
    Column::gauge("queue_messages_ready_ram", "Ready messages stored in memory", |queue| queue.ready_in_memory.into()),
    Column::gauge("queue_messages_unacked_ram", "Unacknowledged messages stored in memory", |queue| {
        queue.unsettled.into()
    }),
    Column::gauge("queue_messages_persistent", "Persistent messages", |queue| Number::from(queue.persistent)),
    Column::gauge("queue_messages_persistent_bytes", "Size in bytes of persistent messages", |queue| {
        Number::maybe(queue.octets.persistent)
    }),
    Column::gauge("queue_messages_bytes", "Size in bytes of ready and unacknowledged messages", |queue| {
        Number::maybe(queue.octets.all())
    }),
    Column::gauge("queue_messages_ready_bytes", "Size in bytes of ready messages", |queue| {
        Number::maybe(queue.octets.ready)
    }),
    Column::gauge("queue_messages_unacked_bytes", "Size in bytes of all unacknowledged messages", |queue| {
        Number::from(queue.octets.unsettled)
    }),
    Column::gauge("queue_messages_paged_out", "Messages paged out to disk", |queue| {
        queue.ready.saturating_sub(queue.ready_in_memory).into()
    }),
    Column::gauge("queue_messages_paged_out_bytes", "Size in bytes of messages paged out to disk", |queue| {
        Number::maybe(queue.octets.paged_out())
    }),
    Column::gauge("queue_head_message_timestamp", "Timestamp of the first message in the queue, if any", |queue| {
        Number::maybe(queue.first_timestamp)
    }),
    Column::counter("queue_disk_reads_total", "Total number of times queue read messages from disk", |queue| {
        queue.disk_reads.into()
    }),
    Column::counter("queue_disk_writes_total", "Total number of times queue wrote messages to disk", |queue| {
        queue.disk_writes.into()
    }),
];

const DELIVERY: &[Column<Sample>] = &[
    Column::counter("queue_get_ack_total", "Messages taken from a queue with basic.get, to be acknowledged", |queue| {
        queue.stats.get.into()
    }),
    Column::counter("queue_get_total", "Messages taken from a queue with basic.get for good", |queue| {
        queue.stats.get_no_ack.into()
    }),
    Column::counter(
        "queue_messages_delivered_ack_total",
        "Messages delivered from a queue to consumers that acknowledge them",
        |queue| queue.stats.deliver.into(),
    ),
    Column::counter(
        "queue_messages_delivered_total",
        "Messages delivered from a queue to consumers that do not acknowledge them",
        |queue| queue.stats.deliver_no_ack.into(),
    ),
    Column::counter("queue_messages_redelivered_total", "Messages delivered from a queue once more", |queue| {
        queue.stats.redeliver.into()
    }),
    Column::counter("queue_messages_acked_total", "Messages of a queue that consumers acknowledged", |queue| {
        queue.stats.ack.into()
    }),
    Column::counter("queue_get_empty_total", "How often basic.get found nothing in a queue", |queue| {
        queue.stats.get_empty.into()
    }),
];

const PUBLISHES: &[Column<Sample>] =
    &[Column::counter("queue_messages_published_total", "Total number of messages published to queues", |queue| {
        queue.stats.publish.into()
    })];

/// Quorum queues: what they were told counts as their log, of which the messages that are there are what no snapshot has.
const RAFT: &[Column<Sample>] = &[
    Column::counter("raft_term_total", "Current Raft term number", |_| Number::Whole(1)),
    Column::gauge("raft_log_snapshot_index", "Raft log snapshot index", |queue| {
        queue.operations().saturating_sub(queue.messages() as u64).into()
    }),
    Column::gauge("raft_log_last_applied_index", "Raft log last applied index", |queue| queue.operations().into()),
    Column::gauge("raft_log_commit_index", "Raft log commit index", |queue| queue.operations().into()),
    Column::gauge("raft_log_last_written_index", "Raft log last written index", |queue| queue.operations().into()),
    Column::gauge("raft_entry_commit_latency_seconds", "Time taken for a log entry to be committed", |queue| {
        Number::Real(queue.sync_seconds)
    }),
    Column::gauge("raft_term", "Current term of a quorum queue", |_| Number::Whole(1)),
    Column::gauge("raft_snapshot_index", "Index of the last snapshot of a quorum queue", |queue| {
        queue.operations().saturating_sub(queue.messages() as u64).into()
    }),
    Column::gauge("raft_last_applied", "Index of the last entry a quorum queue has applied", |queue| {
        queue.operations().into()
    }),
    Column::gauge("raft_commit_index", "Index of the last entry a quorum queue has committed", |queue| {
        queue.operations().into()
    }),
    Column::gauge("raft_last_written_index", "Index of the last entry a quorum queue has written", |queue| {
        queue.operations().into()
    }),
    Column::gauge("raft_commit_latency_seconds", "How long it takes until an entry is committed", |queue| {
        Number::Real(queue.sync_seconds)
    }),
];

const INFO: Family = Family::gauge("queue_info", "Always 1; the labels tell of what kind a queue is");

impl Sample {
    fn new(queue: &ListedQueue, report: &QueueReport, node: &Node, labels: Range<usize>, sync_seconds: f64) -> Self {
        Self {
            labels,
            kind: queue.kind,
            ready: report.ready,
            unsettled: report.unsettled,
            consumers: report.consumers,
            ready_in_memory: report.ready_in_memory,
            persistent: report.persistent,
            memory: report.memory,
            octets: report.octets,
            capacity: capacity(report),
            first_timestamp: first_timestamp(node, report),
            disk_reads: report.disk_reads,
            disk_writes: report.disk_writes,
            stats: report.stats,
            sync_seconds,
        }
    }

    const fn messages(&self) -> usize {
        self.ready + self.unsettled
    }

    fn capacity(&self) -> Number {
        Number::Real(self.capacity)
    }

    /// What a quorum queue was told to keep and to forget since the start of the node.
    const fn operations(&self) -> u64 {
        self.stats.publish.saturating_add(self.stats.ack)
    }
}

impl Queues {
    /// Asks those that are wanted.
    pub(super) fn ask(node: &Node, filter: &Filter, sync_seconds: f64) -> Self {
        let mut queues = Self::default();
        let mut vhosts: Vec<_> =
            node.read(|topology| topology.vhosts().map(|vhost| leveret_broker::Name::clone(vhost.name())).collect());
        vhosts.retain(|vhost| filter.has_vhost(vhost));
        vhosts.sort_unstable();
        for vhost in vhosts {
            // It may be gone by now.
            for queue in node.list_queues(&vhost).into_iter().flatten() {
                if !filter.has_queue(&queue.name) {
                    continue;
                }
                let report = queue.cell.report();
                if !report.is_closed {
                    queues.add(node, &queue, &report, sync_seconds);
                }
            }
        }
        queues
    }

    fn add(&mut self, node: &Node, queue: &ListedQueue, report: &QueueReport, sync_seconds: f64) {
        let labels = Labels::of(&[("vhost", &queue.vhost), ("queue", &queue.name)]);
        let start = self.labels.len();
        self.labels.push_str(labels.text());
        self.samples.push(Sample::new(queue, report, node, start..self.labels.len(), sync_seconds));
    }

    /// Writes a group.
    pub(super) fn write<W: Write>(&self, text: &mut Text<W>, group: Group, scope: Scope) -> io::Result<()> {
        let (columns, is_wanted): (_, fn(&Sample) -> bool) = match group {
            Group::QueueCoarse => (COARSE, |_| true),
            Group::QueueConsumerCount => (CONSUMER_COUNT, |_| true),
            Group::Queue => (ALL, |_| true),
            Group::QueueDelivery => (DELIVERY, |_| true),
            Group::QueuePublishes => (PUBLISHES, |_| true),
            Group::Raft => (RAFT, |queue| queue.kind == QueueKind::Quorum),
            _ => return Ok(()),
        };
        for Column { family, number } in columns {
            text.begin(family)?;
            let samples = self.samples.iter().filter(|sample| is_wanted(sample));
            match scope {
                Scope::Sum => {
                    let sum = samples.map(number).fold(Number::Whole(0), Number::plus);
                    text.number(family, &Labels::none(), sum)?;
                }
                Scope::Each => {
                    for sample in samples {
                        text.labelled(family, self.labels_of(sample), number(sample))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes of what kind each is.
    pub(super) fn info<W: Write>(&self, text: &mut Text<W>) -> io::Result<()> {
        text.begin(&INFO)?;
        let mut labels = String::new();
        for sample in &self.samples {
            labels.clear();
            for part in [self.labels_of(sample), ",queue_type=\"", sample.kind.module(), "\",membership=\"leader\""] {
                labels.push_str(part);
            }
            text.labelled(&INFO, &labels, Number::Whole(1))?;
        }
        Ok(())
    }

    fn labels_of(&self, sample: &Sample) -> &str {
        self.labels.get(sample.labels.clone()).unwrap_or_default()
    }
}
