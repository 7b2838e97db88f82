//! What the headers of a message ask for.

use crate::clock::Timestamp;
use crate::value::{Table, Value};

/// The header that says for how many milliseconds a message is held back.
pub const DELAY_HEADER: &str = "x-delay";
/// The header that says until when.
pub const DELIVER_AT_HEADER: &str = "x-deliver-at";
/// The longest delay, in milliseconds: ten years of 365 days. What asks for more is not held back, as in RabbitMQ, where that
/// begins at 2^32.
pub const DELAY_MS_MAX: u64 = 10 * 365 * 24 * 60 * 60 * 1000;

/// When a message with these headers is due, if that is later than now.
///
/// `x-delay` counts if it is a number, which may be written as text; what is negative has been held back before.
/// `x-deliver-at` counts in milliseconds since 1970, or is a timestamp of AMQP, in seconds.
pub fn due(headers: &Table, now: Timestamp) -> Option<Timestamp> {
    let delay = match headers.get(DELAY_HEADER).and_then(number) {
        Some(delay) => delay,
        None => deliver_at(headers.get(DELIVER_AT_HEADER)?)? - i128::from(now.0),
    };
    match u64::try_from(delay) {
        Ok(delay @ 1..=DELAY_MS_MAX) => Some(now.plus_ms(delay)),
        _ => None,
    }
}

/// A number as RabbitMQ's plugin reads it: whole numbers, text, and other numbers without what is behind their point.
pub(crate) fn number(value: &Value) -> Option<i128> {
    #[expect(clippy::cast_possible_truncation, reason = "what is too large stays too large")]
    match value {
        Value::LongStr(_) => value.as_str()?.parse().ok(),
        Value::F32(number) => Some(*number as i128),
        Value::F64(number) => Some(*number as i128),
        Value::Decimal { scale, value } => {
            Some(10_i128.checked_pow((*scale).into()).map_or(0, |one| i128::from(*value) / one))
        }
        _ => value.as_integer(),
    }
}

fn deliver_at(value: &Value) -> Option<i128> {
    match value {
        Value::Timestamp(seconds) => Some(i128::from(*seconds) * 1000),
        _ => number(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_a_number_of_milliseconds() {
        const NOW: u64 = 1_000_000;
        let most = i64::try_from(DELAY_MS_MAX).unwrap();
        for (delay, expected) in [
            (Value::I32(1), Some(1)),
            (Value::I32(5000), Some(5000)),
            (Value::I8(100), Some(100)),
            (Value::U8(200), Some(200)),
            (Value::I16(300), Some(300)),
            (Value::U16(60_000), Some(60_000)),
            (Value::U32(u32::MAX), Some(4_294_967_295)),
            (Value::I64(4_294_967_296), Some(4_294_967_296)),
            (Value::I64(most), Some(DELAY_MS_MAX)),
            (Value::I64(most + 1), None),
            (Value::I64(i64::MAX), None),
            (Value::U64(u64::MAX), None),
            (Value::I32(0), None),
            (Value::I32(-5000), None),
            (Value::text("5000"), Some(5000)),
            (Value::text("+7"), Some(7)),
            (Value::text("-7"), None),
            (Value::text("soon"), None),
            (Value::text(""), None),
            (Value::F64(1500.9), Some(1500)),
            (Value::F32(0.9), None),
            (Value::F64(f64::NAN), None),
            (Value::F64(f64::INFINITY), None),
            (Value::Decimal { scale: 2, value: 12_345 }, Some(123)),
            (Value::Decimal { scale: 255, value: 1 }, None),
            (Value::Bool(true), None),
            (Value::Timestamp(100), None),
            (Value::Void, None),
            (Value::Array(vec![Value::I32(1)]), None),
        ] {
            let headers = [(DELAY_HEADER.into(), delay.clone())].into_iter().collect();
            let expected = expected.map(|delay| Timestamp(NOW + delay));
            assert_eq!(due(&headers, Timestamp(NOW)), expected, "{delay:?}");
        }
        assert_eq!(due(&Table::new(), Timestamp(NOW)), None);
    }

    #[test]
    fn a_message_can_say_until_when() {
        const NOW: u64 = 1_800_000_000_000;
        let delay = |ms| Some(Value::I64(ms));
        for (delay, deliver_at, expected) in [
            (None, Value::I64(1_800_000_000_001), Some(1)),
            (None, Value::I64(1_800_000_000_000), None),
            (None, Value::I64(0), None),
            (None, Value::I64(-1), None),
            (None, Value::text("1800000005000"), Some(5000)),
            (None, Value::Timestamp(1_800_000_060), Some(60_000)),
            (None, Value::Timestamp(1_700_000_000), None),
            (None, Value::Timestamp(u64::MAX), None),
            (None, Value::Bool(true), None),
            // The delay goes first, also where it is over.
            (delay(5), Value::Timestamp(1_800_000_060), Some(5)),
            (delay(-5), Value::Timestamp(1_800_000_060), None),
            (Some(Value::Void), Value::Timestamp(1_800_000_060), Some(60_000)),
        ] {
            let mut headers: Table = [(DELIVER_AT_HEADER.into(), deliver_at.clone())].into_iter().collect();
            headers = headers.iter().cloned().chain(delay.clone().map(|delay| (DELAY_HEADER.into(), delay))).collect();
            let expected = expected.map(|delay| Timestamp(NOW + delay));
            assert_eq!(due(&headers, Timestamp(NOW)), expected, "{delay:?} {deliver_at:?}");
        }
    }
}
