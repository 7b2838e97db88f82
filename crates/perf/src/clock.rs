//! The one clock of a run.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub(crate) const MILLISECOND_NS: u64 = 1_000_000;

/// Nanoseconds on the monotonic clock of the machine.
///
/// All processes of a machine share it, so a stamp made by one `leveret perf` can be read by another beside it.
#[inline]
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds.wrapping_mul(SECOND_NS).wrapping_add(nanoseconds)
}

/// A span of nanoseconds as the kernel takes it.
pub(crate) fn timespec(span_ns: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span_ns / SECOND_NS).unwrap_or(i64::MAX),
        tv_nsec: (span_ns % SECOND_NS).try_into().unwrap_or_default(),
    }
}
