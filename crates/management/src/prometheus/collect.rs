//! Asking the node for what a page has on it.

use std::io::{self, Write};
use std::time::Duration;

use leveret_broker::node::{ConnectionsOf, Node};
use leveret_broker::report::Subject;
use leveret_broker::stats::Counters;

use super::connections::{Channels, Connections};
use super::queues::Queues;
use super::{Filter, Group, Page, Text, exchanges, global, info, logins, node, own};
use crate::views::gather;
use crate::{App, Facts, Figures, Host, StorageFigures};

/// What comes before names.
const PREFIX: &str = "rabbitmq_";
const DETAILED_PREFIX: &str = "rabbitmq_detailed_";
const CLUSTER_PREFIX: &str = "rabbitmq_cluster_";
const OWN_PREFIX: &str = "leveret_";
/// How long connections may take to say how their channels are.
const WAIT: Duration = Duration::from_secs(2);
/// More connections are not asked about their channels for a sum: all of them have to be woken up for that.
const ASKED_MAX: usize = 10_000;

/// Whether each object has a number, or all have one together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Sum,
    Each,
}

/// Asks the node.
#[derive(Debug)]
pub(super) struct Collector<'a> {
    host: &'a dyn Host,
    app: &'a App,
    facts: Facts,
    figures: Figures,
}

impl<'a> Collector<'a> {
    /// Asks this node.
    pub(super) fn new(host: &'a dyn Host, app: &'a App) -> Self {
        Self { host, app, facts: host.facts(), figures: host.figures() }
    }

    /// Writes a page.
    pub(super) fn write<W: Write>(&self, page: &Page, to: W) -> io::Result<W> {
        let mut text = Text::new(to);
        match page {
            Page::Aggregated => self.everything(&mut text, Scope::Sum)?,
            Page::PerObject => self.everything(&mut text, Scope::Each)?,
            Page::Detailed(detailed) => {
                let (of_cluster, of_node): (Vec<_>, Vec<_>) =
                    detailed.groups.iter().copied().partition(|group| group.is_of_cluster());
                text.set_prefix(DETAILED_PREFIX);
                let queues = self.groups(&mut text, &of_node, Scope::Each, &detailed.filter)?;
                let wanted = [Group::QueueCoarse, Group::QueueConsumerCount, Group::Queue];
                if wanted.iter().any(|group| of_node.contains(group)) {
                    queues.info(&mut text)?;
                }
                text.set_prefix(CLUSTER_PREFIX);
                self.groups(&mut text, &of_cluster, Scope::Each, &detailed.filter)?;
            }
            Page::MemoryBreakdown => {
                text.set_prefix(PREFIX);
                own::breakdown(&mut text, &self.host.memory())?;
            }
        }
        text.set_prefix(PREFIX);
        info::write(&mut text, &self.app.node, &self.facts, page)?;
        text.finish()
    }

    fn everything<W: Write>(&self, text: &mut Text<W>, scope: Scope) -> io::Result<()> {
        let node = self.node();
        node::started(text, &self.facts)?;
        text.set_prefix(PREFIX);
        let storage = self.storage();
        node::alarms(text, &self.facts, &storage)?;
        let is_on_it = |group: &Group| match group {
            // In others as well.
            Group::QueueConsumerCount => false,
            // The same numbers as those by protocol.
            Group::LoginSources => scope == Scope::Each,
            group => !group.is_of_cluster(),
        };
        let groups: Vec<_> = Group::ALL.into_iter().filter(is_on_it).collect();
        let queues = self.groups(text, &groups, scope, &Filter::default())?;
        if scope == Scope::Each {
            queues.info(text)?;
        }
        node::totals(text, &node.totals())?;
        global::write(text, &node.counters(), &node.death_counts())?;
        text.set_prefix(OWN_PREFIX);
        own::write(text, &self.figures, &self.facts)
    }

    /// Writes groups, and gives back what queues said, if they were asked.
    fn groups<W: Write>(
        &self,
        text: &mut Text<W>,
        groups: &[Group],
        scope: Scope,
        filter: &Filter,
    ) -> io::Result<Queues> {
        let (node, pids) = (self.node(), &*self.app.pids);
        let storage = self.storage();
        let churn = node.churn();
        let asks_queues = groups.iter().any(|group| group.is_of_queues());
        let queues =
            if asks_queues { Queues::ask(node, filter, mean_sync_seconds(&storage)) } else { Queues::default() };
        let asked = |wanted: &[Group]| groups.iter().any(|group| wanted.contains(group));
        let sums = self.sums(scope);
        let connections = match scope {
            Scope::Each if asked(&[Group::ConnectionCoarse, Group::Connection]) => {
                Connections::read(&node.known_connections(&ConnectionsOf::Everybody), pids)
            }
            Scope::Each | Scope::Sum => Connections::read(&[], pids),
        };
        let of_channels = [Group::Channel, Group::ChannelPublishes, Group::ChannelDelivery];
        let are_asked = asked(&of_channels) && (scope == Scope::Each || node.connection_count() <= ASKED_MAX);
        let channels = are_asked.then(|| Channels::of(&gather(node.ask_connections(Subject::Channels), WAIT), pids));
        let channels = channels.unwrap_or_default();
        for group in groups.iter().copied() {
            match (group, &sums) {
                (Group::ConnectionChurn | Group::NodeCoarse | Group::Node | Group::NodePersister, _) => {
                    node::write(text, group, &churn, &self.facts, &storage)?;
                }
                (Group::Logins | Group::LoginSources, _) => logins::write(text, group, &self.app.logins)?,
                (Group::Exchange | Group::VhostStatus | Group::ExchangeBindings | Group::ExchangeNames, _) => {
                    exchanges::write(text, group, scope, node, filter)?;
                }
                (Group::Channel, _) | (Group::ChannelPublishes | Group::ChannelDelivery, None) => {
                    channels.write(text, group, scope)?;
                }
                (Group::ConnectionCoarse | Group::Connection, None) => connections.write(text, group)?,
                (
                    Group::ChannelPublishes | Group::ChannelDelivery | Group::ConnectionCoarse | Group::Connection,
                    Some(Sums { counters, channels, waiting }),
                ) => super::connections::sum(text, group, counters, *channels, *waiting)?,
                (
                    Group::Raft
                    | Group::QueueCoarse
                    | Group::QueueConsumerCount
                    | Group::Queue
                    | Group::QueueDelivery
                    | Group::QueuePublishes,
                    _,
                ) => queues.write(text, group, scope)?,
            }
        }
        Ok(queues)
    }

    /// What all connections come to, if that is wanted.
    fn sums(&self, scope: Scope) -> Option<Sums> {
        if scope == Scope::Each {
            return None;
        }
        let known = self.node().known_connections(&ConnectionsOf::Everybody);
        let waiting = known.iter().filter(|known| known.counters.traffic.pending.get() > 0).count();
        let channels = known.iter().filter_map(|known| known.open.as_ref()).map(|open| open.channels).sum();
        Some(Sums { counters: self.node().counters(), channels, waiting: waiting as u64 })
    }

    fn node(&self) -> &Node {
        &self.app.node
    }

    fn storage(&self) -> StorageFigures {
        self.figures.storage.clone().unwrap_or_default()
    }
}

/// What all connections come to.
struct Sums {
    counters: Counters,
    channels: u64,
    /// How many have something that waits to be written.
    waiting: u64,
}

/// How long a sync of the message log takes, on average.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
fn mean_sync_seconds(storage: &StorageFigures) -> f64 {
    let log = storage.logs.iter().find(|log| log.name == "messages");
    log.map_or(0.0, |log| node::micros(log.syncs.sum) / log.syncs.count().max(1) as f64)
}
