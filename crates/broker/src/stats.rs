//! What is counted while the broker works.
//!
//! Numbers only grow, but for gauges, and say nothing of rates: whoever wants these looks twice. What a connection does is counted
//! by the connection's own task, once per batch, in counters that nobody else writes ([`ConnectionCounters`]); vhosts and the node
//! are sums over their connections, and over what those left behind that are gone. Queues count under their lock, exchanges once
//! per turn and route.

mod connection;
mod deaths;

use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use connection::VhostCounters;
pub use connection::{
    ConnectionCounters, Counters, KindCounters, KindCounts, PublishCounters, PublishCounts, SIZE_BOUNDS, SizeCounters,
    SizeCounts, TrafficCounters, TrafficCounts,
};
pub(crate) use deaths::DeathCounters;
pub use deaths::{DeathCounts, DeathStrategy, Deaths};

/// Makes a struct of numbers, which can be added.
macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

/// Makes a struct of numbers, and one of counters that has the same fields.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident, $counters:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $crate::stats::numbers! { $(#[$doc])* $name { $($(#[$field_doc])* $field,)* } }

        #[doc = concat!("The counters behind [`", stringify!($name), "`].")]
        #[derive(Debug, Default)]
        pub struct $counters {
            $($(#[$field_doc])* pub $field: $crate::stats::Counter,)*
        }

        impl $counters {
            /// The numbers as they are now. They are not of one moment.
            pub fn read(&self) -> $name {
                $name { $($field: self.$field.get(),)* }
            }
        }
    };
}

pub(crate) use {counters, numbers};

/// A number that one task writes and everybody may read. It costs its writer no more than a plain one.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts on. Only its one writer may.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Sets it. Only its one writer may.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

numbers! {
    /// What happened to messages, in RabbitMQ's words. Which of these mean something depends on what they are of.
    MessageStats {
        /// Published: by a channel or connection, routed or not; or put into a queue by clients.
        publish,
        /// Published to an exchange by clients.
        publish_in,
        /// Handed on to queues by an exchange that clients published to, once for each queue.
        publish_out,
        /// Confirmed to their publishers.
        confirm,
        /// Given back to their publishers, as no queue took them.
        return_unroutable,
        /// Dropped, as no queue took them.
        drop_unroutable,
        /// Delivered to consumers that settle them.
        deliver,
        /// Delivered to consumers that do not.
        deliver_no_ack,
        /// Taken by basic.get, to be settled.
        get,
        /// Taken by basic.get for good.
        get_no_ack,
        /// Answers to basic.get that nothing waits.
        get_empty,
        /// Of those delivered and taken: how many had been before.
        redeliver,
        /// Acknowledged. Those that are rejected do not count.
        ack,
    }
}

impl MessageStats {
    /// Delivered or taken, in whichever way.
    pub const fn deliver_get(&self) -> u64 {
        self.deliver + self.deliver_no_ack + self.get + self.get_no_ack
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Add for MessageStats {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for MessageStats {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

numbers! {
    /// What came and went on a node.
    Churn {
        /// Connections that got into a vhost.
        connections_opened,
        /// Those that ended.
        connections_closed,
        /// Channels opened,
        channels_opened,
        /// and closed.
        channels_closed,
        /// Declarations of queues, those included that were there.
        queues_declared,
        /// Queues created,
        queues_created,
        /// and deleted.
        queues_deleted,
    }
}

/// What went through an exchange. Every connection that publishes to it counts here, once per turn.
#[derive(Default)]
pub struct ExchangeCounters {
    publish_in: AtomicU64,
    publish_out: AtomicU64,
}

impl ExchangeCounters {
    /// Counts messages that clients published to the exchange, and those that it handed on, once for each queue.
    pub fn add(&self, publish_in: u64, publish_out: u64) {
        self.publish_in.fetch_add(publish_in, Ordering::Relaxed);
        if publish_out > 0 {
            self.publish_out.fetch_add(publish_out, Ordering::Relaxed);
        }
    }

    /// The numbers as they are now.
    pub fn read(&self) -> MessageStats {
        MessageStats {
            publish_in: self.publish_in.load(Ordering::Relaxed),
            publish_out: self.publish_out.load(Ordering::Relaxed),
            ..MessageStats::default()
        }
    }
}

impl fmt::Debug for ExchangeCounters {
    /// Without the numbers: every route of the exchange would show them again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeCounters").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_went_out_is_one_number() {
        let one = MessageStats { deliver: 1, deliver_no_ack: 2, get: 4, get_no_ack: 8, ..MessageStats::default() };
        let other = MessageStats { get_empty: 16, redeliver: 32, ack: 64, publish: 128, ..MessageStats::default() };
        assert_eq!([one, other].into_iter().sum::<MessageStats>().deliver_get(), 15);
        assert!(!other.is_empty() && MessageStats::default().is_empty());
    }

    #[test]
    fn an_exchange_counts_what_comes_in_and_what_goes_out() {
        let counters = ExchangeCounters::default();
        counters.add(2, 6);
        counters.add(1, 0);
        let expected = MessageStats { publish_in: 3, publish_out: 6, ..MessageStats::default() };
        assert_eq!(counters.read(), expected);
    }
}
