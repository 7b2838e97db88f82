//! Connections to servers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchEntry, SearchOptions, StdStream,
};
use leveret_broker::access::Secret;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::directory::{Entry, Filter, Search};
use super::query::Depth;
use super::settings::LdapEncryption;

/// How long a server that failed comes after the others.
const AVOIDED: Duration = Duration::from_secs(30);

/// What a server says when all is well, and when there is more than was wanted (RFC 4511 §4.1.9).
const SUCCESS: u32 = 0;
const SIZE_LIMIT_EXCEEDED: u32 = 4;

/// The attribute that stands for none (RFC 4511 §4.5.1.8).
const NO_ATTRIBUTE: &str = "1.1";

/// Connects to servers, in turn.
pub(super) struct Connector {
    servers: Vec<Arc<Server>>,
    encryption: LdapEncryption,
    /// The name that certificates have, if it is not the server's.
    server_name: Option<String>,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

struct Server {
    host: String,
    port: u16,
    /// For error texts.
    name: String,
    failed: Mutex<Option<Instant>>,
}

impl Connector {
    /// `tls` is there if it is needed.
    pub(super) fn new(
        servers: &[String],
        port: u16,
        encryption: LdapEncryption,
        server_name: Option<String>,
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
    ) -> Self {
        let servers = servers.iter().map(|host| {
            let name = format!("{host}:{port}");
            let host = host.trim_start_matches('[').trim_end_matches(']').into();
            Arc::new(Server { host, port, name, failed: Mutex::new(None) })
        });
        Self { servers: servers.collect(), encryption, server_name, tls, timeout }
    }

    /// How many servers there are.
    pub(super) fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Connects to the first server that answers, beginning with those that did not fail a moment ago. An error has the
    /// reasons of all.
    pub(super) async fn connect(&self) -> Result<Connection, String> {
        let (failed, fine): (Vec<_>, Vec<_>) = self.servers.iter().partition(|server| server.failed_lately());
        let mut problems = Vec::new();
        for server in fine.into_iter().chain(failed) {
            let connected = timeout(self.timeout, self.connect_to(server)).await;
            let problem = match connected {
                Ok(Ok(ldap)) => {
                    server.set_failed(None);
                    return Ok(Connection { ldap, server: Arc::clone(server), timeout: self.timeout });
                }
                Ok(Err(problem)) => problem,
                Err(_) => format!("no answer within {} ms", self.timeout.as_millis()),
            };
            server.set_failed(Some(Instant::now()));
            let problem = format!("LDAP server {}: {problem}", server.name);
            tracing::warn!("{problem}");
            problems.push(problem);
        }
        Err(problems.join("; "))
    }

    async fn connect_to(&self, server: &Server) -> Result<Ldap, String> {
        let stream =
            TcpStream::connect((server.host.as_str(), server.port)).await.map_err(|error| error.to_string())?;
        let stream = stream.set_nodelay(true).and_then(|()| stream.into_std()).map_err(|error| error.to_string())?;
        let mut settings = LdapConnSettings::new().set_std_stream(StdStream::Tcp(stream));
        let scheme = match self.encryption {
            LdapEncryption::None => "ldap",
            LdapEncryption::Ldaps => "ldaps",
            LdapEncryption::StartTls => {
                settings = settings.set_starttls(true);
                "ldap"
            }
        };
        if let Some(tls) = &self.tls {
            settings = settings.set_config(Arc::clone(tls));
        }
        let host = self.server_name.as_deref().unwrap_or(&server.host);
        let host = if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) { format!("[{host}]") } else { host.into() };
        let connected = LdapConnAsync::with_settings(settings, &format!("{scheme}://{host}:{}", server.port)).await;
        let (connection, ldap) = connected.map_err(|error| error.to_string())?;
        // It ends with the handle, or when the server goes; whoever uses the handle then gets an error.
        tokio::spawn(async move { drop(connection.drive().await) });
        Ok(ldap)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.servers.iter().map(|server| &server.name)).finish()
    }
}

impl Server {
    fn failed_lately(&self) -> bool {
        self.failed.lock().is_some_and(|failed| failed.elapsed() < AVOIDED)
    }

    fn set_failed(&self, at: Option<Instant>) {
        *self.failed.lock() = at;
    }
}

/// A connection to a server.
pub(super) struct Connection {
    ldap: Ldap,
    server: Arc<Server>,
    timeout: Duration,
}

/// Why an operation failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection is of no use any more.
    Lost(String),
    /// The server says no.
    Answer {
        /// Its result code.
        code: u32,
        /// What it says.
        text: String,
    },
}

impl Connection {
    /// Whether the server is known to have gone.
    pub(super) fn is_closed(&mut self) -> bool {
        self.ldap.is_closed()
    }

    /// Has others asked before its server for a while.
    pub(super) fn avoid_server(&self) {
        self.server.set_failed(Some(Instant::now()));
    }

    /// Becomes somebody. Neither name nor password may be empty, as that means anybody (RFC 4513 §5.1.2).
    pub(super) async fn bind(&mut self, name: &str, password: &Secret) -> Result<(), Failure> {
        let Some(password) = password.expose_text() else {
            return Err(self.refusal("the password is no text"));
        };
        if password.is_empty() || password.contains('\0') || name.trim().is_empty() {
            return Err(self.refusal("unauthenticated bind not allowed"));
        }
        let bound = timeout(self.timeout, self.ldap.simple_bind(name, password)).await;
        let result = self.result(bound)?;
        if result.rc == SUCCESS { Ok(()) } else { Err(self.answer(&result)) }
    }

    /// Asks for entries.
    pub(super) async fn search(&mut self, search: &Search) -> Result<Vec<Entry>, Failure> {
        let scope = match search.depth {
            Depth::Entry => Scope::Base,
            Depth::OneLevel => Scope::OneLevel,
            Depth::Subtree => Scope::Subtree,
        };
        let attribute = search.attribute.as_deref();
        let seconds = i32::try_from(self.timeout.as_secs()).unwrap_or(i32::MAX).max(1);
        let options = SearchOptions::new().sizelimit(search.entries_max).timelimit(seconds);
        self.ldap.with_search_options(options);
        let filter = search.filter.to_string();
        let searched = self.ldap.search(&search.base, scope, &filter, [attribute.unwrap_or(NO_ATTRIBUTE)]);
        let searched = timeout(self.timeout, searched).await;
        let found = self.result(searched)?;
        // A server may have a limit of its own, below ours: what it leaves out then is missing.
        let has_enough = usize::try_from(search.entries_max).is_ok_and(|most| found.0.len() >= most);
        if found.1.rc != SUCCESS && !(found.1.rc == SIZE_LIMIT_EXCEEDED && has_enough) {
            return Err(self.answer(&found.1));
        }
        let entries = found.0.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
        Ok(entries.map(|entry| wanted(SearchEntry::construct(entry), attribute)).collect())
    }

    fn result<T, E>(&self, result: Result<Result<T, LdapError>, E>) -> Result<T, Failure> {
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Failure::Lost(format!("LDAP server {}: {error}", self.server.name))),
            Err(_) => {
                let within = self.timeout.as_millis();
                Err(Failure::Lost(format!("LDAP server {}: no answer within {within} ms", self.server.name)))
            }
        }
    }

    fn answer(&self, result: &LdapResult) -> Failure {
        Failure::Answer { code: result.rc, text: format!("LDAP server {}: {result}", self.server.name) }
    }

    fn refusal(&self, text: &str) -> Failure {
        Failure::Answer {
            code: super::session::INVALID_CREDENTIALS,
            text: format!("LDAP server {}: {text}", self.server.name),
        }
    }
}

/// Servers may write the names of attributes as they like.
fn wanted(entry: SearchEntry, attribute: Option<&str>) -> Entry {
    let is_wanted = |name: &str| attribute.is_some_and(|attribute| name.eq_ignore_ascii_case(attribute));
    let values = entry.attrs.into_iter().find(|(name, _)| is_wanted(name)).map(|(_, values)| values);
    Entry { dn: entry.dn, values: values.unwrap_or_default() }
}

impl fmt::Display for Filter {
    /// As RFC 4515 has it, with the value escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("(objectClass=*)"),
            Self::Has { attribute, value } => write!(f, "({attribute}={})", ldap3::ldap_escape(value.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_within_their_filter() {
        for (value, expected) in [
            ("alice", "(cn=alice)"),
            ("*", "(cn=\\2a)"),
            ("a)(uid=*", "(cn=a\\29\\28uid=\\2a)"),
            ("a\\b\0", "(cn=a\\5cb\\00)"),
            ("ü", "(cn=ü)"),
        ] {
            let filter = Filter::Has { attribute: "cn".into(), value: value.into() };
            assert_eq!(filter.to_string(), expected, "{value}");
        }
    }
}
