//! A request over a connection of its own, and its answer as it came.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::script::Request;

/// Far beyond what any answer takes.
const DEADLINE: Duration = Duration::from_mins(1);

/// An answer; names of headers are in lower case.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Asks `address` and waits for the whole answer.
pub(crate) fn ask(address: &str, request: &Request) -> Result<Reply, String> {
    exchange(address, request).map_err(|error| format!("{} {}: {error}", request.method, request.path))
}

fn exchange(address: &str, request: &Request) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let body = request.body.as_deref().unwrap_or_default();
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n", request.method, request.path);
    for (name, value) in &request.headers {
        head = head + name + ": " + value + "\r\n";
    }
    if request.body.is_some() {
        let _ = write!(head, "Content-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets)?;
    Ok(parse(&octets).unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(&octets))))
}

fn parse(octets: &[u8]) -> Option<Reply> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(octets.get(..end)?).into_owned();
    let rest = octets.get(end + 4..)?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { chunks(rest)? } else { rest.to_vec() };
    Some(Reply { status, headers, body })
}

/// The octets of all chunks.
fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..end)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 4 + size..)?;
    }
}

#[test]
fn an_answer_is_read_whole_or_in_chunks() {
    for (octets, body) in [
        (&b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"[..], "body"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
            "abc0123456789",
        ),
    ] {
        let reply = parse(octets).unwrap();
        assert_eq!((reply.status, String::from_utf8(reply.body).unwrap().as_str()), (200, body));
    }
    assert!(parse(b"HTTP/1.1 200").is_none());
}
