//! What a node is told about the listener of its metrics.

use std::net::{Ipv4Addr, SocketAddr};

use leveret_management::prometheus::PrometheusSettings as PageSettings;

use crate::tls::TlsSettings;

/// The port of the metrics.
pub const PROMETHEUS_PORT: u16 = 15692;
/// The port of the metrics with TLS.
pub const PROMETHEUS_TLS_PORT: u16 = 15691;

/// What a node is told about the listener of its metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusSettings {
    /// Where to accept connections without TLS; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether somebody said where, so that a port that is taken is worth ending for.
    pub is_listen_set: bool,
    /// Where to accept connections with TLS. Needs `tls`.
    pub listen_tls: Option<SocketAddr>,
    /// Certificates and keys of that listener.
    pub tls: Option<TlsSettings>,
    /// The path of the metrics, and what the other paths begin with.
    pub path: String,
    /// Whether the first page has the metrics of each object.
    pub per_object: bool,
    /// Whether only users who may monitor the node are told.
    pub authentication: bool,
    /// How long a connection without requests stays, in milliseconds; `None` is for ever.
    pub idle_timeout_ms: Option<u64>,
}

impl Default for PrometheusSettings {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, PROMETHEUS_PORT))),
            is_listen_set: false,
            listen_tls: None,
            tls: None,
            path: "/metrics".to_owned(),
            per_object: false,
            authentication: false,
            idle_timeout_ms: Some(60_000),
        }
    }
}

impl PrometheusSettings {
    /// What the pages are told of it.
    pub(crate) fn for_pages(&self) -> PageSettings {
        let Self { path, per_object, authentication, idle_timeout_ms, .. } = self;
        PageSettings {
            path: path.clone(),
            per_object: *per_object,
            authentication: *authentication,
            idle_timeout_ms: *idle_timeout_ms,
        }
    }
}
