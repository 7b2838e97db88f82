//! Parts of the broker that operators switch on and off.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;
use crate::exchange::ExchangeKind;

/// A part of the broker that can be switched. What is there of it already goes on when it is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Exchanges of the type `x-consistent-hash`.
    ConsistentHash,
    /// Exchanges of the type `x-modulus-hash`.
    ModulusHash,
    /// Exchanges of the type `x-random`.
    Random,
    /// Exchanges of the type `x-recent-history`.
    RecentHistory,
    /// Exchanges of the type `x-message-deduplication`.
    Deduplication,
    /// Exchanges of the type `x-delayed-message`.
    Delayed,
    /// Logging in with the certificate of a TLS connection.
    External,
    /// Serving clients. It is off while the node is under maintenance, for those who ask; it keeps nobody out.
    Service,
}

/// Whether a part can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// It can.
    On,
    /// It cannot.
    Off,
}

/// Which parts can be used; all of them, until somebody says otherwise.
///
/// Read where things are declared and where clients log in, and nowhere on the way of a message.
#[derive(Debug, Default)]
pub struct Switches {
    /// A bit for each part that is off.
    off: AtomicU32,
}

impl Switches {
    /// Whether a part can be used.
    pub fn is_on(&self, part: Part) -> bool {
        self.off.load(Ordering::Relaxed) & part.bit() == 0
    }

    /// Switches a part on or off.
    pub fn set(&self, part: Part, switch: Switch) {
        match switch {
            Switch::On => self.off.fetch_and(!part.bit(), Ordering::Relaxed),
            Switch::Off => self.off.fetch_or(part.bit(), Ordering::Relaxed),
        };
    }

    /// The type of exchange of that name, for one that is to be declared.
    pub fn exchange_kind(&self, name: &str) -> Result<ExchangeKind, Error> {
        let kind = ExchangeKind::parse(name)?;
        match kind.part() {
            Some(part) if !self.is_on(part) => Err(Error::UnknownExchangeType { kind: name.into() }),
            Some(_) | None => Ok(kind),
        }
    }
}

impl Part {
    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl ExchangeKind {
    /// What has to be on for exchanges of this type to be declared.
    const fn part(self) -> Option<Part> {
        match self {
            Self::ConsistentHash => Some(Part::ConsistentHash),
            Self::ModulusHash => Some(Part::ModulusHash),
            Self::Random => Some(Part::Random),
            Self::RecentHistory => Some(Part::RecentHistory),
            Self::Deduplication => Some(Part::Deduplication),
            Self::Delayed => Some(Part::Delayed),
            Self::Direct | Self::Fanout | Self::Topic | Self::Headers | Self::LocalRandom => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_off_takes_its_type_of_exchange_with_it() {
        for (part, name) in [
            (Part::ConsistentHash, "x-consistent-hash"),
            (Part::ModulusHash, "x-modulus-hash"),
            (Part::Random, "x-random"),
            (Part::RecentHistory, "x-recent-history"),
            (Part::Deduplication, "x-message-deduplication"),
            (Part::Delayed, "x-delayed-message"),
        ] {
            let switches = Switches::default();
            assert!(switches.exchange_kind(name).is_ok(), "{name}");
            switches.set(part, Switch::Off);
            assert_eq!(
                switches.exchange_kind(name),
                ExchangeKind::parse("no such type").map_err(|_| { Error::UnknownExchangeType { kind: name.into() } })
            );
            let others = ExchangeKind::ALL.iter().filter(|kind| kind.as_str() != name);
            for other in others {
                assert_eq!(switches.exchange_kind(other.as_str()), Ok(*other), "{name} is off");
            }
            assert!(switches.is_on(Part::External));
            switches.set(part, Switch::On);
            assert!(switches.exchange_kind(name).is_ok(), "{name} again");
        }
    }
}
