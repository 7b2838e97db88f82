//! Looks at everything that has a past, every five seconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use leveret_broker::Name;
use leveret_broker::node::{ConnectionsOf, Node};
use leveret_broker::queue::QueueCounts;
use leveret_broker::report::KnownConnection;
use tokio::time::{MissedTickBehavior, interval};

use super::subject::{messages, queue_messages};
use super::{History, INTERVAL_MS, Subject, now_ms};
use crate::{Facts, Host};

/// Things that samples are taken of at most; others have no rates.
pub(super) const SUBJECTS_MAX: usize = 500_000;
/// Queues that are asked before their samples are put down.
const PIECE: usize = 256;

/// Messages of a vhost: all, ready, unacknowledged.
type Lengths = [u64; 3];

/// Takes samples until nobody has the history any more.
pub(super) async fn run(host: Arc<dyn Host>, history: Weak<History>) {
    let mut ticks = interval(Duration::from_millis(INTERVAL_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(history) = history.upgrade() else { return };
        let host = Arc::clone(&host);
        // It fails only if the node is about to stop, or with what the log says already.
        let _ = tokio::task::spawn_blocking(move || sample(&*host, &history)).await;
    }
}

fn sample(host: &dyn Host, history: &History) {
    let Some(app) = host.app() else { return };
    let (node, at) = (&*app.node, now_ms());
    let by_vhost = queues(node, history, at);
    exchanges(node, history, at);
    connections(node, history, at);
    let vhosts = vhosts(node, &by_vhost);
    let machine = machine(&host.facts(), node);
    let overview = overview(node, &by_vhost);
    let mut state = history.state.lock();
    for (vhost, values) in vhosts {
        state.sample(Subject::Vhost(vhost), at, &values);
    }
    state.sample(Subject::Node, at, &machine);
    state.sample(Subject::Overview, at, &overview);
    state.tidy(at);
}

/// Samples the queues that ever had a message; gives how many messages there are in each vhost.
fn queues(node: &Node, history: &History, at: u64) -> BTreeMap<Name, Lengths> {
    let mut by_vhost = BTreeMap::<Name, Lengths>::new();
    let cells = node.queue_cells();
    let mut samples = Vec::with_capacity(PIECE);
    for piece in cells.chunks(PIECE) {
        for cell in piece {
            let (QueueCounts { ready, unsettled, .. }, stats) = cell.activity();
            if ready + unsettled == 0 && stats.is_empty() {
                continue;
            }
            let lengths = [ready + unsettled, ready, unsettled].map(|count| count as u64);
            let sums = by_vhost.entry(Name::clone(&cell.info().vhost)).or_default();
            sums.iter_mut().zip(lengths).for_each(|(sum, length)| *sum += length);
            let mut values = [0; 12];
            values.iter_mut().zip(lengths.into_iter().chain(queue_messages(&stats))).for_each(|(to, from)| *to = from);
            samples.push((Subject::Queue(cell.info().id), values));
        }
        put(history, at, &mut samples);
    }
    by_vhost
}

fn exchanges(node: &Node, history: &History, at: u64) {
    let mut samples: Vec<_> = node.read(|topology| {
        let all = topology.vhosts().flat_map(|vhost| vhost.exchanges().map(move |exchange| (vhost.name(), exchange)));
        let used = all.map(|(vhost, exchange)| (vhost, exchange.name(), exchange.stats()));
        let used = used.filter(|(_, _, stats)| !stats.is_empty());
        used.map(|(vhost, name, stats)| {
            (Subject::Exchange(Name::clone(vhost), Name::clone(name)), [stats.publish_in, stats.publish_out])
        })
        .collect()
    });
    put(history, at, &mut samples);
}

fn connections(node: &Node, history: &History, at: u64) {
    let known = node.known_connections(&ConnectionsOf::Everybody);
    let octets = |known: KnownConnection| {
        let traffic = known.counters.traffic.read();
        (Subject::Connection(known.id), [traffic.received, traffic.sent])
    };
    put(history, at, &mut known.into_iter().map(octets).collect());
}

fn put<const N: usize>(history: &History, at: u64, samples: &mut Vec<(Subject, [u64; N])>) {
    let mut state = history.state.lock();
    for (subject, values) in samples.drain(..) {
        if state.known.len() < SUBJECTS_MAX || state.known.contains_key(&subject) {
            state.sample(subject, at, &values);
        }
    }
}

fn vhosts(node: &Node, lengths: &BTreeMap<Name, Lengths>) -> Vec<(Name, Vec<u64>)> {
    let by_vhost = node.counters_by_vhost().into_iter().map(|(vhost, counters)| {
        let lengths = lengths.get(&vhost).copied().unwrap_or_default();
        let octets = [counters.traffic.received, counters.traffic.sent];
        let values = lengths.into_iter().chain(messages(&counters.messages())).chain(octets);
        (vhost, values.collect())
    });
    by_vhost.collect()
}

fn overview(node: &Node, lengths: &BTreeMap<Name, Lengths>) -> Vec<u64> {
    let mut totals = Lengths::default();
    for of_vhost in lengths.values() {
        totals.iter_mut().zip(of_vhost).for_each(|(total, length)| *total += length);
    }
    totals.into_iter().chain(messages(&node.counters().messages())).chain(churn(node)).collect()
}

fn machine(facts: &Facts, node: &Node) -> Vec<u64> {
    let machine = [facts.memory, facts.disk_free, facts.files.0, facts.sockets];
    machine.into_iter().chain(churn(node)).collect()
}

fn churn(node: &Node) -> [u64; 7] {
    let churn = node.churn();
    [
        churn.connections_opened,
        churn.connections_closed,
        churn.channels_opened,
        churn.channels_closed,
        churn.queues_declared,
        churn.queues_created,
        churn.queues_deleted,
    ]
}
