//! What operators see of a running node, and the connections that they close.

use std::sync::Arc;
use std::task::Waker;
use std::vec;

use super::Node;
use crate::mailbox::{CloseReason, Event, Mailbox};
use crate::queue::{QueueCell, QueueKind};
use crate::report::{Asking, KnownConnection, Subject};
use crate::topology::{AppliedPolicies, ConnectionId, QueueId, QueueRecord, Topology};
use crate::value::Table;
use crate::{Error, Name};

/// Queues that are looked up under one lock of the topology.
const PIECE: usize = 256;

/// Whose connections are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionsOf {
    /// All there are.
    Everybody,
    /// Those that are open in a vhost.
    Vhost(Name),
    /// Those that a user has open.
    User(Name),
}

impl ConnectionsOf {
    fn include(&self, known: &KnownConnection) -> bool {
        match (self, &known.open) {
            (Self::Everybody, _) => true,
            (Self::Vhost(vhost), Some(open)) => open.vhost == *vhost,
            (Self::User(user), Some(open)) => open.user == *user,
            (Self::Vhost(_) | Self::User(_), None) => false,
        }
    }
}

/// How much there is on a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Vhosts.
    pub vhosts: usize,
    /// Users that the node knows itself.
    pub users: usize,
    /// Exchanges, the pre-declared ones included.
    pub exchanges: usize,
    /// Queues.
    pub queues: usize,
    /// Connections, those that are on their way to be open included.
    pub connections: usize,
    /// Channels.
    pub channels: u64,
    /// Consumers.
    pub consumers: usize,
    /// Messages that wait.
    pub ready: usize,
    /// Messages that were handed out and not settled.
    pub unsettled: usize,
}

/// A queue as it was when it was looked up: what was declared, and itself.
#[derive(Debug, Clone)]
pub struct ListedQueue {
    /// Its id.
    pub id: QueueId,
    /// Its vhost.
    pub vhost: Name,
    /// Its name.
    pub name: Name,
    /// Whether it survives a restart.
    pub durable: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// The connection it belongs to, if it is exclusive.
    pub owner: Option<ConnectionId>,
    /// The arguments as they were declared.
    pub arguments: Table,
    /// What applies to it.
    pub policies: Option<Arc<AppliedPolicies>>,
    /// Whether it hands out nothing until somebody lets it go on.
    pub is_paused: bool,
    /// What it is made of.
    pub kind: QueueKind,
    /// Where its messages are.
    pub cell: Arc<QueueCell>,
}

impl ListedQueue {
    fn new(vhost: &Name, queue: &QueueRecord, cell: &Arc<QueueCell>) -> Self {
        Self {
            id: queue.id(),
            vhost: Name::clone(vhost),
            name: Name::clone(queue.name()),
            durable: queue.durable(),
            auto_delete: queue.auto_delete(),
            owner: queue.exclusive(),
            arguments: queue.arguments().clone(),
            policies: queue.policies().map(Arc::clone),
            is_paused: queue.paused(),
            kind: queue.kind(),
            cell: Arc::clone(cell),
        }
    }
}

/// The queues of a vhost in the order of their names. They are looked up some at a time, so that nobody waits long for the
/// topology; one that is deleted meanwhile is left out.
#[derive(Debug)]
pub struct QueueList<'a> {
    node: &'a Node,
    vhost: Name,
    names: vec::IntoIter<Name>,
    piece: vec::IntoIter<ListedQueue>,
}

impl Iterator for QueueList<'_> {
    type Item = ListedQueue;

    fn next(&mut self) -> Option<ListedQueue> {
        loop {
            if let Some(queue) = self.piece.next() {
                return Some(queue);
            }
            if self.names.len() == 0 {
                return None;
            }
            let names = self.names.by_ref().take(PIECE);
            self.piece = self.node.look_up(&self.vhost, names).into_iter();
        }
    }
}

impl Node {
    /// What it is called.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Asks all connections how they are. Gives what to wait for, as long as one likes, before taking the answers.
    pub fn ask_connections(&self, subject: Subject) -> Asking {
        self.ask(&ConnectionsOf::Everybody, subject)
    }

    /// [`Node::ask_connections`] for some of them.
    pub fn ask(&self, whom: &ConnectionsOf, subject: Subject) -> Asking {
        let mut asked: Vec<_> = {
            let connections = self.connections.lock();
            let all = connections.known().filter(|(known, _)| whom.include(known));
            all.map(|(known, mailbox)| (known, Arc::clone(mailbox))).collect()
        };
        asked.sort_unstable_by_key(|(known, _)| known.id);
        Self::ask_these(asked, subject)
    }

    /// [`Node::ask_connections`] for one; none if it is gone.
    pub fn ask_one(&self, id: ConnectionId, subject: Subject) -> Option<Asking> {
        let asked = {
            let connections = self.connections.lock();
            let (known, mailbox) = connections.find(id)?;
            (known, Arc::clone(mailbox))
        };
        Some(Self::ask_these(vec![asked], subject))
    }

    fn ask_these(asked: Vec<(KnownConnection, Arc<Mailbox>)>, subject: Subject) -> Asking {
        let (known, mailboxes): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let (asking, question) = Asking::new(known, subject);
        for mailbox in mailboxes {
            mailbox.post(Event::Report(question.clone())).into_iter().for_each(Waker::wake);
        }
        asking
    }

    /// What is known of connections without asking them, in the order of their ids.
    pub fn known_connections(&self, whom: &ConnectionsOf) -> Vec<KnownConnection> {
        let mut all: Vec<_> = {
            let connections = self.connections.lock();
            connections.known().map(|(known, _)| known).filter(|known| whom.include(known)).collect()
        };
        all.sort_unstable_by_key(|known| known.id);
        all
    }

    /// What is known of a connection without asking it; none if it is gone.
    pub fn known_connection(&self, id: ConnectionId) -> Option<KnownConnection> {
        self.connections.lock().known_one(id)
    }

    /// Closes a connection, whose client is told the reason, and which is not listed any more. Says whether there was one.
    pub fn close_connection(&self, id: ConnectionId, reason: &Name) -> bool {
        let event = Event::Close(CloseReason::Operator { reason: Name::clone(reason) });
        let posted = self.connections.lock().end(id).map(|mailbox| mailbox.post(event));
        let is_there = posted.is_some();
        posted.flatten().into_iter().for_each(Waker::wake);
        is_there
    }

    /// The queues of a vhost, in the order of their names.
    pub fn list_queues(&self, vhost: &str) -> Result<QueueList<'_>, Error> {
        let (vhost, mut names) = self.read(|topology| {
            let vhost = topology.vhost(vhost)?;
            let names: Vec<Name> = vhost.queues().map(|queue| Name::clone(queue.name())).collect();
            Ok::<_, Error>((Name::clone(vhost.name()), names))
        })?;
        names.sort_unstable();
        Ok(QueueList { node: self, vhost, names: names.into_iter(), piece: Vec::new().into_iter() })
    }

    /// A queue, whomever it belongs to.
    pub fn listed_queue(&self, vhost: &str, name: &str) -> Result<ListedQueue, Error> {
        let state = self.state.read();
        let vhost = state.topology.vhost(vhost)?;
        let queue = vhost.any_queue(name)?;
        let cell = state.cells.get(&queue.id());
        let not_found = || Error::NotFound { resource: crate::error::Resource::queue(vhost.name(), name) };
        cell.map(|cell| ListedQueue::new(vhost.name(), queue, cell)).ok_or_else(not_found)
    }

    fn look_up(&self, vhost: &Name, names: impl Iterator<Item = Name>) -> Vec<ListedQueue> {
        let state = self.state.read();
        let Ok(vhost) = state.topology.vhost(vhost) else { return Vec::new() };
        let found = names.filter_map(|name| {
            let queue = vhost.any_queue(&name).ok()?;
            Some(ListedQueue::new(vhost.name(), queue, state.cells.get(&queue.id())?))
        });
        found.collect()
    }

    /// All queues, in no order. They are only named: nobody is asked for anything.
    pub fn queue_cells(&self) -> Vec<Arc<QueueCell>> {
        self.state.read().cells.values().map(Arc::clone).collect()
    }

    /// How much there is.
    pub fn totals(&self) -> Totals {
        let (connections, (_, channels)) = {
            let connections = self.connections.lock();
            (connections.len(), connections.counts())
        };
        let mut totals = self.read(|topology| Totals { connections, channels, ..declared(topology) });
        let cells = self.queue_cells();
        totals.queues = cells.len();
        for cell in cells {
            let counts = cell.counts();
            totals.consumers += counts.consumers;
            totals.ready += counts.ready;
            totals.unsettled += counts.unsettled;
        }
        totals
    }
}

fn declared(topology: &Topology) -> Totals {
    Totals {
        vhosts: topology.vhosts().count(),
        users: topology.users().len(),
        exchanges: topology.vhosts().map(|vhost| vhost.exchanges().count()).sum(),
        ..Totals::default()
    }
}
