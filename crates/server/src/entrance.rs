//! What a listener asks of who connects, before there is a session: a PROXY header, and TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use leveret_broker::access::Peer;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::proxy;
use crate::tls::{self, Channel, Context};

/// Whether connections begin by saying for whom they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyProtocol {
    Off,
    Required,
}

/// What a listener asks of who connects.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) proxy: ProxyProtocol,
    pub(crate) tls: Option<Arc<Context>>,
}

/// Somebody who was let in.
pub(crate) struct Guest {
    pub(crate) peer: Peer,
    pub(crate) tls: Option<Box<Channel>>,
}

impl Entrance {
    /// Whether it lets everybody in at once.
    pub(crate) fn is_open(&self) -> bool {
        self.proxy == ProxyProtocol::Off && self.tls.is_none()
    }

    /// Lets somebody in who makes it until then. `None` says that the connection is over, and the log says why.
    pub(crate) async fn admit(&self, stream: &TcpStream, mut peer: Peer, deadline: Instant) -> Option<Guest> {
        let address = peer.address;
        if self.proxy == ProxyProtocol::Required {
            match timeout_at(deadline, proxy::read_header(stream)).await {
                Ok(Ok(Some(proxied))) => {
                    (peer.address, peer.local) = (canonical(proxied.source), canonical(proxied.destination));
                    tracing::debug!(peer = %peer.address, proxy = %address, "connection through a proxy");
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(target: "connection", peer = %address, "connection closed: {error} ({address})");
                    return None;
                }
                Err(_) => {
                    tracing::warn!(target: "connection", peer = %address, "connection closed: its PROXY header took too long ({address})");
                    return None;
                }
            }
        }
        let Some(context) = &self.tls else { return Some(Guest { peer, tls: None }) };
        match tls::handshake(stream, context, deadline).await {
            Ok((channel, known)) => {
                peer.tls = Some(known);
                Some(Guest { peer, tls: Some(Box::new(channel)) })
            }
            Err(error) => {
                let between = peer.connection_name();
                tracing::warn!(target: "connection", peer = %peer.address, "TLS handshake failed: {error} ({between})");
                None
            }
        }
    }
}

/// An IPv4 address as such, also where the socket speaks both families.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_old_family_are_written_as_such() {
        for (address, expected) in
            [("[::ffff:10.0.0.1]:1", "10.0.0.1:1"), ("10.0.0.1:1", "10.0.0.1:1"), ("[::1]:1", "[::1]:1")]
        {
            assert_eq!(canonical(address.parse().unwrap()).to_string(), expected, "{address}");
        }
    }
}
