//! Numbers for people: conversions that may lose precision, and how they are written.

/// A count as a float; above 2^53 the last digits go, which no figure shown here would miss.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// A non-negative float as a count, rounded to the nearest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float beyond the range saturates")]
pub(crate) fn count(value: f64) -> u64 {
    value.round() as u64
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(span_ns: u64) -> f64 {
    float(span_ns) / 1e9
}

/// How many a second; 0 when no time has passed.
pub(crate) fn rate(events: u64, span_ns: u64) -> f64 {
    if span_ns == 0 { 0.0 } else { float(events) / seconds(span_ns) }
}

/// KiB as MiB.
pub(crate) fn mib(kib: u64) -> f64 {
    float(kib) / 1024.0
}

/// A count with a comma between thousands.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A span in the unit that suits it: `87 µs`, `1.24 ms`, `3.5 s`.
pub(crate) fn span(span_ns: u64) -> String {
    let value = float(span_ns);
    match span_ns {
        0..10_000 => format!("{:.1} µs", value / 1e3),
        10_000..1_000_000 => format!("{:.0} µs", value / 1e3),
        1_000_000..10_000_000 => format!("{:.2} ms", value / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }

    #[test]
    fn a_span_takes_the_unit_that_suits_it() {
        for (ns, text) in [
            (0, "0.0 µs"),
            (9_949, "9.9 µs"),
            (87_400, "87 µs"),
            (1_240_000, "1.24 ms"),
            (87_000_000, "87 ms"),
            (3_500_000_000, "3.50 s"),
        ] {
            assert_eq!(span(ns), text);
        }
    }
}
