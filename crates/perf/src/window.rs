//! Publishes that wait for their confirm.

use std::collections::VecDeque;

use crate::walker::Settled;

/// The publishes of a channel that are not confirmed, at most so many.
#[derive(Debug)]
pub(crate) struct Window {
    limit: usize,
    /// When each publish from `lowest` on was to be sent; 0 once it is settled.
    sent_ns: VecDeque<u64>,
    /// Delivery tag of the front.
    lowest: u64,
    unsettled: usize,
}

impl Window {
    /// A window for `limit` publishes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, sent_ns: VecDeque::with_capacity(limit.min(1 << 16)), lowest: 1, unsettled: 0 }
    }

    /// How many more may be published.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.unsettled)
    }

    /// How many wait for their confirm.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Notes a publish that was to be sent at `sent_ns`.
    #[inline]
    pub(crate) fn sent(&mut self, sent_ns: u64) {
        self.sent_ns.push_back(sent_ns.max(1));
        self.unsettled += 1;
    }

    /// Settles one publish or all up to it; `each` gets the send time of every one that was not settled before.
    pub(crate) fn settle(&mut self, settled: Settled, mut each: impl FnMut(u64)) {
        let Some(offset) = settled.tag.checked_sub(self.lowest).and_then(|offset| usize::try_from(offset).ok()) else {
            return;
        };
        if settled.multiple {
            let through = self.sent_ns.len().min(offset.saturating_add(1));
            for sent_ns in self.sent_ns.drain(..through).filter(|sent_ns| *sent_ns != 0) {
                self.unsettled -= 1;
                each(sent_ns);
            }
            self.lowest += through as u64;
        } else if let Some(sent_ns) = self.sent_ns.get_mut(offset).filter(|sent_ns| **sent_ns != 0) {
            each(*sent_ns);
            *sent_ns = 0;
            self.unsettled -= 1;
        }
        while self.sent_ns.front() == Some(&0) {
            self.sent_ns.pop_front();
            self.lowest += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_publish_is_settled_once_in_any_order() {
        let mut window = Window::new(5);
        for sent_ns in 11..=15 {
            window.sent(sent_ns);
        }
        assert_eq!(window.room(), 0);
        for (tag, multiple, times, room) in [
            (2, false, vec![12], 1),
            (2, false, vec![], 1),
            (3, true, vec![11, 13], 3),
            (1, true, vec![], 3),
            (5, false, vec![15], 4),
            (9, true, vec![14], 5),
        ] {
            let mut seen = Vec::new();
            window.settle(Settled { tag, multiple, refused: false }, |sent_ns| seen.push(sent_ns));
            assert_eq!((seen, window.room()), (times, room), "tag {tag}, multiple {multiple}");
        }
        window.sent(16);
        assert_eq!((window.unsettled(), window.lowest), (1, 6));
    }

    #[test]
    fn tag_zero_settles_nothing() {
        let mut window = Window::new(2);
        window.sent(1);
        window.settle(Settled { tag: 0, multiple: true, refused: false }, |_| panic!("nothing was settled"));
        assert_eq!(window.unsettled(), 1);
    }
}
