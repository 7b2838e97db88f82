//! The bytes of one simulated file: what a program sees, what is durable, and what lies between.

use std::io;

use super::Random;

/// A disk writes whole sectors, at best.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Content {
    visible: Vec<u8>,
    durable: Vec<u8>,
    /// Oldest first.
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: written } => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                if let Some(place) = bytes.get_mut(*offset..end) {
                    place.copy_from_slice(written);
                }
            }
            Self::Truncate { length } => bytes.resize(*length, 0),
        }
    }

    /// The pieces that a disk writes at once: a write's sectors. The length of the file grows first or last, or the
    /// sectors would never come in another order.
    fn pieces(self, random: &mut Random) -> Vec<Self> {
        let Self::Write { mut offset, bytes } = self else { return vec![self] };
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (sector, behind) = rest.split_at(rest.len().min(SECTOR_BYTES - offset % SECTOR_BYTES));
            // One sector in eight is cut in itself.
            let kept = if random.below(8) == 0 { random.below_usize(sector.len() + 1) } else { sector.len() };
            let (kept, torn) = sector.split_at(kept);
            pieces.push(Self::Write { offset, bytes: kept.to_vec() });
            if !torn.is_empty() {
                pieces.push(Self::Write { offset: offset + kept.len(), bytes: torn.to_vec() });
            }
            offset += sector.len();
            rest = behind;
        }
        pieces
    }
}

impl Content {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { visible: bytes.clone(), durable: bytes, unsynced: Vec::new() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.visible
    }

    /// How much longer a write makes the file.
    pub(super) fn growth(&self, offset: u64, count: usize) -> u64 {
        offset.saturating_add(count as u64).saturating_sub(self.visible.len() as u64)
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.change(Change::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.change(Change::Truncate { length });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.visible);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// Decides now what of the unsynced writes reached the disk. The rest stays visible and never becomes durable. The
    /// length of the file is the file system's own data, which it does not forget.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        let (truncations, writes): (Vec<Change>, Vec<Change>) = std::mem::take(&mut self.unsynced)
            .into_iter()
            .partition(|change| matches!(change, Change::Truncate { .. }));
        for change in truncations.into_iter().chain(random.surviving(writes)) {
            change.apply(&mut self.durable);
        }
    }

    pub(super) fn crash(&mut self, random: &mut Random) {
        let unsynced = std::mem::take(&mut self.unsynced);
        for change in random.surviving(unsynced) {
            change.apply(&mut self.durable);
        }
        self.visible.clone_from(&self.durable);
    }

    pub(super) fn flip_bit(&mut self, bit: u64) -> bool {
        let Ok(index) = usize::try_from(bit / 8) else { return false };
        let mask = 1_u8 << (bit % 8);
        for bytes in [&mut self.visible, &mut self.durable] {
            let Some(byte) = bytes.get_mut(index) else { return false };
            *byte ^= mask;
        }
        true
    }
}

impl Random {
    /// What a disk has of changes that it was not asked to finish.
    fn surviving(&mut self, changes: Vec<Change>) -> Vec<Change> {
        let pieces = changes.into_iter().flat_map(|change| change.pieces(self)).collect();
        self.some_of(pieces)
    }
}
