//! The connections of a node, and how many of them are open where and by whom.

use std::sync::Arc;

use crate::access::Peer;
use crate::clock::Timestamp;
use crate::hash::Map;
use crate::mailbox::Mailbox;
use crate::report::{KnownConnection, KnownOpen};
use crate::stats::{Churn, ConnectionCounters, Counters, VhostCounters};
use crate::topology::{ConnectionId, UserLimits, VhostLimits};
use crate::{Error, Name};

/// All connections, open or on their way there.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    all: Map<ConnectionId, Connection>,
    /// Open connections, by vhost.
    in_vhost: Map<Name, u64>,
    of_user: Map<Name, UserCounts>,
    /// All that are open.
    open: u64,
    /// Channels of all of them.
    channels: u64,
    /// What those counted that are gone.
    gone: Counters,
    churn: Churn,
}

#[derive(Debug)]
struct Connection {
    mailbox: Arc<Mailbox>,
    peer: Arc<Peer>,
    since: Timestamp,
    counters: Arc<ConnectionCounters>,
    open: Option<Open>,
    /// Whether an operator ended it. Its client may take some time to go.
    is_ended: bool,
}

/// What an open connection counts for.
#[derive(Debug)]
struct Open {
    vhost: Name,
    user: Name,
    channels: u64,
    /// Where its vhost keeps what it leaves behind.
    vhost_counters: Arc<VhostCounters>,
}

/// A vhost that a connection is to be let into.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entered<'a> {
    pub(crate) name: &'a Name,
    pub(crate) limits: VhostLimits,
    pub(crate) counters: &'a Arc<VhostCounters>,
}

/// An open connection, to be told something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenOne<'a> {
    pub(crate) mailbox: &'a Arc<Mailbox>,
    pub(crate) vhost: &'a Name,
    pub(crate) user: &'a Name,
}

/// What a user has open.
#[derive(Debug, Clone, Copy, Default)]
struct UserCounts {
    connections: u64,
    channels: u64,
}

impl Connection {
    fn known(&self, id: ConnectionId) -> KnownConnection {
        let open = self.open.as_ref().map(|open| KnownOpen {
            vhost: Name::clone(&open.vhost),
            user: Name::clone(&open.user),
            channels: open.channels,
        });
        let (peer, counters) = (Arc::clone(&self.peer), Arc::clone(&self.counters));
        KnownConnection { id, peer, since: self.since, counters, open }
    }
}

impl Connections {
    pub(crate) fn insert(
        &mut self,
        id: ConnectionId,
        mailbox: Arc<Mailbox>,
        peer: Arc<Peer>,
        since: Timestamp,
        counters: Arc<ConnectionCounters>,
    ) {
        self.all.insert(id, Connection { mailbox, peer, since, counters, open: None, is_ended: false });
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn mailboxes(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        self.all.values().map(|connection| &connection.mailbox)
    }

    /// What is known of each, in no particular order, but for those that an operator ended.
    pub(crate) fn known(&self) -> impl Iterator<Item = (KnownConnection, &Arc<Mailbox>)> {
        self.all
            .iter()
            .filter(|(_, connection)| !connection.is_ended)
            .map(|(id, connection)| (connection.known(*id), &connection.mailbox))
    }

    /// What is known of one.
    pub(crate) fn known_one(&self, id: ConnectionId) -> Option<KnownConnection> {
        self.all.get(&id).map(|connection| connection.known(id))
    }

    /// One that no operator ended, and its mailbox.
    pub(crate) fn find(&self, id: ConnectionId) -> Option<(KnownConnection, &Arc<Mailbox>)> {
        let connection = self.all.get(&id).filter(|connection| !connection.is_ended)?;
        Some((connection.known(id), &connection.mailbox))
    }

    /// Ends one, which is not known any more from then on; gives its mailbox, to tell it. None if it was ended before.
    pub(crate) fn end(&mut self, id: ConnectionId) -> Option<&Arc<Mailbox>> {
        let connection = self.all.get_mut(&id).filter(|connection| !connection.is_ended)?;
        connection.is_ended = true;
        Some(&connection.mailbox)
    }

    /// The open ones.
    pub(crate) fn open_ones(&self) -> impl Iterator<Item = OpenOne<'_>> {
        self.all.values().filter_map(|Connection { mailbox, open, .. }| {
            let Open { vhost, user, .. } = open.as_ref()?;
            Some(OpenOne { mailbox, vhost, user })
        })
    }

    /// Open connections, and their channels.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.open, self.channels)
    }

    /// What came and went.
    pub(crate) const fn churn(&self) -> Churn {
        self.churn
    }

    /// Counts what no connection did, as if one had left it behind.
    pub(crate) fn count_apart(&mut self, counts: &Counters) {
        self.gone += *counts;
    }

    /// What all of them counted, those included that are gone.
    pub(crate) fn counters(&self) -> Counters {
        let mut sum = self.gone;
        self.all.values().for_each(|connection| sum += connection.counters.read());
        sum
    }

    /// What those counted that are open in a vhost, or were.
    pub(crate) fn counters_in(&self, vhost: &VhostCounters) -> Counters {
        let mut sum = vhost.gone();
        let open = self.all.values().filter(|connection| {
            connection.open.as_ref().is_some_and(|open| std::ptr::eq(&raw const *open.vhost_counters, vhost))
        });
        open.for_each(|connection| sum += connection.counters.read());
        sum
    }

    /// The same by vhost, for those in which connections are open. What is gone is not in it.
    pub(crate) fn counters_by_vhost(&self) -> Map<Name, Counters> {
        let mut sums = Map::<Name, Counters>::default();
        for connection in self.all.values() {
            if let Some(open) = &connection.open {
                *sums.entry(Name::clone(&open.vhost)).or_default() += connection.counters.read();
            }
        }
        sums
    }

    /// Whether the vhost or the user has as many as it may.
    pub(crate) fn check(
        &self,
        (vhost, in_vhost): (&Name, VhostLimits),
        (user, of_user): (&Name, UserLimits),
    ) -> Result<(), Error> {
        let count = self.in_vhost.get(vhost).copied().unwrap_or_default();
        if let Some(limit) = in_vhost.max_connections.filter(|limit| count >= *limit) {
            let (vhost, user) = (Name::clone(vhost), Name::clone(user));
            return Err(Error::VhostConnectionLimit { vhost, user, limit });
        }
        let count = self.of_user.get(user).copied().unwrap_or_default().connections;
        if let Some(limit) = of_user.max_connections.filter(|limit| count >= *limit) {
            return Err(Error::UserConnectionLimit { user: Name::clone(user), limit });
        }
        Ok(())
    }

    /// Lets a connection into a vhost, unless that would be one too many.
    pub(crate) fn open(
        &mut self,
        id: ConnectionId,
        vhost: Entered<'_>,
        (user, of_user): (&Name, UserLimits),
    ) -> Result<(), Error> {
        let Entered { name: vhost, limits, counters } = vhost;
        self.check((vhost, limits), (user, of_user))?;
        let Some(connection) = self.all.get_mut(&id) else { return Ok(()) };
        self.open += 1;
        self.churn.connections_opened += 1;
        *self.in_vhost.entry(Name::clone(vhost)).or_default() += 1;
        self.of_user.entry(Name::clone(user)).or_default().connections += 1;
        let (vhost, user, vhost_counters) = (Name::clone(vhost), Name::clone(user), Arc::clone(counters));
        connection.open = Some(Open { vhost, user, channels: 0, vhost_counters });
        Ok(())
    }

    /// The user of an open connection.
    pub(crate) fn user_of(&self, id: ConnectionId) -> Option<Name> {
        self.all.get(&id)?.open.as_ref().map(|open| Name::clone(&open.user))
    }

    /// Lets an open connection have one more channel, unless that would be one too many.
    pub(crate) fn open_channel(&mut self, id: ConnectionId, limits: UserLimits) -> Result<(), Error> {
        let Some(open) = self.all.get_mut(&id).and_then(|connection| connection.open.as_mut()) else { return Ok(()) };
        let Some(user) = self.of_user.get_mut(&open.user) else { return Ok(()) };
        if let Some(limit) = limits.max_channels.filter(|limit| user.channels >= *limit) {
            return Err(Error::UserChannelLimit { user: Name::clone(&open.user), limit });
        }
        user.channels += 1;
        open.channels += 1;
        self.channels += 1;
        self.churn.channels_opened += 1;
        Ok(())
    }

    pub(crate) fn close_channels(&mut self, id: ConnectionId, count: u64) {
        let Some(open) = self.all.get_mut(&id).and_then(|connection| connection.open.as_mut()) else { return };
        let count = count.min(open.channels);
        open.channels -= count;
        self.churn.channels_closed += count;
        self.channels = self.channels.saturating_sub(count);
        if let Some(user) = self.of_user.get_mut(&open.user) {
            user.channels = user.channels.saturating_sub(count);
        }
    }

    /// When a connection was made.
    pub(crate) fn connected_at(&self, id: ConnectionId) -> Option<Timestamp> {
        self.all.get(&id).map(|connection| connection.since)
    }

    /// Says whether it was there.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> bool {
        let Some(Connection { open, counters, .. }) = self.all.remove(&id) else { return false };
        let counts = counters.read().left_behind();
        self.gone += counts;
        let Some(open) = open else { return true };
        open.vhost_counters.add(&counts);
        self.churn.connections_closed += 1;
        self.churn.channels_closed += open.channels;
        self.open = self.open.saturating_sub(1);
        self.channels = self.channels.saturating_sub(open.channels);
        if let Some(count) = self.in_vhost.get_mut(&open.vhost) {
            *count -= 1;
            if *count == 0 {
                self.in_vhost.remove(&open.vhost);
            }
        }
        if let Some(user) = self.of_user.get_mut(&open.user) {
            user.connections -= 1;
            user.channels = user.channels.saturating_sub(open.channels);
            if user.connections == 0 {
                self.of_user.remove(&open.user);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: VhostLimits = VhostLimits { max_connections: None, max_queues: None };
    const ANY: UserLimits = UserLimits { max_connections: None, max_channels: None };

    fn connections(count: u64) -> Connections {
        let mut connections = Connections::default();
        for id in 0..count {
            let (peer, since) = (Arc::new(Peer::local()), Timestamp::default());
            connections.insert(ConnectionId(id), Arc::default(), peer, since, Arc::default());
        }
        connections
    }

    fn refusal(result: Result<(), Error>) -> Option<String> {
        result.err().map(|error| error.to_string())
    }

    #[test]
    fn a_vhost_takes_as_many_connections_as_it_may() {
        let (v, w, user) = (Name::from("v"), Name::from("w"), Name::from("u"));
        let two = VhostLimits { max_connections: Some(2), ..NONE };
        let mut connections = connections(5);
        let mut open = |id, vhost, limits| {
            let vhost = Entered { name: vhost, limits, counters: &Arc::default() };
            refusal(connections.open(ConnectionId(id), vhost, (&user, ANY)))
        };
        let full = "access to vhost 'v' refused for user 'u': connection limit (2) is reached";
        assert_eq!(open(0, &v, two), None);
        assert_eq!(open(1, &v, two), None);
        assert_eq!(open(2, &v, two).as_deref(), Some(full));
        assert_eq!(open(2, &w, NONE), None);
        let none = VhostLimits { max_connections: Some(0), ..NONE };
        assert!(open(3, &w, none).is_some());
        connections.remove(ConnectionId(1));
        let vhost = Entered { name: &v, limits: two, counters: &Arc::default() };
        assert_eq!(refusal(connections.open(ConnectionId(4), vhost, (&user, ANY))), None);
        // Those that never came in count for nothing.
        connections.remove(ConnectionId(3));
        for id in [0, 2, 4] {
            connections.remove(ConnectionId(id));
        }
        assert!(connections.in_vhost.is_empty() && connections.of_user.is_empty() && connections.len() == 0);
    }

    #[test]
    fn a_user_has_as_many_connections_and_channels_as_it_may() {
        let (v, w, u, other) = (Name::from("v"), Name::from("w"), Name::from("u"), Name::from("o"));
        let one = UserLimits { max_connections: Some(1), ..ANY };
        let mut all = connections(4);
        let mut open = |id, vhost, user, limits| {
            let vhost = Entered { name: vhost, limits: NONE, counters: &Arc::default() };
            refusal(all.open(ConnectionId(id), vhost, (user, limits)))
        };
        assert_eq!(open(0, &v, &u, one), None);
        let full = "connection refused for user 'u': user connection limit (1) is reached";
        assert_eq!(open(1, &w, &u, one).as_deref(), Some(full));
        assert_eq!(open(1, &w, &other, one), None);
        assert_eq!(open(2, &w, &u, ANY), None);
        let two = UserLimits { max_channels: Some(2), ..ANY };
        let mut channel = |id| refusal(all.open_channel(ConnectionId(id), two));
        let full = "number of channels opened for user 'u' has reached the maximum allowed user limit of 2";
        assert_eq!([channel(0), channel(2), channel(1)], [None, None, None]);
        assert_eq!(channel(0).as_deref(), Some(full));
        all.close_channels(ConnectionId(2), 1);
        assert_eq!(refusal(all.open_channel(ConnectionId(0), two)), None);
        all.remove(ConnectionId(0));
        assert_eq!(all.of_user[&u].channels, 0);
    }
}
