//! What opening a message log found, for the operator and the caller.

use std::fmt;
use std::ops::Range;

use super::QueueKey;

/// What was in the folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The queues that the log knows, ascending. A deleted queue is not among them. Those that the caller does not know
    /// are to be deleted with [`super::Group::delete`].
    pub queues: Vec<RecoveredQueue>,
    /// How it was found.
    pub report: Report,
}

/// A queue that the log knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveredQueue {
    /// The queue.
    pub queue: QueueKey,
    /// The first live position; `next` if there is none.
    pub first: u64,
    /// Above every position ever seen for it: the first that may be given to a message. Without this, old settlements
    /// would hit new messages.
    pub next: u64,
    /// Live messages.
    pub messages: u64,
    /// Everything before was handed out at least once.
    pub delivered_before: u64,
}

/// In what state the folder was, and what was done about it. `Display` gives a line for each finding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// How many files with messages there were; 0 is the first start.
    pub files: usize,
    /// The end of the newest file that was cut off: a write the last run did not see the end of.
    pub torn_tail: Option<TornTail>,
    /// What could not be read: something may be lost that was synced. Raise an alarm.
    pub damaged: Vec<Damage>,
    /// Files that should be there and are not, with all their messages. Raise an alarm.
    pub missing: Vec<String>,
    /// Copies of the damaged files as they were found. Nothing ever removes them.
    pub kept_aside: Vec<String>,
    /// Files that the last run was giving back; cleaned up.
    pub leftovers: Vec<String>,
}

/// An unfinished write at the end of the newest file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub file: String,
    /// Where it began, in bytes.
    pub offset: u64,
    /// Complete records in it, behind an incomplete one. They were never synced.
    pub records: u64,
}

/// Bytes that should be records and are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where, in bytes. Empty where records are missing without a trace.
    pub range: Range<u64>,
    /// How many records were lost, if the numbers on both sides tell. 0 is a table that could be made again.
    pub records: Option<u64>,
}

impl Report {
    /// Whether something was damaged that had been synced. Worth an alarm, not only a line in the log.
    pub fn is_damaged(&self) -> bool {
        !self.damaged.is_empty() || !self.missing.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.files {
            0 => write!(formatter, "the message log is new")?,
            files => write!(formatter, "files with messages: {files}")?,
        }
        if let Some(TornTail { file, offset, records }) = &self.torn_tail {
            write!(formatter, "\nan unfinished write was cut off {file} at byte {offset}")?;
            if *records > 0 {
                write!(formatter, ", complete records in it: {records}")?;
            }
        }
        for Damage { file, range, records } in &self.damaged {
            write!(formatter, "\n{file} is damaged from byte {} to {}", range.start, range.end)?;
            match records {
                Some(records) => write!(formatter, ", records lost: {records}")?,
                None => write!(formatter, ", records lost: unknown")?,
            }
        }
        for file in &self.missing {
            write!(formatter, "\n{file} is missing")?;
        }
        for file in &self.kept_aside {
            write!(formatter, "\nthe file as it was found is kept as {file}")?;
        }
        for file in &self.leftovers {
            write!(formatter, "\n{file} was left by the last run and cleaned up")?;
        }
        Ok(())
    }
}
