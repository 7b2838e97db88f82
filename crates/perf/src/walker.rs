//! Walks the frames a broker sends, with the least work for each delivery.

use leveret_protocol::amqp091::{ContentHeader, Frame, FrameKind, Method};

use crate::error::Error;

/// Class and method ids as they open a method payload.
const BASIC_RETURN: [u8; 4] = [0, 60, 0, 50];
const BASIC_DELIVER: [u8; 4] = [0, 60, 0, 60];
const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];
const BASIC_NACK: [u8; 4] = [0, 60, 0, 120];

/// How many octets of a body are kept for the consumer to look at.
pub(crate) const BODY_HEAD: usize = 16;

/// A message that has arrived whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Delivery tag.
    pub(crate) tag: u64,
    /// Whether the broker says it may have been delivered before.
    pub(crate) redelivered: bool,
    /// Octets of body.
    pub(crate) size: u64,
    /// The first octets of the body, with zeros for those it does not have.
    pub(crate) head: [u8; BODY_HEAD],
}

/// A publisher confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Number of the publish on its channel, from 1.
    pub(crate) tag: u64,
    /// Whether all publishes up to `tag` are meant.
    pub(crate) multiple: bool,
    /// Whether it is a nack.
    pub(crate) refused: bool,
}

/// Takes what the walker finds.
pub(crate) trait Sink {
    /// A message for the consumer.
    fn delivery(&mut self, delivery: &Delivery);
    /// A mandatory message came back.
    fn returned(&mut self);
    /// A confirm.
    fn settled(&mut self, settled: Settled);
    /// Any other method.
    fn method(&mut self, method: Method<'_>) -> Result<(), Error>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Delivery,
    Return,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Method,
    Header(Content),
    Body { content: Content, received: u64 },
}

/// The place in a connection's frames. One channel with content at a time, which is all that a load thread opens.
#[derive(Debug)]
pub(crate) struct Walker {
    payload_max: usize,
    expect: Expect,
    delivery: Delivery,
}

impl Walker {
    /// A walker at the start of a frame; `payload_max` in octets.
    pub(crate) fn new(payload_max: usize) -> Self {
        Self { payload_max, expect: Expect::Method, delivery: Delivery::default() }
    }

    /// Walks all whole frames of `octets`; returns how many octets they were.
    #[inline]
    pub(crate) fn walk(&mut self, octets: &[u8], sink: &mut impl Sink) -> Result<usize, Error> {
        let mut rest = octets;
        while let Some((frame, used)) = Frame::decode(rest, self.payload_max)? {
            self.frame(frame, sink)?;
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(octets.len() - rest.len())
    }

    #[inline]
    fn frame(&mut self, frame: Frame<'_>, sink: &mut impl Sink) -> Result<(), Error> {
        match (frame.kind, self.expect) {
            (FrameKind::Method, Expect::Method) => self.method(frame.payload, sink),
            // The connection's own methods may come between the frames of a channel's content.
            (FrameKind::Method, _) if frame.channel == 0 => sink.method(Method::decode(frame.payload)?),
            (FrameKind::Header, Expect::Header(content)) => {
                self.delivery.size = ContentHeader::decode(frame.payload)?.body_size;
                self.delivery.head = [0; BODY_HEAD];
                self.received(content, 0, sink);
                Ok(())
            }
            (FrameKind::Body, Expect::Body { content, received }) => {
                if received == 0 {
                    self.keep_head(frame.payload);
                }
                self.received(content, received + frame.payload.len() as u64, sink);
                Ok(())
            }
            (FrameKind::Heartbeat, _) => Ok(()),
            (kind, expect) => Err(Error::Malformed(format!("a {kind:?} frame where {expect:?} was due"))),
        }
    }

    #[inline]
    fn method(&mut self, payload: &[u8], sink: &mut impl Sink) -> Result<(), Error> {
        let Some((ids, arguments)) = payload.split_first_chunk() else {
            return Err(Error::Malformed("a method without ids".into()));
        };
        match *ids {
            BASIC_DELIVER => {
                // consumer-tag, delivery-tag, redelivered; exchange and routing-key are of no interest here.
                let tag_len = arguments.first().copied().map_or(0, usize::from);
                let (tag, bits) = tag_and_bits(arguments.get(1 + tag_len..).unwrap_or_default())?;
                self.delivery.tag = tag;
                self.delivery.redelivered = bits & 1 == 1;
                self.expect = Expect::Header(Content::Delivery);
            }
            BASIC_RETURN => self.expect = Expect::Header(Content::Return),
            ids @ (BASIC_ACK | BASIC_NACK) => {
                let (tag, bits) = tag_and_bits(arguments)?;
                sink.settled(Settled { tag, multiple: bits & 1 == 1, refused: ids == BASIC_NACK });
            }
            _ => sink.method(Method::decode(payload)?)?,
        }
        Ok(())
    }

    #[inline]
    fn keep_head(&mut self, payload: &[u8]) {
        if let Some(head) = payload.first_chunk() {
            self.delivery.head = *head;
        } else {
            for (to, from) in self.delivery.head.iter_mut().zip(payload) {
                *to = *from;
            }
        }
    }

    #[inline]
    fn received(&mut self, content: Content, received: u64, sink: &mut impl Sink) {
        if received < self.delivery.size {
            self.expect = Expect::Body { content, received };
            return;
        }
        self.expect = Expect::Method;
        match content {
            Content::Delivery => sink.delivery(&self.delivery),
            Content::Return => sink.returned(),
        }
    }
}

/// A delivery tag and the octet of bits that follows it.
#[inline]
fn tag_and_bits(fields: &[u8]) -> Result<(u64, u8), Error> {
    match fields.split_first_chunk() {
        Some((tag, [bits, ..])) => Ok((u64::from_be_bytes(*tag), *bits)),
        _ => Err(Error::Malformed("a method that ends inside its delivery tag".into())),
    }
}

#[cfg(test)]
mod tests {
    use leveret_protocol::amqp091::frame::{write_content, write_heartbeat, write_method};
    use leveret_protocol::amqp091::method::{
        BasicAck, BasicDeliver, BasicNack, BasicReturn, ConnectionBlocked, ConnectionUnblocked,
    };

    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Seen(Vec<String>);

    impl Sink for Seen {
        fn delivery(&mut self, delivery: &Delivery) {
            let Delivery { tag, redelivered, size, head } = delivery;
            self.0.push(format!("delivery {tag} {redelivered} {size} {:?}", head.map(char::from)));
        }
        fn returned(&mut self) {
            self.0.push("return".into());
        }
        fn settled(&mut self, settled: Settled) {
            self.0.push(format!("{settled:?}"));
        }
        fn method(&mut self, method: Method<'_>) -> Result<(), Error> {
            self.0.push(format!("{method:?}"));
            Ok(())
        }
    }

    fn deliver(delivery_tag: u64) -> BasicDeliver<'static> {
        BasicDeliver {
            consumer_tag: "tag",
            delivery_tag,
            redelivered: delivery_tag == 2,
            exchange: "x",
            routing_key: "k",
        }
    }

    fn stream() -> (Vec<u8>, Vec<String>) {
        let mut octets = Vec::new();
        for (tag, size) in [(1, 0), (2, 7), (3, 16), (4, 100)] {
            write_content(&mut octets, 1, &deliver(tag), &[], &vec![b'a'; size], 48);
        }
        write_method(&mut octets, 1, &BasicAck { delivery_tag: 9, multiple: true });
        write_heartbeat(&mut octets);
        write_method(&mut octets, 1, &BasicNack { delivery_tag: 10, multiple: false, requeue: false });
        let returned = BasicReturn { reply_code: 312, reply_text: "NO_ROUTE", exchange: "x", routing_key: "k" };
        write_content(&mut octets, 1, &returned, &[], b"body", 48);
        write_method(&mut octets, 0, &ConnectionBlocked { reason: "low on memory" });
        let delivery = |tag: u64, size: usize| {
            let head: [char; 16] = std::array::from_fn(|at| if at < size { 'a' } else { '\0' });
            format!("delivery {tag} {} {size} {head:?}", tag == 2)
        };
        let events = vec![
            delivery(1, 0),
            delivery(2, 7),
            delivery(3, 16),
            delivery(4, 100),
            "Settled { tag: 9, multiple: true, refused: false }".into(),
            "Settled { tag: 10, multiple: false, refused: true }".into(),
            "return".into(),
            "ConnectionBlocked(ConnectionBlocked { reason: \"low on memory\" })".into(),
        ];
        (octets, events)
    }

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        let (octets, events) = stream();
        for cut in 0..=octets.len() {
            let (mut walker, mut seen) = (Walker::new(4096), Seen::default());
            let used = walker.walk(&octets[..cut], &mut seen).unwrap();
            assert_eq!(used + walker.walk(&octets[used..], &mut seen).unwrap(), octets.len());
            assert_eq!(seen.0, events, "cut at {cut}");
        }
    }

    #[test]
    fn events_are_the_same_octet_by_octet() {
        let (octets, events) = stream();
        let (mut walker, mut seen, mut from) = (Walker::new(4096), Seen::default(), 0);
        for to in 0..=octets.len() {
            from += walker.walk(&octets[from..to], &mut seen).unwrap();
        }
        assert_eq!((from, seen.0), (octets.len(), events));
    }

    #[test]
    fn a_connection_method_may_stand_between_the_frames_of_a_message() {
        let (mut message, mut octets) = (Vec::new(), Vec::new());
        write_content(&mut message, 1, &deliver(1), &[], b"body", 48);
        let method_end = message.windows(1).position(|octet| octet == [0xCE]).unwrap() + 1;
        octets.extend_from_slice(&message[..method_end]);
        write_method(&mut octets, 0, &ConnectionUnblocked {});
        octets.extend_from_slice(&message[method_end..]);
        let mut seen = Seen::default();
        Walker::new(4096).walk(&octets, &mut seen).unwrap();
        assert_eq!(seen.0.len(), 2);
    }

    #[test]
    fn what_the_protocol_does_not_allow_is_an_error() {
        let mut twice = Vec::new();
        write_method(&mut twice, 1, &deliver(1));
        write_method(&mut twice, 1, &deliver(2));
        for octets in [
            &twice[..],
            b"\x02\0\x01\0\0\0\0\xCE",
            b"\x03\0\x01\0\0\0\0\xCE",
            b"\x01\0\x01\0\0\0\0\xCE",
            b"\x01\0\x01\0\0\0\x05\0\x3c\0\x3c\x09\xCE",
            b"\x01\0\x01\0\0\0\x05\0\x3c\0\x50\x09\xCE",
        ] {
            let error = Walker::new(4096).walk(octets, &mut Seen::default()).unwrap_err();
            assert!(matches!(error, Error::Malformed(_)), "{octets:?}: {error}");
        }
    }
}
