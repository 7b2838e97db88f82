//! What can go wrong, in the broker's own words.
//!
//! The `Display` of each variant is the explanation RabbitMQ gives; which code goes with it is each protocol's table.

use std::fmt;

use crate::Name;
use crate::access::{Answer, Question};
use crate::topology::ValidationError;

/// The kind of a [`Resource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
}

/// An exchange or a queue by its full name, displayed as `queue 'x' in vhost '/'`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its name.
    pub name: Name,
    /// Where it is.
    pub vhost: Name,
}

/// Why an operation was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The exchange or queue does not exist.
    #[error("no {resource}")]
    NotFound {
        /// What was asked for.
        resource: Resource,
    },
    /// The vhost does not exist.
    #[error("vhost {vhost} not found")]
    VhostNotFound {
        /// Its name.
        vhost: Name,
    },
    /// A user was to be created that is there already.
    #[error("user '{user}' already exists")]
    UserExists {
        /// Its name.
        user: Name,
    },
    /// A user was to be created without a name.
    #[error("a user must have a name")]
    NamelessUser,
    /// A user may not do what it wants to.
    #[error("{}", question.refusal(user, answer))]
    Refused {
        /// The user.
        user: Name,
        /// What it wanted to do.
        question: Box<Question>,
        /// The answer to that, which is no permission.
        answer: Box<Answer>,
    },
    /// Something durable was to be changed, but the disk failed.
    #[error("the change is not on disk: writing to it failed, and the broker has to be started again")]
    NotWritten,
    /// Messages of a queue are on disk and cannot be read.
    #[error("messages of {queue} cannot be read: {reason}")]
    Unreadable {
        /// The queue.
        queue: Resource,
        /// What the disk says.
        reason: String,
    },
    /// Declaring, deleting, binding or unbinding the default exchange.
    #[error("operation not permitted on the default exchange")]
    DefaultExchange,
    /// A client may not create names that start with `amq.`.
    #[error("{kind} name '{name}' contains reserved prefix 'amq.*'")]
    ReservedPrefix {
        /// What was to be created.
        kind: ResourceKind,
        /// Under which name.
        name: Name,
    },
    /// The pre-declared exchanges cannot be deleted.
    #[error("deletion of system {exchange} not allowed")]
    SystemExchange {
        /// The exchange.
        exchange: Resource,
    },
    /// A client published to an exchange that only takes messages from other exchanges.
    #[error("cannot publish to internal {exchange}")]
    InternalExchange {
        /// The exchange.
        exchange: Resource,
    },
    /// The queue belongs to another connection, or its exclusive property was declared differently.
    #[error(
        "cannot obtain exclusive access to locked {queue}. It could be originally declared on another connection or \
         the exclusive property value does not match that of the original declaration."
    )]
    Locked {
        /// The queue.
        queue: Resource,
    },
    /// A re-declaration that differs from what exists.
    #[error("inequivalent arg '{argument}' for {resource}: received {received} but current is {current}")]
    Inequivalent {
        /// What was declared.
        resource: Resource,
        /// The property or argument that differs.
        argument: Name,
        /// The new value, rendered: `'true'`, `'1'`, or next to `none`, `the value '1' of type 'signedint'`.
        received: String,
        /// The existing value, rendered likewise.
        current: String,
    },
    /// A conditional delete of something that has bindings or consumers.
    #[error("{resource} in use")]
    InUse {
        /// What was to be deleted.
        resource: Resource,
    },
    /// A conditional delete of a queue that holds messages.
    #[error("{queue} not empty")]
    NotEmpty {
        /// The queue.
        queue: Resource,
    },
    /// An exclusive consumer is there, or an exclusive consumer was asked for and others are there.
    #[error("{queue} in exclusive use")]
    ExclusiveUse {
        /// The queue.
        queue: Resource,
    },
    /// An argument has a value its meaning does not allow.
    #[error("invalid arg '{argument}' for {resource}: {reason}")]
    InvalidArgument {
        /// What was declared or consumed.
        resource: Resource,
        /// The argument.
        argument: Name,
        /// What is wrong with its value.
        reason: InvalidValue,
    },
    /// An argument that must be the name of an exchange is not text.
    #[error("invalid type '{type_name}' for arg '{argument}' in {resource}")]
    InvalidArgumentType {
        /// What was declared.
        resource: Resource,
        /// The argument.
        argument: Name,
        /// The type it came with.
        type_name: &'static str,
    },
    /// An argument that only another type of queue knows.
    #[error("invalid arg '{argument}' for {queue} of queue type {queue_type}")]
    ArgumentOfOtherType {
        /// The queue.
        queue: Resource,
        /// The argument.
        argument: Name,
        /// The queue's type in RabbitMQ's words, such as `rabbit_classic_queue`.
        queue_type: &'static str,
    },
    /// A queue of its type cannot be that.
    #[error("invalid property '{property}' for {queue}")]
    InvalidProperty {
        /// The queue.
        queue: Resource,
        /// What it cannot be, in RabbitMQ's words, such as `non-durable`.
        property: &'static str,
    },
    /// A conditional delete of a queue whose type knows no conditions.
    #[error("cannot delete {queue}. queue.delete operations with {flag} flag set are not supported by quorum queues")]
    UnconditionalDelete {
        /// The queue.
        queue: Resource,
        /// The condition, such as `if-unused`.
        flag: &'static str,
    },
    /// A quorum queue's consumers cannot share a prefetch.
    #[error("{queue} does not support global qos")]
    SharedPrefetch {
        /// The queue.
        queue: Resource,
    },
    /// Nobody but the single active consumer of a quorum queue gets messages.
    #[error(
        "cannot obtain access to locked {queue}. basic.get operations are not supported by quorum queues with single \
         active consumer"
    )]
    SingleActive {
        /// The queue.
        queue: Resource,
    },
    /// No exchange type of that name.
    #[error("unknown exchange type '{kind}'")]
    UnknownExchangeType {
        /// The name.
        kind: Name,
    },
    /// A binding that its exchange cannot make sense of.
    #[error("{reason}")]
    InvalidBinding {
        /// What is wrong with it.
        reason: InvalidBinding,
    },
    /// An exchange with arguments that its type cannot make sense of.
    #[error("{reason}")]
    InvalidExchange {
        /// What is wrong with them.
        reason: InvalidExchange,
    },
    /// A delaying exchange that does not say how it routes.
    #[error("Invalid argument, {reason}")]
    DelayedType {
        /// What is wrong.
        reason: DelayedType,
    },
    /// A headers binding with an `x-match` that means nothing; `value` is rendered.
    #[error("Invalid x-match field value {value}; expected all, any, all-with-x, or any-with-x")]
    InvalidMatchValue {
        /// The value as RabbitMQ shows it.
        value: String,
    },
    /// A headers binding with an `x-match` that is not text; `value` is rendered.
    #[error("Invalid x-match field type {type_name} (value {value}); expected longstr")]
    InvalidMatchType {
        /// The type it came with.
        type_name: &'static str,
        /// The value as RabbitMQ shows it.
        value: String,
    },
    /// A policy, a parameter or limits that cannot be.
    #[error("Validation failed\n\n{0}")]
    Validation(#[from] ValidationError),
    /// Limits of a user that cannot be.
    #[error("{0}")]
    InvalidLimits(ValidationError),
    /// A policy was to be set or cleared as if it were a parameter.
    #[error("policies may not be {verb} using this method")]
    PolicyAsParameter {
        /// Which of both: `set` or `cleared`.
        verb: &'static str,
    },
    /// A vhost has as many queues as it may.
    #[error("cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({limit}) is reached")]
    QueueLimit {
        /// The queue that was declared.
        queue: Name,
        /// Where.
        vhost: Name,
        /// How many there may be.
        limit: u64,
    },
    /// The node has as many queues as it may.
    #[error("cannot declare queue '{queue}': queue limit in cluster ({limit}) is reached")]
    NodeQueueLimit {
        /// The queue that was declared.
        queue: Name,
        /// How many there may be.
        limit: u64,
    },
    /// The node has as many exchanges as it may.
    #[error("cannot declare {exchange}: exchange limit of {limit} is reached")]
    ExchangeLimit {
        /// The exchange that was declared.
        exchange: Resource,
        /// How many there may be.
        limit: u64,
    },
    /// The node has as many vhosts as it may.
    #[error("cannot create vhost '{vhost}': vhost limit of {limit} is reached")]
    VhostLimit {
        /// The vhost that was to be created.
        vhost: Name,
        /// How many there may be.
        limit: u64,
    },
    /// The node has as many connections as it may.
    #[error("connection refused: node connection limit ({limit}) is reached")]
    NodeConnectionLimit {
        /// How many there may be.
        limit: u64,
    },
    /// The node has as many channels as it may.
    #[error("number of channels opened on node '{node}' has reached the maximum allowed limit of {limit}")]
    NodeChannelLimit {
        /// The node's name.
        node: Name,
        /// How many there may be.
        limit: u64,
    },
    /// A vhost has as many connections as it may.
    #[error("access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached")]
    VhostConnectionLimit {
        /// The vhost.
        vhost: Name,
        /// Who wanted to connect.
        user: Name,
        /// How many there may be.
        limit: u64,
    },
    /// A user has as many connections as it may.
    #[error("connection refused for user '{user}': user connection limit ({limit}) is reached")]
    UserConnectionLimit {
        /// The user.
        user: Name,
        /// How many it may have.
        limit: u64,
    },
    /// A user has as many channels as it may.
    #[error("number of channels opened for user '{user}' has reached the maximum allowed user limit of {limit}")]
    UserChannelLimit {
        /// The user.
        user: Name,
        /// How many it may have.
        limit: u64,
    },
    /// A vhost that may not be deleted.
    #[error("Refusing to delete virtual host '{vhost}' because it is protected from deletion")]
    ProtectedVhost {
        /// The vhost.
        vhost: Name,
    },
    /// No user of that name.
    #[error("user '{user}' not found")]
    UserNotFound {
        /// The name.
        user: Name,
    },
    /// No policy or parameter of that name.
    #[error("Parameter does not exist")]
    ParameterNotFound,
    /// A topic binding key whose matching would cost too much.
    #[error("Topic binding key '{routing_key}' uses {wildcards} '#' wildcards, at most 2 are allowed")]
    TooManyWildcards {
        /// The binding key.
        routing_key: Name,
        /// How many `#` words it has.
        wildcards: usize,
    },
}

/// What is wrong with the type that a delaying exchange is to route by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelayedType {
    /// There is none.
    #[error("'x-delayed-type' must be an existing exchange type")]
    Missing,
    /// It is that of delaying exchanges.
    #[error("'x-delayed-message' can't be used for 'x-delayed-type'")]
    Itself,
}

/// What is wrong with the value of an argument; displayed as the Erlang term RabbitMQ prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidValue {
    /// An integer was expected.
    NotInteger(&'static str),
    /// Some other type was expected.
    Type(&'static str),
    /// Below zero.
    Negative(i128),
    /// Zero where at least one is needed.
    Zero,
    /// A time beyond ten years.
    TooLarge(i128),
    /// Above the argument's highest value.
    AboveMaximum(i128),
    /// A dead-letter routing key without a dead-letter exchange.
    RoutingKeyWithoutExchange,
    /// An `x-overflow` that is none of the known ones.
    Overflow,
    /// An `x-dead-letter-strategy` that is none of the known ones.
    DeadLetterStrategy,
    /// An `x-delayed-retry-type` that is none of the known ones.
    DelayedRetryType,
    /// An `x-queue-leader-locator` that is none of the known ones.
    QueueLocator,
    /// An `x-queue-mode` that is none of the known ones.
    QueueMode(Name),
    /// An `x-queue-version` that is none of the known ones.
    QueueVersion(i128),
    /// An `x-queue-type` that is none of the known ones.
    QueueType(Name),
}

/// What is wrong with a binding; displayed in RabbitMQ's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBinding {
    /// To a consistent hash exchange, under a key that is no integer; the key is rendered.
    #[error("The binding key must be an integer: {0}")]
    WeightNotInteger(String),
    /// To a consistent hash exchange, with a weight below one.
    #[error("The binding key must be greater than 0")]
    WeightZero,
    /// To a consistent hash exchange, with too high a weight.
    #[error("The binding key must not exceed 10000")]
    WeightTooLarge,
    /// To a local random exchange, under this key.
    #[error("Non empty binding '{0}' key not permitted")]
    KeyNotEmpty(Name),
    /// To a local random exchange, of something that is no queue.
    #[error("Destination not found")]
    NoQueue,
    /// To a local random exchange, of a queue of this type.
    #[error("Queue type rabbit_{0}_queue not valid for this exchange type")]
    QueueType(Name),
}

/// What is wrong with the arguments of an exchange; displayed in RabbitMQ's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExchange {
    /// A deduplicating exchange that does not say how much it is to remember.
    #[error("Missing or invalid argument, 'x-cache-size' must be an integer greater than 0")]
    CacheSize,
    /// A deduplicating exchange that is to remember things for no time.
    #[error("Invalid argument, 'x-cache-ttl' must be an integer greater than 0")]
    CacheTtl,
    /// A deduplicating exchange that is to remember things in an unknown place.
    #[error("Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'")]
    CachePersistence,
    /// A consistent hash exchange with both a header and a property to hash.
    #[error("hash-header and hash-property are mutually exclusive")]
    HashArguments,
    /// A consistent hash exchange with a property that cannot be hashed.
    #[error("Unsupported property: {0}")]
    HashProperty(Name),
    /// A recent history exchange with a length that is no positive integer; the value is rendered.
    #[error("Invalid argument {0}, 'x-recent-history-length' must be a positive integer")]
    HistoryLength(String),
}

impl Resource {
    /// The exchange of that name.
    pub fn exchange(vhost: &Name, name: &str) -> Self {
        Self { kind: ResourceKind::Exchange, name: name.into(), vhost: Name::clone(vhost) }
    }

    /// The queue of that name.
    pub fn queue(vhost: &Name, name: &str) -> Self {
        Self { kind: ResourceKind::Queue, name: name.into(), vhost: Name::clone(vhost) }
    }
}

impl ResourceKind {
    /// What it is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}' in vhost '{}'", self.kind, self.name, self.vhost)
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInteger(type_name) => write!(f, "\"expected integer, got {type_name}\""),
            Self::Type(type_name) => write!(f, "{{unacceptable_type,{type_name}}}"),
            Self::Negative(value) => write!(f, "{{value_negative,{value}}}"),
            Self::Zero => f.write_str("{value_zero,0}"),
            Self::TooLarge(value) => write!(f, "{{value_too_large,{value}}}"),
            Self::AboveMaximum(value) => write!(f, "{{max_value_exceeded,{value}}}"),
            Self::RoutingKeyWithoutExchange => f.write_str("routing_key_but_no_dlx_defined"),
            Self::Overflow => f.write_str("invalid_overflow"),
            Self::DeadLetterStrategy => f.write_str("invalid_dlx_strategy"),
            Self::DelayedRetryType => f.write_str("invalid_delayed_retry_type"),
            Self::QueueLocator => f.write_str("invalid_queue_locator_arg"),
            Self::QueueMode(mode) => write!(f, "\"unsupported queue mode '{mode}'\""),
            Self::QueueVersion(version) => write!(f, "\"unsupported queue version '{version}'\""),
            Self::QueueType(kind) => write!(f, "\"unsupported queue type '{kind}'\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_are_those_of_rabbitmq() {
        let queue = || Resource::queue(&"/".into(), "q");
        let exchange = || Resource::exchange(&"v".into(), "x");
        for (error, text) in [
            (Error::NotFound { resource: queue() }, "no queue 'q' in vhost '/'"),
            (Error::NotFound { resource: exchange() }, "no exchange 'x' in vhost 'v'"),
            (Error::InUse { resource: queue() }, "queue 'q' in vhost '/' in use"),
            (Error::NotEmpty { queue: queue() }, "queue 'q' in vhost '/' not empty"),
            (Error::ExclusiveUse { queue: queue() }, "queue 'q' in vhost '/' in exclusive use"),
            (
                Error::Locked { queue: queue() },
                "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on \
                 another connection or the exclusive property value does not match that of the original declaration.",
            ),
            (
                Error::InvalidArgument {
                    resource: queue(),
                    argument: "x-priority".into(),
                    reason: InvalidValue::NotInteger("longstr"),
                },
                "invalid arg 'x-priority' for queue 'q' in vhost '/': \"expected integer, got longstr\"",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
