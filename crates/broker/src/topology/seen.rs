//! What of the messages that exchanges have seen survives a restart.

use super::{Topology, Vhost};
use crate::Name;
use crate::clock::Timestamp;
use crate::dedup::SeenRecord;

impl Topology {
    /// All that exchanges still know after a restart, as the records that bring it about.
    pub fn seen_records(&self) -> Vec<SeenRecord> {
        self.vhosts().flat_map(Vhost::seen_records).collect()
    }

    /// Lets an exchange know again what a record says, if it is still there and its type remembers that.
    pub fn restore_seen(&self, record: &SeenRecord, now: Timestamp) {
        let (SeenRecord::Begun { vhost, exchange } | SeenRecord::Seen { vhost, exchange, .. }) = record;
        let Ok(exchange) = self.vhost(vhost).and_then(|vhost| vhost.exchange(exchange)) else { return };
        match record {
            SeenRecord::Begun { .. } => exchange.restore_seen(None, now),
            SeenRecord::Seen { id, until, .. } => exchange.restore_seen(Some((id, *until)), now),
        }
    }
}

impl Vhost {
    fn seen_records(&self) -> impl Iterator<Item = SeenRecord> {
        let exchanges = self.exchanges().filter_map(|exchange| Some((exchange.name(), exchange.seen()?)));
        exchanges.flat_map(|(name, seen)| {
            let vhost = self.name();
            let begun = SeenRecord::Begun { vhost: Name::clone(vhost), exchange: Name::clone(name) };
            std::iter::once(begun).chain(seen.into_iter().map(|(id, until)| SeenRecord::Seen {
                vhost: Name::clone(vhost),
                exchange: Name::clone(name),
                id,
                until,
            }))
        })
    }
}
