//! What a new connection finds: what it is offered, and how its socket is set up.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use leveret_auth::Chain;
use leveret_broker::access::Authenticator;
use leveret_session::amqp091::Settings;
use socket2::SockRef;

use crate::config::{Config, SocketSettings};

/// The terms of the moment; connections keep those that they came under.
pub(crate) type Current = Arc<ArcSwap<Terms>>;

/// What a new connection finds.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) session: Arc<Settings>,
    pub(crate) handshake_timeout: Duration,
    sockets: SocketSettings,
}

impl Terms {
    /// What the configuration says of it, and who says who a client is.
    pub(crate) fn new(config: &Config, chain: &Arc<Chain>) -> Self {
        let session = Settings {
            frame_max: config.frame_max,
            channel_max: config.channel_max,
            heartbeat_seconds: config.heartbeat_seconds,
            max_message_size: config.max_message_size,
            max_consumers_per_channel: config.max_consumers_per_channel,
            product: config.product.clone(),
            version: config.version.clone(),
            cluster_name: config.cluster_name.clone(),
            leveret_version: env!("CARGO_PKG_VERSION").into(),
            authenticator: Arc::clone(chain) as Arc<dyn Authenticator>,
            mechanisms: config.access.mechanisms.clone(),
            anonymous: config.access.anonymous.clone(),
            random,
        };
        Self {
            session: Arc::new(session),
            handshake_timeout: config.handshake_timeout,
            sockets: config.sockets.clone(),
        }
    }

    /// The same with what can change while the node runs.
    pub(crate) fn renewed(&self, config: &Config) -> Self {
        let session = Settings {
            frame_max: config.frame_max,
            channel_max: config.channel_max,
            heartbeat_seconds: config.heartbeat_seconds,
            max_message_size: config.max_message_size,
            max_consumers_per_channel: config.max_consumers_per_channel,
            product: config.product.clone(),
            version: config.version.clone(),
            cluster_name: config.cluster_name.clone(),
            ..Settings::clone(&self.session)
        };
        Self { session: Arc::new(session), handshake_timeout: config.handshake_timeout, sockets: self.sockets.clone() }
    }

    /// Sets up the socket of a connection.
    pub(crate) fn set_up(&self, stream: &std::net::TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        socket.set_tcp_nodelay(self.sockets.nodelay)?;
        if self.sockets.keepalive {
            socket.set_keepalive(true)?;
        }
        if let (true, time) = self.sockets.linger {
            socket.set_linger(Some(time))?;
        }
        Ok(())
    }
}

/// Random octets from the system.
fn random() -> [u8; 16] {
    let mut octets = [0; 16];
    if let Err(error) = getrandom::fill(&mut octets) {
        // Names would collide, which costs the client that asked an error and nobody a message.
        tracing::error!("the system gives no random octets: {error}");
    }
    octets
}
