//! Exchanges that hold messages back, and the numbers under which the store knows what they hold.
//!
//! The number is given when an exchange first has a reason to hold messages back and stays until the exchange goes, whatever
//! becomes of the reason: what is held back then is still routed when it is due.

use super::{QueueId, Record, Topology, Vhost};
use crate::Name;
use crate::delay::DelayInfo;
use crate::error::Error;
use crate::exchange::Exchange;

impl Topology {
    /// Gives every exchange that has come to hold messages back a number.
    pub fn number_delays(&mut self) {
        let mut vhosts: Vec<Name> = self.vhosts.keys().cloned().collect();
        vhosts.sort_unstable();
        for vhost in vhosts {
            self.number_delays_in(&vhost);
        }
    }

    pub(super) fn number_delays_in(&mut self, vhost: &Name) {
        if self.is_restoring {
            return;
        }
        let Some(vhost) = self.vhosts.get(vhost) else { return };
        let without = |exchange: &&Exchange| exchange.wants_delay() && exchange.delay().is_none();
        let mut names: Vec<Name> =
            vhost.exchanges().filter(without).map(|exchange| Name::clone(exchange.name())).collect();
        names.sort_unstable();
        let vhost = Name::clone(vhost.name());
        for name in names {
            self.number_delay(&vhost, &name);
        }
    }

    /// Gives an exchange a number if it needs one.
    pub(super) fn number_delay(&mut self, vhost: &Name, name: &str) {
        let id = QueueId(self.next_queue);
        let Some(exchange) = self.vhosts.get_mut(vhost).and_then(|vhost| vhost.exchanges.get_mut(name)) else { return };
        if !exchange.wants_delay() || exchange.delay().is_some() || self.is_restoring {
            return;
        }
        exchange.set_delay(id);
        let (exchange, durable) = (Name::clone(exchange.name()), exchange.durable());
        self.next_queue += 1;
        if durable {
            self.records.push(Record::DelayNumbered {
                vhost: Name::clone(vhost),
                exchange: Name::clone(&exchange),
                id,
            });
        }
        self.numbered_delays.push(DelayInfo { id, vhost: Name::clone(vhost), exchange, durable });
    }

    /// Makes true again what a record says.
    pub(super) fn restore_delay(&mut self, vhost: &Name, name: &str, id: QueueId) -> Result<(), Error> {
        let vhost = self.vhost_mut(vhost)?;
        vhost.exchange(name)?;
        if let Some(exchange) = vhost.exchanges.get_mut(name) {
            exchange.set_delay(id);
        }
        self.next_queue = self.next_queue.max(id.0.saturating_add(1));
        Ok(())
    }

    /// Takes the exchanges that were given a number since the last call.
    pub(crate) fn take_numbered_delays(&mut self) -> Vec<DelayInfo> {
        std::mem::take(&mut self.numbered_delays)
    }

    /// All exchanges with a number, in no particular order.
    pub fn delays(&self) -> impl Iterator<Item = DelayInfo> {
        self.vhosts().flat_map(Vhost::delays)
    }
}

impl Vhost {
    fn delays(&self) -> impl Iterator<Item = DelayInfo> {
        self.exchanges().filter_map(|exchange| {
            Some(DelayInfo {
                id: exchange.delay()?,
                vhost: Name::clone(&self.name),
                exchange: Name::clone(exchange.name()),
                durable: exchange.durable(),
            })
        })
    }
}
