//! Who may ask for operations.

use std::fmt::Display;
use std::net::SocketAddr;

use leveret_auth::Chain;
use leveret_broker::access::{Peer, tags};

use crate::api::Credentials;

/// How somebody came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Over the socket in the data folder, which only those can open who may.
    Local,
    /// Over the network, from there: with a name and a password, or a token.
    Network(Peer),
}

/// Why somebody may not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No name and password were given and no token, or wrong ones.
    Unknown,
    /// The user is no administrator.
    NoAdministrator,
}

impl Gate {
    /// A program on the network, from that address, without TLS.
    pub const fn plain(address: SocketAddr) -> Self {
        Self::Network(Peer::plain(address))
    }

    /// Whether somebody with this `Authorization` header may ask.
    pub(super) async fn check(&self, authorization: Option<&[u8]>, logins: Option<&Chain>) -> Result<(), Refusal> {
        let Self::Network(peer) = self else { return Ok(()) };
        // Without a broker there are no users, and only those on the machine can do something.
        let logins = logins.ok_or(Refusal::Unknown)?;
        let credentials = authorization.and_then(Credentials::read).ok_or(Refusal::Unknown)?;
        let refused = |reason: &dyn Display| {
            tracing::warn!("HTTP access denied from {}: {reason}", peer.address);
        };
        let identity = credentials.check(logins, peer).await.map_err(|reason| {
            refused(&reason);
            Refusal::Unknown
        })?;
        if identity.has_tag(tags::ADMINISTRATOR) {
            return Ok(());
        }
        refused(&format_args!("user '{}' - not an administrator", identity.name));
        Err(Refusal::NoAdministrator)
    }
}
