//! The threads that write: one for the message log, one for the page-out area.
//!
//! A thread takes everything that is pending, writes it in one go, and tells the queues how far it is. While it writes,
//! the next group gathers; a message that is settled while it waits is never written. The log is synced when somebody
//! waits for it, once for all who do.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use leveret_broker::journal::{Journal, JournalPosition};
use leveret_storage::messages::{Failure, Group, MessageLog, WriteError};
use parking_lot::MutexGuard;

use super::{FULL_RETRY, Pending, Shared, Side, Stored};
use crate::config::SyncMode;
use crate::metadata::MetadataJournal;

/// Octets of messages that are written without waiting for more.
pub(super) const GATHERED_MAX: usize = 1024 * 1024;
/// How long a group gathers that nobody waits for.
const GATHER: Duration = Duration::from_millis(3);
/// How long what nobody waits for may stay unsynced.
const LAZY_SYNC: Duration = Duration::from_millis(200);
/// Pause between looks whether the metadata log has caught up.
const JOURNAL_POLL: Duration = Duration::from_millis(1);

/// Writes the message log until it is told to stop.
pub(super) fn run_log(shared: &Shared, log: MessageLog, sync: SyncMode, journal: &MetadataJournal) {
    Writer::new(shared, &shared.log, log, sync, Some(journal)).run();
}

/// Writes the page-out area until it is told to stop.
pub(super) fn run_page_out(shared: &Shared, log: MessageLog) {
    Writer::new(shared, &shared.page_out, log, SyncMode::Os, None).run();
}

struct Writer<'a> {
    shared: &'a Shared,
    side: &'a Side,
    log: MessageLog,
    sync: SyncMode,
    /// The journal that has to be synced before messages count as being so; none for the page-out area.
    journal: Option<&'a MetadataJournal>,
    /// What is being written. On a full disk it keeps what did not fit.
    group: Group<Stored>,
    /// Everything up to this position was taken into `group`.
    position: u64,
    /// Since when something written has not been synced.
    unsynced_since: Option<Instant>,
    /// Positions that are synced, with the position of the journal that has to be as well.
    unreleased: VecDeque<(u64, JournalPosition)>,
    is_full: bool,
}

/// What there is to do.
enum Work {
    /// Something is to be written, or there is time for it.
    Write,
    /// It is time to sync.
    Sync,
    /// What is synced may count as such by now.
    Release,
    /// Everything is done, and nothing more will come.
    Stop,
}

impl<'a> Writer<'a> {
    fn new(
        shared: &'a Shared,
        side: &'a Side,
        log: MessageLog,
        sync: SyncMode,
        journal: Option<&'a MetadataJournal>,
    ) -> Self {
        Self {
            shared,
            side,
            log,
            sync,
            journal,
            group: Group::new(),
            position: 0,
            unsynced_since: None,
            unreleased: VecDeque::new(),
            is_full: false,
        }
    }

    fn run(mut self) {
        let Err(failure) = self.work() else {
            if let Err(error) = self.log.close() {
                tracing::error!("{error}");
            }
            return;
        };
        if self.journal.is_some() {
            tracing::error!(
                "{failure}; no persistent message is taken until the broker is started again, which brings back all that \
                 was confirmed"
            );
            self.shared.set_failed();
        } else {
            tracing::error!("memory cannot be relieved any more: {failure}");
            self.shared.memory.keep_all();
        }
        self.side.fail();
        // Queues go on handing things over, which must not gather.
        while !self.discard() {}
    }

    fn work(&mut self) -> Result<(), Failure> {
        loop {
            match self.next() {
                Work::Write => self.write()?,
                Work::Sync => self.sync()?,
                Work::Release => {}
                Work::Stop => return Ok(()),
            }
            self.release()?;
            self.maintain()?;
        }
    }

    /// Drops what is pending, once there is something; says whether nothing more will come.
    fn discard(&self) -> bool {
        let mut pending = self.side.pending.lock();
        if !pending.is_stopping {
            pending.is_idle = true;
            self.side.changed.wait(&mut pending);
        }
        pending.group.clear();
        pending.is_stopping
    }

    /// Waits for something to do.
    fn next(&mut self) -> Work {
        let mut pending = self.side.pending.lock();
        let mut gathering_since = None;
        loop {
            let is_waited_for = self.is_waited_for(&pending);
            if pending.group.is_empty() && !self.is_full {
                let is_unsynced = self.unsynced_since.is_some();
                if self.sync_is_due() || (is_unsynced && is_waited_for && self.sync == SyncMode::Commit) {
                    return Work::Sync;
                }
                if pending.is_stopping {
                    return if is_unsynced && self.sync != SyncMode::Os { Work::Sync } else { Work::Stop };
                }
                pending.is_idle = true;
                self.pause(&mut pending);
                if !self.unreleased.is_empty() {
                    return Work::Release;
                }
                continue;
            }
            if self.is_full && pending.group.is_empty() {
                if pending.is_stopping {
                    tracing::warn!("the disk is still full: messages that were never confirmed are lost");
                    return Work::Stop;
                }
                // Whatever comes may free space, and is worth another try.
                pending.is_idle = true;
                self.side.changed.wait_for(&mut pending, FULL_RETRY);
                break;
            }
            if pending.is_stopping || is_waited_for || pending.group.octets() >= GATHERED_MAX {
                break;
            }
            let since = *gathering_since.get_or_insert_with(Instant::now);
            if self.side.changed.wait_until(&mut pending, since + GATHER).timed_out() {
                break;
            }
        }
        pending.is_idle = false;
        self.side.counters.given_bytes.add(pending.group.octets() as u64);
        self.position = pending.position;
        pending.position += 1;
        if self.group.is_empty() {
            std::mem::swap(&mut self.group, &mut pending.group);
        } else {
            self.group.append(&mut pending.group);
        }
        Work::Write
    }

    fn is_waited_for(&self, pending: &Pending) -> bool {
        !pending.waiting.is_empty() && self.unreleased.is_empty()
    }

    fn sync_is_due(&self) -> bool {
        let allowed = match self.sync {
            SyncMode::Commit => LAZY_SYNC,
            SyncMode::Interval(interval) => interval,
            SyncMode::Os => return false,
        };
        self.unsynced_since.is_some_and(|since| since.elapsed() >= allowed)
    }

    /// Sleeps until something is put in, or something else is due.
    fn pause(&self, pending: &mut MutexGuard<'_, Pending>) {
        let sync_due = match self.sync {
            SyncMode::Commit => self.unsynced_since.map(|since| since + LAZY_SYNC),
            SyncMode::Interval(interval) => self.unsynced_since.map(|since| since + interval),
            SyncMode::Os => None,
        };
        let poll = if self.log.is_owing() { FULL_RETRY } else { JOURNAL_POLL };
        let journal_due = (!self.unreleased.is_empty()).then(|| Instant::now() + poll);
        match sync_due.into_iter().chain(journal_due).min() {
            Some(due) => {
                self.side.changed.wait_until(pending, due);
            }
            None => self.side.changed.wait(pending),
        }
    }

    fn write(&mut self) -> Result<(), Failure> {
        let journaled = self.journal.map_or(JournalPosition(0), Journal::last);
        let began = Instant::now();
        let written = self.log.write(&mut self.group);
        let counters = &self.side.counters;
        counters.wrote_since(began);
        counters.written_bytes.set(self.log.total_written());
        match written {
            Ok(wrote) => {
                counters.groups.record(wrote.bytes);
                counters.written.add(wrote.messages as u64);
                counters.elided.add(wrote.elided as u64);
                self.group.clear();
                if wrote.bytes > 0 {
                    self.unsynced_since.get_or_insert_with(Instant::now);
                }
                self.set_full(false);
            }
            Err(WriteError::Full) => {
                self.set_full(true);
                // What settles messages was taken, and may free space. And who waits for what was written before need not
                // wait for space.
                let written = self.side.written.load(Ordering::Acquire);
                self.sync_log()?;
                self.release_with(written, journaled);
                return Ok(());
            }
            Err(WriteError::Failed(failure)) => return Err(failure),
            Err(error @ WriteError::TooLarge { .. }) => return Err(Failure { failure: error.to_string() }),
        }
        self.side.written.store(self.position, Ordering::Release);
        let is_waited_for = self.is_waited_for(&self.side.pending.lock());
        match self.sync {
            SyncMode::Commit if is_waited_for => return self.sync(),
            SyncMode::Commit if self.unsynced_since.is_some() && !self.sync_is_due() => return Ok(()),
            SyncMode::Commit => return self.sync(),
            SyncMode::Interval(_) if self.sync_is_due() => self.sync()?,
            SyncMode::Interval(_) | SyncMode::Os => {}
        }
        self.release_with(self.position, journaled);
        Ok(())
    }

    /// What was taken up to a position counts as synced once the journal is as far as this.
    fn release_with(&mut self, position: u64, journaled: JournalPosition) {
        match self.unreleased.back_mut() {
            Some((last, same)) if *same == journaled => *last = position,
            _ => self.unreleased.push_back((position, journaled)),
        }
    }

    /// The disk is full, or is not any more.
    fn set_full(&mut self, is_full: bool) {
        if self.is_full == is_full {
            return;
        }
        self.is_full = is_full;
        match (self.journal.is_some(), is_full) {
            (true, true) => {
                tracing::error!(
                    "the disk is full: publishers of persistent messages have to wait until there is space"
                );
            }
            (true, false) => tracing::warn!("there is space on the disk again, and messages are taken"),
            (false, true) => tracing::error!("the disk is full: nothing more can leave memory until there is space"),
            (false, false) => tracing::warn!("there is space on the disk again, and memory is relieved"),
        }
        if self.journal.is_some() {
            self.shared.set_full(is_full);
        }
    }

    fn sync(&mut self) -> Result<(), Failure> {
        // What was declared before these messages came has to be there if they are.
        let journaled = self.journal.map_or(JournalPosition(0), Journal::last);
        if self.unsynced_since.is_some() {
            self.sync_log()?;
        }
        self.release_with(self.position, journaled);
        Ok(())
    }

    /// Syncs. Whatever goes wrong is final: nothing may count as synced that is not.
    fn sync_log(&mut self) -> Result<(), Failure> {
        self.unsynced_since = None;
        let began = Instant::now();
        let synced = self.log.sync();
        self.side.counters.synced_since(began);
        synced.map_err(|error| match error {
            WriteError::Failed(failure) => failure,
            other => Failure { failure: other.to_string() },
        })
    }

    /// Tells those who wait for what is on disk by now.
    fn release(&mut self) -> Result<(), Failure> {
        let Some(journal) = self.journal else {
            if let Some((position, _)) = self.unreleased.drain(..).next_back() {
                self.side.release(position);
            }
            return Ok(());
        };
        if self.log.is_owing() {
            // Settlements that the full disk did not take are in memory only.
            return Ok(());
        }
        let mut released = None;
        while let Some((position, journaled)) = self.unreleased.front()
            && journal.is_synced(*journaled)
        {
            released = Some(*position);
            self.unreleased.pop_front();
        }
        if !self.unreleased.is_empty() && journal.has_failed() {
            return Err(Failure { failure: "the metadata log failed".into() });
        }
        let Some(position) = released else { return Ok(()) };
        self.side.release(position);
        Ok(())
    }

    /// Gives space back, unless there is something more urgent.
    fn maintain(&mut self) -> Result<(), Failure> {
        let maintained = self.maintain_while_idle();
        // What was copied was written, too.
        self.side.counters.written_bytes.set(self.log.total_written());
        self.side.counters.copied.set(self.log.copied());
        maintained
    }

    fn maintain_while_idle(&mut self) -> Result<(), Failure> {
        loop {
            match self.log.maintain() {
                Ok(true) => {}
                Ok(false) | Err(WriteError::Full | WriteError::TooLarge { .. }) => return Ok(()),
                Err(WriteError::Failed(failure)) => return Err(failure),
            }
            if !self.side.pending.lock().group.is_empty() {
                return Ok(());
            }
        }
    }
}
