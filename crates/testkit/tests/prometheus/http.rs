//! As much of an HTTP client as is needed.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::node::DEADLINE;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn read(octets: &[u8], has_body: bool) -> Self {
        let end =
            octets.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {octets:?}"));
        let head = std::str::from_utf8(&octets[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let mut answer = Self { status, headers, body: Vec::new() };
        let rest = &octets[end + 4..];
        answer.body = if has_body && answer.header("transfer-encoding") == Some("chunked") {
            unchunk(rest)
        } else {
            rest.to_vec()
        };
        answer
    }
}

/// Puts together what comes in chunks; panics if the last one is missing.
fn unchunk(mut octets: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end =
            octets.windows(2).position(|two| two == b"\r\n").unwrap_or_else(|| panic!("the answer was broken off"));
        let length = usize::from_str_radix(std::str::from_utf8(&octets[..end]).unwrap(), 16).unwrap();
        octets = &octets[end + 2..];
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&octets[..length]);
        octets = &octets[length + 2..];
    }
}

/// A connection on which nothing was said yet.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Asks, and reads all of the answer.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Answer {
    let mut stream = connect(address);
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n");
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    Answer::read(&octets, method != "HEAD")
}

/// Reads until the other end closes; what it said until then, and whether it closed without being asked to read on.
pub(crate) fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    match stream.read_to_end(&mut octets) {
        Ok(_) => octets,
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => octets,
        Err(error) => panic!("the connection is not closed: {error}"),
    }
}
