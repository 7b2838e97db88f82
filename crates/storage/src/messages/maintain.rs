//! Work on space: the next file is made ready, those that nothing needs are given back.
//!
//! A file can go when none of its messages is live and when the files are gone that its settlements are about: without
//! these, settled messages would come back. If such an older file stays, what is settled in it is written once more.

use super::active::Active;
use super::directory::Others;
use super::files::Spare;
use super::format::{DELETED, put_numbers, range_bytes};
use super::intervals::Piece;
use super::log::{MessageLog, Trouble, failed};
use super::state::{File, Settled};

impl MessageLog {
    pub(super) fn maintain_step(&mut self) -> Result<bool, Trouble> {
        self.prepare_next()?;
        if !std::mem::take(&mut self.shared.lock().has_work) && self.owed.is_empty() {
            return Ok(false);
        }
        let has_more = self.reclaim()? || self.settle_anew()? || self.remove_spare()? || self.compact()?;
        // Files that may be worth copying later are looked at again then.
        self.shared.lock().has_work |= has_more || self.compaction.is_watching();
        Ok(has_more)
    }

    /// Makes the next file ready before it is wanted, and one more once the active one fills up.
    fn prepare_next(&mut self) -> Result<(), Trouble> {
        let Some(active) = &self.active else { return Ok(()) };
        let is_half_full = (active.room.end + active.room.directory) * 2 > active.room.size;
        let wanted: &[u64] = if is_half_full { &[0, 0] } else { &[0] };
        if self.ready.len() >= wanted.len() {
            return Ok(());
        }
        match self.make_ready(wanted) {
            // It is said when it matters.
            Err(Trouble::Full) => Ok(()),
            made => {
                self.is_pressed &= made.is_err();
                made
            }
        }
    }

    /// Gives back files that nothing needs.
    fn reclaim(&mut self) -> Result<bool, Trouble> {
        let mut dead = self.files_that(|file| file.live == 0 && file.about.is_empty());
        if dead.is_empty() {
            return Ok(false);
        }
        let is_announced = match self.announce_gone(&dead) {
            Ok(()) => true,
            Err(Trouble::Full) => false,
            Err(trouble) => return Err(trouble),
        };
        if !is_announced {
            // The newest file says which of the others were given back.
            let state = self.shared.lock();
            let newest = state.files.keys().next_back().copied().filter(|_| state.files.len() > 1);
            dead.retain(|number| Some(*number) != newest);
            if dead.is_empty() {
                return Ok(false);
            }
        }
        // What was copied out of them has to be durable before they go, and whatever made them needless.
        self.sync_active()?;
        self.give_back(&dead, is_announced)?;
        Ok(true)
    }

    /// Removes a file that was kept because a list had it, if there are more of them than are wanted.
    fn remove_spare(&mut self) -> Result<bool, Trouble> {
        // Without space they are what the next files are made of.
        if self.spares.len() <= self.options.spare_files || self.is_pressed {
            return Ok(false);
        }
        let is_synced = self.options.is_synced;
        let active = self.active.as_ref().filter(|active| active.has_durable_list() || !is_synced);
        // 0 is one that had no number yet.
        let is_missed = |spare: &Spare| {
            spare.number > 0
                && active.is_none_or(|Active { others: Others { files, gone, .. }, .. }| {
                    files.contains(&spare.number) && !gone.contains(&spare.number)
                })
        };
        let Some(place) = self.spares.iter().position(|spare| !is_missed(spare)) else {
            // There was no space to say it when they were given back.
            let mut numbers: Vec<u64> = self.spares.iter().map(|spare| spare.number).collect();
            numbers.retain(|number| !self.shared.lock().files.contains_key(number));
            if numbers.is_empty() {
                return Ok(false);
            }
            return match self.announce_gone(&numbers) {
                Err(Trouble::Full) => Ok(false),
                announced => announced.map(|()| true),
            };
        };
        let spare = self.spares.remove(place);
        self.disk.remove(&spare.name).map_err(failed("a file could not be removed"))?;
        self.sync_folder()?;
        Ok(true)
    }

    fn files_that(&self, is_wanted: impl Fn(&File) -> bool) -> Vec<u64> {
        let active = self.active.as_ref().map(|active| active.number);
        let state = self.shared.lock();
        let others = state.files.iter().filter(|(number, _)| Some(**number) != active);
        others.filter(|(_, file)| is_wanted(file)).map(|(number, _)| *number).collect()
    }

    /// Writes once more what is settled in a file, so that others need not be kept because of it, or because it was never
    /// written.
    fn settle_anew(&mut self) -> Result<bool, Trouble> {
        let pinned = self.files_that(|file| file.live == 0);
        let older = {
            let state = self.shared.lock();
            pinned.iter().find_map(|number| state.files.get(number)?.about.first().copied())
        };
        let Some(older) = older.or_else(|| self.owed.first().copied()) else { return Ok(false) };
        let (dead, deleted) = self.shared.lock().dead_in(older);
        let bytes = dead.iter().map(|(queue, range)| range_bytes(*queue, range)).sum::<u64>();
        if bytes > self.options.file_bytes / 4 && !self.owed.contains(&older) {
            // It would take more than it gives. Without the older file there is nothing to write.
            return Ok(self.compact_next(older) && self.compact()?);
        }
        for queue in &deleted {
            let mut payload = Vec::new();
            put_numbers(std::iter::once(queue.0), &mut payload);
            if !self.append_about(DELETED, &payload, payload.len() as u64, &mut std::iter::once(older))? {
                return Ok(false);
            }
            if let Some(active) = &mut self.active {
                active.others.deleted.push(*queue);
            }
        }
        self.owed.remove(&older);
        let dead = dead.into_iter().map(|(queue, positions)| (queue, Piece { positions, file: older }));
        self.log_settled(dead.collect::<Settled>())?;
        self.finish()?;
        if self.owed.contains(&older) {
            return Ok(false);
        }
        self.sync_active()?;
        let mut state = self.shared.lock();
        for number in pinned {
            // One that has live messages may have copies of the older one's: these have to hide them.
            if let Some(file) = state.files.get_mut(&number) {
                file.about.remove(&older);
            }
        }
        Ok(true)
    }
}
