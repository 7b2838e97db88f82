//! Sessions over one node, without sockets, under any sequence of operations.
//!
//! A run is decided by its seed, which a failure names: `LEVERET_FUZZ_SEED` runs that one alone, and
//! `LEVERET_FUZZ_ITERATIONS` says how many are tried. Clients that keep to the protocol are followed exactly: every method
//! has its one answer, and every message of one queue is where it has to be. Wild ones send anything.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod access;
mod client;
mod ledger;
mod operations;
mod random;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use leveret_broker::clock::{Clock, ManualClock};
use leveret_broker::mailbox::Mailbox;
use leveret_broker::node::{Node, Surroundings};
use leveret_broker::queue::{Activity, QueueCell, SharedPrefetch, Subscriber, Subscription, Taken};
use leveret_broker::topology::{Change, ConnectionId, Destination, Origin};
use leveret_broker::value::Value;
use leveret_session::amqp091::{BasicProperties, Mechanism, Settings};

use access::{Access, Door};
use client::{Client, FOLLOWED};
use ledger::Ledger;
use random::Random;

/// Runs tried when nothing else is asked for; enough to go through every operation in seconds.
const ITERATIONS: u64 = 100;
const STEPS_MAX: usize = 250;
/// Nobody's connection.
const NOBODY: ConnectionId = ConnectionId(u64::MAX);

#[test]
fn well_behaved_clients_get_every_answer_and_lose_no_message() {
    fuzz(1 << 32, |seed| run(seed, 0));
}

#[test]
fn clients_that_send_anything_leave_nothing_behind() {
    fuzz(2 << 32, |seed| run(seed, 30));
}

#[test]
fn clients_on_threads_of_their_own_lose_no_message() {
    fuzz(3 << 32, run_threads);
}

fn fuzz(first: u64, run: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let count = number("LEVERET_FUZZ_ITERATIONS").unwrap_or(ITERATIONS);
    let seeds = match number("LEVERET_FUZZ_SEED") {
        Some(seed) if seed >> 32 == first >> 32 => seed..seed + 1,
        Some(_) => return,
        None => first..first + count,
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("LEVERET_FUZZ_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

struct World {
    node: Arc<Node>,
    clock: Arc<ManualClock>,
    settings: Settings,
    ledger: Arc<Mutex<Ledger>>,
    /// Whether what users may do is answered later.
    is_late: bool,
    mailboxes: Vec<Weak<Mailbox>>,
}

impl World {
    /// With every third seed, the followed queue serves a single active consumer; with every second one, what users may do is
    /// answered later.
    fn new(strict: bool, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let node = Node::within(Surroundings {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            properties: Arc::new(BasicProperties),
            ..Surroundings::default()
        });
        let node = Arc::new(node);
        let settings = Settings {
            frame_max: 131_072,
            channel_max: 2047,
            heartbeat_seconds: 60,
            max_message_size: operations::MESSAGE_MAX as u64,
            max_consumers_per_channel: None,
            product: "RabbitMQ".into(),
            version: "4.3.5".into(),
            cluster_name: "fuzz".into(),
            leveret_version: "0".into(),
            authenticator: Arc::new(Door(Access::new(&node, false))),
            mechanisms: vec![Mechanism::Plain],
            anonymous: None,
            random: counted,
        };
        let vhost = || "/".into();
        node.apply(Change::DeclareQueue {
            vhost: vhost(),
            name: FOLLOWED.into(),
            durable: true,
            exclusive: None,
            auto_delete: false,
            arguments: [("x-single-active-consumer".into(), Value::Bool(seed.is_multiple_of(3)))].into_iter().collect(),
            origin: Origin::Client,
            id: None,
        })
        .unwrap();
        node.apply(Change::Bind {
            vhost: vhost(),
            source: "amq.direct".into(),
            destination: Destination::Queue(FOLLOWED.into()),
            routing_key: FOLLOWED.into(),
            arguments: leveret_broker::value::Table::new(),
            asking: None,
        })
        .unwrap();
        let ledger = Ledger::new(strict);
        let (ledger, is_late) = (Arc::new(Mutex::new(ledger)), seed.is_multiple_of(2));
        Self { node, clock, settings, ledger, is_late, mailboxes: Vec::new() }
    }

    /// Lets time pass, and wakes whoever waits for that.
    fn pass(&self, ms: u64) {
        for queue in self.clock.advance(ms) {
            self.node.wake(queue);
        }
    }

    fn connect(&mut self, number: usize, is_wild: bool, random: &mut Random) -> Client {
        // Each has its own, so that nobody waits for what another one takes out.
        let access = Access::new(&self.node, self.is_late);
        let settings = Settings { authenticator: Arc::new(Door(Arc::clone(&access))), ..self.settings.clone() };
        let client = Client::new(number, &self.node, settings, (&self.ledger, access), is_wild, random);
        self.mailboxes.push(Weak::clone(&client.mailbox));
        client
    }

    /// Every connection is gone: nothing of them may be left, and the followed queue holds what it has to.
    fn check(&self, follow: bool) {
        assert_eq!(self.node.connection_count(), 0);
        assert_eq!(self.node.reply_consumer_count(), 0);
        let names: Vec<_> = self.node.read(|topology| {
            let vhost = topology.vhost("/").unwrap();
            vhost.queues().map(|queue| (Arc::clone(queue.name()), queue.exclusive())).collect()
        });
        for (name, exclusive) in names {
            assert_eq!(exclusive, None, "{name} belongs to a connection that is gone");
            let queue = self.node.queue("/", &name, NOBODY).unwrap();
            let counts = queue.counts();
            assert_eq!((counts.unsettled, counts.consumers), (0, 0), "{name}");
            is_served(&queue, &name);
            let mut left = Vec::new();
            while let (Taken::Message(_, message, _), waiting) = queue.take(true, &Arc::default()).unwrap() {
                left.push(message);
                // Others may lose some whose time is up and that nobody had come to yet.
                assert!(waiting + left.len() <= counts.ready, "{name}");
                assert!(*name != *FOLLOWED || waiting + left.len() == counts.ready);
            }
            assert_eq!(queue.counts().ready, 0, "{name}");
            if *name == *FOLLOWED && follow {
                let id = |body: &[u8]| body.strip_prefix(b"F").map(|rest| *rest.first_chunk().unwrap());
                let left: Vec<u64> =
                    left.iter().filter_map(|message| id(message.body())).map(u64::from_be_bytes).collect();
                self.ledger.lock().unwrap().check(&left);
            }
        }
        let alive = self.mailboxes.iter().filter(|mailbox| mailbox.strong_count() > 0).count();
        assert_eq!(alive, 0, "mailboxes of connections that are gone");
    }
}

/// Whoever comes next may be handed messages: nobody who is gone stands in the way.
fn is_served(queue: &QueueCell, name: &str) {
    let (sink, tag) = (Arc::default(), "next".into());
    // It has no credit from the start, so that the messages stay.
    let shared = Some(Arc::new(SharedPrefetch::new(1, 1)));
    let (key, no_ack, exclusive, priority, prefetch) = (0, false, false, 0, 0);
    let next = Subscription {
        sink,
        key,
        tag,
        no_ack,
        exclusive,
        priority,
        prefetch,
        shared,
        subscriber: Subscriber::default(),
    };
    let id = queue.subscribe(next).unwrap();
    let activities: Vec<_> = queue.consumers().iter().map(|consumer| consumer.activity).collect();
    assert!(!activities.contains(&Activity::Waiting), "{name}");
    if queue.unsubscribe(id).was_active {
        queue.hand_over(id);
    }
}

/// `wild` is how many steps of a hundred are.
fn run(seed: u64, wild: usize) {
    let mut random = Random::new(seed);
    let mut world = World::new(wild == 0, seed);
    let mut clients: Vec<Client> = Vec::new();
    let count = 1 + random.below(4);
    for step in 0..random.below(STEPS_MAX) {
        if clients.len() < count {
            // One wild client is enough to take from the others what they rely on.
            clients.push(world.connect(step, wild > 0, &mut random));
        }
        let index = random.below(clients.len());
        let client = &mut clients[index];
        act(client, wild, &mut random);
        if client.is_over || random.chance(1) {
            drop_client(clients.swap_remove(index), &mut random);
        }
        if random.chance(20) {
            world.pass(random.pick(&[1, 5, 100]));
        }
    }
    while !clients.is_empty() {
        let mut client = clients.swap_remove(random.below(clients.len()));
        if random.chance(50) {
            client.close();
        }
        for _ in 0..random.below(3) {
            client.turn(&mut random);
        }
        drop_client(client, &mut random);
    }
    world.check(wild == 0);
}

fn act(client: &mut Client, wild: usize, random: &mut Random) {
    for _ in 0..random.below(6) {
        if random.chance(wild) {
            operations::wild_step(client, random);
        } else {
            operations::step(client, random);
        }
    }
    if random.chance(80) || client.unheard() > 1024 * 1024 {
        client.turn(random);
    }
}

fn drop_client(mut client: Client, random: &mut Random) {
    if random.chance(50) {
        client.gone();
    } else {
        let numbers: Vec<u16> = client.channels.keys().copied().collect();
        for number in numbers {
            client.doubt_all(number);
        }
    }
}

fn run_threads(seed: u64) {
    let mut world = World::new(false, seed);
    let clients: Vec<Client> =
        (0..3).map(|number| world.connect(number, false, &mut Random::new(seed * 31 + number as u64))).collect();
    std::thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || {
                let mut random = Random::new(seed * 1009 + client.number as u64);
                for _ in 0..random.below(STEPS_MAX) {
                    act(&mut client, 0, &mut random);
                }
                drop_client(client, &mut random);
            });
        }
    });
    world.check(true);
}

/// Not random, but never the same twice, which is all that names need.
fn counted() -> [u8; 16] {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    u128::from(COUNTER.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}
