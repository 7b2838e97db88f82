//! Messages that are published by the names of their parts: what a management client sends, under the rules for a connection.

use leveret_broker::message::Draft;
use leveret_broker::properties::{Composed, PropertyError, Publication};
use leveret_broker::value;
use leveret_protocol::amqp091::{RawProperties, Table, TableWriter};

use super::properties::{check_user_id, examine, ttl_ms};
use super::publish::PERSISTENT;
use super::table::write_fields;

/// Octets that a short text may have.
const SHORT_MAX: usize = 255;

/// Makes the message.
pub(super) fn compose(publication: &Publication<'_>) -> Result<Composed, PropertyError> {
    let given = Given(publication.properties);
    let mut headers = Vec::new();
    let has_headers = match given.get("headers") {
        None => false,
        Some(value::Value::Table(table)) => {
            write_fields(&mut TableWriter::new(&mut headers), table);
            true
        }
        Some(_) => return Err(PropertyError::Table("headers")),
    };
    let properties = RawProperties {
        content_type: given.text("content_type")?,
        content_encoding: given.text("content_encoding")?,
        headers: Table::parse(&headers).ok().filter(|_| has_headers),
        delivery_mode: given.number("delivery_mode")?,
        priority: given.number("priority")?,
        correlation_id: given.text("correlation_id")?,
        reply_to: given.text("reply_to")?,
        expiration: given.text("expiration")?,
        message_id: given.text("message_id")?,
        timestamp: given.number("timestamp")?,
        kind: given.text("type")?,
        user_id: given.text("user_id")?,
        app_id: given.text("app_id")?,
        cluster_id: given.text("cluster_id")?,
    };
    let mut raw = Vec::new();
    properties.encode(&mut raw);
    let mut draft = Draft::new(Vec::new(), publication.exchange, publication.routing_key);
    draft.properties(&raw);
    if properties.delivery_mode == Some(PERSISTENT) {
        draft.set_persistent();
    }
    if let Some(priority) = properties.priority {
        draft.set_priority(priority);
    }
    draft.body(publication.body);
    let ttl_ms = properties.expiration.and_then(ttl_ms);
    if ttl_ms.is_some() {
        draft.stamp(publication.now, ttl_ms);
    }
    let message = draft.message();
    let rule = |fault: super::fault::Fault| PropertyError::Rule(fault.explanation().to_owned());
    // There is no channel, so nobody consumes direct replies on it.
    let examined = examine(&message, None).map_err(rule)?;
    check_user_id(&message, publication.user).map_err(rule)?;
    Ok(Composed { message: examined.changed.unwrap_or(message), extra_keys: examined.extra_keys })
}

/// The properties that somebody gives.
struct Given<'a>(&'a value::Table);

impl<'a> Given<'a> {
    fn get(&self, name: &str) -> Option<&'a value::Value> {
        self.0.get(name).filter(|value| !matches!(value, value::Value::Void))
    }

    fn text(&self, name: &'static str) -> Result<Option<&'a [u8]>, PropertyError> {
        match self.get(name) {
            None => Ok(None),
            Some(value::Value::LongStr(octets)) if octets.len() <= SHORT_MAX => Ok(Some(octets)),
            Some(_) => Err(PropertyError::Text(name)),
        }
    }

    fn number<T: TryFrom<i128>>(&self, name: &'static str) -> Result<Option<T>, PropertyError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_integer().and_then(|number| T::try_from(number).ok());
        number.map(Some).ok_or(PropertyError::Number(name))
    }
}

#[cfg(test)]
mod tests {
    use leveret_broker::clock::Timestamp;
    use leveret_broker::properties::Properties;
    use leveret_broker::value::Value;

    use super::*;
    use crate::amqp091::BasicProperties;

    fn of(fields: &[(&str, Value)]) -> value::Table {
        fields.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    fn composed(properties: &value::Table) -> Result<Composed, PropertyError> {
        let (exchange, routing_key, body, user, now) = ("x", "k", &b"body"[..], Some("guest"), Timestamp(7));
        compose(&Publication { exchange, routing_key, properties, body, user, now })
    }

    #[test]
    fn all_properties_come_back_under_their_names() {
        let text = |name: &'static str| (name, Value::text(name));
        let given = of(&[
            text("cluster_id"),
            text("app_id"),
            ("user_id", Value::text("guest")),
            text("type"),
            ("timestamp", Value::I64(1_700_000_000)),
            text("message_id"),
            ("expiration", Value::text("60000")),
            text("reply_to"),
            text("correlation_id"),
            ("priority", Value::I64(3)),
            ("delivery_mode", Value::I64(2)),
            ("headers", Value::Table(of(&[("a", Value::I64(1))]))),
            text("content_encoding"),
            text("content_type"),
        ]);
        let message = composed(&given).unwrap().message;
        let names = |table: &value::Table| table.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
        let back = BasicProperties.to_table(&message);
        assert_eq!(names(&back), names(&given));
        for (name, value) in back.iter() {
            assert!(value.equivalent(given.get(name).unwrap()), "{name}");
        }
        assert_eq!((message.exchange(), message.routing_key(), message.body()), ("x", "k", &b"body"[..]));
        assert!(message.is_persistent());
        assert_eq!((message.priority(), message.ttl_ms()), (Some(3), Some(60_000)));
        assert_eq!(message.published_at(), Some(Timestamp(7)));
        let plain = composed(&of(&[("unknown", Value::I64(1)), ("priority", Value::Void)])).unwrap().message;
        assert!(!plain.is_persistent());
        assert_eq!(BasicProperties.to_table(&plain).iter().count(), 0);
    }

    #[test]
    fn what_no_connection_could_publish_is_refused() {
        for (name, value, expected) in [
            ("delivery_mode", Value::text("2"), PropertyError::Number("delivery_mode")),
            ("priority", Value::I64(300), PropertyError::Number("priority")),
            ("timestamp", Value::F64(1.5), PropertyError::Number("timestamp")),
            ("message_id", Value::I64(5), PropertyError::Text("message_id")),
            ("app_id", Value::text(&"a".repeat(256)), PropertyError::Text("app_id")),
            ("headers", Value::text("x"), PropertyError::Table("headers")),
            ("expiration", Value::text("x"), PropertyError::Rule("invalid expiration 'x': no_integer".into())),
            (
                "user_id",
                Value::text("other"),
                PropertyError::Rule("user_id property set to 'other' but authenticated user was 'guest'".into()),
            ),
            (
                "reply_to",
                Value::text("amq.rabbitmq.reply-to"),
                PropertyError::Rule("fast reply consumer does not exist".into()),
            ),
        ] {
            assert_eq!(composed(&of(&[(name, value)])), Err(expected), "{name}");
        }
    }

    #[test]
    fn copies_are_keys_and_hidden_ones_stay_hidden() {
        let keys = |key| Value::Array(vec![Value::text(key)]);
        let headers = of(&[("CC", keys("a")), ("BCC", keys("b"))]);
        let Composed { message, extra_keys } = composed(&of(&[("headers", Value::Table(headers))])).unwrap();
        assert_eq!(extra_keys, ["a", "b"]);
        assert_eq!(BasicProperties.headers(&message).iter().count(), 1);
        assert_eq!(message.hidden_keys().collect::<Vec<_>>(), ["b"]);
    }
}
