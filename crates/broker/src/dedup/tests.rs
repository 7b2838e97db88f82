//! What counts as seen before, and for how long.

use super::*;
use crate::value::Table;
use proptest::prelude::*;

fn id(text: &str) -> MessageId {
    MessageId::from(&Value::text(text))
}

fn at(ms: u64) -> Timestamp {
    Timestamp(ms)
}

#[test]
fn ids_are_the_same_whatever_the_width_of_a_number() {
    let table = |name: &str, value| Value::Table([(name.into(), value)].into_iter().collect::<Table>());
    for (one, two, same) in [
        (Value::I64(42), Value::U8(42), true),
        (Value::I64(-1), Value::I8(-1), true),
        (Value::I64(42), Value::text("42"), false),
        (Value::I64(42), Value::F64(42.0), false),
        (Value::I64(42), Value::Timestamp(42), false),
        (Value::F32(0.5), Value::F64(0.5), true),
        (Value::F64(0.0), Value::F64(-0.0), true),
        (Value::text("a"), Value::Bytes(b"a".as_slice().into()), true),
        (Value::text("a"), Value::text("A"), false),
        (Value::text(""), Value::Void, false),
        (Value::Bool(true), Value::Bool(false), false),
        (Value::Void, Value::Void, true),
        (Value::Decimal { scale: 1, value: 2 }, Value::Decimal { scale: 2, value: 1 }, false),
        (Value::Array(vec![Value::I8(1)]), Value::Array(vec![Value::I64(1)]), true),
        (Value::Array(vec![Value::text("a"), Value::text("b")]), Value::Array(vec![Value::text("ab")]), false),
        (table("a", Value::I8(1)), table("a", Value::I32(1)), true),
        (table("a", Value::I8(1)), table("b", Value::I8(1)), false),
    ] {
        assert_eq!(MessageId::from(&one) == MessageId::from(&two), same, "{one:?} {two:?}");
    }
}

#[test]
fn an_id_comes_back_from_its_octets() {
    let id = id("a");
    assert_eq!(MessageId::from_octets(id.octets()), id);
}

#[test]
fn an_id_is_new_once_until_its_time_is_over() {
    let mut recent = Recent::new(10);
    for (name, until, now, is_new) in [
        ("a", Some(100), 0, true),
        ("a", Some(999), 50, false),
        ("a", None, 99, false),
        ("b", None, 99, true),
        ("a", Some(200), 100, true),
        ("a", None, 150, false),
        ("b", None, 1_000_000, false),
        ("a", Some(0), 1_000_000, true),
        ("a", None, 1_000_000, true),
        ("a", None, 2_000_000, false),
    ] {
        assert_eq!(recent.insert(&id(name), until.map(Timestamp), at(now)), is_new, "{name} at {now}");
    }
}

#[test]
fn the_oldest_id_makes_room_for_a_new_one() {
    let mut recent = Recent::new(2);
    for (name, is_new) in [("a", true), ("b", true), ("a", false), ("c", true), ("b", false), ("a", true), ("b", true)]
    {
        assert_eq!(recent.insert(&id(name), None, at(0)), is_new, "{name}");
        assert!(recent.len() <= 2);
    }
    let mut smallest = Recent::new(0);
    assert!(smallest.insert(&id("a"), None, at(0)) && !smallest.insert(&id("a"), None, at(0)));
}

#[test]
fn ids_whose_time_is_over_take_no_room() {
    let mut recent = Recent::new(1_000);
    for n in 0..10_000_u64 {
        assert!(recent.insert(&id(&n.to_string()), Some(at(n + 10)), at(n)));
        assert!(recent.len() <= 10);
    }
    // One that stays keeps the others from leaving in order; what they leave behind has a bound nevertheless.
    let mut recent = Recent::new(1_000);
    assert!(recent.insert(&id("stays"), None, at(0)));
    for n in 0..10_000_u64 {
        assert!(recent.insert(&id("comes back"), Some(at(n + 1)), at(n)));
    }
    assert_eq!(recent.len(), 2);
    assert!(recent.order.len() <= 2 * 2 + STALE_KEPT + 1);
}

#[test]
fn what_is_remembered_is_told_in_the_order_in_which_it_came() {
    let mut recent = Recent::new(3);
    for (name, until) in [("a", None), ("b", Some(5)), ("c", Some(9))] {
        recent.insert(&id(name), until.map(Timestamp), at(0));
    }
    recent.insert(&id("b"), Some(at(20)), at(6));
    let told: Vec<_> = recent.iter().collect();
    assert_eq!(told, [(&id("a"), None), (&id("c"), Some(at(9))), (&id("b"), Some(at(20)))]);
}

#[test]
fn an_id_is_present_until_its_message_leaves() {
    let mut present = Present::default();
    present.insert(id("a"), 3, None);
    present.insert(id("b"), 5, Some(at(100)));
    for (name, now, expected) in
        [("a", 0, true), ("a", u64::MAX, true), ("b", 99, true), ("b", 100, false), ("c", 0, false)]
    {
        assert_eq!(present.is_duplicate(&id(name), at(now)), expected, "{name} at {now}");
    }
    // The one whose time is over still stands in the queue; when it leaves, the new one stays.
    present.insert(id("b"), 8, None);
    present.remove(4..8);
    assert!(present.is_duplicate(&id("b"), at(100)) && present.is_duplicate(&id("a"), at(0)));
    present.remove(0..8);
    assert!(!present.is_duplicate(&id("a"), at(0)));
    assert_eq!(present.len(), 1);
    present.remove(8..9);
    assert!(present.is_empty() && present.ids.is_empty());
}

proptest! {
    #[test]
    fn recent_ids_are_what_a_plain_list_says(
        size in 1..6_usize,
        arrivals in prop::collection::vec((0..8_u8, prop::option::of(0..6_u64), 0..3_u64), 0..80),
    ) {
        let mut recent = Recent::new(size);
        let mut list: Vec<(u8, Option<u64>)> = Vec::new();
        let mut now = 0;
        for (name, ttl, step) in arrivals {
            now += step;
            let until = ttl.map(|ttl| now + ttl);
            // Those at the front whose time is over go first; others only when their own id comes again.
            while list.first().is_some_and(|(_, until)| until.is_some_and(|until| until <= now)) {
                list.remove(0);
            }
            let known = list.iter().position(|(known, _)| *known == name);
            let expected = match known {
                Some(at) if list[at].1.is_none_or(|until| until > now) => false,
                known => {
                    known.map(|at| list.remove(at));
                    while list.len() >= size {
                        list.remove(0);
                    }
                    list.push((name, until));
                    true
                }
            };
            prop_assert_eq!(recent.insert(&id(&name.to_string()), until.map(Timestamp), at(now)), expected);
            let told: Vec<_> = recent.iter().map(|(id, until)| (id.clone(), until)).collect();
            let listed: Vec<_> = list.iter().map(|(name, until)| (id(&name.to_string()), until.map(Timestamp))).collect();
            prop_assert_eq!(told, listed);
        }
    }
}
