//! TLS for clients: what it is told, certificates and keys, whom it believes, and the octets of a connection.

mod channel;
mod ciphers;
mod context;
mod encrypted_key;
mod error;
mod files;
mod handshake;
mod login_name;
mod peer;
mod server_names;
mod settings;
mod verifier;

pub use error::TlsError;
pub use settings::{KeyPassword, LoginFrom, SanType, TlsSettings, TlsVersion, Verify};

pub(crate) use channel::Channel;
pub(crate) use context::Context;
pub(crate) use handshake::handshake;
