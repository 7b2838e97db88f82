//! What a queue's sessions have to know of its settings, readable without its lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{QueueKind, QueueSettings};

/// How long deliveries may stay unsettled, and what kind of queue they come from.
#[derive(Debug, Default)]
pub(super) struct ConsumerRules {
    /// 0 is for ever.
    timeout_ms: AtomicU64,
    is_quorum: AtomicBool,
    has_single_active: AtomicBool,
}

impl ConsumerRules {
    /// Takes over settings; says whether the time changed.
    pub(super) fn set(&self, settings: &QueueSettings) -> bool {
        self.is_quorum.store(settings.kind == QueueKind::Quorum, Ordering::Relaxed);
        self.has_single_active.store(settings.single_active_consumer, Ordering::Relaxed);
        let timeout_ms = settings.consumer_timeout_ms.unwrap_or(0);
        self.timeout_ms.swap(timeout_ms, Ordering::Relaxed) != timeout_ms
    }

    pub(super) fn timeout_ms(&self) -> Option<u64> {
        Some(self.timeout_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0)
    }

    pub(super) fn has_single_active(&self) -> bool {
        self.has_single_active.load(Ordering::Relaxed)
    }

    pub(super) fn kind(&self) -> QueueKind {
        if self.is_quorum.load(Ordering::Relaxed) { QueueKind::Quorum } else { QueueKind::Classic }
    }
}
