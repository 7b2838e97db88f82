//! A number's past as the API gives it: `{"rate": …}`, with samples if somebody wants to look back.

use serde_json::{Value as Json, json};

use super::ages::{Age, Kind};
use super::series::{Series, change};

/// The details of one number of a series, at a time in milliseconds since 1970.
pub(super) fn details(series: Option<&Series>, field: usize, kind: Kind, age: Option<Age>, now: u64) -> Json {
    let rate = series.map_or(0.0, |series| series.rate(field));
    let Some(Age { age_s, increment_s }) = age else { return json!({ "rate": rate }) };
    let step = increment_s * 1000;
    let newest = now / step * step;
    let times = (0..=age_s / increment_s).filter_map(|back| newest.checked_sub(back * step));
    let sample = |time| {
        let known = series.and_then(|series| series.at(time, field));
        // There were no messages before there was a queue; what has been counted before is not known.
        let value = if kind == Kind::Lengths { Some(known.unwrap_or_default()) } else { known };
        value.map(|value| (time, value))
    };
    let samples: Vec<(u64, u64)> = times.filter_map(sample).collect();
    let mut details = json!({ "rate": rate });
    if let (Some((to_at, to)), Some((from_at, from))) = (samples.first(), samples.last())
        && samples.len() > 1
    {
        details = json!({
            "avg": average(&samples),
            "avg_rate": change(Some(*from), Some(*to), to_at - from_at),
            "rate": rate,
        });
    }
    if let Json::Object(members) = &mut details {
        let samples = samples.iter().map(|(at, value)| json!({ "sample": value, "timestamp": at })).collect();
        members.insert("samples".into(), samples);
    }
    details
}

#[expect(clippy::cast_precision_loss, reason = "an average that is a little off is as good")]
fn average(samples: &[(u64, u64)]) -> f64 {
    let sum: u128 = samples.iter().map(|(_, value)| u128::from(*value)).sum();
    sum as f64 / samples.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::series::BASIC;
    use super::*;

    #[test]
    fn a_look_back_has_samples_newest_first() {
        let mut series = Series::since(100_000, 1);
        series.remember(BASIC);
        for (at, value) in [(105_000, 10), (110_000, 30), (115_000, 30)] {
            series.push(at, &[value]);
        }
        let age = Some(Age { age_s: 15, increment_s: 5 });
        let samples = |values: &[(u64, u64)]| -> Json {
            values.iter().map(|(at, value)| json!({ "sample": value, "timestamp": at })).collect()
        };
        for (kind, age, expected) in [
            (Kind::Messages, None, json!({ "rate": 0.0 })),
            (
                Kind::Messages,
                age,
                json!({
                    "avg": 17.5, "avg_rate": 2.0, "rate": 0.0,
                    "samples": samples(&[(115_000, 30), (110_000, 30), (105_000, 10), (100_000, 0)]),
                }),
            ),
            (
                Kind::Messages,
                Some(Age { age_s: 40, increment_s: 20 }),
                json!({ "rate": 0.0, "samples": samples(&[(100_000, 0)]) }),
            ),
            (
                Kind::Lengths,
                Some(Age { age_s: 40, increment_s: 20 }),
                json!({
                    "avg": 0.0, "avg_rate": 0.0, "rate": 0.0,
                    "samples": samples(&[(100_000, 0), (80_000, 0), (60_000, 0)]),
                }),
            ),
        ] {
            assert_eq!(details(Some(&series), 0, kind, age, 117_000), expected, "{kind:?} {age:?}");
        }
    }

    #[test]
    fn what_nobody_knows_has_no_past() {
        let age = Some(Age { age_s: 10, increment_s: 5 });
        assert_eq!(details(None, 0, Kind::Octets, age, 20_000), json!({ "rate": 0.0, "samples": [] }));
    }
}
