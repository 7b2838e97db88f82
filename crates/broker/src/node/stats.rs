//! What the node counted since its start.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Node;
use crate::stats::{Churn, ConnectionCounters, Counters, DeathCounts};
use crate::{Error, Name};

/// Queues that came and went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct QueueChurn {
    pub(super) declared: u64,
    pub(super) created: u64,
    pub(super) deleted: u64,
}

impl Node {
    /// What all connections counted, those included that are gone.
    pub fn counters(&self) -> Counters {
        self.connections.lock().counters()
    }

    /// What the connections of a vhost counted, those included that are gone.
    pub fn vhost_counters(&self, vhost: &str) -> Result<Counters, Error> {
        let state = self.state.read();
        let vhost = state.topology.vhost(vhost)?;
        Ok(self.connections.lock().counters_in(vhost.counters()))
    }

    /// The same for every vhost, in one pass over the connections.
    pub fn counters_by_vhost(&self) -> BTreeMap<Name, Counters> {
        let state = self.state.read();
        // Under its lock, so that nobody who goes counts twice.
        let connections = self.connections.lock();
        let mut living = connections.counters_by_vhost();
        let all = state.topology.vhosts().map(|vhost| {
            let mut counters = living.remove(vhost.name()).unwrap_or_default();
            counters += vhost.counters().gone();
            (Name::clone(vhost.name()), counters)
        });
        all.collect()
    }

    /// Counts what somebody without a connection did in a vhost, as if a connection had left it behind.
    pub(super) fn count_apart(&self, vhost: &str, counters: &ConnectionCounters) {
        let counts = counters.read();
        let state = self.state.read();
        // It may be gone by now.
        if let Ok(vhost) = state.topology.vhost(vhost) {
            vhost.counters().add(&counts);
        }
        self.connections.lock().count_apart(&counts);
    }

    /// What came and went.
    pub fn churn(&self) -> Churn {
        let QueueChurn { declared, created, deleted } = self.state.read().churn;
        let churn = self.connections.lock().churn();
        Churn { queues_declared: declared, queues_created: created, queues_deleted: deleted, ..churn }
    }

    /// Counts the octets of messages that were on disk when the node was started, a piece at a time; `go_on` is asked between them.
    /// Waits for the disk, and is over before all is counted where that fails.
    pub fn count_stored(&self, mut go_on: impl FnMut() -> bool) {
        let cells: Vec<_> = self.state.read().cells.values().map(Arc::clone).collect();
        for cell in cells {
            // A queue that is gone needs no counting.
            while cell.count_stored() == Ok(true) {
                if !go_on() {
                    return;
                }
            }
        }
    }

    /// How many messages died of what, and what became of them.
    pub fn death_counts(&self) -> DeathCounts {
        self.context.deaths.read()
    }
}
