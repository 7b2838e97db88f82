//! The connections of a node: who gets in, and what they are told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::Node;
use crate::access::Peer;
use crate::clock::Timestamp;
use crate::connections::{Connections, Entered};
use crate::mailbox::{CloseReason, Event, Mailbox};
use crate::stats::ConnectionCounters;
use crate::topology::{Change, ConnectionId};
use crate::{Error, Name};

/// What a change means for connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum News {
    VhostDeleted(Name),
    UserDeleted(Name),
    /// What this user may do is something else now.
    AccessChanged(Name),
}

impl News {
    pub(super) fn of(change: &Change) -> Option<Self> {
        match change {
            Change::DeleteVhost { vhost } => Some(Self::VhostDeleted(Name::clone(vhost))),
            Change::DeleteUser { user } => Some(Self::UserDeleted(Name::clone(user))),
            Change::SetPermissions { user, .. }
            | Change::ClearPermissions { user, .. }
            | Change::SetTopicPermissions { user, .. }
            | Change::ClearTopicPermissions { user, .. } => Some(Self::AccessChanged(Name::clone(user))),
            _ => None,
        }
    }

    fn event(&self) -> Event {
        match self {
            Self::VhostDeleted(vhost) => Event::Close(CloseReason::VhostDeleted { vhost: Name::clone(vhost) }),
            Self::UserDeleted(user) => Event::Close(CloseReason::UserDeleted { user: Name::clone(user) }),
            Self::AccessChanged(_) => Event::AccessChanged,
        }
    }
}

/// How a connection that wants to open a vhost fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// It is in; this is the vhost's name to keep.
    Open(Name),
    /// Users changed since it was found that it may: it has to be asked again.
    Outdated,
}

impl Node {
    /// Registers a connection, which can then be told to close, and which counts what it does.
    pub fn connect(
        &self,
        mailbox: &Arc<Mailbox>,
        peer: &Arc<Peer>,
        counters: &Arc<ConnectionCounters>,
    ) -> ConnectionId {
        let id = ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed));
        let (mailbox, peer, counters) = (Arc::clone(mailbox), Arc::clone(peer), Arc::clone(counters));
        self.connections.lock().insert(id, mailbox, peer, self.now(), counters);
        id
    }

    /// Forgets a connection; says whether it was known.
    pub fn disconnect(&self, id: ConnectionId) -> bool {
        self.connections.lock().remove(id)
    }

    /// When a connection was made, if it is there.
    pub fn connected_at(&self, id: ConnectionId) -> Option<Timestamp> {
        self.connections.lock().connected_at(id)
    }

    /// Refuses what [`Node::open_connection`] would refuse, whatever the user may do.
    pub fn check_connection(&self, vhost: &str, user: &Name) -> Result<(), Error> {
        self.check_node(&self.connections.lock())?;
        let (vhost, in_vhost, of_user) = self.read(|topology| {
            let vhost = topology.vhost(vhost)?;
            Ok::<_, Error>((Name::clone(vhost.name()), vhost.limits(), topology.user_limits(user)))
        })?;
        self.connections.lock().check((&vhost, in_vhost), (user, of_user))
    }

    /// Lets a connection into a vhost, unless the vhost or the user has as many as it may. That its user may use the vhost was
    /// found at the given [`Node::access_generation`].
    pub fn open_connection(
        &self,
        id: ConnectionId,
        vhost: &str,
        user: &Name,
        access_generation: u64,
    ) -> Result<Opening, Error> {
        // Under the topology's lock: whoever deletes the vhost or the user then finds the connection, or keeps it out.
        let state = self.state.read();
        if state.topology.access_generation() != access_generation {
            return Ok(Opening::Outdated);
        }
        let vhost = state.topology.vhost(vhost)?;
        let (in_vhost, of_user) = (vhost.limits(), state.topology.user_limits(user));
        let mut connections = self.connections.lock();
        self.check_node(&connections)?;
        let entered = Entered { name: vhost.name(), limits: in_vhost, counters: vhost.counters() };
        connections.open(id, entered, (user, of_user))?;
        Ok(Opening::Open(Name::clone(vhost.name())))
    }

    /// Whether the node has as many connections as it may.
    fn check_node(&self, connections: &Connections) -> Result<(), Error> {
        let (open, _) = connections.counts();
        let full = self.limits.read().max_connections.filter(|limit| open >= *limit);
        full.map_or(Ok(()), |limit| Err(Error::NodeConnectionLimit { limit }))
    }

    /// Lets a connection have one more channel, unless the node or its user has as many as it may.
    pub fn open_channel(&self, id: ConnectionId, user: &str) -> Result<(), Error> {
        let limits = self.read(|topology| topology.user_limits(user));
        let mut connections = self.connections.lock();
        let (_, channels) = connections.counts();
        if let Some(limit) = self.limits.read().max_channels.filter(|limit| channels >= *limit) {
            return Err(Error::NodeChannelLimit { node: Name::clone(&self.name), limit });
        }
        connections.open_channel(id, limits)
    }

    /// A connection has that many channels less.
    pub fn close_channels(&self, id: ConnectionId, count: usize) {
        self.connections.lock().close_channels(id, u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Connections there are.
    pub fn connection_count(&self) -> usize {
        self.connections.lock().len()
    }

    /// Tells every connection to close.
    pub fn close_connections(&self, reason: &CloseReason) {
        let post = |mailbox: &Arc<Mailbox>| mailbox.post(Event::Close(reason.clone()));
        let wakers: Vec<Waker> = self.connections.lock().mailboxes().filter_map(post).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Tells the connections that it concerns.
    pub(super) fn tell_connections(&self, news: &News) {
        let wakers: Vec<Waker> = {
            let connections = self.connections.lock();
            let open = connections.open_ones().filter(|open| match news {
                News::VhostDeleted(vhost) => open.vhost == vhost,
                News::UserDeleted(user) | News::AccessChanged(user) => open.user == user,
            });
            open.filter_map(|open| open.mailbox.post(news.event())).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}
