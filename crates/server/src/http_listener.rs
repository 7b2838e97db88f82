//! Listeners for HTTP: that of the management, where operators come in from other machines, and that of the metrics.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use leveret_broker::access::Peer;
use leveret_management::ListenerKind;
use leveret_management::api::{self, Api};
use leveret_management::control::Control;
use leveret_management::prometheus::{self, Exporter};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use crate::StartError;
use crate::config::SocketSettings;
use crate::entrance::canonical;
use crate::listener;
use crate::tls::Context;

/// Connections at once, beyond which others wait.
const CONNECTIONS_MAX: usize = 1024;
/// Connections of one address at once, beyond which its next ones are hung up on: nobody may take all there are.
const CONNECTIONS_OF_ONE_MAX: usize = 256;
/// How long the TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take nothing of an answer that waits for it.
const WRITE_PATIENCE: Duration = Duration::from_mins(5);
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// What operators do.
    Management,
    /// What the node counts.
    Prometheus,
}

impl Purpose {
    /// All there are.
    pub(crate) const ALL: [Self; 2] = [Self::Management, Self::Prometheus];

    /// The plugin that it is.
    pub(crate) const fn plugin(self) -> &'static str {
        match self {
            Self::Management => "rabbitmq_management",
            Self::Prometheus => "rabbitmq_prometheus",
        }
    }

    /// What it is called in the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Management => "management",
            Self::Prometheus => "metrics",
        }
    }
}

/// Who answers at a listener.
#[derive(Debug, Clone)]
pub(crate) enum Service {
    /// At those of the management.
    Management {
        /// What everybody knows.
        api: Arc<Api>,
        /// What the tools ask for.
        control: Arc<Control>,
    },
    /// At those of the metrics.
    Prometheus(Arc<Exporter>),
}

impl Service {
    const fn purpose(&self) -> Purpose {
        match self {
            Self::Management { .. } => Purpose::Management,
            Self::Prometheus(_) => Purpose::Prometheus,
        }
    }

    /// Answers at a connection.
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer, end: impl Future<Output = ()>) {
        match self {
            Self::Management { api, control } => api::serve(stream, peer, api, control, end).await,
            Self::Prometheus(exporter) => prometheus::serve(stream, peer, exporter, end).await,
        }
    }
}

/// A socket that listens, at which nobody answers yet.
#[derive(Debug)]
pub(crate) struct Bound {
    purpose: Purpose,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Context>>,
}

/// A listener, at which somebody answers until it is closed.
#[derive(Debug)]
pub(crate) struct HttpListener {
    purpose: Purpose,
    address: SocketAddr,
    tls: Option<Arc<Context>>,
    stop: watch::Sender<bool>,
    /// Ends when nobody accepts any more; the connections that are there end by themselves.
    task: JoinHandle<()>,
}

impl Bound {
    /// Opens the socket.
    pub(crate) fn open(purpose: Purpose, address: SocketAddr, tls: Option<Arc<Context>>) -> Result<Self, StartError> {
        let failed = |source| StartError::listen_for_http(purpose, address, source);
        let listener = listener::bind(address, &SocketSettings::default()).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { purpose, listener, address, tls })
    }

    /// What it is for.
    pub(crate) const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Where it is.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer.
    pub(crate) fn serve(self, service: Service, runtime: &Handle) -> HttpListener {
        let Self { purpose, listener, address, tls } = self;
        let (stop, stopped) = watch::channel(false);
        if let Some(context) = &tls {
            runtime.spawn(Arc::clone(context).watch(stopped.clone()));
        }
        let task = runtime.spawn(accept(listener, tls.clone(), service, stopped));
        HttpListener { purpose, address, tls, stop, task }
    }
}

impl HttpListener {
    /// What it is for.
    pub(crate) const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Where it is.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it speaks.
    pub(crate) const fn kind(&self) -> ListenerKind {
        match (self.purpose, self.tls.is_some()) {
            (Purpose::Management, false) => ListenerKind::Http,
            (Purpose::Management, true) => ListenerKind::Https,
            (Purpose::Prometheus, false) => ListenerKind::Prometheus,
            (Purpose::Prometheus, true) => ListenerKind::PrometheusTls,
        }
    }

    /// The TLS that it speaks, if it does.
    pub(crate) fn tls(&self) -> Option<Arc<Context>> {
        self.tls.clone()
    }

    /// Reads certificates and keys again.
    pub(crate) fn reload_tls(&self) {
        if let Some(context) = &self.tls {
            context.reload();
        }
    }

    /// Takes no more connections; those that are there are answered what they have asked, and end.
    pub(crate) fn close(self, runtime: &Handle) {
        let _ = self.stop.send(true);
        let _ = runtime.block_on(self.task);
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<Context>>, service: Service, mut stop: watch::Receiver<bool>) {
    let purpose = service.purpose().name();
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("cannot accept connections for {purpose}: {error}");
            return;
        }
    };
    let mut connections = JoinSet::new();
    let callers = Arc::new(Callers { purpose, counts: Mutex::default() });
    loop {
        while connections.try_join_next().is_some() {}
        let has_room = connections.len() < CONNECTIONS_MAX;
        tokio::select! {
            _ = stop.changed() => break,
            _ = connections.join_next(), if !has_room => {}
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, address)) => {
                    let Some(place) = callers.admit(address.ip()) else { continue };
                    let served = serve(stream, address, tls.clone(), service.clone(), stop.clone());
                    connections.spawn(async move {
                        let _place = place;
                        served.await;
                    });
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection for {purpose}: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // They were told to end; one of them may be what asked for this, and waits for the answer.
    connections.detach_all();
}

/// How many connections each address has.
#[derive(Debug)]
struct Callers {
    /// What they come for.
    purpose: &'static str,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place among those of its address, until it is dropped.
#[derive(Debug)]
struct Place {
    callers: Arc<Callers>,
    address: IpAddr,
}

impl Callers {
    /// A place for one more connection, unless the address has as many as it may.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut known = self.counts.lock();
        let count = known.entry(address).or_default();
        if *count >= CONNECTIONS_OF_ONE_MAX {
            tracing::debug!(%address, "too many connections for {}", self.purpose);
            return None;
        }
        *count += 1;
        if *count == CONNECTIONS_OF_ONE_MAX {
            let purpose = self.purpose;
            tracing::warn!("{address} has {CONNECTIONS_OF_ONE_MAX} connections for {purpose}, and gets no more");
        }
        Some(Place { callers: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut known = self.callers.counts.lock();
        if let Entry::Occupied(mut count) = known.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What counts as one address: of IPv6 the network, of which somebody has all addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<Context>>,
    service: Service,
    mut stop: watch::Receiver<bool>,
) {
    let mut peer = Peer::plain(canonical(address));
    let end = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let purpose = service.purpose().name();
    let stream = Patient::new(stream);
    let Some(context) = tls else {
        service.serve(stream, peer, end).await;
        return;
    };
    match timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(context.config()).accept(stream)).await {
        Ok(Ok(stream)) => {
            match context.peer(stream.get_ref().1) {
                Ok(known) => peer.tls = Some(known),
                Err(error) => {
                    tracing::warn!(peer = %peer.address, "TLS handshake for {purpose} failed: {error}");
                    return;
                }
            }
            service.serve(stream, peer, end).await;
        }
        Ok(Err(error)) => tracing::warn!(peer = %peer.address, "TLS handshake for {purpose} failed: {error}"),
        Err(_) => tracing::warn!(peer = %peer.address, "TLS handshake for {purpose} took too long"),
    }
}

/// A stream that fails once its peer has taken nothing for a while.
#[derive(Debug)]
struct Patient<S> {
    stream: S,
    /// Until when it waits, while something waits to be written.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    const fn new(stream: S) -> Self {
        Self { stream, until: None }
    }

    fn waited<T>(&mut self, task: &mut Task<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + WRITE_PATIENCE)));
        ready!(until.as_mut().poll(task));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Task<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(task, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Task<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(task, octets);
        self.waited(task, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(task);
        self.waited(task, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(task);
        self.waited(task, ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_gets_more_than_its_share() {
        let callers = Arc::new(Callers { purpose: "management", counts: Mutex::default() });
        let admit = |address: &str| callers.admit(address.parse().unwrap());
        let mut places: Vec<_> =
            (0..CONNECTIONS_OF_ONE_MAX).map(|_| admit("2001:db8::1").expect("there is room")).collect();
        for (address, gets_in) in
            [("2001:db8::1", false), ("2001:db8::ffff:1", false), ("2001:db8:0:1::1", true), ("10.0.0.1", true)]
        {
            assert_eq!(admit(address).is_some(), gets_in, "{address}");
        }
        places.pop();
        assert!(admit("2001:db8::2").is_some());
        places.clear();
        assert!(callers.counts.lock().is_empty());
    }
}
