//! Messages of all sizes through TLS, in pieces of all sizes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, StreamOwned};

use crate::broker::Broker;
use crate::client::{Client, config, connect, tcp};

#[test]
fn messages_of_all_sizes_pass() {
    let broker = Broker::start();
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(config(broker.authority.roots(), None, &[version]));
        let mut client = Client::open(connect(broker.tls_address(), &config).unwrap());
        client.declare("sizes");
        for size in [0, 1, 100, 16_383, 16_384, 16_385, 131_072, 1_000_000, 8_000_000] {
            let body: Vec<u8> = (0..size).map(|index: u32| index.to_le_bytes()[0] ^ index.to_le_bytes()[1]).collect();
            client.round_trip("sizes", &body);
        }
    }
}

/// A stream that writes a few octets at a time.
struct Pieces(TcpStream, usize);

impl Read for Pieces {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        self.0.read(octets)
    }
}

impl Write for Pieces {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(&octets[..octets.len().min(self.1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn records_may_come_in_pieces_and_many_at_once() {
    let broker = Broker::start();
    for version in [&TLS12, &TLS13] {
        for (piece, record) in [(1, None), (7, None), (1000, Some(64)), (100_000, Some(64))] {
            let mut config = config(broker.authority.roots(), None, &[version]);
            config.max_fragment_size = record;
            let connection =
                ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
            let stream = StreamOwned::new(connection, Pieces(tcp(broker.tls_address()), piece));
            let mut client = Client::open(stream);
            client.declare("pieces");
            for size in [0, 10, 1000, 20_000] {
                client.round_trip("pieces", &vec![piece.to_le_bytes()[0]; size]);
            }
        }
    }
}

/// The broker has much to say and a client that does not listen: nothing may be lost.
#[test]
fn a_client_that_reads_late_gets_everything() {
    const COUNT: usize = 100;
    let broker = Broker::start();
    let config = Arc::new(config(broker.authority.roots(), None, &[&TLS13]));
    let mut client = Client::open(connect(broker.tls_address(), &config).unwrap());
    client.declare("late");
    let body = vec![5; 200_000];
    for _ in 0..COUNT {
        client.publish("late", &body);
    }
    for _ in 0..COUNT {
        client.ask("late");
    }
    client.stream.flush().unwrap();
    for _ in 0..COUNT {
        assert!(client.got() == body);
    }
}

#[test]
fn keys_may_be_changed_at_any_time() {
    let broker = Broker::start();
    let config = Arc::new(config(broker.authority.roots(), None, &[&TLS13]));
    let mut client = Client::open(connect(broker.tls_address(), &config).unwrap());
    for _ in 0..5 {
        client.stream.conn.refresh_traffic_keys().unwrap();
        client.works();
    }
}

#[test]
fn the_end_of_a_connection_is_said_in_tls() {
    let broker = Broker::start();
    let config = Arc::new(config(broker.authority.roots(), None, &[&TLS13]));
    let mut client = Client::open(connect(broker.tls_address(), &config).unwrap());
    client.works();
    client.stream.conn.send_close_notify();
    client.stream.flush().unwrap();
    // Without close_notify this is an error: somebody might have cut the connection.
    assert_eq!(client.stream.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn octets_that_are_no_tls_end_the_connection_and_nothing_else() {
    let broker = Broker::start();
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(config(broker.authority.roots(), None, &[version]));
        for garbage in [
            b"\x17\x03\x03\x00\x20................................".as_slice(),
            b"\x16\x03\x03\x00\x04\x01\x00\x00\x00",
            b"\x14\x03\x03\x00\x01\x01",
            b"\x17\x03\x03\xff\xff",
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            let mut client = Client::open(connect(broker.tls_address(), &config).unwrap());
            let mut fresh = tcp(broker.tls_address());
            // In a connection that is open, and as the first that comes.
            client.stream.sock.write_all(garbage).unwrap();
            fresh.write_all(garbage).unwrap();
            assert!(client.stream.read(&mut [0; 8]).is_err(), "{garbage:?}");
            fresh.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(matches!(io::copy(&mut fresh, &mut io::sink()), Ok(_) | Err(_)));
        }
        Client::open(connect(broker.tls_address(), &config).unwrap()).works();
    }
}
