//! Octets on their way to a socket.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// Room that the buffer of a connection keeps when nothing is in it, in octets.
const KEPT: usize = 64 * 1024;

/// What could not be written yet.
#[derive(Debug, Default)]
pub(crate) struct Output {
    octets: Vec<u8>,
    written: usize,
}

impl Output {
    /// Octets waiting.
    pub(crate) fn len(&self) -> usize {
        self.octets.len() - self.written
    }

    /// Writes what waits and then `fresh`, as much as the socket takes, and keeps the rest. Says how many octets went out;
    /// when something is left, the task is woken once the socket takes more.
    pub(crate) fn write(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        fresh: &[u8],
    ) -> std::io::Result<usize> {
        let mut total = 0;
        if self.len() == 0 {
            let written = write_some(stream, cx, fresh)?;
            total += written;
            self.octets.clear();
            self.written = 0;
            self.octets.extend_from_slice(fresh.get(written..).unwrap_or_default());
        } else {
            self.octets.extend_from_slice(fresh);
            let waiting = self.octets.get(self.written..).unwrap_or_default();
            let written = write_some(stream, cx, waiting)?;
            total += written;
            self.written += written;
            if self.len() == 0 {
                self.octets.clear();
                self.written = 0;
            } else if self.written > self.octets.len() / 2 {
                self.octets.drain(..self.written);
                self.written = 0;
            }
        }
        if self.octets.is_empty() && self.octets.capacity() > KEPT {
            self.octets = Vec::new();
        }
        Ok(total)
    }
}

/// Writes until everything is out or the socket is full.
fn write_some(stream: &mut TcpStream, cx: &mut Context<'_>, octets: &[u8]) -> std::io::Result<usize> {
    let mut total = 0;
    while let Some(rest) = octets.get(total..).filter(|rest| !rest.is_empty()) {
        match Pin::new(&mut *stream).poll_write(cx, rest) {
            Poll::Ready(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(written)) => total += written,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(total)
}
