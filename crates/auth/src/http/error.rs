//! Why a service cannot be asked, and why it was asked in vain. Nothing here has a URL: it may hold a password.

use crate::tls::TlsSettingsError;

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpSettingsError {
    /// A URL is not one.
    #[error("auth_http.{setting}: not a URL of http or https")]
    Url {
        /// The setting, without its prefix.
        setting: &'static str,
    },
    /// There can be no TLS.
    #[error("auth_http.ssl_options.{0}")]
    Tls(#[from] TlsSettingsError),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ServiceError {
    /// Others wait for it already.
    #[error("too many requests wait for the HTTP service")]
    Busy,
    /// It takes too long.
    #[error("the HTTP service did not answer within {0} ms")]
    Timeout(u64),
    /// No connection comes about.
    #[error("the HTTP service is out of reach: {0}")]
    Unreachable(String),
    /// The connection ends, or has something else than HTTP on it.
    #[error("the HTTP service broke off: {0}")]
    Broken(String),
    /// Its status is not that of an answer.
    #[error("the HTTP service answered with status {0}")]
    Status(u16),
    /// It redirects to where nobody may be asked.
    #[error("the HTTP service redirected to where it may not be followed")]
    Redirect,
    /// Its answer does not end.
    #[error("the answer of the HTTP service is larger than {0} octets")]
    TooLarge(usize),
    /// The request does not fit into a URL.
    #[error("a request to the HTTP service is too long for method get")]
    TooLong,
    /// The text of its answer means nothing.
    #[error("the HTTP service answered neither allow nor deny")]
    Nonsense,
}
