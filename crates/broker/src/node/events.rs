//! What the node tells of itself to those who listen.

use super::Node;
use crate::Name;
use crate::events::{Bus, Facts, INTERNAL, Telling};
use crate::topology::{ConnectionId, Topology};

/// What can stand in the way of normal work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmSource {
    /// The disk is full, or broken.
    Disk,
    /// There is too little memory.
    Memory,
}

impl Node {
    /// Who hears of what happens.
    pub const fn events(&self) -> &Bus {
        &self.events
    }

    /// Tells of something, if somebody listens.
    #[inline]
    pub fn tell(&self, name: &'static str, facts: impl FnOnce() -> Facts) {
        if self.events.is_heard() {
            self.events.tell(name, self.now(), facts());
        }
    }

    /// Tells that something is in the way of normal work, or no longer is.
    pub fn tell_alarm(&self, source: AlarmSource, is_set: bool) {
        let source = match source {
            AlarmSource::Disk => "disk",
            AlarmSource::Memory => "memory",
        };
        let facts = || Facts::new().text("node", &self.name).text("source", source);
        self.tell(if is_set { "alarm.set" } else { "alarm.cleared" }, facts);
    }

    /// The user of a connection, for those who listen.
    pub(super) fn user_of(&self, connection: ConnectionId) -> Name {
        let user = self.events.is_heard().then(|| self.connections.lock().user_of(connection)).flatten();
        user.unwrap_or_else(|| INTERNAL.into())
    }

    /// Tells of changes that somebody made.
    pub(super) fn telling<'a>(&'a self, topology: &'a Topology, actor: &'a str) -> Telling<'a> {
        Telling { bus: &self.events, topology, node: &self.name, now: self.now(), actor }
    }
}
