//! What is said of vhosts, their parameters and limits, and those of users.

use super::*;
use crate::topology::{Parameter, Protection, VhostLimits, VhostMetadata, VhostUpdate};

fn set_parameter(component: &str, name: &str, value: Value) -> Change {
    Change::SetParameter { vhost: "/".into(), component: component.into(), name: name.into(), value }
}

fn clear_parameter(component: &str, name: &str) -> Change {
    Change::ClearParameter { vhost: "/".into(), component: component.into(), name: name.into() }
}

fn set_limits(limits: &[(&str, Value)]) -> Change {
    set_parameter("vhost-limits", "limits", Value::Table(table(limits)))
}

fn describe(vhost: &str, metadata: VhostMetadata) -> Change {
    Change::SetVhost { vhost: vhost.into(), metadata }
}

#[test]
fn a_vhost_is_described_when_it_is_made_or_later() {
    let mut bench = Bench::new();
    let (description, tags) = ("orders".into(), vec!["a".into(), "b".into()]);
    let metadata = VhostMetadata { description, tags, ..VhostMetadata::default() };
    assert_eq!(bench.apply(describe("v", metadata.clone())), Applied::VhostCreated);
    assert_eq!(bench.0.vhost("v").unwrap().metadata(), &metadata);
    assert_eq!(bench.apply(describe("v", metadata.clone())), Applied::Unchanged);
    assert_eq!(bench.apply(describe("/", metadata.clone())), Applied::Set);
    assert_eq!(bench.vhost().metadata(), &metadata);
    // What exists keeps what is said of it.
    assert_eq!(bench.apply(Change::CreateVhost { vhost: "v".into() }), Applied::Unchanged);
    assert_eq!(bench.0.vhost("v").unwrap().metadata(), &metadata);
}

#[test]
fn what_is_not_said_anew_of_a_vhost_stays() {
    let mut bench = Bench::new();
    let update = |update: VhostUpdate| Change::UpdateVhost { vhost: "v".into(), update };
    let protect = VhostUpdate { protection: Some(Protection::Deletion), ..VhostUpdate::default() };
    assert_eq!(bench.refuse(update(protect.clone())), "vhost v not found");
    let metadata = VhostMetadata { description: "orders".into(), tags: vec!["a".into()], ..VhostMetadata::default() };
    bench.apply(describe("v", metadata.clone()));
    assert_eq!(bench.apply(update(VhostUpdate::default())), Applied::Unchanged);
    assert_eq!(bench.apply(update(protect)), Applied::Set);
    let tags = VhostUpdate { tags: Some(Vec::new()), ..VhostUpdate::default() };
    assert_eq!(bench.apply(update(tags)), Applied::Set);
    let expected = VhostMetadata { tags: Vec::new(), protection: Protection::Deletion, ..metadata };
    assert_eq!(bench.0.vhost("v").unwrap().metadata(), &expected);
    let unknown = VhostUpdate { default_queue_type: Some("foo".into()), ..VhostUpdate::default() };
    assert_eq!(bench.refuse(update(unknown)), "Validation failed\n\nunsupported queue type 'foo'");
}

#[test]
fn what_is_wrong_with_a_parameter_comes_before_a_missing_vhost() {
    let mut bench = Bench::new();
    let set = |component: &str| Change::SetParameter {
        vhost: "none".into(),
        component: component.into(),
        name: "limits".into(),
        value: Value::Table(table(&[])),
    };
    assert_eq!(bench.refuse(set("a")), "Validation failed\n\ncomponent a not found");
    assert_eq!(bench.refuse(set("vhost-limits")), "vhost none not found");
}

#[test]
fn a_protected_vhost_stays() {
    let mut bench = Bench::new();
    let protected = VhostMetadata { protection: Protection::Deletion, ..VhostMetadata::default() };
    bench.apply(describe("v", protected));
    let text = bench.refuse(Change::DeleteVhost { vhost: "v".into() });
    assert_eq!(text, "Refusing to delete virtual host 'v' because it is protected from deletion");
    bench.apply(describe("v", VhostMetadata::default()));
    bench.apply(Change::DeleteVhost { vhost: "v".into() });
}

#[test]
fn a_default_queue_type_is_one_that_exists() {
    let mut bench = Bench::new();
    let with = |name: &str| VhostMetadata { default_queue_type: Some(name.into()), ..VhostMetadata::default() };
    bench.apply(describe("/", with("classic")));
    bench.queue("q");
    assert!(bench.vhost().any_queue("q").unwrap().arguments().is_empty());
    bench.apply(describe("/", with("quorum")));
    let text = bench.refuse(describe("new", with("foo")));
    assert_eq!(text, "Validation failed\n\nunsupported queue type 'foo'");
    assert!(bench.0.vhost("new").is_err());
}

#[test]
fn the_default_queue_type_is_for_queues_that_can_have_it_and_name_none() {
    let mut bench = Bench::new();
    bench.queue("before");
    let other = Some("other".into());
    bench.0.vhost_mut(&"/".into()).unwrap().metadata.default_queue_type = other;
    let of = |kind: &str| table(&[("x-queue-type", Value::text(kind))]);
    let admitted = |name: &str, durable, exclusive, auto_delete, arguments| {
        let mut declared = QueueRecord::new(QueueId(9), name.into(), durable, exclusive);
        (declared.auto_delete, declared.arguments) = (auto_delete, arguments);
        bench.vhost().admit_queue(&mut declared).unwrap();
        declared.arguments
    };
    for (durable, exclusive, auto_delete, arguments, expected) in [
        (true, None, false, Table::new(), of("other")),
        (true, None, false, of(""), of("other")),
        (true, None, false, of("undefined"), of("other")),
        (true, None, false, of("classic"), of("classic")),
        (false, None, false, Table::new(), Table::new()),
        (true, Some(ONE), false, Table::new(), Table::new()),
        (true, None, true, Table::new(), Table::new()),
    ] {
        assert_eq!(admitted("q", durable, exclusive, auto_delete, arguments), expected, "{durable} {exclusive:?}");
    }
    assert_eq!(admitted("before", true, None, false, Table::new()), Table::new());
}

#[test]
fn parameters_are_set_and_cleared_in_the_order_of_their_names() {
    let mut bench = Bench::new();
    let limits = [("max-queues", Value::I64(2))];
    assert_eq!(bench.apply(set_limits(&limits)), Applied::Set);
    assert_eq!(bench.apply(set_limits(&limits)), Applied::Unchanged);
    let (component, name, value) = ("vhost-limits".into(), "limits".into(), Value::Table(table(&limits)));
    let expected = Parameter { component: &component, name: &name, value: &value };
    assert_eq!(bench.vhost().parameters().collect::<Vec<_>>(), [expected]);
    assert_eq!(bench.vhost().parameter("vhost-limits", "limits"), Ok(&value));
    assert_eq!(bench.vhost().limits(), VhostLimits { max_connections: None, max_queues: Some(2) });
    assert_eq!(bench.apply(clear_parameter("vhost-limits", "limits")), Applied::Set);
    assert_eq!(bench.vhost().limits(), VhostLimits::default());
    assert_eq!(bench.refuse(clear_parameter("vhost-limits", "limits")), "Parameter does not exist");
}

#[test]
fn parameters_that_nothing_knows_are_refused() {
    let mut bench = Bench::new();
    for (change, text) in [
        (set_parameter("foo", "a", Value::Void), "Validation failed\n\ncomponent foo not found"),
        (set_parameter("policy", "a", Value::Void), "policies may not be set using this method"),
        (clear_parameter("policy", "a"), "policies may not be cleared using this method"),
        (clear_parameter("foo", "a"), "Parameter does not exist"),
        (
            set_parameter("vhost-limits", "other", Value::Table(Table::new())),
            "Validation failed\n\nthere is no parameter other of vhost-limits",
        ),
        (set_parameter("vhost-limits", "limits", Value::I64(1)), "Validation failed\n\nlimits not a list 1"),
        (
            set_limits(&[("max-connections", Value::text("x"))]),
            "Validation failed\n\nmax-connections should be a number, actually was <<\"x\">>",
        ),
    ] {
        assert_eq!(bench.refuse(change), text);
    }
}

#[test]
fn global_parameters_have_any_value() {
    let mut bench = Bench::new();
    let set = |name: &str, value| Change::SetGlobalParameter { name: name.into(), value };
    assert_eq!(bench.apply(set("cluster_name", Value::text("hare"))), Applied::Set);
    assert_eq!(bench.apply(set("a", Value::Table(table(&[("b", Value::I64(1))])))), Applied::Set);
    assert_eq!(bench.apply(set("cluster_name", Value::text("hare"))), Applied::Unchanged);
    let names: Vec<&str> = bench.0.global_parameters().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a", "cluster_name"]);
    assert_eq!(bench.0.global_parameter("cluster_name"), Ok(&Value::text("hare")));
    assert_eq!(bench.0.cluster_name(), Some("hare"));
    let clear = Change::ClearGlobalParameter { name: "a".into() };
    assert_eq!(bench.apply(clear.clone()), Applied::Set);
    assert_eq!(bench.refuse(clear), "Parameter does not exist");
    assert!(bench.0.global_parameter("a").is_err());
}

#[test]
fn a_vhost_has_as_many_queues_as_it_may() {
    let mut bench = Bench::new();
    bench.queue("q");
    bench.apply(set_limits(&[("max-queues", Value::I64(2))]));
    bench.queue("r");
    let text = "cannot declare queue 's': queue limit in vhost '/' (2) is reached";
    assert_eq!(bench.refuse(declare_queue("s")), text);
    // Not even one with other faults; one that is there is no new one.
    assert_eq!(bench.refuse(queue_with("s", true, None, false, table(&[("x-expires", Value::I32(0))]))), text);
    assert!(matches!(bench.apply(declare_queue("r\n")), Applied::QueueExists { .. }));
    // What is restored has been there already.
    let mut restored = declare_queue("s");
    if let Change::DeclareQueue { id, .. } = &mut restored {
        *id = Some(QueueId(77));
    }
    bench.apply(restored);
    bench.apply(set_limits(&[("max-queues", Value::I64(-1))]));
    bench.queue("t");
    bench.apply(set_limits(&[("max-queues", Value::I64(0))]));
    assert!(bench.refuse(declare_queue("u")).contains("(0) is reached"));
}

#[test]
fn limits_of_users_are_all_set_together() {
    let mut bench = Bench::new();
    let set = |limits: &[(&str, Value)]| Change::SetUserLimits { user: "u".into(), limits: table(limits) };
    assert_eq!(bench.apply(set(&[("max-connections", Value::I64(3))])), Applied::Set);
    assert_eq!(bench.apply(set(&[("max-channels", Value::I64(5))])), Applied::Set);
    let limits = bench.0.user_limits("u");
    assert_eq!((limits.max_connections, limits.max_channels), (None, Some(5)));
    assert_eq!(bench.0.user_limits("v"), UserLimits::default());
    let text = "Unrecognised terms [{<<\"max-foo\">>,1}] in user-limits";
    assert_eq!(bench.refuse(set(&[("max-foo", Value::I64(1))])), text);
    assert_eq!(bench.0.all_user_limits().len(), 1);
    assert_eq!(bench.apply(set(&[])), Applied::Set);
    assert_eq!(bench.apply(set(&[])), Applied::Unchanged);
    assert_eq!(bench.0.all_user_limits().len(), 0);
}
