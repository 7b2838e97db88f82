//! Where a connection comes from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::Name;
use crate::clock::Timestamp;

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address, or the one that a proxy gives for it.
    pub address: SocketAddr,
    /// The address that it came to.
    pub local: SocketAddr,
    /// What is known of its TLS session, if it has one.
    pub tls: Option<TlsPeer>,
}

/// A client's TLS session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPeer {
    /// Such as `tlsv1.3`.
    pub version: Name,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: Name,
    /// What the client showed, if it showed a certificate.
    pub certificate: Option<PeerCertificate>,
}

/// A client's certificate, which was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whose it is, such as `CN=client,O=Example`.
    pub subject: Name,
    /// Who signed it.
    pub issuer: Name,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// The user that it stands for, if it has what names are taken from.
    pub login_name: Option<Name>,
}

impl Peer {
    /// A peer without TLS, which came to port 0 of nowhere.
    pub const fn plain(address: SocketAddr) -> Self {
        Self::at(address, SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0))
    }

    /// A peer without TLS, which came to an address of this machine.
    pub const fn at(address: SocketAddr, local: SocketAddr) -> Self {
        Self { address, local, tls: None }
    }

    /// A program on this machine, of which nothing is known.
    pub const fn local() -> Self {
        Self::plain(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
    }

    /// What its connection is called: `10.0.0.1:40000 -> 10.0.0.2:5672`.
    pub fn connection_name(&self) -> String {
        format!("{} -> {}", self.address, self.local)
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_recognised_in_both_address_families() {
        for (address, expected) in [
            ("127.0.0.1:1", true),
            ("127.8.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.0.0.1:1", false),
            ("[fe80::1]:1", false),
        ] {
            assert_eq!(Peer::plain(address.parse().unwrap()).is_loopback(), expected, "{address}");
        }
    }
}
