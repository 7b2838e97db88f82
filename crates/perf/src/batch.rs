//! Messages encoded once and written many times.

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::frame::{write_content, write_header, write_method};
use leveret_protocol::amqp091::method::BasicPublish;

/// Octets of one write at most, unless a single message is larger.
const WRITE_MAX: usize = 64 * 1024;
/// Octets of a frame before its payload.
const FRAME_HEAD: usize = 7;

/// What every message of a publisher looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    /// Exchange, key and flags.
    pub(crate) publish: BasicPublish<'a>,
    /// Its properties.
    pub(crate) properties: Properties<'a>,
    /// Octets of body.
    pub(crate) size: usize,
}

/// A row of copies of one message. Only the first 16 octets of their bodies change: the time in nanoseconds at which the
/// message was to be sent, and, if asked for, a mark that tells its place in the publisher's sequence.
#[derive(Debug)]
pub(crate) struct Batch {
    octets: Vec<u8>,
    stride: usize,
    body_at: usize,
    size: usize,
}

impl Batch {
    /// Encodes as many copies as fit a write, for channel 1.
    pub(crate) fn new(shape: &Shape<'_>, frame_max: usize) -> Self {
        let mut properties = Vec::new();
        shape.properties.encode(&mut properties);
        let mut octets = Vec::new();
        write_method(&mut octets, 1, &shape.publish);
        write_header(&mut octets, 1, &properties, shape.size as u64);
        let body_at = octets.len() + FRAME_HEAD;
        octets.clear();
        write_content(&mut octets, 1, &shape.publish, &properties, &vec![b'x'; shape.size], frame_max);
        let stride = octets.len();
        Self { octets: octets.repeat((WRITE_MAX / stride).max(1)), stride, body_at, size: shape.size }
    }

    /// How many messages one write takes.
    pub(crate) fn capacity(&self) -> usize {
        self.octets.len() / self.stride
    }

    /// Octets of one encoded message.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Gives the first `count` messages their times and, through `mark`, their marks; both take the position in the batch.
    #[inline]
    pub(crate) fn stamp(&mut self, count: usize, time_ns: impl Fn(u64) -> u64, mark: Option<impl Fn(u64) -> u64>) {
        if self.size < 8 {
            return;
        }
        let body_at = self.body_at;
        let mark = mark.filter(|_| self.size >= 16);
        for (at, message) in (0..).zip(self.octets.chunks_exact_mut(self.stride).take(count)) {
            if let Some(slot) = message.get_mut(body_at..body_at + 8) {
                slot.copy_from_slice(&time_ns(at).to_be_bytes());
            }
            if let Some(mark) = &mark
                && let Some(slot) = message.get_mut(body_at + 8..body_at + 16)
            {
                slot.copy_from_slice(&mark(at).to_be_bytes());
            }
        }
    }

    /// The octets of the first `count` messages from octet `from` on.
    #[inline]
    pub(crate) fn octets(&self, count: usize, from: usize) -> &[u8] {
        self.octets.get(from..count * self.stride).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::walker::{Delivery, Settled, Sink, Walker};
    use leveret_protocol::amqp091::{Frame, FrameKind, Method};

    fn batch(size: usize) -> Batch {
        let publish = BasicPublish { ticket: 0, exchange: "x", routing_key: "key", mandatory: false, immediate: false };
        let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
        Batch::new(&Shape { publish, properties, size }, 4096)
    }

    #[test]
    fn a_batch_is_as_many_whole_messages_as_fit_a_write() {
        for size in [0, 1, 7, 8, 16, 1024, 5000, 200_000] {
            let batch = batch(size);
            assert_eq!(batch.octets.len() % batch.stride(), 0);
            assert!(batch.capacity() == 1 || batch.octets.len() <= WRITE_MAX, "size {size}");
            assert_eq!(batch.octets(batch.capacity() + 1, 0), b"", "more than there is is nothing");
        }
    }

    #[test]
    fn stamps_stand_at_the_start_of_bodies_and_nowhere_else() {
        struct Bodies(Vec<[u8; 16]>);
        impl Sink for Bodies {
            fn delivery(&mut self, delivery: &Delivery) {
                self.0.push(delivery.head);
            }
            fn returned(&mut self) {}
            fn settled(&mut self, _: Settled) {}
            fn method(&mut self, _: Method<'_>) -> Result<(), Error> {
                Ok(())
            }
        }
        for (size, stamped) in [(7, "xxxxxxx"), (8, "\0\0\0\0\0\0\0\x09"), (16, "\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x07")]
        {
            let mut batch = batch(size);
            batch.stamp(3, |at| at + 7, Some(|at| at + 5));
            let mut rest = batch.octets(3, batch.stride() * 2);
            let mut bodies = Vec::new();
            while let Some((frame, used)) = Frame::decode(rest, 4096).unwrap() {
                if frame.kind == FrameKind::Body {
                    bodies.extend_from_slice(frame.payload);
                }
                rest = &rest[used..];
            }
            assert_eq!(bodies, stamped.as_bytes(), "size {size}");
        }
        let mut walker = Walker::new(4096);
        let mut seen = Bodies(Vec::new());
        walker.walk(batch(16).octets(1, 0), &mut seen).unwrap_or_default();
        assert!(seen.0.is_empty(), "a publish is no delivery");
    }
}
