//! Messages encoded once and written many times.

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::frame::{write_content, write_header, write_method};
use leveret_protocol::amqp091::method::BasicPublish;

use crate::message::NUMBER_PLACE;

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
    /// How long it is to be kept before it reaches a queue, in nanoseconds.
    pub(crate) delay_ns: u64,
    /// Octets of body.
    pub(crate) size: usize,
}

/// A row of encoded messages: copies of one, or of several in turn. Only the first 16 octets of their bodies change: the
/// time in nanoseconds at which the message was to be sent, or if it is delayed, at which it is to arrive; and, if asked
/// for, a mark that tells its place in the publisher's sequence. The same mark is written as text into a header that has
/// [`NUMBER_PLACE`] for it.
#[derive(Debug)]
pub(crate) struct Batch {
    octets: Vec<u8>,
    /// Where each message begins and where its body does; at the end, where the octets end.
    places: Vec<Place>,
    /// After so many messages they repeat.
    turn: usize,
    size: usize,
    marks: Marks,
}

/// Whether bodies tell the place of their message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// In their second eight octets.
    Body,
    /// They do not.
    None,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    message: usize,
    /// Where the text of a number goes.
    number: Option<usize>,
    body: usize,
    delay_ns: u64,
}

/// Some messages of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The place of the first one.
    first: usize,
    /// How many there are.
    pub(crate) count: usize,
}

impl Batch {
    /// Encodes as many copies as fit a write, for channel 1. Of several shapes, which have one size, each gets its turn.
    pub(crate) fn new(shapes: &[Shape<'_>], marks: Marks, frame_max: usize) -> Self {
        let size = shapes.first().map_or(0, |shape| shape.size);
        let (mut octets, mut places) = (Vec::new(), Vec::new());
        while places.is_empty() || octets.len() + octets.len() / (places.len() / shapes.len().max(1)) <= WRITE_MAX {
            for shape in shapes {
                let message = octets.len();
                let mut properties = Vec::new();
                shape.properties.encode(&mut properties);
                write_method(&mut octets, 1, &shape.publish);
                write_header(&mut octets, 1, &properties, size as u64);
                let number = properties.windows(NUMBER_PLACE.len()).position(|octets| octets == NUMBER_PLACE);
                // The properties are the last of the frame but for its end.
                let number = number.map(|at| octets.len() - 1 - properties.len() + at);
                let body = octets.len() + FRAME_HEAD;
                places.push(Place { message, number, body, delay_ns: shape.delay_ns });
                octets.truncate(message);
                write_content(&mut octets, 1, &shape.publish, &properties, &vec![b'x'; size], frame_max);
            }
            if shapes.is_empty() {
                break;
            }
        }
        places.push(Place { message: octets.len(), number: None, body: octets.len(), delay_ns: 0 });
        Self { octets, places, turn: shapes.len().max(1), size, marks }
    }

    /// The messages that one write takes after `sent` ones, at most `count`.
    #[inline]
    pub(crate) fn run(&self, sent: u64, count: usize) -> Run {
        // Below `turn`, which is the length of a slice.
        let first = usize::try_from(sent % self.turn as u64).unwrap_or_default();
        if self.turn == 1 {
            return Run { first, count: count.min(self.places.len() - 1) };
        }
        let end = self.begin(first) + WRITE_MAX;
        let fit = self.places.partition_point(|place| place.message <= end).saturating_sub(first + 1);
        Run { first, count: count.min(fit.max(1)) }
    }

    fn begin(&self, place: usize) -> usize {
        self.places.get(place).map_or(self.octets.len(), |place| place.message)
    }

    /// How many messages of a run are in its first so many octets, whole.
    pub(crate) fn whole(&self, run: Run, octets: usize) -> usize {
        let end = self.begin(run.first) + octets;
        self.places.partition_point(|place| place.message <= end).saturating_sub(run.first + 1).min(run.count)
    }

    /// Gives the messages of a run their times and marks; both take the position in the run.
    #[inline]
    pub(crate) fn stamp(&mut self, run: Run, time_ns: impl Fn(u64) -> u64, mark: impl Fn(u64) -> u64) {
        let marks = self.marks == Marks::Body && self.size >= 16;
        let places = self.places.get(run.first..run.first + run.count).unwrap_or_default();
        for (at, Place { number, body, delay_ns, .. }) in (0..).zip(places) {
            if self.size >= 8
                && let Some(slot) = self.octets.get_mut(*body..body + 8)
            {
                slot.copy_from_slice(&(time_ns(at) + delay_ns).to_be_bytes());
            }
            if marks && let Some(slot) = self.octets.get_mut(body + 8..body + 16) {
                slot.copy_from_slice(&mark(at).to_be_bytes());
            }
            if let Some(number) = *number
                && let Some(slot) = self.octets.get_mut(number..number + NUMBER_PLACE.len())
            {
                slot.copy_from_slice(&digits(mark(at)));
            }
        }
    }

    /// The octets of a run from its octet `from` on.
    #[inline]
    pub(crate) fn octets(&self, run: Run, from: usize) -> &[u8] {
        self.octets.get(self.begin(run.first) + from..self.begin(run.first + run.count)).unwrap_or_default()
    }
}

/// A number in hexadecimal.
fn digits(number: u64) -> [u8; NUMBER_PLACE.len()] {
    let mut digits = NUMBER_PLACE;
    for (digit, shift) in digits.iter_mut().rev().zip((0..u64::BITS).step_by(4)) {
        let value = u8::try_from((number >> shift) & 0xF).unwrap_or_default();
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::walker::{Delivery, Settled, Sink, Walker};
    use leveret_protocol::amqp091::{ContentHeader, Frame, FrameKind, Method, Table, TableWriter, Value};

    fn shape(routing_key: &str, size: usize) -> Shape<'_> {
        let publish = BasicPublish { ticket: 0, exchange: "x", routing_key, mandatory: false, immediate: false };
        let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
        Shape { publish, properties, delay_ns: 0, size }
    }

    fn batch(size: usize) -> Batch {
        Batch::new(&[shape("key", size)], Marks::Body, 4096)
    }

    #[test]
    fn a_batch_is_as_many_whole_messages_as_fit_a_write() {
        for size in [0, 1, 7, 8, 16, 1024, 5000, 200_000] {
            let batch = batch(size);
            let run = batch.run(3, usize::MAX);
            let (all, one) = (batch.octets(run, 0).len(), batch.octets(batch.run(0, 1), 0).len());
            assert_eq!(all, one * run.count, "size {size}");
            assert!(run.count == 1 || all <= WRITE_MAX && all + one > WRITE_MAX, "size {size}");
            assert_eq!(batch.whole(run, all), run.count);
            assert_eq!(batch.whole(run, all - 1), run.count - 1);
        }
    }

    #[test]
    fn shapes_come_in_turn_wherever_a_run_begins() {
        let names: Vec<_> = (0..150).map(|number| format!("queue-{number}")).collect();
        for (size, queues) in [(0, 3), (16, 3), (16, 150), (1024, 150), (100_000, 2)] {
            let shapes: Vec<_> = names.iter().take(queues).map(|name| shape(name, size)).collect();
            let batch = Batch::new(&shapes, Marks::None, 131_072);
            let (mut sent, mut keys) = (0, Vec::new());
            while keys.len() < 400 {
                let run = batch.run(sent, if sent % 3 == 0 { 2 } else { usize::MAX });
                assert!(run.count > 0 && (run.count == 1 || batch.octets(run, 0).len() <= WRITE_MAX));
                let mut rest = batch.octets(run, 0);
                assert_eq!(batch.whole(run, rest.len()), run.count);
                while let Some((frame, used)) = Frame::decode(rest, 131_072).unwrap() {
                    if let (FrameKind::Method, Ok(Method::BasicPublish(publish))) =
                        (frame.kind, Method::decode(frame.payload))
                    {
                        keys.push(publish.routing_key.to_owned());
                    }
                    rest = &rest[used..];
                }
                sent += run.count as u64;
                assert_eq!(keys.len() as u64, sent);
            }
            assert!(keys.iter().zip(names.iter().take(queues).cycle()).all(|(key, name)| key == name), "{queues}");
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
            let run = batch.run(0, 3);
            batch.stamp(run, |at| at + 7, |at| at + 5);
            let mut rest = batch.octets(run, batch.octets(batch.run(0, 2), 0).len());
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
        walker.walk(batch(16).octets(batch(16).run(0, 1), 0), &mut seen).unwrap_or_default();
        assert!(seen.0.is_empty(), "a publish is no delivery");
    }
    #[test]
    fn delays_are_added_and_numbers_stand_in_the_header() {
        let mut headers = Vec::new();
        TableWriter::new(&mut headers)
            .field("before", Value::I64(0))
            .field("id", Value::LongStr(&NUMBER_PLACE))
            .field("after", Value::LongStr(b"text"));
        let properties = Properties { headers: Some(Table::parse(&headers).unwrap()), ..Properties::default() };
        let shapes = [5, 0].map(|delay_ns| Shape { properties, delay_ns, ..shape("key", 16) });
        let mut batch = Batch::new(&shapes, Marks::None, 4096);
        let run = batch.run(1, 2);
        batch.stamp(run, |at| 100 + at, |at| 0xABC0 + at);
        let mut rest = batch.octets(run, 0);
        let mut seen = Vec::new();
        while let Some((frame, used)) = Frame::decode(rest, 4096).unwrap() {
            match frame.kind {
                FrameKind::Header => {
                    let header = ContentHeader::decode(frame.payload).unwrap();
                    let headers = Properties::decode(header.properties).unwrap().headers.unwrap();
                    assert_eq!(headers.get("before"), Some(Value::I64(0)));
                    assert_eq!(headers.get("after"), Some(Value::LongStr(b"text")));
                    match headers.get("id") {
                        Some(Value::LongStr(id)) => seen.push(String::from_utf8(id.to_vec()).unwrap()),
                        other => panic!("{other:?}"),
                    }
                }
                FrameKind::Body => seen.push(frame.payload[7].to_string()),
                FrameKind::Method | FrameKind::Heartbeat => {}
            }
            rest = &rest[used..];
        }
        // The run begins with the second shape, which has no delay.
        assert_eq!(seen, ["000000000000abc0", "100", "000000000000abc1", "106"]);
    }
}
