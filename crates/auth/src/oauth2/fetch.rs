//! Fetching documents from providers, over TLS only.

use std::error::Error;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, HeaderValue, LOCATION};
use hyper::{Request, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use crate::http::redirected;
use crate::tls::{self, TlsSettings, TlsSettingsError};

/// A document has at most so many octets.
const DOCUMENT_OCTETS_MAX: usize = 1 << 20;

/// So many times a provider may send a request elsewhere.
const REDIRECTS_MAX: usize = 3;

/// Who fetches.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    timeout: Duration,
}

impl Fetcher {
    pub(super) fn new(settings: &TlsSettings, timeout: Duration) -> Result<Self, TlsSettingsError> {
        let config = tls::client_config(settings, tls::Use::Certain)?;
        let secured = HttpsConnectorBuilder::new().with_tls_config(config).https_only();
        let connector = match tls::server_name(settings)? {
            Some(name) => secured.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => secured,
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        // A connection is of no use until keys change again.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector.enable_http1().wrap_connector(tcp));
        Ok(Self { client, timeout })
    }

    /// Fetches a document. What went wrong is told without the address, whose parameters are nobody's business.
    pub(super) async fn get(&self, address: &Uri) -> Result<Bytes, String> {
        let late = |_| Err(format!("no answer within {} ms", self.timeout.as_millis()));
        timeout(self.timeout, self.follow(address)).await.unwrap_or_else(late)
    }

    async fn follow(&self, address: &Uri) -> Result<Bytes, String> {
        let mut address = address.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = Request::new(Empty::new());
            *request.uri_mut() = address.clone();
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
            let response = self.client.request(request).await.map_err(|error| causes(&error))?;
            let status = response.status();
            if status.is_success() {
                let body = Limited::new(response.into_body(), DOCUMENT_OCTETS_MAX).collect().await;
                return body.map(http_body_util::Collected::to_bytes).map_err(|error| causes(&*error));
            }
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            address = location
                .filter(|_| status.is_redirection())
                .and_then(|location| redirected(&address, location))
                .ok_or_else(|| format!("the answer has status {}", status.as_u16()))?;
        }
        Err("too many redirects".to_owned())
    }
}

fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors have the text of their cause in their own.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
