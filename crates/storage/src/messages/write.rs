//! Writing a group.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use super::active::{Active, Cost, Purpose, Room, message_cost, prefix_bytes, reference_cost};
use super::directory::sorted;
use super::format::{
    DELETED, DELIVERED, MESSAGE, Ranges, SETTLED, number_bytes, pair_bytes, put_number, put_numbers, put_pairs,
    put_ranges, range_bytes,
};
use super::log::{MessageLog, Trouble, Wrote, failed};
use super::state::{Index, Settled};
use super::{Group, Payload, QueueKey};
use crate::record;

/// Settlements are written in records of about this size, in bytes, or less if files are small.
const SETTLED_BYTES: u64 = 16 << 10;

/// Lists of what is in the active file are put in order when they are longer than this, and than twice what was left of
/// them the last time.
const OTHERS_MIN: usize = 4096;

/// Memory that writing uses again and again.
#[derive(Default)]
pub(super) struct Scratch {
    items: Vec<Item>,
    extras: Vec<Extra>,
    /// The items before which a new file is begun.
    begins: Vec<usize>,
    shared: HashMap<(usize, usize), usize, BuildHasherDefault<AddressHasher>>,
    written: Written,
    prefix: Vec<u8>,
    others_limit: usize,
}

/// A message to be written.
#[derive(Debug, Clone, Copy)]
struct Item {
    queue: QueueKey,
    position: u64,
    /// Which of the group's.
    message: usize,
    /// Its first other queue.
    extra: Option<usize>,
}

/// Another queue of a message.
#[derive(Debug, Clone, Copy)]
struct Extra {
    queue: QueueKey,
    position: u64,
    next: Option<usize>,
}

/// Messages that are in the active file and not yet known to be.
#[derive(Default)]
pub(super) struct Written {
    runs: Vec<WrittenRun>,
    /// Those of all runs, one run after the other.
    offsets: Vec<u32>,
    /// Messages outside runs.
    single: Vec<(QueueKey, u64, u32)>,
}

struct WrittenRun {
    queue: QueueKey,
    first: u64,
    count: usize,
}

impl Written {
    fn push(&mut self, queue: QueueKey, position: u64, offset: u32) {
        match self.runs.last_mut() {
            Some(run) if run.queue == queue && run.first + run.count as u64 == position => run.count += 1,
            _ => self.runs.push(WrittenRun { queue, first: position, count: 1 }),
        }
        self.offsets.push(offset);
    }

    /// Adds a message that does not follow the one before.
    pub(super) fn push_single(&mut self, queue: QueueKey, position: u64, offset: u32) {
        self.single.push((queue, position, offset));
    }

    fn clear(&mut self) {
        self.runs.clear();
        self.offsets.clear();
        self.single.clear();
    }
}

/// What is both published and settled in a group.
struct Elided(Ranges);

impl Elided {
    fn of<M>(group: &Group<M>) -> Self {
        if group.messages.is_empty() || (group.settled.is_empty() && group.deleted.is_empty()) {
            return Self(Vec::new());
        }
        let deleted = group.deleted.iter().map(|queue| (*queue, 0..u64::MAX));
        Self(sorted(group.settled.iter().cloned().chain(deleted).collect()))
    }

    fn of_queue(&self, queue: QueueKey) -> &[(QueueKey, Range<u64>)] {
        let start = self.0.partition_point(|(other, _)| *other < queue);
        let end = self.0.partition_point(|(other, _)| *other <= queue);
        self.0.get(start..end).unwrap_or_default()
    }

    fn contains(&self, queue: QueueKey, position: u64) -> bool {
        let ranges = self.of_queue(queue);
        let index = ranges.partition_point(|(_, range)| range.end <= position);
        ranges.get(index).is_some_and(|(_, range)| range.start <= position)
    }
}

impl MessageLog {
    pub(super) fn write_group<M: Payload>(&mut self, group: &mut Group<M>) -> Result<Wrote, Trouble> {
        self.compaction.interrupt();
        let before = self.total_written();
        let elided = Elided::of(group);
        let mut scratch = std::mem::take(&mut self.scratch);
        let elided_count = collect(group, &elided, &mut scratch);
        let messages = scratch.items.len();
        let planned = self.make_room(group, &mut scratch);
        let written = match &planned {
            Ok(()) => self.write_messages(group, &mut scratch),
            Err(Trouble::Full) => Ok(()),
            Err(Trouble::Failed { .. }) => return planned.map(|()| Wrote::default()),
        };
        self.scratch = scratch;
        written?;
        // Messages come first: one that is moved must not be settled in one queue before it is in the other.
        self.take_settled(group)?;
        self.take_delivered(group, planned.is_err())?;
        self.finish()?;
        if let Err(trouble) = planned {
            group.retain_messages(|queue, position| !elided.contains(queue, position));
            return Err(trouble);
        }
        let bytes = self.total_written() - before;
        Ok(Wrote { bytes, messages, elided: elided_count, must_sync: messages > 0 })
    }

    /// Bytes written since the log was opened, without zeros that prepare space.
    pub fn total_written(&self) -> u64 {
        self.bytes_written + self.active.as_ref().map_or(0, |active| active.written)
    }

    /// Settlements and deletions. They are taken even if they cannot be written.
    fn take_settled<M>(&mut self, group: &Group<M>) -> Result<(), Trouble> {
        if group.settled.is_empty() && group.deleted.is_empty() {
            return Ok(());
        }
        let mut settled = Settled::new();
        let mut deleted = Vec::new();
        {
            let mut state = self.shared.lock();
            for queue in &group.deleted {
                deleted.extend(state.delete(*queue).map(|about| (*queue, about)));
            }
            for (queue, range) in &group.settled {
                state.settle(*queue, range.clone(), &mut settled);
            }
        }
        for (queue, about) in deleted {
            let mut payload = Vec::new();
            put_numbers(std::iter::once(queue.0), &mut payload);
            let written = self.append_about(DELETED, &payload, payload.len() as u64, &mut about.iter().copied())?;
            if let Some(active) = self.active.as_mut().filter(|_| written) {
                active.others.deleted.push(queue);
            }
        }
        self.log_settled(settled)
    }

    /// Writes settlements. What there is no space for is owed.
    pub(super) fn log_settled(&mut self, mut settled: Settled) -> Result<(), Trouble> {
        settled.sort_unstable_by_key(|(queue, piece)| (*queue, piece.positions.start));
        let most = SETTLED_BYTES.min(self.options.file_bytes / 32).max(64);
        let mut rest = settled.as_slice();
        let mut payload = Vec::new();
        while !rest.is_empty() {
            let mut directory = 0;
            let count = rest.iter().take_while(|(queue, piece)| {
                let fits = directory < most;
                directory += if fits { range_bytes(*queue, &piece.positions) } else { 0 };
                fits
            });
            let (chunk, behind) = rest.split_at(count.count());
            rest = behind;
            let ranges = sorted(chunk.iter().map(|(queue, piece)| (*queue, piece.positions.clone())).collect());
            payload.clear();
            put_ranges(&ranges, &mut payload);
            let mut about = chunk.iter().map(|(_, piece)| piece.file);
            let written = self.append_about(SETTLED, &payload, directory, &mut about)?;
            if let Some(active) = self.active.as_mut().filter(|_| written) {
                for (queue, range) in ranges {
                    match active.others.settled.last_mut() {
                        Some((last, before)) if *last == queue && before.end == range.start => before.end = range.end,
                        _ => active.others.settled.push((queue, range)),
                    }
                }
                if active.others.settled.len() > self.scratch.others_limit.max(OTHERS_MIN) {
                    active.others.settled = sorted(std::mem::take(&mut active.others.settled));
                    self.scratch.others_limit = active.others.settled.len() * 2;
                }
            }
        }
        Ok(())
    }

    /// Appends a record that is about messages of other files. `false` if there is no space even for that: then it is
    /// owed to those files.
    pub(super) fn append_about(
        &mut self,
        kind: record::Kind,
        payload: &[u8],
        directory: u64,
        about: &mut dyn Iterator<Item = u64>,
    ) -> Result<bool, Trouble> {
        let mut files: Vec<u64> = about.collect();
        files.sort_unstable();
        files.dedup();
        let directory = directory + files.iter().map(|file| number_bytes(*file) as u64).sum::<u64>();
        let cost = Cost { record: (record::HEADER_BYTES + payload.len()) as u64, directory };
        let active = match self.with_room(cost, Purpose::Space) {
            Err(Trouble::Full) => {
                self.owes_marks |= kind == DELIVERED;
                self.owed.extend(files);
                return Ok(false);
            }
            active => active?,
        };
        active.append(kind, &[payload], directory).map_err(failed("a write failed"))?;
        let number = active.number;
        if let Some(file) = self.shared.lock().files.get_mut(&number) {
            file.about.extend(files.into_iter().filter(|other| *other != number));
        }
        Ok(true)
    }

    /// Marks of what was handed out. They are written if a message is live that they are about, or still to be written.
    fn take_delivered<M>(&mut self, group: &Group<M>, has_waiting: bool) -> Result<(), Trouble> {
        let mut raised = Vec::new();
        {
            let mut state = self.shared.lock();
            let mut messages = group.messages.as_slice();
            for run in group.runs.iter().filter(|_| !has_waiting) {
                let first = messages.first().map_or(u64::MAX, |(position, _)| *position);
                messages = messages.get(run.count..).unwrap_or_default();
                let mark = state.queues.get(&run.queue).map_or(0, |entry| entry.delivered_before);
                if first < mark {
                    // They waited for space while others were handed out.
                    raised.push((run.queue, mark));
                }
            }
            for (queue, before) in &group.delivered {
                if has_waiting && !group.deleted.contains(queue) {
                    state.queues.entry(*queue).or_default();
                }
                let Some(entry) = state.queues.get_mut(queue) else { continue };
                if *before > entry.delivered_before {
                    entry.delivered_before = *before;
                    raised.extend((has_waiting || entry.has_delivered()).then_some((*queue, *before)));
                }
            }
        }
        let most = usize::try_from(SETTLED_BYTES.min(self.options.file_bytes / 32) / 20).unwrap_or(1).max(2);
        let mut payload = Vec::new();
        for pairs in raised.chunks(most) {
            payload.clear();
            put_pairs(pairs, &mut payload);
            let directory = pairs.iter().copied().map(pair_bytes).sum();
            if self.append_about(DELIVERED, &payload, directory, &mut std::iter::empty())?
                && let Some(active) = &mut self.active
            {
                active.others.delivered.extend_from_slice(pairs);
                if active.others.delivered.len() > self.scratch.others_limit.max(OTHERS_MIN) {
                    active.others.sort();
                    let kept = active.others.delivered.len().max(active.others.settled.len());
                    self.scratch.others_limit = kept * 2;
                }
            }
        }
        Ok(())
    }

    /// Makes sure that there are files for all messages, before one is written.
    fn make_room<M: Payload>(&mut self, group: &Group<M>, scratch: &mut Scratch) -> Result<(), Trouble> {
        let Scratch { items, extras, begins, .. } = scratch;
        begins.clear();
        if items.is_empty() {
            return Ok(());
        }
        let mut room = self.active.as_ref().map(Active::room_after_mark);
        let most =
            Cost { record: group.octets() as u64, directory: MESSAGE_BYTES_AROUND * group.messages.len() as u64 };
        if room.is_some_and(|room| room.fits(most, Purpose::Messages)) {
            return Ok(());
        }
        let mut preamble = None;
        let mut sizes: Vec<u64> = Vec::new();
        let mut before = None;
        for (index, item) in items.iter().enumerate() {
            let cost = cost(item, &mut before, group, extras);
            let room = match &mut room {
                Some(room) if room.fits(cost, Purpose::Messages) => room,
                room => {
                    let mut begun = *preamble.get_or_insert_with(|| self.preamble().cost());
                    // Each file lists those before.
                    begun.record += 5 * sizes.len() as u64;
                    begun.directory += 5 * sizes.len() as u64;
                    let ready = self.ready.get(sizes.len()).map_or(0, |ready| ready.size);
                    let size = Room::size_for(begun, cost).max(self.options.file_bytes).max(ready);
                    sizes.push(size);
                    begins.push(index);
                    let new = room.insert(Room::new(size));
                    new.take(begun);
                    new
                }
            };
            room.take(cost);
        }
        if sizes.is_empty() {
            return Ok(());
        }
        // One more, so that there is space for settlements when there is none for messages.
        sizes.push(0);
        self.make_ready(&sizes)
    }

    fn write_messages<M: Payload>(&mut self, group: &Group<M>, scratch: &mut Scratch) -> Result<(), Trouble> {
        let mut before = None;
        let Scratch { items, extras, begins, written, prefix, .. } = scratch;
        let mut begins = begins.iter().peekable();
        for (index, item) in items.iter().enumerate() {
            let cost = cost(item, &mut before, group, extras);
            // As planned, though more may fit than was thought: the next file may be made for the next message.
            if begins.next_if_eq(&&index).is_some() {
                self.publish_written(written)?;
                self.go_on()?;
            }
            let (Some(active), Some((_, message))) = (&mut self.active, group.messages.get(item.message)) else {
                continue;
            };
            prefix.clear();
            put_number(1 + others(item, extras).count() as u64, prefix);
            put_number(item.queue.0, prefix);
            put_number(item.position, prefix);
            for extra in others(item, extras) {
                put_number(extra.queue.0, prefix);
                put_number(extra.position, prefix);
            }
            let appended = active.append(MESSAGE, &[prefix, message.octets()], cost.directory);
            let offset = appended.and_then(|offset| u32::try_from(offset).map_err(std::io::Error::other));
            let offset = offset.map_err(failed("a write failed"))?;
            written.push(item.queue, item.position, offset);
            for extra in others(item, extras) {
                written.push_single(extra.queue, extra.position, offset);
            }
        }
        self.publish_written(written)
    }

    /// Writes what was appended, and lets readers know of it.
    pub(super) fn publish_written(&mut self, written: &mut Written) -> Result<(), Trouble> {
        self.finish()?;
        let Some(active) = &self.active else { return Ok(()) };
        written.single.sort_unstable();
        let mut singles = std::mem::take(&mut written.single);
        for (queue, position, offset) in singles.drain(..) {
            written.push(queue, position, offset);
        }
        written.single = singles;
        let mut state = self.shared.lock();
        let mut offsets = written.offsets.as_slice();
        for WrittenRun { queue, first, count } in &written.runs {
            let (of_run, behind) = offsets.split_at(*count);
            offsets = behind;
            if let Some(file) = state.files.get_mut(&active.number) {
                if let Index::Open(index) = &mut file.index {
                    index.add(*queue, *first, of_run);
                }
                file.references += *count as u64;
            }
            state.insert(*queue, *first..*first + *count as u64, active.number);
        }
        drop(state);
        written.clear();
        Ok(())
    }
}

/// Bytes that a message takes at most, beside its octets.
const MESSAGE_BYTES_AROUND: u64 = 80;

/// Collects what is to be written. Returns how many messages are not.
fn collect<M: Payload>(group: &Group<M>, elided: &Elided, scratch: &mut Scratch) -> usize {
    let Scratch { items, extras, shared, .. } = scratch;
    items.clear();
    extras.clear();
    shared.clear();
    let mut message = 0;
    let mut elided_count = 0;
    let mut rest = group.messages.as_slice();
    for run in &group.runs {
        let (of_run, behind) = rest.split_at(run.count.min(rest.len()));
        rest = behind;
        let mut settled = elided.of_queue(run.queue);
        for (position, octets) in of_run {
            message += 1;
            while let Some(((_, range), later)) = settled.split_first()
                && range.end <= *position
            {
                settled = later;
            }
            if settled.first().is_some_and(|(_, range)| range.start <= *position) {
                elided_count += 1;
                continue;
            }
            let item = Item { queue: run.queue, position: *position, message: message - 1, extra: None };
            let octets = octets.octets();
            // Messages without octets may all have the same address.
            if run.is_shared && !octets.is_empty() {
                match shared.entry((octets.as_ptr().addr(), octets.len())) {
                    Entry::Occupied(known) => {
                        if let Some(first) = items.get_mut(*known.get()) {
                            extras.push(Extra { queue: run.queue, position: *position, next: first.extra });
                            first.extra = Some(extras.len() - 1);
                            continue;
                        }
                    }
                    Entry::Vacant(entry) => {
                        entry.insert(items.len());
                    }
                }
            }
            items.push(item);
        }
    }
    elided_count
}

fn others<'a>(item: &Item, extras: &'a [Extra]) -> impl Iterator<Item = &'a Extra> {
    let at = |index: Option<usize>| index.and_then(|index| extras.get(index));
    std::iter::successors(at(item.extra), move |extra| at(extra.next))
}

/// What a message takes, given the queue and position written before.
fn cost<M: Payload>(item: &Item, before: &mut Option<(QueueKey, u64)>, group: &Group<M>, extras: &[Extra]) -> Cost {
    let octets = group.messages.get(item.message).map_or(0, |(_, message)| message.octets().len());
    let mut prefix = prefix_bytes(item.queue, item.position);
    let follows = *before == Some((item.queue, item.position.wrapping_sub(1)));
    *before = Some((item.queue, item.position));
    let mut directory = reference_cost(item.queue, item.position, !follows);
    for extra in others(item, extras) {
        // The count of queues may take more bytes, too.
        prefix += prefix_bytes(extra.queue, extra.position);
        directory += reference_cost(extra.queue, extra.position, true);
    }
    Cost { directory, ..message_cost(prefix, octets) }
}

/// Addresses are numbers that differ in the middle.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = (self.0.rotate_left(5) ^ number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
