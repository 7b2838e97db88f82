//! How many tried to log in, and what is said of it in the log.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use leveret_broker::Name;
use leveret_broker::access::LoginAttempt;
use parking_lot::Mutex;

/// Sources that are counted; the others are one.
const SOURCES_MAX: usize = 10_000;

/// Octets of a name that are kept of a source, and shown of what a client sends.
const SHOWN_MAX: usize = 255;

/// Whether it is counted who tried to log in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceTracking {
    /// Only by protocol.
    #[default]
    Off,
    /// By address and user, too.
    On,
}

/// How many tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub attempts: u64,
    /// Those that got in.
    pub succeeded: u64,
    /// Those that did not.
    pub failed: u64,
}

/// Where attempts come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// The machine; none for those that were too many to keep apart.
    pub address: Option<IpAddr>,
    /// As whom; empty for those that were too many to keep apart.
    pub user: Name,
    /// The protocol.
    pub protocol: &'static str,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// Somebody got in.
    Succeeded {
        /// The name it has now.
        user: &'a str,
        /// Who let it in.
        backend: &'a str,
    },
    /// Nobody did.
    Failed {
        /// Who says so, if one does.
        backend: &'a str,
        /// Why not.
        reason: &'a str,
    },
}

/// The counts of a node.
#[derive(Debug, Default)]
pub struct Attempts {
    by_source: AtomicBool,
    counts: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    by_protocol: BTreeMap<&'static str, Counts>,
    by_source: HashMap<Source, Counts>,
}

impl Attempts {
    pub(crate) fn new(tracking: SourceTracking) -> Self {
        Self { by_source: AtomicBool::new(tracking == SourceTracking::On), counts: Mutex::default() }
    }

    /// Whether sources are counted from now on. What was counted of them is forgotten when they are not.
    pub fn track(&self, tracking: SourceTracking) {
        let mut counts = self.counts.lock();
        self.by_source.store(tracking == SourceTracking::On, Ordering::Relaxed);
        if tracking == SourceTracking::Off {
            counts.by_source.clear();
        }
    }

    /// The counts by protocol.
    pub fn by_protocol(&self) -> Vec<(&'static str, Counts)> {
        self.counts.lock().by_protocol.iter().map(|(protocol, counts)| (*protocol, *counts)).collect()
    }

    /// The counts by source, in order; none without [`SourceTracking::On`].
    pub fn by_source(&self) -> Vec<(Source, Counts)> {
        let mut sources: Vec<_> =
            self.counts.lock().by_source.iter().map(|(source, counts)| (source.clone(), *counts)).collect();
        sources.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        sources
    }

    /// Counts from zero again.
    pub fn reset(&self) {
        *self.counts.lock() = Counted::default();
    }

    /// Counts an attempt and logs it.
    pub(crate) fn record(&self, attempt: &LoginAttempt, verdict: Verdict<'_>) {
        log(attempt, verdict);
        let mut counts = self.counts.lock();
        counts.by_protocol.entry(attempt.protocol).or_default().add(verdict);
        if !self.by_source.load(Ordering::Relaxed) {
            return;
        }
        let source = Source {
            address: Some(attempt.peer.address.ip().to_canonical()),
            user: shown(&attempt.name).into(),
            protocol: attempt.protocol,
        };
        let is_known = counts.by_source.contains_key(&source);
        let source = if is_known || counts.by_source.len() < SOURCES_MAX {
            source
        } else {
            Source { address: None, user: "".into(), protocol: attempt.protocol }
        };
        counts.by_source.entry(source).or_default().add(verdict);
    }
}

impl Counts {
    const fn add(&mut self, verdict: Verdict<'_>) {
        self.attempts += 1;
        match verdict {
            Verdict::Succeeded { .. } => self.succeeded += 1,
            Verdict::Failed { .. } => self.failed += 1,
        }
    }
}

/// Names are in quotes and what is not to be printed in them is written out: whoever tries to log in must not write lines of
/// its own into the log.
fn log(attempt: &LoginAttempt, verdict: Verdict<'_>) {
    let LoginAttempt { name, secret: _, peer, mechanism, protocol } = attempt;
    let (name, peer) = (shown(name), peer.address);
    match verdict {
        Verdict::Succeeded { user, backend } => {
            tracing::debug!(target: "authentication", user, %peer, mechanism, protocol, backend, "authenticated");
        }
        Verdict::Failed { backend, reason } => {
            // Whoever was asked to let somebody in says so with more about the connection.
            tracing::debug!(target: "authentication", user = name, %peer, mechanism, protocol, backend, reason, "login refused");
        }
    }
}

/// As much of a text as is worth keeping.
fn shown(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN_MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use leveret_broker::access::{Peer, Secret};

    use super::*;

    const SUCCEEDED: Verdict<'static> = Verdict::Succeeded { user: "u", backend: "b" };
    const FAILED: Verdict<'static> = Verdict::Failed { backend: "b", reason: "r" };

    fn attempt(name: &str, address: &str, protocol: &'static str) -> LoginAttempt {
        LoginAttempt {
            name: name.into(),
            secret: Some(Secret::new(b"swordfish")),
            peer: Peer::plain(address.parse().unwrap()),
            mechanism: "PLAIN",
            protocol,
        }
    }

    #[test]
    fn attempts_are_counted_by_protocol_and_source() {
        for tracking in [SourceTracking::Off, SourceTracking::On] {
            let attempts = Attempts::new(tracking);
            for (name, address, protocol, verdict) in [
                ("alice", "192.0.2.1:1", "amqp091", SUCCEEDED),
                ("alice", "192.0.2.1:2", "amqp091", FAILED),
                ("alice", "[::ffff:192.0.2.1]:3", "amqp091", FAILED),
                ("bob", "192.0.2.1:4", "mqtt", FAILED),
            ] {
                attempts.record(&attempt(name, address, protocol), verdict);
            }
            let amqp091 = Counts { attempts: 3, succeeded: 1, failed: 2 };
            let mqtt = Counts { attempts: 1, succeeded: 0, failed: 1 };
            assert_eq!(attempts.by_protocol(), [("amqp091", amqp091), ("mqtt", mqtt)]);
            let sources: Vec<_> =
                attempts.by_source().into_iter().map(|(source, counts)| (source.user, counts)).collect();
            match tracking {
                SourceTracking::Off => assert!(sources.is_empty()),
                SourceTracking::On => assert_eq!(sources, [("alice".into(), amqp091), ("bob".into(), mqtt)]),
            }
            attempts.track(SourceTracking::Off);
            assert!(attempts.by_source().is_empty());
            attempts.reset();
            assert!(attempts.by_protocol().is_empty() && attempts.by_source().is_empty());
        }
    }

    #[test]
    fn sources_beyond_those_that_are_kept_apart_are_one() {
        let attempts = Attempts::new(SourceTracking::On);
        for number in 0..SOURCES_MAX + 3 {
            attempts.record(&attempt(&number.to_string(), "192.0.2.1:1", "amqp091"), FAILED);
        }
        let sources = attempts.by_source();
        assert_eq!(sources.len(), SOURCES_MAX + 1);
        let (source, counts) = sources.first().unwrap();
        assert_eq!((source.address, counts.attempts), (None, 3));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        for (text, expected) in [("a".repeat(255), 255), ("a".repeat(256), 255), ("ö".repeat(200), 254)] {
            assert_eq!(shown(&text).len(), expected);
        }
    }
}
