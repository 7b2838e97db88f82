//! Clients that do what none should: they get nothing by it, and others are served meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::http;
use crate::node::{DEADLINE, Node};

/// Connections that do nothing, more than there are threads or places for pages.
const CROWD: usize = 200;

fn is_well(node: &Node) {
    assert!(node.page("/metrics").contains("\nrabbitmq_identity_info{"));
}

/// What the node says to this, which ends the connection.
fn answer_to(node: &Node, octets: &[u8]) -> String {
    let mut stream = http::connect(node.metrics);
    // It may close before it has read everything.
    let _ = stream.write_all(octets);
    String::from_utf8_lossy(&http::rest(&mut stream)).into_owned()
}

#[test]
fn a_head_that_does_not_end_is_refused() {
    let node = Node::start("");
    let mut huge = b"GET /metrics HTTP/1.1\r\nhost: node\r\nx: ".to_vec();
    huge.resize(1024 * 1024, b'x');
    let answer = answer_to(&node, &huge);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(5000));
    let answer = answer_to(&node, many.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let path = format!("GET /metrics/{} HTTP/1.1\r\nhost: node\r\n\r\n", "y".repeat(512 * 1024));
    let answer = answer_to(&node, path.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    is_well(&node);
}

#[test]
fn what_is_no_http_is_refused() {
    let node = Node::start("");
    for octets in [
        &b"AMQP\0\0\x09\x01"[..],
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\r\n\r\n\r\n \r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics\r\n\r\n",
    ] {
        let mut stream = http::connect(node.metrics);
        stream.write_all(octets).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = String::from_utf8_lossy(&http::rest(&mut stream)).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{octets:?}: {answer}");
    }
    is_well(&node);
}

#[test]
fn who_does_not_say_what_it_wants_is_sent_away() {
    let node = Node::start("prometheus.tcp.idle_timeout = 300");
    for octets in [&b""[..], b"GET /metr", b"GET /metrics HTTP/1.1\r\nhost: no"] {
        let mut stream = http::connect(node.metrics);
        stream.write_all(octets).unwrap();
        let answer = http::rest(&mut stream);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{octets:?}: {answer:?}");
    }
    // Nor does it help to say it octet by octet.
    let mut stream = http::connect(node.metrics);
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let octets = b"GET /metrics HTTP/1.1\r\nhost: node\r\nx: y\r\n".iter().cycle();
    let begin = Instant::now();
    for octet in octets {
        assert!(begin.elapsed() < DEADLINE, "it is let go on");
        let is_sent = stream.write_all(&[*octet]).is_ok();
        let says_nothing = stream.read(&mut [0; 64]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        if !is_sent || !says_nothing {
            break;
        }
    }
    is_well(&node);
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let node = Node::start("");
    let crowd: Vec<TcpStream> = (0..CROWD)
        .map(|number| {
            let mut stream = http::connect(node.metrics);
            stream.write_all(&b"GET /metrics HTTP/1.1\r\n"[..number % 20]).unwrap();
            stream
        })
        .collect();
    is_well(&node);
    drop(crowd);
    is_well(&node);
}

#[test]
fn who_asks_and_does_not_read_keeps_nobody_out() {
    let node = Node::start("");
    let mut crowd: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = http::connect(node.metrics);
            // Many answers that nobody reads.
            stream.write_all("GET /metrics/per-object HTTP/1.1\r\nhost: node\r\n\r\n".repeat(500).as_bytes()).unwrap();
            stream
        })
        .collect();
    is_well(&node);
    // What they asked for is there all the same.
    let mut beginning = [0; 15];
    crowd[0].read_exact(&mut beginning).unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200 OK");
    drop(crowd);
    is_well(&node);
}

#[test]
fn who_is_gone_before_the_answer_leaves_nothing_behind() {
    let node = Node::start("");
    for _ in 0..100 {
        let mut stream = http::connect(node.metrics);
        stream.write_all(b"GET /metrics/per-object HTTP/1.1\r\nhost: node\r\n\r\n").unwrap();
    }
    is_well(&node);
}

#[test]
fn a_body_that_nobody_wants_does_no_harm() {
    let node = Node::start("");
    let answer = node.ask("GET", "/metrics", &["content-length: 0"]);
    assert_eq!(answer.status, 200);
    let octets = b"POST /metrics HTTP/1.1\r\nhost: node\r\ncontent-length: 1000000000\r\nconnection: close\r\n\r\nxx";
    assert!(answer_to(&node, octets).starts_with("HTTP/1.1 405 "));
    is_well(&node);
}
