//! What the arguments of declarations may be.

use super::QueueRecord;
use crate::Name;
use crate::error::{Error, InvalidValue, Resource};
use crate::exchange::{ALTERNATE_ARGUMENT, Declaration};
use crate::queue::QueueKind;
use crate::value::{Table, Value};

/// The argument that says what a queue is made of.
pub(super) const QUEUE_TYPE_ARGUMENT: &str = "x-queue-type";

const DEAD_LETTER_EXCHANGE_ARGUMENT: &str = "x-dead-letter-exchange";

const CLASSIC: &str = "classic";
const QUORUM: &str = "quorum";

/// The longest time a timer may run: ten years of 365 days.
const EXPIRY_MS_MAX: i128 = 10 * 365 * 24 * 60 * 60 * 1000;

const PRIORITY_MAX: i128 = 255;

/// The type an argument names, if there are queues of it.
pub(super) fn queue_kind(name: &str) -> Option<QueueKind> {
    match name {
        CLASSIC => Some(QueueKind::Classic),
        QUORUM => Some(QueueKind::Quorum),
        _ => None,
    }
}

/// The arguments that a declaration has to repeat. All others that start with `x-` are stored and shown, but mean nothing,
/// except for `x-consumer-timeout`.
pub(super) const fn repeated_arguments(kind: QueueKind) -> &'static [&'static str] {
    match kind {
        QueueKind::Classic => CLASSIC_ARGUMENTS,
        QueueKind::Quorum => QUORUM_ARGUMENTS,
    }
}

/// Arguments that only other types of queues know, and that a queue is therefore refused with.
const fn other_arguments(kind: QueueKind) -> &'static [&'static str] {
    match kind {
        QueueKind::Classic => NOT_CLASSIC,
        QueueKind::Quorum => NOT_QUORUM,
    }
}

/// The arguments of classic queues that a declaration has to repeat, in the order in which RabbitMQ compares them.
const CLASSIC_ARGUMENTS: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    DEAD_LETTER_EXCHANGE_ARGUMENT,
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    QUEUE_TYPE_ARGUMENT,
    "x-queue-master-locator",
    "x-queue-leader-locator",
];

/// The same of quorum queues.
const QUORUM_ARGUMENTS: &[&str] = &[
    DEAD_LETTER_EXCHANGE_ARGUMENT,
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    QUEUE_TYPE_ARGUMENT,
    "x-quorum-initial-group-size",
    "x-quorum-target-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
];

const NOT_CLASSIC: &[&str] = &[
    "x-dead-letter-strategy",
    "x-delayed-retry-max",
    "x-delayed-retry-min",
    "x-delayed-retry-type",
    "x-delivery-limit",
    "x-initial-cluster-size",
    "x-max-age",
    "x-max-in-memory-bytes",
    "x-max-in-memory-length",
    "x-quorum-initial-group-size",
    "x-quorum-target-group-size",
    "x-stream-filter-size-bytes",
    "x-stream-max-segment-size-bytes",
];

const NOT_QUORUM: &[&str] = &[
    "x-initial-cluster-size",
    "x-max-age",
    "x-max-priority",
    "x-queue-master-locator",
    "x-queue-mode",
    "x-queue-version",
    "x-stream-filter-size-bytes",
    "x-stream-max-segment-size-bytes",
];

type Check = fn(&Value, &Table) -> Result<(), InvalidValue>;

/// The checks of single values, in the order in which RabbitMQ makes them.
const CHECKS: &[(&str, Check)] = &[
    (QUEUE_TYPE_ARGUMENT, check_queue_type),
    ("x-expires", check_expires),
    ("x-message-ttl", check_expiry),
    ("x-dead-letter-routing-key", check_dead_letter_routing_key),
    ("x-max-length", check_not_negative),
    ("x-max-length-bytes", check_not_negative),
    ("x-max-priority", check_max_priority),
    ("x-overflow", check_overflow),
    ("x-queue-mode", check_queue_mode),
    ("x-queue-version", check_queue_version),
    ("x-single-active-consumer", check_flag),
    ("x-queue-leader-locator", check_leader_locator),
    ("x-consumer-timeout", check_expiry),
];

/// Those of arguments that only quorum queues know.
const QUORUM_CHECKS: &[(&str, Check)] = &[
    ("x-dead-letter-strategy", check_dead_letter_strategy),
    ("x-max-in-memory-length", check_not_negative),
    ("x-max-in-memory-bytes", check_not_negative),
    ("x-quorum-initial-group-size", check_group_size),
    ("x-quorum-target-group-size", check_group_size),
    ("x-delivery-limit", check_integer),
    ("x-delayed-retry-type", check_delayed_retry_type),
    ("x-delayed-retry-min", check_expiry),
    ("x-delayed-retry-max", check_expiry),
];

/// The type the arguments of a queue ask for.
pub(super) fn queue_type(arguments: &Table) -> &str {
    match arguments.get(QUEUE_TYPE_ARGUMENT).and_then(Value::as_str) {
        None | Some("" | "undefined") => CLASSIC,
        Some(kind) => kind,
    }
}

/// Whether arguments say what a queue is to be made of.
pub(super) fn names_queue_type(arguments: &Table) -> bool {
    // What is no text is refused later.
    arguments.get(QUEUE_TYPE_ARGUMENT).is_some_and(|value| !matches!(value.as_str(), Some("" | "undefined")))
}

/// Whether there are queues of that type.
pub(super) fn is_queue_type(name: &str) -> bool {
    queue_kind(name).is_some()
}

/// An argument that is text.
pub(super) fn text_argument<'a>(arguments: &'a Table, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(Value::as_str)
}

/// Refuses arguments a new exchange cannot have.
pub(super) fn check_exchange(vhost: &Name, declared: &Declaration) -> Result<(), Error> {
    let exchange = || Resource::exchange(vhost, &declared.name);
    check_text(exchange, &declared.arguments, ALTERNATE_ARGUMENT)?;
    for argument in declared.kind.routing(&declared.arguments).text_arguments() {
        check_text(exchange, &declared.arguments, argument)?;
    }
    declared.kind.check_arguments(&declared.arguments)
}

/// Refuses arguments a new queue cannot have.
pub(super) fn check_queue(vhost: &Name, name: &Name, arguments: &Table) -> Result<(), Error> {
    // Most queues have no arguments, so what only an error text needs is made when there is one.
    let queue = || Resource::queue(vhost, name);
    check_text(queue, arguments, DEAD_LETTER_EXCHANGE_ARGUMENT)?;
    // A type that there is not is refused by the first check.
    let kind = queue_kind(queue_type(arguments)).unwrap_or_default();
    let own_checks = match kind {
        QueueKind::Classic => &[],
        QueueKind::Quorum => QUORUM_CHECKS,
    };
    // Of what it does not know only the name is looked at.
    let known = |argument: &str| !other_arguments(kind).contains(&argument);
    for (argument, check) in CHECKS.iter().chain(own_checks).filter(|(argument, _)| known(argument)) {
        if let Some(value) = arguments.get(argument) {
            check(value, arguments).map_err(|reason| Error::InvalidArgument {
                resource: queue(),
                argument: (*argument).into(),
                reason,
            })?;
        }
    }
    for (argument, _) in arguments.iter() {
        if other_arguments(kind).contains(&&**argument) {
            return Err(Error::ArgumentOfOtherType {
                queue: queue(),
                argument: Name::clone(argument),
                queue_type: kind.module(),
            });
        }
    }
    Ok(())
}

/// Refuses what a queue of its type cannot be. Its arguments have been checked.
pub(super) fn check_properties(vhost: &Name, queue: &QueueRecord) -> Result<(), Error> {
    let property = if queue.auto_delete {
        "auto-delete"
    } else if queue.exclusive.is_some() {
        "exclusive-owner"
    } else if queue.durable {
        return Ok(());
    } else {
        "non-durable"
    };
    if queue.kind() == QueueKind::Classic {
        return Ok(());
    }
    Err(Error::InvalidProperty { queue: Resource::queue(vhost, &queue.name), property })
}

fn check_text(resource: impl Fn() -> Resource, arguments: &Table, argument: &str) -> Result<(), Error> {
    match arguments.get(argument) {
        None | Some(Value::LongStr(_)) => Ok(()),
        Some(value) => Err(Error::InvalidArgumentType {
            resource: resource(),
            argument: argument.into(),
            type_name: value.type_name(),
        }),
    }
}

fn check_queue_type(value: &Value, arguments: &Table) -> Result<(), InvalidValue> {
    text(value)?;
    let name = queue_type(arguments);
    if queue_kind(name).is_some() { Ok(()) } else { Err(InvalidValue::QueueType(name.into())) }
}

/// A time in milliseconds, as an argument says it.
pub fn milliseconds(value: &Value) -> Result<u64, InvalidValue> {
    match integer(value)? {
        ms if ms > EXPIRY_MS_MAX => Err(InvalidValue::TooLarge(ms)),
        ms => u64::try_from(ms).map_err(|_| InvalidValue::Negative(ms)),
    }
}

fn check_expires(value: &Value, arguments: &Table) -> Result<(), InvalidValue> {
    if integer(value)? == 0 {
        return Err(InvalidValue::Zero);
    }
    check_expiry(value, arguments)
}

fn check_expiry(value: &Value, _: &Table) -> Result<(), InvalidValue> {
    milliseconds(value).map(|_| ())
}

fn check_not_negative(value: &Value, _: &Table) -> Result<(), InvalidValue> {
    match integer(value)? {
        number if number < 0 => Err(InvalidValue::Negative(number)),
        _ => Ok(()),
    }
}

fn check_max_priority(value: &Value, arguments: &Table) -> Result<(), InvalidValue> {
    check_not_negative(value, arguments)?;
    match integer(value)? {
        priority if priority > PRIORITY_MAX => Err(InvalidValue::AboveMaximum(priority)),
        _ => Ok(()),
    }
}

fn check_dead_letter_routing_key(value: &Value, arguments: &Table) -> Result<(), InvalidValue> {
    text(value)?;
    match arguments.get(DEAD_LETTER_EXCHANGE_ARGUMENT) {
        Some(_) => Ok(()),
        None => Err(InvalidValue::RoutingKeyWithoutExchange),
    }
}

fn check_overflow(value: &Value, _: &Table) -> Result<(), InvalidValue> {
    match text(value)? {
        b"drop-head" | b"reject-publish" | b"reject-publish-dlx" => Ok(()),
        _ => Err(InvalidValue::Overflow),
    }
}

fn check_dead_letter_strategy(value: &Value, _: &Table) -> Result<(), InvalidValue> {
    match text(value)? {
        b"at-most-once" | b"at-least-once" => Ok(()),
        _ => Err(InvalidValue::DeadLetterStrategy),
    }
}

fn check_delayed_retry_type(value: &Value, _: &Table) -> Result<(), InvalidValue> {
    match text(value)? {
        b"disabled" | b"all" | b"failed" | b"returned" => Ok(()),
        _ => Err(InvalidValue::DelayedRetryType),
    }
}

fn check_group_size(value: &Value, arguments: &Table) -> Result<(), InvalidValue> {
    if integer(value)? == 0 {
        return Err(InvalidValue::Zero);
    }
    check_not_negative(value, arguments)
}

fn check_integer(value: &Value, _: &Table) -> Result<(), InvalidValue> {
    integer(value).map(|_| ())
}

fn check_queue_mode(value: &Value, _: &Table) -> Result<(), InvalidValue> {
    match text(value)? {
        b"default" | b"lazy" => Ok(()),
        mode => Err(InvalidValue::QueueMode(String::from_utf8_lossy(mode).into())),
    }
}

fn check_queue_version(value: &Value, arguments: &Table) -> Result<(), InvalidValue> {
    check_not_negative(value, arguments)?;
    // Version 1 is gone from RabbitMQ 4, but programs written for 3 still ask for it.
    match integer(value)? {
        1 | 2 => Ok(()),
        version => Err(InvalidValue::QueueVersion(version)),
    }
}

fn check_flag(value: &Value, _: &Table) -> Result<(), InvalidValue> {
    match value {
        Value::Bool(_) => Ok(()),
        _ => Err(InvalidValue::Type(value.type_name())),
    }
}

fn check_leader_locator(value: &Value, _: &Table) -> Result<(), InvalidValue> {
    match text(value)? {
        b"client-local" | b"balanced" | b"random" | b"least-leaders" | b"min-masters" => Ok(()),
        _ => Err(InvalidValue::QueueLocator),
    }
}

fn integer(value: &Value) -> Result<i128, InvalidValue> {
    value.as_integer().ok_or(InvalidValue::NotInteger(value.type_name()))
}

fn text(value: &Value) -> Result<&[u8], InvalidValue> {
    match value {
        Value::LongStr(text) => Ok(text),
        _ => Err(InvalidValue::Type(value.type_name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::ExchangeKind;

    fn table(values: &[(&str, Value)]) -> Table {
        values.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    fn refusal(arguments: &Table) -> Option<String> {
        check_queue(&"/".into(), &"q".into(), arguments).err().map(|error| error.to_string())
    }

    #[test]
    fn bad_queue_arguments_are_refused_with_a_reason() {
        let long = |value| Value::I64(value);
        for (argument, value, reason) in [
            ("x-expires", Value::text("1"), "\"expected integer, got longstr\""),
            ("x-expires", Value::I32(0), "{value_zero,0}"),
            ("x-expires", Value::I32(-1), "{value_negative,-1}"),
            ("x-expires", long(315_360_000_001), "{value_too_large,315360000001}"),
            ("x-message-ttl", Value::I32(-1), "{value_negative,-1}"),
            ("x-message-ttl", long(315_360_000_001), "{value_too_large,315360000001}"),
            ("x-message-ttl", Value::F64(1.0), "\"expected integer, got double\""),
            ("x-max-length", Value::I8(-3), "{value_negative,-3}"),
            ("x-max-length-bytes", Value::Bool(true), "\"expected integer, got bool\""),
            ("x-max-priority", Value::I32(256), "{max_value_exceeded,256}"),
            ("x-max-priority", Value::I32(-1), "{value_negative,-1}"),
            ("x-dead-letter-routing-key", Value::text("k"), "routing_key_but_no_dlx_defined"),
            ("x-dead-letter-routing-key", Value::I32(1), "{unacceptable_type,signedint}"),
            ("x-overflow", Value::text("drop"), "invalid_overflow"),
            ("x-overflow", Value::I32(1), "{unacceptable_type,signedint}"),
            ("x-queue-mode", Value::text("fast"), "\"unsupported queue mode 'fast'\""),
            ("x-queue-version", Value::I32(3), "\"unsupported queue version '3'\""),
            ("x-single-active-consumer", Value::text("true"), "{unacceptable_type,longstr}"),
            ("x-queue-leader-locator", Value::text("here"), "invalid_queue_locator_arg"),
            ("x-consumer-timeout", Value::I32(-1), "{value_negative,-1}"),
            ("x-consumer-timeout", long(315_360_000_001), "{value_too_large,315360000001}"),
            ("x-consumer-timeout", Value::text("1"), "\"expected integer, got longstr\""),
            ("x-queue-type", Value::text("foo"), "\"unsupported queue type 'foo'\""),
            ("x-queue-type", Value::text("stream"), "\"unsupported queue type 'stream'\""),
            ("x-queue-type", Value::I32(1), "{unacceptable_type,signedint}"),
        ] {
            let expected = format!("invalid arg '{argument}' for queue 'q' in vhost '/': {reason}");
            assert_eq!(refusal(&table(&[(argument, value)])), Some(expected), "{argument}");
        }
    }

    #[test]
    fn good_queue_arguments_are_accepted() {
        for (argument, value) in [
            ("x-expires", Value::I32(1)),
            ("x-message-ttl", Value::U8(0)),
            ("x-message-ttl", Value::I64(315_360_000_000)),
            ("x-dead-letter-exchange", Value::text("")),
            ("x-max-length", Value::I32(0)),
            ("x-max-priority", Value::I16(255)),
            ("x-max-priority", Value::I16(0)),
            ("x-overflow", Value::text("reject-publish-dlx")),
            ("x-queue-mode", Value::text("lazy")),
            ("x-queue-version", Value::I32(1)),
            ("x-single-active-consumer", Value::Bool(false)),
            ("x-consumer-timeout", Value::I32(0)),
            ("x-consumer-timeout", Value::I64(315_360_000_000)),
            ("x-queue-type", Value::text("classic")),
            ("x-queue-type", Value::text("")),
            ("x-queue-master-locator", Value::text("min-masters")),
            ("x-ha-policy", Value::text("all")),
            ("anything", Value::Void),
        ] {
            assert_eq!(refusal(&table(&[(argument, value)])), None, "{argument}");
        }
        let both = [("x-dead-letter-routing-key", Value::text("k")), ("x-dead-letter-exchange", Value::text("x"))];
        assert_eq!(refusal(&table(&both)), None);
    }

    #[test]
    fn arguments_of_other_types_are_refused_last() {
        for (kind, others) in [("classic", NOT_CLASSIC), ("quorum", NOT_QUORUM)] {
            for argument in others {
                let expected =
                    format!("invalid arg '{argument}' for queue 'q' in vhost '/' of queue type rabbit_{kind}_queue");
                // Whatever their values: nobody looks at these.
                let arguments = table(&[("x-queue-type", Value::text(kind)), (argument, Value::Void)]);
                assert_eq!(refusal(&arguments), Some(expected));
            }
        }
        let two = [("x-max-age", Value::text("1D")), ("x-overflow", Value::text("no"))];
        assert!(refusal(&table(&two)).unwrap().ends_with("invalid_overflow"));
    }

    fn exchange_refusal(kind: ExchangeKind, arguments: Table) -> Option<String> {
        let (durable, auto_delete, internal) = (false, false, false);
        let declared = Declaration { name: "x".into(), kind, durable, auto_delete, internal, arguments };
        check_exchange(&"/".into(), &declared).err().map(|error| error.to_string())
    }

    #[test]
    fn arguments_of_exchanges_are_checked_by_their_type() {
        for (kind, argument, value, refusal) in [
            (
                ExchangeKind::ConsistentHash,
                "hash-header",
                Value::I32(1),
                Some("invalid type 'signedint' for arg 'hash-header' in exchange 'x' in vhost '/'"),
            ),
            (
                ExchangeKind::ConsistentHash,
                "hash-property",
                Value::text("app_id"),
                Some("Unsupported property: app_id"),
            ),
            (
                ExchangeKind::RecentHistory,
                "x-recent-history-length",
                Value::I32(0),
                Some("Invalid argument 0, 'x-recent-history-length' must be a positive integer"),
            ),
            (ExchangeKind::Fanout, "x-recent-history-length", Value::I32(0), None),
            (ExchangeKind::Fanout, "hash-header", Value::I32(1), None),
        ] {
            let arguments = table(&[(argument, value)]);
            assert_eq!(exchange_refusal(kind, arguments).as_deref(), refusal, "{kind:?} {argument}");
        }
    }

    #[test]
    fn quorum_queues_have_arguments_of_their_own() {
        let with = |argument, value| table(&[("x-queue-type", Value::text("quorum")), (argument, value)]);
        for (argument, value, reason) in [
            ("x-quorum-initial-group-size", Value::I32(0), Some("{value_zero,0}")),
            ("x-quorum-initial-group-size", Value::text("a"), Some("\"expected integer, got longstr\"")),
            ("x-quorum-initial-group-size", Value::I32(5), None),
            ("x-quorum-target-group-size", Value::I32(-1), Some("{value_negative,-1}")),
            ("x-dead-letter-strategy", Value::text("foo"), Some("invalid_dlx_strategy")),
            ("x-dead-letter-strategy", Value::I32(1), Some("{unacceptable_type,signedint}")),
            ("x-dead-letter-strategy", Value::text("at-least-once"), None),
            ("x-delivery-limit", Value::text("a"), Some("\"expected integer, got longstr\"")),
            ("x-delivery-limit", Value::I32(-1), None),
            ("x-max-in-memory-length", Value::I32(-1), Some("{value_negative,-1}")),
            ("x-max-in-memory-bytes", Value::I32(5), None),
            ("x-delayed-retry-type", Value::text("never"), Some("invalid_delayed_retry_type")),
            ("x-delayed-retry-type", Value::text("failed"), None),
            ("x-delayed-retry-min", Value::I32(-1), Some("{value_negative,-1}")),
            ("x-delayed-retry-max", Value::I32(5), None),
            ("x-overflow", Value::text("reject-publish-dlx"), None),
        ] {
            let expected =
                reason.map(|reason| format!("invalid arg '{argument}' for queue 'q' in vhost '/': {reason}"));
            assert_eq!(refusal(&with(argument, value.clone())), expected, "{argument} {value:?}");
        }
    }

    #[test]
    fn exchange_names_must_be_text() {
        let arguments = table(&[("x-dead-letter-exchange", Value::I32(1)), ("x-queue-type", Value::text("foo"))]);
        let expected = "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'";
        assert_eq!(refusal(&arguments).unwrap(), expected);
        let arguments = table(&[("alternate-exchange", Value::Bool(true))]);
        let expected = "invalid type 'bool' for arg 'alternate-exchange' in exchange 'x' in vhost '/'";
        assert_eq!(exchange_refusal(ExchangeKind::Direct, arguments).unwrap(), expected);
    }
}
