//! The keys of policies: what their values may be, where they make sense, and who wins when both kinds of policies have one.

use std::cmp::Ordering;

use super::validation::check_settings;
use super::{PolicyKind, ValidationError};
use crate::Name;
use crate::queue::QueueKind;
use crate::value::{Table, Value};

/// A key of a definition.
struct Key {
    name: &'static str,
    is_valid: fn(&Value) -> bool,
    /// What RabbitMQ says of a value that is not valid.
    complaint: &'static str,
    /// The types of queues that a policy with this key leaves alone, whatever else it says.
    foreign_to: &'static [QueueKind],
    /// How the values of both kinds of policies become one; `None` for keys that operators do not have.
    merge: Option<Merge>,
}

/// How the values of a user policy and an operator policy become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merge {
    /// The smaller one; what is below zero is no limit.
    Smaller,
    /// The larger one.
    Larger,
    /// The operator's.
    Operator,
}

const CLASSIC: &[QueueKind] = &[QueueKind::Classic];
const QUORUM: &[QueueKind] = &[QueueKind::Quorum];
const BOTH: &[QueueKind] = &[QueueKind::Classic, QueueKind::Quorum];

const NOWHERE_FOREIGN: &[QueueKind] = &[];

/// The keys in the order in which their values are checked. Those of mirrored queues, which RabbitMQ 4 does not have any
/// more, are there for definitions that come from 3.x; they have no effect.
const KEYS: &[Key] = &[
    text("alternate-exchange", "is not a valid alternate exchange name"),
    text("dead-letter-exchange", "is not a valid dead letter exchange name"),
    text("dead-letter-routing-key", "is not a valid dead letter routing key"),
    Key {
        name: "dead-letter-strategy",
        is_valid: |value| one_of(value, &["at-most-once", "at-least-once"]),
        complaint: "is not a valid dead letter strategy",
        foreign_to: CLASSIC,
        merge: None,
    },
    limit("message-ttl", is_natural, "is not a valid message TTL"),
    limit("expires", is_positive, "is not a valid queue expiry"),
    limit("max-length", is_natural, "is not a valid maximum length"),
    limit("max-length-bytes", is_natural, "is not a valid maximum length in bytes"),
    limit("max-in-memory-length", is_natural, "is not a valid maximum memory in bytes"),
    limit("max-in-memory-bytes", is_natural, "is not a valid maximum memory in bytes"),
    Key {
        name: "overflow",
        is_valid: |value| one_of(value, &["drop-head", "reject-publish", "reject-publish-dlx"]),
        complaint: "is not a valid overflow value",
        foreign_to: NOWHERE_FOREIGN,
        merge: Some(Merge::Operator),
    },
    Key {
        name: "delivery-limit",
        is_valid: |value| value.as_integer().is_some(),
        complaint: "is not a valid delivery limit",
        foreign_to: CLASSIC,
        merge: Some(Merge::Smaller),
    },
    Key { merge: None, ..limit("consumer-timeout", is_natural, "is not a valid consumer timeout") },
    Key {
        foreign_to: CLASSIC,
        merge: None,
        ..limit("consumer-disconnected-timeout", is_natural, "is not a valid consumer disconnected timeout")
    },
    Key {
        name: "delayed-retry-type",
        is_valid: |value| one_of(value, &["disabled", "all", "failed", "returned"]),
        complaint: "is not a valid delayed retry type",
        foreign_to: CLASSIC,
        merge: Some(Merge::Operator),
    },
    Key { foreign_to: CLASSIC, ..limit("delayed-retry-min", is_natural, "is not a valid delayed retry time") },
    Key { foreign_to: CLASSIC, ..limit("delayed-retry-max", is_natural, "is not a valid delayed retry time") },
    Key {
        name: "queue-mode",
        is_valid: |value| one_of(value, &["default", "lazy"]),
        complaint: "is not a valid queue-mode value",
        foreign_to: QUORUM,
        merge: None,
    },
    Key {
        name: "queue-version",
        is_valid: |value| matches!(value.as_integer(), Some(1 | 2)),
        complaint: "is not a valid queue-version value",
        foreign_to: NOWHERE_FOREIGN,
        merge: Some(Merge::Operator),
    },
    Key {
        name: "queue-leader-locator",
        is_valid: |value| one_of(value, &["client-local", "balanced", "random", "least-leaders"]),
        complaint: "is not a valid queue leader locator value",
        foreign_to: CLASSIC,
        merge: None,
    },
    Key {
        name: "queue-master-locator",
        is_valid: |value| one_of(value, &["client-local", "random", "min-masters"]),
        complaint: "invalid queue-master-locator value",
        foreign_to: QUORUM,
        merge: None,
    },
    Key {
        name: "target-group-size",
        is_valid: is_positive,
        complaint: "is not a valid target count for policy",
        foreign_to: CLASSIC,
        merge: Some(Merge::Larger),
    },
    Key {
        foreign_to: CLASSIC,
        merge: Some(Merge::Operator),
        ..text("member-placement-tag", "is not a valid member placement tag")
    },
    Key { name: "max-age", is_valid: is_age, complaint: "is not a valid max age", foreign_to: BOTH, merge: None },
    of_streams("stream-max-segment-size-bytes", is_natural, "is not a valid segment size"),
    of_streams("stream-filter-size-bytes", is_filter_size, "is not a valid filter size"),
    of_streams("initial-cluster-size", is_natural, "is not a valid cluster size"),
    Key {
        name: "delayed-message",
        is_valid: |value| matches!(value, Value::Bool(_)),
        complaint: "is not a valid delayed-message value",
        foreign_to: NOWHERE_FOREIGN,
        merge: None,
    },
    mirroring("ha-mode"),
    mirroring("ha-params"),
    mirroring("ha-sync-mode"),
    mirroring("ha-sync-batch-size"),
    mirroring("ha-promote-on-shutdown"),
    mirroring("ha-promote-on-failure"),
];

const fn text(name: &'static str, complaint: &'static str) -> Key {
    let is_valid = |value: &Value| value.as_str().is_some();
    Key { name, is_valid, complaint, foreign_to: NOWHERE_FOREIGN, merge: None }
}

const fn limit(name: &'static str, is_valid: fn(&Value) -> bool, complaint: &'static str) -> Key {
    Key { name, is_valid, complaint, foreign_to: NOWHERE_FOREIGN, merge: Some(Merge::Smaller) }
}

const fn of_streams(name: &'static str, is_valid: fn(&Value) -> bool, complaint: &'static str) -> Key {
    Key { name, is_valid, complaint, foreign_to: BOTH, merge: None }
}

const fn mirroring(name: &'static str) -> Key {
    Key { name, is_valid: |_| true, complaint: "", foreign_to: QUORUM, merge: None }
}

fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn is_natural(value: &Value) -> bool {
    value.as_integer().is_some_and(|number| number >= 0)
}

fn is_positive(value: &Value) -> bool {
    value.as_integer().is_some_and(|number| number > 0)
}

fn is_filter_size(value: &Value) -> bool {
    value.as_integer().is_some_and(|size| (16..=255).contains(&size))
}

/// A number and its unit: years, months, days, hours, minutes, seconds.
fn is_age(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let number = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(number.len()..).unwrap_or_default();
    matches!(unit, "Y" | "M" | "D" | "h" | "m" | "s") && number.parse::<u32>().is_ok()
}

fn one_of(value: &Value, names: &[&str]) -> bool {
    value.as_str().is_some_and(|text| names.contains(&text))
}

/// Refuses a definition that a policy of this kind cannot have.
pub(super) fn check(kind: PolicyKind, definition: &Table) -> Result<(), ValidationError> {
    if definition.is_empty() {
        return Err(ValidationError::NoDefinition);
    }
    let settings = check_settings(definition, |name, value| {
        let key = key(name).filter(|key| kind == PolicyKind::User || key.merge.is_some())?;
        let valid = (key.is_valid)(value);
        let refused = || ValidationError::InvalidSetting { value: value.clone(), complaint: key.complaint };
        Some(if valid { Ok(()) } else { Err(refused()) })
    })?;
    if settings.is_empty() { Ok(()) } else { Err(ValidationError::UnknownSettings { settings }) }
}

/// Whether a policy with this definition applies to queues of that type.
pub(super) fn suits(definition: &Table, queue: QueueKind) -> bool {
    !definition.iter().any(|(name, _)| key(name).is_some_and(|key| key.foreign_to.contains(&queue)))
}

/// What a user policy and an operator policy come to together, in the order of the keys.
pub(in crate::topology) fn merge(user: Option<&Table>, operator: Option<&Table>) -> Table {
    let mut merged = Table::new();
    let mut definitions: Vec<&(Name, Value)> = user.into_iter().flat_map(Table::iter).collect();
    definitions.extend(operator.into_iter().flat_map(Table::iter));
    definitions.sort_by(|(one, _), (two, _)| one.cmp(two));
    let mut rest = definitions.into_iter().peekable();
    while let Some((name, value)) = rest.next() {
        // A stable sort leaves the user's before the operator's.
        let value = match rest.next_if(|(next, _)| next == name) {
            Some((_, operators)) => winner(name, value, operators),
            None => value,
        };
        merged.push(Name::clone(name), value.clone());
    }
    merged
}

fn winner<'a>(name: &str, users: &'a Value, operators: &'a Value) -> &'a Value {
    let order = limit_order(users, operators);
    match key(name).and_then(|key| key.merge) {
        Some(Merge::Smaller) if order == Ordering::Less => users,
        Some(Merge::Larger) if users.as_integer() > operators.as_integer() => users,
        Some(Merge::Smaller | Merge::Larger | Merge::Operator) | None => operators,
    }
}

/// Which limit is the narrower one; a number below zero is no limit.
fn limit_order(one: &Value, two: &Value) -> Ordering {
    let limit = |value: &Value| value.as_integer().filter(|number| *number >= 0).unwrap_or(i128::MAX);
    limit(one).cmp(&limit(two))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(settings: &[(&str, Value)]) -> Table {
        settings.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    fn refusal(kind: PolicyKind, settings: &[(&str, Value)]) -> Option<String> {
        check(kind, &table(settings)).err().map(|error| error.to_string())
    }

    #[test]
    fn bad_values_are_refused_in_rabbitmqs_words() {
        let (one, text) = (Value::I64(1), Value::text("x"));
        for (key, value, complaint) in [
            ("alternate-exchange", &one, "1 is not a valid alternate exchange name"),
            ("dead-letter-exchange", &one, "1 is not a valid dead letter exchange name"),
            ("dead-letter-routing-key", &one, "1 is not a valid dead letter routing key"),
            ("dead-letter-strategy", &text, "<<\"x\">> is not a valid dead letter strategy"),
            ("message-ttl", &Value::I64(-1), "-1 is not a valid message TTL"),
            ("message-ttl", &text, "<<\"x\">> is not a valid message TTL"),
            ("expires", &Value::I64(0), "0 is not a valid queue expiry"),
            ("max-length", &Value::F64(1.5), "1.5 is not a valid maximum length"),
            ("max-length", &Value::Void, "null is not a valid maximum length"),
            ("max-length", &Value::Bool(true), "true is not a valid maximum length"),
            (
                "max-length",
                &Value::Array(vec![one.clone(), text.clone()]),
                "[1,<<\"x\">>] is not a valid maximum length",
            ),
            (
                "max-length",
                &Value::Table(table(&[("a", one.clone())])),
                "#{<<\"a\">> => 1} is not a valid maximum length",
            ),
            ("max-length-bytes", &Value::I64(-1), "-1 is not a valid maximum length in bytes"),
            ("max-in-memory-length", &Value::I64(-1), "-1 is not a valid maximum memory in bytes"),
            ("overflow", &text, "<<\"x\">> is not a valid overflow value"),
            ("delivery-limit", &text, "<<\"x\">> is not a valid delivery limit"),
            ("consumer-timeout", &text, "<<\"x\">> is not a valid consumer timeout"),
            ("queue-mode", &one, "1 is not a valid queue-mode value"),
            ("queue-version", &Value::I64(3), "3 is not a valid queue-version value"),
            ("queue-master-locator", &text, "<<\"x\">> invalid queue-master-locator value"),
            ("queue-leader-locator", &text, "<<\"x\">> is not a valid queue leader locator value"),
            ("max-age", &text, "<<\"x\">> is not a valid max age"),
            ("max-age", &Value::text("1w"), "<<\"1w\">> is not a valid max age"),
            ("stream-max-segment-size-bytes", &Value::I64(-1), "-1 is not a valid segment size"),
            ("stream-filter-size-bytes", &Value::I64(15), "15 is not a valid filter size"),
            ("initial-cluster-size", &text, "<<\"x\">> is not a valid cluster size"),
            ("delayed-message", &text, "<<\"x\">> is not a valid delayed-message value"),
        ] {
            assert_eq!(refusal(PolicyKind::User, &[(key, value.clone())]).as_deref(), Some(complaint), "{key}");
        }
    }

    #[test]
    fn good_values_are_accepted() {
        for (key, value) in [
            ("alternate-exchange", Value::text("")),
            ("message-ttl", Value::I64(0)),
            ("message-ttl", Value::I64(315_360_000_001)),
            ("expires", Value::I64(1)),
            ("overflow", Value::text("reject-publish-dlx")),
            ("delivery-limit", Value::I64(-1)),
            ("dead-letter-strategy", Value::text("at-least-once")),
            ("consumer-timeout", Value::I64(1000)),
            ("queue-mode", Value::text("lazy")),
            ("queue-version", Value::I64(2)),
            ("max-age", Value::text("30D")),
            ("stream-filter-size-bytes", Value::I64(255)),
            ("delayed-message", Value::Bool(true)),
            ("ha-mode", Value::text("all")),
            ("ha-params", Value::I64(2)),
        ] {
            assert_eq!(refusal(PolicyKind::User, &[(key, value)]), None, "{key}");
        }
    }

    #[test]
    fn unknown_keys_come_after_bad_values_and_all_together() {
        let unknown = [("nope", Value::I64(1)), ("max-length", Value::I64(3)), ("other", Value::text("b"))];
        let text = "[{<<\"nope\">>,1},{<<\"other\">>,<<\"b\">>}] are not recognised policy settings";
        assert_eq!(refusal(PolicyKind::User, &unknown).unwrap(), text);
        let both = [("nope", Value::I64(1)), ("max-length", Value::I64(-1))];
        assert_eq!(refusal(PolicyKind::User, &both).unwrap(), "-1 is not a valid maximum length");
        assert_eq!(refusal(PolicyKind::User, &[]).unwrap(), "no policy provided");
        let twice = [("expires", Value::I64(1)), ("expires", Value::I64(1))];
        assert_eq!(refusal(PolicyKind::User, &twice).unwrap(), "[<<\"expires\">>] duplicate keys not allowed");
    }

    #[test]
    fn operators_have_fewer_keys() {
        let allowed = [
            "expires",
            "message-ttl",
            "max-length",
            "max-length-bytes",
            "max-in-memory-length",
            "max-in-memory-bytes",
            "delivery-limit",
            "target-group-size",
            "delayed-retry-min",
            "delayed-retry-max",
        ];
        for key in KEYS {
            let known = refusal(PolicyKind::Operator, &[(key.name, Value::I64(1))]);
            let refused = known.is_some_and(|text| text.ends_with("are not recognised policy settings"));
            let others = ["queue-version", "overflow", "member-placement-tag", "delayed-retry-type"];
            assert_eq!(!refused, allowed.contains(&key.name) || others.contains(&key.name), "{}", key.name);
        }
    }

    #[test]
    fn both_kinds_merge_key_by_key() {
        let (small, large, none) = (Value::I64(5), Value::I64(9), Value::I64(-1));
        let (drop, reject) = (Value::text("drop-head"), Value::text("reject-publish"));
        for (key, user, operator, expected) in [
            ("message-ttl", Some(&small), Some(&large), &small),
            ("message-ttl", Some(&large), Some(&small), &small),
            ("message-ttl", Some(&large), None, &large),
            ("message-ttl", None, Some(&large), &large),
            ("expires", Some(&large), Some(&small), &small),
            ("max-length", Some(&small), Some(&large), &small),
            ("max-length-bytes", Some(&large), Some(&small), &small),
            ("delivery-limit", Some(&none), Some(&large), &large),
            ("delivery-limit", Some(&small), Some(&none), &small),
            ("target-group-size", Some(&small), Some(&large), &large),
            ("target-group-size", Some(&large), Some(&small), &large),
            ("overflow", Some(&drop), Some(&reject), &reject),
            ("queue-version", Some(&large), Some(&small), &small),
        ] {
            let of = |value: Option<&Value>| value.map(|value| table(&[(key, value.clone())]));
            let merged = merge(of(user).as_ref(), of(operator).as_ref());
            assert_eq!(merged, table(&[(key, expected.clone())]), "{key} {user:?} {operator:?}");
        }
        let user = table(&[("overflow", reject.clone()), ("dead-letter-exchange", Value::text("x"))]);
        let operator = table(&[("max-length", small.clone())]);
        let all = [("dead-letter-exchange", Value::text("x")), ("max-length", small), ("overflow", reject)];
        assert_eq!(merge(Some(&user), Some(&operator)), table(&all));
    }

    #[test]
    fn keys_of_other_types_of_queues_keep_a_policy_away() {
        for (key, classic, quorum) in [
            ("max-length", true, true),
            ("consumer-timeout", true, true),
            ("delivery-limit", false, true),
            ("dead-letter-strategy", false, true),
            ("queue-mode", true, false),
            ("ha-mode", true, false),
            ("max-age", false, false),
            ("delayed-message", true, true),
        ] {
            let definition = table(&[("message-ttl", Value::I64(1)), (key, Value::I64(1))]);
            let suited = [QueueKind::Classic, QueueKind::Quorum].map(|queue| suits(&definition, queue));
            assert_eq!(suited, [classic, quorum], "{key}");
        }
    }
}
