//! The last records, for who asks for them, and those who want to see every one from now on.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use super::format::Formatter;
use super::record::Record;

/// Octets of records that are kept in memory.
const KEPT: usize = 256 * 1024;
/// Records that may wait for somebody who follows the log; who is slower misses some.
const WAITING_MAX: usize = 4096;

/// The last records.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    records: VecDeque<(usize, Arc<Record>)>,
    octets: usize,
    followers: Vec<Sender<Arc<Record>>>,
}

impl Recent {
    pub(super) fn push(&self, record: &Arc<Record>, octets: usize) {
        let mut state = self.0.lock();
        state.followers.retain(|follower| match follower.try_send(Arc::clone(record)) {
            Ok(()) | Err(TrySendError::Full(_)) => true,
            Err(TrySendError::Closed(_)) => false,
        });
        state.records.push_back((octets, Arc::clone(record)));
        state.octets += octets;
        while state.octets > KEPT
            && let Some((octets, _)) = state.records.pop_front()
        {
            state.octets -= octets;
        }
    }

    /// The last lines, as many as asked for and as are there.
    pub(super) fn tail(&self, lines: usize, formatter: &Formatter) -> Vec<String> {
        let records: Vec<_> =
            self.0.lock().records.iter().rev().take(lines).map(|(_, record)| Arc::clone(record)).collect();
        let mut text = String::new();
        for record in records.into_iter().rev() {
            formatter.write(&record, &mut text);
        }
        let found: Vec<_> = text.lines().collect();
        let from = found.len().saturating_sub(lines);
        found.into_iter().skip(from).map(str::to_owned).collect()
    }

    pub(super) fn follow(&self, formatter: Formatter) -> Follower {
        let (sender, receiver) = channel(WAITING_MAX);
        self.0.lock().followers.push(sender);
        Follower { receiver, formatter }
    }
}

/// Somebody who sees every record from now on.
#[derive(Debug)]
pub struct Follower {
    receiver: Receiver<Arc<Record>>,
    formatter: Formatter,
}

impl Follower {
    /// The next record, with the end of its last line. `None` once there is no log any more.
    pub async fn next(&mut self) -> Option<String> {
        self.receiver.recv().await.map(|record| self.text(&record))
    }

    /// The same for who is in no task, and may wait.
    pub fn blocking_next(&mut self) -> Option<String> {
        self.receiver.blocking_recv().map(|record| self.text(&record))
    }

    fn text(&self, record: &Record) -> String {
        let mut text = String::new();
        self.formatter.write(record, &mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::config::log::LogFormatter;
    use crate::logging::Severity;

    fn formatter() -> Formatter {
        Formatter::new(&LogFormatter { text: "$msg".into(), ..LogFormatter::default() })
    }

    fn push(recent: &Recent, text: &str) {
        let mut record = Record::own(Severity::Info, SystemTime::now(), text.to_owned());
        record.lines.extend(text.strip_prefix("two").map(str::to_owned));
        let octets = record.octets();
        recent.push(&Arc::new(record), octets);
    }

    #[test]
    fn the_last_lines_are_at_hand() {
        let recent = Recent::default();
        for text in ["a", "b", "two lines", "c"] {
            push(&recent, text);
        }
        for (lines, expected) in [
            (0, &[][..]),
            (1, &["c"]),
            (3, &["two lines", " lines", "c"]),
            (9, &["a", "b", "two lines", " lines", "c"]),
        ] {
            assert_eq!(recent.tail(lines, &formatter()), expected, "{lines}");
        }
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let recent = Recent::default();
        let long = "x".repeat(1000);
        for _ in 0..10_000 {
            push(&recent, &long);
        }
        let octets: usize = recent.tail(10_000, &formatter()).iter().map(String::len).sum();
        assert!((KEPT / 2..=KEPT).contains(&octets), "{octets}");
    }

    #[test]
    fn who_follows_sees_what_comes_and_may_leave() {
        let recent = Recent::default();
        push(&recent, "before");
        let mut follower = recent.follow(formatter());
        let gone = recent.follow(formatter());
        drop(gone);
        push(&recent, "one");
        push(&recent, "two");
        assert_eq!(follower.blocking_next().as_deref(), Some("one\n"));
        assert_eq!(follower.blocking_next().as_deref(), Some("two\n\n"));
        assert_eq!(recent.0.lock().followers.len(), 1);
        drop(recent);
        assert_eq!(follower.blocking_next(), None);
    }
}
