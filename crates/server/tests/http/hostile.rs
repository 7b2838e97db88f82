//! Clients that do what none should. Others are served meanwhile, over HTTP and AMQP.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::client::Client;
use crate::process::{DEADLINE, Process, eventually};
use crate::request::{GUEST, ask, connect, read};
use crate::{start, start_with};

/// Whether somebody else is served.
fn is_served(process: &Process, address: SocketAddr) {
    assert_eq!(ask(address, "GET /api/whoami", &[GUEST], "").status, 200);
    Client::open_channel(process.amqp());
}

/// Waits until the broker hangs up, and gives what it said before.
fn last_words(stream: &mut TcpStream) -> String {
    let mut words = Vec::new();
    match stream.read_to_end(&mut words) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it does not hang up: {error}"),
    }
    String::from_utf8(words).unwrap()
}

#[test]
fn who_takes_too_long_is_hung_up_on() {
    let (_folder, process, address) = start_with("management.tcp.idle_timeout = 500\n");
    let mut silent = connect(address);
    let mut slow_head = connect(address);
    slow_head.write_all(b"GET /api/whoami HTTP/1.1\r\nHost:").unwrap();
    let mut slow_body = connect(address);
    let head = format!("PUT /api/cluster-name HTTP/1.1\r\nHost: x\r\n{GUEST}\r\nContent-Length: 50\r\n\r\n{{");
    slow_body.write_all(head.as_bytes()).unwrap();
    let mut done = connect(address);
    done.write_all(format!("GET /api/whoami HTTP/1.1\r\nHost: x\r\n{GUEST}\r\n\r\n").as_bytes()).unwrap();
    is_served(&process, address);
    assert_eq!(last_words(&mut silent), "");
    assert!(last_words(&mut slow_body).starts_with("HTTP/1.1 408 "));
    assert!(last_words(&mut done).starts_with("HTTP/1.1 200 "));
    assert_eq!(last_words(&mut slow_head), "");
    is_served(&process, address);
}

#[test]
fn a_head_without_end_is_refused() {
    let (_folder, process, address) = start();
    let long = format!("GET /api/whoami HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(200_000));
    let lines = "X-More: y\r\n".repeat(500);
    let many = format!("GET /api/whoami HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    for (head, expected) in
        [(long, "HTTP/1.1 431 "), (many, "HTTP/1.1 431 "), ("\0\u{1}\r\n\r\n".to_owned(), "HTTP/1.1 400 ")]
    {
        let mut stream = connect(address);
        // It may hang up before all of it was sent.
        let _ = stream.write_all(head.as_bytes());
        let words = last_words(&mut stream);
        assert!(words.is_empty() || words.starts_with(expected), "{words}");
    }
    is_served(&process, address);
}

#[test]
fn a_body_without_end_is_refused() {
    let (_folder, process, address) = start_with("management.http.max_body_size = 100000\n");
    let mut stream = connect(address);
    let head = "PUT /api/cluster-name HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n";
    stream.write_all(format!("{head}{GUEST}\r\n\r\n").as_bytes()).unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    while stream.write_all(chunk.as_bytes()).is_ok() {
        is_served(&process, address);
    }
    // Nobody reads the rest of it.
    let mut unknown = connect(address);
    let large = "POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n";
    unknown.write_all(large.as_bytes()).unwrap();
    assert_eq!(read(&mut BufReader::new(unknown), false).unwrap().status, 413);
    is_served(&process, address);
}

#[test]
fn nobody_takes_all_the_connections() {
    const CONNECTIONS: usize = 2_000;
    let folder = crate::process::folder();
    let variables = [("LEVERET_MANAGEMENT_LISTEN", "[::]:0")];
    let process = Process::start_with(folder.path(), &["--listen", "127.0.0.1:0"], &variables);
    let port = process.done("listeners").rows.iter().find(|row| row["protocol"] == "http").unwrap()["port"].clone();
    let port = u16::try_from(port.as_u64().unwrap()).unwrap();
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        // Those beyond what one address may have are hung up on.
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            idle.push(stream);
        }
        let gone = idle.iter().rev().take(1).filter(|stream| is_gone(stream)).count();
        idle.truncate(idle.len() - gone);
    }
    eventually("some are hung up on", || idle.iter().any(is_gone).then_some(()));
    is_served(&process, SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)));
    drop(idle);
    eventually("there is room again", || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(format!("GET /api/whoami HTTP/1.0\r\n{GUEST}\r\n\r\n").as_bytes()).ok()?;
        read(&mut BufReader::new(stream), false).filter(|answer| answer.status == 200).map(drop)
    });
}

/// Whether the other end has hung up.
fn is_gone(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.peek(&mut [0]) {
        Ok(octets) => octets == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}
