//! What a channel was handed and has not settled, by delivery tag.

use std::collections::{BTreeSet, VecDeque};

use leveret_broker::message::Message;
use leveret_broker::queue::Position;

/// A delivery the client has yet to settle.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    /// Delivery tag on this channel.
    pub(crate) tag: u64,
    /// The source it came from.
    pub(crate) source: u32,
    /// Where it stood in its queue.
    pub(crate) position: Position,
    /// The message.
    pub(crate) message: Message,
}

/// Unsettled deliveries in the order of their tags.
///
/// Clients settle mostly from the front, so a settled entry in the middle is only marked; marks are swept when they
/// outnumber the rest, which keeps the memory within twice what is unsettled.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    entries: VecDeque<(u64, Option<Delivered>)>,
    marked: usize,
    /// Tags of deliveries that went back to their queue before the client settled them. It may settle them once more.
    released: BTreeSet<u64>,
}

impl Unsettled {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.marked
    }

    /// Adds a delivery whose tag is above all others.
    pub(crate) fn push(&mut self, delivered: Delivered) {
        self.entries.push_back((delivered.tag, Some(delivered)));
    }

    /// Takes one delivery.
    pub(crate) fn take(&mut self, tag: u64) -> Option<Delivered> {
        let index = self.position(tag)?;
        let taken = self.entries.get_mut(index).and_then(|(_, entry)| entry.take())?;
        self.marked += 1;
        self.sweep();
        Some(taken)
    }

    /// Lets go of marks at the front, and of all once they are many.
    fn sweep(&mut self) {
        while let Some((_, None)) = self.entries.front() {
            self.entries.pop_front();
            self.marked -= 1;
        }
        if self.marked > 64 && self.marked > self.entries.len() / 2 {
            self.entries.retain(|(_, entry)| entry.is_some());
            self.marked = 0;
        }
        self.shrink();
    }

    /// Gives the memory of a long backlog back once all of it is settled.
    fn shrink(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > 1024 {
            self.entries.shrink_to(64);
        }
    }

    /// Takes the deliveries of a source with tags below this one. The client may still settle them, to no effect.
    pub(crate) fn release(&mut self, source: u32, before: u64) -> Vec<Delivered> {
        let end = self.entries.partition_point(|(tag, _)| *tag < before);
        let mut taken = Vec::new();
        for (tag, entry) in self.entries.range_mut(..end) {
            if let Some(delivered) = entry.take_if(|delivered| delivered.source == source) {
                self.released.insert(*tag);
                self.marked += 1;
                taken.push(delivered);
            }
        }
        self.sweep();
        taken
    }

    /// Takes note that the client settles a delivery that was released; says whether it was.
    pub(crate) fn settle_released(&mut self, tag: u64) -> bool {
        self.released.remove(&tag)
    }

    /// Tags of a source's deliveries, from one on, in order.
    pub(crate) fn tags_of(&self, source: u32, from: u64) -> impl Iterator<Item = u64> {
        let start = self.entries.partition_point(|(tag, _)| *tag < from);
        let entries = self.entries.range(start..).filter_map(|(_, entry)| entry.as_ref());
        entries.filter(move |delivered| delivered.source == source).map(|delivered| delivered.tag)
    }

    /// Takes every delivery up to and including `tag`, in order; 0 stands for all.
    pub(crate) fn take_through(&mut self, tag: u64) -> Vec<Delivered> {
        let end = match tag {
            0 => self.entries.len(),
            tag => self.entries.partition_point(|(entry, _)| *entry <= tag),
        };
        let taken: Vec<_> = self.entries.drain(..end).filter_map(|(_, entry)| entry).collect();
        self.marked -= end - taken.len();
        self.released = if tag == 0 { BTreeSet::new() } else { self.released.split_off(&(tag + 1)) };
        self.shrink();
        taken
    }

    /// Puts deliveries back whose tags may lie anywhere.
    pub(crate) fn put_back(&mut self, delivered: Vec<Delivered>) {
        let released = std::mem::take(&mut self.released);
        let mut all: Vec<Delivered> = self.take_through(0);
        self.released = released;
        all.extend(delivered);
        all.sort_by_key(|delivered| delivered.tag);
        self.entries.extend(all.into_iter().map(|delivered| (delivered.tag, Some(delivered))));
    }

    /// Whether `tag` is unsettled.
    pub(crate) fn contains(&self, tag: u64) -> bool {
        let held = self.position(tag).and_then(|index| self.entries.get(index));
        held.is_some_and(|(_, entry)| entry.is_some()) || self.released.contains(&tag)
    }

    fn position(&self, tag: u64) -> Option<usize> {
        let (first, _) = self.entries.front()?;
        // Tags are dense unless deliveries that need no settling came between.
        let guess = usize::try_from(tag.checked_sub(*first)?).ok()?;
        if self.entries.get(guess).is_some_and(|(entry, _)| *entry == tag) {
            return Some(guess);
        }
        self.entries.binary_search_by_key(&tag, |(entry, _)| *entry).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_broker::message::Draft;

    fn unsettled(tags: impl IntoIterator<Item = u64>) -> Unsettled {
        let mut unsettled = Unsettled::default();
        for tag in tags {
            let message = Draft::new(Vec::new(), "", "").message();
            unsettled.push(Delivered { tag, source: 0, position: Position(tag), message });
        }
        unsettled
    }

    fn tags(taken: &[Delivered]) -> Vec<u64> {
        taken.iter().map(|delivered| delivered.tag).collect()
    }

    #[test]
    fn a_tag_is_taken_once() {
        let mut unsettled = unsettled([1, 2, 5, 6, 9]);
        for (tag, there) in
            [(5, true), (5, false), (3, false), (1, true), (1, false), (9, true), (10, false), (0, false)]
        {
            assert_eq!(unsettled.take(tag).map(|taken| taken.tag), there.then_some(tag), "{tag}");
        }
        assert_eq!(tags(&unsettled.take_through(0)), [2, 6]);
    }

    #[test]
    fn multiple_takes_everything_up_to_the_tag() {
        let mut unsettled = unsettled(1..=10);
        unsettled.take(2);
        assert_eq!(tags(&unsettled.take_through(4)), [1, 3, 4]);
        assert_eq!(tags(&unsettled.take_through(4)), [0; 0]);
        assert_eq!(tags(&unsettled.take_through(0)), [5, 6, 7, 8, 9, 10]);
        assert_eq!(tags(&unsettled.take_through(0)), [0; 0]);
    }

    #[test]
    fn what_is_released_may_be_settled_once_more() {
        let mut some = unsettled(1..=8);
        some.entries.iter_mut().skip(4).for_each(|(_, entry)| entry.as_mut().unwrap().source = 7);
        assert_eq!(some.tags_of(7, 0).collect::<Vec<_>>(), [5, 6, 7, 8]);
        assert_eq!(some.tags_of(7, 7).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(tags(&some.release(7, 7)), [5, 6]);
        assert_eq!(tags(&some.release(0, 3)), [1, 2]);
        for (tag, there) in [(5, true), (7, true), (1, true), (9, false)] {
            assert_eq!(some.contains(tag), there, "{tag}");
        }
        assert!(some.take(5).is_none() && some.settle_released(5) && !some.settle_released(5));
        assert_eq!(tags(&some.take_through(6)), [3, 4]);
        for tag in [1, 2, 6] {
            assert!(!some.contains(tag) && !some.settle_released(tag), "{tag}");
        }
        assert_eq!(tags(&some.release(7, 8)), [7]);
        some.put_back(Vec::new());
        assert_eq!((tags(&some.take_through(0)), some.contains(7)), (vec![8], false));
    }

    #[test]
    fn settling_out_of_order_does_not_keep_memory() {
        let mut unsettled = unsettled(1..=10_000);
        for tag in 2..=10_000 {
            assert!(unsettled.take(tag).is_some());
        }
        assert!(unsettled.entries.len() <= 130, "{} entries kept", unsettled.entries.len());
        unsettled.put_back(vec![]);
        assert_eq!(tags(&unsettled.take_through(0)), [1]);
    }
}
