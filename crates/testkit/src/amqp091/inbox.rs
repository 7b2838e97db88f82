//! What the server sent, sorted by channel.

use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::time::Instant;

use leveret_protocol::amqp091::method::{BasicDeliver, BasicGetOk, BasicReturn, Method};
use leveret_protocol::amqp091::{ContentHeader, FrameKind, Properties, ReplyCode};

use super::method::Reply;
use super::raw::{OwnedFrame, RawConnection, Read};

/// A method with its content; the method's fields are there by dereference.
#[derive(Debug, Clone, PartialEq)]
pub struct Content<M> {
    /// The method the content came with.
    pub method: M,
    /// Properties as sent by the server.
    pub properties: Properties<'static>,
    /// The body, joined from its frames.
    pub body: Vec<u8>,
}

/// A message for a consumer.
pub type Delivery = Content<BasicDeliver<'static>>;
/// A message taken with basic.get.
pub type Got = Content<BasicGetOk<'static>>;
/// A message that was mandatory and routed nowhere.
pub type Returned = Content<BasicReturn<'static>>;

impl<M> Deref for Content<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.method
    }
}

/// A method as it came, with the content it carried.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) method: Method<'static>,
    properties: Properties<'static>,
    body: Vec<u8>,
}

impl Event {
    /// The method and its content, if the method is of this type.
    pub(super) fn content<M: Reply>(self) -> Option<Content<M>> {
        let (properties, body) = (self.properties, self.body);
        M::from_method(self.method).map(|method| Content { method, properties, body })
    }
}

/// Content that is still arriving.
#[derive(Debug)]
struct Partial {
    method: Method<'static>,
    header: Option<(Properties<'static>, u64)>,
    body: Vec<u8>,
}

/// A connection and what has come for each of its channels, in order.
#[derive(Debug)]
pub(super) struct Inboxes {
    pub(super) raw: RawConnection,
    events: HashMap<u16, VecDeque<Event>>,
    partial: HashMap<u16, Partial>,
    heartbeats: usize,
}

/// What to do with an event.
pub(super) enum Sorted {
    /// This is the one awaited.
    Take,
    /// Leave it for another call.
    Keep,
    /// It must not be here.
    Refuse,
}

impl Inboxes {
    pub(super) fn new(raw: RawConnection) -> Self {
        Self { raw, events: HashMap::new(), partial: HashMap::new(), heartbeats: 0 }
    }

    /// Awaits the first event on `channel` that `sort` takes.
    #[track_caller]
    pub(super) fn take(&mut self, channel: u16, awaited: &str, sort: impl Fn(&Method<'static>) -> Sorted) -> Event {
        let until = Instant::now() + self.raw.deadline();
        loop {
            let inbox = self.events.entry(channel).or_default();
            for position in 0..inbox.len() {
                match sort(&inbox[position].method) {
                    Sorted::Take => return inbox.remove(position).expect("an event at a position within the inbox"),
                    Sorted::Keep => {}
                    Sorted::Refuse => panic!("awaited {awaited} on channel {channel}, got {:?}", inbox[position]),
                }
            }
            let closed = |event: &&Event| matches!(event.method, Method::ConnectionClose(_));
            if channel != 0
                && let Some(close) = self.events.entry(0).or_default().iter().find(closed)
            {
                panic!("awaited {awaited} on channel {channel}, got {:?}", close.method);
            }
            let problem = match self.raw.read(until) {
                Read::Frame(frame) => {
                    self.sort(frame);
                    continue;
                }
                Read::End => "the server hung up".to_owned(),
                Read::Late => format!("nothing more came within {:?}", self.raw.deadline()),
            };
            panic!("awaited {awaited} on channel {channel}: {problem}; unread: {:?}", self.events);
        }
    }

    /// Awaits a heartbeat that no earlier call has seen.
    #[track_caller]
    pub(super) fn take_heartbeat(&mut self) {
        let until = Instant::now() + self.raw.deadline();
        while self.heartbeats == 0 {
            match self.raw.read(until) {
                Read::Frame(frame) => self.sort(frame),
                Read::End => panic!("awaited a heartbeat, the server hung up; unread: {:?}", self.events),
                Read::Late => panic!("no heartbeat within {:?}; unread: {:?}", self.raw.deadline(), self.events),
            }
        }
        self.heartbeats -= 1;
    }

    /// Whether all that came for `channel` has been taken.
    #[track_caller]
    pub(super) fn assert_empty(&self, channel: u16) {
        let unread = self.events.get(&channel).into_iter().flatten().collect::<Vec<_>>();
        assert!(unread.is_empty(), "awaited nothing more on channel {channel}, got {unread:?}");
    }

    /// Forgets what came for `channel`, for a new channel of the same number.
    pub(super) fn clear(&mut self, channel: u16) {
        self.events.remove(&channel);
    }

    #[track_caller]
    fn sort(&mut self, frame: OwnedFrame) {
        let channel = frame.channel;
        match frame.kind {
            FrameKind::Heartbeat => self.heartbeats += 1,
            FrameKind::Method => {
                let method = frame.method();
                let pending = self.partial.remove(&channel);
                assert!(pending.is_none(), "{method:?} on channel {channel} cuts content short: {pending:?}");
                if matches!(method, Method::BasicDeliver(_) | Method::BasicGetOk(_) | Method::BasicReturn(_)) {
                    self.partial.insert(channel, Partial { method, header: None, body: Vec::new() });
                } else {
                    self.push(channel, Event { method, properties: Properties::default(), body: Vec::new() });
                }
            }
            FrameKind::Header => {
                let payload = frame.payload.leak();
                let header = ContentHeader::decode(payload).expect("a content header that decodes");
                let properties = Properties::decode(header.properties).expect("properties that decode");
                let partial = self.partial.get_mut(&channel).filter(|partial| partial.header.is_none());
                let partial = partial.unwrap_or_else(|| panic!("unexpected {header:?} on channel {channel}"));
                partial.header = Some((properties, header.body_size));
                self.complete(channel);
            }
            FrameKind::Body => {
                let partial = self.partial.get_mut(&channel).filter(|partial| partial.header.is_some());
                let partial = partial.unwrap_or_else(|| panic!("unexpected body on channel {channel}"));
                partial.body.extend_from_slice(&frame.payload);
                self.complete(channel);
            }
        }
    }

    #[track_caller]
    fn complete(&mut self, channel: u16) {
        let Some(partial) = self.partial.remove(&channel) else { return };
        match partial.header {
            Some((properties, size)) if partial.body.len() as u64 == size => {
                self.push(channel, Event { method: partial.method, properties, body: partial.body });
            }
            Some((_, size)) if partial.body.len() as u64 > size => panic!("body longer than announced: {partial:?}"),
            _ => drop(self.partial.insert(channel, partial)),
        }
    }

    fn push(&mut self, channel: u16, event: Event) {
        self.events.entry(channel).or_default().push_back(event);
    }
}

/// Compares the code and text of a close with those expected.
#[track_caller]
pub(super) fn assert_reply(got: (u16, &str), code: ReplyCode, explanation: &str) {
    let text = match explanation {
        "" => code.name().to_owned(),
        _ => format!("{} - {explanation}", code.name()),
    };
    assert_eq!(got, (code.code(), text.as_str()), "code and text of the close");
}
