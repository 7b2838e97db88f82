//! The prefetch limit that a channel's consumers share (`basic.qos` with `global`).

use std::sync::atomic::{AtomicU32, Ordering};

/// A count of unsettled deliveries over several queues, with a limit. 0 is no limit.
///
/// A queue that is refused parks the consumer under its own lock; the channel calls
/// [`Classic::resume`](super::Classic::resume) after every [`SharedPrefetch::release`], so no wake-up is lost.
#[derive(Debug, Default)]
pub struct SharedPrefetch {
    limit: AtomicU32,
    used: AtomicU32,
}

impl SharedPrefetch {
    /// A limit with so many deliveries out already.
    pub fn new(limit: u32, used: u32) -> Self {
        Self { limit: AtomicU32::new(limit), used: AtomicU32::new(used) }
    }

    /// Counts deliveries in that are out already, whatever the limit.
    pub fn add(&self, count: u32) {
        let _ = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| Some(used.saturating_add(count)));
    }

    /// Sets the limit; what is already out stays out.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::SeqCst);
    }

    /// The limit, 0 for none.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::SeqCst)
    }

    /// Counts one delivery in, unless the limit is reached.
    pub fn acquire(&self) -> bool {
        let limit = self.limit();
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                (limit == 0 || used < limit).then(|| used.saturating_add(1))
            })
            .is_ok()
    }

    /// Counts settled deliveries out.
    pub fn release(&self, count: u32) {
        let _ = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| Some(used.saturating_sub(count)));
    }
}
