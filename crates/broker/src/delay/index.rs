//! When messages are due, in order, in little memory.
//!
//! Sixteen octets say when a message is due and where it stands. They are kept in sorted chunks, so that a million of them
//! take some twenty megabytes whatever the order they come in, and sixteen if they come in the order in which they are due.

use std::collections::{BTreeMap, VecDeque};

use super::Place;

/// Places in a chunk, at most.
const CHUNK_MAX: usize = 512;

/// Places in the order in which they are due.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Each by a place that none of its own is before, and none of an earlier chunk at or behind.
    chunks: BTreeMap<Place, VecDeque<Place>>,
    len: usize,
}

impl Index {
    /// Places there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The one that is due first.
    pub(super) fn first(&self) -> Option<Place> {
        self.chunks.first_key_value()?.1.front().copied()
    }

    /// Adds a place; one that is there stays.
    pub(super) fn insert(&mut self, place: Place) {
        let Some((&key, chunk)) = self.chunks.range_mut(..=place).next_back() else { return self.insert_first(place) };
        let at = chunk.partition_point(|other| *other < place);
        if chunk.get(at) == Some(&place) {
            return;
        }
        self.len += 1;
        if chunk.len() < CHUNK_MAX {
            chunk.insert(at, place);
            return;
        }
        // What comes in order fills one chunk after the other.
        if at == chunk.len() {
            self.chunks.insert(place, VecDeque::from([place]));
            return;
        }
        let mut behind = chunk.split_off(CHUNK_MAX / 2);
        if at <= CHUNK_MAX / 2 {
            chunk.insert(at, place);
        } else {
            behind.insert(at - CHUNK_MAX / 2, place);
        }
        // Never empty, so this is never the key of the first half.
        let key = behind.front().copied().unwrap_or(key);
        self.chunks.insert(key, behind);
    }

    /// Adds a place that is before all chunks.
    fn insert_first(&mut self, place: Place) {
        self.len += 1;
        let chunk = match self.chunks.first_entry() {
            Some(entry) if entry.get().len() < CHUNK_MAX => {
                let mut chunk = entry.remove();
                chunk.push_front(place);
                chunk
            }
            _ => VecDeque::from([place]),
        };
        self.chunks.insert(place, chunk);
    }

    /// Takes the first one out.
    pub(super) fn pop_first(&mut self) -> Option<Place> {
        let mut entry = self.chunks.first_entry()?;
        let place = entry.get_mut().pop_front();
        if entry.get().is_empty() {
            entry.remove();
        }
        self.len -= usize::from(place.is_some());
        place
    }

    /// Takes a place out; says whether it was there.
    pub(super) fn remove(&mut self, place: Place) -> bool {
        let Some((&key, chunk)) = self.chunks.range_mut(..=place).next_back() else { return false };
        let Ok(at) = chunk.binary_search(&place) else { return false };
        chunk.remove(at);
        self.len -= 1;
        if chunk.is_empty() {
            self.chunks.remove(&key);
        } else if chunk.len() < chunk.capacity() / 4 {
            chunk.shrink_to_fit();
        }
        true
    }

    /// The places from one on, in order.
    pub(super) fn from(&self, place: Place) -> impl Iterator<Item = Place> {
        let start = self.chunks.range(..=place).next_back().map_or(place, |(key, _)| *key);
        let places = self.chunks.range(start..).flat_map(|(_, chunk)| chunk.iter().copied());
        places.skip_while(move |other| *other < place)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::clock::Timestamp;
    use crate::queue::Position;

    fn place(due: u64, position: u64) -> Place {
        Place { due: Timestamp(due), position: Position(position) }
    }

    /// Octets that the chunks have allocated.
    fn octets(index: &Index) -> usize {
        index.chunks.values().map(|chunk| chunk.capacity() * size_of::<Place>() + size_of_val(chunk) + 32).sum()
    }

    /// Numbers that look random and are the same each time.
    fn scattered(mut seed: u64) -> impl FnMut() -> u64 {
        move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 33
        }
    }

    #[test]
    fn it_is_a_sorted_set() {
        for range in [10, 1000, 1_000_000] {
            let mut random = scattered(range);
            let (mut index, mut model) = (Index::default(), BTreeSet::new());
            for step in 0..20_000 {
                let one = place(random() % range, random() % 8);
                match random() % 8 {
                    0 => assert_eq!(index.pop_first(), model.pop_first(), "{range} {step}"),
                    1 | 2 => assert_eq!(index.remove(one), model.remove(&one), "{range} {step}"),
                    _ => {
                        index.insert(one);
                        model.insert(one);
                    }
                }
                assert_eq!((index.len(), index.first()), (model.len(), model.first().copied()), "{range} {step}");
                if step % 1000 == 0 {
                    assert!(index.from(one).eq(model.range(one..).copied()), "{range} {step}");
                }
            }
            while let Some(one) = model.pop_first() {
                assert_eq!(index.pop_first(), Some(one));
            }
            assert!(index.chunks.is_empty());
        }
    }

    #[test]
    fn a_place_takes_little_memory_in_any_order() {
        const COUNT: u64 = 200_000;
        let mut random = scattered(7);
        let check = |name: &str, most: usize, order: &mut dyn FnMut(u64) -> u64| {
            let mut index = Index::default();
            (0..COUNT).for_each(|number| index.insert(place(order(number), number)));
            let each = octets(&index) / index.len();
            assert!(each <= most, "{name}: {each} octets");
        };
        check("ascending", 18, &mut |number| number);
        check("descending", 26, &mut |number| COUNT - number);
        check("all at once", 18, &mut |_| 5);
        check("by chance", 30, &mut |_| random());
    }
}
