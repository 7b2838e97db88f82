//! Users, and what they may do.

use super::*;
use crate::access::Permission::{Configure, Read, Write};
use crate::topology::Change;

fn topology() -> Topology {
    let mut topology = Topology::new();
    topology.apply(Change::CreateDefaults(Box::new(Defaults::guest(PasswordHash::none())))).unwrap();
    topology.apply(Change::CreateVhost { vhost: "v".into() }).unwrap();
    topology.apply(set_user("u", Existing::Refuse)).unwrap();
    topology
}

fn set_user(name: &str, existing: Existing) -> Change {
    Change::SetUser { user: name.into(), password: PasswordHash::none(), tags: vec!["t".into()], existing }
}

fn set_permissions(user: &str, vhost: &str, permissions: [&str; 3]) -> Change {
    let [configure, write, read] = permissions;
    let permissions = Permissions::new(configure, write, read).unwrap();
    Change::SetPermissions { user: user.into(), vhost: vhost.into(), permissions }
}

fn set_topic_permissions(exchange: &str, write: &str, read: &str) -> Change {
    let permissions = TopicPermissions::new(write, read).unwrap();
    Change::SetTopicPermissions { user: "u".into(), vhost: "v".into(), exchange: exchange.into(), permissions }
}

fn may(topology: &Topology, user: &str, question: &Question) -> bool {
    topology.answer(user, question).is_allowed()
}

#[test]
fn a_fresh_broker_has_a_guest_once() {
    let mut topology = topology();
    let everything = [
        Question::Vhost { vhost: "/".into() },
        Question::queue(Configure, &"/".into(), "q"),
        Question::exchange(Write, &"/".into(), ""),
        Question::topic(Read, &"/".into(), "x", "key"),
    ];
    assert!(everything.iter().all(|question| may(&topology, "guest", question)));
    assert_eq!(*topology.user("guest").unwrap().tags().to_vec(), ["administrator".into()]);

    topology.apply(Change::DeleteUser { user: "guest".into() }).unwrap();
    assert!(!everything.iter().take(3).any(|question| may(&topology, "guest", question)));
    let again = Change::CreateDefaults(Box::new(Defaults::guest(PasswordHash::none())));
    assert_eq!(topology.apply(again), Ok(Applied::Unchanged));
    assert!(topology.user("guest").is_err());
}

#[test]
fn users_are_left_alone_though_it_is_not_known_any_more_that_there_was_a_guest() {
    let defaults = || Change::CreateDefaults(Box::new(Defaults::guest(PasswordHash::none())));
    let hash = || PasswordHash { octets: b"secret".as_slice().into(), ..PasswordHash::none() };
    let vhost = || Record::VhostCreated { vhost: "/".into() };
    let guest = || Record::UserSet { user: "guest".into(), password: hash(), tags: Vec::new() };
    let may = || Record::PermissionsSet { user: "guest".into(), vhost: "/".into(), permissions: Permissions::all() };
    let other = || Record::UserSet { user: "other".into(), password: hash(), tags: Vec::new() };
    for (records, is_made) in [
        (vec![], true),
        (vec![vhost()], true),
        (vec![vhost(), guest()], true),
        (vec![vhost(), guest(), may()], false),
        (vec![vhost(), other()], false),
        (vec![vhost(), other(), guest()], false),
    ] {
        let mut topology = Topology::new();
        for record in records.clone() {
            topology.restore(record).unwrap();
        }
        topology.apply(defaults()).unwrap();
        let is_guest =
            topology.user("guest").is_ok_and(|user| user.password().is_none() && user.permissions().len() == 1);
        assert_eq!(is_guest, is_made, "{records:?}");
        assert!(topology.has_defaults());
        assert_eq!(topology.take_records().pop(), Some(Record::DefaultsCreated));
    }
}

#[test]
fn a_user_may_what_its_patterns_say_and_nothing_elsewhere() {
    let mut topology = topology();
    topology.apply(set_permissions("u", "v", ["^c", "^w|^amq\\.default$", "^{username}-{vhost}-"])).unwrap();
    let (v, slash) = (Name::from("v"), Name::from("/"));
    for (question, expected) in [
        (Question::Vhost { vhost: Name::clone(&v) }, true),
        (Question::Vhost { vhost: Name::clone(&slash) }, false),
        (Question::Vhost { vhost: "nowhere".into() }, false),
        (Question::queue(Configure, &v, "c"), true),
        (Question::queue(Configure, &slash, "c"), false),
        (Question::queue(Write, &v, "c"), false),
        (Question::exchange(Configure, &v, "c"), true),
        (Question::exchange(Write, &v, "w"), true),
        (Question::exchange(Write, &v, ""), true),
        (Question::exchange(Configure, &v, ""), false),
        (Question::queue(Read, &v, "u-v-q"), true),
        (Question::queue(Read, &v, "x-v-q"), false),
    ] {
        assert_eq!(may(&topology, "u", &question), expected, "{question:?}");
        assert!(!may(&topology, "nobody", &question), "{question:?}");
    }
}

#[test]
fn topic_permissions_are_of_one_exchange_and_without_them_all_keys_are_free() {
    let mut topology = topology();
    topology.apply(set_topic_permissions("x", "^w\\.", "")).unwrap();
    let v = Name::from("v");
    let keys = [
        (Question::topic(Write, &v, "x", "w.1"), true),
        (Question::topic(Write, &v, "x", "r.1"), false),
        (Question::topic(Read, &v, "x", "r.1"), false),
        (Question::topic(Read, &v, "x", ""), true),
        (Question::topic(Write, &v, "y", "r.1"), true),
        (Question::topic(Write, &"/".into(), "x", "r.1"), true),
    ];
    for (question, expected) in &keys {
        assert_eq!(may(&topology, "u", question), *expected, "{question:?}");
    }
    topology.apply(set_topic_permissions("y", "", "")).unwrap();
    let clear = |exchange| Change::ClearTopicPermissions { user: "u".into(), vhost: "v".into(), exchange };
    topology.apply(clear(Some("x".into()))).unwrap();
    assert!(may(&topology, "u", &keys[1].0) && !may(&topology, "u", &keys[4].0));
    topology.apply(clear(None)).unwrap();
    assert!(keys.iter().all(|(question, _)| may(&topology, "u", question)));
    assert_eq!(topology.apply(clear(None)), Ok(Applied::Unchanged));
}

#[test]
fn what_is_not_there_is_refused() {
    let (user, vhost) = (|| Name::from("nobody"), || Name::from("nowhere"));
    let no_user = "user 'nobody' not found";
    for (change, text) in [
        (set_user("u", Existing::Refuse), "user 'u' already exists"),
        (set_user("", Existing::Replace), "a user must have a name"),
        (Change::SetPassword { user: user(), password: PasswordHash::none() }, no_user),
        (Change::SetTags { user: user(), tags: Vec::new() }, no_user),
        (Change::DeleteUser { user: user() }, no_user),
        (set_permissions("nobody", "v", [""; 3]), no_user),
        (set_permissions("u", "nowhere", [""; 3]), "vhost nowhere not found"),
        (Change::ClearPermissions { user: user(), vhost: "v".into() }, no_user),
        (Change::ClearPermissions { user: "u".into(), vhost: vhost() }, "vhost nowhere not found"),
        (Change::ClearTopicPermissions { user: user(), vhost: "v".into(), exchange: None }, no_user),
    ] {
        let mut topology = topology();
        let generation = topology.access_generation();
        assert_eq!(topology.apply(change.clone()).unwrap_err().to_string(), text, "{change:?}");
        assert_eq!(topology.access_generation(), generation);
    }
}

#[test]
fn every_change_of_rights_moves_both_generations() {
    let mut topology = topology();
    let password = PasswordHash { octets: (*b"x").into(), ..PasswordHash::none() };
    for change in [
        set_permissions("u", "v", ["a"; 3]),
        set_topic_permissions("x", "a", "a"),
        Change::SetPassword { user: "u".into(), password },
        Change::SetTags { user: "u".into(), tags: Vec::new() },
        Change::ClearPermissions { user: "u".into(), vhost: "v".into() },
        Change::ClearTopicPermissions { user: "u".into(), vhost: "v".into(), exchange: None },
        set_permissions("u", "v", ["b"; 3]),
        Change::DeleteVhost { vhost: "v".into() },
        Change::DeleteUser { user: "u".into() },
    ] {
        let before = (topology.generation(), topology.access_generation());
        topology.apply(change.clone()).unwrap();
        let after = (topology.generation(), topology.access_generation());
        assert!(after.0 > before.0 && after.1 > before.1, "{change:?}");
    }
    let (before, again) = (topology.access_generation(), set_permissions("guest", "/", [".*"; 3]));
    assert_eq!(topology.apply(again), Ok(Applied::Unchanged));
    assert_eq!(topology.access_generation(), before);
}

#[test]
fn a_vhost_made_anew_lets_nobody_in() {
    let mut topology = topology();
    topology.apply(set_permissions("u", "v", [".*"; 3])).unwrap();
    topology.apply(set_topic_permissions("x", "", "")).unwrap();
    topology.apply(Change::DeleteVhost { vhost: "v".into() }).unwrap();
    topology.apply(Change::CreateVhost { vhost: "v".into() }).unwrap();
    assert!(!may(&topology, "u", &Question::Vhost { vhost: "v".into() }));
    assert!(may(&topology, "u", &Question::topic(Write, &"v".into(), "x", "key")));
}

#[test]
fn a_user_made_anew_may_nothing_and_has_no_limits() {
    let mut topology = topology();
    topology.apply(set_permissions("u", "v", [".*"; 3])).unwrap();
    let limits = [("max-channels".into(), crate::value::Value::I64(1))].into_iter().collect();
    topology.apply(Change::SetUserLimits { user: "u".into(), limits }).unwrap();
    topology.apply(Change::DeleteUser { user: "u".into() }).unwrap();
    topology.apply(set_user("u", Existing::Refuse)).unwrap();
    assert!(!may(&topology, "u", &Question::Vhost { vhost: "v".into() }));
    assert_eq!(topology.user_limits("u"), crate::topology::UserLimits::default());
}
