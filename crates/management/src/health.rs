//! Whether a node does what it is there for. What a finding means for a script, or for who asks over HTTP, is said there.

use leveret_broker::Name;
use leveret_broker::node::Node;
use leveret_broker::queue::QueueKind;
use leveret_broker::switches::Part;
use leveret_broker::topology::{ConnectionId, QueueRecord, Vhost};
use leveret_broker::value::Value as Field;
use x509_parser::pem::Pem;

/// The global parameter that clients are told as the name of the cluster.
pub(crate) const CLUSTER_NAME: &str = "cluster_name";

/// A queue.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) vhost: Name,
    pub(crate) name: Name,
    /// The connection that may see it.
    asking: ConnectionId,
}

/// A vhost that does not work, and why.
#[derive(Debug)]
pub(crate) struct Down {
    pub(crate) name: Name,
    pub(crate) reason: String,
}

/// The vhosts that do not work: a queue of theirs is gone, or nothing durable can be written in them.
pub(crate) fn vhosts_down(node: &Node, alarms: &[String]) -> Vec<Down> {
    let broken = broken_queues(node, |_| true);
    let names: Vec<Name> = node.read(|topology| topology.vhosts().map(|vhost| Name::clone(vhost.name())).collect());
    let down = names.into_iter().filter_map(|name| {
        let queue = broken.iter().find(|queue| queue.vhost == name);
        let reason = queue.map(|queue| format!("queue '{}' is not served", queue.name));
        let reason = reason.or_else(|| alarms.first().cloned())?;
        Some(Down { name, reason })
    });
    down.collect()
}

/// The quorum queues that cannot have a message agreed upon.
pub(crate) fn leaderless(node: &Node, alarms: &[String]) -> Vec<Found> {
    let is_quorum = |record: &QueueRecord| record.kind() == QueueKind::Quorum;
    // The only member of each is here. If that cannot write, no majority can.
    if alarms.is_empty() { broken_queues(node, is_quorum) } else { each_queue(node, is_quorum) }
}

/// Whether it was drained, and not revived since.
pub(crate) fn is_under_maintenance(node: &Node) -> bool {
    !node.switches().is_on(Part::Service)
}

/// What the cluster is called.
pub(crate) fn cluster_name(node: &Node) -> String {
    node.read(|topology| match topology.global_parameter(CLUSTER_NAME) {
        Ok(Field::LongStr(octets)) => String::from_utf8_lossy(octets).into_owned(),
        // Nobody gave it a name, so it is called like its only node.
        Ok(_) | Err(_) => node.name().to_string(),
    })
}

/// When the certificates in a PEM file end, in seconds since 1970; none for what cannot be read.
pub(crate) fn ends(pem: &[u8]) -> Vec<Option<i64>> {
    let pems = Pem::iter_from_buffer(pem);
    let end = |pem: Pem| Some(pem.parse_x509().ok()?.validity().not_after.timestamp());
    pems.map(|pem| pem.ok().and_then(end)).collect()
}

/// Whether there is such a queue.
pub(crate) fn any_queue(node: &Node, wanted: impl Fn(&QueueRecord) -> bool) -> bool {
    node.read(|topology| topology.vhosts().any(|vhost| vhost.queues().any(&wanted)))
}

/// Queues that are declared and that nobody serves.
fn broken_queues(node: &Node, wanted: impl Fn(&QueueRecord) -> bool) -> Vec<Found> {
    let all = each_queue(node, wanted);
    let serves = |queue: &Found| match node.queue(&queue.vhost, &queue.name, queue.asking) {
        // Whoever holds its lock for ever holds this up as well, and the check is over its time.
        Ok(cell) => {
            cell.counts();
            true
        }
        // It may have been deleted since.
        Err(_) => {
            !node.read(|topology| topology.vhost(&queue.vhost).is_ok_and(|vhost| vhost.any_queue(&queue.name).is_ok()))
        }
    };
    all.into_iter().filter(|queue| !serves(queue)).collect()
}

/// The queues that are wanted.
fn each_queue(node: &Node, wanted: impl Fn(&QueueRecord) -> bool) -> Vec<Found> {
    node.read(|topology| {
        let in_vhost = |vhost: &Vhost| {
            let found = vhost.queues().filter(|record| wanted(record)).map(|record| Found {
                vhost: Name::clone(vhost.name()),
                name: Name::clone(record.name()),
                asking: record.exclusive().unwrap_or(ConnectionId(0)),
            });
            found.collect::<Vec<_>>()
        };
        topology.vhosts().flat_map(in_vhost).collect()
    })
}
