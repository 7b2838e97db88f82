//! A node's end, as its clients see it.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use leveret_protocol::amqp091::method::{
    ConnectionCloseOk, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, Encode,
};
use leveret_protocol::amqp091::{Frame, FrameKind, Method, ProtocolHeader, Table, frame};
use leveret_server::{Config, Running};

const DEADLINE: Duration = Duration::from_secs(10);

fn start() -> (Running, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let config = Config { listen, data_dir: folder.path().to_owned(), ..Config::default() };
    let running = leveret_server::start(&config).unwrap();
    let address = running.addresses()[0];
    (running, address, folder)
}

/// A client that reads whole frames.
struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    /// A client whose connection is open.
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut client = Self { stream, unread: Vec::new() };
        client.stream.write_all(&ProtocolHeader::AMQP_0_9_1.octets()).unwrap();
        let start = client.payload();
        assert!(matches!(Method::decode(&start), Ok(Method::ConnectionStart(_))));
        let client_properties = Table::default();
        let response = b"\0guest\0guest";
        client.send(&ConnectionStartOk { client_properties, mechanism: "PLAIN", response, locale: "en_US" });
        assert!(matches!(Method::decode(&client.payload()), Ok(Method::ConnectionTune(_))));
        client.send(&ConnectionTuneOk { channel_max: 10, frame_max: 8192, heartbeat: 0 });
        client.send(&ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
        assert!(matches!(Method::decode(&client.payload()), Ok(Method::ConnectionOpenOk(_))));
        client
    }

    fn send(&mut self, method: &impl Encode) {
        let mut octets = Vec::new();
        frame::write_method(&mut octets, 0, method);
        self.stream.write_all(&octets).unwrap();
    }

    /// The payload of the next method frame.
    fn payload(&mut self) -> Vec<u8> {
        loop {
            if let Some((frame, used)) = Frame::decode(&self.unread, usize::MAX).unwrap() {
                let (kind, payload) = (frame.kind, frame.payload.to_vec());
                self.unread.drain(..used);
                if kind == FrameKind::Method {
                    return payload;
                }
                continue;
            }
            let mut octets = [0; 4096];
            let count = self.stream.read(&mut octets).unwrap();
            assert!(count > 0, "the broker hung up");
            self.unread.extend_from_slice(&octets[..count]);
        }
    }
}

#[test]
fn clients_are_told_that_the_node_stops() {
    let (running, address, _folder) = start();
    let mut client = Client::open(address);
    let stopping = std::thread::spawn(move || running.stop());
    let payload = client.payload();
    let Ok(Method::ConnectionClose(close)) = Method::decode(&payload) else { panic!("{payload:?}") };
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_eq!((close.reply_code, close.reply_text), (320, text));
    client.send(&ConnectionCloseOk {});
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0, "the broker hangs up");
    stopping.join().unwrap();
}

#[test]
fn a_client_that_does_not_answer_does_not_keep_the_node_from_stopping() {
    let (running, address, _folder) = start();
    let _silent = Client::open(address);
    let _in_handshake = TcpStream::connect(address).unwrap();
    let begin = Instant::now();
    running.stop();
    assert!(begin.elapsed() < DEADLINE, "stopping took {:?}", begin.elapsed());
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_node_that_stopped_can_be_started_again_at_once_on_its_port_and_folder() {
    let (running, address, folder) = start();
    let client = Client::open(address);
    drop(client);
    running.stop();
    let config = Config { listen: vec![address], data_dir: folder.path().to_owned(), ..Config::default() };
    let again = leveret_server::start(&config).unwrap();
    Client::open(address);
    again.stop();
}
