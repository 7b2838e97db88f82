//! What the arguments of a queue come to.

use super::QueueRecord;
use super::arguments::{queue_type, text_argument};
use crate::queue::{DeadLetterStrategy, DeadLetterTo, Overflow, QueueKind, QueueSettings};
use crate::value::{Table, Value};
use crate::{Name, dedup};

impl QueueRecord {
    /// What the queue was asked to do.
    pub fn settings(&self) -> QueueSettings {
        of_arguments(&self.arguments)
    }
}

/// The settings that arguments ask for; they have been checked.
fn of_arguments(arguments: &Table) -> QueueSettings {
    let number = |name: &str| {
        let value = arguments.get(name).and_then(Value::as_integer)?;
        u64::try_from(value).ok()
    };
    let dead_letter = text_argument(arguments, "x-dead-letter-exchange").map(|exchange| DeadLetterTo {
        exchange: Name::from(exchange),
        routing_key: text_argument(arguments, "x-dead-letter-routing-key").map(Name::from),
        strategy: match text_argument(arguments, "x-dead-letter-strategy") {
            Some("at-least-once") => DeadLetterStrategy::AtLeastOnce,
            _ => DeadLetterStrategy::AtMostOnce,
        },
    });
    QueueSettings {
        kind: if queue_type(arguments) == "quorum" { QueueKind::Quorum } else { QueueKind::Classic },
        message_ttl_ms: number("x-message-ttl"),
        expires_ms: number("x-expires"),
        max_length: number("x-max-length"),
        max_length_bytes: number("x-max-length-bytes"),
        overflow: overflow(text_argument(arguments, "x-overflow")),
        dead_letter,
        max_priority: number("x-max-priority").and_then(|max| u8::try_from(max).ok()).unwrap_or(0),
        single_active_consumer: arguments.get("x-single-active-consumer") == Some(&Value::Bool(true)),
        deduplicates: arguments.get(dedup::QUEUE_ARGUMENT) == Some(&Value::Bool(true)),
        lazy: text_argument(arguments, "x-queue-mode") == Some("lazy"),
        consumer_timeout_ms: number("x-consumer-timeout"),
        delivery_limit: number("x-delivery-limit").and_then(|limit| u32::try_from(limit).ok()),
    }
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
            assert_eq!(of_arguments(&table), expected, "{arguments:?}");
        }
    }
}
