//! A blocking AMQP connection with one channel.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use leveret_protocol::amqp091::frame::{ProtocolHeader, write_method};
use leveret_protocol::amqp091::method::{
    ChannelOpen, ConnectionClose, ConnectionOpen, ConnectionStartOk, ConnectionTune, ConnectionTuneOk,
};
use leveret_protocol::amqp091::{
    Encode, FRAME_MIN_SIZE, FRAME_OVERHEAD, Frame, FrameKind, Method, Table, TableWriter, Value,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::clock::{self, SECOND_NS};
use crate::error::Error;
use crate::tls::Tls;
use crate::url::{Security, Url};
use crate::walker::{Sink, Walker};

/// The largest frame asked for, in octets; RabbitMQ's own default.
const FRAME_MAX: u32 = 131_072;
/// Room for a handshake; threads that carry load ask for more.
const BUFFER_SMALL: usize = 16 * 1024;
/// Room for the answer to a goodbye.
const BUFFER_TINY: usize = 1024;
/// Room that takes a read of 256 KiB or two frames.
const BUFFER_LARGE: usize = 256 * 1024;
/// How long to wait for an answer.
const ANSWER_NS: u64 = 30 * SECOND_NS;
/// How long to wait for connection.close-ok. It comes when the broker has worked through what was sent before, so that
/// nothing of this run is left over for the next.
const GOODBYE_NS: u64 = 10 * SECOND_NS;
/// The longest a read or a wait blocks, so that threads notice the end of a run.
pub(crate) const PATIENCE_NS: u64 = 100 * clock::MILLISECOND_NS;

/// Whether a read waits for octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// For [`PATIENCE_NS`] at most.
    Patiently,
    /// Not at all.
    Never,
}

/// What to wait for on a socket besides a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Octets to read.
    Read,
    /// Octets to read or room to write.
    ReadOrWrite,
}

/// A connection whose handshake is done and whose channels are open.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// With TLS, what is between the stream and everything else here.
    tls: Option<Box<Tls>>,
    /// Octets received: those from `read_at` to `filled` are still to be looked at.
    buffer: Vec<u8>,
    read_at: usize,
    filled: usize,
    walker: Walker,
    frame_max: usize,
    channel_max: u16,
}

impl Connection {
    /// Connects, logs in, opens the vhost and channel 1; `name` shows in the broker's list of connections.
    pub(crate) fn open(url: &Url, name: &str) -> Result<Self, Error> {
        let stream = connect(url).map_err(|source| Error::Connect { address: url.address(), source })?;
        let tls = match &url.security {
            Security::Tls(config) => {
                let tls = Tls::open(config, &url.host, &stream);
                Some(Box::new(tls.map_err(|source| Error::Tls { address: url.address(), source })?))
            }
            Security::Plain | Security::Wanted => None,
        };
        let mut connection = Self {
            stream,
            tls,
            buffer: vec![0; BUFFER_SMALL],
            read_at: 0,
            filled: 0,
            walker: Walker::new(0),
            frame_max: FRAME_MIN_SIZE as usize,
            channel_max: 1,
        };
        connection.handshake(url, name).map_err(|error| explain(error, url))?;
        connection.open_channel(1)?;
        Ok(connection)
    }

    /// The largest frame the broker takes, in octets.
    pub(crate) fn frame_max(&self) -> usize {
        self.frame_max
    }

    /// The highest channel number the broker takes.
    pub(crate) fn channel_max(&self) -> u16 {
        self.channel_max
    }

    /// Opens a channel.
    pub(crate) fn open_channel(&mut self, channel: u16) -> Result<(), Error> {
        self.call(channel, "channel.open", &ChannelOpen { out_of_band: "" }, |method| {
            matches!(method, Method::ChannelOpenOk(_)).then_some(())
        })
    }

    /// Sends a method and waits for the one that `answer` takes; `what` names it in errors.
    pub(crate) fn call<T>(
        &mut self,
        channel: u16,
        what: &'static str,
        method: &impl Encode,
        answer: impl FnMut(Method<'_>) -> Option<T>,
    ) -> Result<T, Error> {
        let mut octets = Vec::new();
        write_method(&mut octets, channel, method);
        self.send_all(&octets)?;
        self.await_method(what, ANSWER_NS, answer)
    }

    /// Sends a method that has no answer.
    pub(crate) fn tell(&mut self, channel: u16, method: &impl Encode) -> Result<(), Error> {
        let mut octets = Vec::new();
        write_method(&mut octets, channel, method);
        self.send_all(&octets)
    }

    /// Makes the buffer large; to be called once, by who expects load.
    pub(crate) fn enlarge_buffer(&mut self) {
        self.buffer.resize(BUFFER_LARGE.max(2 * self.frame_max), 0);
    }

    /// Gives the buffer's memory back, for connections that stay idle.
    pub(crate) fn shrink_buffer(&mut self) {
        self.buffer.truncate(self.filled.max(BUFFER_TINY));
        self.buffer.shrink_to_fit();
    }

    /// Reads what has come; `Ok(false)` if nothing has.
    #[inline]
    pub(crate) fn read(&mut self, wait: Wait) -> Result<bool, Error> {
        if self.read_at > 0 {
            self.buffer.copy_within(self.read_at..self.filled, 0);
            self.filled -= self.read_at;
            self.read_at = 0;
        }
        // Who waits for an answer has to see that the question gets out.
        let is_sending = self.tls.as_ref().is_some_and(|tls| tls.is_sending());
        if is_sending && wait == Wait::Patiently {
            self.wait(Interest::ReadOrWrite, PATIENCE_NS)?;
        }
        let flags = match wait {
            Wait::Patiently if !is_sending => RecvFlags::empty(),
            Wait::Patiently | Wait::Never => RecvFlags::DONTWAIT,
        };
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let read = match &mut self.tls {
            None => recv(&self.stream, room, flags).map(|(_, count)| count).map_err(io::Error::from),
            Some(tls) => tls.read(&self.stream, room, flags),
        };
        match read {
            Ok(0) => Err(Error::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                self.filled += count;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(Error::Lost(error)),
        }
    }

    /// Hands everything whole that was read to `sink`.
    #[inline]
    pub(crate) fn walk(&mut self, sink: &mut impl Sink) -> Result<(), Error> {
        let octets = self.buffer.get(self.read_at..self.filled).unwrap_or_default();
        self.read_at += self.walker.walk(octets, sink)?;
        Ok(())
    }

    /// Writes as much of `octets` as the socket takes at once; returns how many that were.
    #[inline]
    pub(crate) fn send(&mut self, octets: &[u8]) -> Result<usize, Error> {
        let sent = match &mut self.tls {
            None => send(&self.stream, octets, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map_err(io::Error::from),
            Some(tls) => tls.send(&self.stream, octets),
        };
        match sent {
            Ok(count) => Ok(count),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(self.last_words(Error::Lost(error))),
        }
    }

    /// Waits until the socket is ready or `span_ns` have passed; returns whether there is something to read.
    pub(crate) fn wait(&mut self, interest: Interest, span_ns: u64) -> Result<bool, Error> {
        let is_sending = match &mut self.tls {
            None => false,
            Some(tls) => {
                tls.flush(&self.stream).map_err(Error::Lost)?;
                tls.is_sending()
            }
        };
        let flags = match interest {
            Interest::Read if is_sending => PollFlags::IN | PollFlags::OUT,
            Interest::Read => PollFlags::IN,
            Interest::ReadOrWrite => PollFlags::IN | PollFlags::OUT,
        };
        let mut fds = [PollFd::new(&self.stream, flags)];
        match poll(&mut fds, Some(&clock::timespec(span_ns.min(PATIENCE_NS)))) {
            Ok(_) => Ok(fds.iter().any(|fd| fd.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR))),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(Error::Lost(error.into())),
        }
    }

    /// Says goodbye and waits for the answer a while; what the broker makes of it no longer matters.
    pub(crate) fn close(mut self) {
        let goodbye = ConnectionClose { reply_code: 200, reply_text: "Goodbye", class_id: 0, method_id: 0 };
        let mut octets = Vec::new();
        write_method(&mut octets, 0, &goodbye);
        if self.send_all(&octets).is_ok() {
            let _ = self.await_method("connection.close", GOODBYE_NS, |method| {
                matches!(method, Method::ConnectionCloseOk(_)).then_some(())
            });
        }
    }

    fn handshake(&mut self, url: &Url, name: &str) -> Result<(), Error> {
        self.send_all(&ProtocolHeader::AMQP_0_9_1.octets())?;
        self.await_method("the protocol header", ANSWER_NS, |method| {
            matches!(method, Method::ConnectionStart(_)).then_some(())
        })?;
        let mut properties = Vec::new();
        client_properties(&mut properties, name);
        let response = format!("\0{}\0{}", url.user, url.password);
        let start_ok = ConnectionStartOk {
            client_properties: Table::parse(&properties)?,
            mechanism: "PLAIN",
            response: response.as_bytes(),
            locale: "en_US",
        };
        let tune = self.call(0, "connection.start-ok", &start_ok, |method| match method {
            Method::ConnectionTune(tune) => Some(tune),
            _ => None,
        })?;
        let agreed = agree(tune);
        let mut octets = Vec::new();
        write_method(&mut octets, 0, &agreed);
        self.send_all(&octets)?;
        self.frame_max = agreed.frame_max as usize;
        self.channel_max = agreed.channel_max;
        self.walker = Walker::new(self.frame_max.saturating_sub(FRAME_OVERHEAD));
        self.buffer.resize(BUFFER_SMALL.max(2 * FRAME_MIN_SIZE as usize), 0);
        let open = ConnectionOpen { virtual_host: &url.vhost, capabilities: "", insist: false };
        self.call(0, "connection.open", &open, |method| matches!(method, Method::ConnectionOpenOk(_)).then_some(()))
    }

    fn send_all(&mut self, octets: &[u8]) -> Result<(), Error> {
        let mut rest = octets;
        let deadline_ns = clock::now_ns() + ANSWER_NS;
        while !rest.is_empty() {
            let sent = self.send(rest)?;
            rest = rest.get(sent..).unwrap_or_default();
            if sent == 0 {
                if clock::now_ns() > deadline_ns {
                    return Err(Error::Timeout("a write"));
                }
                self.wait(Interest::ReadOrWrite, PATIENCE_NS)?;
            }
        }
        Ok(())
    }

    /// Reads methods until one that `answer` takes or that ends the connection; content on the way is dropped.
    fn await_method<T>(
        &mut self,
        what: &'static str,
        patience_ns: u64,
        mut answer: impl FnMut(Method<'_>) -> Option<T>,
    ) -> Result<T, Error> {
        let deadline_ns = clock::now_ns() + patience_ns;
        loop {
            let octets = self.buffer.get(self.read_at..self.filled).unwrap_or_default();
            if let Some(found) = octets.strip_prefix(b"AMQP") {
                return Err(Error::NotAmqp { address: String::new(), found: format!("it asks for version {found:?}") });
            }
            // Frames are taken one by one: deliveries behind a consume-ok belong to the thread that reads on.
            if let Some((frame, used)) = Frame::decode(octets, self.buffer.len().saturating_sub(FRAME_OVERHEAD))? {
                if frame.kind == FrameKind::Method {
                    let method = Method::decode(frame.payload)?;
                    if let Some(answer) = answer(method) {
                        self.read_at += used;
                        return Ok(answer);
                    }
                    if let Some(error) = closed_by(method) {
                        return Err(error);
                    }
                }
                self.read_at += used;
            } else if clock::now_ns() > deadline_ns {
                // Also while other things keep coming.
                return Err(Error::Timeout(what));
            } else {
                self.read(Wait::Patiently)?;
            }
        }
    }

    /// A broker that closes a connection says why before it goes; a failed write is no reason not to listen.
    fn last_words(&mut self, error: Error) -> Error {
        struct Reason(Option<Error>);
        impl Sink for Reason {
            fn delivery(&mut self, _: &crate::walker::Delivery) {}
            fn returned(&mut self) {}
            fn settled(&mut self, _: crate::walker::Settled) {}
            fn method(&mut self, method: Method<'_>) -> Result<(), Error> {
                if let Some(error) = closed_by(method) {
                    self.0.get_or_insert(error);
                }
                Ok(())
            }
        }
        let mut reason = Reason(None);
        while let Ok(true) = self.read(Wait::Never) {
            if self.walk(&mut reason).is_err() {
                break;
            }
        }
        reason.0.unwrap_or(error)
    }
}

/// The error in a method with which the broker ends a channel or the connection.
pub(crate) fn closed_by(method: Method<'_>) -> Option<Error> {
    let (what, code, text) = match method {
        Method::ConnectionClose(close) => ("connection", close.reply_code, close.reply_text),
        Method::ChannelClose(close) => ("channel", close.reply_code, close.reply_text),
        _ => return None,
    };
    Some(Error::Closed { what, code, text: text.to_owned() })
}

fn connect(url: &Url) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (url.host.as_str(), url.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(10)) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_nanos(PATIENCE_NS)))?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn client_properties(out: &mut Vec<u8>, name: &str) {
    TableWriter::new(out)
        .field("product", Value::LongStr(b"leveret perf"))
        .field("version", Value::LongStr(env!("CARGO_PKG_VERSION").as_bytes()))
        .field("connection_name", Value::LongStr(name.as_bytes()))
        .table("capabilities", |capabilities| {
            for name in [
                "publisher_confirms",
                "basic.nack",
                "consumer_cancel_notify",
                "connection.blocked",
                "authentication_failure_close",
            ] {
                capabilities.field(name, Value::Bool(true));
            }
        });
}

/// The broker's limits, made no larger than ours. No heartbeats: a loader that stalls should be seen, not cut off.
fn agree(tune: ConnectionTune) -> ConnectionTuneOk {
    let frame_max = if tune.frame_max == 0 { FRAME_MAX } else { tune.frame_max.min(FRAME_MAX) };
    let channel_max = if tune.channel_max == 0 { u16::MAX } else { tune.channel_max };
    ConnectionTuneOk { channel_max, frame_max: frame_max.max(FRAME_MIN_SIZE), heartbeat: 0 }
}

/// Says what an error means that came up while logging in.
fn explain(error: Error, url: &Url) -> Error {
    match error {
        Error::Closed { code: 403, text, .. } => Error::Refused { user: url.user.clone(), text },
        Error::NotAmqp { found, .. } | Error::Malformed(found) => Error::NotAmqp { address: url.address(), found },
        Error::Lost(source) => Error::NotAmqp { address: url.address(), found: format!("it hung up ({source})") },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_the_smaller_of_both_sides() {
        for (channel_max, frame_max, agreed) in [
            (0, 0, (u16::MAX, 131_072)),
            (2047, 131_072, (2047, 131_072)),
            (1, 8192, (1, 8192)),
            (2047, 1 << 20, (2047, 131_072)),
        ] {
            let tune_ok = agree(ConnectionTune { channel_max, frame_max, heartbeat: 60 });
            assert_eq!((tune_ok.channel_max, tune_ok.frame_max, tune_ok.heartbeat), (agreed.0, agreed.1, 0));
        }
    }

    #[test]
    fn a_refused_login_names_the_user() {
        let url: Url = "amqp://me@host".parse().unwrap();
        let closed = Error::Closed { what: "connection", code: 403, text: "ACCESS_REFUSED - no".into() };
        assert_eq!(explain(closed, &url).to_string(), "the broker refused user 'me': ACCESS_REFUSED - no");
        let closed = Error::Closed { what: "connection", code: 530, text: "NOT_ALLOWED - no vhost".into() };
        assert_eq!(explain(closed, &url).to_string(), "the broker closed the connection: 530 NOT_ALLOWED - no vhost");
    }
}
