//! Asking a service: connections that are kept, limits, redirects.

use std::error::Error;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::endpoint::{Endpoint, is_same_service, redirected};
use super::error::ServiceError;
use super::{HttpMethod, HttpSettings, HttpSettingsError, form};
use crate::tls;

/// Requests that are under way at once, which is also how many connections there are.
const IN_FLIGHT_MAX: usize = 128;
/// Requests that wait for one of those to end; more fail at once.
const WAITING_MAX: usize = 8_192;
/// Connections that are kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 32;
/// How long they are kept, in milliseconds; as RabbitMQ's HTTP client does.
const IDLE_TIMEOUT_MS: u64 = 120_000;
/// A service may close a connection while a request is on its way; it is sent this many more times then, as RabbitMQ does.
const RETRIES_MAX: usize = 3;
/// Redirects that are followed, as many as RabbitMQ's HTTP client follows.
const REDIRECTS_MAX: usize = 5;
/// The size of an answer. Services write a few words.
const ANSWER_OCTETS_MAX: usize = 64 * 1024;
/// The size of all headers of an answer, and how many there are.
const HEADER_OCTETS_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A service that is asked.
pub(super) struct Service {
    client: HttpClient,
    method: HttpMethod,
    timeout_ms: u64,
    /// For those under way and those that wait.
    places: Semaphore,
    /// For those under way.
    in_flight: Semaphore,
}

/// A request, which may have to be sent more than once.
struct Call {
    method: Method,
    uri: Uri,
    body: Bytes,
    authorization: Option<HeaderValue>,
}

impl Service {
    /// A service with these settings.
    pub(super) fn new(settings: &HttpSettings, use_of_tls: tls::Use) -> Result<Self, HttpSettingsError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_millis(settings.connection_timeout_ms)));
        let config = tls::client_config(&settings.tls, use_of_tls)?;
        let secured = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let connector = match tls::server_name(&settings.tls)? {
            Some(name) => secured.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => secured,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_millis(IDLE_TIMEOUT_MS))
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(HEADER_OCTETS_MAX)
            .http1_max_headers(HEADERS_MAX)
            .build(connector.enable_http1().wrap_connector(tcp));
        Ok(Self {
            client,
            method: settings.method,
            timeout_ms: settings.request_timeout_ms,
            places: Semaphore::new(IN_FLIGHT_MAX + WAITING_MAX),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
        })
    }

    /// Makes a request with these parameters; gives what the service says.
    pub(super) async fn ask(&self, endpoint: &Endpoint, fields: &[(&str, &[u8])]) -> Result<Bytes, ServiceError> {
        let _place = self.places.try_acquire().map_err(|_| ServiceError::Busy)?;
        let call = self.call(endpoint, fields)?;
        let answer = async {
            let _under_way = self.in_flight.acquire().await.map_err(|_| ServiceError::Busy)?;
            self.follow(call).await
        };
        timeout(Duration::from_millis(self.timeout_ms), answer)
            .await
            .unwrap_or(Err(ServiceError::Timeout(self.timeout_ms)))
    }

    fn call(&self, endpoint: &Endpoint, fields: &[(&str, &[u8])]) -> Result<Call, ServiceError> {
        let (method, url, body) = match self.method {
            HttpMethod::Get => (Method::GET, form::append(&endpoint.url, fields), Bytes::new()),
            HttpMethod::Post => (Method::POST, Bytes::from(endpoint.url.clone()), form::encode(fields)),
        };
        // All octets were checked or encoded, so it is the length that is wrong.
        let uri = Uri::from_maybe_shared(url).map_err(|_| ServiceError::TooLong)?;
        Ok(Call { method, uri, body, authorization: endpoint.authorization.clone() })
    }

    /// Sends a request, and on to where the service says.
    async fn follow(&self, mut call: Call) -> Result<Bytes, ServiceError> {
        let mut redirects = 0;
        loop {
            let response = self.send(&call).await?;
            let status = response.status();
            match response.headers().get(LOCATION) {
                Some(location) if is_redirect(status) && redirects < REDIRECTS_MAX => {
                    let location = location.to_str().map_err(|_| ServiceError::Redirect)?;
                    let uri = redirected(&call.uri, location).ok_or(ServiceError::Redirect)?;
                    call = call.redirect(uri, status);
                    redirects += 1;
                }
                _ if status == StatusCode::OK || status == StatusCode::CREATED => return collect(response).await,
                _ => return Err(ServiceError::Status(status.as_u16())),
            }
        }
    }

    async fn send(&self, call: &Call) -> Result<Response<Incoming>, ServiceError> {
        let mut retries = 0;
        loop {
            match self.client.request(call.request()).await {
                Ok(response) => return Ok(response),
                Err(error) if retries < RETRIES_MAX && is_closed(&error) => retries += 1,
                Err(error) if error.is_connect() => return Err(ServiceError::Unreachable(causes(&error))),
                Err(error) => return Err(ServiceError::Broken(causes(&error))),
            }
        }
    }
}

impl Call {
    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        if self.method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }

    /// The request for where a service redirects to. Parameters in a URL are not added again; those in a body go on with the
    /// statuses that say so.
    fn redirect(self, uri: Uri, status: StatusCode) -> Self {
        let authorization = self.authorization.filter(|_| is_same_service(&self.uri, &uri));
        let keeps_method = matches!(
            status,
            StatusCode::MULTIPLE_CHOICES | StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        );
        if keeps_method {
            Self { method: self.method, uri, body: self.body, authorization }
        } else {
            Self { method: Method::GET, uri, body: Bytes::new(), authorization }
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 300..=303 | 307 | 308)
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, ServiceError> {
    match Limited::new(response.into_body(), ANSWER_OCTETS_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ServiceError::TooLarge(ANSWER_OCTETS_MAX)),
        Err(error) => Err(ServiceError::Broken(causes(&*error))),
    }
}

/// Whether the service closed the connection before it answered.
fn is_closed(error: &ClientError) -> bool {
    !error.is_connect()
        && chain(error).any(|cause| {
            let by_http = cause
                .downcast_ref::<hyper::Error>()
                .is_some_and(|error| error.is_incomplete_message() || error.is_closed() || error.is_canceled());
            let by_socket = cause.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
                )
            });
            by_http || by_socket
        })
}

/// What went wrong, without the outermost error, which says no more than that something did.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = chain(error).skip(1).map(ToString::to_string).collect();
    // Some errors have the text of their cause in their own.
    texts.dedup_by(|later, earlier| earlier.contains(&**later));
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
