//! What an administrator sets about the HTTP service, as `auth_http.*` in `rabbitmq.conf`.

use std::fmt;
use std::path::PathBuf;

use super::endpoint::Endpoint;

/// The settings. Defaults are RabbitMQ's.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// `auth_http.http_method`.
    pub method: HttpMethod,
    /// `auth_http.user_path`: the URL that says who somebody is.
    pub user_path: String,
    /// `auth_http.vhost_path`: the URL that says who may open a vhost.
    pub vhost_path: String,
    /// `auth_http.resource_path`: the URL that says who may do what with queues and exchanges.
    pub resource_path: String,
    /// `auth_http.topic_path`: the URL that says who may use which routing keys.
    pub topic_path: String,
    /// `auth_http.request_timeout`, in milliseconds: how long an answer may take, with connecting, and with waiting for others'
    /// requests if there are many.
    pub request_timeout_ms: u64,
    /// `auth_http.connection_timeout`, in milliseconds: how long a TCP connection may take to come about.
    pub connection_timeout_ms: u64,
    /// `auth_http.ssl_options.*`, which are not looked at without `https` in a URL.
    pub tls: HttpTlsSettings,
    /// `auth_http.authorization_failure_disclosure`: whether clients may see why the service does not allow something.
    pub authorization_failure_disclosure: bool,
}

/// How a request has its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// In the URL: `get`. Passwords may end up in the service's log.
    Get,
    /// In the body: `post`.
    Post,
}

/// How the service proves who it is, and this node to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTlsSettings {
    /// `verify`.
    pub verify: HttpVerify,
    /// `cacertfile`: a PEM file of those who may sign the service's certificate; `None` is the list of the operating system.
    pub ca_certificate_file: Option<PathBuf>,
    /// `certfile` and `keyfile`: PEM files of the certificate that the service may ask for, and of its key.
    pub client_certificate: Option<HttpClientCertificate>,
    /// `sni`: the name that the service's certificate has, if it is not the one in the URL.
    pub server_name: Option<String>,
    /// `hostname_verification`.
    pub hostname_verification: HttpHostnameVerification,
    /// `depth`: how many certificates may be between the service's and the one of `cacertfile` that it leads to; `None` for as
    /// many as the TLS library follows.
    pub depth: Option<u8>,
    /// `versions.N`.
    pub versions: Vec<HttpTlsVersion>,
}

/// A certificate of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpClientCertificate {
    /// Itself, and those that lead to who signed it.
    pub certificate_file: PathBuf,
    /// Its private key, which is not encrypted.
    pub key_file: PathBuf,
}

/// What is expected of the certificate of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVerify {
    /// That it is for this service, valid, and signed by somebody known: `verify_peer`.
    Peer,
    /// Nothing: `verify_none`. Whoever is between the node and the service may read passwords.
    None,
}

/// Which names in a certificate are the service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpHostnameVerification {
    /// Its own, and those with a `*` for their first label: `wildcard`. RabbitMQ's default is the other one.
    Wildcard,
    /// Its own: `none`, which turns wildcards off and not the check.
    Exact,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpTlsVersion {
    /// `tlsv1.2`
    V1_2,
    /// `tlsv1.3`
    V1_3,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            method: HttpMethod::Get,
            user_path: "http://localhost:8000/auth/user".into(),
            vhost_path: "http://localhost:8000/auth/vhost".into(),
            resource_path: "http://localhost:8000/auth/resource".into(),
            topic_path: "http://localhost:8000/auth/topic".into(),
            request_timeout_ms: 15_000,
            connection_timeout_ms: 15_000,
            tls: HttpTlsSettings::default(),
            authorization_failure_disclosure: false,
        }
    }
}

impl Default for HttpTlsSettings {
    fn default() -> Self {
        Self {
            verify: HttpVerify::Peer,
            ca_certificate_file: None,
            client_certificate: None,
            server_name: None,
            hostname_verification: HttpHostnameVerification::Wildcard,
            depth: None,
            versions: vec![HttpTlsVersion::V1_2, HttpTlsVersion::V1_3],
        }
    }
}

impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSettings")
            .field("method", &self.method)
            .field("user_path", &without_secrets(&self.user_path))
            .field("vhost_path", &without_secrets(&self.vhost_path))
            .field("resource_path", &without_secrets(&self.resource_path))
            .field("topic_path", &without_secrets(&self.topic_path))
            .field("request_timeout_ms", &self.request_timeout_ms)
            .field("connection_timeout_ms", &self.connection_timeout_ms)
            .field("tls", &self.tls)
            .field("authorization_failure_disclosure", &self.authorization_failure_disclosure)
            .finish()
    }
}

/// A URL without its parts that may hold secrets: the user and password before the host, and the query.
fn without_secrets(url: &str) -> String {
    let Some(endpoint) = Endpoint::read(url) else {
        return "not a URL".into();
    };
    endpoint.url.split('?').next().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_passwords_and_queries() {
        for (url, shown) in [
            ("http://localhost:8000/auth/user", "http://localhost:8000/auth/user"),
            ("https://broker:swordfish@host/auth?key=swordfish", "https://host/auth"),
            ("https://broker:sword@fish@host/x", "https://host/x"),
            ("https://host?swordfish@example.org/", "https://host/"),
            ("broker:swordfish@host/x", "not a URL"),
            ("https://broker:sword?fish@host/swordfish", "not a URL"),
            ("", "not a URL"),
        ] {
            assert_eq!(without_secrets(url), shown, "{url}");
            let settings = HttpSettings { user_path: url.into(), ..HttpSettings::default() };
            assert!(!format!("{settings:?}").contains("swordfish"), "{settings:?}");
        }
    }
}
