//! What the arguments of a queue and the policies for it come to.

use super::QueueRecord;
use super::arguments::text_argument;
use super::policy::AppliedPolicies;
use crate::queue::{DeadLetterStrategy, DeadLetterTo, DelayedRetry, Overflow, QueueKind, QueueSettings, Retried};
use crate::value::{Table, Value};
use crate::{Name, dedup};

impl QueueRecord {
    /// What the queue was asked to do, by its arguments and by policies.
    pub fn settings(&self) -> QueueSettings {
        QueueSettings { paused: self.paused, ..settings(self.kind(), &self.arguments, self.policies.as_deref()) }
    }
}

/// Both that were said about one thing; where only one was, it holds.
fn smaller(argument: Option<u64>, policy: Option<u64>) -> Option<u64> {
    match (argument, policy) {
        (Some(argument), Some(policy)) => Some(argument.min(policy)),
        (argument, policy) => argument.or(policy),
    }
}

/// What arguments and policies, which have been checked, come to: the narrower of two limits, otherwise the argument.
fn settings(kind: QueueKind, arguments: &Table, policies: Option<&AppliedPolicies>) -> QueueSettings {
    let policy = |key: &str| policies.and_then(|policies| policies.get(key));
    let policy_text = |key: &str| policy(key).and_then(Value::as_str);
    let limit = |argument: &str, key: &str| {
        let number =
            |value: Option<&Value>| value.and_then(Value::as_integer).and_then(|value| u64::try_from(value).ok());
        smaller(number(arguments.get(argument)), number(policy(key)))
    };
    let text = |argument: &str, key: &str| text_argument(arguments, argument).or_else(|| policy_text(key));
    let overflow_name = match kind {
        QueueKind::Classic => text("x-overflow", "overflow"),
        // The one case where a policy wins, as in RabbitMQ.
        QueueKind::Quorum => policy_text("overflow").or_else(|| text_argument(arguments, "x-overflow")),
    };
    let overflow = overflow(kind, overflow_name);
    let dead_letter = text("x-dead-letter-exchange", "dead-letter-exchange").map(|exchange| DeadLetterTo {
        exchange: Name::from(exchange),
        routing_key: text("x-dead-letter-routing-key", "dead-letter-routing-key").map(Name::from),
        strategy: match text("x-dead-letter-strategy", "dead-letter-strategy") {
            // A message that has to stay until others have taken it cannot give way to newer ones.
            Some("at-least-once") if kind == QueueKind::Quorum && overflow == Overflow::RejectPublish => {
                DeadLetterStrategy::AtLeastOnce
            }
            _ => DeadLetterStrategy::AtMostOnce,
        },
    });
    let delayed_retry = match kind {
        QueueKind::Classic => None,
        QueueKind::Quorum => delayed_retry(
            text("x-delayed-retry-type", "delayed-retry-type"),
            limit("x-delayed-retry-min", "delayed-retry-min"),
            limit("x-delayed-retry-max", "delayed-retry-max"),
        ),
    };
    let consumer_timeout_ms = limit("x-consumer-timeout", "consumer-timeout");
    QueueSettings {
        kind,
        paused: false,
        message_ttl_ms: limit("x-message-ttl", "message-ttl"),
        expires_ms: limit("x-expires", "expires"),
        max_length: limit("x-max-length", "max-length"),
        max_length_bytes: limit("x-max-length-bytes", "max-length-bytes"),
        overflow,
        dead_letter,
        max_priority: max_priority(arguments),
        single_active_consumer: arguments.get("x-single-active-consumer") == Some(&Value::Bool(true)),
        deduplicates: arguments.get(dedup::QUEUE_ARGUMENT) == Some(&Value::Bool(true)),
        lazy: text("x-queue-mode", "queue-mode") == Some("lazy"),
        consumer_timeout_ms: match kind {
            QueueKind::Classic => consumer_timeout_ms,
            QueueKind::Quorum => consumer_timeout_ms.or(Some(QUORUM_CONSUMER_TIMEOUT_MS)),
        },
        delivery_limit: match kind {
            QueueKind::Classic => None,
            QueueKind::Quorum => delivery_limit(arguments.get("x-delivery-limit"), policy("delivery-limit")),
        },
        delayed_retry,
    }
}

/// How long a delivery of a quorum queue may stay unsettled if nobody says otherwise: half an hour.
const QUORUM_CONSUMER_TIMEOUT_MS: u64 = 30 * 60 * 1000;
/// How often handing out a message of a quorum queue may fail if nobody says otherwise.
const DELIVERY_LIMIT: u32 = 20;

/// The narrower one of two limits; one below zero is none, and holds only if there is no other.
fn delivery_limit(argument: Option<&Value>, policy: Option<&Value>) -> Option<u32> {
    let said = || [argument, policy].into_iter().flatten().filter_map(Value::as_integer);
    let narrowest = said().filter(|limit| *limit >= 0).min();
    match narrowest {
        Some(limit) => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
        None if said().next().is_some() => None,
        None => Some(DELIVERY_LIMIT),
    }
}

fn delayed_retry(which: Option<&str>, min_ms: Option<u64>, max_ms: Option<u64>) -> Option<DelayedRetry> {
    let which = match which? {
        "all" => Retried::All,
        "failed" => Retried::Failed,
        "returned" => Retried::Returned,
        _ => return None,
    };
    let min_ms = min_ms.filter(|ms| *ms > 0)?;
    Some(DelayedRetry { which, min_ms, max_ms: max_ms.unwrap_or(min_ms).max(min_ms) })
}

fn max_priority(arguments: &Table) -> u8 {
    let max = arguments.get("x-max-priority").and_then(Value::as_integer);
    max.and_then(|max| u8::try_from(max).ok()).unwrap_or(0)
}

fn overflow(kind: QueueKind, name: Option<&str>) -> Overflow {
    match (kind, name) {
        (_, Some("reject-publish")) => Overflow::RejectPublish,
        // A quorum queue drops the oldest instead.
        (QueueKind::Classic, Some("reject-publish-dlx")) => Overflow::RejectPublishDeadLetter,
        _ => Overflow::DropHead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_to_settings() {
        let plain = QueueSettings::default();
        let to = |exchange: &str, routing_key: Option<&str>| {
            let routing_key = routing_key.map(Name::from);
            Some(DeadLetterTo { exchange: exchange.into(), routing_key, strategy: DeadLetterStrategy::AtMostOnce })
        };
        let (exchange, key) = ("x-dead-letter-exchange", "x-dead-letter-routing-key");
        for (arguments, expected) in [
            (vec![], plain.clone()),
            (vec![("x-message-ttl", Value::I32(0))], QueueSettings { message_ttl_ms: Some(0), ..plain.clone() }),
            (vec![("x-expires", Value::I64(5))], QueueSettings { expires_ms: Some(5), ..plain.clone() }),
            (vec![("x-max-length", Value::U8(5))], QueueSettings { max_length: Some(5), ..plain.clone() }),
            (vec![("x-max-length-bytes", Value::I32(7))], QueueSettings { max_length_bytes: Some(7), ..plain.clone() }),
            (
                vec![("x-overflow", Value::text("reject-publish"))],
                QueueSettings { overflow: Overflow::RejectPublish, ..plain.clone() },
            ),
            (
                vec![("x-overflow", Value::text("reject-publish-dlx"))],
                QueueSettings { overflow: Overflow::RejectPublishDeadLetter, ..plain.clone() },
            ),
            (vec![("x-overflow", Value::text("drop-head"))], plain.clone()),
            (vec![(exchange, Value::text(""))], QueueSettings { dead_letter: to("", None), ..plain.clone() }),
            (
                vec![(exchange, Value::text("x")), (key, Value::text("k"))],
                QueueSettings { dead_letter: to("x", Some("k")), ..plain.clone() },
            ),
            (vec![("x-max-priority", Value::I32(10))], QueueSettings { max_priority: 10, ..plain.clone() }),
            (
                vec![("x-single-active-consumer", Value::Bool(true))],
                QueueSettings { single_active_consumer: true, ..plain.clone() },
            ),
            (vec![("x-single-active-consumer", Value::Bool(false))], plain.clone()),
            (
                vec![("x-message-deduplication", Value::Bool(true))],
                QueueSettings { deduplicates: true, ..plain.clone() },
            ),
            (vec![("x-message-deduplication", Value::Bool(false))], plain.clone()),
            (vec![("x-queue-mode", Value::text("lazy"))], QueueSettings { lazy: true, ..plain.clone() }),
            (vec![("x-queue-mode", Value::text("default"))], plain.clone()),
            (vec![("x-unknown", Value::I32(1))], plain.clone()),
        ] {
            let table: Table = arguments.iter().map(|(name, value)| (Name::from(*name), value.clone())).collect();
            assert_eq!(settings(QueueKind::Classic, &table, None), expected, "{arguments:?}");
        }
    }
    #[test]
    fn quorum_queues_come_to_settings_of_their_own() {
        let plain = QueueSettings {
            kind: QueueKind::Quorum,
            consumer_timeout_ms: Some(1_800_000),
            delivery_limit: Some(20),
            ..QueueSettings::default()
        };
        let strategy = ("x-dead-letter-strategy", Value::text("at-least-once"));
        let exchange = ("x-dead-letter-exchange", Value::text("x"));
        let to = |strategy| Some(DeadLetterTo { exchange: "x".into(), routing_key: None, strategy });
        let retry = |which, min_ms, max_ms| Some(DelayedRetry { which, min_ms, max_ms });
        let (which, min, max) = ("x-delayed-retry-type", "x-delayed-retry-min", "x-delayed-retry-max");
        for (arguments, expected) in [
            (vec![], plain.clone()),
            (vec![("x-delivery-limit", Value::I32(3))], QueueSettings { delivery_limit: Some(3), ..plain.clone() }),
            (vec![("x-delivery-limit", Value::I32(0))], QueueSettings { delivery_limit: Some(0), ..plain.clone() }),
            (vec![("x-delivery-limit", Value::I32(-1))], QueueSettings { delivery_limit: None, ..plain.clone() }),
            (
                vec![("x-consumer-timeout", Value::I32(5))],
                QueueSettings { consumer_timeout_ms: Some(5), ..plain.clone() },
            ),
            (vec![("x-overflow", Value::text("reject-publish-dlx"))], plain.clone()),
            (
                vec![exchange.clone(), strategy.clone()],
                QueueSettings { dead_letter: to(DeadLetterStrategy::AtMostOnce), ..plain.clone() },
            ),
            (
                vec![exchange, strategy, ("x-overflow", Value::text("reject-publish"))],
                QueueSettings {
                    dead_letter: to(DeadLetterStrategy::AtLeastOnce),
                    overflow: Overflow::RejectPublish,
                    ..plain.clone()
                },
            ),
            (vec![(which, Value::text("all"))], plain.clone()),
            (vec![(which, Value::text("disabled")), (min, Value::I32(5))], plain.clone()),
            (
                vec![(which, Value::text("all")), (min, Value::I32(5))],
                QueueSettings { delayed_retry: retry(Retried::All, 5, 5), ..plain.clone() },
            ),
            (
                vec![(which, Value::text("failed")), (min, Value::I32(5)), (max, Value::I64(50))],
                QueueSettings { delayed_retry: retry(Retried::Failed, 5, 50), ..plain.clone() },
            ),
            (
                vec![(which, Value::text("returned")), (min, Value::I32(5)), (max, Value::I64(3))],
                QueueSettings { delayed_retry: retry(Retried::Returned, 5, 5), ..plain.clone() },
            ),
        ] {
            let table: Table = arguments.iter().map(|(name, value)| (Name::from(*name), value.clone())).collect();
            assert_eq!(settings(QueueKind::Quorum, &table, None), expected, "{arguments:?}");
        }
    }

    #[test]
    fn the_narrower_delivery_limit_holds_and_none_only_alone() {
        let value = |limit: Option<i64>| limit.map(Value::I64);
        for (argument, policy, expected) in [
            (None, None, Some(20)),
            (Some(30), None, Some(30)),
            (None, Some(5), Some(5)),
            (Some(30), Some(5), Some(5)),
            (Some(-1), None, None),
            (None, Some(-1), None),
            (Some(-1), Some(7), Some(7)),
            (Some(7), Some(-1), Some(7)),
            (Some(i64::MAX), None, Some(u32::MAX)),
        ] {
            let limit = delivery_limit(value(argument).as_ref(), value(policy).as_ref());
            assert_eq!(limit, expected, "{argument:?} {policy:?}");
        }
    }
}
