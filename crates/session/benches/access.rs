//! What users and their permissions cost: `cargo bench -p leveret-session --bench access`.
//!
//! The target is that messages on a known way cost the same with one user and with 10,000 of them, and microseconds for the
//! first message on a way.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, prints what it found and may stop at anything unexpected"
)]

use std::sync::Arc;
use std::time::Instant;

use leveret_broker::access::{
    Authenticator, Identity, InternalAuthority, LoginAttempt, LoginFailure, PasswordHash, Peer, Permissions, Reply,
    TopicPermissions,
};
use leveret_broker::mailbox::Mailbox;
use leveret_broker::node::Node;
use leveret_broker::topology::{Change, Existing};
use leveret_protocol::amqp091::frame::{write_content, write_method};
use leveret_protocol::amqp091::method::{
    BasicPublish, ChannelOpen, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, QueueDeclare,
};
use leveret_protocol::amqp091::{ProtocolHeader, Table};
use leveret_session::amqp091::{Mechanism, Session, Settings};

const FRAME_MAX: u32 = 131_072;
/// Messages in what a session is given at a time.
const BATCH: usize = 1000;
const BATCHES: usize = 1000;
const ROUNDS: usize = 7;

#[derive(Debug)]
struct Door(Arc<Node>);

impl Authenticator for Door {
    fn log_in(&self, attempt: LoginAttempt, _reply: Reply) -> Option<Result<Identity, LoginFailure>> {
        let identity = InternalAuthority::identity(&self.0, &attempt.name);
        Some(identity.ok_or(LoginFailure::Refused { user: attempt.name, reason: "no such user".into() }))
    }
}

fn main() {
    for users in [1, 10_000] {
        let before = resident();
        let start = Instant::now();
        let node = Arc::new(Node::new());
        (0..users).for_each(|number| create(&node, number));
        println!("{users} users with permissions created in {:?}, {} KiB", start.elapsed(), resident() - before);
        let mut session = open(&node, &format!("user-{}", users / 2));
        for (what, exchange, keys) in [
            ("on a known way", "amq.direct", 1),
            ("on a known way, topic", "amq.topic", 1),
            ("each on a way of its own", "amq.direct", BATCH),
            ("each on a way of its own, topic", "amq.topic", BATCH),
        ] {
            let batch = publishes(exchange, keys);
            let ns = fastest(&mut session, &batch, BATCHES / keys.clamp(1, 10));
            println!("  a message {what:32} {ns:8.1} ns");
            // The next one finds no answer and no way.
            session = open(&node, &format!("user-{}", users / 2));
        }
        let start = Instant::now();
        let sessions: Vec<Session> = (0..users).map(|number| open(&node, &format!("user-{number}"))).collect();
        let one = start.elapsed() / users;
        println!("  a login that opens its vhost and declares a queue: {one:?}");
        println!("  {} sessions and what they know: {} KiB", sessions.len(), resident() - before);
    }
}

/// A user with patterns that have to be compiled.
fn create(node: &Node, number: u32) {
    let user = || format!("user-{number}").as_str().into();
    let (password, tags, existing) = (PasswordHash::none(), Vec::new(), Existing::Refuse);
    node.apply(Change::SetUser { user: user(), password, tags, existing }).unwrap();
    let own = format!("^(?!secret).*{number}|^amq\\.(direct|topic)$");
    let permissions = Permissions::new(&own, &own, &own).unwrap();
    node.apply(Change::SetPermissions { user: user(), vhost: "/".into(), permissions }).unwrap();
    let permissions = TopicPermissions::new("^(?!secret)key", "^{username}[.]").unwrap();
    let (vhost, exchange) = ("/".into(), "amq.topic".into());
    node.apply(Change::SetTopicPermissions { user: user(), vhost, exchange, permissions }).unwrap();
}

fn open(node: &Arc<Node>, user: &str) -> Session {
    let settings = Settings {
        frame_max: FRAME_MAX,
        channel_max: 10,
        heartbeat_seconds: 0,
        max_message_size: 1 << 20,
        max_consumers_per_channel: None,
        product: "RabbitMQ".into(),
        version: "4.3.5".into(),
        cluster_name: "bench".into(),
        leveret_version: "0".into(),
        authenticator: Arc::new(Door(Arc::clone(node))),
        mechanisms: vec![Mechanism::Plain],
        anonymous: None,
        random: || [0; 16],
    };
    let mut session = Session::new(Arc::clone(node), Arc::new(settings), Arc::new(Mailbox::default()), Peer::local());
    let mut input = ProtocolHeader::AMQP_0_9_1.octets().to_vec();
    let response = format!("\0{user}\0").into_bytes();
    let (client_properties, mechanism, locale) = (Table::default(), "PLAIN", "en_US");
    write_method(&mut input, 0, &ConnectionStartOk { client_properties, mechanism, response: &response, locale });
    write_method(&mut input, 0, &ConnectionTuneOk { channel_max: 10, frame_max: FRAME_MAX, heartbeat: 0 });
    write_method(&mut input, 0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
    write_method(&mut input, 1, &ChannelOpen { out_of_band: "" });
    let number = user.trim_start_matches("user-");
    let declare = QueueDeclare {
        ticket: 0,
        queue: number,
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        no_wait: false,
        arguments: Table::default(),
    };
    write_method(&mut input, 1, &declare);
    let mut output = Vec::new();
    assert_eq!(session.receive(&input, &mut output), input.len());
    session.end_turn(&mut output);
    assert!(session.is_open() && session.ending().is_none(), "the user may all of that");
    session
}

/// Messages to an exchange without bindings, which cost their way and nothing else.
fn publishes(exchange: &str, keys: usize) -> Vec<u8> {
    let mut batch = Vec::new();
    for number in 0..BATCH {
        let routing_key = format!("key-{}", number % keys);
        let (mandatory, immediate) = (false, false);
        let publish = BasicPublish { ticket: 0, exchange, routing_key: &routing_key, mandatory, immediate };
        write_content(&mut batch, 1, &publish, &[0, 0], &[7; 16], FRAME_MAX as usize);
    }
    batch
}

/// Nanoseconds for a message of the batch, in the fastest round.
fn fastest(session: &mut Session, batch: &[u8], batches: usize) -> f64 {
    let mut fastest = f64::MAX;
    let mut output = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..batches {
            assert_eq!(session.receive(batch, &mut output), batch.len());
            session.end_turn(&mut output);
        }
        let messages = u32::try_from(batches * BATCH).unwrap();
        fastest = fastest.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(messages));
    }
    assert!(output.is_empty() && session.ending().is_none(), "nothing was refused");
    fastest
}

/// KiB of memory that the process has.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4
}
