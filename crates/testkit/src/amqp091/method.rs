//! Methods with the usual arguments filled in, and the replies a test can ask for by type.

use leveret_protocol::amqp091::frame::{write_frame, write_method};
use leveret_protocol::amqp091::method::{
    AccessRequestOk, BasicAck, BasicCancel, BasicCancelOk, BasicConsume, BasicConsumeOk, BasicDeliver, BasicGetEmpty,
    BasicGetOk, BasicNack, BasicPublish, BasicQosOk, BasicRecoverOk, BasicReturn, ChannelClose, ChannelCloseOk,
    ChannelFlow, ChannelFlowOk, ChannelOpenOk, ConfirmSelectOk, ConnectionBlocked, ConnectionClose, ConnectionCloseOk,
    ConnectionOpenOk, ConnectionSecure, ConnectionStart, ConnectionStartOk, ConnectionTune, ConnectionUnblocked,
    ConnectionUpdateSecretOk, Encode, ExchangeBindOk, ExchangeDeclare, ExchangeDeclareOk, ExchangeDeleteOk,
    ExchangeUnbindOk, Method, QueueBind, QueueBindOk, QueueDeclare, QueueDeclareOk, QueueDelete, QueueDeleteOk,
    QueuePurgeOk, QueueUnbindOk, TxCommitOk, TxRollbackOk, TxSelectOk,
};
use leveret_protocol::amqp091::{ContentHeader, FrameKind, Table, TableWriter, Value};

/// A method the server sends, asked for by its type.
pub trait Reply: Sized {
    /// Name of the type, for reports.
    const NAME: &'static str;

    /// The method if it is this one.
    fn from_method(method: Method<'static>) -> Option<Self>;
}

macro_rules! replies {
    ($($name:ident $(<$life:lifetime>)?,)*) => {$(
        impl Reply for $name $(<$life>)? {
            const NAME: &'static str = stringify!($name);

            fn from_method(method: Method<'static>) -> Option<Self> {
                match method {
                    Method::$name(method) => Some(method),
                    _ => None,
                }
            }
        }
    )*};
}

replies! {
    ConnectionStart<'static>, ConnectionSecure<'static>, ConnectionTune, ConnectionOpenOk<'static>,
    ConnectionClose<'static>, ConnectionCloseOk, ConnectionBlocked<'static>, ConnectionUnblocked,
    ConnectionUpdateSecretOk,
    ChannelOpenOk<'static>, ChannelFlow, ChannelFlowOk, ChannelClose<'static>, ChannelCloseOk, AccessRequestOk,
    ExchangeDeclareOk, ExchangeDeleteOk, ExchangeBindOk, ExchangeUnbindOk,
    QueueDeclareOk<'static>, QueueBindOk, QueuePurgeOk, QueueDeleteOk, QueueUnbindOk,
    BasicQosOk, BasicConsumeOk<'static>, BasicCancel<'static>, BasicCancelOk<'static>, BasicReturn<'static>,
    BasicDeliver<'static>, BasicGetOk<'static>, BasicGetEmpty<'static>, BasicAck, BasicNack, BasicRecoverOk,
    TxSelectOk, TxCommitOk, TxRollbackOk, ConfirmSelectOk,
}

/// A field table of these fields.
pub fn table(fields: &[(&str, Value<'_>)]) -> Table<'static> {
    let mut octets = Vec::new();
    let mut writer = TableWriter::new(&mut octets);
    for (name, value) in fields {
        writer.field(name, *value);
    }
    Table::parse(octets.leak()).expect("a table just written is well formed")
}

/// connection.start-ok without client properties.
pub fn start_ok<'a>(mechanism: &'a str, response: &'a [u8]) -> ConnectionStartOk<'a> {
    ConnectionStartOk { client_properties: Table::default(), mechanism, response, locale: "en_US" }
}

/// The SASL PLAIN response of a user.
pub fn plain(user: &str, password: &str) -> Vec<u8> {
    format!("\0{user}\0{password}").into_bytes()
}

/// queue.declare of an exclusive, transient queue: it goes away with the connection.
pub fn queue_declare(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare {
        ticket: 0,
        queue,
        passive: false,
        durable: false,
        exclusive: true,
        auto_delete: false,
        no_wait: false,
        arguments: Table::default(),
    }
}

/// queue.delete without conditions.
pub fn queue_delete(queue: &str) -> QueueDelete<'_> {
    QueueDelete { ticket: 0, queue, if_unused: false, if_empty: false, no_wait: false }
}

/// queue.bind without arguments.
pub fn queue_bind<'a>(queue: &'a str, exchange: &'a str, routing_key: &'a str) -> QueueBind<'a> {
    QueueBind { ticket: 0, queue, exchange, routing_key, no_wait: false, arguments: Table::default() }
}

/// exchange.declare of a transient exchange that goes away with its last binding.
pub fn exchange_declare<'a>(exchange: &'a str, kind: &'a str) -> ExchangeDeclare<'a> {
    ExchangeDeclare {
        ticket: 0,
        exchange,
        kind,
        passive: false,
        durable: false,
        auto_delete: true,
        internal: false,
        no_wait: false,
        arguments: Table::default(),
    }
}

/// basic.consume with acknowledgements and a tag of the server's choice.
pub fn basic_consume(queue: &str) -> BasicConsume<'_> {
    BasicConsume {
        ticket: 0,
        queue,
        consumer_tag: "",
        no_local: false,
        no_ack: false,
        exclusive: false,
        no_wait: false,
        arguments: Table::default(),
    }
}

/// basic.publish that is neither mandatory nor immediate.
pub fn basic_publish<'a>(exchange: &'a str, routing_key: &'a str) -> BasicPublish<'a> {
    BasicPublish { ticket: 0, exchange, routing_key, mandatory: false, immediate: false }
}

/// The octets of a method frame.
pub fn method_frame(channel: u16, method: &impl Encode) -> Vec<u8> {
    let mut octets = Vec::new();
    write_method(&mut octets, channel, method);
    octets
}

/// The octets of a content header frame without properties.
pub fn header_frame(channel: u16, class_id: u16, body_size: u64) -> Vec<u8> {
    let mut octets = Vec::new();
    write_frame(&mut octets, FrameKind::Header, channel, |out| {
        ContentHeader { class_id, body_size, properties: &[] }.encode(out);
    });
    octets
}
