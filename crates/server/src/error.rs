//! Why a node did not start, in one sentence for the person who started it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::http_listener::Purpose;
use crate::tls::TlsError;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something else listens on this port already.
    #[error(
        "cannot listen on {address}: the port is taken by another program \
         (is another broker running? choose one with --listen)"
    )]
    PortTaken {
        /// Where the node was told to listen.
        address: SocketAddr,
    },

    /// The address belongs to another machine, or its family is switched off on this one.
    #[error(
        "cannot listen on {address}: this machine has no such address (choose one with --listen, or `--listen all`)"
    )]
    NoSuchAddress {
        /// Where the node was told to listen.
        address: SocketAddr,
    },

    /// The system keeps this port for privileged programs.
    #[error(
        "cannot listen on {address}: the system does not let this user open the port \
         (choose one above 1023 with --listen)"
    )]
    PortForbidden {
        /// Where the node was told to listen.
        address: SocketAddr,
    },

    /// The system refused to listen for any other reason.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where the node was told to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },

    /// What is set about logging in cannot be done.
    #[error("{source}")]
    Login {
        /// What is wrong.
        source: Box<leveret_auth::SettingsError>,
    },

    /// The data folder is not there and cannot be made.
    #[error("cannot make the data folder {}: {source} (choose another with --data-dir)", path.display())]
    MakeDataDir {
        /// The data folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The data folder is there, but nothing can be written to it.
    #[error("cannot write to the data folder {}: {source} (choose another with --data-dir)", path.display())]
    WriteDataDir {
        /// The data folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// What is in the metadata log cannot be read, so the node does not know what was declared.
    #[error("cannot read the metadata log in {}: {reason}", path.display())]
    ReadMetadata {
        /// The folder of the log.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },

    /// What is in the message log cannot be read, so the node would lose messages.
    #[error("cannot read the message log in {}: {reason}", path.display())]
    ReadMessages {
        /// The folder of the log.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },

    /// Definitions that the configuration names are wrong. Nothing of them was imported.
    #[error("cannot import definitions: {reason}")]
    Definitions {
        /// What is wrong, and in which file.
        reason: String,
    },

    /// A running broker keeps its data in this folder.
    #[error("the data folder {} is in use by {holder} (stop it, or choose another folder with --data-dir)", path.display())]
    DataDirInUse {
        /// The data folder.
        path: PathBuf,
        /// Who uses it, such as `another broker, process 4711`.
        holder: String,
    },

    /// Certificates or keys cannot be used.
    #[error("cannot listen with TLS: {source}")]
    Tls {
        /// Which one, and why.
        #[from]
        source: TlsError,
    },

    /// There is to be TLS, but nothing says with which certificate.
    #[error(
        "cannot listen with TLS without a certificate and its key (give --tls-cert and --tls-key, or ssl_options in the configuration file)"
    )]
    NoCertificate,

    /// A listener of the management or of the metrics cannot be opened.
    #[error("cannot listen on {address} for {purpose}: {} ({choose})", listening(source))]
    HttpListen {
        /// What it is for.
        purpose: &'static str,
        /// How to choose another place.
        choose: &'static str,
        /// Where it was to be.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },

    /// The control socket cannot be opened.
    #[error("cannot open the control socket {}: {source}", path.display())]
    ControlSocket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The file with the number of the process cannot be written.
    #[error("cannot write the process number to {}: {source} (RABBITMQ_PID_FILE says where it goes)", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// Records cannot go where they are to go.
    #[error(transparent)]
    Log(#[from] crate::logging::LogError),

    /// The file of plugins cannot be used.
    #[error(transparent)]
    Plugins(#[from] leveret_ctl::enabled_plugins::FileError),

    /// What an earlier reset began to delete cannot be deleted.
    #[error("cannot finish the reset of {}: {source}", path.display())]
    Reset {
        /// The data folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The system gave no thread, or what a thread needs to wait for events.
    #[error("cannot start the threads that serve connections: {source}")]
    Threads {
        /// What the system said.
        source: io::Error,
    },
}

impl StartError {
    /// Sorts what the system said when `address` was bound.
    pub(crate) fn listen(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortTaken { address },
            // An address of a family that the kernel lacks is `Unsupported`.
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => Self::NoSuchAddress { address },
            io::ErrorKind::PermissionDenied => Self::PortForbidden { address },
            _ => Self::Listen { address, source },
        }
    }

    /// A listener for HTTP cannot be opened at `address`.
    pub(crate) const fn listen_for_http(purpose: Purpose, address: SocketAddr, source: io::Error) -> Self {
        let choose = match purpose {
            Purpose::Management => {
                "choose another with management.tcp.port and management.tcp.ip, or --management-listen; `none` does without"
            }
            Purpose::Prometheus => {
                "choose another with prometheus.tcp.port and prometheus.tcp.ip; prometheus.tcp.listener = none does without"
            }
        };
        Self::HttpListen { purpose: purpose.name(), choose, address, source }
    }

    /// The data folder at `path` cannot be made.
    pub(crate) fn make_data_dir(path: &Path, source: io::Error) -> Self {
        Self::MakeDataDir { path: path.to_owned(), source }
    }

    /// The metadata log in the folder at `path` cannot be read.
    pub(crate) fn read_metadata(path: &Path, reason: String) -> Self {
        Self::ReadMetadata { path: path.to_owned(), reason }
    }

    /// The message log in the folder at `path` cannot be read.
    pub(crate) fn read_messages(path: &Path, reason: String) -> Self {
        Self::ReadMessages { path: path.to_owned(), reason }
    }

    /// Nothing can be written to the data folder at `path`.
    pub(crate) fn write_data_dir(path: &Path, source: io::Error) -> Self {
        Self::WriteDataDir { path: path.to_owned(), source }
    }
}

/// What the system said when a socket was to listen, in the words of [`StartError`].
fn listening(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => "the port is taken by another program".into(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => "this machine has no such address".into(),
        io::ErrorKind::PermissionDenied => "the system does not let this user open the port".into(),
        _ => source.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_to_listen_says_what_to_do_next() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        for (kind, text) in [
            (io::ErrorKind::AddrInUse, "the port is taken by another program"),
            (io::ErrorKind::AddrNotAvailable, "this machine has no such address"),
            (io::ErrorKind::Unsupported, "this machine has no such address"),
            (io::ErrorKind::PermissionDenied, "choose one above 1023 with --listen"),
            (io::ErrorKind::OutOfMemory, "out of memory"),
        ] {
            let sentence = StartError::listen(address, kind.into()).to_string();
            assert!(sentence.starts_with("cannot listen on 127.0.0.1:80: "), "{sentence}");
            assert!(sentence.contains(text), "{kind:?}: {sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
    }
}
