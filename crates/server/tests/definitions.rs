//! What is set of vhosts, users and the whole broker survives a restart, and `leveret storage dump` prints it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use leveret_broker::journal::Written;
use leveret_broker::mailbox::Mailbox;
use leveret_broker::topology::{ApplyTo, Change, Policy, PolicyKind, Protection, VhostMetadata};
use leveret_broker::value::{Table, Value};
use leveret_server::{Config, Running};

fn start(data_dir: &Path) -> Running {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let config = Config { listen, data_dir: data_dir.to_owned(), ..Config::default() };
    leveret_server::start(&config).unwrap()
}

fn table(values: &[(&str, Value)]) -> Table {
    values.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
}

fn policy(name: &str) -> Policy {
    let definition = table(&[("max-length", Value::I64(5))]);
    Policy { name: name.into(), pattern: "^q".into(), apply_to: ApplyTo::Queues, priority: 7, definition }
}

fn metadata() -> VhostMetadata {
    let (description, tags) = ("orders".into(), vec!["a".into()]);
    VhostMetadata { description, tags, default_queue_type: Some("classic".into()), protection: Protection::Deletion }
}

fn changes() -> [Change; 6] {
    let limits = Value::Table(table(&[("max-queues", Value::I64(9))]));
    let vhost = || "v".into();
    [
        Change::SetVhost { vhost: vhost(), metadata: metadata() },
        Change::SetPolicy { vhost: vhost(), kind: PolicyKind::User, policy: policy("user") },
        Change::SetPolicy { vhost: vhost(), kind: PolicyKind::Operator, policy: policy("operator") },
        Change::SetParameter { vhost: vhost(), component: "vhost-limits".into(), name: "limits".into(), value: limits },
        Change::SetGlobalParameter { name: "cluster_name".into(), value: Value::text("hare") },
        Change::SetUserLimits { user: "guest".into(), limits: table(&[("max-channels", Value::I64(3))]) },
    ]
}

#[test]
fn what_is_set_survives_a_restart_and_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let running = start(&data_dir);
    let mailbox = std::sync::Arc::new(Mailbox::default());
    for change in changes() {
        let written = running.node().apply(change.clone()).unwrap().written.expect("it is durable");
        let deadline = Instant::now() + Duration::from_secs(10);
        while running.node().written(written, &mailbox) != Written::Synced {
            assert!(Instant::now() < deadline, "{change:?} is not written");
            std::thread::yield_now();
        }
    }
    running.stop();

    let dump = Command::new(env!("CARGO_BIN_EXE_leveret")).args(["storage", "dump"]).arg(&data_dir).output().unwrap();
    let printed = String::from_utf8(dump.stdout).unwrap();
    for line in [
        r#"{"type":"user_limits","user":"guest","limits":{"max-channels":3}}"#,
        r#"{"type":"global_parameter","name":"cluster_name","value":"hare"}"#,
        r#"{"type":"vhost_metadata","vhost":"v","description":"orders","tags":["a"],"default_queue_type":"classic","protected_from_deletion":true}"#,
        r#"{"type":"parameter","vhost":"v","component":"vhost-limits","name":"limits","value":{"max-queues":9}}"#,
        r#"{"type":"policy","vhost":"v","name":"user","pattern":"^q","apply-to":"queues","priority":7,"definition":{"max-length":5}}"#,
        r#"{"type":"operator_policy","vhost":"v","name":"operator","pattern":"^q","apply-to":"queues","priority":7,"definition":{"max-length":5}}"#,
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is missing in:\n{printed}");
    }

    let running = start(&data_dir);
    running.node().read(|topology| {
        let vhost = topology.vhost("v").unwrap();
        assert_eq!(vhost.metadata(), &metadata());
        assert_eq!(vhost.policy(PolicyKind::User, "user"), Ok(&policy("user")));
        assert_eq!(vhost.policy(PolicyKind::Operator, "operator"), Ok(&policy("operator")));
        assert_eq!(vhost.limits().max_queues, Some(9));
        assert_eq!(topology.global_parameter("cluster_name"), Ok(&Value::text("hare")));
        assert_eq!(topology.user_limits("guest").max_channels, Some(3));
    });
    running.stop();
}
