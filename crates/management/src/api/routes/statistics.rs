//! What is counted, as a whole.

use std::collections::BTreeMap;

use leveret_broker::Name;
use leveret_broker::stats::Counters;
use serde_json::{Value, json};

use super::nodes;
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::history::Subject;
use crate::views::{Row, StatsOf, message_stats};

pub(super) const GROUP: Group = Group {
    title: "Statistics",
    routes: &[
        Route {
            path: "/api/reset",
            operations: &[Operation::delete(
                Access::Administrator,
                |ask| Ok(reset(ask)),
                "Forgets the past: samples and rates begin anew, counts go on",
            )],
        },
        Route {
            path: "/api/reset/{node}",
            operations: &[Operation::delete(Access::Administrator, reset_node, "The same for one node")],
        },
    ],
};

fn reset(ask: &Ask<'_>) -> Answer {
    ask.history().reset();
    Answer::done()
}

fn reset_node(ask: &Ask<'_>) -> Result<Answer, Failure> {
    nodes::known(ask)?;
    Ok(reset(ask))
}

/// What came and went since the node started, in RabbitMQ's words.
pub(super) fn churn(ask: &Ask<'_>) -> Row {
    let churn = ask.node().churn();
    let counts = [
        ("connection_created", churn.connections_opened),
        ("connection_closed", churn.connections_closed),
        ("channel_created", churn.channels_opened),
        ("channel_closed", churn.channels_closed),
        ("queue_declared", churn.queues_declared),
        ("queue_created", churn.queues_created),
        ("queue_deleted", churn.queues_deleted),
    ];
    counts.into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect()
}

/// What happened to messages by these connections; nothing is an empty object.
pub(super) fn messages(counters: &Counters) -> Value {
    message_stats(&counters.messages(), StatsOf::Publishers).unwrap_or_else(|| json!({}))
}

/// What is counted of vhosts.
pub(super) struct ByVhost {
    /// Messages that are ready, and those that are unacknowledged.
    lengths: BTreeMap<Name, (usize, usize)>,
    counters: BTreeMap<Name, Counters>,
}

impl ByVhost {
    /// Looks at all queues and connections once.
    pub(super) fn read(ask: &Ask<'_>) -> Self {
        let mut lengths = BTreeMap::<Name, (usize, usize)>::new();
        for cell in ask.node().queue_cells() {
            let counts = cell.counts();
            if counts.ready + counts.unsettled > 0 {
                let (ready, unsettled) = lengths.entry(Name::clone(&cell.info().vhost)).or_default();
                *ready += counts.ready;
                *unsettled += counts.unsettled;
            }
        }
        Self { lengths, counters: ask.node().counters_by_vhost() }
    }

    /// Adds to a vhost's row what is counted of it.
    pub(super) fn add(&self, ask: &Ask<'_>, vhost: &Name, row: &mut Row) {
        let (ready, unsettled) = self.lengths.get(vhost).copied().unwrap_or_default();
        let counters = self.counters.get(vhost).copied().unwrap_or_default();
        // RabbitMQ says nothing of a vhost that nobody ever used.
        if ready + unsettled == 0 && counters == Counters::default() {
            return;
        }
        let counts = [
            ("messages", json!(ready + unsettled)),
            ("messages_ready", json!(ready)),
            ("messages_unacknowledged", json!(unsettled)),
            ("recv_oct", json!(counters.traffic.received)),
            ("send_oct", json!(counters.traffic.sent)),
            ("message_stats", messages(&counters)),
        ];
        row.extend(counts.into_iter().map(|(name, value)| (name.to_owned(), value)));
        ask.add_details(&Subject::Vhost(Name::clone(vhost)), row);
    }
}
