//! The rules any octets must keep to, tried on random octets and on recorded ones with a few octets changed.
//!
//! Plain `cargo test` tries each rule `LEVERET_FUZZ_ITERATIONS` times. A failure prints `BOLERO_RANDOM_SEED=...`, which,
//! set in the environment, repeats it. With cargo-bolero installed,
//! `cargo bolero test -p leveret-protocol frames` puts a coverage-guided fuzzer on the same rule.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod shared;

use leveret_protocol::amqp091::FrameKind;
use shared::invariants;
use shared::sessions::{SESSIONS, Session, payloads, tables};

/// Iterations without `LEVERET_FUZZ_ITERATIONS`: about a second in a debug build for all rules.
const ITERATIONS: usize = 10_000;
/// Octets per input.
const INPUT_MAX: usize = 1024;

/// Tries a rule on octets as they come and on recordings changed by them.
///
/// A macro, not a function: a target bears the name of the function it stands in.
macro_rules! fuzz {
    ($recorded:expr, $rule:expr) => {{
        let recorded: Vec<&[u8]> = $recorded;
        bolero::check!().with_iterations(iterations()).with_max_len(INPUT_MAX).for_each(|input: &[u8]| {
            $rule(input);
            $rule(&changed(&recorded, input));
        });
    }};
}

#[test]
fn frames() {
    let sessions: Vec<&[u8]> = SESSIONS.iter().map(Session::stream).collect();
    fuzz!(sessions, invariants::frames);
}

#[test]
fn method() {
    fuzz!(payloads(FrameKind::Method), invariants::method);
}

#[test]
fn content() {
    fuzz!(payloads(FrameKind::Header), invariants::content);
}

#[test]
fn properties() {
    let raw = payloads(FrameKind::Header).into_iter().filter_map(|payload| payload.get(12..)).collect();
    fuzz!(raw, invariants::properties);
}

#[test]
fn table() {
    fuzz!(tables(), invariants::table);
}

fn iterations() -> usize {
    let given = std::env::var("LEVERET_FUZZ_ITERATIONS").ok();
    given.map_or(ITERATIONS, |given| given.parse().unwrap_or_else(|_| panic!("LEVERET_FUZZ_ITERATIONS={given}")))
}

/// One of the recordings, from some place on, with the changes that `input` spells: five octets each.
fn changed(recorded: &[&[u8]], input: &[u8]) -> Vec<u8> {
    let mut input = input.iter().map(|octet| usize::from(*octet));
    let mut next = |below: usize| {
        let number = input.next().unwrap_or_default() << 8 | input.next().unwrap_or_default();
        number.checked_rem(below).unwrap_or_default()
    };
    let mut octets = recorded.get(next(recorded.len())).unwrap().to_vec();
    // A handful: with more changes hardly anything gets past the first field.
    for _ in 0..next(8) {
        let at = next(octets.len());
        let value = u8::try_from(next(256)).unwrap();
        match next(6) {
            0 => octets.truncate(at),
            1 => octets.insert(at, value),
            2 if !octets.is_empty() => drop(octets.remove(at)),
            3 => octets.extend_from_within(at..(at + usize::from(value)).min(octets.len())),
            4 => octets.iter_mut().skip(at).take(1).for_each(|octet| *octet ^= 1 << (value % 8)),
            _ => octets.iter_mut().skip(at).take(1).for_each(|octet| *octet = value),
        }
    }
    octets
}
