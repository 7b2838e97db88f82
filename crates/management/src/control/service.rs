//! The service over a connection, whatever carries it.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::gate::Refusal;
use super::{Call, Failure, Gate, Kind, Operation, operations};
use crate::Host;

/// Largest request, in octets: definitions of a large broker fit in.
const REQUEST_MAX: usize = 512 * 1024 * 1024;
/// Operations at work at the same time; others wait.
const AT_ONCE: usize = 64;
/// Operations that only wait for something, at the same time. They have places of their own, so that however many follow the log,
/// the node can still be stopped.
const WAITING_AT_ONCE: usize = 64;
/// Chunks of an answer that wait to be sent.
const CHUNKS: usize = 16;
/// How long a client may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to send the next part of its request.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets that the head of a request may have.
const HEADERS_MAX: usize = 64 * 1024;
/// What the paths of operations begin with.
const PREFIX: &str = "/control/";

/// The service; one for all connections.
#[derive(Debug)]
pub struct Control {
    host: Arc<dyn Host>,
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

type Answer = Response<Either<Full<Bytes>, Lines>>;

impl Control {
    /// The service of a process.
    pub fn new(host: Arc<dyn Host>) -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self { host, permits: permits(AT_ONCE), waiting: permits(WAITING_AT_ONCE) }
    }

    /// Answers a request.
    pub async fn answer(&self, gate: &Gate, request: Request<Incoming>) -> Answer {
        let Some(name) = request.uri().path().strip_prefix(PREFIX) else {
            return refuse(StatusCode::NOT_FOUND, Kind::Usage, "there is nothing here");
        };
        if request.method() != Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, Kind::Usage, "operations are asked for with POST");
        }
        // A page in somebody's browser may pass for one of ours if its name is made to mean this machine; browsers say where it is from.
        if request.headers().contains_key(ORIGIN) {
            return refuse(StatusCode::FORBIDDEN, Kind::Denied, "pages in browsers may not ask for operations");
        }
        // Without that, it cannot send this without asking first, which nobody answers.
        if request.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
            return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, Kind::Usage, "arguments have to be application/json");
        }
        let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let logins = self.host.app().map(|app| app.logins);
        if let Err(refusal) = gate.check(authorization, logins.as_deref()).await {
            return turned_away(refusal);
        }
        let Some(operation) = operations::find(name) else {
            let text = format!("the node does not know the operation {name}; its version may be another one");
            return refuse(StatusCode::NOT_FOUND, Kind::Usage, &text);
        };
        let body = match read(request.into_body()).await {
            Ok(body) => body,
            Err(reason) => {
                return refuse(StatusCode::BAD_REQUEST, Kind::Data, &format!("the request cannot be read: {reason}"));
            }
        };
        match serde_json::from_slice(&body) {
            Ok(Value::Object(arguments)) => self.start(operation, arguments).await,
            Ok(_) => refuse(StatusCode::BAD_REQUEST, Kind::Data, "arguments have to be a JSON object"),
            Err(error) => refuse(StatusCode::BAD_REQUEST, Kind::Data, &format!("the arguments are no JSON: {error}")),
        }
    }

    /// Has an operation done on a thread that may wait.
    async fn start(&self, operation: &'static Operation, arguments: Map<String, Value>) -> Answer {
        let permit = if operation.waits() {
            // Nobody knows when those that are there will have enough.
            Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| "too many wait for the node or follow its log")
        } else {
            Arc::clone(&self.permits).acquire_owned().await.map_err(|_| "the node is about to stop")
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(reason) => return refuse(StatusCode::SERVICE_UNAVAILABLE, Kind::Temporary, reason),
        };
        let (to, lines) = mpsc::channel(CHUNKS);
        let host = Arc::clone(&self.host);
        tokio::task::spawn_blocking(move || {
            let call = Call::new(&*host, arguments, to);
            let result = (operation.run)(&call);
            call.finish(result);
            drop(permit);
        });
        let mut response = Response::new(Either::Right(Lines(lines)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        response
    }
}

/// Serves a connection until its client has no more to ask, or until `end`: then it is answered what it has asked.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    gate: Gate,
    control: Arc<Control>,
    end: impl Future<Output = ()>,
) {
    let (gate, control) = (&gate, &control);
    let service = service_fn(|request| async move { Ok::<_, Infallible>(control.answer(gate, request).await) });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADERS_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = end => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("control connection failed: {error}");
    }
}

/// Reads the body of a request; the reason if it is too long, or a part of it too long in coming.
async fn read(body: Incoming) -> Result<Bytes, String> {
    let mut body = pin!(Limited::new(body, REQUEST_MAX));
    let mut octets = Vec::new();
    loop {
        match timeout(BODY_TIMEOUT, body.frame()).await {
            Ok(Some(Ok(frame))) => octets.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Ok(Some(Err(error))) => return Err(error.to_string()),
            Ok(None) => return Ok(octets.into()),
            Err(_) => return Err("its body takes too long".into()),
        }
    }
}

fn turned_away(refusal: Refusal) -> Answer {
    let (status, text) = match refusal {
        Refusal::Unknown => (StatusCode::UNAUTHORIZED, "wrong user name or password, or the broker is stopped"),
        Refusal::NoAdministrator => (StatusCode::FORBIDDEN, "only users with the tag administrator may do this"),
    };
    let mut response = refuse(status, Kind::Denied, text);
    if refusal == Refusal::Unknown {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Leveret\""));
    }
    response
}

fn refuse(status: StatusCode, kind: Kind, text: &str) -> Answer {
    let Failure { kind, text } = Failure::new(kind, text);
    let line = format!("{}\n", json!({ "error": { "kind": kind.name(), "text": text } }));
    let mut response = Response::new(Either::Left(Full::from(line)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

/// The lines of an answer, as they come.
#[derive(Debug)]
pub struct Lines(mpsc::Receiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
