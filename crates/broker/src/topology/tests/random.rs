//! Random changes keep the indexes in agreement.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::queue::QueueSettings;

const QUEUES: &[&str] = &["q", "r", "s"];
const EXCHANGES: &[&str] = &["x", "y", "z", "amq.topic", "amq.headers", ""];
const KEYS: &[&str] = &["", "", "a", "a.*", "#", "#.a.#", "#.#.#", "1", "3"];

fn name(names: &'static [&'static str]) -> impl Strategy<Value = Name> {
    prop::sample::select(names).prop_map(Name::from)
}

fn kind() -> impl Strategy<Value = ExchangeKind> {
    prop::sample::select(ExchangeKind::ALL)
}

fn destination() -> impl Strategy<Value = Destination> {
    prop_oneof![name(QUEUES).prop_map(Destination::Queue), name(EXCHANGES).prop_map(Destination::Exchange)]
}

fn connection() -> impl Strategy<Value = Option<ConnectionId>> {
    prop::option::of((1..3_u64).prop_map(ConnectionId))
}

fn binding_arguments() -> impl Strategy<Value = Table> {
    prop::sample::select(&[0, 0, 1, 2]).prop_map(|count| {
        let arguments = [("h", Value::I32(1)), ("x-match", Value::text("any"))];
        table(arguments.get(..count).unwrap_or_default())
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let patterns = prop::sample::select(&["", "^q$", "q|r|x", "^amq\\.", "[rsyz]", "s"]).prop_map(Name::from);
    let settings: [(&str, Value); 6] = [
        ("max-length", Value::I64(1)),
        ("max-length", Value::I64(2)),
        ("message-ttl", Value::I64(3)),
        ("delivery-limit", Value::I64(3)),
        ("alternate-exchange", Value::text("y")),
        ("delayed-message", Value::Bool(true)),
    ];
    let setting = prop::sample::select(settings.to_vec());
    let (name, apply_to) = (name(&["a", "b", "c"]), prop::sample::select(ApplyTo::ALL.to_vec()));
    (name, patterns, apply_to, 0..3_i64, setting).prop_map(|(name, pattern, apply_to, priority, (key, value))| {
        let definition = table(&[(key, value)]);
        Policy { name, pattern, apply_to, priority, definition }
    })
}

fn policy_kind() -> impl Strategy<Value = PolicyKind> {
    prop::sample::select(&[PolicyKind::User, PolicyKind::Operator])
}

fn change() -> impl Strategy<Value = Change> {
    let vhost = || prop::sample::select(&["/", "/", "/", "/", "v"]).prop_map(Name::from);
    let ends = || (name(EXCHANGES), destination(), name(KEYS), binding_arguments());
    let declare_exchange = (vhost(), name(EXCHANGES), kind(), any::<bool>(), name(EXCHANGES)).prop_map(
        |(vhost, name, kind, auto_delete, alternate)| {
            let arguments =
                table(&[("alternate-exchange", Value::text(&alternate)), ("x-delayed-type", Value::text("topic"))]);
            let (durable, internal, origin) = (true, false, Origin::Client);
            Change::DeclareExchange { vhost, name, kind, durable, auto_delete, internal, arguments, origin }
        },
    );
    let declare_queue = (vhost(), name(QUEUES), connection()).prop_map(|(vhost, name, exclusive)| {
        // The queue `s` has settings of its own.
        let own = [("x-max-length", Value::I64(1)), ("x-message-ttl", Value::I64(4))];
        let arguments = table(if &*name == "s" { &own } else { &[] });
        let (durable, auto_delete, origin) = (true, false, Origin::Client);
        Change::DeclareQueue { vhost, name, durable, exclusive, auto_delete, arguments, origin, id: None }
    });
    prop_oneof![
        6 => (vhost(), policy_kind(), policy())
            .prop_map(|(vhost, kind, policy)| Change::SetPolicy { vhost, kind, policy }),
        2 => (vhost(), policy_kind(), name(&["a", "b", "c"]))
            .prop_map(|(vhost, kind, name)| Change::ClearPolicy { vhost, kind, name }),
        1 => vhost().prop_map(|vhost| Change::CreateVhost { vhost }),
        1 => Just(Change::DeleteVhost { vhost: "v".into() }),
        4 => declare_exchange,
        2 => (vhost(), name(EXCHANGES), any::<bool>())
            .prop_map(|(vhost, name, if_unused)| Change::DeleteExchange { vhost, name, if_unused }),
        4 => declare_queue,
        2 => (vhost(), name(QUEUES)).prop_map(|(vhost, name)| Change::DeleteQueue { vhost, name, id: None }),
        12 => (vhost(), ends(), connection()).prop_map(
            |(vhost, (source, destination, routing_key, arguments), asking)| {
                Change::Bind { vhost, source, destination, routing_key, arguments, asking }
            }
        ),
        6 => (vhost(), ends(), connection()).prop_map(
            |(vhost, (source, destination, routing_key, arguments), asking)| {
                Change::Unbind { vhost, source, destination, routing_key, arguments, asking }
            }
        ),
    ]
}

/// All queues that can be reached, found by looking at every binding of an exchange; and whether they all are.
fn route_naively(vhost: &Vhost, exchange: &str, key: &str) -> (Vec<QueueId>, bool) {
    if exchange.is_empty() {
        return (vhost.any_queue(key).map(QueueRecord::id).into_iter().collect(), true);
    }
    let mut all = true;
    let (mut waiting, mut seen, mut queues) = (vec![Name::from(exchange)], Vec::new(), Vec::new());
    while let Some(name) = waiting.pop() {
        let Ok(exchange) = vhost.exchange(&name) else { continue };
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let mut found = false;
        for binding in exchange.bindings() {
            let matches = match exchange.routing() {
                ExchangeKind::Direct | ExchangeKind::Delayed => &**binding.routing_key() == key,
                ExchangeKind::Fanout | ExchangeKind::RecentHistory | ExchangeKind::Deduplication => true,
                ExchangeKind::Topic => match &**binding.routing_key() {
                    "#" => true,
                    "#.a.#" => key.split('.').any(|word| word == "a"),
                    "a.*" => key.starts_with("a.") && key.split('.').count() == 2,
                    pattern => pattern == key,
                },
                // The messages of this test have no headers, so only what wants none matches.
                ExchangeKind::Headers => binding.arguments().is_empty(),
                // One of them is chosen.
                ExchangeKind::ConsistentHash
                | ExchangeKind::ModulusHash
                | ExchangeKind::Random
                | ExchangeKind::LocalRandom => {
                    all = false;
                    true
                }
            };
            if matches {
                found = true;
                match binding.destination() {
                    Destination::Queue(name) => queues.extend(vhost.any_queue(name).map(QueueRecord::id)),
                    Destination::Exchange(name) => waiting.push(name.clone()),
                }
            }
        }
        if !found {
            waiting.extend(exchange.alternate().cloned());
        }
    }
    queues.sort_unstable();
    queues.dedup();
    (queues, all)
}

/// What queues are told of their settings, and what they act by then.
fn tell(told: &mut BTreeMap<QueueId, QueueSettings>, topology: &Topology, applied: &Result<Applied, Error>) {
    match applied {
        Ok(Applied::QueueDeclared { id }) => {
            let queue = topology.vhosts().flat_map(Vhost::queues).find(|queue| queue.id() == *id).unwrap();
            told.insert(*id, queue.settings());
        }
        Ok(Applied::Reconfigured(reconfigured)) => told.extend(reconfigured.queues.iter().cloned()),
        Ok(Applied::Deleted(removed)) => told.retain(|id, _| removed.queues.iter().all(|(_, gone)| gone != id)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn indexes_agree_after_any_changes(changes in prop::collection::vec(change(), 1..80)) {
        let mut topology = Bench::new().0;
        let mut replica = topology.clone();
        let mut routes = Routes::default();
        let mut told = BTreeMap::new();
        for change in changes {
            let generation = topology.generation();
            let applied = topology.apply(change.clone());
            prop_assert_eq!(&applied, &replica.apply(change.clone()), "two replicas differ");
            prop_assert_eq!(topology.invariants(), Ok(()), "{:?}", change);
            tell(&mut told, &topology, &applied);
            let settings = |queue: &QueueRecord| (queue.id(), queue.settings());
            let now = topology.vhosts().flat_map(|vhost| vhost.queues().map(settings)).collect();
            prop_assert_eq!(&told, &now, "queues act by other settings");
            let moves_routes = applied.is_ok_and(|applied| applied.moves_routes());
            prop_assert_eq!(topology.generation() - generation, u64::from(moves_routes));
        }
        for vhost in topology.vhosts() {
            for exchange in vhost.exchanges() {
                for key in ["", "a", "a.b", "b.a.c", "q"] {
                    let message = Message::bare(exchange.name(), key);
                    vhost.route(exchange.name(), &input(&[key], &message), &mut routes).unwrap();
                    let (expected, all) = route_naively(vhost, exchange.name(), key);
                    prop_assert!(routes.queues.iter().all(|queue| expected.contains(queue)));
                    prop_assert_eq!(all, all && routes.queues == expected);
                    let found = std::mem::take(&mut routes.queues);
                    let replica = replica.vhost(vhost.name()).unwrap();
                    replica.route(exchange.name(), &input(&[key], &message), &mut routes).unwrap();
                    prop_assert_eq!(&routes.queues, &found, "two replicas differ");
                }
            }
        }
    }
}
