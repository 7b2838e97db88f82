//! What the pages of metrics are told.

/// What the pages of metrics are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusSettings {
    /// The path of the first page, which the others begin with; with a `/` before and none behind it.
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
        Self { path: "/metrics".to_owned(), per_object: false, authentication: false, idle_timeout_ms: Some(60_000) }
    }
}
