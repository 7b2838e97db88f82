//! A node's end, as its clients see it.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use client::Client;
use leveret_protocol::amqp091::Method;
use leveret_protocol::amqp091::method::ConnectionCloseOk;
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

#[test]
fn clients_are_told_that_the_node_stops() {
    let (running, address, _folder) = start();
    let mut client = Client::open(address);
    let stopping = std::thread::spawn(move || running.stop());
    let payload = client.payload();
    let Ok(Method::ConnectionClose(close)) = Method::decode(&payload) else { panic!("{payload:?}") };
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_eq!((close.reply_code, close.reply_text), (320, text));
    client.send(0, &ConnectionCloseOk {});
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
