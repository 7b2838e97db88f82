//! The pages over HTTP.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use leveret_broker::access::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Collector, Page, PrometheusSettings};
use crate::api::{Credentials, Head, Pieces, Reply, may_monitor, takes_gzip};
use crate::{App, Host};

/// Pages that are made at the same time; each has a thread and takes memory. Others wait.
const AT_ONCE: usize = 8;
/// How long they do.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets that the head of a request may have.
const HEADERS_MAX: usize = 16 * 1024;
/// What pages are.
const KIND: &str = "text/plain; version=0.0.4";

/// The body of an answer: whole, or as it comes.
type AnswerBody = Either<Full<Bytes>, Pieces>;

/// The pages of metrics; one for all their listeners.
#[derive(Debug)]
pub struct Exporter {
    host: Arc<dyn Host>,
    settings: PrometheusSettings,
    permits: Arc<Semaphore>,
}

impl Exporter {
    /// The pages of a process.
    pub fn new(host: Arc<dyn Host>, settings: PrometheusSettings) -> Self {
        Self { host, settings, permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Answers a request.
    async fn answer(&self, peer: &Peer, request: Request<Incoming>) -> Response<AnswerBody> {
        self.respond(peer, &request).await.unwrap_or_else(|refusal| refusal)
    }

    async fn respond(
        &self,
        peer: &Peer,
        request: &Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Response<AnswerBody>> {
        let rest = request.uri().path().strip_prefix(self.settings.path.trim_end_matches('/'));
        let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
            return Err(not_found("application/json", "{\"error\":\"Object Not Found\",\"reason\":\"Not Found\"}"));
        };
        let first = if self.settings.per_object { Page::PerObject } else { Page::Aggregated };
        let page = Page::find(rest, request.uri().query(), &first);
        let page = page.ok_or_else(|| not_found("text/plain", "Unknown Registry"))?;
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let is_question = request.method() == Method::OPTIONS;
            let status = if is_question { StatusCode::OK } else { StatusCode::METHOD_NOT_ALLOWED };
            let mut response = whole(status, "text/plain", "");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("HEAD, GET, OPTIONS"));
            return Err(response);
        }
        let unavailable = |text| {
            let mut response = whole(StatusCode::SERVICE_UNAVAILABLE, "text/plain", text);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
            response
        };
        let app = self.host.app().ok_or_else(|| unavailable("the broker is stopped\n"))?;
        if self.settings.authentication {
            self.admit(peer, request.headers(), &app).await?;
        }
        if request.method() == Method::HEAD {
            return Ok(whole(StatusCode::OK, KIND, ""));
        }
        let permit = timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok);
        let permit = permit.ok_or_else(|| unavailable("too many ask for metrics at the same time\n"))?;
        let (mut reply, head, pieces) = Reply::new(takes_gzip(request.headers()));
        let host = Arc::clone(&self.host);
        tokio::task::spawn_blocking(move || {
            let collector = Collector::new(&*host, &app);
            let written = collector.write(&page, reply.begin(KIND));
            // Whoever asked may be gone.
            if let Err(error) = written.and_then(crate::api::Stream::finish) {
                tracing::debug!("a page of metrics was not sent: {error}");
                reply.break_off();
            }
            drop(permit);
        });
        // Nothing comes if the thread panicked, which is written to the log.
        let Head { status, headers, .. } = head
            .await
            .map_err(|_| whole(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "see the log of the node\n"))?;
        let mut response = Response::new(Either::Right(pieces));
        *response.status_mut() = status;
        response.headers_mut().extend(headers);
        Ok(response)
    }

    /// Lets in who may monitor the node.
    async fn admit(&self, peer: &Peer, headers: &HeaderMap, app: &App) -> Result<(), Response<AnswerBody>> {
        let refused = |reason: &str| {
            let mut response = whole(StatusCode::UNAUTHORIZED, "text/plain", &format!("{reason}\n"));
            let realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Prometheus\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, realm);
            response
        };
        let credentials = headers.get(AUTHORIZATION).and_then(|header| Credentials::read(header.as_bytes()));
        let credentials = credentials.ok_or_else(|| refused("Login failed"))?;
        let user = credentials.check(&app.logins, peer).await.map_err(|reason| {
            tracing::warn!("HTTP access denied: {reason}");
            refused("Login failed")
        })?;
        if may_monitor(&user) {
            return Ok(());
        }
        tracing::warn!("HTTP access denied: user '{}' - Not monitor user", user.name);
        Err(refused("Not monitor user"))
    }
}

/// Serves a connection until its client has no more to ask, or until `end`: then it is answered what it has asked.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    exporter: Arc<Exporter>,
    end: impl Future<Output = ()>,
) {
    let idle = exporter.settings.idle_timeout_ms.map(Duration::from_millis);
    let (peer, exporter) = (&peer, &exporter);
    let service = service_fn(|request| async move { Ok::<_, Infallible>(exporter.answer(peer, request).await) });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(HEADERS_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = end => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("connection for metrics failed: {error}");
    }
}

fn not_found(kind: &'static str, text: &str) -> Response<AnswerBody> {
    whole(StatusCode::NOT_FOUND, kind, text)
}

/// An answer that is there as a whole.
fn whole(status: StatusCode, kind: &'static str, text: &str) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Left(Full::from(text.to_owned())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
