//! From a request to its answer.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::Arc;

use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_NONE_MATCH, LOCATION, VARY, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts as Head1;
use hyper::{Method, Request, Response, StatusCode};
use leveret_broker::access::{Identity, Peer};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::{Zeroize, Zeroizing};

use super::access::{self, Credentials};
use super::answer::{Body, HTML};
use super::cors::Cors;
use super::query::Query;
use super::reply::{Head, Pieces, Reply};
use super::router::{Parts, Router, is_encoded};
use super::{Access, Answer, ApiSettings, Ask, Failure, Operation};
use crate::control::Lines;
use crate::history::{self, Ages, History};
use crate::traces::Traces;
use crate::{App, Host};

/// Requests at work at the same time; others wait.
const AT_ONCE: usize = 32;
/// Octets that are made room for before they have come.
const ROOM_MAX: usize = 64 * 1024;
/// Octets of a body that everybody may send.
const SMALL_BODY_MAX: usize = 1024 * 1024;
/// Larger bodies at the same time; others wait.
const LARGE_AT_ONCE: usize = 4;
/// Octets of a body of who has not logged in.
const UNKNOWN_BODY_MAX: usize = 64 * 1024;
/// Where people begin to read.
const INDEX: &str = "/api/index.html";
/// What depends on what a client asks with.
const VARIES: HeaderValue = HeaderValue::from_static("accept, accept-encoding, origin");
/// The same of an answer that was found before anybody looked at the media types.
const VARIES_LITTLE: HeaderValue = HeaderValue::from_static("origin");

/// The HTTP API; one for all its listeners.
#[derive(Debug)]
pub struct Api {
    host: Arc<dyn Host>,
    settings: Arc<ApiSettings>,
    router: Router,
    permits: Arc<Semaphore>,
    history: Arc<History>,
    traces: Arc<Traces>,
    large: Semaphore,
}

/// The body of an answer: whole, or as it comes.
pub type AnswerBody = Either<Full<Bytes>, Either<Pieces, Lines>>;

impl Api {
    /// The API of a process. From now on, samples of what moves are taken on that runtime.
    pub fn new(host: Arc<dyn Host>, settings: ApiSettings, runtime: &Handle) -> Self {
        let history = history::start(Arc::clone(&host), runtime);
        let (permits, large) = (Arc::new(Semaphore::new(AT_ONCE)), Semaphore::new(LARGE_AT_ONCE));
        Self {
            host,
            settings: Arc::new(settings),
            router: Router::new(),
            permits,
            large,
            history,
            traces: Arc::default(),
        }
    }

    /// What it was told.
    pub(super) fn settings(&self) -> &ApiSettings {
        &self.settings
    }

    /// Answers a request.
    pub async fn answer(&self, peer: &Peer, request: Request<Incoming>) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let cors = Cors::read(&self.settings, &head.method, &head.headers);
        let answer = match self.redirect(&head) {
            Some(answer) => Ok(whole(answer)),
            None => self.respond(peer, head, body).await,
        };
        let mut response = answer.unwrap_or_else(|failure| whole(failure.into()));
        let headers = response.headers_mut();
        if let Some(cors) = cors {
            let allow = headers.get(ALLOW).cloned();
            cors.finish(allow, headers);
        }
        self.finish(headers);
        response
    }

    /// Where somebody is sent who asks at the wrong place.
    fn redirect(&self, head: &Head1) -> Option<Answer> {
        let path = head.uri.path().strip_prefix(self.settings.path_prefix.as_str())?;
        let is_elsewhere = matches!(path, "/api" | "/api/" | "/doc/stats.html" | "/doc" | "/doc/");
        let place = || format!("{}{INDEX}", self.settings.path_prefix);
        is_elsewhere.then(|| Answer::done().status(StatusCode::MOVED_PERMANENTLY).header(LOCATION, &place()))
    }

    async fn respond(&self, peer: &Peer, head: Head1, body: Incoming) -> Result<Response<AnswerBody>, Failure> {
        let path = head.uri.path();
        if !is_encoded(path) {
            return Err(Failure::silent(StatusCode::BAD_REQUEST));
        }
        let path = path.strip_prefix(self.settings.path_prefix.as_str()).ok_or_else(Failure::not_found)?;
        let Some((route, parts)) = self.router.find(path) else {
            let is_question = head.method == Method::OPTIONS;
            return if is_question { Ok(whole(options(&[]))) } else { Err(Failure::not_found()) };
        };
        let operation = match &head.method {
            &Method::OPTIONS => return Ok(whole(options(route.operations))),
            &Method::HEAD => find(route.operations, &Method::GET),
            method => find(route.operations, method),
        };
        let Some(operation) = operation else { return Ok(whole(other_method(&head.method, route.operations))) };
        // Not kept while a body comes, which may take its time: whoever holds the broker keeps it from being freed.
        let app = || self.host.app().ok_or_else(|| Failure::unavailable("the broker is stopped"));
        let is_public = match operation.access {
            Access::Anybody => true,
            Access::Reader => !self.settings.private_pages,
            _ => false,
        };
        let user = if is_public { None } else { Some(self.admit(operation, &head.headers, peer, &app()?).await?) };
        let max = usize::try_from(self.settings.body_max).unwrap_or(usize::MAX);
        let max = if user.is_none() { max.min(UNKNOWN_BODY_MAX) } else { max };
        let body = self.read(body, max).await?;
        let app = app()?;
        self.run(operation, head, Asked { app, user, parts, peer: peer.clone(), body }).await
    }

    /// Finds out who is asking, and whether the tags of that user are enough.
    async fn admit(
        &self,
        operation: &Operation,
        headers: &HeaderMap,
        peer: &Peer,
        app: &App,
    ) -> Result<Identity, Failure> {
        let header = headers.get(AUTHORIZATION).ok_or_else(Failure::unknown)?;
        let credentials = Credentials::read(header.as_bytes());
        let credentials = credentials.ok_or_else(|| Failure::silent(StatusCode::BAD_REQUEST))?;
        if matches!(credentials, Credentials::Basic(..)) && !self.settings.basic_auth {
            return Err(Failure::login_failed());
        }
        let user = credentials.check(&app.logins, peer).await.map_err(|reason| {
            tracing::warn!("HTTP access denied: {reason}");
            Failure::login_failed()
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

    /// Reads a body of at most so many octets.
    async fn read(&self, body: Incoming, max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let too_large = || {
            Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                format!("the body is larger than {max} bytes"),
            )
        };
        let closed = |_| Failure::unavailable("the node is about to stop");
        let said = body.size_hint();
        let said = usize::try_from(said.exact().unwrap_or(said.lower())).unwrap_or(usize::MAX);
        // Nobody has to send what would not be taken.
        if said > max {
            return Err(too_large());
        }
        let mut large = if said > SMALL_BODY_MAX { Some(self.large.acquire().await.map_err(closed)?) } else { None };
        let mut octets = Zeroizing::new(Vec::with_capacity(said.min(ROOM_MAX)));
        let mut body = pin!(Limited::new(body, max));
        loop {
            let frame = match self.settings.idle_timeout {
                Some(patience) => timeout(patience, body.frame()).await,
                None => Ok(body.frame().await),
            };
            match frame {
                Ok(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    if large.is_none() && octets.len().saturating_add(data.len()) > SMALL_BODY_MAX {
                        large = Some(self.large.acquire().await.map_err(closed)?);
                    }
                    push(&mut octets, data);
                }
                Ok(Some(Err(error))) if error.is::<http_body_util::LengthLimitError>() => return Err(too_large()),
                Ok(Some(Err(_))) => return Err(Failure::silent(StatusCode::BAD_REQUEST)),
                Ok(None) => return Ok(octets),
                Err(_) => return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body takes too long")),
            }
        }
    }

    /// Has a handler run on a thread that may wait.
    async fn run(
        &self,
        operation: &'static Operation,
        head: Head1,
        asked: Asked,
    ) -> Result<Response<AnswerBody>, Failure> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Failure::unavailable("the node is about to stop"))?;
        let headers = head.headers;
        let known_tag = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (reply, answered, pieces) = Reply::new(takes_gzip(&headers));
        let query = Query::read(head.uri.query());
        let ages = Ages::read(|name| query.get(name)).map_err(|error| Failure::bad_request(error.to_string()))?;
        let (history, traces) = (Arc::clone(&self.history), Arc::clone(&self.traces));
        let (host, settings) = (Arc::clone(&self.host), Arc::clone(&self.settings));
        tokio::task::spawn_blocking(move || {
            let Asked { app, user, parts, peer, body } = asked;
            let reply = RefCell::new(reply);
            let settings = &*settings;
            let ask = Ask {
                host: &*host,
                app,
                settings,
                peer,
                headers,
                user,
                parts,
                query,
                body,
                history: &history,
                traces: &traces,
                ages,
                reply,
            };
            let may = ask.admit(operation).and_then(|()| ask.check_media(operation));
            let result = may.and_then(|()| (operation.run)(&ask));
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
        let Head { status, headers, body } = answered.await.map_err(|_| Failure::failed("see the log of the node"))?;
        let body = match body {
            Some(body) => Either::Left(Full::from(body)),
            None => Either::Right(Either::Left(pieces)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().extend(headers);
        response.headers_mut().insert(VARY, VARIES);
        Ok(response)
    }

    /// Adds what every answer has.
    fn finish(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.settings.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        headers.entry(VARY).or_insert(VARIES_LITTLE);
        let is_page = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == HTML);
        if !is_page {
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
        }
        // A name and a password would not help.
        if !self.settings.basic_auth && headers.contains_key(WWW_AUTHENTICATE) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"RabbitMQ Management\""));
        }
    }
}

/// What is needed of a request, but for what its operation says.
struct Asked {
    app: App,
    user: Option<Identity>,
    parts: Parts,
    peer: Peer,
    body: Zeroizing<Vec<u8>>,
}

/// Adds octets, and leaves no copy of those that were there.
fn push(octets: &mut Zeroizing<Vec<u8>>, more: Bytes) {
    let needed = octets.len().saturating_add(more.len());
    if needed > octets.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(octets.capacity().saturating_mul(2))));
        larger.extend_from_slice(octets);
        *octets = larger;
    }
    octets.extend_from_slice(&more);
    if let Ok(mut more) = more.try_into_mut() {
        more.as_mut().zeroize();
    }
}

fn find<'a>(operations: &'a [Operation], method: &Method) -> Option<&'a Operation> {
    operations.iter().find(|operation| operation.method == *method)
}

/// What is told to users who have one of the tags but not the right one.
const fn needed(access: Access) -> &'static str {
    match access {
        Access::Policymaker => "User not authorised to access object",
        Access::Monitoring => "Not monitor user",
        Access::Administrator => "Not administrator user",
        Access::Anybody
        | Access::Reader
        | Access::Management
        | Access::Vhost
        | Access::VisibleVhost
        | Access::Myself => "Not management user",
    }
}

/// Whether a client takes gzip.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    listed.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"))
            && parts.all(|part| part.strip_prefix("q=").is_none_or(|weight| weight.parse::<f32>() != Ok(0.0)))
    })
}

/// The methods of a path, as the header `Allow` has them.
fn allow(operations: &[Operation]) -> String {
    let mut known: Vec<&str> = operations.iter().map(|operation| operation.method.as_str()).collect();
    if known.contains(&"GET") {
        known.insert(0, "HEAD");
    }
    known.push("OPTIONS");
    known.join(", ")
}

/// The answer to who asks what can be done with a path. One that is not there could be read if it were.
fn options(operations: &[Operation]) -> Answer {
    let allow = if operations.is_empty() { "HEAD, GET, OPTIONS".to_owned() } else { allow(operations) };
    Answer::done().status(StatusCode::OK).header(ALLOW, &allow)
}

/// The answer to a method that a path does not have.
fn other_method(method: &Method, operations: &[Operation]) -> Answer {
    let is_known = matches!(method.as_str(), "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH");
    if !is_known {
        return Answer::done().status(StatusCode::NOT_IMPLEMENTED);
    }
    Answer::done().status(StatusCode::METHOD_NOT_ALLOWED).header(ALLOW, &allow(operations))
}

/// An answer that is there as a whole.
fn whole(answer: Answer) -> Response<AnswerBody> {
    let Head { status, headers, body } = head_of(answer, None);
    let mut response = Response::new(Either::Left(Full::from(body.unwrap_or_default())));
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    // The rest of its body would be taken for a request.
    if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
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
