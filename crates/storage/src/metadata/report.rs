//! What opening a metadata log found, for the operator and the caller.

use std::fmt;
use std::ops::Range;

/// What was in the folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The payloads of the snapshot, then those of the changes since, in the order they were given.
    pub records: Vec<Vec<u8>>,
    /// How it was found.
    pub report: Report,
}

/// In what state the folder was, and what was done about it. `Display` gives a line for each finding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The file the records are from; empty if there was none, which is the first start.
    pub file: Option<String>,
    /// The file that is written to from now on. Another one than `file` if that was damaged.
    pub file_in_use: String,
    /// The end of the file that was cut off: a write the last run did not see the end of.
    pub torn_tail: Option<TornTail>,
    /// What could not be read in the middle of the file: something is lost that was committed. Raise an alarm.
    pub damaged: Vec<DamagedRange>,
    /// Copies of the damaged files as they were found. Nothing ever removes them.
    pub kept_aside: Vec<String>,
    /// Files that a crash had left and that held nothing of value; removed.
    pub leftovers_removed: Vec<String>,
}

/// An unfinished write at the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TornTail {
    /// Where it began, in bytes.
    pub offset: u64,
    /// How long it was.
    pub bytes: u64,
    /// Complete records in it, behind an incomplete one. They were never committed, unless the disk damaged the last
    /// commit of all; that cannot be told apart, so then the file is kept aside.
    pub records: u64,
}

/// Bytes that should be records and are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedRange {
    /// The file.
    pub file: String,
    /// Where, in bytes. Empty where records are missing without a trace.
    pub range: Range<u64>,
    /// How many records were lost, if the numbers on both sides tell.
    pub records: Option<u64>,
}

impl Report {
    /// Whether something was damaged that had been committed. Worth an alarm, not only a line in the log.
    ///
    /// Not so a torn tail with complete records in it: most likely that is a power cut's doing. It is kept aside to be on
    /// the safe side.
    pub fn is_damaged(&self) -> bool {
        !self.damaged.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            None => write!(formatter, "{} is new", self.file_in_use)?,
            Some(file) if *file == self.file_in_use => write!(formatter, "{file} is in use")?,
            Some(file) => write!(formatter, "{} is in use, in place of {file}", self.file_in_use)?,
        }
        if let Some(tail) = &self.torn_tail {
            write!(formatter, "\nan unfinished write was cut off at byte {}: {} bytes", tail.offset, tail.bytes)?;
            if tail.records > 0 {
                write!(formatter, ", complete records in it: {}", tail.records)?;
            }
        }
        for DamagedRange { file, range, records } in &self.damaged {
            write!(formatter, "\n{file} is damaged from byte {} to {}", range.start, range.end)?;
            match records {
                Some(records) => write!(formatter, ", records lost: {records}")?,
                None => write!(formatter, ", records lost: unknown")?,
            }
        }
        for file in &self.kept_aside {
            write!(formatter, "\nthe file as it was found is kept as {file}")?;
        }
        for file in &self.leftovers_removed {
            write!(formatter, "\n{file} was left by a crash and removed")?;
        }
        Ok(())
    }
}
