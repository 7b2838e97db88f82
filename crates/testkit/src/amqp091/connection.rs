//! Opening and closing connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use leveret_protocol::amqp091::method::{
    ChannelOpen, ChannelOpenOk, ConnectionClose, ConnectionCloseOk, ConnectionOpen, ConnectionOpenOk,
    ConnectionStartOk, ConnectionTune, ConnectionTuneOk, Encode, Method,
};
use leveret_protocol::amqp091::{ReplyCode, Table, TableWriter, Value};

use super::channel::Channel;
use super::inbox::{Inboxes, Sorted, assert_reply};
use super::method::{Reply, plain};
use super::raw::RawConnection;
use crate::broker::{self, Url};

/// The capabilities a client of RabbitMQ can announce.
const CAPABILITIES: [&str; 6] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "authentication_failure_close",
];

/// A handshake with a part or two changed.
#[derive(Debug, Clone)]
pub struct Builder {
    address: String,
    properties: Vec<u8>,
    capabilities: Vec<&'static str>,
    mechanism: String,
    user: String,
    password: String,
    response: Option<Vec<u8>>,
    vhost: String,
    channel_max: Option<u16>,
    frame_max: Option<u32>,
    heartbeat: u16,
    deadline: Option<Duration>,
}

impl Builder {
    fn new(url: &Url) -> Self {
        Self {
            address: url.address.clone(),
            properties: Vec::new(),
            capabilities: CAPABILITIES.to_vec(),
            mechanism: "PLAIN".to_owned(),
            user: url.user.clone(),
            password: url.password.clone(),
            response: None,
            vhost: url.vhost.clone(),
            channel_max: None,
            frame_max: None,
            heartbeat: 0,
            deadline: None,
        }
    }

    /// Connects to this host and port.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }

    /// Adds a client property.
    #[must_use]
    pub fn property(mut self, name: &str, value: Value<'_>) -> Self {
        TableWriter::new(&mut self.properties).field(name, value);
        self
    }

    /// Does not announce this capability; all others are.
    #[must_use]
    pub fn without_capability(mut self, name: &str) -> Self {
        let before = self.capabilities.len();
        self.capabilities.retain(|capability| *capability != name);
        assert_ne!(self.capabilities.len(), before, "no capability {name}");
        self
    }

    /// Names another SASL mechanism than PLAIN and sends this response.
    #[must_use]
    pub fn mechanism(mut self, mechanism: &str, response: &[u8]) -> Self {
        mechanism.clone_into(&mut self.mechanism);
        self.response = Some(response.to_vec());
        self
    }

    /// Logs in as this user.
    #[must_use]
    pub fn user(mut self, user: &str, password: &str) -> Self {
        user.clone_into(&mut self.user);
        password.clone_into(&mut self.password);
        self
    }

    /// Opens this virtual host.
    #[must_use]
    pub fn vhost(mut self, vhost: &str) -> Self {
        vhost.clone_into(&mut self.vhost);
        self
    }

    /// Answers connection.tune with this `channel_max` instead of the server's.
    #[must_use]
    pub fn channel_max(mut self, channel_max: u16) -> Self {
        self.channel_max = Some(channel_max);
        self
    }

    /// Answers connection.tune with this `frame_max` (octets) instead of the server's.
    #[must_use]
    pub fn frame_max(mut self, frame_max: u32) -> Self {
        self.frame_max = Some(frame_max);
        self
    }

    /// Answers connection.tune with this heartbeat (seconds) instead of none.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: u16) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Replaces the deadline of every wait.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Shakes hands up to and including connection.start-ok.
    #[track_caller]
    pub fn through_start_ok(&self) -> RawConnection {
        let (mut raw, _) = RawConnection::start_at(&self.address);
        if let Some(deadline) = self.deadline {
            raw = raw.with_deadline(deadline);
        }
        let mut properties = self.properties.clone();
        TableWriter::new(&mut properties).field("product", Value::LongStr(b"leveret-testkit")).table(
            "capabilities",
            |table| {
                for capability in &self.capabilities {
                    table.field(capability, Value::Bool(true));
                }
            },
        );
        raw.send_method(
            0,
            &ConnectionStartOk {
                client_properties: Table::parse(&properties).expect("a table just written is well formed"),
                mechanism: &self.mechanism,
                response: &self.response.clone().unwrap_or_else(|| plain(&self.user, &self.password)),
                locale: "en_US",
            },
        );
        raw
    }

    /// Shakes hands up to and including connection.tune-ok.
    #[track_caller]
    pub fn through_tune_ok(&self) -> RawConnection {
        self.tuned().0
    }

    /// Shakes hands up to and including connection.open.
    #[track_caller]
    pub fn through_open(&self) -> RawConnection {
        self.opening().0
    }

    /// Shakes hands to the end.
    #[track_caller]
    pub fn open(&self) -> Connection {
        let (mut raw, tuned) = self.opening();
        let _: ConnectionOpenOk<'_> = raw.expect();
        let inboxes = Rc::new(RefCell::new(Inboxes::new(raw)));
        Connection { inboxes, tuned, channel_last: Cell::new(0) }
    }

    #[track_caller]
    fn opening(&self) -> (RawConnection, ConnectionTuneOk) {
        let (mut raw, tuned) = self.tuned();
        raw.send_method(0, &ConnectionOpen { virtual_host: &self.vhost, capabilities: "", insist: false });
        (raw, tuned)
    }

    #[track_caller]
    fn tuned(&self) -> (RawConnection, ConnectionTuneOk) {
        let mut raw = self.through_start_ok();
        let tune: ConnectionTune = raw.expect();
        let tune_ok = ConnectionTuneOk {
            channel_max: self.channel_max.unwrap_or(tune.channel_max),
            frame_max: self.frame_max.unwrap_or(tune.frame_max),
            heartbeat: self.heartbeat,
        };
        raw.send_method(0, &tune_ok);
        (raw, tune_ok)
    }
}

/// An open connection. Dropping it hangs up without connection.close.
#[derive(Debug)]
pub struct Connection {
    inboxes: Rc<RefCell<Inboxes>>,
    tuned: ConnectionTuneOk,
    channel_last: Cell<u16>,
}

impl Connection {
    /// Connects as the user of the broker's URL to its virtual host, without heartbeats.
    #[track_caller]
    pub fn open() -> Self {
        Self::builder().open()
    }

    /// A handshake to change parts of.
    pub fn builder() -> Builder {
        Builder::new(broker::url())
    }

    /// A handshake with this broker, to change parts of.
    pub fn builder_at(url: &Url) -> Builder {
        Builder::new(url)
    }

    /// What was negotiated.
    pub fn tuned(&self) -> ConnectionTuneOk {
        self.tuned
    }

    /// Opens a channel of the next number.
    #[track_caller]
    pub fn channel(&self) -> Channel {
        self.channel_last.set(self.channel_last.get() + 1);
        self.channel_numbered(self.channel_last.get())
    }

    /// Opens a channel of this number.
    #[track_caller]
    pub fn channel_numbered(&self, number: u16) -> Channel {
        let channel = self.unopened_channel(number);
        let _: ChannelOpenOk<'_> = channel.call(&ChannelOpen { out_of_band: "" });
        channel
    }

    /// A channel of this number that the server has not been told of.
    pub fn unopened_channel(&self, number: u16) -> Channel {
        self.inboxes.borrow_mut().clear(number);
        Channel::new(Rc::clone(&self.inboxes), number, self.tuned.frame_max)
    }

    /// Sends a method on channel 0.
    #[track_caller]
    pub fn send(&self, method: &impl Encode) {
        self.inboxes.borrow_mut().raw.send_method(0, method);
    }

    /// Sends octets as they are.
    #[track_caller]
    pub fn send_octets(&self, octets: &[u8]) {
        self.inboxes.borrow_mut().raw.send(octets);
    }

    /// Sends a frame of any type octet on any channel.
    #[track_caller]
    pub fn send_frame(&self, kind: u8, channel: u16, payload: &[u8]) {
        self.inboxes.borrow_mut().raw.send_frame(kind, channel, payload);
    }

    /// Awaits the next method on channel 0, which must be of this type.
    #[track_caller]
    pub fn expect<R: Reply>(&self) -> R {
        let sort = |method: &Method<'static>| match R::from_method(*method) {
            Some(_) => Sorted::Take,
            None => Sorted::Refuse,
        };
        let event = self.inboxes.borrow_mut().take(0, R::NAME, sort);
        R::from_method(event.method).expect("a method just matched")
    }

    /// Awaits a heartbeat that no earlier call has seen.
    #[track_caller]
    pub fn next_heartbeat(&self) {
        self.inboxes.borrow_mut().take_heartbeat();
    }

    /// Awaits connection.close with this code and text, answers it and awaits the end of the connection.
    ///
    /// `explanation` is the reply text without the name that opens it.
    #[track_caller]
    pub fn expect_connection_error(&self, code: ReplyCode, explanation: &str) -> ConnectionClose<'static> {
        expect_connection_error(&self.inboxes, code, explanation)
    }

    /// Awaits that the server hangs up without another word.
    #[track_caller]
    pub fn expect_end(&self) {
        self.inboxes.borrow_mut().raw.expect_end();
    }

    /// Closes the connection, awaits connection.close-ok and hangs up.
    #[track_caller]
    pub fn close(self) {
        let code = ReplyCode::Success.code();
        self.send(&ConnectionClose { reply_code: code, reply_text: "Goodbye", class_id: 0, method_id: 0 });
        let _: ConnectionCloseOk = self.expect();
    }
}

#[track_caller]
pub(super) fn expect_connection_error(
    inboxes: &RefCell<Inboxes>,
    code: ReplyCode,
    explanation: &str,
) -> ConnectionClose<'static> {
    let mut inboxes = inboxes.borrow_mut();
    let awaited = format!("connection.close {} - {explanation}", code.name());
    let event = inboxes.take(0, &awaited, |method| match method {
        Method::ConnectionClose(_) => Sorted::Take,
        _ => Sorted::Keep,
    });
    let Method::ConnectionClose(close) = event.method else { panic!("not a close: {event:?}") };
    assert_reply((close.reply_code, close.reply_text), code, explanation);
    inboxes.raw.send_method(0, &ConnectionCloseOk {});
    inboxes.raw.expect_end();
    close
}
