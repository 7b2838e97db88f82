//! The account of every message: what the broker has answered, and so what has to be in each queue.
//!
//! Events are entered in the order in which the clients know of them: a publish before its octets are written, an ack
//! before it is sent, a confirm after it has come. What a crash leaves open is settled by the next audit: from then on a
//! message that is there has to stay, and one that is not has to stay away.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use crate::message::{Id, Message, Mode, body};
use crate::wire::Arrival;

/// Ids that a complaint names.
const NAMED_MAX: usize = 8;

/// What lies between the last event and an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The clients have said goodbye; the broker goes on.
    Pause,
    /// The clients have said goodbye, then the broker was stopped.
    Stop,
    /// The broker was stopped while clients were at work.
    Interruption,
    /// The broker was killed.
    Kill,
}

impl Ending {
    /// Whether the broker has processed all that clients had sent.
    fn is_orderly(self) -> bool {
        matches!(self, Self::Pause | Self::Stop)
    }
}

/// The accounts of all queues.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Counts events, so that one can be said to have been before another.
    now: u64,
    /// Whether the broker is being stopped: acks on connections that it has closed go unread.
    stopping: bool,
    accounts: BTreeMap<&'static str, Account>,
}

/// The account of a queue.
#[derive(Debug)]
struct Account {
    durable: bool,
    entries: BTreeMap<Id, Entry>,
    /// Messages that must not come any more, and why.
    gone: HashMap<Id, &'static str>,
    /// The queue as the last audit saw it.
    order: Vec<Id>,
    /// When a purge or deletion was asked for that has not ended.
    clearing_since: Option<u64>,
    /// Messages that were asked for without acknowledgement and may be lost on the way.
    in_flight: usize,
}

/// A message in a queue.
#[derive(Debug)]
struct Entry {
    size: usize,
    mode: Mode,
    sent: u64,
    confirmed: Option<u64>,
    /// Whether an ack is under way, or has arrived.
    acked: bool,
    /// Whether it met a purge or deletion on its way, and may have been caught.
    doubtful: bool,
    /// Whether a client has got it since the broker was started.
    delivered: bool,
}

impl Ledger {
    /// Opens the account of a queue.
    pub(crate) fn open(&mut self, queue: &'static str, durable: bool) {
        let account = Account {
            durable,
            entries: BTreeMap::new(),
            gone: HashMap::new(),
            order: Vec::new(),
            clearing_since: None,
            in_flight: 0,
        };
        self.accounts.insert(queue, account);
    }

    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn account(&mut self, queue: &str) -> &mut Account {
        self.accounts.get_mut(queue).expect("an account of the queue")
    }

    /// A message is about to be published to these queues.
    pub(crate) fn sent(&mut self, message: &Message, queues: &[&'static str]) {
        let sent = self.tick();
        let Message { id, size, mode } = *message;
        for queue in queues {
            let entry = Entry { size, mode, sent, confirmed: None, acked: false, doubtful: false, delivered: false };
            let before = self.account(queue).entries.insert(id, entry);
            assert!(before.is_none(), "{id} is published twice");
        }
    }

    /// The broker has confirmed a message, or committed it.
    pub(crate) fn confirmed(&mut self, id: Id) {
        let now = self.tick();
        for entry in self.accounts.values_mut().filter_map(|account| account.entries.get_mut(&id)) {
            entry.confirmed.get_or_insert(now);
        }
    }

    /// A message is in no queue: it came back, or was never committed.
    pub(crate) fn withdrawn(&mut self, id: Id, why: &'static str) {
        for account in self.accounts.values_mut() {
            account.remove(id, why);
        }
    }

    /// The broker is about to be stopped while clients are at work.
    pub(crate) fn stopping(&mut self) {
        self.stopping = true;
    }

    /// A client got a message from a queue.
    pub(crate) fn delivered(&mut self, queue: &str, arrival: &Arrival) -> Result<Id, String> {
        let stopping = self.stopping;
        let account = self.account(queue);
        let clearing = account.clearing_since.is_some();
        let id = account.check(queue, arrival)?;
        let entry = account.entries.get_mut(&id).expect("checked");
        if entry.acked && !stopping {
            return Err(format!("{queue}: {id} was delivered after its ack"));
        }
        // While the broker stops, a client may read late what another was given since.
        if entry.delivered && !arrival.redelivered && !stopping {
            return Err(format!("{queue}: {id} was delivered before and is not marked as redelivered"));
        }
        entry.delivered = true;
        entry.doubtful &= clearing;
        Ok(id)
    }

    /// An ack for a message is about to be sent.
    pub(crate) fn acked(&mut self, queue: &str, id: Id) {
        if let Some(entry) = self.account(queue).entries.get_mut(&id) {
            entry.acked = true;
        }
    }

    /// A message that needs no ack is about to be asked for.
    pub(crate) fn taking(&mut self, queue: &str) {
        self.account(queue).in_flight += 1;
    }

    /// The answer to that has come.
    pub(crate) fn taken(&mut self, queue: &str, arrival: Option<&Arrival>) -> Result<(), String> {
        self.account(queue).in_flight -= 1;
        if let Some(arrival) = arrival {
            let id = self.delivered(queue, arrival)?;
            self.acked(queue, id);
        }
        Ok(())
    }

    /// A purge or deletion of a queue is about to be asked for.
    pub(crate) fn clearing(&mut self, queue: &str) {
        let now = self.tick();
        self.account(queue).clearing_since = Some(now);
    }

    /// The broker has answered that. `kept` are messages it leaves alone: those a client holds unacknowledged.
    pub(crate) fn cleared(&mut self, queue: &str, kept: &BTreeSet<Id>, why: &'static str) {
        let account = self.account(queue);
        let since = account.clearing_since.expect("it was asked for");
        let caught: Vec<_> = (account.entries.iter())
            .filter(|(id, entry)| entry.confirmed.is_some_and(|at| at < since) && !entry.acked && !kept.contains(id))
            .map(|(id, _)| *id)
            .collect();
        for id in caught {
            account.remove(id, why);
        }
    }

    /// From here on messages are safe in the queue again.
    pub(crate) fn clearing_over(&mut self, queue: &str, kept: &BTreeSet<Id>) {
        let account = self.account(queue);
        account.clearing_since = None;
        for (_, entry) in account.entries.iter_mut().filter(|(id, _)| !kept.contains(id)) {
            entry.doubtful = true;
        }
    }

    /// Compares a queue, first message to last, with its account; then takes the queue as it is for the truth.
    pub(crate) fn audit(&mut self, queue: &str, found: &[Arrival], ending: Ending) -> Result<Vec<Id>, String> {
        self.stopping = false;
        let account = self.account(queue);
        account.settle(ending);
        let mut complaints = Vec::new();
        let mut order = Vec::with_capacity(found.len());
        let mut seen = BTreeSet::new();
        for arrival in found {
            match account.check(queue, arrival) {
                Ok(id) if seen.insert(id) => order.push(id),
                Ok(id) => complaints.push(format!("{queue}: {id} is there twice")),
                Err(complaint) => complaints.push(complaint),
            }
        }
        complaints.extend(account.losses(queue, &seen));
        complaints.extend(account.disorder(queue, &order));
        if !complaints.is_empty() {
            return Err(complaints.join("\n"));
        }
        account.rebase(&order);
        Ok(order)
    }
}

impl Account {
    fn remove(&mut self, id: Id, why: &'static str) {
        if self.entries.remove(&id).is_some() {
            self.gone.insert(id, why);
        }
    }

    /// Whether a message may come, and is what was published.
    fn check(&self, queue: &str, arrival: &Arrival) -> Result<Id, String> {
        let id = arrival.message_id.parse::<Id>().map_err(|error| format!("{queue}: {error}"))?;
        let Some(entry) = self.entries.get(&id) else {
            let why = self.gone.get(&id).copied().unwrap_or("was never published there");
            return Err(format!("{queue}: {id} came, but it {why}"));
        };
        if arrival.body != body(id, entry.size) {
            let (size, length) = (entry.size, arrival.body.len());
            return Err(format!("{queue}: {id} came with another body ({length} octets of {size})"));
        }
        if arrival.mode != entry.mode {
            return Err(format!("{queue}: {id} was {:?} and came as {:?}", entry.mode, arrival.mode));
        }
        Ok(id)
    }

    /// Draws the consequences of an ending.
    fn settle(&mut self, ending: Ending) {
        let clearing = self.clearing_since.take().is_some();
        if ending.is_orderly() {
            self.in_flight = 0;
        }
        let mut gone = Vec::new();
        for (id, entry) in &mut self.entries {
            entry.doubtful |= clearing;
            if ending.is_orderly() && entry.acked {
                gone.push((*id, "was acknowledged before the clients' goodbye"));
            } else if ending != Ending::Pause && (entry.mode == Mode::Transient || !self.durable) {
                gone.push((*id, "was not to survive a restart"));
            }
        }
        for (id, why) in gone {
            self.remove(id, why);
        }
    }

    /// Messages that have to be there and are not.
    fn losses(&self, queue: &str, seen: &BTreeSet<Id>) -> Option<String> {
        let due = |entry: &Entry| entry.confirmed.is_some() && !entry.acked && !entry.doubtful;
        let lost = self.entries.iter().filter(|(id, entry)| due(entry) && !seen.contains(id)).map(|(id, _)| *id);
        let lost: Vec<_> = lost.collect();
        if lost.len() <= self.in_flight {
            return None;
        }
        let mut complaint = format!("{queue}: {} confirmed messages are lost of {}:", lost.len(), self.entries.len());
        for id in lost.iter().take(NAMED_MAX) {
            let Entry { size, sent, confirmed, delivered, .. } = &self.entries[id];
            let old = if self.order.contains(id) { ", there at the last audit" } else { "" };
            let _ = write!(
                complaint,
                " {id} ({size} octets, event {sent}, confirmed {confirmed:?}, delivered {delivered}{old})"
            );
        }
        Some(complaint)
    }

    /// The first message that is not where it belongs: after those of the last audit, in their order, and after its
    /// publisher's earlier ones.
    fn disorder(&self, queue: &str, order: &[Id]) -> Option<String> {
        let there: BTreeSet<_> = order.iter().collect();
        let old = self.order.iter().filter(|id| there.contains(id));
        if let Some((was, is)) = old.zip(order).find(|(was, is)| was != is) {
            return Some(format!("{queue}: {is} stands where {was} stood before"));
        }
        let mut last = HashMap::new();
        order.iter().find_map(|id| {
            let before = last.insert(id.publisher, id.number)?;
            (before > id.number).then(|| format!("{queue}: {id} comes after {}.{before}", id.publisher))
        })
    }

    /// Takes what is there for the truth.
    fn rebase(&mut self, order: &[Id]) {
        let there: BTreeSet<_> = order.iter().copied().collect();
        let absent: Vec<_> = self.entries.keys().filter(|id| !there.contains(id)).copied().collect();
        for id in absent {
            self.remove(id, "was no longer there at an earlier audit");
        }
        for entry in self.entries.values_mut() {
            // The audit has taken each and given it back.
            *entry = Entry { confirmed: Some(0), acked: false, doubtful: false, delivered: true, ..*entry };
        }
        self.order = order.to_vec();
        self.in_flight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = "queue";

    fn id(number: u32) -> Id {
        Id { publisher: 7, number }
    }

    fn message(number: u32, mode: Mode) -> Message {
        Message { id: id(number), size: 10, mode }
    }

    fn arrival(number: u32, mode: Mode) -> Arrival {
        let (delivery_tag, redelivered, message_id) = (1, false, id(number).to_string());
        Arrival { delivery_tag, redelivered, message_id, mode, body: body(id(number), 10).to_vec() }
    }

    /// A ledger in which messages 1 to 5 are confirmed and 6 is not; 4 is transient.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.open(QUEUE, true);
        for number in 1..=6 {
            let mode = if number == 4 { Mode::Transient } else { Mode::Persistent };
            ledger.sent(&message(number, mode), &[QUEUE]);
        }
        (1..=5).for_each(|number| ledger.confirmed(id(number)));
        ledger
    }

    fn audit(ledger: &mut Ledger, numbers: &[u32], ending: Ending) -> Result<Vec<Id>, String> {
        let mode = |number| if number == 4 { Mode::Transient } else { Mode::Persistent };
        let found: Vec<_> = numbers.iter().map(|number| arrival(*number, mode(*number))).collect();
        ledger.audit(QUEUE, &found, ending)
    }

    #[track_caller]
    fn complains(outcome: Result<impl std::fmt::Debug, String>, about: &str) {
        let complaint = outcome.unwrap_err();
        assert!(complaint.contains(about), "{complaint}");
    }

    #[test]
    fn what_was_not_confirmed_may_be_there_or_not() {
        audit(&mut ledger(), &[1, 2, 3, 5], Ending::Kill).unwrap();
        audit(&mut ledger(), &[1, 2, 3, 5, 6], Ending::Kill).unwrap();
        audit(&mut ledger(), &[1, 2, 3, 4, 5, 6], Ending::Pause).unwrap();
    }

    #[test]
    fn loss_repetition_disorder_and_ghosts_are_found() {
        for (numbers, ending, about) in [
            (&[1, 3, 5][..], Ending::Kill, "1 confirmed messages are lost of 5: 7.2"),
            (&[], Ending::Kill, "4 confirmed messages are lost"),
            (&[1, 2, 3, 5], Ending::Pause, "1 confirmed messages are lost of 6: 7.4"),
            (&[1, 2, 3, 3, 5], Ending::Kill, "7.3 is there twice"),
            (&[1, 3, 2, 5], Ending::Kill, "7.2 comes after 7.3"),
            (&[1, 2, 3, 5, 9], Ending::Kill, "7.9 came, but it was never published there"),
            (&[1, 2, 3, 4, 5], Ending::Kill, "7.4 came, but it was not to survive a restart"),
            (&[1, 2, 3, 4, 5], Ending::Stop, "7.4 came, but it was not to survive a restart"),
        ] {
            complains(audit(&mut ledger(), numbers, ending), about);
        }
    }

    #[test]
    fn a_message_that_changed_is_found() {
        let mut cut = arrival(1, Mode::Persistent);
        cut.body.pop();
        complains(ledger().delivered(QUEUE, &cut), "another body (9 octets of 10)");
        complains(ledger().delivered(QUEUE, &arrival(1, Mode::Transient)), "came as Transient");
        let unknown = Arrival { message_id: "x".into(), ..arrival(1, Mode::Persistent) };
        complains(ledger().delivered(QUEUE, &unknown), "nobody gave");
    }

    #[test]
    fn an_ack_leaves_open_what_a_crash_does_and_a_clean_end_does_not() {
        let acked = || {
            let mut ledger = ledger();
            ledger.delivered(QUEUE, &arrival(1, Mode::Persistent)).unwrap();
            ledger.acked(QUEUE, id(1));
            ledger
        };
        audit(&mut acked(), &[1, 2, 3, 5], Ending::Kill).unwrap();
        audit(&mut acked(), &[2, 3, 5], Ending::Interruption).unwrap();
        audit(&mut acked(), &[2, 3, 5], Ending::Stop).unwrap();
        complains(audit(&mut acked(), &[1, 2, 3, 5], Ending::Stop), "7.1 came, but it was acknowledged");
        complains(acked().delivered(QUEUE, &arrival(1, Mode::Persistent)), "after its ack");
    }

    #[test]
    fn what_an_audit_found_stays_and_what_it_missed_stays_away() {
        let mut ledger = ledger();
        ledger.acked(QUEUE, id(1));
        ledger.acked(QUEUE, id(2));
        audit(&mut ledger, &[2, 3, 5, 6], Ending::Kill).unwrap();
        complains(audit(&mut ledger, &[1, 2, 3, 5, 6], Ending::Kill), "7.1 came, but it was no longer there");
        complains(audit(&mut ledger, &[3, 5], Ending::Kill), "2 confirmed messages are lost");
        ledger.sent(&Message { id: Id { publisher: 1, number: 1 }, ..message(1, Mode::Persistent) }, &[QUEUE]);
        let mut young = arrival(2, Mode::Persistent);
        (young.message_id, young.body) = ("1.1".into(), body(Id { publisher: 1, number: 1 }, 10).to_vec());
        let mut found: Vec<_> = [2, 3, 5, 6].map(|number| arrival(number, Mode::Persistent)).into();
        found.insert(1, young);
        complains(ledger.audit(QUEUE, &found, Ending::Kill), "1.1 stands where 7.3 stood before");
    }

    #[test]
    fn what_was_cleared_must_not_come_back_but_what_came_meanwhile_may() {
        let cleared = || {
            let mut ledger = ledger();
            ledger.clearing(QUEUE);
            ledger.sent(&message(7, Mode::Persistent), &[QUEUE]);
            ledger.confirmed(id(7));
            ledger.cleared(QUEUE, &BTreeSet::from([id(1)]), "was purged");
            ledger.clearing_over(QUEUE, &BTreeSet::from([id(1)]));
            ledger.sent(&message(8, Mode::Persistent), &[QUEUE]);
            ledger.confirmed(id(8));
            ledger
        };
        audit(&mut cleared(), &[1, 8], Ending::Kill).unwrap();
        audit(&mut cleared(), &[1, 6, 7, 8], Ending::Kill).unwrap();
        complains(audit(&mut cleared(), &[1, 2, 8], Ending::Kill), "7.2 came, but it was purged");
        complains(audit(&mut cleared(), &[8], Ending::Kill), "lost");
        complains(audit(&mut cleared(), &[1, 7], Ending::Kill), "lost");
        complains(cleared().delivered(QUEUE, &arrival(3, Mode::Persistent)), "purged");
        let mut open = ledger();
        open.clearing(QUEUE);
        audit(&mut open, &[], Ending::Kill).unwrap();
    }

    #[test]
    fn a_message_on_its_way_without_acknowledgement_may_be_lost_and_only_one() {
        let mut ledger = ledger();
        ledger.taking(QUEUE);
        complains(audit(&mut ledger, &[3, 5], Ending::Kill), "lost");
        audit(&mut ledger, &[2, 3, 5], Ending::Kill).unwrap();
    }

    #[test]
    fn a_message_that_was_delivered_has_to_be_marked() {
        let mut ledger = ledger();
        let mut first = arrival(1, Mode::Persistent);
        ledger.delivered(QUEUE, &first).unwrap();
        complains(ledger.delivered(QUEUE, &first), "not marked");
        first.redelivered = true;
        ledger.delivered(QUEUE, &first).unwrap();
    }

    #[test]
    fn a_broker_that_stops_may_give_others_what_it_has_not_seen_acknowledged() {
        let mut ledger = ledger();
        let mut first = arrival(1, Mode::Persistent);
        ledger.delivered(QUEUE, &first).unwrap();
        ledger.acked(QUEUE, id(1));
        first.redelivered = true;
        complains(ledger.delivered(QUEUE, &first), "after its ack");
        ledger.stopping();
        ledger.delivered(QUEUE, &first).unwrap();
        audit(&mut ledger, &[2, 3, 5], Ending::Interruption).unwrap();
    }

    #[test]
    fn what_was_withdrawn_must_not_come() {
        let mut ledger = ledger();
        ledger.withdrawn(id(6), "was returned");
        complains(audit(&mut ledger, &[1, 2, 3, 5, 6], Ending::Kill), "7.6 came, but it was returned");
    }
}
