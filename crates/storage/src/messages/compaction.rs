//! Copying what is left of files with little in them, so that they can be given back.

use std::collections::{BTreeMap, BTreeSet};

use super::QueueKey;
use super::active::{Purpose, message_cost, prefix_bytes, reference_cost};
use super::format::{MESSAGE, Ranges, put_number, references};
use super::log::{MessageLog, Trouble, failed};
use super::reader::Place;
use super::state::{File, State};
use super::write::Written;

/// So much is copied per call, in bytes, and a message more.
const STEP_BYTES: usize = 1 << 20;

/// So many calls without a write between them are idleness.
const IDLE_CALLS: u32 = 8;

/// A message is looked for at so many places at once.
const BATCH: usize = 256;

/// What is known about files that may be copied.
#[derive(Default)]
pub(super) struct Compaction {
    victim: Option<Victim>,
    /// Calls since the last write.
    idle_calls: u32,
    /// Sparse files: how many messages were live when how much had been written. Messages that are consumed in order leave
    /// a file soon without being copied.
    watched: BTreeMap<u64, (u64, u64)>,
    /// Files with messages that cannot be read.
    refused: BTreeSet<u64>,
    pub(super) copied: u64,
}

/// The file that is copied.
struct Victim {
    number: u64,
    /// What is still to be looked at, the next last.
    rest: Ranges,
}

/// A message that is copied.
struct Copied {
    references: Vec<(QueueKey, u64)>,
    octets: Vec<u8>,
}

impl Compaction {
    /// Something was written.
    pub(super) fn interrupt(&mut self) {
        self.idle_calls = 0;
    }

    /// Whether some file may be worth copying later.
    pub(super) fn is_watching(&self) -> bool {
        self.victim.is_some() || !self.watched.is_empty()
    }

    fn begin(&mut self, number: u64, state: &State) {
        let mut rest = state.files.get(&number).map(|file| file.index.runs()).unwrap_or_default();
        rest.reverse();
        self.victim = Some(Victim { number, rest });
    }
}

impl MessageLog {
    /// Copies a piece of a file, if one is worth it. `true` if there is more to do.
    pub(super) fn compact(&mut self) -> Result<bool, Trouble> {
        self.compaction.idle_calls = self.compaction.idle_calls.saturating_add(1);
        if self.compaction.victim.is_none() && !self.choose() {
            // Worth it when there is nothing else to do.
            return Ok(!self.compaction.watched.is_empty() && self.compaction.idle_calls <= IDLE_CALLS);
        }
        match self.copy_step() {
            Err(Trouble::Full) => {
                self.compaction.victim = None;
                Ok(false)
            }
            copied => copied.map(|()| true),
        }
    }

    /// Looks for a file that is worth it. Keeps in mind those that may be later.
    fn choose(&mut self) -> bool {
        let written = self.total_written();
        let state = self.shared.lock();
        let active = self.active.as_ref().map(|active| active.number);
        let compaction = &mut self.compaction;
        let is_short = |file: &File| file.length < self.options.file_bytes / 8;
        let is_worth = |number: &u64, file: &File| {
            let is_little = file.is_sparse() || is_short(file);
            Some(*number) != active && file.live > 0 && is_little && !compaction.refused.contains(number)
        };
        let worth: Vec<_> = state.files.iter().filter(|(number, file)| is_worth(number, file)).collect();
        compaction.watched.retain(|number, _| worth.iter().any(|(other, _)| *other == number));
        let is_idle = compaction.idle_calls > IDLE_CALLS;
        let mut chosen = None;
        for (number, file) in worth {
            let (live, since) = *compaction.watched.entry(*number).or_insert((file.live, written));
            let mut is_chosen = self.is_pressed || (is_idle && (file.live * 4 < file.references || is_short(file)));
            if written - since >= self.options.file_bytes / 2 {
                is_chosen |= file.live * 2 > live;
                compaction.watched.insert(*number, (file.live, written));
            }
            if is_chosen {
                chosen = Some(*number);
                break;
            }
        }
        if let Some(number) = chosen {
            compaction.watched.remove(&number);
            compaction.begin(number, &state);
        }
        chosen.is_some()
    }

    /// Copies a file although more of it is live.
    pub(super) fn compact_next(&mut self, number: u64) -> bool {
        if self.compaction.victim.is_some() {
            return true;
        }
        if self.compaction.refused.contains(&number) {
            return false;
        }
        self.compaction.begin(number, &self.shared.lock());
        true
    }

    fn copy_step(&mut self) -> Result<(), Trouble> {
        let mut left = STEP_BYTES;
        while left > 0 {
            let Some((queue, copies)) = self.read_some(left) else {
                let Some(victim) = self.compaction.victim.take() else { return Ok(()) };
                let is_live = self.shared.lock().files.get(&victim.number).is_some_and(|file| file.live > 0);
                if is_live {
                    // What is left of it cannot be read.
                    self.compaction.refused.insert(victim.number);
                }
                return Ok(());
            };
            let bytes = copies.iter().map(|copied| copied.octets.len()).sum::<usize>();
            left = left.saturating_sub(bytes.max(1));
            self.copy(queue, copies)?;
        }
        Ok(())
    }

    /// Reads the next live messages of the file that is copied.
    fn read_some(&mut self, octets: usize) -> Option<(QueueKey, Vec<Copied>)> {
        let victim = self.compaction.victim.as_mut()?;
        let number = victim.number;
        let (queue, found) = loop {
            let (queue, range) = victim.rest.last_mut()?;
            let state = self.shared.lock();
            let live = state.queues.get(queue);
            let piece = live.and_then(|live| live.live.within(range.clone()).find(|piece| piece.file == number));
            let found = piece.and_then(|piece| state.find(*queue, piece.positions, BATCH));
            drop(state);
            match found {
                Some(found) => break (*queue, found),
                None => victim.rest.pop(),
            };
        };
        let mut copies: Vec<Copied> = Vec::new();
        let mut next = found.first + 1;
        let mut left = octets;
        let mut buffer = Vec::new();
        let mut is_damaged = false;
        let read = found.read(queue, octets, &mut buffer, &mut |position, place| {
            next = position + 1;
            let Place::Message { payload, octets } = place else {
                is_damaged = true;
                return false;
            };
            let references = references(payload).map(|(references, _)| references.collect()).unwrap_or_default();
            copies.push(Copied { references, octets: octets.to_vec() });
            left = left.saturating_sub(octets.len());
            left > 0
        });
        if (read.is_err() || is_damaged) && self.shared.check_table(number) {
            // Where it was looked for, it was not to be found; all of it is looked at again.
            self.compaction.begin(number, &self.shared.lock());
            return Some((queue, copies));
        }
        if read.is_err() {
            // It may be better another time.
            self.compaction.refused.insert(number);
            self.compaction.victim = None;
            return None;
        }
        if let Some((_, range)) = victim.rest.last_mut() {
            range.start = next;
        }
        Some((queue, copies))
    }

    fn copy(&mut self, queue: QueueKey, copies: Vec<Copied>) -> Result<(), Trouble> {
        let Some(number) = self.compaction.victim.as_ref().map(|victim| victim.number) else { return Ok(()) };
        let mut written = Written::default();
        let mut done: BTreeSet<(QueueKey, u64)> = BTreeSet::new();
        let mut before = None;
        let mut prefix = Vec::new();
        for Copied { mut references, octets } in copies {
            {
                let state = self.shared.lock();
                references
                    .retain(|reference| !done.contains(reference) && state.is_in(reference.0, reference.1, number));
            }
            if references.is_empty() {
                continue;
            }
            // In the queue that is read, most follow each other.
            references.sort_unstable_by_key(|reference| (reference.0 != queue, *reference));
            prefix.clear();
            put_number(references.len() as u64, &mut prefix);
            let (mut bytes, mut directory) = (0, 0);
            for (queue, position) in &references {
                put_number(queue.0, &mut prefix);
                put_number(*position, &mut prefix);
                bytes += prefix_bytes(*queue, *position);
                directory += reference_cost(*queue, *position, before != Some((*queue, position.wrapping_sub(1))));
            }
            before = references.first().copied();
            let mut cost = message_cost(bytes, octets.len());
            cost.directory = directory;
            let purpose = if self.is_pressed { Purpose::Space } else { Purpose::Messages };
            if !self.active.as_ref().is_some_and(|active| active.room.fits(cost, purpose)) {
                self.publish_written(&mut written)?;
            }
            let active = self.with_room(cost, purpose)?;
            let offset = active.append(MESSAGE, &[&prefix, &octets], directory);
            let offset = offset.and_then(|offset| u32::try_from(offset).map_err(std::io::Error::other));
            let offset = offset.map_err(failed("a write failed"))?;
            for (queue, position) in &references {
                written.push_single(*queue, *position, offset);
            }
            done.extend(references);
            self.compaction.copied += 1;
        }
        self.publish_written(&mut written)
    }
}
