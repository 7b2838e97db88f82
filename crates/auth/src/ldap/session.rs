//! Connections that are shared, and what is done as somebody on one of them.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use leveret_broker::access::Secret;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{Connection, Connector, Failure};
use super::directory::{Directory, DirectoryError, Entry, Search};
use super::log::Log;
use crate::chain::at_once;

/// Result codes of a bind that speak of the name and password, not of the server (RFC 4511 §4.1.9).
pub(super) const INVALID_CREDENTIALS: u32 = 49;
const CONSTRAINT_VIOLATION: u32 = 19;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_DN_SYNTAX: u32 = 34;
const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
const INSUFFICIENT_ACCESS_RIGHTS: u32 = 50;
const UNWILLING_TO_PERFORM: u32 = 53;

/// Result codes of a server that has better to do; another one may not.
const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;

/// As whom something is done.
#[derive(Debug, Clone)]
pub(super) enum Credentials {
    /// Nobody.
    Anonymous,
    /// Somebody, by a DN or another name that the server knows.
    Known { name: String, password: Secret },
}

/// Connections, of which there is a limited number.
pub(super) struct Pool {
    connector: Connector,
    size: usize,
    places: Arc<Semaphore>,
    idle: Mutex<Idle>,
    idle_timeout: Option<Duration>,
    /// How long to wait for a place.
    timeout: Duration,
    log: Log,
}

/// Connections without work, those that worked last at the end.
#[derive(Default)]
struct Idle {
    connections: Vec<IdleConnection>,
    /// Whether somebody closes those that are idle for too long.
    is_watched: bool,
}

struct IdleConnection {
    connection: Connection,
    since: Instant,
    use_for: Use,
}

/// What a connection may be used for. One that was somebody cannot be relied on to be nobody again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Anonymous,
    Known,
}

impl Pool {
    pub(super) fn new(
        connector: Connector,
        size: usize,
        idle_timeout: Option<Duration>,
        timeout: Duration,
        log: Log,
    ) -> Arc<Self> {
        let size = at_once(size);
        let places = Arc::new(Semaphore::new(size));
        Arc::new(Self { connector, size, places, idle: Mutex::default(), idle_timeout, timeout, log })
    }

    /// Takes a connection and becomes somebody on it.
    pub(super) async fn session(self: &Arc<Self>, credentials: Credentials) -> Result<Session, DirectoryError> {
        let place = timeout(self.timeout, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            let size = self.size;
            return Err(DirectoryError::Unreachable(format!("all of {size} LDAP connections are busy")));
        };
        let mut session =
            Session { pool: Arc::clone(self), credentials, connection: None, is_fresh: false, _place: place };
        session.open().await?;
        Ok(session)
    }

    fn take(&self, use_for: Use) -> Option<Connection> {
        let mut idle = self.idle.lock();
        idle.connections.retain_mut(|idle| !idle.connection.is_closed());
        let index = idle.connections.iter().rposition(|idle| idle.use_for == use_for)?;
        Some(idle.connections.remove(index).connection)
    }

    /// Closes idle connections until there may be one more.
    fn make_room(&self) {
        let mut idle = self.idle.lock();
        let in_use = self.size - self.places.available_permits().min(self.size);
        let keep = self.size.saturating_sub(in_use);
        let excess = idle.connections.len().saturating_sub(keep);
        idle.connections.drain(..excess);
    }

    fn give_back(self: &Arc<Self>, connection: Connection, use_for: Use) {
        if self.idle_timeout == Some(Duration::ZERO) {
            return;
        }
        let mut idle = self.idle.lock();
        idle.connections.push(IdleConnection { connection, since: Instant::now(), use_for });
        if let Some(after) = self.idle_timeout
            && !idle.is_watched
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            idle.is_watched = true;
            runtime.spawn(close_idle(Arc::downgrade(self), after));
        }
    }
}

/// Closes connections that are idle for too long, until there are none.
async fn close_idle(pool: Weak<Pool>, after: Duration) {
    let mut next = Instant::now() + after;
    loop {
        sleep_until(next).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle.lock();
        let now = Instant::now();
        idle.connections.retain(|idle| idle.since + after > now);
        let Some(since) = idle.connections.iter().map(|idle| idle.since).min() else {
            idle.is_watched = false;
            return;
        };
        next = since + after;
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("servers", &self.connector).field("size", &self.size).finish_non_exhaustive()
    }
}

/// Somebody on a connection, which goes back to the others afterwards.
pub(super) struct Session {
    pool: Arc<Pool>,
    credentials: Credentials,
    /// There is none while something is done on it, so that it is lost if that does not come to an end.
    connection: Option<Connection>,
    /// Whether it is new. Others may have been closed by the server in the meantime, which is nobody's fault.
    is_fresh: bool,
    _place: OwnedSemaphorePermit,
}

impl Session {
    async fn open(&mut self) -> Result<(), DirectoryError> {
        let Some(connection) = self.pool.take(self.use_for()) else { return self.open_fresh().await };
        self.is_fresh = false;
        match self.bind(connection).await {
            Err(DirectoryError::Unreachable(_)) => self.open_fresh().await,
            other => other,
        }
    }

    async fn open_fresh(&mut self) -> Result<(), DirectoryError> {
        self.is_fresh = true;
        let mut problems = Vec::new();
        for _ in 0..self.pool.connector.servers() {
            self.pool.make_room();
            let connection = self.pool.connector.connect().await.map_err(DirectoryError::Unreachable)?;
            match self.bind(connection).await {
                Err(DirectoryError::Unreachable(text)) => problems.push(text),
                other => return other,
            }
        }
        Err(DirectoryError::Unreachable(problems.join("; ")))
    }

    async fn bind(&mut self, mut connection: Connection) -> Result<(), DirectoryError> {
        if let Credentials::Known { name, password } = &self.credentials {
            let bound = connection.bind(name, password).await;
            self.pool.log.network(|shown| format!("bind as {}: {}", shown.dn(name), outcome(&bound)));
            match bound {
                Ok(()) => {}
                Err(Failure::Lost(text) | Failure::Answer { code: BUSY | UNAVAILABLE, text }) => {
                    connection.avoid_server();
                    return Err(DirectoryError::Unreachable(text));
                }
                Err(Failure::Answer { code, text }) => {
                    self.connection = Some(connection);
                    return Err(bind_error(code, text));
                }
            }
        }
        self.connection = Some(connection);
        Ok(())
    }

    fn use_for(&self) -> Use {
        match self.credentials {
            Credentials::Anonymous => Use::Anonymous,
            Credentials::Known { .. } => Use::Known,
        }
    }
}

impl Directory for Session {
    async fn search(&mut self, search: &Search) -> Result<Vec<Entry>, DirectoryError> {
        loop {
            let Some(mut connection) = self.connection.take() else {
                self.open_fresh().await?;
                continue;
            };
            let found = connection.search(search).await;
            self.pool.log.network(|shown| {
                let (base, filter) = (shown.dn(&search.base), shown.filter(&search.filter));
                format!("search {base} for {filter}: {}", outcome(&found))
            });
            match found {
                Err(Failure::Lost(_)) if !self.is_fresh => {}
                Err(Failure::Lost(text)) => {
                    connection.avoid_server();
                    return Err(DirectoryError::Unreachable(text));
                }
                Err(Failure::Answer { code, text }) => {
                    self.connection = Some(connection);
                    return Err(DirectoryError::Answer { code, text });
                }
                Ok(entries) => {
                    self.connection = Some(connection);
                    return Ok(entries);
                }
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.give_back(connection, self.use_for());
        }
    }
}

fn bind_error(code: u32, text: String) -> DirectoryError {
    match code {
        INVALID_CREDENTIALS
        | CONSTRAINT_VIOLATION
        | NO_SUCH_OBJECT
        | INVALID_DN_SYNTAX
        | INAPPROPRIATE_AUTHENTICATION
        | INSUFFICIENT_ACCESS_RIGHTS
        | UNWILLING_TO_PERFORM => DirectoryError::BindRefused(text),
        _ => DirectoryError::BindFailed(text),
    }
}

fn outcome<T>(result: &Result<T, Failure>) -> &str {
    match result {
        Ok(_) => "success",
        Err(Failure::Lost(text) | Failure::Answer { text, .. }) => text,
    }
}
