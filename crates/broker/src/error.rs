//! What can go wrong, in the broker's own words.
//!
//! The `Display` of each variant is the explanation RabbitMQ gives; which code goes with it is each protocol's table.

use std::fmt;

use crate::Name;

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
        /// The new value, rendered: `'true'`, `none` or `the value '1' of type 'signedint'`.
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
    /// No exchange type of that name.
    #[error("unknown exchange type '{kind}'")]
    UnknownExchangeType {
        /// The name.
        kind: Name,
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
    /// A topic binding key whose matching would cost too much.
    #[error("Topic binding key '{routing_key}' uses {wildcards} '#' wildcards, at most 2 are allowed")]
    TooManyWildcards {
        /// The binding key.
        routing_key: Name,
        /// How many `#` words it has.
        wildcards: usize,
    },
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
    /// An `x-queue-leader-locator` that is none of the known ones.
    QueueLocator,
    /// An `x-queue-mode` that is none of the known ones.
    QueueMode(Name),
    /// An `x-queue-version` that is none of the known ones.
    QueueVersion(i128),
    /// An `x-queue-type` that is none of the known ones.
    QueueType(Name),
}
