//! Channels and what tests do on them.

use std::cell::RefCell;
use std::rc::Rc;

use leveret_protocol::amqp091::frame::write_content;
use leveret_protocol::amqp091::method::{
    BasicAck, BasicCancel, BasicCancelOk, BasicConsume, BasicConsumeOk, BasicGet, BasicNack, BasicPublish, BasicQos,
    BasicQosOk, BasicReject, ChannelClose, ChannelCloseOk, ChannelFlow, ChannelFlowOk, ConfirmSelect, ConfirmSelectOk,
    ConnectionClose, Encode, ExchangeDeclareOk, ExchangeDelete, ExchangeDeleteOk, Method, QueueBindOk, QueueDeclare,
    QueueDeclareOk, QueueDelete, QueueDeleteOk,
};
use leveret_protocol::amqp091::{Properties, ReplyCode, Table};

use super::connection::expect_connection_error;
use super::inbox::{Delivery, Event, Got, Inboxes, Returned, Sorted, assert_reply};
use super::method::{Reply, basic_consume, basic_publish, exchange_declare, queue_bind, queue_declare, queue_delete};
use crate::unique;

/// A channel. Dropping it sends nothing; it ends with its connection.
#[derive(Debug)]
pub struct Channel {
    inboxes: Rc<RefCell<Inboxes>>,
    number: u16,
    frame_max: usize,
}

/// The server's word on published messages, up to and including `delivery_tag` if `multiple`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// basic.ack
    Ack {
        /// Number of the message on its channel, from 1.
        delivery_tag: u64,
        /// Whether all messages before it are meant too.
        multiple: bool,
    },
    /// basic.nack
    Nack {
        /// Number of the message on its channel, from 1.
        delivery_tag: u64,
        /// Whether all messages before it are meant too.
        multiple: bool,
    },
}

/// What the server sends without being asked: it may stand before any reply.
fn is_unasked(method: &Method<'static>) -> bool {
    matches!(
        method,
        Method::BasicDeliver(_)
            | Method::BasicReturn(_)
            | Method::BasicAck(_)
            | Method::BasicNack(_)
            | Method::BasicCancel(_)
    )
}

/// Takes what `wanted` says, leaves deliveries, returns, confirms and cancels to other calls and refuses anything else.
fn sort(method: &Method<'static>, wanted: impl Fn(&Method<'static>) -> bool) -> Sorted {
    match method {
        method if wanted(method) => Sorted::Take,
        method if is_unasked(method) => Sorted::Keep,
        _ => Sorted::Refuse,
    }
}

/// Sending and awaiting methods of any kind.
impl Channel {
    pub(super) fn new(inboxes: Rc<RefCell<Inboxes>>, number: u16, frame_max: u32) -> Self {
        Self { inboxes, number, frame_max: frame_max as usize }
    }

    /// The channel's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Sends a method.
    #[track_caller]
    pub fn send(&self, method: &impl Encode) {
        self.inboxes.borrow_mut().raw.send_method(self.number, method);
    }

    /// Sends a method with content.
    #[track_caller]
    pub fn send_content(&self, method: &impl Encode, properties: &Properties<'_>, body: &[u8]) {
        let (mut octets, mut list) = (Vec::new(), Vec::new());
        properties.encode(&mut list);
        write_content(&mut octets, self.number, method, &list, body, self.frame_max);
        self.inboxes.borrow_mut().raw.send(&octets);
    }

    /// Sends a frame of any type octet.
    #[track_caller]
    pub fn send_frame(&self, kind: u8, payload: &[u8]) {
        self.inboxes.borrow_mut().raw.send_frame(kind, self.number, payload);
    }

    /// Sends octets as they are.
    #[track_caller]
    pub fn send_octets(&self, octets: &[u8]) {
        self.inboxes.borrow_mut().raw.send(octets);
    }

    /// Sends a method and awaits its reply; deliveries, returns, confirms and cancels that come before it are kept.
    #[track_caller]
    pub fn call<R: Reply>(&self, method: &impl Encode) -> R {
        self.send(method);
        let event = self.take(R::NAME, |method| sort(method, |method| R::from_method(*method).is_some()));
        R::from_method(event.method).expect("a method just matched")
    }

    /// Awaits the next method of all, which must be of this type.
    #[track_caller]
    pub fn expect<R: Reply>(&self) -> R {
        let event = self.take(R::NAME, |method| match R::from_method(*method) {
            Some(_) => Sorted::Take,
            None => Sorted::Refuse,
        });
        R::from_method(event.method).expect("a method just matched")
    }

    /// Awaits the next method of whatever type; deliveries, returns, confirms and cancels that come before it are kept.
    #[track_caller]
    pub fn next_answer(&self) -> Method<'static> {
        self.take("an answer", |method| if is_unasked(method) { Sorted::Keep } else { Sorted::Take }).method
    }

    /// Awaits channel.close with this code and text and answers it. What came before it is dropped.
    ///
    /// `explanation` is the reply text without the name that opens it.
    #[track_caller]
    pub fn expect_channel_error(&self, code: ReplyCode, explanation: &str) -> ChannelClose<'static> {
        let awaited = format!("channel.close {} - {explanation}", code.name());
        let event = self.take(&awaited, |method| match method {
            Method::ChannelClose(_) => Sorted::Take,
            _ => Sorted::Keep,
        });
        let Method::ChannelClose(close) = event.method else { panic!("not a close: {event:?}") };
        assert_reply((close.reply_code, close.reply_text), code, explanation);
        self.send(&ChannelCloseOk {});
        self.inboxes.borrow_mut().clear(self.number);
        close
    }

    /// Awaits connection.close with this code and text, answers it and awaits the end of the connection.
    ///
    /// `explanation` is the reply text without the name that opens it.
    #[track_caller]
    pub fn expect_connection_error(&self, code: ReplyCode, explanation: &str) -> ConnectionClose<'static> {
        expect_connection_error(&self.inboxes, code, explanation)
    }

    /// Proves by a round trip that the channel has nothing more to say.
    ///
    /// What a queue has to say may still be on its way: see [`Channel::expect_nothing_from`].
    #[track_caller]
    pub fn expect_nothing(&self) {
        self.round_trip();
        self.inboxes.borrow().assert_empty(self.number);
    }

    /// Proves by a round trip through `queue` that it has no more deliveries for this channel.
    #[track_caller]
    pub fn expect_nothing_from(&self, queue: &str) {
        self.message_count(queue);
        self.expect_nothing();
    }

    /// Awaits that the server has done all that was asked of it on this channel so far.
    #[track_caller]
    pub fn round_trip(&self) {
        let _: ChannelFlowOk = self.call(&ChannelFlow { active: true });
    }

    #[track_caller]
    fn take(&self, awaited: &str, sort: impl Fn(&Method<'static>) -> Sorted) -> Event {
        self.inboxes.borrow_mut().take(self.number, awaited, sort)
    }
}

/// The usual methods in short.
impl Channel {
    /// Declares an exclusive, transient queue of a unique name.
    #[track_caller]
    pub fn temporary_queue(&self) -> String {
        let queue = unique("queue");
        self.declare_queue(&queue);
        queue
    }

    /// Declares an exclusive, transient queue.
    #[track_caller]
    pub fn declare_queue(&self, queue: &str) -> QueueDeclareOk<'static> {
        self.call(&queue_declare(queue))
    }

    /// Declares an exclusive, transient queue with arguments.
    #[track_caller]
    pub fn declare_queue_with(&self, queue: &str, arguments: Table<'_>) -> QueueDeclareOk<'static> {
        self.call(&QueueDeclare { arguments, ..queue_declare(queue) })
    }

    /// Messages of the queue that are ready, in the server's count.
    #[track_caller]
    pub fn message_count(&self, queue: &str) -> u32 {
        let passive = QueueDeclare { passive: true, exclusive: false, ..queue_declare(queue) };
        self.call::<QueueDeclareOk<'_>>(&passive).message_count
    }

    /// Deletes a queue; how many messages it held.
    #[track_caller]
    pub fn delete_queue(&self, queue: &str) -> u32 {
        self.call::<QueueDeleteOk>(&QueueDelete { ..queue_delete(queue) }).message_count
    }

    /// Declares a transient exchange that goes away with its last binding.
    #[track_caller]
    pub fn declare_exchange(&self, exchange: &str, kind: &str) {
        let _: ExchangeDeclareOk = self.call(&exchange_declare(exchange, kind));
    }

    /// Deletes an exchange.
    #[track_caller]
    pub fn delete_exchange(&self, exchange: &str) {
        let delete = ExchangeDelete { ticket: 0, exchange, if_unused: false, no_wait: false };
        let _: ExchangeDeleteOk = self.call(&delete);
    }

    /// Binds a queue.
    #[track_caller]
    pub fn bind(&self, queue: &str, exchange: &str, routing_key: &str) {
        let _: QueueBindOk = self.call(&queue_bind(queue, exchange, routing_key));
    }

    /// Publishes a message without properties.
    #[track_caller]
    pub fn publish(&self, exchange: &str, routing_key: &str, body: &[u8]) {
        self.publish_with(exchange, routing_key, &Properties::default(), body);
    }

    /// Publishes a message.
    #[track_caller]
    pub fn publish_with(&self, exchange: &str, routing_key: &str, properties: &Properties<'_>, body: &[u8]) {
        self.send_content(&basic_publish(exchange, routing_key), properties, body);
    }

    /// Publishes a message that must come back if it is routed nowhere.
    #[track_caller]
    pub fn publish_mandatory(&self, exchange: &str, routing_key: &str, body: &[u8]) {
        let publish = BasicPublish { mandatory: true, ..basic_publish(exchange, routing_key) };
        self.send_content(&publish, &Properties::default(), body);
    }

    /// Asks for confirms.
    #[track_caller]
    pub fn confirm_select(&self) {
        let _: ConfirmSelectOk = self.call(&ConfirmSelect { no_wait: false });
    }

    /// Awaits the next confirm.
    #[track_caller]
    pub fn next_confirm(&self) -> Confirm {
        let confirms = |method: &Method<'static>| matches!(method, Method::BasicAck(_) | Method::BasicNack(_));
        match self.take("a confirm", |method| sort(method, confirms)).method {
            Method::BasicAck(BasicAck { delivery_tag, multiple }) => Confirm::Ack { delivery_tag, multiple },
            Method::BasicNack(BasicNack { delivery_tag, multiple, .. }) => Confirm::Nack { delivery_tag, multiple },
            method => panic!("not a confirm: {method:?}"),
        }
    }

    /// Awaits the next message that comes back.
    #[track_caller]
    pub fn next_return(&self) -> Returned {
        let returns = |method: &Method<'static>| matches!(method, Method::BasicReturn(_));
        self.take("a return", |method| sort(method, returns)).content().expect("a return")
    }

    /// Consumes with acknowledgements; the tag the server chose.
    #[track_caller]
    pub fn consume(&self, queue: &str) -> &'static str {
        self.consume_with(&basic_consume(queue))
    }

    /// Consumes; the tag that is in use.
    #[track_caller]
    pub fn consume_with(&self, consume: &BasicConsume<'_>) -> &'static str {
        self.call::<BasicConsumeOk<'_>>(consume).consumer_tag
    }

    /// Cancels a consumer; its deliveries that came before cancel-ok are kept.
    #[track_caller]
    pub fn cancel(&self, consumer_tag: &str) {
        let _: BasicCancelOk<'_> = self.call(&BasicCancel { consumer_tag, no_wait: false });
    }

    /// Limits unacknowledged deliveries of each consumer started from here on.
    #[track_caller]
    pub fn qos(&self, prefetch_count: u16) {
        let _: BasicQosOk = self.call(&BasicQos { prefetch_size: 0, prefetch_count, global: false });
    }

    /// Awaits the next delivery.
    #[track_caller]
    pub fn next_delivery(&self) -> Delivery {
        let deliveries = |method: &Method<'static>| matches!(method, Method::BasicDeliver(_));
        self.take("a delivery", |method| sort(method, deliveries)).content().expect("a delivery")
    }

    /// Awaits that the server cancels a consumer; its tag.
    #[track_caller]
    pub fn next_cancel(&self) -> &'static str {
        let cancels = |method: &Method<'static>| matches!(method, Method::BasicCancel(_));
        let event = self.take("a cancel", |method| sort(method, cancels));
        BasicCancel::from_method(event.method).expect("a cancel").consumer_tag
    }

    /// Takes the first message of a queue, to be acknowledged.
    #[track_caller]
    pub fn get(&self, queue: &str) -> Option<Got> {
        self.get_with(&BasicGet { ticket: 0, queue, no_ack: false })
    }

    /// Takes the first message of a queue.
    #[track_caller]
    pub fn get_with(&self, get: &BasicGet<'_>) -> Option<Got> {
        self.send(get);
        let answers = |method: &Method<'static>| matches!(method, Method::BasicGetOk(_) | Method::BasicGetEmpty(_));
        self.take("basic.get-ok or get-empty", |method| sort(method, answers)).content()
    }

    /// Awaits the next message that a basic.get sent before takes.
    #[track_caller]
    pub fn next_got(&self) -> Got {
        let answers = |method: &Method<'static>| matches!(method, Method::BasicGetOk(_));
        self.take("basic.get-ok", |method| sort(method, answers)).content().expect("a message")
    }

    /// Acknowledges one delivery.
    #[track_caller]
    pub fn ack(&self, delivery_tag: u64) {
        self.send(&BasicAck { delivery_tag, multiple: false });
    }

    /// Returns one delivery to its queue.
    #[track_caller]
    pub fn requeue(&self, delivery_tag: u64) {
        self.send(&BasicNack { delivery_tag, multiple: false, requeue: true });
    }

    /// Refuses one delivery for good.
    #[track_caller]
    pub fn reject(&self, delivery_tag: u64) {
        self.send(&BasicReject { delivery_tag, requeue: false });
    }

    /// Closes the channel; what came before channel.close-ok is dropped.
    #[track_caller]
    pub fn close(&self) {
        let code = ReplyCode::Success.code();
        let _: ChannelCloseOk =
            self.call(&ChannelClose { reply_code: code, reply_text: "Goodbye", class_id: 0, method_id: 0 });
        self.inboxes.borrow_mut().clear(self.number);
    }
}
