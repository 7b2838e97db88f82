//! The smallest AMQP client that speaks over whatever stream it is given.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use leveret_protocol::amqp091::method::{
    BasicGet, BasicPublish, ChannelOpen, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, Encode, QueueDeclare,
};
use leveret_protocol::amqp091::{Frame, FrameKind, Method, ProtocolHeader, Table, frame};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use crate::certificates::Certified;

const DEADLINE: Duration = Duration::from_secs(20);
const FRAME_MAX: u32 = 131_072;

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A configuration that believes these authorities and shows this certificate.
pub(crate) fn config(
    roots: RootCertStore,
    certified: Option<&Certified>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match certified {
        None => builder.with_no_client_auth(),
        Some(certified) => {
            let (chain, key) = certified.der();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Shakes hands; the error is the client's.
pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TlsStream> {
    connect_to(tcp(address), config, "localhost")
}

pub(crate) fn connect_to(stream: TcpStream, config: &Arc<ClientConfig>, name: &str) -> io::Result<TlsStream> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Whether the broker takes this client: with TLS 1.3, it says no only after the client thinks that all is well.
pub(crate) fn is_taken(address: SocketAddr, config: ClientConfig) -> bool {
    connect(address, &Arc::new(config)).is_ok_and(|stream| Client::try_open(stream).is_some())
}

pub(crate) struct Client<S> {
    pub(crate) stream: S,
    unread: Vec<u8>,
}

impl<S: Read + Write> Client<S> {
    /// A client with a channel.
    pub(crate) fn open(stream: S) -> Self {
        Self::try_open(stream).expect("the broker takes the client")
    }

    /// The same, unless the broker hangs up or refuses the login.
    pub(crate) fn try_open(stream: S) -> Option<Self> {
        let mut client = Self { stream, unread: Vec::new() };
        client.stream.write_all(&ProtocolHeader::AMQP_0_9_1.octets()).ok()?;
        client.try_payload()?;
        let client_properties = Table::default();
        let response = b"\0guest\0guest";
        client.send(0, &ConnectionStartOk { client_properties, mechanism: "PLAIN", response, locale: "en_US" });
        let tune = client.try_payload()?;
        assert!(matches!(Method::decode(&tune), Ok(Method::ConnectionTune(_))));
        client.send(0, &ConnectionTuneOk { channel_max: 10, frame_max: FRAME_MAX, heartbeat: 0 });
        client.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
        client.try_payload()?;
        client.send(1, &ChannelOpen { out_of_band: "" });
        assert!(matches!(Method::decode(&client.try_payload()?), Ok(Method::ChannelOpenOk(_))));
        Some(client)
    }

    pub(crate) fn send(&mut self, channel: u16, method: &impl Encode) {
        let mut octets = Vec::new();
        frame::write_method(&mut octets, channel, method);
        self.stream.write_all(&octets).unwrap();
    }

    pub(crate) fn declare(&mut self, queue: &str) {
        self.send(
            1,
            &QueueDeclare {
                ticket: 0,
                queue,
                passive: false,
                durable: false,
                exclusive: false,
                auto_delete: false,
                no_wait: false,
                arguments: Table::default(),
            },
        );
        assert!(matches!(Method::decode(&self.frame().1), Ok(Method::QueueDeclareOk(_))));
    }

    pub(crate) fn publish(&mut self, queue: &str, body: &[u8]) {
        let mut octets = Vec::new();
        frame::write_method(
            &mut octets,
            1,
            &BasicPublish { ticket: 0, exchange: "", routing_key: queue, mandatory: false, immediate: false },
        );
        let header = [&[0, 60, 0, 0][..], &(body.len() as u64).to_be_bytes(), &[0, 0]].concat();
        put_frame(&mut octets, 2, &header);
        for piece in body.chunks(FRAME_MAX as usize - 8) {
            put_frame(&mut octets, 3, piece);
        }
        self.stream.write_all(&octets).unwrap();
        self.stream.flush().unwrap();
    }

    /// Asks for a message.
    pub(crate) fn ask(&mut self, queue: &str) {
        self.send(1, &BasicGet { ticket: 0, queue, no_ack: true });
    }

    /// The body of the message that was asked for.
    pub(crate) fn got(&mut self) -> Vec<u8> {
        assert!(matches!(Method::decode(&self.frame().1), Ok(Method::BasicGetOk(_))));
        let (kind, header) = self.frame();
        assert_eq!(kind, FrameKind::Header);
        let size = u64::from_be_bytes(header[4..12].try_into().unwrap());
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            body.extend(self.frame().1);
        }
        body
    }

    /// Publishes a message and gets it back.
    pub(crate) fn round_trip(&mut self, queue: &str, body: &[u8]) {
        self.publish(queue, body);
        self.ask(queue);
        let got = self.got();
        assert!(got == body, "{} octets came back as {}", body.len(), got.len());
    }

    /// Shows that the connection works.
    pub(crate) fn works(&mut self) {
        self.declare("works");
        self.round_trip("works", b"hello");
    }

    fn frame(&mut self) -> (FrameKind, Vec<u8>) {
        self.try_frame().expect("a frame")
    }

    fn try_payload(&mut self) -> Option<Vec<u8>> {
        self.try_frame().map(|(_, payload)| payload)
    }

    fn try_frame(&mut self) -> Option<(FrameKind, Vec<u8>)> {
        loop {
            if let Some((frame, used)) = Frame::decode(&self.unread, usize::MAX).unwrap() {
                let (kind, payload) = (frame.kind, frame.payload.to_vec());
                self.unread.drain(..used);
                return Some((kind, payload));
            }
            let mut octets = [0; 16_384];
            match self.stream.read(&mut octets) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing comes"),
                Ok(0) | Err(_) => return None,
                Ok(count) => self.unread.extend_from_slice(&octets[..count]),
            }
        }
    }
}

fn put_frame(octets: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    octets.extend([kind, 0, 1]);
    octets.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    octets.extend_from_slice(payload);
    octets.push(frame::FRAME_END);
}
