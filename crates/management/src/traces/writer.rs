//! From a tap to a file, by a thread of its own.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;

use leveret_broker::Name;
use leveret_broker::firehose;
use leveret_broker::node::Node;
use leveret_broker::tap::{Passing, Tap, Way};

use super::Spec;
use super::record::{Format, Record};

/// Octets of bodies that may wait to be written; messages beyond are left out.
const WAITING_MAX: usize = 8 * 1024 * 1024;
/// What a message counts besides its body.
const MESSAGE_COST: usize = 1024;
/// Octets that are written at once.
const BATCH: usize = 256 * 1024;

/// What waits, and what there was no room for.
#[derive(Debug, Default)]
struct Backlog {
    waiting: AtomicUsize,
    lost: AtomicU64,
}

/// The tap of a trace.
#[derive(Debug)]
pub(super) struct Writer {
    pattern: Box<[String]>,
    backlog: Arc<Backlog>,
    to: Sender<Record>,
}

impl Writer {
    /// Starts the thread that writes. It ends when the tap is gone.
    pub(super) fn start(file: File, spec: &Spec) -> io::Result<Self> {
        let (to, records) = channel();
        let backlog = Arc::<Backlog>::default();
        let (watched, name) = (Arc::downgrade(&backlog), spec.name.clone());
        let (format, max_payload) = (spec.format, spec.max_payload);
        let run = move || {
            if let Err(error) = write(&file, &records, &watched, format, max_payload) {
                tracing::error!("the trace '{name}' ends, as its file cannot be written: {error}");
            }
        };
        thread::Builder::new().name("leveret-trace".into()).spawn(run)?;
        let pattern = spec.pattern.split('.').map(str::to_owned).collect();
        Ok(Self { pattern, backlog, to })
    }
}

impl Tap for Writer {
    fn pass(&self, node: &Node, passing: &Passing<'_>) {
        let key = firehose::routing_key(passing);
        if !matches(&self.pattern, &key) {
            return;
        }
        let cost = passing.message.body().len() + MESSAGE_COST;
        if self.backlog.waiting.fetch_add(cost, Ordering::Relaxed) > WAITING_MAX {
            self.backlog.waiting.fetch_sub(cost, Ordering::Relaxed);
            self.backlog.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let queue = match passing.way {
            Way::Published { .. } => None,
            Way::Delivered { queue, .. } => Some(Name::from(queue)),
        };
        let (headers, message) = (firehose::headers(node, passing), passing.message.clone());
        // If the thread ended, the log says why.
        let _ = self.to.send(Record { at: node.now(), queue, headers, message });
    }
}

/// Writes what comes until nobody sends any more.
fn write(
    mut file: &File,
    records: &Receiver<Record>,
    backlog: &Weak<Backlog>,
    format: Format,
    max_payload: Option<usize>,
) -> io::Result<()> {
    let mut octets = Vec::new();
    while let Ok(first) = records.recv() {
        let mut done = 0;
        for record in std::iter::once(first).chain(records.try_iter()) {
            done += record.message.body().len() + MESSAGE_COST;
            record.write(format, max_payload, &mut octets);
            if octets.len() >= BATCH {
                break;
            }
        }
        file.write_all(&octets)?;
        octets.clear();
        if let Some(backlog) = backlog.upgrade() {
            backlog.waiting.fetch_sub(done, Ordering::Relaxed);
            let lost = backlog.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!("{lost} messages are missing in a trace, as the disk is slower than they come");
            }
        }
    }
    Ok(())
}

/// Whether a pattern of words, in which `*` is one and `#` any number of them, matches a key.
fn matches(pattern: &[String], key: &str) -> bool {
    let words: Vec<&str> = key.split('.').collect();
    // For each number of words: whether the pattern up to here matches so many of the first ones.
    let mut reached = vec![false; words.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for part in pattern {
        let mut next = vec![false; words.len() + 1];
        let mut any = false;
        for (at, slot) in next.iter_mut().enumerate() {
            let before = at.checked_sub(1);
            let was = |at: usize| reached.get(at).copied().unwrap_or_default();
            *slot = if part == "#" {
                any |= was(at);
                any
            } else {
                before.is_some_and(|before| was(before) && (part == "*" || words.get(before) == Some(&part.as_str())))
            };
        }
        reached = next;
    }
    reached.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_what_is_written() {
        for (pattern, key, expected) in [
            ("#", "publish.", true),
            ("publish.#", "publish.amq.direct", true),
            ("publish.#", "deliver.jobs", false),
            ("deliver.*", "deliver.jobs", true),
            ("deliver.*", "deliver.jobs.eu", false),
            ("*.jobs", "deliver.jobs", true),
            ("#.eu", "deliver.jobs.eu", true),
            ("#.#.eu.#", "deliver.jobs.eu", true),
            ("deliver", "deliver.jobs", false),
            ("publish.", "publish.", true),
        ] {
            let words: Vec<String> = pattern.split('.').map(str::to_owned).collect();
            assert_eq!(matches(&words, key), expected, "{pattern} {key}");
        }
    }
}
