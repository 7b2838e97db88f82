//! Every method of AMQP 0-9-1 and of RabbitMQ's extensions, as one table.
//!
//! The table at the end of this file is the whole description: ids, fields, types. The macro makes from each entry a
//! struct that borrows from the payload, and from all of them the [`Method`] enum with its decoder.

use super::error::DecodeError;
use super::reader::Reader;
use super::table::Table;
use super::writer::Writer;

/// A method that can be appended to a buffer.
pub trait Encode {
    /// Class id of the method.
    fn class_id(&self) -> u16;
    /// Id of the method within its class.
    fn method_id(&self) -> u16;
    /// Appends the arguments.
    fn encode_arguments(&self, writer: &mut Writer<'_>);

    /// Appends class id, method id and arguments: the payload of a method frame (§2.3.5.1).
    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.u16(self.class_id());
        writer.u16(self.method_id());
        self.encode_arguments(&mut writer);
    }
}

/// A method that is expected, so that nobody has to ask which one a payload holds.
pub trait Decode<'a>: Sized {
    /// Decodes the payload of a method frame; another method is an unknown one.
    fn decode(payload: &'a [u8]) -> Result<Self, DecodeError>;
}

/// A type of method argument.
trait Field<'a>: Sized {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError>;
    fn write(&self, writer: &mut Writer<'_>);
}

macro_rules! fields {
    ($($type:ty: $read:ident $write:expr;)*) => {$(
        impl<'a> Field<'a> for $type {
            #[inline(always)]
            fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                reader.$read()
            }
            #[inline]
            fn write(&self, writer: &mut Writer<'_>) {
                let write: fn(&mut Writer<'_>, &Self) = $write;
                write(writer, self);
            }
        }
    )*};
}

fields! {
    bool: bit |w, v| w.bit(*v);
    u8: u8 |w, v| w.u8(*v);
    u16: u16 |w, v| w.u16(*v);
    u32: u32 |w, v| w.u32(*v);
    u64: u64 |w, v| w.u64(*v);
    &'a str: shortstr |w, v| w.shortstr(v);
    &'a [u8]: longstr |w, v| w.longstr(v);
}

impl<'a> Field<'a> for Table<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Table::parse(reader.longstr()?)
    }
    fn write(&self, writer: &mut Writer<'_>) {
        writer.longstr(self.octets());
    }
}

macro_rules! methods {
    ($(
        $(#[$doc:meta])*
        ($class:literal, $method:literal) $name:ident $(<$life:lifetime>)? { $($field:ident: $type:ty,)* }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq)]
            #[allow(missing_docs, reason = "arguments are named and documented by the specification")]
            #[allow(clippy::struct_excessive_bools, reason = "the bits of the wire")]
            pub struct $name $(<$life>)? { $(pub $field: $type,)* }

            impl $(<$life>)? Encode for $name $(<$life>)? {
                #[inline]
                fn class_id(&self) -> u16 { $class }
                #[inline]
                fn method_id(&self) -> u16 { $method }
                #[inline]
                fn encode_arguments(&self, #[allow(unused_variables, reason = "some methods have no argument")] writer: &mut Writer<'_>) {
                    $(Field::write(&self.$field, writer);)*
                }
            }
        )*

        /// Any method, borrowing from the payload it was decoded from.
        #[derive(Debug, Clone, Copy, PartialEq)]
        #[expect(missing_docs, reason = "each variant holds the struct of its name")]
        pub enum Method<'a> { $($name($name $(<$life>)?),)* }

        $(impl<'a> Decode<'a> for $name $(<$life>)? {
            #[inline]
            fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
                let mut reader = Reader::of_arguments(payload);
                let (class_id, method_id) = (reader.u16()?, reader.u16()?);
                if (class_id, method_id) != ($class, $method) {
                    return Err(DecodeError::UnknownMethod { class_id, method_id });
                }
                let method = Self { $($field: Field::read(&mut reader)?,)* };
                if reader.is_empty() { Ok(method) } else { Err(DecodeError::TrailingOctets) }
            }
        })*

        /// The name of the struct of the method with these ids, such as `BasicPublish`.
        pub fn name(ids: (u16, u16)) -> Option<&'static str> {
            match ids {
                $(($class, $method) => Some(stringify!($name)),)*
                _ => None,
            }
        }

        impl<'a> Method<'a> {
            /// Decodes the payload of a method frame.
            pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
                let mut reader = Reader::of_arguments(payload);
                let class_id = reader.u16()?;
                let method_id = reader.u16()?;
                let method = match (class_id, method_id) {
                    $(($class, $method) => Method::$name($name { $($field: Field::read(&mut reader)?,)* }),)*
                    _ => return Err(DecodeError::UnknownMethod { class_id, method_id }),
                };
                if reader.is_empty() { Ok(method) } else { Err(DecodeError::TrailingOctets) }
            }

            /// Class id and method id.
            pub fn ids(&self) -> (u16, u16) {
                match self { $(Method::$name(_) => ($class, $method),)* }
            }

            /// Appends class id, method id and arguments.
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self { $(Method::$name(method) => method.encode(out),)* }
            }
        }

        $(impl<'a> From<$name $(<$life>)?> for Method<'a> $(where $life: 'a, 'a: $life)? {
            fn from(method: $name $(<$life>)?) -> Self { Method::$name(method) }
        })*
    };
}

methods! {
    /// connection.start: the server opens the handshake.
    (10, 10) ConnectionStart<'a> {
        version_major: u8, version_minor: u8, server_properties: Table<'a>, mechanisms: &'a [u8], locales: &'a [u8],
    }
    /// connection.start-ok: the client picks mechanism and locale.
    (10, 11) ConnectionStartOk<'a> { client_properties: Table<'a>, mechanism: &'a str, response: &'a [u8], locale: &'a str, }
    /// connection.secure: a challenge of the SASL mechanism.
    (10, 20) ConnectionSecure<'a> { challenge: &'a [u8], }
    /// connection.secure-ok: the answer to it.
    (10, 21) ConnectionSecureOk<'a> { response: &'a [u8], }
    /// connection.tune: the server's limits; heartbeat in seconds.
    (10, 30) ConnectionTune { channel_max: u16, frame_max: u32, heartbeat: u16, }
    /// connection.tune-ok: the client's limits.
    (10, 31) ConnectionTuneOk { channel_max: u16, frame_max: u32, heartbeat: u16, }
    /// connection.open: the vhost to work in.
    (10, 40) ConnectionOpen<'a> { virtual_host: &'a str, capabilities: &'a str, insist: bool, }
    /// connection.open-ok
    (10, 41) ConnectionOpenOk<'a> { known_hosts: &'a str, }
    /// connection.close, from either side, with the ids of the method at fault.
    (10, 50) ConnectionClose<'a> { reply_code: u16, reply_text: &'a str, class_id: u16, method_id: u16, }
    /// connection.close-ok
    (10, 51) ConnectionCloseOk {}
    /// connection.blocked (RabbitMQ): the server stopped reading, and why.
    (10, 60) ConnectionBlocked<'a> { reason: &'a str, }
    /// connection.unblocked (RabbitMQ)
    (10, 61) ConnectionUnblocked {}
    /// connection.update-secret (RabbitMQ): a fresh token for an open connection.
    (10, 70) ConnectionUpdateSecret<'a> { new_secret: &'a [u8], reason: &'a str, }
    /// connection.update-secret-ok (RabbitMQ)
    (10, 71) ConnectionUpdateSecretOk {}

    /// channel.open
    (20, 10) ChannelOpen<'a> { out_of_band: &'a str, }
    /// channel.open-ok
    (20, 11) ChannelOpenOk<'a> { channel_id: &'a [u8], }
    /// channel.flow: asks the peer to stop or go on sending content.
    (20, 20) ChannelFlow { active: bool, }
    /// channel.flow-ok
    (20, 21) ChannelFlowOk { active: bool, }
    /// channel.close, from either side, with the ids of the method at fault.
    (20, 40) ChannelClose<'a> { reply_code: u16, reply_text: &'a str, class_id: u16, method_id: u16, }
    /// channel.close-ok
    (20, 41) ChannelCloseOk {}

    /// access.request, a leftover of AMQP 0-8.
    (30, 10) AccessRequest<'a> { realm: &'a str, exclusive: bool, passive: bool, active: bool, write: bool, read: bool, }
    /// access.request-ok
    (30, 11) AccessRequestOk { ticket: u16, }

    /// exchange.declare
    (40, 10) ExchangeDeclare<'a> {
        ticket: u16, exchange: &'a str, kind: &'a str, passive: bool, durable: bool, auto_delete: bool, internal: bool,
        no_wait: bool, arguments: Table<'a>,
    }
    /// exchange.declare-ok
    (40, 11) ExchangeDeclareOk {}
    /// exchange.delete
    (40, 20) ExchangeDelete<'a> { ticket: u16, exchange: &'a str, if_unused: bool, no_wait: bool, }
    /// exchange.delete-ok
    (40, 21) ExchangeDeleteOk {}
    /// exchange.bind (RabbitMQ): one exchange to another.
    (40, 30) ExchangeBind<'a> {
        ticket: u16, destination: &'a str, source: &'a str, routing_key: &'a str, no_wait: bool, arguments: Table<'a>,
    }
    /// exchange.bind-ok (RabbitMQ)
    (40, 31) ExchangeBindOk {}
    /// exchange.unbind (RabbitMQ)
    (40, 40) ExchangeUnbind<'a> {
        ticket: u16, destination: &'a str, source: &'a str, routing_key: &'a str, no_wait: bool, arguments: Table<'a>,
    }
    /// exchange.unbind-ok (RabbitMQ)
    (40, 51) ExchangeUnbindOk {}

    /// queue.declare
    (50, 10) QueueDeclare<'a> {
        ticket: u16, queue: &'a str, passive: bool, durable: bool, exclusive: bool, auto_delete: bool, no_wait: bool,
        arguments: Table<'a>,
    }
    /// queue.declare-ok
    (50, 11) QueueDeclareOk<'a> { queue: &'a str, message_count: u32, consumer_count: u32, }
    /// queue.bind
    (50, 20) QueueBind<'a> {
        ticket: u16, queue: &'a str, exchange: &'a str, routing_key: &'a str, no_wait: bool, arguments: Table<'a>,
    }
    /// queue.bind-ok
    (50, 21) QueueBindOk {}
    /// queue.purge
    (50, 30) QueuePurge<'a> { ticket: u16, queue: &'a str, no_wait: bool, }
    /// queue.purge-ok
    (50, 31) QueuePurgeOk { message_count: u32, }
    /// queue.delete
    (50, 40) QueueDelete<'a> { ticket: u16, queue: &'a str, if_unused: bool, if_empty: bool, no_wait: bool, }
    /// queue.delete-ok
    (50, 41) QueueDeleteOk { message_count: u32, }
    /// queue.unbind
    (50, 50) QueueUnbind<'a> { ticket: u16, queue: &'a str, exchange: &'a str, routing_key: &'a str, arguments: Table<'a>, }
    /// queue.unbind-ok
    (50, 51) QueueUnbindOk {}

    /// basic.qos; a prefetch of 0 is no limit.
    (60, 10) BasicQos { prefetch_size: u32, prefetch_count: u16, global: bool, }
    /// basic.qos-ok
    (60, 11) BasicQosOk {}
    /// basic.consume
    (60, 20) BasicConsume<'a> {
        ticket: u16, queue: &'a str, consumer_tag: &'a str, no_local: bool, no_ack: bool, exclusive: bool, no_wait: bool,
        arguments: Table<'a>,
    }
    /// basic.consume-ok
    (60, 21) BasicConsumeOk<'a> { consumer_tag: &'a str, }
    /// basic.cancel, from the client or (RabbitMQ) from the server.
    (60, 30) BasicCancel<'a> { consumer_tag: &'a str, no_wait: bool, }
    /// basic.cancel-ok
    (60, 31) BasicCancelOk<'a> { consumer_tag: &'a str, }
    /// basic.publish; content follows.
    (60, 40) BasicPublish<'a> { ticket: u16, exchange: &'a str, routing_key: &'a str, mandatory: bool, immediate: bool, }
    /// basic.return; content follows.
    (60, 50) BasicReturn<'a> { reply_code: u16, reply_text: &'a str, exchange: &'a str, routing_key: &'a str, }
    /// basic.deliver; content follows.
    (60, 60) BasicDeliver<'a> {
        consumer_tag: &'a str, delivery_tag: u64, redelivered: bool, exchange: &'a str, routing_key: &'a str,
    }
    /// basic.get
    (60, 70) BasicGet<'a> { ticket: u16, queue: &'a str, no_ack: bool, }
    /// basic.get-ok; content follows.
    (60, 71) BasicGetOk<'a> {
        delivery_tag: u64, redelivered: bool, exchange: &'a str, routing_key: &'a str, message_count: u32,
    }
    /// basic.get-empty
    (60, 72) BasicGetEmpty<'a> { cluster_id: &'a str, }
    /// basic.ack, from a consumer or (RabbitMQ) a publisher confirm.
    (60, 80) BasicAck { delivery_tag: u64, multiple: bool, }
    /// basic.reject
    (60, 90) BasicReject { delivery_tag: u64, requeue: bool, }
    /// basic.recover-async, deprecated but in use.
    (60, 100) BasicRecoverAsync { requeue: bool, }
    /// basic.recover
    (60, 110) BasicRecover { requeue: bool, }
    /// basic.recover-ok
    (60, 111) BasicRecoverOk {}
    /// basic.nack (RabbitMQ)
    (60, 120) BasicNack { delivery_tag: u64, multiple: bool, requeue: bool, }

    /// tx.select
    (90, 10) TxSelect {}
    /// tx.select-ok
    (90, 11) TxSelectOk {}
    /// tx.commit
    (90, 20) TxCommit {}
    /// tx.commit-ok
    (90, 21) TxCommitOk {}
    /// tx.rollback
    (90, 30) TxRollback {}
    /// tx.rollback-ok
    (90, 31) TxRollbackOk {}

    /// confirm.select (RabbitMQ)
    (85, 10) ConfirmSelect { no_wait: bool, }
    /// confirm.select-ok (RabbitMQ)
    (85, 11) ConfirmSelectOk {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stand_on_the_wire_as_the_specification_orders_them() {
        let cases: [(Method<'_>, &[u8]); 5] = [
            (Method::TxSelect(TxSelect {}), b"\0\x5a\0\x0a"),
            (
                Method::BasicPublish(BasicPublish {
                    ticket: 0,
                    exchange: "x",
                    routing_key: "key",
                    mandatory: true,
                    immediate: false,
                }),
                b"\0\x3c\0\x28\0\0\x01x\x03key\x01",
            ),
            (
                Method::BasicNack(BasicNack { delivery_tag: 5, multiple: true, requeue: true }),
                b"\0\x3c\0\x78\0\0\0\0\0\0\0\x05\x03",
            ),
            (
                Method::QueueDeclare(QueueDeclare {
                    ticket: 0,
                    queue: "q",
                    passive: false,
                    durable: true,
                    exclusive: false,
                    auto_delete: true,
                    no_wait: true,
                    arguments: Table::default(),
                }),
                b"\0\x32\0\x0a\0\0\x01q\x1a\0\0\0\0",
            ),
            (
                Method::ConnectionTune(ConnectionTune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 }),
                b"\0\x0a\0\x1e\x07\xff\0\x02\0\0\0\x3c",
            ),
        ];
        for (method, octets) in cases {
            let mut out = Vec::new();
            method.encode(&mut out);
            assert_eq!(out, octets, "{method:?}");
            assert_eq!(Method::decode(octets), Ok(method));
            let (whole, cut) = (octets.len(), octets.get(..octets.len() - 1).unwrap());
            assert_eq!(Method::decode(cut), Err(DecodeError::Truncated), "{whole} octets less one");
            let long = [octets, b"\0"].concat();
            assert_eq!(Method::decode(&long), Err(DecodeError::TrailingOctets));
        }
    }

    #[test]
    fn an_expected_method_is_decoded_as_any_is() {
        let mut payload = Vec::new();
        let publish = BasicPublish { ticket: 0, exchange: "x", routing_key: "key", mandatory: true, immediate: false };
        publish.encode(&mut payload);
        assert_eq!(BasicPublish::decode(&payload), Ok(publish));
        assert_eq!(Method::decode(&payload), Ok(Method::BasicPublish(publish)));
        let other = Err(DecodeError::UnknownMethod { class_id: 60, method_id: 40 });
        assert_eq!(BasicAck::decode(&payload), other);
        payload.push(0);
        assert_eq!(BasicPublish::decode(&payload), Err(DecodeError::TrailingOctets));
    }

    #[test]
    fn an_unknown_method_is_named_by_its_ids() {
        assert_eq!(Method::decode(b"\0\x3c\x03\xe7"), Err(DecodeError::UnknownMethod { class_id: 60, method_id: 999 }));
    }
}
