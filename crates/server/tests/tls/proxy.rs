//! The PROXY protocol on listeners that ask for it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::version::TLS13;

use crate::broker::Broker;
use crate::client::{Client, config, connect_to, tcp};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// From 10.0.0.1.
const V2_IPV4: &[u8] = b"\x21\x11\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x30\x39\x16\x28";
/// From 127.0.0.1, with a TLV that is too short for what it says it is.
const V2_LOOPBACK_TLV: &[u8] = b"\x21\x11\x00\x11\x7f\x00\x00\x01\x0a\x00\x00\x02\x30\x39\x16\x28\x20\x00\x02\x01\x00";
const V2_LOCAL: &[u8] = b"\x20\x00\x00\x00";

fn broker() -> Broker {
    Broker::start_with(|config, _| config.proxy_protocol = true)
}

fn after_header(broker: &Broker, header: &[u8]) -> TcpStream {
    let mut stream = tcp(broker.plain_address());
    stream.write_all(header).unwrap();
    stream
}

/// The user guest may log in from this machine only, and shows by that which address counts.
#[test]
fn the_address_in_the_header_is_the_clients() {
    let broker = broker();
    let v2 = |rest: &[u8]| [V2, rest].concat();
    for (header, taken) in [
        (b"PROXY TCP4 127.0.0.1 10.0.0.2 12345 5672\r\n".to_vec(), true),
        (b"PROXY TCP4 10.0.0.1 10.0.0.2 12345 5672\r\n".to_vec(), false),
        (b"PROXY TCP6 ::1 ::2 12345 5672\r\n".to_vec(), true),
        (b"PROXY TCP6 ::ffff:127.0.0.1 ::2 12345 5672\r\n".to_vec(), true),
        (b"PROXY UNKNOWN\r\n".to_vec(), true),
        (v2(V2_LOCAL), true),
        (v2(V2_IPV4), false),
        (v2(V2_LOOPBACK_TLV), true),
    ] {
        let client = Client::try_open(after_header(&broker, &header));
        assert_eq!(client.is_some(), taken, "{header:?}");
        if let Some(mut client) = client {
            client.works();
        }
    }
}

#[test]
fn connections_without_a_good_header_are_closed() {
    let broker = broker();
    let tls_hello = [0x16, 3, 1, 2, 0];
    for octets in [
        b"AMQP\0\0\x09\x01".as_slice(),
        &tls_hello,
        b"PROXY TCP4 300.0.0.1 10.0.0.2 1 2\r\n",
        b"PROXY TCP9 \r\n      ",
        &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(),
        &[V2, b"\x21\x11\xff\xff", &[0; 5000]].concat(),
    ] {
        let mut stream = after_header(&broker, octets);
        assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)), "{octets:?}");
    }
}

#[test]
fn a_header_may_come_in_pieces() {
    let broker = broker();
    for header in [b"PROXY TCP4 127.0.0.1 10.0.0.2 12345 5672\r\n".to_vec(), [V2, V2_LOOPBACK_TLV].concat()] {
        let mut stream = tcp(broker.plain_address());
        for octet in header {
            stream.write_all(&[octet]).unwrap();
        }
        Client::open(stream).works();
    }
}

#[test]
fn what_comes_with_the_header_is_not_lost() {
    let broker = broker();
    let mut stream = after_header(&broker, b"PROXY TCP4 127.0.0.1 10.0.0.2 12345 5672\r\nAMQP\0\0\x09\x01");
    let mut start = [0; 11];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(start[7..], [0, 10, 0, 10], "connection.start");
}

#[test]
fn tls_begins_behind_the_header() {
    let broker = broker();
    let config = Arc::new(config(broker.authority.roots(), None, &[&TLS13]));
    for (address, taken) in [("127.0.0.1", true), ("10.0.0.1", false)] {
        let mut stream = tcp(broker.tls_address());
        stream.write_all(format!("PROXY TCP4 {address} 10.0.0.2 12345 5671\r\n").as_bytes()).unwrap();
        let client = Client::try_open(connect_to(stream, &config, "localhost").unwrap());
        assert_eq!(client.is_some(), taken, "{address}");
    }
    // TLS without a header is not let in.
    connect_to(tcp(broker.tls_address()), &config, "localhost").unwrap_err();
}

#[test]
fn without_the_option_a_header_is_not_expected() {
    let broker = Broker::start();
    Client::open(tcp(broker.plain_address())).works();
    let mut stream = after_header(&broker, b"PROXY TCP4 127.0.0.1 10.0.0.2 12345 5672\r\n");
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"AMQP\x03\x01\x00\x00", "the answer to an unknown protocol");
}

/// Both wait for as long as they may; neither for ever.
#[test]
fn who_takes_too_long_is_cut_off() {
    let broker = broker();
    let proxied = b"PROXY TCP4 127.0.0.1 10.0.0.2 12345 5671\r\n".as_slice();
    let waiting =
        [after_header(&broker, b"PROXY TCP4 127."), after_header(&broker, V2), tcp(broker.plain_address()), {
            let mut stream = tcp(broker.tls_address());
            stream.write_all(&[proxied, b"\x16\x03\x01"].concat()).unwrap();
            stream
        }];
    for mut stream in waiting {
        assert!(matches!(stream.read(&mut [0; 8]), Ok(0)), "the broker hangs up");
    }
}
