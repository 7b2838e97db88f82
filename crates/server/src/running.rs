//! A node from its start to its stop.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use leveret_auth::Chain;
use leveret_broker::clock::Clock;
use leveret_broker::journal::Journal;
use leveret_broker::mailbox::CloseReason;
use leveret_broker::node::{Node, Surroundings};
use leveret_broker::store::MessageStore;
use leveret_broker::switches::{Part, Switch};
use leveret_management::StorageFigures;
use leveret_session::amqp091::BasicProperties;
use tokio::sync::watch;

use crate::boot_definitions;
use crate::clock::SystemClock;
use crate::config::{Config, SocketSettings};
use crate::data_dir::DataDir;
use crate::entrance::{Entrance, ProxyProtocol};
use crate::error::StartError;
use crate::login::Login;
use crate::metadata::{self, MetadataJournal};
use crate::seen::{self, SeenWriter};
use crate::store::{self, Opened, Store};
use crate::terms::{Current, Terms};
use crate::tls::Context;
use crate::weighing::Weighing;
use crate::worker::Worker;
use crate::{descriptors, listener};

/// Longest wait for clients to answer connection.close when the node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between looks whether they have.
const STOP_POLL: Duration = Duration::from_millis(5);

/// A node that accepts connections; dropping it ends them without a word.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    tls: Option<Arc<Context>>,
    node: Arc<Node>,
    workers: Arc<Vec<Worker>>,
    login: Login,
    terms: Current,
    entrances: Vec<(SocketAddr, Arc<Entrance>)>,
    sockets: SocketSettings,
    acceptor: Option<Acceptor>,
    journal: Arc<MetadataJournal>,
    store: Arc<Store>,
    clock: Arc<SystemClock>,
    seen: Arc<SeenWriter>,
    weighing: Option<Weighing>,
    _data_dir: Option<DataDir>,
}

/// The thread that accepts connections.
#[derive(Debug)]
struct Acceptor {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// Starts a node on threads of its own and returns when it accepts connections.
///
/// This is the broker alone: what operators have, such as the control socket and the management listener, is the
/// [`Keeper`](crate::Keeper)'s.
pub fn start(config: &Config) -> Result<Running, StartError> {
    let data_dir = DataDir::open(&config.data_dir)?;
    begin(config, Some(data_dir), &[])
}

/// Starts a node without the parts in `off`. Others have to be kept out of its data folder, by `data_dir` or otherwise.
pub(crate) fn begin(config: &Config, data_dir: Option<DataDir>, off: &[Part]) -> Result<Running, StartError> {
    let tls = config.tls.as_ref().map(Context::open).transpose()?;
    if tls.is_none() && !config.listen_tls.is_empty() {
        return Err(StartError::NoCertificate);
    }
    let (plain_listeners, addresses) = bind(&config.listen, &config.sockets)?;
    let (tls_listeners, tls_addresses) = bind(&config.listen_tls, &config.sockets)?;
    let descriptors = descriptors::raise_limit();
    tracing::debug!(?descriptors, "limit of open files");
    let threads = |source| StartError::Threads { source };
    let (mut topology, journal) = metadata::open(&config.data_dir)?;
    let journal = Arc::new(journal);
    let Opened { store, mut queues, unused_id } = store::open(config, &journal, &topology)?;
    topology.reserve_queue_ids(unused_id);
    let clock = SystemClock::new();
    let seen = Arc::new(seen::open(&config.data_dir, &topology, clock.now())?);
    let access = &config.access;
    let defaults = access.default_user.defaults(&access.login.hashing);
    let defaults = defaults.map_err(|source| StartError::Login { source: Box::new(source.into()) })?;
    let surroundings = Surroundings {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        properties: Arc::new(BasicProperties),
        journal: Some(Arc::clone(&journal) as Arc<dyn Journal>),
        store: Some(Arc::clone(&store) as Arc<dyn MessageStore>),
        defaults: Some(defaults).filter(|_| config.definitions.sources.is_empty()),
        name: config.node_name.as_str().into(),
        limits: config.limits,
    };
    let node = Arc::new(Node::restored(topology, surroundings, |id| queues.remove(&id)));
    for part in off {
        node.switches().set(*part, Switch::Off);
    }
    journal.serve(&node);
    store.serve(&node);
    seen.serve(&node);
    clock.serve(&node).map_err(threads)?;
    node.start_delays();
    boot_definitions::import(&config.definitions, &node, access.login.hashing)?;
    let login = Login::start(&access.login, &node)?;
    let terms = Arc::new(ArcSwap::from_pointee(Terms::new(config, login.chain())));
    let workers = (0..config.threads.max(1))
        .map(|number| Worker::start(number, Arc::clone(&node), Arc::clone(&terms)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(threads)?;
    let workers = Arc::new(workers);
    let proxy = if config.proxy_protocol { ProxyProtocol::Required } else { ProxyProtocol::Off };
    let plain_entrance = Arc::new(Entrance { proxy, tls: None });
    let tls_entrance = Arc::new(Entrance { proxy, tls: tls.clone() });
    let plain = addresses.iter().map(|address| (*address, Arc::clone(&plain_entrance)));
    let entrances: Vec<_> =
        plain.chain(tls_addresses.iter().map(|address| (*address, Arc::clone(&tls_entrance)))).collect();
    let bound = plain_listeners.into_iter().chain(tls_listeners);
    let listeners = bound.zip(entrances.iter().map(|(_, entrance)| Arc::clone(entrance))).collect();
    let weighing = Weighing::start(&node).map_err(threads)?;
    let acceptor = Acceptor::start(listeners, Arc::clone(&workers), tls.clone()).map_err(threads)?;
    for address in &addresses {
        tracing::info!("started TCP listener on {address}");
    }
    for address in &tls_addresses {
        tracing::info!("started TLS (SSL) listener on {address}");
    }
    Ok(Running {
        addresses,
        tls_addresses,
        tls,
        node,
        workers,
        login,
        terms,
        entrances,
        sockets: config.sockets.clone(),
        acceptor: Some(acceptor),
        journal,
        store,
        clock,
        seen,
        weighing: Some(weighing),
        _data_dir: data_dir,
    })
}

impl Acceptor {
    fn start(
        listeners: Vec<(TcpListener, Arc<Entrance>)>,
        workers: Arc<Vec<Worker>>,
        tls: Option<Arc<Context>>,
    ) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for (listener, entrance) in listeners {
                    tasks.spawn(listener::accept(listener, entrance, Arc::clone(&workers), stopped.clone()));
                }
                if let Some(context) = tls {
                    tasks.spawn(context.watch(stopped));
                }
                while tasks.join_next().await.is_some() {}
            });
        };
        let thread = std::thread::Builder::new().name("leveret-accept".into()).spawn(run)?;
        Ok(Self { stop, thread })
    }

    fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

/// Opens listening sockets; gives them and where they are.
fn bind(places: &[SocketAddr], sockets: &SocketSettings) -> Result<(Vec<TcpListener>, Vec<SocketAddr>), StartError> {
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for place in places {
        let failed = |source| StartError::listen(*place, source);
        let listener = listener::bind(*place, sockets).map_err(failed)?;
        addresses.push(listener.local_addr().map_err(failed)?);
        listeners.push(listener);
    }
    Ok((listeners, addresses))
}

impl Running {
    /// Where the node accepts AMQP connections, with the port that the system chose for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The same for AMQP connections with TLS.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// Reads certificates, keys and authorities again. Connections that are there stay; if something is wrong, the log says so
    /// and what was read before stays in use.
    pub fn reload_tls(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// Takes over what can change while the node runs: limits, and what new connections are offered.
    pub fn renew(&self, config: &Config) {
        self.node.set_limits(config.limits);
        self.terms.store(Arc::new(self.terms.load().renewed(config)));
    }

    /// What the connections share, for whoever changes it from within the process.
    pub const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Counts of logins, and what their back ends remember.
    pub const fn logins(&self) -> &Arc<Chain> {
        self.login.chain()
    }

    /// The files with the certificates of its listeners.
    pub(crate) fn certificate_files(&self) -> Vec<std::path::PathBuf> {
        self.tls.as_ref().map(|tls| tls.certificate_files()).unwrap_or_default()
    }

    /// Takes no more connections, as if nobody listened; those that are there go on.
    pub(crate) fn suspend(&mut self) {
        self.end();
    }

    /// Takes connections again.
    pub(crate) fn resume(&mut self) -> Result<(), StartError> {
        if self.acceptor.is_some() {
            return Ok(());
        }
        let mut listeners = Vec::new();
        for (address, entrance) in &self.entrances {
            let listener =
                listener::bind(*address, &self.sockets).map_err(|source| StartError::listen(*address, source))?;
            listeners.push((listener, Arc::clone(entrance)));
        }
        let acceptor = Acceptor::start(listeners, Arc::clone(&self.workers), self.tls.clone());
        self.acceptor = Some(acceptor.map_err(|source| StartError::Threads { source })?);
        Ok(())
    }

    /// Whether it takes connections.
    pub(crate) const fn is_accepting(&self) -> bool {
        self.acceptor.is_some()
    }

    /// Octets of messages in memory.
    pub(crate) fn message_memory(&self) -> u64 {
        self.store.memory()
    }

    /// What its logs on disk count.
    pub(crate) fn storage(&self) -> StorageFigures {
        self.store.figures(self.journal.figures())
    }

    /// What keeps it from normal work, in a sentence each.
    pub(crate) fn alarms(&self) -> Vec<String> {
        let journal = self.journal.has_failed().then(|| {
            "the metadata log could not be written; no durable change is taken until the broker is started again".into()
        });
        self.store.alarm().map(String::from).into_iter().chain(journal).collect()
    }

    /// Closes every connection with reply code 320 and waits a few seconds for the clients' answers.
    pub fn stop(mut self) {
        self.end();
        self.node.close_connections(&CloseReason::Shutdown);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.node.connection_count() > 0 && Instant::now() < deadline {
            std::thread::sleep(STOP_POLL);
        }
    }

    /// Accepts no more connections.
    fn end(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.stop();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        // The acceptor is gone, so this is the last owner, and the workers end with their senders.
        if let Some(workers) = Arc::get_mut(&mut self.workers) {
            for worker in workers.drain(..) {
                worker.join();
            }
        }
        self.weighing = None;
        let deadline = Instant::now() + STOP_TIMEOUT;
        // Neither of the two may go unasked.
        while (self.node.finish_moves() | self.node.settle_delays()) && Instant::now() < deadline {
            std::thread::sleep(STOP_POLL);
        }
        self.clock.stop();
        // Last, so that what the connections' ends changed is written as well. The store waits for the journal.
        self.store.stop();
        self.journal.stop();
        self.seen.stop();
    }
}
