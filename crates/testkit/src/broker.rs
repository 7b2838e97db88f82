//! Which broker the tests drive, and what kind it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::OnceLock;

use leveret_broker::node::Node;
use leveret_protocol::amqp091::Value;
use leveret_server::{Config, Running};
use tempfile::TempDir;

use crate::amqp091::RawConnection;

/// Where a broker listens and how to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Host and port.
    pub address: String,
    /// User to log in as.
    pub user: String,
    /// Password of that user.
    pub password: String,
    /// Virtual host to open.
    pub vhost: String,
}

impl Url {
    /// Reads `amqp://user:password@host:port/vhost`; what is left out is guest, guest, 127.0.0.1:5672 and `/`.
    ///
    /// User, password and virtual host are percent-encoded.
    pub fn parse(text: &str) -> Self {
        let rest = text.strip_prefix("amqp://").unwrap_or_else(|| panic!("a broker's URL is amqp://..., not {text}"));
        let (authority, vhost) = match rest.split_once('/') {
            Some((authority, vhost)) if !vhost.is_empty() => (authority, percent_decode(vhost)),
            Some((authority, _)) => (authority, "/".to_owned()),
            None => (rest, "/".to_owned()),
        };
        let (login, address) = authority.rsplit_once('@').unwrap_or(("guest:guest", authority));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let host = if address.is_empty() { "127.0.0.1" } else { address };
        let address = if host.contains(':') { host.to_owned() } else { format!("{host}:5672") };
        Self { address, user: percent_decode(user), password: percent_decode(password), vhost }
    }
}

/// The broker under test: the one that `BROKER_URL` names, or the one started in this process.
pub fn url() -> &'static Url {
    static URL: OnceLock<Url> = OnceLock::new();
    URL.get_or_init(|| match std::env::var("BROKER_URL") {
        Ok(text) => Url::parse(&text),
        Err(_) => shared().clone(),
    })
}

/// The broker of this test binary, started at the first call and stopped by the end of the process.
pub fn shared() -> &'static Url {
    let (url, _, _) = started();
    url
}

/// The node of [`shared`], to be changed where the protocol has no means for it.
pub fn shared_node() -> &'static Node {
    let (_, running, _) = started();
    running.node()
}

/// An address of the broker under test on a network, for what is other than on the machine's own; `None` if it has none. The broker started in this process gets a companion that listens there.
pub fn network_address() -> Option<&'static str> {
    type Companion = Option<(Running, TempDir)>;
    static ADDRESS: OnceLock<Option<(String, Companion)>> = OnceLock::new();
    let address = ADDRESS.get_or_init(|| {
        let ip = network_ip()?;
        if is_foreign() {
            let (_, port) = url().address.rsplit_once(':')?;
            let address = format!("{ip}:{port}");
            TcpStream::connect(&address).ok()?;
            Some((address, None))
        } else {
            let (running, folder) = start(SocketAddr::from((ip, 0)));
            let address = running.addresses().first()?.to_string();
            Some((address, Some((running, folder))))
        }
    });
    address.as_ref().map(|(address, _)| address.as_str())
}

/// The address this machine would send from to others. Nothing is sent.
fn network_ip() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation (RFC 5737), which is nobody's.
    socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// What the names of folders with a broker's data begin with, before the number of the process they belong to.
const FOLDER: &str = "leveret-testkit-";

/// A folder for a broker's data. The broker that tests share lives as long as its process, and nothing removes its folder then: so
/// the next process removes those of processes that are gone.
fn folder() -> TempDir {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(FOLDER)?.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Somebody else may do the same at this moment.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let folder = tempfile::Builder::new().prefix(&format!("{FOLDER}{}-", std::process::id())).tempdir();
    folder.unwrap_or_else(|error| panic!("no folder for the broker's data: {error}"))
}

fn start(address: SocketAddr) -> (Running, TempDir) {
    let folder = folder();
    let config = Config { listen: vec![address], data_dir: folder.path().join("data"), ..Config::default() };
    let running = leveret_server::start(&config).unwrap_or_else(|error| panic!("the broker does not start: {error}"));
    (running, folder)
}

fn started() -> &'static (Url, Running, TempDir) {
    static SHARED: OnceLock<(Url, Running, TempDir)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (running, folder) = start(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = running.addresses().first().map(SocketAddr::to_string).unwrap_or_default();
        (Url { address, ..Url::parse("amqp://") }, running, folder)
    })
}

/// Whether the broker under test is one that `BROKER_URL` names, so that [`shared_node`] is not.
pub fn is_foreign() -> bool {
    std::env::var_os("BROKER_URL").is_some()
}

/// Whether the broker under test is RabbitMQ.
pub fn is_rabbitmq() -> bool {
    identity().rabbitmq_major.is_some()
}

/// The major version if the broker under test is RabbitMQ.
pub fn rabbitmq_major() -> Option<u32> {
    identity().rabbitmq_major
}

/// Whether the broker under test is RabbitMQ 3, which differs from what is expected for this `reason`; prints the reason.
pub fn differs(reason: &str) -> bool {
    let differs = rabbitmq_major().is_some_and(|major| major < 4);
    if differs {
        eprintln!("RabbitMQ 3 differs: {reason}");
    }
    differs
}

struct Identity {
    rabbitmq_major: Option<u32>,
}

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let (_connection, start) = RawConnection::start();
        let text = |name| match start.server_properties.get(name) {
            Some(Value::LongStr(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        let is_rabbitmq =
            text("platform").starts_with("Erlang/OTP") && start.server_properties.get("leveret").is_none();
        let major = text("version").split('.').next().and_then(|major| major.parse().ok());
        Identity { rabbitmq_major: major.filter(|_| is_rabbitmq) }
    })
}

fn percent_decode(text: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let (hex, tail) = rest.split_at_checked(2).unwrap_or_else(|| panic!("cut percent code in {text}"));
            let hex = std::str::from_utf8(hex).unwrap_or_default();
            octets.push(u8::from_str_radix(hex, 16).unwrap_or_else(|_| panic!("bad percent code in {text}")));
            rest = tail;
        } else {
            octets.push(first);
        }
    }
    String::from_utf8(octets).unwrap_or_else(|_| panic!("not UTF-8: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_leaves_out_has_a_default() {
        for (text, address, user, password, vhost) in [
            ("amqp://", "127.0.0.1:5672", "guest", "guest", "/"),
            ("amqp://broker", "broker:5672", "guest", "guest", "/"),
            ("amqp://u:p@broker:99/", "broker:99", "u", "p", "/"),
            ("amqp://u:p%40@broker/%2fv", "broker:5672", "u", "p@", "/v"),
        ] {
            let url = Url::parse(text);
            assert_eq!(
                (url.address.as_str(), url.user.as_str(), url.password.as_str(), url.vhost.as_str()),
                (address, user, password, vhost),
                "{text}"
            );
        }
    }
}
