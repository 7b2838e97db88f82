//! Many changes as one: all of them are made, or none is, for everybody who looks and on disk.
//!
//! The changes are tried on a copy of the topology, with no lock held, and then the copy takes the place of the topology. What
//! takes time stands before the lock: the copy, the records, the cells of new queues. Under it is done what is one step for each
//! queue. If somebody else changed something meanwhile, it all begins anew; after a few times others have to wait for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{RwLockUpgradableReadGuard, RwLockWriteGuard};

use super::connections::News;
use super::history::{Batches, Ends};
use super::{Node, State, seen};
use crate::Name;
use crate::dedup::SeenRecord;
use crate::events::TOOLS;
use crate::journal::JournalPosition;
use crate::queue::QueueCell;
use crate::topology::{Draft, Effect, QueueId, Reconfigured, Removed, Together, Topology};

/// How often it is tried without keeping others from changing something meanwhile.
const TRIES: usize = 3;

/// What many changes came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<T> {
    /// What was said of them when they were planned.
    pub planned: T,
    /// How many of them changed something.
    pub changes: usize,
    /// Where they are written down, or what they found was.
    pub written: Option<JournalPosition>,
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError<E> {
    /// Who planned it gave up.
    #[error(transparent)]
    Plan(#[from] E),
    /// It is too much to be written as one.
    #[error("these are too many changes at a time")]
    TooLarge,
    /// The disk failed before.
    #[error("the change is not on disk: writing to it failed, and the broker has to be started again")]
    NotWritten,
}

/// A draft with all that follows from it.
struct Prepared {
    draft: Draft,
    steps: Vec<Step>,
    records: Option<Together>,
}

/// What is done under the lock.
enum Step {
    Add(Arc<QueueCell>, Vec<QueueId>),
    Remove(Removed),
    Reconfigure(Reconfigured),
    Begin(SeenRecord),
    Recall(Ends),
    Tell(News),
}

impl Node {
    /// A copy of the topology, to see what changes would come to.
    pub fn draft(&self) -> Draft {
        Draft::of(&self.state.read().topology)
    }

    /// Makes all changes that `plan` makes in a draft, or none of them if it fails. It may be asked several times, with another
    /// draft each.
    pub fn apply_together<T, E>(
        &self,
        mut plan: impl FnMut(&mut Draft) -> Result<T, E>,
    ) -> Result<Batch<T>, BatchError<E>> {
        for _ in 0..TRIES {
            let mut draft = self.draft();
            self.watch(&mut draft);
            let planned = plan(&mut draft)?;
            let changes = draft.changes();
            if changes == 0 {
                return Ok(self.nothing(planned));
            }
            let prepared = self.prepare(draft)?;
            let _in_order = self.reconfiguring.lock();
            let state = self.state.write();
            if prepared.draft.is_of(&state.topology) {
                return Ok(Batch { planned, changes, written: self.commit(state, prepared) });
            }
        }
        // Somebody changes things all the time. Routes can be looked up while it is planned.
        let _in_order = self.reconfiguring.lock();
        let state = self.state.upgradable_read();
        let mut draft = Draft::of(&state.topology);
        self.watch(&mut draft);
        let planned = plan(&mut draft)?;
        let changes = draft.changes();
        if changes == 0 {
            return Ok(self.nothing(planned));
        }
        let prepared = self.prepare(draft)?;
        let written = self.commit(RwLockUpgradableReadGuard::upgrade(state), prepared);
        Ok(Batch { planned, changes, written })
    }

    /// Keeps what is done in a draft, for those who listen.
    fn watch(&self, draft: &mut Draft) {
        if self.events.is_heard() {
            draft.keep_told();
        }
    }

    /// It was so already, but perhaps not on disk yet.
    fn nothing<T>(&self, planned: T) -> Batch<T> {
        Batch { planned, changes: 0, written: self.journal.as_ref().map(|journal| journal.last()) }
    }

    fn prepare<E>(&self, mut draft: Draft) -> Result<Prepared, BatchError<E>> {
        let records = draft.topology_mut().take_records();
        let records = match &self.journal {
            Some(journal) if !records.is_empty() => {
                if journal.has_failed() {
                    return Err(BatchError::NotWritten);
                }
                Some(Together::join(&records).ok_or(BatchError::TooLarge)?)
            }
            _ => None,
        };
        let mut steps = Vec::new();
        let mut told = HashSet::new();
        for effect in draft.take_effects() {
            match effect {
                Effect::Queue { vhost, name, id } => steps.extend(self.new_queue(draft.topology(), vhost, &name, id)),
                Effect::Removed(removed) => steps.push(Step::Remove(removed)),
                Effect::Reconfigured(reconfigured) => steps.push(Step::Reconfigure(reconfigured)),
                Effect::Other(change) => {
                    steps.extend(seen::begun(&change).map(Step::Begin));
                    steps.extend(Ends::of(&change).map(Step::Recall));
                    // Once is enough, however many permissions somebody got.
                    let news = News::of(&change).filter(|news| told.insert(news.clone()));
                    steps.extend(news.map(Step::Tell));
                }
            }
        }
        Ok(Prepared { draft, steps, records })
    }

    /// The cell of a queue that was declared; none if it did not last.
    fn new_queue(&self, topology: &Topology, vhost: Name, name: &str, id: QueueId) -> Option<Step> {
        let queue = topology.vhost(&vhost).ok()?.any_queue(name).ok().filter(|queue| queue.id() == id)?;
        let (cell, ids) = self.new_cell(queue, vhost);
        Some(Step::Add(cell, ids.collect()))
    }

    /// Does what was prepared. Nothing here can fail.
    fn commit(&self, mut state: RwLockWriteGuard<'_, State>, prepared: Prepared) -> Option<JournalPosition> {
        let Prepared { mut draft, steps, records } = prepared;
        let told = draft.take_told();
        let replaced = draft.put_in_place_of(&mut state.topology);
        let (mut begun, mut recalled) = (Vec::new(), Batches::new());
        let (mut reconfigured, mut news): (Vec<Reconfigured>, Vec<News>) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Add(cell, ids) => {
                    state.churn.declared += 1;
                    state.add(cell, ids.into_iter());
                }
                Step::Remove(removed) => Self::close_removed(&mut state, &removed),
                Step::Reconfigure(change) => reconfigured.push(change),
                Step::Begin(record) => begun.push(record),
                Step::Recall(ends) => recalled.extend(self.recall(&state, &ends)),
                Step::Tell(told) => news.push(told),
            }
        }
        let telling = self.telling(&state.topology, TOOLS);
        for (change, before, applied) in &told {
            telling.change(change, *before, applied);
        }
        self.write_seen(begun);
        self.add_delays(&mut state);
        // In this order: who sees the new generation must not find a route permitted by answers from before.
        self.access_generation.store(state.topology.access_generation(), Ordering::Release);
        self.generation.store(state.topology.generation(), Ordering::Release);
        let written = match (&self.journal, records) {
            (Some(journal), Some(records)) => Some(journal.append_together(records)),
            _ => None,
        };
        drop(state);
        drop(replaced);
        for reconfigured in &reconfigured {
            self.configure(reconfigured);
        }
        if !reconfigured.is_empty() {
            self.deliver_dead_letters();
        }
        if !recalled.is_empty() {
            self.accept_recalled(recalled);
        }
        for news in &news {
            self.tell_connections(news);
        }
        written
    }
}

#[cfg(test)]
mod tests;
