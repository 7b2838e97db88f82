//! Accepts connections and hands each to the thread that has fewest.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use crate::config::SocketSettings;
use crate::entrance::Entrance;
use crate::worker::Worker;

/// Wait after the system refused a connection for lack of descriptors or memory, so that a refusal does not become a spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Opens a listening socket.
pub(crate) fn bind(address: SocketAddr, sockets: &SocketSettings) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A broker that restarts must not wait for the connections of its predecessor to time out.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` serves both families, also where the system's default says otherwise.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    // Connections have these sizes from their listener: later is too late for the window that is offered.
    if let Some(size) = sockets.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = sockets.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    socket.listen(sockets.backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts until told to stop.
pub(crate) async fn accept(
    listener: std::net::TcpListener,
    entrance: Arc<Entrance>,
    workers: Arc<Vec<Worker>>,
    mut stop: watch::Receiver<bool>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("cannot accept connections: {error}");
            return;
        }
    };
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            accepted = listener.accept() => match accepted.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => {
                    if let Some(worker) = workers.iter().min_by_key(|worker| worker.connection_count()) {
                        worker.hand_over(stream, Arc::clone(&entrance));
                    }
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}
