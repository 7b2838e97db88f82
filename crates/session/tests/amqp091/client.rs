//! A client and its session on a node, joined by two buffers.
//!
//! What the server sends is shown as lines such as `1: deliver tag 1 'body'`: the channel, then what came on it.

use std::cell::Cell;
use std::sync::Arc;

use leveret_broker::access::{
    Authenticator, Identity, InternalAuthority, LoginAttempt, LoginFailure, Peer, Reply, Secret,
};
use leveret_broker::mailbox::Mailbox;
use leveret_broker::node::Node;
use leveret_broker::queue::{QueueCell, QueueCounts, Taken};
use leveret_broker::topology::ConnectionId;
use leveret_protocol::amqp091::frame::{write_content, write_method};
use leveret_protocol::amqp091::method::{
    BasicAck, BasicConsume, BasicPublish, BasicQos, ChannelOpen, ConfirmSelect, ConnectionOpen, ConnectionStartOk,
    ConnectionTuneOk, QueueDeclare,
};
use leveret_protocol::amqp091::{
    ContentHeader, Encode, Frame, FrameKind, Method, ProtocolHeader, Table, TableWriter, Value,
};
use leveret_session::amqp091::{Mechanism, Session, Settings};

pub(crate) const FRAME_MAX: u32 = 8192;

thread_local! {
    static DRAWN: Cell<u128> = const { Cell::new(0) };
}

/// Octets that differ with every draw and are the same in every run, as each test has a thread of its own.
fn draw() -> [u8; 16] {
    DRAWN.set(DRAWN.get() + 1);
    DRAWN.get().to_be_bytes()
}

pub(crate) fn settings() -> Settings {
    Settings {
        frame_max: FRAME_MAX,
        channel_max: 200,
        heartbeat_seconds: 10,
        max_message_size: 1024 * 1024,
        max_consumers_per_channel: None,
        product: "RabbitMQ".into(),
        version: "4.2.0".into(),
        cluster_name: "test".into(),
        leveret_version: "0".into(),
        authenticator: Arc::new(Closed),
        mechanisms: vec![Mechanism::Plain],
        anonymous: None,
        random: draw,
    }
}

/// Lets nobody in.
#[derive(Debug)]
struct Closed;

impl Authenticator for Closed {
    fn log_in(&self, attempt: LoginAttempt, _reply: Reply) -> Option<Result<Identity, LoginFailure>> {
        Some(Err(LoginFailure::Refused { user: attempt.name, reason: "closed".into() }))
    }
}

/// Lets the users of a node in whose password is their name, from this machine.
#[derive(Debug)]
pub(crate) struct Door(pub(crate) Arc<Node>);

impl Authenticator for Door {
    fn log_in(&self, attempt: LoginAttempt, _reply: Reply) -> Option<Result<Identity, LoginFailure>> {
        let user = attempt.name;
        let fits = attempt.secret.is_none_or(|secret| secret == Secret::new(user.as_bytes()));
        if !attempt.peer.is_loopback() {
            return Some(Err(LoginFailure::LoopbackOnly { user }));
        }
        let identity = InternalAuthority::identity(&self.0, &user).filter(|_| fits);
        Some(identity.ok_or(LoginFailure::Refused { user, reason: "invalid credentials".into() }))
    }
}

/// A client, its session, and the octets between them.
#[expect(clippy::struct_field_names, reason = "the two ways octets go are named alike")]
pub(crate) struct Client {
    pub(crate) session: Session,
    node: Arc<Node>,
    /// Octets on their way to the server.
    pub(crate) to_server: Vec<u8>,
    /// Octets on their way to the client.
    pub(crate) to_client: Vec<u8>,
}

impl Client {
    /// A client that has connected and said nothing.
    pub(crate) fn connect(node: &Arc<Node>) -> Self {
        Self::connect_from(&Peer::local(), node)
    }

    pub(crate) fn connect_from(peer: &Peer, node: &Arc<Node>) -> Self {
        Self::connect_with(Settings { authenticator: Arc::new(Door(Arc::clone(node))), ..settings() }, peer, node)
    }

    pub(crate) fn connect_with(settings: Settings, peer: &Peer, node: &Arc<Node>) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let session = Session::new(Arc::clone(node), Arc::new(settings), mailbox, peer.clone());
        Self { session, node: Arc::clone(node), to_server: Vec::new(), to_client: Vec::new() }
    }

    /// A client that is logged in, with channel 1 open.
    pub(crate) fn open(node: &Arc<Node>) -> Self {
        Self::open_with(node, settings().heartbeat_seconds)
    }

    pub(crate) fn open_with(node: &Arc<Node>, heartbeat: u16) -> Self {
        let mut client = Self::connect(node);
        client.log_in("guest", "guest");
        client.tune_ok(heartbeat);
        client.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
        client.open_channel(1);
        assert_eq!(client.turn(), ["0: start", "0: tune", "0: open-ok", "1: open-ok"]);
        client
    }

    /// Sends what comes before connection.tune.
    pub(crate) fn log_in(&mut self, user: &str, password: &str) {
        let mut properties = Vec::new();
        TableWriter::new(&mut properties).table("capabilities", |capabilities| {
            capabilities.field("consumer_cancel_notify", Value::Bool(true));
            capabilities.field("connection.blocked", Value::Bool(true));
            capabilities.field("authentication_failure_close", Value::Bool(true));
        });
        self.to_server.extend_from_slice(&ProtocolHeader::AMQP_0_9_1.octets());
        self.start_ok(user, password, &properties);
    }

    /// Sends connection.start-ok, with the fields of a table as client properties.
    pub(crate) fn start_ok(&mut self, user: &str, password: &str, properties: &[u8]) {
        let client_properties = Table::parse(properties).unwrap();
        let response = format!("\0{user}\0{password}").into_bytes();
        let (mechanism, locale) = ("PLAIN", "en_US");
        self.send(0, &ConnectionStartOk { client_properties, mechanism, response: &response, locale });
    }

    pub(crate) fn tune_ok(&mut self, heartbeat: u16) {
        let (frame_max, channel_max) = (FRAME_MAX, settings().channel_max);
        self.send(0, &ConnectionTuneOk { channel_max, frame_max, heartbeat });
    }

    pub(crate) fn send(&mut self, channel: u16, method: &impl Encode) {
        write_method(&mut self.to_server, channel, method);
    }

    pub(crate) fn open_channel(&mut self, channel: u16) {
        self.send(channel, &ChannelOpen { out_of_band: "" });
    }

    pub(crate) fn declare(&mut self, channel: u16, queue: &str) {
        self.declare_as(channel, queue, false, false);
    }

    pub(crate) fn declare_as(&mut self, channel: u16, queue: &str, exclusive: bool, auto_delete: bool) {
        let (ticket, passive, durable, no_wait, arguments) = (0, false, false, true, Table::default());
        self.send(
            channel,
            &QueueDeclare { ticket, queue, passive, durable, exclusive, auto_delete, no_wait, arguments },
        );
    }

    /// Declares a queue with arguments, without waiting for an answer.
    pub(crate) fn declare_with(&mut self, channel: u16, queue: &str, arguments: &[(&str, Value<'_>)]) {
        let mut octets = Vec::new();
        let mut writer = TableWriter::new(&mut octets);
        for (name, value) in arguments {
            writer.field(name, *value);
        }
        let arguments = Table::parse(&octets).unwrap();
        let (ticket, passive, durable, exclusive, auto_delete, no_wait) = (0, false, false, false, false, true);
        self.send(
            channel,
            &QueueDeclare { ticket, queue, passive, durable, exclusive, auto_delete, no_wait, arguments },
        );
    }

    pub(crate) fn qos(&mut self, channel: u16, prefetch_count: u16, global: bool) {
        self.send(channel, &BasicQos { prefetch_size: 0, prefetch_count, global });
    }

    /// Consumes under the queue's name as the consumer tag, without waiting for an answer.
    pub(crate) fn consume(&mut self, channel: u16, queue: &str, no_ack: bool) {
        self.consume_as(channel, queue, queue, no_ack);
    }

    pub(crate) fn consume_as(&mut self, channel: u16, queue: &str, consumer_tag: &str, no_ack: bool) {
        let (ticket, no_local, exclusive, no_wait, arguments) = (0, false, false, true, Table::default());
        self.send(
            channel,
            &BasicConsume { ticket, queue, consumer_tag, no_local, no_ack, exclusive, no_wait, arguments },
        );
    }

    pub(crate) fn confirm_select(&mut self, channel: u16) {
        self.send(channel, &ConfirmSelect { no_wait: true });
    }

    pub(crate) fn publish(&mut self, channel: u16, queue: &str, body: &str) {
        self.publish_to(channel, "", queue, body.as_bytes(), false);
    }

    pub(crate) fn publish_to(&mut self, channel: u16, exchange: &str, key: &str, body: &[u8], mandatory: bool) {
        let publish = BasicPublish { ticket: 0, exchange, routing_key: key, mandatory, immediate: false };
        write_content(&mut self.to_server, channel, &publish, &[0, 0], body, FRAME_MAX as usize);
    }

    /// Publishes a message that is to survive a restart.
    pub(crate) fn publish_persistent(&mut self, channel: u16, exchange: &str, routing_key: &str, body: &str) {
        let publish = BasicPublish { ticket: 0, exchange, routing_key, mandatory: false, immediate: false };
        write_content(&mut self.to_server, channel, &publish, &[0x10, 0, 2], body.as_bytes(), FRAME_MAX as usize);
    }

    pub(crate) fn ack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) {
        self.send(channel, &BasicAck { delivery_tag, multiple });
    }

    /// Lets the session take a turn as the server would, and one more for what that led to. Shows what the client got.
    pub(crate) fn turn(&mut self) -> Vec<String> {
        self.exchange();
        self.read()
    }

    /// Takes a turn and leaves what the client got in `to_client`.
    pub(crate) fn exchange(&mut self) {
        for _ in 0..2 {
            self.session.deliver(&mut self.to_client);
            let used = self.session.receive(&self.to_server, &mut self.to_client);
            self.to_server.drain(..used);
            self.session.end_turn(&mut self.to_client);
        }
    }

    /// Takes a turn in which the client gets nothing.
    pub(crate) fn quiet_turn(&mut self) {
        assert_eq!(self.turn(), [""; 0]);
    }

    /// Shows what is on its way to the client.
    pub(crate) fn read(&mut self) -> Vec<String> {
        let octets = std::mem::take(&mut self.to_client);
        show(&octets)
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn cell(&self, queue: &str) -> Arc<QueueCell> {
        self.node.queue("/", queue, self.session.id()).unwrap()
    }
}

/// Counters of a queue that is not exclusive.
pub(crate) fn counts(node: &Node, queue: &str) -> QueueCounts {
    node.queue("/", queue, ConnectionId(0)).unwrap().counts()
}

pub(crate) fn queue_counts(ready: usize, unsettled: usize, consumers: usize) -> QueueCounts {
    QueueCounts { ready, unsettled, consumers }
}

/// Takes everything out of a queue; `*` marks what was delivered before.
pub(crate) fn drain(node: &Node, queue: &str) -> Vec<String> {
    let cell = node.queue("/", queue, ConnectionId(0)).unwrap();
    let mut bodies = Vec::new();
    while let Taken::Message(_, message, redelivered) = cell.take(true, &Arc::default()).unwrap().0 {
        let mark = if redelivered { "*" } else { "" };
        bodies.push(format!("{}{mark}", String::from_utf8_lossy(message.body())));
    }
    bodies
}

/// Shows the frames of a stream, which must be whole, with content joined to its method.
pub(crate) fn show(mut octets: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut body_left = 0;
    while !octets.is_empty() {
        let (frame, used) = Frame::decode(octets, FRAME_MAX as usize).unwrap().unwrap();
        assert!(used <= FRAME_MAX as usize);
        octets = &octets[used..];
        match frame.kind {
            FrameKind::Heartbeat => lines.push("heartbeat".into()),
            FrameKind::Method => {
                assert_eq!(body_left, 0, "content is not interrupted");
                lines.push(format!("{}: {}", frame.channel, describe(&Method::decode(frame.payload).unwrap())));
            }
            FrameKind::Header => {
                body_left = ContentHeader::decode(frame.payload).unwrap().body_size;
                lines.last_mut().unwrap().push_str(if body_left == 0 { " ''" } else { " '" });
            }
            FrameKind::Body => {
                body_left -= frame.payload.len() as u64;
                let line = lines.last_mut().unwrap();
                line.push_str(&String::from_utf8_lossy(frame.payload));
                line.push_str(if body_left == 0 { "'" } else { "" });
            }
        }
    }
    lines
}

fn describe(method: &Method<'_>) -> String {
    let starred = |redelivered| if redelivered { "*" } else { "" };
    match method {
        Method::ConnectionStart(_) => "start".into(),
        Method::ConnectionTune(_) => "tune".into(),
        Method::ConnectionOpenOk(_) | Method::ChannelOpenOk(_) => "open-ok".into(),
        Method::ConnectionClose(close) => format!("close {}", close.reply_text),
        Method::ChannelClose(close) => format!("close {}", close.reply_text),
        Method::ConnectionCloseOk(_) | Method::ChannelCloseOk(_) => "close-ok".into(),
        Method::BasicAck(ack) => format!("ack {}{}", if ack.multiple { "to " } else { "" }, ack.delivery_tag),
        Method::BasicNack(nack) => format!("nack {}{}", if nack.multiple { "to " } else { "" }, nack.delivery_tag),
        Method::BasicDeliver(deliver) => {
            format!("deliver {} {}{}", deliver.consumer_tag, deliver.delivery_tag, starred(deliver.redelivered))
        }
        Method::BasicGetOk(ok) => format!("get-ok {}{}", ok.delivery_tag, starred(ok.redelivered)),
        Method::BasicReturn(returned) => format!("return {}", returned.reply_text),
        Method::BasicCancel(cancel) => format!("cancel {}", cancel.consumer_tag),
        Method::QueueDeclareOk(ok) => format!("declare-ok {}", ok.queue),
        Method::QueueDeleteOk(ok) => format!("delete-ok {}", ok.message_count),
        other => {
            let shown = format!("{other:?}");
            shown.split('(').next().unwrap_or_default().to_owned()
        }
    }
}
