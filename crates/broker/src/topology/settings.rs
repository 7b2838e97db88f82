//! What the arguments of a queue and the policies for it come to.

use super::QueueRecord;
use super::arguments::text_argument;
use super::policy::AppliedPolicies;
use crate::queue::{DeadLetterStrategy, DeadLetterTo, Overflow, QueueKind, QueueSettings};
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
    let dead_letter = text("x-dead-letter-exchange", "dead-letter-exchange").map(|exchange| DeadLetterTo {
        exchange: Name::from(exchange),
        routing_key: text("x-dead-letter-routing-key", "dead-letter-routing-key").map(Name::from),
        strategy: match text("x-dead-letter-strategy", "dead-letter-strategy") {
            Some("at-least-once") => DeadLetterStrategy::AtLeastOnce,
            _ => DeadLetterStrategy::AtMostOnce,
        },
    });
    let overflow_name = match kind {
        QueueKind::Classic => text("x-overflow", "overflow"),
        // The one case where a policy wins, as in RabbitMQ.
        QueueKind::Quorum => policy_text("overflow").or_else(|| text_argument(arguments, "x-overflow")),
    };
    QueueSettings {
        kind,
        paused: false,
        message_ttl_ms: limit("x-message-ttl", "message-ttl"),
        expires_ms: limit("x-expires", "expires"),
        max_length: limit("x-max-length", "max-length"),
        max_length_bytes: limit("x-max-length-bytes", "max-length-bytes"),
        overflow: overflow(overflow_name),
        dead_letter,
        max_priority: max_priority(arguments),
        single_active_consumer: arguments.get("x-single-active-consumer") == Some(&Value::Bool(true)),
        deduplicates: arguments.get(dedup::QUEUE_ARGUMENT) == Some(&Value::Bool(true)),
        lazy: text("x-queue-mode", "queue-mode") == Some("lazy"),
        consumer_timeout_ms: limit("x-consumer-timeout", "consumer-timeout"),
        delivery_limit: limit("x-delivery-limit", "delivery-limit").and_then(|limit| u32::try_from(limit).ok()),
    }
}

fn max_priority(arguments: &Table) -> u8 {
    let max = arguments.get("x-max-priority").and_then(Value::as_integer);
    max.and_then(|max| u8::try_from(max).ok()).unwrap_or(0)
}

fn overflow(name: Option<&str>) -> Overflow {
    match name {
        Some("reject-publish") => Overflow::RejectPublish,
        Some("reject-publish-dlx") => Overflow::RejectPublishDeadLetter,
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
}
