//! What the HTTP API is told.

use std::time::Duration;

/// What the HTTP API is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct ApiSettings {
    /// What comes before all paths, with a `/` before and none behind it; empty for nothing.
    pub path_prefix: String,
    /// The largest body of a request, in octets.
    pub body_max: u64,
    /// Whether a name and a password are enough.
    pub basic_auth: bool,
    /// Hosts whose pages may send requests; `*` for all.
    pub cors_origins: Vec<String>,
    /// How long a browser may remember that, in seconds; `None` does not say.
    pub cors_max_age: Option<u64>,
    /// Headers that every answer has, with lower-case names.
    pub headers: Vec<(&'static str, String)>,
    /// How long a connection without requests stays, and how long the next part of a request may take; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// Whether answers have nothing that is counted.
    pub disable_stats: bool,
    /// Whether queues have their numbers of messages nevertheless.
    pub enable_queue_totals: bool,
    /// Whether the reference page and the `OpenAPI` document are for those with a login only.
    pub private_pages: bool,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            path_prefix: String::new(),
            body_max: 20_000_000,
            basic_auth: true,
            cors_origins: Vec::new(),
            cors_max_age: Some(1800),
            headers: Vec::new(),
            idle_timeout: Some(Duration::from_mins(1)),
            disable_stats: false,
            enable_queue_totals: false,
            private_pages: false,
        }
    }
}
