//! Users and what they may do: what survives the end of a node, and who gets in from where.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Client;
use leveret_auth::hash::Hashing;
use leveret_broker::Name;
use leveret_broker::access::{PasswordHash, Permission, Permissions, Question, Secret, TopicPermissions};
use leveret_broker::journal::Written;
use leveret_broker::mailbox::Mailbox;
use leveret_broker::topology::{Change, Existing, Record};
use leveret_protocol::amqp091::method::ConnectionStartOk;
use leveret_protocol::amqp091::{ProtocolHeader, Table, frame};
use leveret_server::{Config, Running};
use leveret_storage::MetadataLog;
use leveret_storage::disk::RealDisk;

const DEADLINE: Duration = Duration::from_secs(20);
/// Octets of a process's memory that are looked at in one go.
const PIECE: usize = 1024 * 1024;

fn config(data_dir: &Path) -> Config {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    Config { listen, data_dir: data_dir.to_owned(), ..Config::default() }
}

fn start(data_dir: &Path) -> Running {
    leveret_server::start(&config(data_dir)).unwrap()
}

fn hash(password: &str) -> PasswordHash {
    Hashing::default().hash(&Secret::new(password.as_bytes())).unwrap()
}

fn set_user(name: &str, password: &str, tag: &str) -> Change {
    let existing = Existing::Replace;
    Change::SetUser { user: name.into(), password: hash(password), tags: vec![tag.into()], existing }
}

fn set_permissions(user: &str, vhost: &str, [configure, write, read]: [&str; 3]) -> Change {
    let permissions = Permissions::new(configure, write, read).unwrap();
    Change::SetPermissions { user: user.into(), vhost: vhost.into(), permissions }
}

fn set_topic_permissions(user: &str, exchange: &str) -> Change {
    let permissions = TopicPermissions::new("^{username}", "").unwrap();
    Change::SetTopicPermissions { user: user.into(), vhost: "v".into(), exchange: exchange.into(), permissions }
}

/// Makes a change and waits until it is on disk.
fn apply(running: &Running, change: Change) {
    let written = running.node().apply(change).unwrap().written.unwrap();
    let (mailbox, deadline) = (Arc::new(Mailbox::default()), Instant::now() + DEADLINE);
    while running.node().written(written, &mailbox) != Written::Synced {
        assert!(Instant::now() < deadline, "it is not written");
        std::thread::yield_now();
    }
}

fn change_everything(running: &Running) {
    for change in [
        Change::CreateVhost { vhost: "v".into() },
        Change::CreateVhost { vhost: "gone".into() },
        set_user("ann", "first", "old"),
        set_user("ann", "second", "management"),
        set_permissions("ann", "/", [".*"; 3]),
        set_permissions("ann", "v", ["^a", "^b", "^{username}"]),
        set_permissions("ann", "gone", [".*"; 3]),
        set_topic_permissions("ann", "kept"),
        set_topic_permissions("ann", "cleared"),
        set_user("bob", "bob", ""),
        set_permissions("bob", "/", [".*"; 3]),
        Change::SetPassword { user: "bob".into(), password: PasswordHash::none() },
        Change::ClearPermissions { user: "bob".into(), vhost: "/".into() },
        Change::ClearTopicPermissions { user: "ann".into(), vhost: "v".into(), exchange: Some("cleared".into()) },
        Change::DeleteVhost { vhost: "gone".into() },
        Change::DeleteUser { user: "guest".into() },
    ] {
        apply(running, change);
    }
}

fn check_everything(running: &Running) {
    running.node().read(|topology| {
        let names: Vec<&str> = topology.users().map(|user| &**user.name()).collect();
        assert_eq!(names, ["ann", "bob"], "guest does not come back");
        let ann = topology.user("ann").unwrap();
        assert_eq!(ann.tags()[..], [Name::from("management")]);
        let vhosts: Vec<&str> = ann.permissions().map(|(vhost, _)| &**vhost).collect();
        assert_eq!(vhosts, ["/", "v"]);
        let exchanges: Vec<&str> = ann.topic_permissions().map(|(_, exchange, _)| &**exchange).collect();
        assert_eq!(exchanges, ["kept"]);
        let v = Name::from("v");
        for (question, expected) in [
            (Question::queue(Permission::Configure, &v, "a"), true),
            (Question::queue(Permission::Write, &v, "a"), false),
            (Question::queue(Permission::Read, &v, "ann"), true),
            (Question::topic(Permission::Write, &v, "kept", "bob"), false),
            (Question::topic(Permission::Write, &v, "cleared", "bob"), true),
        ] {
            assert_eq!(ann.answer(&question).is_allowed(), expected, "{question:?}");
        }
        let bob = topology.user("bob").unwrap();
        assert!(bob.password().is_none() && bob.permissions().len() == 0);
    });
    let address = running.addresses()[0];
    for (user, password, expected) in
        [("ann", "second", true), ("ann", "first", false), ("bob", "bob", false), ("guest", "guest", false)]
    {
        assert_eq!(Client::open_as(address, b"", user, password).is_some(), expected, "{user} {password}");
    }
}

#[test]
fn users_and_what_they_may_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    change_everything(&running);
    running.stop();
    for _ in 0..2 {
        let running = start(folder.path());
        check_everything(&running);
        running.stop();
    }
}

/// What is on disk while the node runs is what a `kill -9` leaves.
#[test]
fn users_and_what_they_may_survive_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (data_dir, left) = (folder.path().join("data"), folder.path().join("left"));
    let running = start(&data_dir);
    change_everything(&running);
    copy(&data_dir, &left);
    check_everything(&start(&left));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copied = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &copied);
        } else {
            fs::copy(entry.path(), copied).unwrap();
        }
    }
}

#[test]
fn a_folder_from_before_there_were_users_gets_a_guest() {
    let folder = tempfile::tempdir().unwrap();
    let metadata = folder.path().join("metadata");
    fs::create_dir(&metadata).unwrap();
    let (mut log, _) = MetadataLog::open(Arc::new(RealDisk::open(&metadata).unwrap())).unwrap();
    let limits = [("max-channels".into(), leveret_broker::value::Value::I64(3))].into_iter().collect();
    for record in [
        Record::VhostCreated { vhost: "/".into() },
        Record::VhostCreated { vhost: "v".into() },
        Record::UserLimitsSet { user: "guest".into(), limits },
    ] {
        let mut octets = Vec::new();
        record.encode(&mut octets);
        log.append([octets.as_slice()]).unwrap();
    }
    log.commit().unwrap();
    drop(log);
    for _ in 0..2 {
        let running = start(folder.path());
        Client::open_channel(running.addresses()[0]);
        running.node().read(|topology| {
            assert_eq!(topology.users().len(), 1);
            assert_eq!(topology.vhosts().count(), 2);
            assert_eq!(topology.user_limits("guest").max_channels, Some(3));
        });
        running.stop();
    }
}

#[test]
fn guest_comes_from_this_machine_only_and_others_from_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let running = leveret_server::start(&Config { proxy_protocol: true, ..config(folder.path()) }).unwrap();
    apply(&running, set_user("ann", "ann", ""));
    apply(&running, set_permissions("ann", "/", [".*"; 3]));
    let address = running.addresses()[0];
    for (from, user, expected) in [
        ("10.1.2.3", "guest", false),
        ("127.0.0.1", "guest", true),
        ("10.1.2.3", "ann", true),
        ("127.0.0.1", "ann", true),
    ] {
        let header = format!("PROXY TCP4 {from} 10.0.0.1 40000 5672\r\n");
        let client = Client::open_as(address, header.as_bytes(), user, user);
        assert_eq!(client.is_some(), expected, "{user} from {from}");
    }
    running.stop();
}

/// A broker that is killed with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn no_password_stays_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .env("LEVERET_MANAGEMENT_LISTEN", "none")
        .env("LEVERET_PROMETHEUS_LISTEN", "none")
        .args(["--listen", "127.0.0.1:0", "--log-level", "off", "--data-dir"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn();
    let mut process = Process(child.unwrap());
    let stdout = process.0.stdout.take().unwrap();
    let line = BufReader::new(stdout).lines().map(Result::unwrap).find(|line| line.contains("AMQP"));
    let address: SocketAddr = line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap();
    let password = "nobody reads what stands here";
    assert!(Client::open_as(address, b"", "guest", password).is_none());
    assert!(finds(process.0.id(), b"127.0.0.1"), "its memory can be read");
    assert!(!finds(process.0.id(), password.as_bytes()));
    // Buffers that grow with what comes octet by octet are wiped, too.
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(&ProtocolHeader::AMQP_0_9_1.octets()).unwrap();
    let password = "nor what stands there";
    let response = format!("\0guest\0{password}").into_bytes();
    let (client_properties, mechanism, locale) = (Table::default(), "PLAIN", "en_US");
    let mut octets = Vec::new();
    let start_ok = ConnectionStartOk { client_properties, mechanism, response: &response, locale };
    frame::write_method(&mut octets, 0, &start_ok);
    for octet in octets {
        stream.write_all(&[octet]).unwrap();
    }
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert!(!finds(process.0.id(), password.as_bytes()));
}

/// Whether octets stand somewhere in the memory that a process writes to.
fn finds(process: u32, octets: &[u8]) -> bool {
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let (mut piece, nothing) = (vec![0; PIECE], vec![0; PIECE]);
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        (from..to).step_by(PIECE - octets.len()).any(|from| {
            // Some of it cannot be read, and most has never been written to.
            let count = memory.read_at(&mut piece, from).unwrap_or_default();
            let piece = &piece[..count];
            piece != &nothing[..count] && String::from_utf8_lossy(piece).contains(std::str::from_utf8(octets).unwrap())
        })
    })
}
