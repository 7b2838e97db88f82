//! A connection as bytes and frames, for tests of the handshake and of framing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use leveret_protocol::amqp091::method::{ConnectionClose, ConnectionCloseOk, ConnectionStart, Encode, Method};
use leveret_protocol::amqp091::{Frame, FrameKind, ProtocolHeader, ReplyCode};

use super::method::{Reply, method_frame};
use super::{DEADLINE, inbox};
use crate::broker;

/// A frame that owns its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedFrame {
    /// What the payload is.
    pub kind: FrameKind,
    /// 0 is the connection itself.
    pub channel: u16,
    /// The octets between head and end marker.
    pub payload: Vec<u8>,
}

impl OwnedFrame {
    /// The method of a method frame.
    #[track_caller]
    pub fn method(self) -> Method<'static> {
        assert_eq!(self.kind, FrameKind::Method, "not a method frame: {self:?}");
        let payload = self.payload.leak();
        Method::decode(payload).unwrap_or_else(|error| panic!("the server sent {payload:?}: {error}"))
    }
}

/// What a read came to.
pub(super) enum Read {
    Frame(OwnedFrame),
    End,
    Late,
}

/// A TCP connection that reads frames and sends whatever it is told to.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
    deadline: Duration,
}

impl RawConnection {
    /// Connects to the broker under test and sends nothing.
    #[track_caller]
    pub fn connect() -> Self {
        Self::connect_to(&broker::url().address)
    }

    /// Connects to a host and port and sends nothing.
    #[track_caller]
    pub fn connect_to(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("no broker at {address}: {error}"));
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_write_timeout(Some(DEADLINE)).expect("write timeout");
        Self { stream, buffer: Vec::new(), deadline: DEADLINE }
    }

    /// Connects, sends the protocol header and reads connection.start.
    #[track_caller]
    pub fn start() -> (Self, ConnectionStart<'static>) {
        Self::start_at(&broker::url().address)
    }

    /// Connects to a host and port, sends the protocol header and reads connection.start.
    #[track_caller]
    pub fn start_at(address: &str) -> (Self, ConnectionStart<'static>) {
        let mut connection = Self::connect_to(address);
        connection.send(&ProtocolHeader::AMQP_0_9_1.octets());
        let start = connection.expect();
        (connection, start)
    }

    /// Replaces the deadline of every wait.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long any wait may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Sends octets. That the server has hung up is not reported here but where its answer is awaited.
    #[track_caller]
    pub fn send(&mut self, octets: &[u8]) {
        match self.stream.write_all(octets) {
            Ok(()) => {}
            Err(error) if is_end(error.kind()) => {}
            Err(error) => panic!("sending {} octets: {error}", octets.len()),
        }
    }

    /// Sends a frame of any type octet.
    #[track_caller]
    pub fn send_frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let mut octets = vec![kind];
        octets.extend_from_slice(&channel.to_be_bytes());
        octets.extend_from_slice(&u32::try_from(payload.len()).expect("a payload below 4 GiB").to_be_bytes());
        octets.extend_from_slice(payload);
        octets.push(leveret_protocol::amqp091::frame::FRAME_END);
        self.send(&octets);
    }

    /// Sends a method.
    #[track_caller]
    pub fn send_method(&mut self, channel: u16, method: &impl Encode) {
        self.send(&method_frame(channel, method));
    }

    /// Reads exactly `N` octets, for answers that are not frames.
    #[track_caller]
    pub fn read_octets<const N: usize>(&mut self) -> [u8; N] {
        let until = Instant::now() + self.deadline;
        while self.buffer.len() < N {
            let more = matches!(self.fill(until), Filled::Octets);
            assert!(more, "awaited {N} octets, got {:?} and then nothing", self.buffer);
        }
        let octets: Vec<u8> = self.buffer.drain(..N).collect();
        octets.try_into().expect("as many octets as drained")
    }

    /// Reads one frame.
    #[track_caller]
    pub fn read_frame(&mut self) -> OwnedFrame {
        match self.read(Instant::now() + self.deadline) {
            Read::Frame(frame) => frame,
            Read::End => panic!("awaited a frame, the server hung up"),
            Read::Late => panic!("awaited a frame, nothing came within {:?}", self.deadline),
        }
    }

    /// Reads a method of this type, on whichever channel; heartbeats are skipped.
    #[track_caller]
    pub fn expect<R: Reply>(&mut self) -> R {
        self.expect_or_end().unwrap_or_else(|| panic!("awaited {}, the server hung up", R::NAME))
    }

    /// Reads a method of this type, on whichever channel, unless the server hangs up; heartbeats are skipped.
    #[track_caller]
    pub fn expect_or_end<R: Reply>(&mut self) -> Option<R> {
        let until = Instant::now() + self.deadline;
        loop {
            match self.read(until) {
                Read::Frame(frame) if frame.kind == FrameKind::Heartbeat => {}
                Read::Frame(frame) => {
                    let method = frame.method();
                    let wanted = R::from_method(method);
                    return Some(wanted.unwrap_or_else(|| panic!("awaited {}, got {method:?}", R::NAME)));
                }
                Read::End => return None,
                Read::Late => panic!("awaited {}, nothing came within {:?}", R::NAME, self.deadline),
            }
        }
    }

    /// Awaits connection.close with this code and text, answers it and awaits the end of the connection.
    ///
    /// `explanation` is the reply text without the name that opens it.
    #[track_caller]
    pub fn expect_close(&mut self, code: ReplyCode, explanation: &str) -> ConnectionClose<'static> {
        let close: ConnectionClose<'static> = self.expect();
        inbox::assert_reply((close.reply_code, close.reply_text), code, explanation);
        self.send_method(0, &ConnectionCloseOk {});
        self.expect_end();
        close
    }

    /// Awaits that the server hangs up without another word; heartbeats do not count as one.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let until = Instant::now() + self.deadline;
        loop {
            match self.read(until) {
                Read::Frame(frame) if frame.kind == FrameKind::Heartbeat => {}
                Read::Frame(frame) => panic!("awaited the end of the connection, got {frame:?}"),
                Read::End => return,
                Read::Late => panic!("the server has not hung up within {:?}", self.deadline),
            }
        }
    }

    /// Reads a frame, unless the connection ends or `until` passes first.
    #[track_caller]
    pub(super) fn read(&mut self, until: Instant) -> Read {
        loop {
            match Frame::decode(&self.buffer, usize::MAX) {
                Ok(Some((frame, used))) => {
                    let (kind, channel, payload) = (frame.kind, frame.channel, frame.payload.to_vec());
                    self.buffer.drain(..used);
                    return Read::Frame(OwnedFrame { kind, channel, payload });
                }
                Ok(None) => {}
                Err(error) => panic!("the server sent octets that are no frame: {error:?} in {:?}", self.buffer),
            }
            match self.fill(until) {
                Filled::Octets => {}
                Filled::End if self.buffer.is_empty() => return Read::End,
                Filled::End => panic!("the server hung up within a frame: {:?}", self.buffer),
                Filled::Late => return Read::Late,
            }
        }
    }

    #[track_caller]
    fn fill(&mut self, until: Instant) -> Filled {
        let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
            return Filled::Late;
        };
        self.stream.set_read_timeout(Some(left)).expect("read timeout");
        let mut octets = [0; 16_384];
        match self.stream.read(&mut octets) {
            Ok(0) => Filled::End,
            Ok(count) => {
                self.buffer.extend_from_slice(&octets[..count]);
                Filled::Octets
            }
            Err(error) if is_end(error.kind()) => Filled::End,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Filled::Late,
            Err(error) if error.kind() == ErrorKind::Interrupted => Filled::Octets,
            Err(error) => panic!("reading from the server: {error}"),
        }
    }
}

enum Filled {
    Octets,
    End,
    Late,
}

/// A server that hangs up with octets of ours unread resets the connection; to a test that is the same as its end.
fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}
