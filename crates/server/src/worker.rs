//! The threads that serve connections: one single-threaded runtime each, where a connection lives its whole life.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use leveret_broker::access::Peer;
use leveret_broker::mailbox::Mailbox;
use leveret_broker::node::Node;
use leveret_session::amqp091::Session;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::entrance::{Entrance, Guest, canonical};
use crate::terms::{Current, Terms};

/// A connection and the listener that it came by.
type Arrival = (std::net::TcpStream, Arc<Entrance>);

/// A thread and the way to hand it connections.
#[derive(Debug)]
pub(crate) struct Worker {
    sender: UnboundedSender<Arrival>,
    /// Connections handed over and not yet ended.
    connections: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a thread.
    pub(crate) fn start(number: usize, node: Arc<Node>, terms: Current) -> io::Result<Self> {
        let (sender, receiver) = unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let (ready, started) = std::sync::mpsc::channel();
        // A local runtime cannot move between threads, so the thread makes its own and reports.
        let thread = std::thread::Builder::new().name(format!("leveret-{number}")).spawn(move || match runtime() {
            Ok(runtime) => {
                let _ = ready.send(Ok(()));
                runtime.block_on(serve(receiver, node, terms, counter));
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
    pub(crate) fn hand_over(&self, stream: std::net::TcpStream, entrance: Arc<Entrance>) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        // A worker ends only after the last sender is gone, so this cannot fail while there is one.
        let _ = self.sender.send((stream, entrance));
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
    mut receiver: UnboundedReceiver<Arrival>,
    node: Arc<Node>,
    terms: Current,
    connections: Arc<AtomicUsize>,
) {
    while let Some((stream, entrance)) = receiver.recv().await {
        let counted = Counted(Arc::clone(&connections));
        let terms = terms.load_full();
        let accepted = accept(stream, &terms);
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot serve a connection: {error}");
                continue;
            }
        };
        let deadline = Instant::now() + terms.handshake_timeout;
        if entrance.is_open() {
            let connection = connect(stream, Guest { peer, tls: None }, deadline, &node, &terms);
            tokio::task::spawn_local(async move {
                let _counted = counted;
                connection.await;
            });
            continue;
        }
        let node = Arc::clone(&node);
        tokio::task::spawn_local(async move {
            let _counted = counted;
            // Boxed, or every connection would keep the room that only its first moments need.
            if let Some(guest) = Box::pin(entrance.admit(&stream, peer, deadline)).await {
                connect(stream, guest, deadline, &node, &terms).await;
            }
        });
    }
}

/// One connection in the count of a worker, for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn accept(stream: std::net::TcpStream, terms: &Terms) -> io::Result<(TcpStream, Peer)> {
    let peer = Peer::at(canonical(stream.peer_addr()?), canonical(stream.local_addr()?));
    stream.set_nonblocking(true)?;
    terms.set_up(&stream)?;
    Ok((TcpStream::from_std(stream)?, peer))
}

/// The connection of somebody who was let in.
fn connect(
    stream: TcpStream,
    Guest { peer, tls }: Guest,
    deadline: Instant,
    node: &Arc<Node>,
    terms: &Terms,
) -> Connection {
    let mailbox = Arc::new(Mailbox::default());
    let session = Session::new(Arc::clone(node), Arc::clone(&terms.session), Arc::clone(&mailbox), peer.clone());
    if let Some(known) = &peer.tls {
        tracing::debug!(
            connection = session.id().0,
            peer = %peer.address,
            tls = &*known.version,
            cipher = &*known.cipher,
            resumed = tls.as_ref().is_some_and(|tls| tls.is_resumed()),
            certificate = known.certificate.as_ref().map(|certificate| &*certificate.subject),
            "TLS session"
        );
    }
    Connection::new(stream, tls, deadline, session, mailbox)
}
