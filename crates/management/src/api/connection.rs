//! A connection from the network: how long its client may take for what.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Either;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use leveret_broker::access::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::Api;
use crate::control::{Control, Gate};

/// How long a client may take from the first octet of a request's head to the last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Octets that the head of a request may have.
const HEADERS_MAX: usize = 64 * 1024;
/// Headers that a request may have.
const HEADER_COUNT_MAX: usize = 100;
/// What the paths of the tools' operations begin with.
const CONTROL: &str = "/control/";

/// Serves a connection from the network until its client has no more to ask, or until `end`: then it is answered what it has asked.
/// What begins with `/control/` is for the tools.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    api: Arc<Api>,
    control: Arc<Control>,
    end: impl Future<Output = ()>,
) {
    let gate = Gate::Network(peer.clone());
    let at_work = AtomicBool::new(false);
    let stream = Impatient { stream, at_work: &at_work, idle: api.settings().idle_timeout, until: Until::Start };
    let (peer, gate, api, control, at_work) = (&peer, &gate, &api, &control, &at_work);
    let service = service_fn(|request: Request<Incoming>| async move {
        at_work.store(true, Ordering::Relaxed);
        let response = if request.uri().path().starts_with(CONTROL) {
            control.answer(gate, request).await.map(|body| match body {
                Either::Left(whole) => Either::Left(whole),
                Either::Right(lines) => Either::Right(Either::Right(lines)),
            })
        } else {
            api.answer(peer, request).await
        };
        at_work.store(false, Ordering::Relaxed);
        Ok::<_, Infallible>(response)
    });
    let mut builder = http1::Builder::new();
    // A client that is done with its requests may still read the answers.
    builder.half_close(true).max_buf_size(HEADERS_MAX).max_headers(HEADER_COUNT_MAX).header_read_timeout(None);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = end => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("management connection failed: {error}");
    }
}

/// A stream that fails once its client takes too long to say what it wants.
struct Impatient<'a, S> {
    stream: S,
    /// Whether a request is at work. Whoever reads its body has a limit of their own.
    at_work: &'a AtomicBool,
    /// How long there may be no request.
    idle: Option<Duration>,
    until: Until,
}

/// Until when the client has to say something.
enum Until {
    /// Nobody has waited yet.
    Start,
    /// The next request has to begin.
    Begun(Pin<Box<Sleep>>),
    /// It has begun, and has to be whole.
    Whole(Pin<Box<Sleep>>),
}

impl<S> Impatient<'_, S> {
    /// Waits for the client, but not for ever.
    fn wait(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let (Until::Start, Some(idle)) = (&self.until, self.idle) {
            self.until = Until::Begun(Box::pin(sleep(idle)));
        }
        match &mut self.until {
            Until::Start => Poll::Pending,
            Until::Begun(until) | Until::Whole(until) => {
                until.as_mut().poll(task).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// The client has said something.
    fn heard(&mut self) {
        match &mut self.until {
            Until::Start => self.until = Until::Whole(Box::pin(sleep(HEAD_TIMEOUT))),
            Until::Begun(until) => {
                until.as_mut().reset(Instant::now() + HEAD_TIMEOUT);
                if let Until::Begun(until) = std::mem::replace(&mut self.until, Until::Start) {
                    self.until = Until::Whole(until);
                }
            }
            Until::Whole(_) => {}
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(task, to);
        if self.at_work.load(Ordering::Relaxed) {
            self.until = Until::Start;
            return read;
        }
        match read {
            Poll::Pending => self.wait(task),
            Poll::Ready(Ok(())) if to.filled().len() > before => {
                self.heard();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(read) => Poll::Ready(read),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        // An answer goes out: the next request may come.
        self.until = Until::Start;
        Pin::new(&mut self.stream).poll_write(task, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
