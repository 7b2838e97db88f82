//! Every method, with any arguments.
//!
//! The list below cannot fall behind the crate's: [`name`] matches without `_`, and the structs are built field by field,
//! so that a method or an argument which is not listed does not compile.

use super::invariants;
use leveret_protocol::amqp091::{Method, Table, method};

/// Values that arguments are taken from, each list in a circle.
pub(crate) struct Pool<'a> {
    /// Short strings, at most 255 octets each.
    pub(crate) texts: &'a [String],
    pub(crate) octets: &'a [Vec<u8>],
    /// Well-formed tables, without length.
    pub(crate) tables: &'a [Vec<u8>],
    pub(crate) numbers: &'a [u64],
    /// Values taken so far.
    pub(crate) taken: usize,
}

impl<'a> Pool<'a> {
    fn take<T>(&mut self, from: &'a [T]) -> &'a T {
        self.taken += 1;
        from.get(self.taken % from.len()).unwrap()
    }
}

/// A type of argument.
trait Argument<'a> {
    /// The next value of this type.
    fn any(pool: &mut Pool<'a>) -> Self;
    /// Goes through whatever the argument holds.
    fn walk(&self) {}
}

impl Argument<'_> for bool {
    fn any(pool: &mut Pool<'_>) -> Self {
        pool.take(pool.numbers) % 2 == 1
    }
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Argument<'_> for $type {
            #[allow(clippy::cast_possible_truncation, reason = "any number will do")]
            fn any(pool: &mut Pool<'_>) -> Self {
                *pool.take(pool.numbers) as $type
            }
        }
    )*};
}
numbers!(u8 u16 u32 u64);

impl<'a> Argument<'a> for &'a str {
    fn any(pool: &mut Pool<'a>) -> Self {
        pool.take(pool.texts).as_str()
    }
}

impl<'a> Argument<'a> for &'a [u8] {
    fn any(pool: &mut Pool<'a>) -> Self {
        pool.take(pool.octets).as_slice()
    }
}

impl<'a> Argument<'a> for Table<'a> {
    fn any(pool: &mut Pool<'a>) -> Self {
        Table::parse(pool.take(pool.tables).as_slice()).unwrap()
    }
    fn walk(&self) {
        invariants::walk_table(*self);
    }
}

macro_rules! methods {
    ($($name:ident { $($field:ident),* })*) => {
        /// One of each method, with arguments from the pool.
        pub(crate) fn one_of_each<'a>(pool: &mut Pool<'a>) -> Vec<Method<'a>> {
            vec![$(Method::$name(method::$name { $($field: Argument::any(pool)),* })),*]
        }

        /// The names of all methods.
        pub(crate) const METHODS: &[&str] = &[$(stringify!($name)),*];

        /// The name of a method.
        pub(crate) fn name(method: &Method<'_>) -> &'static str {
            match method { $(Method::$name(_) => stringify!($name),)* }
        }

        /// Goes through everything a method holds.
        pub(crate) fn walk(method: &Method<'_>) {
            match method { $(Method::$name(method::$name { $($field),* }) => { $(Argument::walk($field);)* })* }
        }
    };
}

methods! {
    ConnectionStart { version_major, version_minor, server_properties, mechanisms, locales }
    ConnectionStartOk { client_properties, mechanism, response, locale }
    ConnectionSecure { challenge }
    ConnectionSecureOk { response }
    ConnectionTune { channel_max, frame_max, heartbeat }
    ConnectionTuneOk { channel_max, frame_max, heartbeat }
    ConnectionOpen { virtual_host, capabilities, insist }
    ConnectionOpenOk { known_hosts }
    ConnectionClose { reply_code, reply_text, class_id, method_id }
    ConnectionCloseOk {}
    ConnectionBlocked { reason }
    ConnectionUnblocked {}
    ConnectionUpdateSecret { new_secret, reason }
    ConnectionUpdateSecretOk {}
    ChannelOpen { out_of_band }
    ChannelOpenOk { channel_id }
    ChannelFlow { active }
    ChannelFlowOk { active }
    ChannelClose { reply_code, reply_text, class_id, method_id }
    ChannelCloseOk {}
    AccessRequest { realm, exclusive, passive, active, write, read }
    AccessRequestOk { ticket }
    ExchangeDeclare { ticket, exchange, kind, passive, durable, auto_delete, internal, no_wait, arguments }
    ExchangeDeclareOk {}
    ExchangeDelete { ticket, exchange, if_unused, no_wait }
    ExchangeDeleteOk {}
    ExchangeBind { ticket, destination, source, routing_key, no_wait, arguments }
    ExchangeBindOk {}
    ExchangeUnbind { ticket, destination, source, routing_key, no_wait, arguments }
    ExchangeUnbindOk {}
    QueueDeclare { ticket, queue, passive, durable, exclusive, auto_delete, no_wait, arguments }
    QueueDeclareOk { queue, message_count, consumer_count }
    QueueBind { ticket, queue, exchange, routing_key, no_wait, arguments }
    QueueBindOk {}
    QueuePurge { ticket, queue, no_wait }
    QueuePurgeOk { message_count }
    QueueDelete { ticket, queue, if_unused, if_empty, no_wait }
    QueueDeleteOk { message_count }
    QueueUnbind { ticket, queue, exchange, routing_key, arguments }
    QueueUnbindOk {}
    BasicQos { prefetch_size, prefetch_count, global }
    BasicQosOk {}
    BasicConsume { ticket, queue, consumer_tag, no_local, no_ack, exclusive, no_wait, arguments }
    BasicConsumeOk { consumer_tag }
    BasicCancel { consumer_tag, no_wait }
    BasicCancelOk { consumer_tag }
    BasicPublish { ticket, exchange, routing_key, mandatory, immediate }
    BasicReturn { reply_code, reply_text, exchange, routing_key }
    BasicDeliver { consumer_tag, delivery_tag, redelivered, exchange, routing_key }
    BasicGet { ticket, queue, no_ack }
    BasicGetOk { delivery_tag, redelivered, exchange, routing_key, message_count }
    BasicGetEmpty { cluster_id }
    BasicAck { delivery_tag, multiple }
    BasicReject { delivery_tag, requeue }
    BasicRecoverAsync { requeue }
    BasicRecover { requeue }
    BasicRecoverOk {}
    BasicNack { delivery_tag, multiple, requeue }
    TxSelect {}
    TxSelectOk {}
    TxCommit {}
    TxCommitOk {}
    TxRollback {}
    TxRollbackOk {}
    ConfirmSelect { no_wait }
    ConfirmSelectOk {}
}
