//! Why TLS listeners cannot be set up, in one sentence that names the file.

use std::io;
use std::path::{Path, PathBuf};

use super::settings::TlsVersion;

/// Why TLS listeners cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key that does not belong to its certificate.
    #[error("the key in {} is not the one of the certificate in {}", key.display(), certificate.display())]
    WrongKey {
        /// The file with the key.
        key: PathBuf,
        /// The file with the certificate.
        certificate: PathBuf,
    },
    /// Clients are asked for certificates that nobody could check.
    #[error("clients are to be verified, but there is no file with authorities")]
    NoAuthorities,
    /// Clients need a certificate that they are not asked for.
    #[error("clients without a certificate are to be turned away, but none is asked for one: verify has to be `peer`")]
    NotAsked,
    /// No version is spoken.
    #[error("no version of TLS is switched on")]
    NoVersions,
    /// A cipher suite of this name does not exist, or is none that is considered secure.
    #[error("the cipher suite `{name}` is not known; there are {known}")]
    UnknownCipher {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A version is switched on, but none of its suites is.
    #[error("TLS {version} is switched on, but none of its cipher suites")]
    NoCipherFor {
        /// The version.
        version: TlsVersion,
    },
    /// The library refused the settings.
    #[error("TLS cannot be set up: {0}")]
    Refused(#[from] rustls::Error),
}

impl TlsError {
    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(super) fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), reason: reason.into() }
    }
}
