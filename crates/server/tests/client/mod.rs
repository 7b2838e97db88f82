//! The smallest client that can talk to a broker: whole methods, one at a time.

#![allow(dead_code, reason = "each test program uses some of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use leveret_protocol::amqp091::method::{ChannelOpen, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, Encode};
use leveret_protocol::amqp091::{Frame, FrameKind, Method, ProtocolHeader, Table, frame};

const DEADLINE: Duration = Duration::from_secs(10);

/// A client that reads whole frames.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    /// A client whose connection is open.
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::open_as(address, b"", "guest", "guest").unwrap()
    }

    /// A client whose connection is open, unless the user is refused. It says something before it begins.
    pub(crate) fn open_as(address: SocketAddr, before: &[u8], user: &str, password: &str) -> Option<Self> {
        Self::open_with(address, before, user, password, Table::default())
    }

    /// The same for a client that says something of itself.
    pub(crate) fn open_with(
        address: SocketAddr,
        before: &[u8],
        user: &str,
        password: &str,
        client_properties: Table<'_>,
    ) -> Option<Self> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream, unread: Vec::new() };
        client.stream.write_all(before).unwrap();
        client.stream.write_all(&ProtocolHeader::AMQP_0_9_1.octets()).unwrap();
        let start = client.payload();
        assert!(matches!(Method::decode(&start), Ok(Method::ConnectionStart(_))));
        let response = format!("\0{user}\0{password}").into_bytes();
        client.send(
            0,
            &ConnectionStartOk { client_properties, mechanism: "PLAIN", response: &response, locale: "en_US" },
        );
        assert!(matches!(Method::decode(&client.try_payload()?), Ok(Method::ConnectionTune(_))));
        client.send(0, &ConnectionTuneOk { channel_max: 10, frame_max: 8192, heartbeat: 0 });
        client.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
        assert!(matches!(Method::decode(&client.payload()), Ok(Method::ConnectionOpenOk(_))));
        Some(client)
    }

    /// Sends to a broker that may be gone.
    pub(crate) fn try_send(&mut self, channel: u16, method: &impl Encode) {
        let mut octets = Vec::new();
        frame::write_method(&mut octets, channel, method);
        // Whether it went out shows when the answer is read.
        let _ = self.stream.write_all(&octets);
    }

    pub(crate) fn send(&mut self, channel: u16, method: &impl Encode) {
        let mut octets = Vec::new();
        frame::write_method(&mut octets, channel, method);
        self.stream.write_all(&octets).unwrap();
    }

    /// A client whose connection is open, and its channel 1.
    pub(crate) fn open_channel(address: SocketAddr) -> Self {
        let mut client = Self::open(address);
        client.send(1, &ChannelOpen { out_of_band: "" });
        assert!(matches!(Method::decode(&client.payload()), Ok(Method::ChannelOpenOk(_))));
        client
    }

    /// The payload of the next method frame; `None` once the broker is gone.
    pub(crate) fn try_payload(&mut self) -> Option<Vec<u8>> {
        loop {
            if let (FrameKind::Method, payload) = self.try_frame()? {
                return Some(payload);
            }
        }
    }

    /// The next frame, of whatever kind; `None` once the broker is gone.
    pub(crate) fn try_frame(&mut self) -> Option<(FrameKind, Vec<u8>)> {
        loop {
            if let Some((frame, used)) = Frame::decode(&self.unread, usize::MAX).unwrap() {
                let (kind, payload) = (frame.kind, frame.payload.to_vec());
                self.unread.drain(..used);
                return Some((kind, payload));
            }
            let mut octets = [0; 4096];
            match self.stream.read(&mut octets) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.unread.extend_from_slice(&octets[..count]),
            }
        }
    }

    /// The payload of the next method frame.
    pub(crate) fn payload(&mut self) -> Vec<u8> {
        self.try_payload().unwrap()
    }
}
