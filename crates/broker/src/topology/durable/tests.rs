//! What survives: records make the durable part of a topology anew, and nothing else.

use super::*;
use crate::access::{HashingAlgorithm, PasswordHash, Permission, Question};
use crate::topology::{ApplyTo, ConnectionId, FormatError, Protection};
use crate::value::Value;
use proptest::prelude::*;

const VHOST: &str = "/";

fn topology() -> Topology {
    let mut topology = Topology::new();
    topology.apply(Change::CreateVhost { vhost: VHOST.into() }).unwrap();
    topology
}

fn exchange(name: &str, durable: bool, auto_delete: bool) -> Change {
    Change::DeclareExchange {
        vhost: VHOST.into(),
        name: name.into(),
        kind: ExchangeKind::Topic,
        durable,
        auto_delete,
        internal: false,
        arguments: [("alternate-exchange".into(), Value::text("other"))].into_iter().collect(),
        origin: Origin::Client,
    }
}

fn queue(name: &str, durable: bool, exclusive: Option<ConnectionId>) -> Change {
    Change::DeclareQueue {
        vhost: VHOST.into(),
        name: name.into(),
        durable,
        exclusive,
        auto_delete: false,
        arguments: [("x-max-length".into(), Value::I32(7))].into_iter().collect(),
        origin: Origin::Client,
        id: None,
    }
}

fn bind(source: &str, destination: Destination, routing_key: &str) -> Change {
    Change::Bind {
        vhost: VHOST.into(),
        source: source.into(),
        destination,
        routing_key: routing_key.into(),
        arguments: Table::new(),
        asking: None,
    }
}

fn unbind(source: &str, destination: Destination, routing_key: &str) -> Change {
    Change::Unbind {
        vhost: VHOST.into(),
        source: source.into(),
        destination,
        routing_key: routing_key.into(),
        arguments: Table::new(),
        asking: None,
    }
}

fn delete_queue(name: &str) -> Change {
    Change::DeleteQueue { vhost: VHOST.into(), name: name.into(), id: None }
}

fn to_queue(name: &str) -> Destination {
    Destination::Queue(name.into())
}

fn set_policy(name: &str, priority: i64) -> Change {
    let definition = [("max-length".into(), Value::I64(priority)), ("overflow".into(), Value::text("reject-publish"))];
    let (pattern, apply_to, definition) = ("^a".into(), ApplyTo::Queues, definition.into_iter().collect());
    let policy = Policy { name: name.into(), pattern, apply_to, priority, definition };
    let kind = if name == "b" { PolicyKind::Operator } else { PolicyKind::User };
    Change::SetPolicy { vhost: VHOST.into(), kind, policy }
}

/// A limit, a parameter or metadata.
fn set_something(name: &str, number: i64) -> Change {
    let vhost = VHOST.into();
    let limits = || [("max-connections".into(), Value::I64(number))].into_iter().collect();
    match name {
        "a" => Change::SetUserLimits { user: "u".into(), limits: if number == 0 { Table::new() } else { limits() } },
        "b" => {
            let (component, name) = ("vhost-limits".into(), "limits".into());
            Change::SetParameter { vhost, component, name, value: Value::Table(limits()) }
        }
        _ if number == 0 => Change::SetGlobalParameter { name: "g".into(), value: Value::I64(number) },
        _ => {
            let description = number.to_string().into();
            Change::SetVhost { vhost, metadata: VhostMetadata { description, ..VhostMetadata::default() } }
        }
    }
}

fn clear_something(name: &str) -> Change {
    match name {
        "a" => Change::SetVhost { vhost: VHOST.into(), metadata: VhostMetadata::default() },
        "b" => {
            let (component, name) = ("vhost-limits".into(), "limits".into());
            Change::ClearParameter { vhost: VHOST.into(), component, name }
        }
        _ => Change::ClearGlobalParameter { name: "g".into() },
    }
}

fn clear_policy(name: &str) -> Change {
    let kind = if name == "b" { PolicyKind::Operator } else { PolicyKind::User };
    Change::ClearPolicy { vhost: VHOST.into(), kind, name: name.into() }
}

/// What comes of the records, through their octets.
fn restored(records: Vec<Record>) -> Topology {
    let mut topology = Topology::new();
    for record in records {
        let mut octets = Vec::new();
        record.encode(&mut octets);
        assert_eq!(Record::decode(&octets), Ok(record.clone()));
        topology.restore(record.clone()).unwrap_or_else(|error| panic!("{record:?}: {error}"));
    }
    topology.invariants().unwrap();
    topology
}

#[test]
fn what_is_durable_survives_and_nothing_else() {
    let mut topology = topology();
    for change in [
        exchange("stays", true, false),
        exchange("goes", false, false),
        queue("stays", true, None),
        queue("goes", false, None),
        queue("mine", true, Some(ConnectionId(1))),
        bind("stays", to_queue("stays"), "a"),
        bind("stays", to_queue("goes"), "b"),
        bind("goes", to_queue("stays"), "c"),
        bind("amq.topic", Destination::Exchange("stays".into()), "d"),
    ] {
        topology.apply(change).unwrap();
    }
    let records = topology.take_records();
    assert_eq!(records.len(), 5, "{records:?}");
    let again = restored(records);
    assert_eq!(again.durable_records(), topology.durable_records());
    let vhost = again.vhost(VHOST).unwrap();
    assert!(vhost.exchange("stays").is_ok() && vhost.any_queue("stays").is_ok());
    assert!(vhost.exchange("goes").is_err() && vhost.any_queue("goes").is_err() && vhost.any_queue("mine").is_err());
    assert_eq!(vhost.exchange("stays").unwrap().bindings().count(), 1);
    assert_eq!(vhost.any_queue("stays").unwrap().bindings().count(), 1);
}

#[test]
fn an_exchange_kept_by_a_transient_binding_is_kept_in_the_records() {
    let mut topology = topology();
    for change in [
        exchange("auto", true, true),
        queue("durable", true, None),
        queue("transient", false, None),
        bind("auto", to_queue("durable"), "a"),
        bind("auto", to_queue("transient"), "a"),
        unbind("auto", to_queue("durable"), "a"),
    ] {
        topology.apply(change).unwrap();
    }
    assert!(restored(topology.durable_records()).vhost(VHOST).unwrap().exchange("auto").is_ok());
    let records = topology.take_records();
    assert!(restored(records.clone()).vhost(VHOST).unwrap().exchange("auto").is_ok());

    topology.apply(delete_queue("transient")).unwrap();
    let later = topology.take_records();
    assert_eq!(later, [Record::ExchangeDeleted { vhost: VHOST.into(), name: "auto".into() }]);
    let again = restored(records.into_iter().chain(later).collect());
    assert!(again.vhost(VHOST).unwrap().exchange("auto").is_err());
}

#[test]
fn a_queue_declared_anew_has_another_id() {
    let mut topology = topology();
    for change in [queue("q", true, None), delete_queue("q"), queue("q", true, None)] {
        topology.apply(change).unwrap();
    }
    let first = topology.vhost(VHOST).unwrap().any_queue("q").unwrap().id();
    let mut again = restored(topology.take_records());
    assert_eq!(again.vhost(VHOST).unwrap().any_queue("q").unwrap().id(), first);
    again.apply(queue("other", false, None)).unwrap();
    assert!(again.vhost(VHOST).unwrap().any_queue("other").unwrap().id() > first);
}

#[test]
fn policies_survive_and_apply_to_what_is_restored() {
    let mut topology = topology();
    for change in
        [queue("a", true, None), set_policy("a", 1), set_policy("b", 2), set_policy("c", 3), clear_policy("c")]
    {
        topology.apply(change).unwrap();
    }
    let snapshot = topology.durable_records();
    for records in [topology.take_records(), snapshot] {
        let again = restored(records);
        let applied = again.vhost(VHOST).unwrap().any_queue("a").unwrap().policies().unwrap();
        let names = [applied.policy(), applied.operator_policy()].map(|name| name.map(|name| &**name));
        assert_eq!(names, [Some("a"), Some("b")]);
        assert_eq!(again.durable_records(), topology.durable_records());
    }
}

/// The octets are what older versions wrote: they stay as they are.
#[test]
fn records_have_the_octets_they_always_had() {
    let definition = [("max-length".into(), Value::I64(2))].into_iter().collect();
    let (pattern, apply_to) = ("^a".into(), ApplyTo::ClassicQueues);
    let policy = Policy { name: "p".into(), pattern, apply_to, priority: -1, definition };
    for (record, octets) in [
        (
            Record::PolicySet { vhost: "/".into(), kind: PolicyKind::Operator, policy },
            &b"\x01\x09\x01\0/\x02\x01\0p\x02\0^a\x04\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0\0\x0a\0max-length\
               \x08\x02\0\0\0\0\0\0\0"[..],
        ),
        (
            Record::VhostDescribed {
                vhost: "/".into(),
                metadata: VhostMetadata {
                    description: "d".into(),
                    tags: vec!["a".into(), "b".into()],
                    default_queue_type: Some("classic".into()),
                    protection: Protection::Deletion,
                },
            },
            b"\x01\x0b\x01\0/\x01\0d\x02\0\0\0\x01\0a\x01\0b\x07\0classic\x01",
        ),
        (
            Record::VhostDescribed { vhost: "/".into(), metadata: VhostMetadata::default() },
            b"\x01\x0b\x01\0/\0\0\0\0\0\0\0\0\0",
        ),
        (
            Record::ParameterSet {
                vhost: "/".into(),
                component: "c".into(),
                name: "n".into(),
                value: Value::Bool(true),
            },
            b"\x01\x0c\x01\0/\x01\0c\x01\0n\x01\x01",
        ),
        (
            Record::ParameterCleared { vhost: "/".into(), component: "c".into(), name: "n".into() },
            b"\x01\x0d\x01\0/\x01\0c\x01\0n",
        ),
        (Record::GlobalParameterSet { name: "n".into(), value: Value::text("v") }, b"\x01\x0e\x01\0n\x0d\x01\0\0\0v"),
        (Record::GlobalParameterCleared { name: "n".into() }, b"\x01\x0f\x01\0n"),
        (
            Record::UserLimitsSet {
                user: "u".into(),
                limits: [("max-channels".into(), Value::U8(3))].into_iter().collect(),
            },
            b"\x01\x10\x01\0u\x01\0\0\0\x0c\0max-channels\x03\x03",
        ),
        (
            Record::PolicyCleared { vhost: "/".into(), kind: PolicyKind::User, name: "p".into() },
            b"\x01\x0a\x01\0/\x01\x01\0p",
        ),
        (Record::DefaultsCreated, b"\x01\x15"),
        (
            Record::UserSet {
                user: "u".into(),
                password: PasswordHash { algorithm: HashingAlgorithm::Sha512, octets: (*b"xyz").into() },
                tags: vec!["a".into(), "b".into()],
            },
            b"\x01\x16\x01\0u\x02\x03\0\0\0xyz\x02\0\0\0\x01\0a\x01\0b",
        ),
        (Record::UserDeleted { user: "u".into() }, b"\x01\x17\x01\0u"),
        (
            Record::PermissionsSet {
                user: "u".into(),
                vhost: "/".into(),
                permissions: Permissions::new("c", "", "r.").unwrap(),
            },
            b"\x01\x18\x01\0u\x01\0/\x01\0c\0\0\x02\0r.",
        ),
        (Record::PermissionsCleared { user: "u".into(), vhost: "/".into() }, b"\x01\x19\x01\0u\x01\0/"),
        (
            Record::TopicPermissionsSet {
                user: "u".into(),
                vhost: "/".into(),
                exchange: "x".into(),
                permissions: TopicPermissions::new("w", "r").unwrap(),
            },
            b"\x01\x1a\x01\0u\x01\0/\x01\0x\x01\0w\x01\0r",
        ),
        (
            Record::TopicPermissionsCleared { user: "u".into(), vhost: "/".into(), exchange: "x".into() },
            b"\x01\x1b\x01\0u\x01\0/\x01\0x",
        ),
        (Record::QueuePaused { vhost: "/".into(), name: "q".into(), paused: true }, b"\x01\x14\x01\0/\x01\0q\x01"),
        (
            Record::DelayNumbered { vhost: "/".into(), exchange: "x".into(), id: QueueId(3) },
            b"\x01\x11\x01\0/\x01\0x\x03\0\0\0\0\0\0\0",
        ),
    ] {
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        assert_eq!(encoded, octets, "{record:?}");
        assert_eq!(Record::decode(octets), Ok(record));
    }
}

#[test]
fn octets_that_are_no_record_are_refused() {
    let mut whole = Vec::new();
    Record::QueueDeleted { vhost: "/".into(), name: "q".into(), id: QueueId(3) }.encode(&mut whole);
    for cut in 0..whole.len() {
        assert_eq!(Record::decode(&whole[..cut]), Err(FormatError::Malformed), "{cut}");
    }
    for (octets, error) in [
        ([whole.as_slice(), &[0]].concat(), FormatError::Malformed),
        (vec![2, 1, 0, 0], FormatError::Version(2)),
        (vec![1, 99], FormatError::Malformed),
        (vec![1, 22, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0], FormatError::Malformed),
        (vec![1, 1, 1, 0, 0xff], FormatError::Malformed),
    ] {
        assert_eq!(Record::decode(&octets), Err(error), "{octets:?}");
    }
}

#[test]
fn a_pattern_that_is_none_any_more_keeps_nobody_from_starting() {
    let octets = [1, 24, 1, 0, b'u', 1, 0, b'/', 1, 0, b'(', 2, 0, b'.', b'*', 0, 0];
    let kept = Record::decode(&octets).unwrap();
    let mut topology = topology();
    for record in [Record::UserSet { user: "u".into(), password: PasswordHash::none(), tags: Vec::new() }, kept] {
        topology.restore(record).unwrap();
    }
    let vhost = Name::from("/");
    for (permission, expected) in [(Permission::Configure, false), (Permission::Write, true), (Permission::Read, false)]
    {
        let answer = topology.answer("u", &Question::queue(permission, &vhost, "("));
        assert_eq!(answer.is_allowed(), expected, "{permission}");
    }
    let mut again = Vec::new();
    topology
        .durable_records()
        .iter()
        .find(|record| matches!(record, Record::PermissionsSet { .. }))
        .unwrap()
        .encode(&mut again);
    assert_eq!(again, octets);
}

/// Something that may happen to users and their rights.
fn user_change(name: &str, what: i32) -> Change {
    let (user, vhost, exchange) = (Name::from(name), Name::from(VHOST), Name::from("x"));
    let password = PasswordHash { algorithm: HashingAlgorithm::Md5, octets: [what.to_le_bytes()[0]].into() };
    match what {
        0 | 1 => Change::SetUser { user, password, tags: vec!["t".into()], existing: Existing::Replace },
        2 => Change::SetTags { user, tags: Vec::new() },
        3 => Change::DeleteUser { user },
        4 => Change::SetPermissions { user, vhost, permissions: Permissions::new(name, "", ".*").unwrap() },
        5 => Change::ClearPermissions { user, vhost },
        6 => {
            let permissions = TopicPermissions::new(name, "").unwrap();
            Change::SetTopicPermissions { user, vhost, exchange, permissions }
        }
        _ => Change::ClearTopicPermissions { user, vhost, exchange: None },
    }
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let ends = (name.clone(), name.clone(), any::<bool>(), prop::sample::select(vec!["x", "y"]));
    let destination = |name: &str, is_queue: bool| {
        if is_queue { Destination::Queue(name.into()) } else { Destination::Exchange(name.into()) }
    };
    let change = prop_oneof![
        (name.clone(), any::<bool>(), any::<bool>()).prop_map(|(name, durable, auto)| exchange(name, durable, auto)),
        (name.clone(), any::<bool>()).prop_map(|(name, durable)| queue(name, durable, None)),
        ends.clone().prop_map(move |(from, to, is_queue, key)| bind(from, destination(to, is_queue), key)),
        ends.prop_map(move |(from, to, is_queue, key)| unbind(from, destination(to, is_queue), key)),
        name.clone().prop_map(delete_queue),
        (name.clone(), 0..3_i64).prop_map(|(name, number)| set_something(name, number)),
        name.clone().prop_map(clear_something),
        (name.clone(), 0..3_i64).prop_map(|(name, priority)| set_policy(name, priority)),
        name.clone().prop_map(clear_policy),
        (name.clone(), 0..8).prop_map(|(name, what)| user_change(name, what)),
        name.prop_map(|name| Change::DeleteExchange { vhost: VHOST.into(), name: name.into(), if_unused: false }),
    ];
    prop::collection::vec(change, 0..60)
}

proptest! {
    /// Whatever happened, its records lead to the same durable things as the topology's own list of them.
    #[test]
    fn records_and_snapshot_agree(changes in changes()) {
        let mut topology = topology();
        for change in changes {
            let _ = topology.apply(change);
        }
        let snapshot = topology.durable_records();
        prop_assert_eq!(&restored(topology.take_records()).durable_records(), &snapshot);
        prop_assert_eq!(&restored(snapshot.clone()).durable_records(), &snapshot);
    }

    #[test]
    fn random_octets_are_no_danger(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::decode(&octets);
    }

    /// What is read of a damaged record is a record, or is refused.
    #[test]
    fn damaged_records_are_no_danger(changes in changes(), places in prop::collection::vec(any::<(u16, u8)>(), 1..4)) {
        let mut topology = topology();
        for change in changes {
            let _ = topology.apply(change);
        }
        for record in topology.take_records() {
            let mut octets = Vec::new();
            record.encode(&mut octets);
            for (place, octet) in &places {
                let place = usize::from(*place) % octets.len();
                octets[place] = *octet;
            }
            if let Ok(record) = Record::decode(&octets) {
                let mut again = Vec::new();
                record.encode(&mut again);
                prop_assert_eq!(Record::decode(&again), Ok(record.clone()));
                let _ = topology.restore(record);
            }
        }
    }
}

#[test]
fn every_type_of_exchange_is_made_anew() {
    let mut topology = topology();
    for (index, kind) in ExchangeKind::ALL.iter().enumerate() {
        let mut change = exchange(&format!("x{index}"), true, false);
        if let Change::DeclareExchange { kind: declared, arguments, .. } = &mut change {
            *declared = *kind;
            arguments.push("x-cache-size".into(), Value::I32(10));
            arguments.push("x-delayed-type".into(), Value::text("topic"));
        }
        topology.apply(change).unwrap();
    }
    let restored = restored(topology.durable_records());
    assert_eq!(restored.durable_records(), topology.durable_records());
    for (index, kind) in ExchangeKind::ALL.iter().enumerate() {
        assert_eq!(restored.vhost(VHOST).unwrap().exchange(&format!("x{index}")).unwrap().kind(), *kind);
    }
}

#[test]
fn the_binding_that_gives_a_destination_its_weight_still_does() {
    for weights in [["7", "1", "3"], ["1", "3", "7"], ["3", "7", "1"]] {
        let mut topology = topology();
        let (kind, arguments, origin) = (ExchangeKind::ConsistentHash, Table::new(), Origin::Client);
        let (vhost, name, durable, auto_delete, internal) = (VHOST.into(), "x".into(), true, false, false);
        topology
            .apply(Change::DeclareExchange { vhost, name, kind, durable, auto_delete, internal, arguments, origin })
            .unwrap();
        topology.apply(queue("q", true, None)).unwrap();
        for weight in weights {
            topology.apply(bind("x", to_queue("q"), weight)).unwrap();
        }
        let counts = |topology: &Topology| {
            let exchange = topology.vhost(VHOST).unwrap().exchange("x").unwrap();
            let counting = exchange.bindings().filter(|binding| !exchange.gives_way(binding));
            counting.map(|binding| binding.routing_key().to_string()).collect::<Vec<_>>()
        };
        let again = restored(topology.durable_records());
        assert_eq!(counts(&topology), [weights[0]]);
        assert_eq!(counts(&again), [weights[0]]);
        for mut topology in [topology, again] {
            topology.apply(unbind("x", to_queue("q"), weights[0])).unwrap();
            assert_eq!(counts(&topology), [*weights[1..].iter().min().unwrap()]);
        }
    }
}
