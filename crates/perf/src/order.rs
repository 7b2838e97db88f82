//! Checks that every message arrives, once and in its publisher's order.

use serde::Serialize;

/// Bits of a mark that hold the sequence number.
const SEQUENCE_BITS: u32 = 40;
/// Bits of a mark that hold the publisher.
const PUBLISHER_BITS: u32 = 12;
/// Publishers that a checked run may have.
pub(crate) const PUBLISHERS_MAX: usize = 1 << PUBLISHER_BITS;
/// Messages of a publisher that are checked; the ledger takes a bit for each.
const SEQUENCE_MAX: u64 = 1 << 33;

/// What stands in octets 8 to 16 of a checked message: which run, which publisher, which of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    /// The mark of a publisher's first message; `run` tells apart what an earlier run left behind.
    pub(crate) fn first(run: u32, publisher: usize) -> Self {
        let head = (u64::from(run) << PUBLISHER_BITS) | (publisher as u64 & (PUBLISHERS_MAX as u64 - 1));
        Self(head << SEQUENCE_BITS)
    }

    /// The mark of message number `sequence`, as it stands in the body.
    #[inline]
    pub(crate) fn of(self, sequence: u64) -> u64 {
        self.0 | sequence
    }
}

/// How the messages of a queue that one consumer saw should have looked.
#[derive(Debug)]
pub(crate) struct Ledger {
    first: Mark,
    accounts: Vec<Account>,
    foreign: u64,
    redelivered: u64,
}

/// Messages of one publisher.
#[derive(Debug, Default, Clone)]
struct Account {
    /// A bit for each message seen.
    seen: Vec<u64>,
    received: u64,
    highest: Option<u64>,
    reordered: u64,
}

impl Ledger {
    /// An empty ledger of a run with so many publishers.
    pub(crate) fn new(run: u32, publishers: usize) -> Self {
        let accounts = vec![Account::default(); publishers];
        Self { first: Mark::first(run, 0), accounts, foreign: 0, redelivered: 0 }
    }

    /// Enters a message by the mark in its body.
    pub(crate) fn enter(&mut self, mark: u64, redelivered: bool) {
        // The marks of a run differ from its first in publisher and sequence only.
        let place = mark ^ self.first.0;
        let sequence = place & ((1 << SEQUENCE_BITS) - 1);
        let publisher = usize::try_from(place >> SEQUENCE_BITS).unwrap_or(usize::MAX);
        let account = self.accounts.get_mut(publisher).filter(|_| sequence < SEQUENCE_MAX);
        let Some(account) = account else {
            self.foreign += 1;
            return;
        };
        account.received += 1;
        if redelivered {
            // A message that comes again comes late by its nature; whether it is a duplicate is still counted.
            self.redelivered += 1;
        } else if account.highest.is_some_and(|highest| sequence < highest) {
            account.reordered += 1;
        } else {
            account.highest = Some(sequence);
        }
        let word = usize::try_from(sequence / 64).unwrap_or(usize::MAX);
        if account.seen.len() <= word {
            account.seen.resize((word + 1).max(account.seen.len() * 2), 0);
        }
        if let Some(word) = account.seen.get_mut(word) {
            *word |= 1 << (sequence % 64);
        }
    }
}

/// Which queues a publisher's messages go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Publisher i's to queue i modulo the number of queues.
    Own,
    /// Every message to every queue.
    Every,
    /// To each queue in turn.
    Turns,
    /// Each to one queue, which the exchange chooses.
    One,
    /// Somebody else's bindings decide.
    Unknown,
}

/// What the ledgers of a run say.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// Messages published that did not arrive; `None` if it is not known where they should have.
    pub(crate) lost: Option<u64>,
    /// Arrivals beyond the first of the same message in a queue.
    pub(crate) duplicated: u64,
    /// Arrivals at a consumer after a later message of the same publisher.
    pub(crate) reordered: u64,
    /// Arrivals that the broker flagged as possible repetitions.
    pub(crate) redelivered: u64,
    /// Messages of other runs.
    pub(crate) foreign: u64,
}

impl Verdict {
    /// Takes account of publishes that were refused: who was told that a message will not arrive has not lost it. `copies`
    /// is how many queues a message goes to; what is refused may have reached some of several.
    pub(crate) fn without_refused(mut self, refused: u64, copies: usize) -> Self {
        let known = copies == 1 || refused == 0;
        self.lost = self.lost.filter(|_| known).map(|lost| lost.saturating_sub(refused));
        self
    }
}

/// Compares what arrived with what was published. `ledgers` come with the number of their queue, `published` counts the
/// messages of each publisher, `queues` are those that were consumed from, out of `queues_all`.
pub(crate) fn judge(
    ledgers: &[(usize, Ledger)],
    published: &[u64],
    spread: Spread,
    queues: usize,
    queues_all: usize,
) -> Verdict {
    let mut verdict = Verdict { lost: (spread != Spread::Unknown).then_some(0), ..Verdict::default() };
    for (_, ledger) in ledgers {
        verdict.foreign += ledger.foreign;
        verdict.redelivered += ledger.redelivered;
        verdict.reordered += ledger.accounts.iter().map(|account| account.reordered).sum::<u64>();
    }
    for (publisher, published) in published.iter().enumerate() {
        let mut arrived = 0;
        for queue in 0..queues {
            let mut seen: Vec<u64> = Vec::new();
            let mut received = 0;
            let of_queue = ledgers.iter().filter(|(of, _)| *of == queue);
            for account in of_queue.filter_map(|(_, ledger)| ledger.accounts.get(publisher)) {
                received += account.received;
                seen.resize(seen.len().max(account.seen.len()), 0);
                for (all, one) in seen.iter_mut().zip(&account.seen) {
                    *all |= one;
                }
            }
            let distinct: u64 = seen.iter().map(|word| u64::from(word.count_ones())).sum();
            verdict.duplicated += received - distinct;
            arrived += distinct;
            let due = match spread {
                // Never checked: consumers of several queues see a mix of several orders.
                Spread::Turns | Spread::One => distinct,
                Spread::Own if publisher % queues_all.max(1) != queue => 0,
                _ => *published,
            };
            if let Some(lost) = &mut verdict.lost {
                *lost += due.saturating_sub(distinct);
            }
        }
        if let (Some(lost), Spread::One) = (&mut verdict.lost, spread) {
            *lost += published.saturating_sub(arrived);
        }
    }
    if spread == Spread::One && queues < queues_all {
        verdict.lost = None;
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(run: u32, arrivals: &[(usize, u64, bool)]) -> Ledger {
        let mut ledger = Ledger::new(run, 2);
        for (publisher, sequence, redelivered) in arrivals {
            ledger.enter(Mark::first(run, *publisher).of(*sequence), *redelivered);
        }
        ledger
    }

    #[test]
    fn what_is_missing_doubled_or_out_of_order_is_counted() {
        let clean = [(0, 0, false), (1, 0, false), (0, 1, false), (1, 1, false)];
        for (name, arrivals, [lost, duplicated, reordered, redelivered]) in [
            ("clean", &clean[..], [0, 0, 0, 0]),
            ("lost", &clean[..3], [1, 0, 0, 0]),
            ("doubled", &[clean[0], clean[1], clean[2], clean[2], clean[3]], [0, 1, 0, 0]),
            ("turned", &[clean[2], clean[0], clean[1], clean[3]], [0, 0, 1, 0]),
            ("again", &[clean[0], clean[2], (0, 0, true), clean[1], clean[3]], [0, 1, 0, 1]),
        ] {
            let verdict = judge(&[(0, ledger(7, arrivals))], &[2, 2], Spread::Own, 1, 1);
            let expected = Verdict { lost: Some(lost), duplicated, reordered, redelivered, foreign: 0 };
            assert_eq!(verdict, expected, "{name}");
        }
    }

    #[test]
    fn what_was_refused_is_not_lost() {
        for (lost, refused, copies, expected) in [
            (Some(5), 5, 1, Some(0)),
            (Some(5), 3, 1, Some(2)),
            (Some(5), 0, 4, Some(5)),
            (Some(5), 3, 4, None),
            (None, 3, 1, None),
        ] {
            let verdict = Verdict { lost, ..Verdict::default() };
            assert_eq!(verdict.without_refused(refused, copies).lost, expected, "{lost:?}, {refused} of {copies}");
        }
    }

    #[test]
    fn messages_of_another_run_are_foreign() {
        let mut ledger = Ledger::new(7, 2);
        ledger.enter(Mark::first(8, 0).of(0), false);
        ledger.enter(Mark::first(7, 2).of(0), false);
        ledger.enter(u64::MAX, false);
        ledger.enter(Mark::first(7, 1).of(SEQUENCE_MAX), false);
        assert_eq!(judge(&[(0, ledger)], &[0, 0], Spread::Own, 1, 1).foreign, 4);
    }

    #[test]
    fn consumers_of_a_queue_are_judged_together_and_queues_apart() {
        let (a, b) = (ledger(7, &[(0, 0, false), (0, 2, false)]), ledger(7, &[(0, 1, false)]));
        assert_eq!(judge(&[(0, a), (0, b)], &[3, 0], Spread::Own, 1, 1).lost, Some(0));
        for (spread, lost, duplicated) in [
            (Spread::Own, Some(0), 0),
            (Spread::Every, Some(4), 0),
            (Spread::One, Some(0), 0),
            (Spread::Unknown, None, 0),
        ] {
            let (a, b) = (ledger(7, &[(0, 0, false), (0, 1, false)]), ledger(7, &[(1, 0, false), (1, 1, false)]));
            let verdict = judge(&[(0, a), (1, b)], &[2, 2], spread, 2, 2);
            assert_eq!((verdict.lost, verdict.duplicated), (lost, duplicated), "{spread:?}");
        }
        let a = ledger(7, &[(0, 0, false), (0, 1, false)]);
        assert_eq!(judge(&[(0, a)], &[3, 0], Spread::One, 1, 1).lost, Some(1));
        let a = ledger(7, &[(0, 0, false), (0, 1, false)]);
        assert_eq!(judge(&[(0, a)], &[3, 0], Spread::One, 1, 2).lost, None);
    }
}
