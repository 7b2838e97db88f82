//! What the broker reads in and writes to the properties of messages, which are octets of the publisher's protocol.

use std::borrow::Cow;
use std::fmt;

use crate::Name;
use crate::clock::Timestamp;
use crate::message::{Draft, Message};
use crate::value::{Table, Value};

/// Octets that a draft of a message needs beside its parts, more or less.
const DEATH_ROOM: usize = 64;

/// Why a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeathReason {
    /// A consumer did not want it.
    Rejected,
    /// Its time was up.
    Expired,
    /// There was no room for it.
    MaxLen,
    /// It was handed out in vain too often.
    DeliveryLimit,
}

impl DeathReason {
    /// Its name in the headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLen => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// A death.
#[derive(Clone, Copy, Debug)]
pub struct Death<'a> {
    /// The queue it happened in.
    pub queue: &'a str,
    /// Why.
    pub reason: DeathReason,
    /// When.
    pub time: Timestamp,
    /// The exchange that the message goes to.
    pub exchange: &'a str,
    /// The key it is published with; none keeps those that it has.
    pub routing_key: Option<&'a str>,
}

/// A message on its way after a death.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Afterlife {
    /// The message as it is published anew: to the exchange, with the key, its history and without an expiration. It is stamped
    /// with the time of its death.
    pub message: Message,
    /// Its routing keys: its own first, then those of its `CC` header and the hidden ones.
    pub routing_keys: Vec<String>,
}

impl Afterlife {
    /// A message with its properties as they are after a death; `copies` are the keys that they name besides the message's own.
    pub fn new<'a>(
        message: &'a Message,
        death: &Death<'_>,
        properties: &[u8],
        copies: impl Iterator<Item = &'a str>,
    ) -> Self {
        let routing_key = death.routing_key.unwrap_or(message.routing_key());
        let size = properties.len() + message.body_size() + death.exchange.len() + routing_key.len() + DEATH_ROOM;
        let mut draft = Draft::new(Vec::with_capacity(size), death.exchange, routing_key);
        draft.properties(properties);
        if message.is_persistent() {
            draft.set_persistent();
        }
        if let Some(priority) = message.priority() {
            draft.set_priority(priority);
        }
        draft.set_died();
        draft.body(message.body());
        let mut routing_keys = vec![routing_key.to_owned()];
        // A key of the queue's own replaces all that the message had.
        if death.routing_key.is_none() {
            routing_keys.extend(copies.chain(message.hidden_keys()).map(str::to_owned));
            draft.hide_keys(message.hidden_keys());
        }
        draft.stamp(death.time, None);
        Self { message: draft.message(), routing_keys }
    }
}

/// A property that the way of a message may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Property {
    /// What relates it to another message.
    CorrelationId,
    /// What its publisher calls it.
    MessageId,
    /// When its publisher says that it was made.
    Timestamp,
}

/// What the broker reads in and writes to properties.
pub trait Properties: fmt::Debug + Send + Sync {
    /// The headers.
    fn headers(&self, message: &Message) -> Table;
    /// One header; the first if there are several of that name.
    fn header(&self, message: &Message, name: &str) -> Option<Value> {
        self.headers(message).get(name).cloned()
    }
    /// The octets of a property, if the message has it; a number is shown as text.
    fn property<'a>(&self, message: &'a Message, property: Property) -> Option<Cow<'a, [u8]>>;
    /// The queues in which a message died, with the reason, the last first. Nothing but what this broker wrote down counts.
    fn deaths(&self, message: &Message) -> Vec<(Name, String)>;
    /// The message as it is after a death.
    fn after_death(&self, message: &Message, death: &Death<'_>) -> Afterlife;
    /// The message with a header set, or set anew.
    fn with_header(&self, message: &Message, name: &str, value: &Value) -> Message;
    /// All properties under RabbitMQ's names: `content_type`, `headers`, `delivery_mode`... None, if there are no properties.
    fn to_table(&self, _: &Message) -> Table {
        Table::new()
    }
    /// The message that somebody publishes by the names of its parts, who has no connection. It is refused for what it would be
    /// refused for on one.
    fn compose(&self, publication: &Publication<'_>) -> Result<Composed, PropertyError> {
        let mut draft = Draft::new(Vec::new(), publication.exchange, publication.routing_key);
        draft.body(publication.body);
        Ok(Composed { message: draft.message(), extra_keys: Vec::new() })
    }
    /// The octets of the properties of a message that the broker makes. None, if there are no properties.
    fn encode(&self, _: &NewProperties<'_>) -> Vec<u8> {
        Vec::new()
    }
}

/// A message by the names of its parts.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// The exchange that it is published to.
    pub exchange: &'a str,
    /// The key that it is published with.
    pub routing_key: &'a str,
    /// Its properties, under the names that [`to_table`](Properties::to_table) has. Others are ignored.
    pub properties: &'a Table,
    /// The body.
    pub body: &'a [u8],
    /// The user that it may say it is of; none may be any.
    pub user: Option<&'a str>,
    /// When it is published.
    pub now: Timestamp,
}

/// A message that was made of a [`Publication`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// The message.
    pub message: Message,
    /// The routing keys of its headers `CC` and `BCC`.
    pub extra_keys: Vec<String>,
}

/// Why a message cannot have a property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// It should be a whole number that is not too large.
    #[error("{0} is no number that it can have")]
    Number(&'static str),
    /// It should be a text that is not too long.
    #[error("{0} is no text that it can have")]
    Text(&'static str),
    /// It should be a table.
    #[error("{0} is no table")]
    Table(&'static str),
    /// It breaks a rule; in RabbitMQ's words.
    #[error("{0}")]
    Rule(String),
}

/// The properties of a message that the broker makes.
#[derive(Clone, Copy, Debug)]
pub struct NewProperties<'a> {
    /// What the body is.
    pub content_type: Option<&'a str>,
    /// The headers.
    pub headers: &'a Table,
    /// Whether it is to survive a restart; none does not say.
    pub persistence: Option<Persistence>,
    /// When it was made, in seconds since 1970.
    pub timestamp_s: Option<u64>,
}

/// Whether a message is to survive a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It is not.
    Transient,
    /// It is.
    Persistent,
}

impl Default for NewProperties<'_> {
    fn default() -> Self {
        const NO_HEADERS: &Table = &Table::new();
        Self { content_type: None, headers: NO_HEADERS, persistence: None, timestamp_s: None }
    }
}

/// For messages without properties: nothing is read, and nothing but the addresses is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProperties;

impl Properties for NoProperties {
    fn headers(&self, _: &Message) -> Table {
        Table::new()
    }

    fn property<'a>(&self, _: &'a Message, _: Property) -> Option<Cow<'a, [u8]>> {
        None
    }

    fn deaths(&self, _: &Message) -> Vec<(Name, String)> {
        Vec::new()
    }

    fn after_death(&self, message: &Message, death: &Death<'_>) -> Afterlife {
        Afterlife::new(message, death, message.properties(), std::iter::empty())
    }

    fn with_header(&self, message: &Message, _: &str, _: &Value) -> Message {
        message.clone()
    }
}

/// Properties that tests choose.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Every message has these.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Fixed {
        pub(crate) headers: Table,
        pub(crate) property: Option<(Property, &'static str)>,
    }

    impl Properties for Fixed {
        fn headers(&self, _: &Message) -> Table {
            self.headers.clone()
        }

        fn property<'a>(&self, _: &'a Message, property: Property) -> Option<Cow<'a, [u8]>> {
            let fixed = self.property.filter(|(which, _)| *which == property)?;
            Some(Cow::Borrowed(fixed.1.as_bytes()))
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
}
