//! The threads that serve connections: one single-threaded runtime each, where a connection lives its whole life.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use leveret_broker::access::PeerLocation;
use leveret_broker::mailbox::Mailbox;
use leveret_broker::node::Node;
use leveret_session::amqp091::{Session, Settings};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::connection::Connection;

/// A thread and the way to hand it connections.
#[derive(Debug)]
pub(crate) struct Worker {
    sender: UnboundedSender<std::net::TcpStream>,
    /// Connections handed over and not yet ended.
    connections: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a thread.
    pub(crate) fn start(number: usize, node: Arc<Node>, settings: Arc<Settings>) -> io::Result<Self> {
        let (sender, receiver) = unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let (ready, started) = std::sync::mpsc::channel();
        // A local runtime cannot move between threads, so the thread makes its own and reports.
        let thread = std::thread::Builder::new().name(format!("leveret-{number}")).spawn(move || match runtime() {
            Ok(runtime) => {
                let _ = ready.send(Ok(()));
                runtime.block_on(serve(receiver, node, settings, counter));
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        })?;
        started.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))?;
        Ok(Self { sender, connections, thread })
    }

    /// Connections it serves.
    pub(crate) fn connection_count(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Hands a connection over.
    pub(crate) fn hand_over(&self, stream: std::net::TcpStream) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        // A worker ends only after the last sender is gone, so this cannot fail while there is one.
        let _ = self.sender.send(stream);
    }

    /// Takes no more connections and waits until the thread ended, which is when its connections have.
    pub(crate) fn join(self) {
        drop(self.sender);
        let _ = self.thread.join();
    }
}

fn runtime() -> io::Result<tokio::runtime::LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // How many tasks run between looks at the sockets; a turn is long, so look often.
        .event_interval(8)
        .build_local(tokio::runtime::LocalOptions::default())
}

/// Serves what is handed over until nobody can hand over any more.
async fn serve(
    mut receiver: UnboundedReceiver<std::net::TcpStream>,
    node: Arc<Node>,
    settings: Arc<Settings>,
    connections: Arc<AtomicUsize>,
) {
    while let Some(stream) = receiver.recv().await {
        let counted = Counted(Arc::clone(&connections));
        match accept(stream, &node, &settings) {
            Ok(connection) => {
                tokio::task::spawn_local(async move {
                    let _counted = counted;
                    connection.await;
                });
            }
            Err(error) => tracing::warn!("cannot serve a connection: {error}"),
        }
    }
}

/// One connection in the count of a worker, for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn accept(stream: std::net::TcpStream, node: &Arc<Node>, settings: &Arc<Settings>) -> io::Result<Connection> {
    let peer = stream.peer_addr()?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let stream = TcpStream::from_std(stream)?;
    let mailbox = Arc::new(Mailbox::default());
    let session = Session::new(Arc::clone(node), Arc::clone(settings), Arc::clone(&mailbox), location(peer));
    tracing::info!(connection = session.id().0, %peer, "accepted");
    Ok(Connection::new(stream, session, mailbox))
}

fn location(peer: SocketAddr) -> PeerLocation {
    if peer.ip().to_canonical().is_loopback() { PeerLocation::Loopback } else { PeerLocation::Remote }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_recognised_in_both_address_families() {
        for (address, expected) in [
            ("127.0.0.1:1", PeerLocation::Loopback),
            ("127.8.0.1:1", PeerLocation::Loopback),
            ("[::1]:1", PeerLocation::Loopback),
            ("[::ffff:127.0.0.1]:1", PeerLocation::Loopback),
            ("10.0.0.1:1", PeerLocation::Remote),
            ("[fe80::1]:1", PeerLocation::Remote),
        ] {
            assert_eq!(location(address.parse().unwrap()), expected, "{address}");
        }
    }
}
