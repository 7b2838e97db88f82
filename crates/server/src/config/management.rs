//! What a node is told about the listener of its management interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use leveret_management::api::ApiSettings;

use crate::tls::TlsSettings;

/// The port of the management interface.
pub const MANAGEMENT_PORT: u16 = 15672;
/// The port of the management interface with TLS.
pub const MANAGEMENT_TLS_PORT: u16 = 15671;

/// The header `Content-Security-Policy` if nobody says otherwise: pages load nothing from elsewhere, and stand in no other page.
pub(crate) const CSP: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

/// What a node is told about the listener of its management interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct ManagementSettings {
    /// Where to accept connections without TLS; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether somebody said where, so that a port that is taken is worth ending for.
    pub is_listen_set: bool,
    /// Where to accept connections with TLS. Needs `tls`.
    pub listen_tls: Option<SocketAddr>,
    /// Certificates and keys of that listener.
    pub tls: Option<TlsSettings>,
    /// What comes before all paths, with a `/` before and none behind it; empty for nothing.
    pub path_prefix: String,
    /// The largest body of a request, in octets.
    pub body_max: u64,
    /// Whether a name and a password are enough.
    pub basic_auth: bool,
    /// Whether a request may come from a page of another host, and which.
    pub cors_origins: Vec<String>,
    /// How long a browser may remember that, in seconds; `None` does not say.
    pub cors_max_age: Option<u64>,
    /// The header `Content-Security-Policy`.
    pub csp: Option<String>,
    /// The header `Strict-Transport-Security`.
    pub hsts: Option<String>,
    /// The header `X-Content-Type-Options`.
    pub content_type_options: Option<String>,
    /// The header `X-XSS-Protection`.
    pub xss_protection: Option<String>,
    /// The header `X-Frame-Options`.
    pub frame_options: Option<String>,
    /// How long a connection without requests stays, in milliseconds; `None` is for ever.
    pub idle_timeout_ms: Option<u64>,
    /// Whether answers have nothing that is counted.
    pub disable_stats: bool,
    /// Whether queues have their numbers of messages nevertheless.
    pub enable_queue_totals: bool,
    /// Whether the pages that describe the interface are for those with a login only.
    pub private_pages: bool,
}

impl Default for ManagementSettings {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, MANAGEMENT_PORT))),
            is_listen_set: false,
            listen_tls: None,
            tls: None,
            path_prefix: String::new(),
            body_max: 20_000_000,
            basic_auth: true,
            cors_origins: Vec::new(),
            cors_max_age: Some(1800),
            csp: Some(CSP.to_owned()),
            hsts: None,
            content_type_options: Some("nosniff".to_owned()),
            xss_protection: None,
            frame_options: None,
            idle_timeout_ms: Some(60_000),
            disable_stats: false,
            enable_queue_totals: false,
            private_pages: false,
        }
    }
}

impl ManagementSettings {
    /// What the HTTP API is told of it.
    pub(crate) fn for_api(&self) -> ApiSettings {
        let headers = [
            ("content-security-policy", &self.csp),
            ("strict-transport-security", &self.hsts),
            ("x-content-type-options", &self.content_type_options),
            ("x-xss-protection", &self.xss_protection),
            ("x-frame-options", &self.frame_options),
        ];
        ApiSettings {
            path_prefix: self.path_prefix.clone(),
            body_max: self.body_max,
            basic_auth: self.basic_auth,
            cors_origins: self.cors_origins.clone(),
            cors_max_age: self.cors_max_age,
            idle_timeout: self.idle_timeout_ms.map(Duration::from_millis),
            disable_stats: self.disable_stats,
            enable_queue_totals: self.enable_queue_totals,
            private_pages: self.private_pages,
            headers: headers.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect(),
        }
    }
}
