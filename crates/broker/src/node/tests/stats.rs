//! What the node counts, and what remains of it when connections, queues and vhosts go.

use super::*;
use crate::queue::QueueKind;
use crate::stats::{Churn, ConnectionCounters, Counters, MessageStats};

const OTHER: &str = "other";

struct Client {
    id: ConnectionId,
    counters: Arc<ConnectionCounters>,
}

/// A connection to a vhost with so many channels.
fn client(node: &Node, vhost: &str, channels: usize) -> Client {
    let (mailbox, peer, counters) = (Arc::default(), Arc::new(Peer::local()), Arc::default());
    let id = node.connect(&mailbox, &peer, &counters);
    let opened = node.open_connection(id, vhost, &"guest".into(), node.access_generation()).unwrap();
    assert!(matches!(opened, Opening::Open(_)));
    (0..channels).for_each(|_| node.open_channel(id, "guest").unwrap());
    Client { id, counters }
}

/// Two vhosts, in which connections have published this much.
fn busy(published: &[(&str, u64)]) -> (Node, Vec<Client>) {
    let node = Node::new();
    node.apply(Change::CreateVhost { vhost: OTHER.into() }).unwrap();
    let clients = published.iter().map(|(vhost, count)| {
        let client = client(&node, vhost, 1);
        client.counters.publishes.published.add(*count);
        client.counters.of_kind(QueueKind::Quorum).ack.add(2 * count);
        client.counters.publishers.set(1);
        client.counters.traffic.pending.set(9);
        client
    });
    let clients = clients.collect();
    (node, clients)
}

fn published(counters: &Counters) -> (u64, u64, u64) {
    let MessageStats { publish, ack, .. } = counters.messages();
    (publish, ack, counters.publishers)
}

#[test]
fn a_node_has_counted_what_its_vhosts_have_and_nothing_is_lost_with_a_connection() {
    let (node, clients) = busy(&[("/", 1), ("/", 10), (OTHER, 100)]);
    let seen = |node: &Node| {
        let vhosts = node.counters_by_vhost();
        let mut sum = Counters::default();
        for counters in vhosts.values() {
            sum += *counters;
        }
        assert_eq!(node.counters(), sum);
        for (vhost, counters) in &vhosts {
            assert_eq!(node.vhost_counters(vhost).as_ref(), Ok(counters));
        }
        (published(&vhosts["/"]), published(&vhosts[OTHER]))
    };
    assert_eq!(seen(&node), ((11, 22, 2), (100, 200, 1)));
    node.disconnect(clients[1].id);
    assert_eq!(seen(&node), ((11, 22, 1), (100, 200, 1)));
    // Nobody counts twice who goes twice.
    node.disconnect(clients[1].id);
    node.disconnect(clients[2].id);
    assert_eq!(seen(&node), ((11, 22, 1), (100, 200, 0)));
    assert_eq!(node.counters().traffic.pending, 9, "only of those who are there");
    node.apply(Change::DeleteVhost { vhost: OTHER.into() }).unwrap();
    assert!(node.vhost_counters(OTHER).is_err());
    assert_eq!(published(&node.counters()), (111, 222, 1), "the node remembers");
    node.apply(Change::CreateVhost { vhost: OTHER.into() }).unwrap();
    assert_eq!(node.vhost_counters(OTHER), Ok(Counters::default()), "a new one begins anew");
}

#[test]
fn what_comes_and_goes_is_counted() {
    let node = Node::new();
    let (stays, goes) = (client(&node, "/", 2), client(&node, "/", 3));
    // This one was never let in.
    let half = node.connect(&Arc::default(), &Arc::new(Peer::local()), &Arc::default());
    node.close_channels(stays.id, 1);
    node.disconnect(half);
    node.disconnect(goes.id);
    node.apply(declare_queue("q", None, false)).unwrap();
    node.apply(declare_queue("q", None, false)).unwrap();
    node.apply(declare_queue("mine", Some(stays.id), false)).unwrap();
    node.delete_owned_by(&vhost(), stays.id);
    let expected = Churn {
        connections_opened: 2,
        connections_closed: 1,
        channels_opened: 5,
        channels_closed: 4,
        queues_declared: 3,
        queues_created: 2,
        queues_deleted: 1,
    };
    assert_eq!(node.churn(), expected);
}

#[test]
fn what_the_broker_publishes_itself_is_no_clients() {
    let (node, cell) = node(None, false);
    node.apply(declare_exchange("x", false)).unwrap();
    node.apply(bind("x", "q")).unwrap();
    let published = node.publish("/", &Draft::new(Vec::new(), "x", "key").message()).unwrap();
    assert_eq!((published.queues, cell.counts().ready), (1, 1));
    assert_eq!(node.counters().messages(), MessageStats::default());
    assert_eq!(cell.report().stats, MessageStats::default());
    let of_exchange = node.read(|topology| topology.vhost("/").unwrap().exchange("x").unwrap().stats());
    assert_eq!(of_exchange, MessageStats::default());
}
