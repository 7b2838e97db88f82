//! What an administrator sets about the HTTP service, as `auth_http.*` in `rabbitmq.conf`.

use std::fmt;

use super::endpoint::Endpoint;
use crate::tls::TlsSettings;

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
    /// `auth_http.ssl_options.*`, for URLs with `https` and where a service redirects to one; files are read in any case.
    pub tls: TlsSettings,
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
            tls: TlsSettings::default(),
            authorization_failure_disclosure: false,
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
