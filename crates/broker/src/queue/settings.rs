//! What a queue was asked to do beyond keeping messages in order: what its arguments and the policies for it come to.

use crate::Name;

/// The settings of a queue. The default is a plain queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct QueueSettings {
    /// What it is made of.
    pub kind: QueueKind,
    /// Whether it hands out nothing.
    pub paused: bool,
    /// Milliseconds that a message lives in it.
    pub message_ttl_ms: Option<u64>,
    /// Milliseconds without use after which it is deleted.
    pub expires_ms: Option<u64>,
    /// Messages that may wait in it.
    pub max_length: Option<u64>,
    /// Octets of the bodies of the messages that may wait in it.
    pub max_length_bytes: Option<u64>,
    /// What gives way when there are more.
    pub overflow: Overflow,
    /// Where messages go that die in it.
    pub dead_letter: Option<DeadLetterTo>,
    /// The highest priority it knows; 0 is none.
    pub max_priority: u8,
    /// Whether only one of its consumers is served at a time.
    pub single_active_consumer: bool,
    /// Whether a message is dropped whose id another one in the queue has.
    pub deduplicates: bool,
    /// Whether messages leave memory as soon as they can.
    pub lazy: bool,
    /// Milliseconds after which a delivery has to be settled.
    pub consumer_timeout_ms: Option<u64>,
    /// Times that handing a message out may fail; with the next failure it dies.
    pub delivery_limit: Option<u32>,
    /// How long messages that come back wait before they are handed out again.
    pub delayed_retry: Option<DelayedRetry>,
}

/// How long messages that come back wait: longer with every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayedRetry {
    /// Which of them wait.
    pub which: Retried,
    /// Milliseconds after the first time; so many more after each further one.
    pub min_ms: u64,
    /// Milliseconds at most.
    pub max_ms: u64,
}

/// Messages that wait when they come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retried {
    /// All of them.
    All,
    /// Those that handing out failed of.
    Failed,
    /// The others.
    Returned,
}

/// What a queue is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueueKind {
    /// `classic`.
    #[default]
    Classic,
    /// `quorum`.
    Quorum,
}

impl QueueKind {
    /// Its name in arguments.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }

    /// What RabbitMQ calls it in its error texts.
    pub const fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
        }
    }
}

/// What gives way when a queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The oldest messages.
    #[default]
    DropHead,
    /// The messages to come, whose publishers are told.
    RejectPublish,
    /// The same, and they are dead-lettered.
    RejectPublishDeadLetter,
}

/// Where messages go that die in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterTo {
    /// The exchange, which need not exist.
    pub exchange: Name,
    /// The routing key; none keeps those that the message has.
    pub routing_key: Option<Name>,
    /// Whether a message stays until its copies are safe.
    pub strategy: DeadLetterStrategy,
}

/// Whether a message that dies stays until its copies are safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeadLetterStrategy {
    /// It does not wait for targets that refuse it.
    #[default]
    AtMostOnce,
    /// It stays until every target has taken it. Only for a quorum queue that refuses what it has no room for.
    AtLeastOnce,
}
