//! What the parts of a node count of themselves, for whoever watches it.

use std::time::Duration;

/// How values are spread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Bounds, ascending. A value counts for the first of them that it does not exceed.
    pub bounds: &'static [u64],
    /// How many values counted for each bound, and behind these those above all of them.
    pub counts: Vec<u64>,
    /// All values together.
    pub sum: u64,
}

impl Histogram {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What a log on disk has done since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFigures {
    /// What is in it: `messages`, `page_out` or `metadata`.
    pub name: &'static str,
    /// Bytes of what it was given: messages, or records of what was declared.
    pub given_bytes: u64,
    /// Bytes it has written, those included that say what is where, and copies that make room.
    pub written_bytes: u64,
    /// Messages, or records, it has written; a message in several queues counts once.
    pub written: u64,
    /// Messages, per queue, that were settled before they were written, and so never were.
    pub elided: u64,
    /// Messages copied so that a file with little in it could be given back.
    pub copied: u64,
    /// The bytes of each group that was written in one go.
    pub groups: Histogram,
    /// How long writing took in all, without syncing.
    pub write_time: Duration,
    /// How long each sync took, in microseconds.
    pub syncs: Histogram,
    /// What it takes on disk; none if it has but one file.
    pub space: Option<LogSpace>,
}

/// What a log takes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogSpace {
    /// Files with something in them.
    pub files: u64,
    /// Bytes of these, up to where they are written.
    pub used_bytes: u64,
    /// About how many of them belong to messages that are still wanted.
    pub live_bytes: u64,
    /// Messages that are still wanted; one in several queues counts in each.
    pub live: u64,
    /// How often a message was found damaged.
    pub damaged: u64,
}

/// What keeps messages, and how they come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageFigures {
    /// The logs.
    pub logs: Vec<LogFigures>,
    /// How often messages were read back.
    pub reads: u64,
    /// How many they were.
    pub read_messages: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// How long that took in all.
    pub read_time: Duration,
    /// Bytes of messages in memory.
    pub memory: u64,
    /// Whether the disk is full, so that publishers of persistent messages wait.
    pub is_full: bool,
}

/// What the parts of a node count of themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// What is on disk; none while the broker is stopped.
    pub storage: Option<StorageFigures>,
    /// The time that threads have worked, by their names. Threads of the same name are one.
    pub threads: Vec<(String, Duration)>,
}
