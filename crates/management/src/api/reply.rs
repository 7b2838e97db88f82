//! An answer on its way from the thread of its handler to the connection, at once or piece by piece, compressed if the client likes.

use std::io::{self, Write};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::sync::{mpsc, oneshot};

/// Pieces of an answer that wait to be sent.
pub(crate) const PIECES: usize = 8;
/// Octets that a piece has.
const PIECE: usize = 64 * 1024;
/// Octets of an answer that is worth compressing.
const COMPRESS_MIN: usize = 1024;

/// What an answer begins with. Without a body, pieces follow.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Option<Bytes>,
}

/// Where an answer goes.
#[derive(Debug)]
pub(crate) struct Reply {
    head: Option<oneshot::Sender<Head>>,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    /// Whether the client takes gzip.
    takes_gzip: bool,
}

impl Reply {
    /// The ends of a way: that of the handler, and those of the connection.
    pub(crate) fn new(takes_gzip: bool) -> (Self, oneshot::Receiver<Head>, Pieces) {
        let (to_head, head) = oneshot::channel();
        let (to_pieces, pieces) = mpsc::channel(PIECES);
        (Self { head: Some(to_head), pieces: to_pieces, takes_gzip }, head, Pieces(pieces))
    }

    /// Sends an answer that is there as a whole.
    pub(crate) fn send(&mut self, mut head: Head) {
        if let Some(body) = head.body.as_mut()
            && self.takes_gzip
            && body.len() >= COMPRESS_MIN
        {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            if encoder.write_all(body).is_ok()
                && let Ok(compressed) = encoder.finish()
            {
                *body = compressed.into();
                head.headers.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
            }
        }
        if let Some(to) = self.head.take() {
            // If nobody is left to read it, nobody misses it.
            let _ = to.send(head);
        }
    }

    /// Begins an answer of this type that comes piece by piece.
    pub(crate) fn begin(&mut self, kind: &'static str) -> Stream {
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static(kind))];
        if self.takes_gzip {
            headers.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
        }
        if let Some(to) = self.head.take() {
            let _ = to.send(Head { status: StatusCode::OK, headers, body: None });
        }
        let to = Chunks { to: self.pieces.clone(), chunk: Vec::new() };
        if self.takes_gzip { Stream::Gzip(GzEncoder::new(to, Compression::fast())) } else { Stream::Plain(to) }
    }

    /// Breaks off an answer that was begun, so that the client sees that it is not whole.
    pub(crate) fn break_off(&self) {
        let _ = self.pieces.blocking_send(Err(io::ErrorKind::Interrupted.into()));
    }

    /// Whether it was begun, so that nothing else can be said.
    pub(crate) const fn has_begun(&self) -> bool {
        self.head.is_none()
    }
}

/// An answer that is being sent. Writing fails once nobody waits for it any more.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Chunks),
    Gzip(GzEncoder<Chunks>),
}

impl Stream {
    /// Ends it.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut chunks) => chunks.flush(),
            Self::Gzip(encoder) => encoder.finish()?.flush(),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(chunks) => chunks.write(octets),
            Self::Gzip(encoder) => encoder.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(chunks) => chunks.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }
}

/// Gathers octets to pieces.
#[derive(Debug)]
pub(crate) struct Chunks {
    to: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(octets);
        if self.chunk.len() >= PIECE {
            self.flush()?;
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = mem::replace(&mut self.chunk, Vec::with_capacity(PIECE + PIECE / 4));
        self.to.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The pieces of an answer, as they come.
#[derive(Debug)]
pub struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
