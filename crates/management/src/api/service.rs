//! From a request to its answer.

use std::cell::RefCell;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use leveret_broker::access::{Identity, Peer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::access::{self, Credentials};
use super::answer::Body;
use super::query::Query;
use super::reply::{Head, Pieces, Reply};
use super::router::{Parts, Router};
use super::{Access, Answer, ApiSettings, Ask, Failure, Operation};
use crate::control::{Control, Gate, Lines};
use crate::{App, Host};

/// Requests at work at the same time; others wait.
const AT_ONCE: usize = 32;
/// How long a client may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to send the next part of its request.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets that the head of a request may have.
const HEADERS_MAX: usize = 64 * 1024;
/// Octets that are made room for before they have come.
const ROOM_MAX: usize = 64 * 1024;
/// What the paths of the tools' operations begin with.
const CONTROL: &str = "/control/";

/// The HTTP API; one for all its listeners.
#[derive(Debug)]
pub struct Api {
    host: Arc<dyn Host>,
    settings: ApiSettings,
    router: Router,
    permits: Arc<Semaphore>,
}

/// The body of an answer: whole, or as it comes.
pub type AnswerBody = Either<Full<Bytes>, Either<Pieces, Lines>>;

impl Api {
    /// The API of a process.
    pub fn new(host: Arc<dyn Host>, settings: ApiSettings) -> Self {
        Self { host, settings, router: Router::new(), permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Answers a request.
    pub async fn answer(&self, peer: &Peer, request: Request<Incoming>) -> Response<AnswerBody> {
        let response = self.respond(peer, request).await.unwrap_or_else(|failure| whole(failure.into()));
        self.finish(response)
    }

    async fn respond(&self, peer: &Peer, request: Request<Incoming>) -> Result<Response<AnswerBody>, Failure> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().strip_prefix(self.settings.path_prefix.as_str()).ok_or_else(Failure::not_found)?;
        let (route, parts) = self.router.find(path).ok_or_else(Failure::not_found)?;
        let method = if head.method == Method::HEAD { &Method::GET } else { &head.method };
        let Some(operation) = route.operations.iter().find(|operation| operation.method == *method) else {
            return Ok(other_method(&head.method, route.operations));
        };
        let app = self.host.app().ok_or_else(|| Failure::unavailable("the broker is stopped"))?;
        let user = match operation.access {
            Access::Anybody => None,
            _ => Some(self.admit(operation, &head.headers, peer, &app).await?),
        };
        let body = self.read(body).await?;
        self.run(operation, &head.headers, head.uri.query(), Asked { app, user, parts, body }).await
    }

    /// Finds out who is asking, and whether the tags of that user are enough.
    async fn admit(
        &self,
        operation: &Operation,
        headers: &HeaderMap,
        peer: &Peer,
        app: &App,
    ) -> Result<Identity, Failure> {
        let credentials = headers.get(AUTHORIZATION).and_then(|header| Credentials::read(header.as_bytes()));
        let credentials = match credentials {
            Some(Credentials::Basic(..)) if !self.settings.basic_auth => None,
            credentials => credentials,
        };
        let credentials = credentials.ok_or_else(|| Failure::not_authorized("Login failed"))?;
        let user = credentials.check(&app.logins, peer).await.map_err(|reason| {
            tracing::warn!("HTTP access denied: {reason}");
            Failure::not_authorized("Login failed")
        })?;
        if !access::may_manage(&user) {
            tracing::warn!("HTTP access denied: user '{}' - Not management user", user.name);
            return Err(Failure::not_authorized("Not management user"));
        }
        if !operation.access.tags_suffice(&user) {
            return Err(Failure::not_authorized(needed(operation.access)));
        }
        Ok(user)
    }

    /// Reads a body.
    async fn read(&self, body: Incoming) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let max = usize::try_from(self.settings.body_max).unwrap_or(usize::MAX);
        let too_large = || {
            Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                format!("the body is larger than {max} bytes"),
            )
        };
        let mut body = pin!(Limited::new(body, max));
        // With all the room it needs, nothing of it is left elsewhere. Nobody gets more of it for a promise than for the body itself.
        let room = usize::try_from(body.size_hint().lower()).unwrap_or(max).min(ROOM_MAX);
        let mut octets = Zeroizing::new(Vec::with_capacity(room));
        loop {
            match timeout(BODY_TIMEOUT, body.frame()).await {
                Ok(Some(Ok(frame))) => octets.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Ok(Some(Err(error))) if error.is::<http_body_util::LengthLimitError>() => return Err(too_large()),
                Ok(Some(Err(error))) => return Err(Failure::bad_request(error.to_string())),
                Ok(None) => return Ok(octets),
                Err(_) => return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body takes too long")),
            }
        }
    }

    /// Has a handler run on a thread that may wait.
    async fn run(
        &self,
        operation: &'static Operation,
        headers: &HeaderMap,
        query: Option<&str>,
        asked: Asked,
    ) -> Result<Response<AnswerBody>, Failure> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Failure::unavailable("the node is about to stop"))?;
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let reason = text(&HeaderName::from_static("x-reason"));
        let (content_type, known_tag) = (text(&CONTENT_TYPE), text(&IF_NONE_MATCH));
        let (reply, head, pieces) = Reply::new(takes_gzip(headers));
        let query = Query::read(query);
        let host = Arc::clone(&self.host);
        tokio::task::spawn_blocking(move || {
            let Asked { app, user, parts, body } = asked;
            let reply = RefCell::new(reply);
            let ask = Ask { host: &*host, app, user, parts, query, body, content_type, reason, reply };
            let result = ask.admit(operation).and_then(|()| (operation.run)(&ask));
            let mut reply = ask.reply.into_inner();
            match result {
                Ok(Answer { body: Body::Sent, .. }) => {}
                Err(_) if reply.has_begun() => reply.break_off(),
                Ok(answer) => reply.send(head_of(answer, known_tag.as_deref())),
                Err(failure) => reply.send(head_of(failure.into(), None)),
            }
            drop(permit);
        });
        // Nothing comes if the handler panicked, which is written to the log.
        let Head { status, headers, body } = head.await.map_err(|_| Failure::failed("see the log of the node"))?;
        let body = match body {
            Some(body) => Either::Left(Full::from(body)),
            None => Either::Right(Either::Left(pieces)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().extend(headers);
        Ok(response)
    }

    /// Adds what every answer has.
    fn finish(&self, mut response: Response<AnswerBody>) -> Response<AnswerBody> {
        let headers = response.headers_mut();
        for (name, value) in &self.settings.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// What is needed of a request, but for what its operation says.
struct Asked {
    app: App,
    user: Option<Identity>,
    parts: Parts,
    body: Zeroizing<Vec<u8>>,
}

/// What is told to users who have one of the tags but not the right one.
const fn needed(access: Access) -> &'static str {
    match access {
        Access::Policymaker => "User not authorised to access object",
        Access::Monitoring => "Not monitor user",
        Access::Administrator => "Not administrator user",
        Access::Anybody | Access::Management | Access::Vhost | Access::VisibleVhost | Access::Myself => {
            "Not management user"
        }
    }
}

/// Whether a client takes gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    listed.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"))
            && parts.all(|part| part.strip_prefix("q=").is_none_or(|weight| weight.parse::<f32>() != Ok(0.0)))
    })
}

/// The answer to a method that a path does not have.
fn other_method(method: &Method, operations: &[Operation]) -> Response<AnswerBody> {
    let mut known: Vec<&str> = operations.iter().map(|operation| operation.method.as_str()).collect();
    if known.contains(&"GET") {
        known.insert(0, "HEAD");
    }
    known.push("OPTIONS");
    let allow = known.join(", ");
    let answer = if *method == Method::OPTIONS {
        Answer::done().status(StatusCode::OK)
    } else {
        Failure::method_not_allowed("Method Not Allowed").into()
    };
    whole(answer.header(ALLOW, &allow))
}

/// An answer that is there as a whole.
fn whole(answer: Answer) -> Response<AnswerBody> {
    let is_unauthorized = answer.status == StatusCode::UNAUTHORIZED;
    let Head { status, headers, body } = head_of(answer, None);
    let mut response = Response::new(Either::Left(Full::from(body.unwrap_or_default())));
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    if is_unauthorized {
        let realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, realm);
    }
    response
}

fn head_of(answer: Answer, known_tag: Option<&str>) -> Head {
    let Answer { status, mut headers, body, is_tagged } = answer;
    let (kind, octets) = match body {
        Body::Text { kind, octets } => (kind, octets),
        Body::Empty | Body::Sent => return Head { status, headers, body: Some(Bytes::new()) },
    };
    headers.push((CONTENT_TYPE, HeaderValue::from_static(kind)));
    if is_tagged {
        let mut hasher = DefaultHasher::new();
        octets.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let is_known = known_tag.is_some_and(|known| known.split(',').any(|known| known.trim() == tag || known == "*"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.push((ETAG, tag));
        }
        if is_known {
            return Head { status: StatusCode::NOT_MODIFIED, headers, body: Some(Bytes::new()) };
        }
    }
    Head { status, headers, body: Some(octets) }
}

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
    let (peer, gate, api, control) = (&peer, &gate, &api, &control);
    let service = service_fn(|request: Request<Incoming>| async move {
        let response = if request.uri().path().starts_with(CONTROL) {
            control.answer(gate, request).await.map(|body| match body {
                Either::Left(whole) => Either::Left(whole),
                Either::Right(lines) => Either::Right(Either::Right(lines)),
            })
        } else {
            api.answer(peer, request).await
        };
        Ok::<_, Infallible>(response)
    });
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
        tracing::debug!("management connection failed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_by_who_says_so() {
        for (accepted, expected) in [
            ("gzip, deflate", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("deflate", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(takes_gzip(&headers), expected, "{accepted}");
        }
    }

    #[test]
    fn what_a_client_has_already_is_not_sent_again() {
        let answer = || Answer::text("text/plain", "abc").tagged();
        let first = head_of(answer(), None);
        let tag = first.headers.iter().find(|(name, _)| *name == ETAG).unwrap().1.to_str().unwrap().to_owned();
        assert_eq!(first.body.unwrap(), "abc");
        for (known, status) in [(tag.as_str(), StatusCode::NOT_MODIFIED), ("\"other\"", StatusCode::OK)] {
            assert_eq!(head_of(answer(), Some(known)).status, status, "{known}");
        }
    }
}
