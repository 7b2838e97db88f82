//! Who may ask for operations.

use std::fmt::Display;
use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leveret_auth::Chain;
use leveret_broker::access::{LoginAttempt, Peer, Secret, tags};

/// How somebody came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Over the socket in the data folder, which only those can open who may.
    Local,
    /// Over the network, from there: with a name and a password.
    Network(Peer),
}

/// Why somebody may not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No name and password were given, or wrong ones.
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
        let (name, secret) = authorization.and_then(basic).ok_or(Refusal::Unknown)?;
        let attempt = LoginAttempt {
            name: name.as_str().into(),
            secret: Some(secret),
            peer: peer.clone(),
            mechanism: "PLAIN",
            protocol: "http",
        };
        let refused = |reason: &dyn Display| {
            tracing::warn!("HTTP access denied from {}: {reason}", peer.address);
        };
        let identity = logins.check(attempt).await.map_err(|error| {
            refused(&error);
            Refusal::Unknown
        })?;
        if identity.has_tag(tags::ADMINISTRATOR) {
            return Ok(());
        }
        refused(&format_args!("user '{name}' - not an administrator"));
        Err(Refusal::NoAdministrator)
    }
}

/// Reads `Basic BASE64`.
fn basic(header: &[u8]) -> Option<(String, Secret)> {
    let (scheme, rest) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(rest.trim()).ok()?;
    let colon = decoded.iter().position(|octet| *octet == b':')?;
    let (name, password) = decoded.split_at_checked(colon)?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    Some((name, Secret::new(password.get(1..)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_password_are_read() {
        for (header, expected) in [
            ("Basic Z3Vlc3Q6Z3Vlc3Q=", Some(("guest", "guest"))),
            ("basic Z3Vlc3Q6YTpi", Some(("guest", "a:b"))),
            ("Basic Z3Vlc3Q6", Some(("guest", ""))),
            ("Basic Z3Vlc3Q=", None),
            ("Basic ?", None),
            ("Bearer Z3Vlc3Q6Z3Vlc3Q=", None),
            ("Basic", None),
        ] {
            let read = basic(header.as_bytes());
            let read = read.as_ref().map(|(name, secret)| (name.as_str(), secret.expose_text().unwrap()));
            assert_eq!(read, expected, "{header}");
        }
    }
}
