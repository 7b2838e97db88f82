//! Sessions recorded between real clients and RabbitMQ 3.10 by `golden/record.py`.

use leveret_protocol::amqp091::{FRAME_OVERHEAD, Frame, FrameKind, Method, Properties, Table};

/// The sessions were tuned to frames of 4096 octets.
const PAYLOAD_MAX: usize = 4096 - FRAME_OVERHEAD;

/// One direction of a session.
pub(crate) struct Session {
    pub(crate) name: &'static str,
    pub(crate) octets: &'static [u8],
    /// How it reads.
    pub(crate) reading: &'static str,
}

macro_rules! sessions {
    ($($name:literal)*) => {
        /// All recordings.
        pub(crate) const SESSIONS: &[Session] =
            &[$(Session {
                name: $name,
                octets: include_bytes!(concat!("../golden/", $name, ".bin")),
                reading: include_str!(concat!("../golden/", $name, ".txt")),
            }),*];
    };
}
sessions!("pika.client" "pika.server" "amqplib.client" "amqplib.server");

impl Session {
    /// Octets of the protocol header that a client sends first.
    pub(crate) fn header(&self) -> &'static [u8] {
        if self.name.ends_with(".client") { self.octets.split_at(8).0 } else { &[] }
    }

    /// The octets after the protocol header.
    pub(crate) fn stream(&self) -> &'static [u8] {
        self.octets.split_at(self.header().len()).1
    }

    /// Frame after frame, each with its octets.
    pub(crate) fn frames(&self) -> impl Iterator<Item = (Frame<'static>, &'static [u8])> {
        let mut rest = self.stream();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (frame, used) = Frame::decode(rest, PAYLOAD_MAX).unwrap().unwrap();
            let (octets, after) = rest.split_at(used);
            rest = after;
            Some((frame, octets))
        })
    }
}

/// The payloads of one kind in all recordings.
pub(crate) fn payloads(kind: FrameKind) -> Vec<&'static [u8]> {
    let frames = SESSIONS.iter().flat_map(Session::frames);
    frames.filter(|(frame, _)| frame.kind == kind).map(|(frame, _)| frame.payload).collect()
}

/// The tables in all recordings, without length.
pub(crate) fn tables() -> Vec<&'static [u8]> {
    let headers = payloads(FrameKind::Header).into_iter().filter_map(|payload| {
        let raw = payload.get(12..)?;
        Properties::decode(raw).unwrap().headers
    });
    let arguments =
        payloads(FrameKind::Method).into_iter().filter_map(|payload| match Method::decode(payload).unwrap() {
            Method::ConnectionStart(method) => Some(method.server_properties),
            Method::ConnectionStartOk(method) => Some(method.client_properties),
            Method::ExchangeDeclare(method) => Some(method.arguments),
            Method::QueueDeclare(method) => Some(method.arguments),
            Method::QueueBind(method) => Some(method.arguments),
            Method::BasicConsume(method) => Some(method.arguments),
            _ => None,
        });
    headers.chain(arguments).map(Table::octets).collect()
}
