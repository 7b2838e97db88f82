//! The process around the broker: it holds the data folder, the control socket and the management listener, and starts and stops
//! the broker within.
//!
//! Whoever starts, stops or changes something holds the turn, of which there is one. What is asked for is read under the lock
//! of the state, within which nothing waits for long.

mod host;
mod http;
mod identity;
mod logs;
mod readiness;
mod reset;

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use leveret_auth::hash::Hashing;
use leveret_broker::switches::Switch;
use leveret_management::control::Control;
use leveret_management::events::EventExchange;
use leveret_management::pid::Pids;
use leveret_management::{App, Host, HostError, Phase};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::{Builder, Handle, Runtime};

use self::http::{HttpListeners, HttpSettings};
use self::readiness::PidFile;
use crate::config::{Config, Effective, Loaded};
use crate::control_socket::ControlSocket;
use crate::data_dir::DataDir;
use crate::error::StartError;
use crate::http_listener::{Bound, HttpListener, Purpose};
use crate::logging::Logs;
use crate::plugins::{EVENT_EXCHANGE, Plugins, Start};
use crate::running::{self, Running};

/// Threads for what operators ask for; what takes time waits on threads of its own.
const THREADS: usize = 1;
/// How long somebody waits for the turn: a configuration that is read again keeps nobody from stopping the broker.
const TURN_PATIENCE: Duration = Duration::from_secs(5);
/// How long threads that still work for operators may take to end.
const THREADS_TIMEOUT: Duration = Duration::from_secs(1);

/// What the keeper needs of the program that it is in.
pub struct Outside {
    /// Reads the configuration again.
    pub load: Box<dyn Fn() -> Result<Loaded, Box<dyn Error>> + Send + Sync>,
    /// Has the program stop.
    pub stop: Box<dyn Fn() + Send + Sync>,
    /// The log.
    pub logs: Logs,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

/// The process around the broker.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    socket: Option<ControlSocket>,
    runtime: Option<Runtime>,
    _pid_file: Option<PidFile>,
    _data_dir: DataDir,
}

/// What the keeper shares with those who ask it for something.
#[derive(Debug)]
struct Shared {
    /// Itself, for those whom it serves.
    me: Weak<Self>,
    outside: Outside,
    runtime: Handle,
    node_name: String,
    data_dir: PathBuf,
    started: Instant,
    started_at: SystemTime,
    /// Held by who starts, stops or changes something.
    turn: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    running: Option<Running>,
    /// Of this start of the broker.
    pids: Arc<Pids>,
    creation: u64,
    /// What the configuration said when it was read last.
    about: About,
    plugins: Option<Plugins>,
    http: HttpListeners,
    /// What publishes what happens, while it does.
    events: Option<EventExchange>,
    /// In which vhost.
    event_vhost: String,
}

/// What of the configuration operators may want to know.
#[derive(Debug, Default)]
struct About {
    product: String,
    version: String,
    threads: usize,
    memory_budget: u64,
    mechanisms: Vec<&'static str>,
    hashing: Hashing,
    settings: Vec<Effective>,
    files: Vec<PathBuf>,
}

impl Keeper {
    /// Takes the data folder and opens the control socket. The broker does not run yet.
    pub fn open(config: &Config, outside: Outside) -> Result<Self, StartError> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let pid_file = config
            .pid_file
            .as_deref()
            .map(|path| PidFile::write(path).map_err(|source| StartError::PidFile { path: path.to_owned(), source }));
        let pid_file = pid_file.transpose()?;
        let mut builder = Builder::new_multi_thread();
        let builder = builder.worker_threads(THREADS).thread_name("leveret-control").enable_all();
        let runtime = builder.build().map_err(|source| StartError::Threads { source })?;
        // Its full name can be had only now that it is there.
        let path = config.data_dir.canonicalize().unwrap_or_else(|_| config.data_dir.clone());
        let shared = Arc::new_cyclic(|me| Shared {
            me: Weak::clone(me),
            outside,
            runtime: runtime.handle().clone(),
            node_name: config.node_name.clone(),
            data_dir: path,
            started: Instant::now(),
            started_at: SystemTime::now(),
            turn: Mutex::new(()),
            state: Mutex::new(State {
                phase: Phase::Starting,
                running: None,
                pids: Arc::new(Pids::new(config.node_name.as_str().into(), 0)),
                creation: 0,
                about: About::default(),
                plugins: None,
                http: HttpListeners::default(),
                events: None,
                event_vhost: String::new(),
            }),
        });
        let control = Arc::new(Control::new(Arc::clone(&shared) as Arc<dyn Host>));
        let socket = ControlSocket::open(&shared.data_dir, &shared.node_name, control, runtime.handle())?;
        Ok(Self { shared, socket: Some(socket), runtime: Some(runtime), _pid_file: pid_file, _data_dir: data_dir })
    }

    /// Starts the broker for the first time.
    pub fn start(&self, loaded: Loaded) -> Result<(), StartError> {
        let _turn = self.shared.turn.lock();
        self.shared.begin(loaded)
    }

    /// What operators ask.
    pub fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.shared) as Arc<dyn Host>
    }

    /// Where the broker takes AMQP connections, without and with TLS.
    pub fn addresses(&self) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let state = self.shared.state.lock();
        let of = |addresses: fn(&Running) -> &[SocketAddr]| {
            state.running.as_ref().map(addresses).unwrap_or_default().to_vec()
        };
        (of(Running::addresses), of(Running::tls_addresses))
    }

    /// Where the management listener is.
    pub fn management_addresses(&self) -> Vec<SocketAddr> {
        self.shared.state.lock().http.addresses(Purpose::Management)
    }

    /// Where the metrics are.
    pub fn prometheus_addresses(&self) -> Vec<SocketAddr> {
        self.shared.state.lock().http.addresses(Purpose::Prometheus)
    }

    /// What the node is called.
    pub fn node_name(&self) -> &str {
        &self.shared.node_name
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        &self.shared.data_dir
    }

    /// Reads again what can be read again while the broker runs; the log says what came of it.
    pub fn reload(&self) {
        match self.shared.reload() {
            // Nobody else says so, and whoever sent the signal has no answer.
            Err(error @ HostError::Busy) => tracing::warn!("the configuration was not read again: {error}"),
            Err(error) => tracing::debug!("the configuration was not read again: {error}"),
            Ok(_) => {}
        }
    }

    /// Stops the broker, if it runs, and everything else.
    pub fn stop(self) {
        readiness::stopping();
        // Whoever starts or stops something is waited for. Nobody has the turn afterwards: one who waits for it must not start the
        // broker again while the process ends.
        let turn = self.shared.turn.lock();
        self.shared.end();
        MutexGuard::leak(turn);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if let Some(socket) = self.socket.take() {
            socket.close(runtime.handle());
        }
        runtime.shutdown_timeout(THREADS_TIMEOUT);
    }
}

impl State {
    /// Begins to publish what happens, if it is to be; gives back what is to end.
    fn tell_events(&mut self) -> Option<EventExchange> {
        let is_wanted = self.plugins.as_ref().is_some_and(|plugins| plugins.on().contains(EVENT_EXCHANGE));
        let Some(running) = self.running.as_ref().filter(|_| is_wanted) else { return self.events.take() };
        if self.events.is_none() {
            match EventExchange::start(running.node(), &self.pids, &self.event_vhost) {
                Ok(events) => self.events = Some(events),
                Err(error) => tracing::error!("{error}"),
            }
        }
        None
    }
}

impl Shared {
    /// The right to start, stop or change something, unless somebody has it for long.
    fn turn(&self) -> Result<MutexGuard<'_, ()>, HostError> {
        self.turn.try_lock_for(TURN_PATIENCE).ok_or(HostError::Busy)
    }

    /// Starts the broker. The caller has the turn.
    fn begin(&self, loaded: Loaded) -> Result<(), StartError> {
        self.state.lock().phase = Phase::Starting;
        readiness::status("starting");
        let begun = self.build(loaded);
        if let Err(error) = &begun {
            self.state.lock().phase = Phase::Stopped;
            readiness::status(&format!("stopped: {error}"));
        } else {
            readiness::ready("running");
        }
        begun
    }

    fn build(&self, loaded: Loaded) -> Result<(), StartError> {
        let Loaded { mut config, settings, files, warnings } = loaded;
        // What names the process and its folder is what it began with.
        config.data_dir.clone_from(&self.data_dir);
        config.node_name.clone_from(&self.node_name);
        self.outside.logs.configure(&config.log, &self.node_name, &self.data_dir)?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        for remark in config.remarks() {
            tracing::warn!("{remark}");
        }
        reset::finish(&self.data_dir).map_err(|source| StartError::Reset { path: self.data_dir.clone(), source })?;
        let start = if self.state.lock().plugins.is_none() { Start::First } else { Start::Again };
        let plugins = Plugins::open(&self.data_dir, &config.plugins, &config.access, start)?;
        for warning in plugins.warnings() {
            tracing::warn!("{warning}");
        }
        // Before anything is read, which may take long.
        let http = HttpSettings { management: config.management.clone(), prometheus: config.prometheus.clone() };
        let mut bound = Vec::new();
        for purpose in Purpose::ALL {
            if plugins.on().contains(purpose.plugin()) {
                bound.extend(http.bind(purpose)?);
            }
        }
        let running = running::begin(&config, None, &plugins.off_parts())?;
        self.outside.logs.serve(running.node(), &config.access.default_user.vhost);
        identity::ensure(running.node());
        let of = |purpose| bound.iter().filter(move |bound| bound.purpose() == purpose).map(Bound::address);
        let management: Vec<_> = of(Purpose::Management).collect();
        let prometheus: Vec<_> = of(Purpose::Prometheus).collect();
        let (addresses, tls_addresses) = (running.addresses().to_vec(), running.tls_addresses().to_vec());
        let mut state = self.state.lock();
        state.about = About {
            product: config.product,
            version: config.version,
            threads: config.threads,
            memory_budget: config.memory_budget,
            mechanisms: config.access.mechanisms.iter().map(|mechanism| mechanism.as_str()).collect(),
            hashing: config.access.login.hashing,
            settings,
            files,
        };
        let plugins_on = plugins.on().len();
        state.plugins = Some(plugins);
        state.http = HttpListeners { settings: http, ..HttpListeners::default() };
        // No two starts have the same, however short they are.
        state.creation = unix_seconds().max(state.creation + 1);
        state.pids = Arc::new(Pids::new(self.node_name.as_str().into(), state.creation));
        state.event_vhost = config.event_vhost;
        state.running = Some(running);
        state.tell_events();
        state.phase = Phase::Running;
        drop(state);
        let open = self.serve(bound);
        for listener in &open {
            let kind = if listener.tls().is_some() { "HTTPS" } else { "HTTP (non-TLS)" };
            match listener.purpose() {
                Purpose::Management => {
                    tracing::info!("Management plugin: {kind} listener started on {}", listener.address());
                }
                Purpose::Prometheus => {
                    tracing::info!("Prometheus metrics: {kind} listener started on {}", listener.address());
                }
            }
        }
        self.state.lock().http.open = open;
        tracing::info!("Server startup complete; {plugins_on} plugins started.");
        let data_dir = self.data_dir.display();
        tracing::info!(?addresses, ?tls_addresses, ?management, ?prometheus, %data_dir, "started");
        Ok(())
    }

    /// Answers at sockets that listen.
    fn serve(&self, mut bound: Vec<Bound>) -> Vec<HttpListener> {
        let Some(me) = self.me.upgrade() else { return Vec::new() };
        let host = me as Arc<dyn Host>;
        let settings = self.state.lock().http.settings.clone();
        let mut open = Vec::new();
        for purpose in Purpose::ALL {
            let of_purpose: Vec<_> = bound.extract_if(.., |bound| bound.purpose() == purpose).collect();
            if !of_purpose.is_empty() {
                let service = settings.service(purpose, &host, &self.runtime);
                open.extend(of_purpose.into_iter().map(|bound| bound.serve(service.clone(), &self.runtime)));
            }
        }
        open
    }

    /// Stops the broker, if it runs. The caller has the turn.
    fn end(&self) {
        let mut state = self.state.lock();
        let Some(running) = state.running.take() else { return };
        state.phase = Phase::Stopping;
        let open = std::mem::take(&mut state.http).open;
        let events = state.events.take();
        drop(state);
        readiness::status("stopping");
        drop(events);
        for listener in open {
            listener.close(&self.runtime);
        }
        running.stop();
        self.state.lock().phase = Phase::Stopped;
        readiness::status("stopped; the process runs");
        tracing::info!("the broker is stopped");
    }

    fn app(&self) -> Option<App> {
        let state = self.state.lock();
        let running = state.running.as_ref()?;
        Some(App {
            node: Arc::clone(running.node()),
            logins: Arc::clone(running.logins()),
            hashing: state.about.hashing,
            pids: Arc::clone(&state.pids),
        })
    }

    /// Switches the parts of a running broker to what `plugins` say. The caller has the turn.
    fn switch(&self, plugins: Plugins) -> Result<(), HostError> {
        let failed = |error: &dyn fmt::Display| HostError::Failed(error.to_string());
        let is_on = |purpose: Purpose| plugins.on().contains(purpose.plugin());
        let missing: Vec<_> = {
            let state = self.state.lock();
            let missing = Purpose::ALL.into_iter().filter(|purpose| is_on(*purpose) && !state.http.has(*purpose));
            if state.running.is_some() {
                missing.map(|purpose| (purpose, state.http.settings.clone())).collect()
            } else {
                Vec::new()
            }
        };
        // First what may fail.
        let mut bound = Vec::new();
        for (purpose, settings) in &missing {
            bound.extend(settings.bind(*purpose).map_err(|error| failed(&error))?);
        }
        plugins.save().map_err(|error| failed(&error))?;
        let opened = self.serve(bound);
        let unwanted: Vec<_> = Purpose::ALL.into_iter().filter(|purpose| !is_on(*purpose)).collect();
        let mut state = self.state.lock();
        if let Some(running) = &state.running {
            let (before, after) = (state.plugins.as_ref().map(Plugins::off_parts), plugins.off_parts());
            for part in before.unwrap_or_default() {
                running.node().switches().set(part, Switch::On);
            }
            for part in after {
                running.node().switches().set(part, Switch::Off);
            }
        }
        state.plugins = Some(plugins);
        let events = state.tell_events();
        state.http.open.extend(opened);
        let closed: Vec<_> = unwanted.into_iter().flat_map(|purpose| state.http.take(purpose)).collect();
        drop(state);
        drop(events);
        for listener in closed {
            listener.close(&self.runtime);
        }
        Ok(())
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
