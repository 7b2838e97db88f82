//! How many messages died of what.

use std::sync::atomic::{AtomicU64, Ordering};

use super::numbers;
use crate::properties::DeathReason;
use crate::queue::{DeadLetterStrategy, QueueKind};

numbers! {
    /// Messages that died, by what they died of.
    Deaths {
        /// Their time was up.
        expired,
        /// A consumer did not want them.
        rejected,
        /// There was no room for them.
        max_len,
        /// They were handed out in vain too often.
        delivery_limit,
    }
}

impl Deaths {
    /// Counts deaths.
    #[inline]
    pub const fn add(&mut self, reason: DeathReason, count: u64) {
        match reason {
            DeathReason::Expired => self.expired += count,
            DeathReason::Rejected => self.rejected += count,
            DeathReason::MaxLen => self.max_len += count,
            DeathReason::DeliveryLimit => self.delivery_limit += count,
        }
    }
}

/// What becomes of the messages that die in a queue, in RabbitMQ's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathStrategy {
    /// Nobody wants them.
    Disabled,
    /// They may be lost on their way.
    AtMostOnce,
    /// They stay until others have them.
    AtLeastOnce,
}

impl DeathStrategy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Disabled, Self::AtMostOnce, Self::AtLeastOnce];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::AtMostOnce => "at_most_once",
            Self::AtLeastOnce => "at_least_once",
        }
    }
}

impl From<Option<DeadLetterStrategy>> for DeathStrategy {
    fn from(strategy: Option<DeadLetterStrategy>) -> Self {
        match strategy {
            None => Self::Disabled,
            Some(DeadLetterStrategy::AtMostOnce) => Self::AtMostOnce,
            Some(DeadLetterStrategy::AtLeastOnce) => Self::AtLeastOnce,
        }
    }
}

/// Deaths in queues of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct OfKind {
    disabled: Deaths,
    at_most_once: Deaths,
    at_least_once: Deaths,
}

/// How many messages died on a node since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeathCounts {
    classic: OfKind,
    quorum: OfKind,
    /// Messages that stayed in their queue until all others had them, and those have.
    pub confirmed: u64,
}

impl DeathCounts {
    /// Deaths in queues of a kind with a strategy.
    pub const fn of(&self, kind: QueueKind, strategy: DeathStrategy) -> Deaths {
        let of_kind = match kind {
            QueueKind::Classic => &self.classic,
            QueueKind::Quorum => &self.quorum,
        };
        match strategy {
            DeathStrategy::Disabled => of_kind.disabled,
            DeathStrategy::AtMostOnce => of_kind.at_most_once,
            DeathStrategy::AtLeastOnce => of_kind.at_least_once,
        }
    }
}

/// Several queues count here.
#[derive(Debug, Default)]
struct SharedDeaths {
    expired: AtomicU64,
    rejected: AtomicU64,
    max_len: AtomicU64,
    delivery_limit: AtomicU64,
}

impl SharedDeaths {
    fn add(&self, deaths: Deaths) {
        let Deaths { expired, rejected, max_len, delivery_limit } = deaths;
        for (counter, count) in [
            (&self.expired, expired),
            (&self.rejected, rejected),
            (&self.max_len, max_len),
            (&self.delivery_limit, delivery_limit),
        ] {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    fn read(&self) -> Deaths {
        Deaths {
            expired: self.expired.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            max_len: self.max_len.load(Ordering::Relaxed),
            delivery_limit: self.delivery_limit.load(Ordering::Relaxed),
        }
    }
}

/// The counters behind [`DeathCounts`].
#[derive(Debug, Default)]
pub(crate) struct DeathCounters {
    classic: [SharedDeaths; 3],
    quorum: [SharedDeaths; 3],
    confirmed: AtomicU64,
}

impl DeathCounters {
    /// Counts deaths in a queue of a kind with a strategy.
    pub(crate) fn add(&self, kind: QueueKind, strategy: DeathStrategy, deaths: Deaths) {
        let [disabled, at_most_once, at_least_once] = match kind {
            QueueKind::Classic => &self.classic,
            QueueKind::Quorum => &self.quorum,
        };
        match strategy {
            DeathStrategy::Disabled => disabled.add(deaths),
            DeathStrategy::AtMostOnce => at_most_once.add(deaths),
            DeathStrategy::AtLeastOnce => at_least_once.add(deaths),
        }
    }

    /// Counts a message that all others have by now.
    pub(crate) fn confirm(&self) {
        self.confirmed.fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers as they are now.
    pub(crate) fn read(&self) -> DeathCounts {
        let of_kind = |[disabled, at_most_once, at_least_once]: &[SharedDeaths; 3]| OfKind {
            disabled: disabled.read(),
            at_most_once: at_most_once.read(),
            at_least_once: at_least_once.read(),
        };
        DeathCounts {
            classic: of_kind(&self.classic),
            quorum: of_kind(&self.quorum),
            confirmed: self.confirmed.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_count_by_kind_strategy_and_reason() {
        let counters = DeathCounters::default();
        let mut one = Deaths::default();
        one.add(DeathReason::Expired, 1);
        one.add(DeathReason::MaxLen, 2);
        let mut other = Deaths::default();
        other.add(DeathReason::Rejected, 3);
        other.add(DeathReason::DeliveryLimit, 4);
        counters.add(QueueKind::Classic, DeathStrategy::Disabled, one);
        counters.add(QueueKind::Quorum, DeathStrategy::AtLeastOnce, other);
        counters.add(QueueKind::Quorum, DeathStrategy::AtLeastOnce, other);
        counters.confirm();
        let counts = counters.read();
        let mut twice = other;
        twice += other;
        assert_eq!(counts.of(QueueKind::Classic, DeathStrategy::Disabled), one);
        assert_eq!(counts.of(QueueKind::Quorum, DeathStrategy::AtLeastOnce), twice);
        assert_eq!(counts.of(QueueKind::Classic, DeathStrategy::AtLeastOnce), Deaths::default());
        assert_eq!((counts.confirmed, twice.rejected, twice.delivery_limit), (1, 6, 8));
    }
}
