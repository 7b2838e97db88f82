//! A log-linear histogram of spans: exact below 64 ns, within 0.8 % above.

use crate::figures::{count, float};

/// Buckets in each power of two.
const STEPS: u64 = 1 << STEPS_BITS;
const STEPS_BITS: u32 = 6;
/// Longest span told apart: 2^42 ns, 73 minutes. Longer ones count as this, except in the maximum.
const SPAN_BITS: u32 = 42;
const BUCKETS: usize = ((SPAN_BITS - STEPS_BITS + 1) as usize) << STEPS_BITS;

/// Counts spans in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    samples: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], samples: 0, max_ns: 0 }
    }
}

impl Histogram {
    /// Counts one span.
    #[inline]
    pub(crate) fn record(&mut self, span_ns: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(span_ns)) {
            *bucket += 1;
        }
        self.samples += 1;
        self.max_ns = self.max_ns.max(span_ns);
    }

    /// Adds everything `other` has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (to, from) in self.buckets.iter_mut().zip(&other.buckets) {
            *to += from;
        }
        self.samples += other.samples;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// How many spans were counted.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// The longest span, exactly, in nanoseconds.
    pub(crate) fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The span, in nanoseconds, that `share` (0 to 1) of all do not exceed; 0 if there are none.
    pub(crate) fn quantile_ns(&self, share: f64) -> u64 {
        let rank = count((float(self.samples) * share).ceil()).max(1);
        let mut below = 0;
        for (at, bucket) in (0_u64..).zip(&self.buckets) {
            below += bucket;
            if below >= rank {
                return middle_of(at).min(self.max_ns);
            }
        }
        self.max_ns
    }
}

/// Spans below `STEPS` have a bucket each; above, each power of two is cut into `STEPS` equal ones.
#[inline]
fn bucket_of(span_ns: u64) -> usize {
    let span = span_ns.min((1 << SPAN_BITS) - 1);
    let shift = (u64::BITS - span.leading_zeros()).saturating_sub(STEPS_BITS + 1);
    let bucket = u64::from(shift) * STEPS + (span >> shift);
    usize::try_from(bucket).unwrap_or(BUCKETS - 1)
}

fn middle_of(bucket: u64) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    let low = (bucket - shift * STEPS) << shift;
    low + ((1 << shift) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_falls_into_a_bucket_within_one_percent_of_it() {
        for bits in 0..SPAN_BITS {
            for span in [1_u64 << bits, (1 << bits) + (1 << bits) / 3, (2 << bits) - 1] {
                let bucket = bucket_of(span);
                assert!(bucket < BUCKETS, "{span}");
                let off = middle_of(bucket as u64).abs_diff(span);
                assert!(off * 100 <= span, "{span} is told as {}", middle_of(bucket as u64));
            }
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_spans_recorded() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile_ns(0.5), histogram.max_ns()), (0, 0));
        for span in 1..=100_000 {
            histogram.record(span);
        }
        for (share, span) in [(0.0, 1), (0.5, 50_000), (0.99, 99_000), (0.999, 99_900), (1.0, 100_000)] {
            let told = histogram.quantile_ns(share);
            assert!(told.abs_diff(span) * 100 <= span, "{share}: {told}, not {span}");
        }
        assert_eq!((histogram.samples(), histogram.max_ns()), (100_000, 100_000));
    }

    #[test]
    fn merged_histograms_are_one() {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        a.record(10);
        b.record(20);
        b.record(u64::MAX);
        a.merge(&b);
        assert_eq!((a.samples(), a.max_ns(), a.quantile_ns(0.6)), (3, u64::MAX, 20));
    }
}
