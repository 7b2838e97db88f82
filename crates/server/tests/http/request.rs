//! The smallest HTTP client: it sends what it is told to, and reads whole answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::process::DEADLINE;

/// guest:guest
pub(crate) const GUEST: &str = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends one request over a connection of its own.
pub(crate) fn ask(address: SocketAddr, line: &str, headers: &[&str], body: &str) -> Answer {
    let mut stream = connect(address);
    stream.write_all(request(line, headers, body).as_bytes()).unwrap();
    read(&mut BufReader::new(stream), line.starts_with("HEAD")).unwrap_or_else(|| panic!("no answer to {line}"))
}

/// A request such as `GET /api/whoami`.
pub(crate) fn request(line: &str, headers: &[&str], body: &str) -> String {
    let mut lines = vec![format!("{line} HTTP/1.1"), "Host: localhost".to_owned()];
    lines.extend(headers.iter().map(|header| (*header).to_owned()));
    if !body.is_empty() {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    lines.join("\r\n") + "\r\n\r\n" + body
}

/// Reads an answer; none if the connection ends before it.
pub(crate) fn read(from: &mut impl BufRead, is_head: bool) -> Option<Answer> {
    let mut line = String::new();
    if from.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if is_head {
        return Some(answer);
    }
    if let Some(length) = answer.header("content-length") {
        answer.body = vec![0; length.parse().unwrap()];
        from.read_exact(&mut answer.body).ok()?;
    } else if answer.header("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            from.read_line(&mut line).ok()?;
            let length = usize::from_str_radix(line.trim_end(), 16).ok()?;
            let mut chunk = vec![0; length + 2];
            from.read_exact(&mut chunk).ok()?;
            if length == 0 {
                break;
            }
            answer.body.extend_from_slice(&chunk[..length]);
        }
    }
    Some(answer)
}
