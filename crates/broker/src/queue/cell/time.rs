//! What a queue does as time passes: what is due, its lease, and when it asks the clock to be woken.

use super::{QueueCell, State};
use crate::clock::Timestamp;

/// Whether a queue is to be deleted because nobody used it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// It stays.
    Runs,
    /// Its time without use is up.
    Over,
}

impl QueueCell {
    /// Does what is due by now. Says whether the queue is to be deleted, because nobody used it.
    pub fn wake(&self) -> Lease {
        let mut state = self.state.lock();
        state.alarm = None;
        let now = self.context.now();
        state.queue.set_now(now);
        state.wake();
        let is_over = !state.closed && state.is_lease_over(now);
        self.finish(state);
        if is_over { Lease::Over } else { Lease::Runs }
    }

    /// Somebody used the queue, which renews its lease.
    pub fn touch(&self) {
        let mut state = self.state.lock();
        self.renew(&mut state);
        self.finish(state);
    }

    pub(super) fn renew(&self, state: &mut State) {
        if state.settings.as_ref().is_some_and(|settings| settings.expires_ms.is_some()) {
            state.last_used = self.context.now();
        }
    }

    /// Asks the clock to be woken for what is due next.
    #[inline]
    pub(super) fn set_alarm(&self, state: &mut State) {
        if !state.queue.depends_on_time() && state.settings.is_none() {
            return;
        }
        let due = state.queue.next_due().into_iter().chain(state.lease_end()).min();
        if let Some(due) = due
            && !state.closed
            && state.alarm.is_none_or(|alarm| due < alarm)
        {
            state.alarm = Some(due);
            self.context.clock.wake_at(self.info.id, due);
        }
    }
}

impl State {
    /// When the queue goes unless somebody uses it.
    pub(super) fn lease_end(&self) -> Option<Timestamp> {
        let expires_ms = self.settings.as_ref()?.expires_ms?;
        (self.queue.consumer_count() == 0).then(|| self.last_used.plus_ms(expires_ms))
    }

    pub(super) fn is_lease_over(&self, now: Timestamp) -> bool {
        self.lease_end().is_some_and(|end| end <= now)
    }
}
