//! A client that reads whole messages and notices when the broker is gone.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use leveret_protocol::amqp091::frame::write_method;
use leveret_protocol::amqp091::method::{
    BasicConsume, BasicQos, ChannelOpen, ConfirmSelect, ConnectionClose, ConnectionOpen, ConnectionStartOk,
    ConnectionTuneOk, Encode, QueueDeclare, TxSelect,
};
use leveret_protocol::amqp091::{ContentHeader, Frame, FrameKind, Method, Properties, ProtocolHeader, Table};

use crate::message::Mode;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Octets of the largest frame.
pub(crate) const FRAME_MAX: u32 = 131_072;
/// connection.close of a broker that stops.
const CONNECTION_FORCED: u16 = 320;

/// The broker has hung up, or was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// A message that came.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// 0 for one that was returned.
    pub(crate) delivery_tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) message_id: String,
    pub(crate) mode: Mode,
    pub(crate) body: Vec<u8>,
}

/// What the broker sends without being asked.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Delivery(Arrival),
    Returned(Arrival),
    Confirm { delivery_tag: u64, multiple: bool },
    Refusal { delivery_tag: u64, multiple: bool },
}

/// What came, whole.
enum Item {
    Event(Event),
    Got(Arrival),
    Method(Vec<u8>),
}

/// The method of a content whose other frames have not all come.
struct Unfinished {
    kind: Content,
    delivery_tag: u64,
    redelivered: bool,
    header: Option<(String, Mode, usize)>,
    body: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Content {
    Delivery,
    Got,
    Return,
}

/// A connection with channel 1 open.
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    taken: usize,
    unfinished: Option<Unfinished>,
    /// Events that came while an answer was awaited.
    early: VecDeque<Event>,
}

impl Wire {
    /// Connects and opens channel 1.
    pub(crate) fn open(address: SocketAddr) -> Result<Self, Gone> {
        let stream = TcpStream::connect(address).map_err(|_| Gone)?;
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let mut wire = Self { stream, unread: Vec::new(), taken: 0, unfinished: None, early: VecDeque::new() };
        wire.send_octets(&ProtocolHeader::AMQP_0_9_1.octets())?;
        wire.answer(|method| matches!(method, Method::ConnectionStart(_)).then_some(()))?;
        let client_properties = Table::default();
        let response = b"\0guest\0guest";
        let start_ok = ConnectionStartOk { client_properties, mechanism: "PLAIN", response, locale: "en_US" };
        wire.send_on(0, &start_ok)?;
        wire.answer(|method| matches!(method, Method::ConnectionTune(_)).then_some(()))?;
        wire.send_on(0, &ConnectionTuneOk { channel_max: 10, frame_max: FRAME_MAX, heartbeat: 0 })?;
        wire.send_on(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false })?;
        wire.answer(|method| matches!(method, Method::ConnectionOpenOk(_)).then_some(()))?;
        wire.call(&ChannelOpen { out_of_band: "" }, |method| matches!(method, Method::ChannelOpenOk(_)).then_some(()))?;
        Ok(wire)
    }

    pub(crate) fn confirm_select(&mut self) -> Result<(), Gone> {
        self.call(&ConfirmSelect { no_wait: false }, |method| {
            matches!(method, Method::ConfirmSelectOk(_)).then_some(())
        })
    }

    pub(crate) fn tx_select(&mut self) -> Result<(), Gone> {
        self.call(&TxSelect {}, |method| matches!(method, Method::TxSelectOk(_)).then_some(()))
    }

    /// Subscribes with acknowledgements; a prefetch of 0 is no limit.
    pub(crate) fn consume(&mut self, queue: &str, prefetch_count: u16) -> Result<(), Gone> {
        let qos = BasicQos { prefetch_size: 0, prefetch_count, global: false };
        self.call(&qos, |method| matches!(method, Method::BasicQosOk(_)).then_some(()))?;
        let consume = BasicConsume {
            ticket: 0,
            queue,
            consumer_tag: "",
            no_local: false,
            no_ack: false,
            exclusive: false,
            no_wait: false,
            arguments: Table::default(),
        };
        self.call(&consume, |method| matches!(method, Method::BasicConsumeOk(_)).then_some(()))
    }

    /// Declares a queue, actively or passively; how many messages are ready in it.
    pub(crate) fn declare(&mut self, queue: &QueueDeclare<'_>) -> Result<usize, Gone> {
        self.call(queue, |method| match method {
            Method::QueueDeclareOk(ok) => Some(ok.message_count as usize),
            _ => None,
        })
    }

    /// Sends a method on channel 1 and awaits the answer that `answer` takes.
    pub(crate) fn call<T>(
        &mut self,
        method: &impl Encode,
        answer: impl FnMut(&Method<'_>) -> Option<T>,
    ) -> Result<T, Gone> {
        self.send(method)?;
        self.answer(answer)
    }

    pub(crate) fn send(&mut self, method: &impl Encode) -> Result<(), Gone> {
        self.send_on(1, method)
    }

    fn send_on(&mut self, channel: u16, method: &impl Encode) -> Result<(), Gone> {
        let mut octets = Vec::new();
        write_method(&mut octets, channel, method);
        self.send_octets(&octets)
    }

    pub(crate) fn send_octets(&mut self, octets: &[u8]) -> Result<(), Gone> {
        match self.stream.write_all(octets) {
            Ok(()) => Ok(()),
            Err(error) if is_late(&error) => panic!("the broker has taken nothing for {DEADLINE:?}"),
            Err(_) => Err(Gone),
        }
    }

    fn answer<T>(&mut self, mut answer: impl FnMut(&Method<'_>) -> Option<T>) -> Result<T, Gone> {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.item(end)?.expect("the broker has not answered in time") {
                Item::Event(event) => self.early.push_back(event),
                Item::Got(got) => panic!("a message nobody asked for: {}", got.message_id),
                Item::Method(payload) => {
                    let method = Method::decode(&payload).unwrap();
                    return Ok(answer(&method).unwrap_or_else(|| panic!("an answer to something else: {method:?}")));
                }
            }
        }
    }

    /// The answer to a basic.get: the message, or nothing if the queue is empty.
    pub(crate) fn got(&mut self) -> Result<Option<Arrival>, Gone> {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.item(end)?.expect("the broker has not answered in time") {
                Item::Event(event) => self.early.push_back(event),
                Item::Got(got) => return Ok(Some(got)),
                Item::Method(payload) => match Method::decode(&payload).unwrap() {
                    Method::BasicGetEmpty(_) => return Ok(None),
                    other => panic!("an answer to something else: {other:?}"),
                },
            }
        }
    }

    /// The next event; nothing if none comes within `patience`.
    pub(crate) fn event(&mut self, patience: Duration) -> Result<Option<Event>, Gone> {
        if let Some(event) = self.early.pop_front() {
            return Ok(Some(event));
        }
        match self.item(Instant::now() + patience)? {
            None => Ok(None),
            Some(Item::Event(event)) => Ok(Some(event)),
            Some(Item::Got(got)) => panic!("a message nobody asked for: {}", got.message_id),
            Some(Item::Method(payload)) => panic!("{:?}", Method::decode(&payload).unwrap()),
        }
    }

    /// Says goodbye and awaits the answer; what was sent before has taken effect then.
    pub(crate) fn close(mut self) {
        let close = ConnectionClose { reply_code: 200, reply_text: "Goodbye", class_id: 0, method_id: 0 };
        let end = Instant::now() + DEADLINE;
        if self.send_on(0, &close).is_err() {
            return;
        }
        // Deliveries may still be on their way.
        while let Ok(item) = self.item(end) {
            let Some(Item::Method(payload)) = item else { continue };
            if matches!(Method::decode(&payload), Ok(Method::ConnectionCloseOk(_))) {
                return;
            }
        }
    }

    /// The next whole thing; nothing if none comes before `end`.
    fn item(&mut self, end: Instant) -> Result<Option<Item>, Gone> {
        loop {
            while let Some((frame, used)) = Frame::decode(&self.unread[self.taken..], usize::MAX).unwrap() {
                let (kind, payload) = (frame.kind, frame.payload.to_vec());
                self.taken += used;
                if let Some(item) = self.frame(kind, payload)? {
                    return Ok(Some(item));
                }
            }
            self.unread.drain(..self.taken);
            self.taken = 0;
            let patience = end.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(patience)).unwrap();
            let mut octets = [0; 16 * 1024];
            match self.stream.read(&mut octets) {
                Ok(0) => return Err(Gone),
                Ok(count) => self.unread.extend_from_slice(&octets[..count]),
                Err(error) if is_late(&error) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
    }

    fn frame(&mut self, kind: FrameKind, payload: Vec<u8>) -> Result<Option<Item>, Gone> {
        match kind {
            FrameKind::Heartbeat => return Ok(None),
            FrameKind::Method => return self.method(payload),
            FrameKind::Header => {
                let header = ContentHeader::decode(&payload).unwrap();
                let properties = Properties::decode(header.properties).unwrap();
                let message_id = properties.message_id.unwrap_or_default().to_owned();
                let size = usize::try_from(header.body_size).unwrap();
                let unfinished = self.unfinished.as_mut().unwrap();
                unfinished.header = Some((message_id, Mode::of(properties.delivery_mode), size));
            }
            FrameKind::Body => self.unfinished.as_mut().unwrap().body.extend_from_slice(&payload),
        }
        let whole = |unfinished: &mut Unfinished| {
            unfinished.header.as_ref().is_some_and(|(_, _, size)| unfinished.body.len() == *size)
        };
        Ok(self.unfinished.take_if(whole).map(Unfinished::finish))
    }

    fn method(&mut self, payload: Vec<u8>) -> Result<Option<Item>, Gone> {
        let content = |kind, delivery_tag, redelivered| {
            Some(Unfinished { kind, delivery_tag, redelivered, header: None, body: Vec::new() })
        };
        match Method::decode(&payload).unwrap() {
            Method::BasicDeliver(deliver) => {
                self.unfinished = content(Content::Delivery, deliver.delivery_tag, deliver.redelivered);
            }
            Method::BasicGetOk(got) => self.unfinished = content(Content::Got, got.delivery_tag, got.redelivered),
            Method::BasicReturn(_) => self.unfinished = content(Content::Return, 0, false),
            Method::BasicAck(ack) => {
                let (delivery_tag, multiple) = (ack.delivery_tag, ack.multiple);
                return Ok(Some(Item::Event(Event::Confirm { delivery_tag, multiple })));
            }
            Method::BasicNack(nack) => {
                let (delivery_tag, multiple) = (nack.delivery_tag, nack.multiple);
                return Ok(Some(Item::Event(Event::Refusal { delivery_tag, multiple })));
            }
            Method::ConnectionClose(close) if close.reply_code == CONNECTION_FORCED => return Err(Gone),
            close @ (Method::ConnectionClose(_) | Method::ChannelClose(_)) => panic!("the broker closed it: {close:?}"),
            // A courtesy of brokers that run out of something.
            Method::ConnectionBlocked(_) | Method::ConnectionUnblocked(_) => {}
            _ => return Ok(Some(Item::Method(payload))),
        }
        Ok(None)
    }
}

impl Unfinished {
    fn finish(self) -> Item {
        let (message_id, mode, _) = self.header.unwrap();
        let (delivery_tag, redelivered, body) = (self.delivery_tag, self.redelivered, self.body);
        let arrival = Arrival { delivery_tag, redelivered, message_id, mode, body };
        match self.kind {
            Content::Delivery => Item::Event(Event::Delivery(arrival)),
            Content::Return => Item::Event(Event::Returned(arrival)),
            Content::Got => Item::Got(arrival),
        }
    }
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A durable queue to declare.
pub(crate) fn durable_queue(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare {
        ticket: 0,
        queue,
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        no_wait: false,
        arguments: Table::default(),
    }
}

/// A question after a queue.
pub(crate) fn question(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare { passive: true, ..durable_queue(queue) }
}
