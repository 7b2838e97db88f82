//! Clients publish, take and clear while the broker is killed at any moment; nothing that was answered may be forgotten.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::audit::{audit, ledger};
use crate::ledger::{Ending, Ledger};
use crate::process::{self, Process};
use crate::publishers::{Acknowledgement, Habit as Publishing, Target, publish};
use crate::random::Random;
use crate::takers::{Clearing, Habit as Taking, consume, get};
use crate::wire::Wire;

/// The work of a round takes so many milliseconds at least, and less than so many.
const WORK_MS: (usize, usize) = (10, 300);
/// No further round begins after so long: what is slow elsewhere is not to take all day here.
const ROUNDS_TIME_MAX: Duration = Duration::from_secs(50);
/// A start that is interrupted by a kill takes less than so many milliseconds.
const FALSE_START_MS: usize = 30;

const ONE: Target = Target { exchange: "", key: "one", queues: &["one"] };
const MANY: Target = Target { exchange: "", key: "many", queues: &["many"] };
const LARGE: Target = Target { exchange: "", key: "large", queues: &["large"] };
const TX: Target = Target { exchange: "", key: "tx", queues: &["tx"] };
const PURGED: Target = Target { exchange: "", key: "purged", queues: &["purged"] };
const DELETED: Target = Target { exchange: "", key: "deleted", queues: &["deleted"] };
const NOWHERE: Target = Target { exchange: "", key: "nowhere", queues: &[] };
const ALL: Target = Target { exchange: "all", key: "", queues: &["deleted", "fan-a", "fan-b", "fan-c", "passing"] };

const fn publishing(acknowledgement: Acknowledgement, targets: &'static [Target]) -> Publishing {
    Publishing { acknowledgement, targets, transient_percent: 10, mandatory_percent: 20, large_percent: 0 }
}

const PUBLISHERS: &[Publishing] = &[
    publishing(Acknowledgement::Confirms(1), &[ONE, MANY]),
    publishing(Acknowledgement::Confirms(10), &[ALL, NOWHERE]),
    publishing(Acknowledgement::Confirms(200), &[MANY]),
    publishing(Acknowledgement::Confirms(200), &[ALL, MANY, ONE]),
    publishing(Acknowledgement::Confirms(10), &[PURGED, DELETED, DELETED]),
    Publishing { large_percent: 20, ..publishing(Acknowledgement::Confirms(10), &[LARGE]) },
    Publishing { mandatory_percent: 0, ..publishing(Acknowledgement::Transactions(20), &[TX, ONE, ALL]) },
];
const CONSUMERS: &[(&str, Taking)] = &[
    ("one", Taking::Each),
    ("many", Taking::Multiple(10)),
    ("many", Taking::Picky),
    ("large", Taking::Multiple(3)),
    ("tx", Taking::Transactions(5)),
    ("fan-a", Taking::Each),
    ("fan-c", Taking::Hoarder),
];
const GETTERS: &[(&str, Clearing)] =
    &[("fan-b", Clearing::Never), ("purged", Clearing::Purge), ("deleted", Clearing::Delete)];

/// What the clients of a round share.
pub(crate) struct World {
    pub(crate) ledger: Mutex<Ledger>,
    over: AtomicBool,
}

impl World {
    /// Whether clients are to say goodbye.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Says how to repeat a test that failed, and keeps its folder.
struct Witness {
    seed: u64,
    round: usize,
    ending: Ending,
    folder: tempfile::TempDir,
}

impl Drop for Witness {
    fn drop(&mut self) {
        if thread::panicking() {
            self.folder.disable_cleanup(true);
            let Self { seed, round, ending, folder } = self;
            eprintln!("LEVERET_SEED={seed}, round {round} (after {ending:?}), data in {}", folder.path().display());
        }
    }
}

/// What a client does.
type Work = Box<dyn FnOnce(Wire, &World, &mut Random) + Send>;

/// Starts all clients of a round; each connects first, so that the kill falls into their work.
fn start_clients(address: SocketAddr, world: &Arc<World>, round: usize, random: &mut Random) -> Vec<JoinHandle<()>> {
    let mut clients = Vec::new();
    let mut start = |work: Work| {
        let (wire, world, mut random) = (Wire::open(address).unwrap(), Arc::clone(world), random.fork());
        clients.push(thread::spawn(move || work(wire, &world, &mut random)));
    };
    for (queue, habit) in CONSUMERS {
        start(Box::new(|wire, world, random| consume(wire, world, queue, *habit, random)));
    }
    for (queue, clearing) in GETTERS {
        start(Box::new(|wire, world, random| get(wire, world, queue, *clearing, random)));
    }
    for (index, habit) in PUBLISHERS.iter().enumerate() {
        let publisher = u32::try_from(round * PUBLISHERS.len() + index).unwrap();
        start(Box::new(move |wire, world, random| publish(wire, world, publisher, habit, random)));
    }
    clients
}

/// Goes through rounds of work that end as `endings` says, and audits the queues after each.
fn run(rounds: usize, endings: &[Ending]) {
    let seed = Random::seed();
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut witness = Witness { seed, round: 0, ending: Ending::Stop, folder };
    let world = Arc::new(World { ledger: Mutex::new(ledger()), over: AtomicBool::new(false) });
    let (mut running, begun) = (None, Instant::now());
    for round in 0..=rounds {
        witness.round = round;
        let broker = running.take().unwrap_or_else(|| start(&witness, &mut random));
        let audited = audit(broker.address, &mut world.ledger.lock(), witness.ending, &mut random);
        audited.unwrap_or_else(|complaint| panic!("{complaint}"));
        if round == rounds || begun.elapsed() > ROUNDS_TIME_MAX {
            broker.terminate();
            return;
        }
        world.over.store(false, Ordering::Relaxed);
        let clients = start_clients(broker.address, &world, round, &mut random);
        let work_ms = WORK_MS.0 + random.below(WORK_MS.1 - WORK_MS.0);
        thread::sleep(Duration::from_millis(work_ms as u64));
        witness.ending = endings[random.below(endings.len())];
        running = end(broker, clients, &world, witness.ending);
    }
}

/// Starts the broker; now and then it is killed while it starts, and started again.
fn start(witness: &Witness, random: &mut Random) -> Process {
    if witness.ending == Ending::Kill && random.percent(15) {
        let mut child = process::spawn(witness.folder.path());
        thread::sleep(Duration::from_millis(random.below(FALSE_START_MS) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    Process::start(witness.folder.path())
}

/// Ends a round; the broker, if it still runs.
fn end(mut broker: Process, clients: Vec<JoinHandle<()>>, world: &World, ending: Ending) -> Option<Process> {
    assert!(!broker.is_dead(), "the broker has ended by itself");
    let join = |clients: Vec<JoinHandle<()>>| {
        let failed = clients.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
        assert_eq!(failed, 0, "clients have failed");
    };
    match ending {
        Ending::Kill => broker.kill(),
        Ending::Interruption => {
            world.ledger.lock().stopping();
            broker.terminate();
        }
        Ending::Pause | Ending::Stop => {
            world.over.store(true, Ordering::Relaxed);
            join(clients);
            if ending == Ending::Pause {
                return Some(broker);
            }
            broker.terminate();
            return None;
        }
    }
    join(clients);
    None
}

#[test]
fn every_message_is_accounted_for_while_the_broker_runs() {
    run(5, &[Ending::Pause]);
}

#[test]
fn every_message_is_accounted_for_after_kill_dash_nine() {
    use Ending::{Interruption, Kill, Pause, Stop};
    run(50, &[Kill, Kill, Kill, Kill, Kill, Kill, Kill, Interruption, Stop, Pause]);
}
