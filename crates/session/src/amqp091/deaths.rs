//! What the broker reads in and writes to the properties of messages.

use std::borrow::Cow;

use leveret_broker::Name;
use leveret_broker::message::Message;
use leveret_broker::properties::{Afterlife, Death, NoProperties, Properties, Property};
use leveret_broker::value::{Table, Value};
use leveret_protocol::amqp091::RawProperties;

use super::table;

/// The properties of the basic class (§2.3.5.2).
#[derive(Clone, Copy, Debug, Default)]
pub struct BasicProperties;

impl Properties for BasicProperties {
    fn headers(&self, message: &Message) -> Table {
        let properties = RawProperties::decode(message.properties()).unwrap_or_default();
        properties.headers.map_or_else(Table::new, table::to_broker)
    }

    fn property<'a>(&self, message: &'a Message, property: Property) -> Option<Cow<'a, [u8]>> {
        let properties = RawProperties::decode(message.properties()).unwrap_or_default();
        match property {
            Property::CorrelationId => properties.correlation_id.map(Cow::Borrowed),
            Property::MessageId => properties.message_id.map(Cow::Borrowed),
            Property::Timestamp => properties.timestamp.map(|time| Cow::Owned(time.to_string().into_bytes())),
        }
    }

    fn deaths(&self, message: &Message) -> Vec<(Name, String)> {
        NoProperties.deaths(message)
    }

    fn after_death(&self, message: &Message, death: &Death<'_>) -> Afterlife {
        NoProperties.after_death(message, death)
    }

    fn with_header(&self, message: &Message, name: &str, value: &Value) -> Message {
        NoProperties.with_header(message, name, value)
    }
}
