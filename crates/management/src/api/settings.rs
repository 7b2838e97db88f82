//! What the HTTP API is told.

/// What the HTTP API is told.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        }
    }
}
