//! Each check finds what it is there to find.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use leveret_auth::hash::Hashing;
use leveret_auth::{Chain, Limits};
use leveret_broker::Name;
use leveret_broker::node::Node;
use leveret_broker::topology::{Change, Origin};
use leveret_broker::value::Value as Field;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::*;
use crate::pid::Pids;
use crate::{
    App, CertificateFile, Facts, Figures, Host, HostError, Listener, Logs, MemoryUse, Phase, Plugin, PluginChange,
    Setting,
};

/// A process of which only the broker and the alarms matter.
#[derive(Debug)]
struct Bench {
    app: Option<App>,
    alarms: Vec<String>,
    _runtime: Runtime,
}

impl Bench {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let node = Arc::new(Node::new());
        let app = App {
            pids: Arc::new(Pids::new(Name::clone(node.name()), 7)),
            logins: Arc::new(Chain::new(Vec::new(), Limits::default(), runtime.handle().clone())),
            hashing: Hashing::default(),
            node,
        };
        Self { app: Some(app), alarms: Vec::new(), _runtime: runtime }
    }

    fn queue(&self, name: &str, durable: bool, kind: &str) {
        let arguments = [("x-queue-type".into(), Field::text(kind))].into_iter().collect();
        let change = Change::DeclareQueue {
            vhost: "/".into(),
            name: name.into(),
            durable,
            exclusive: None,
            auto_delete: false,
            arguments,
            origin: Origin::Client,
            id: None,
        };
        self.app.as_ref().unwrap().node.apply(change).unwrap();
    }

    /// What an operation gives.
    fn ask(&self, run: fn(&Call<'_>) -> Result<Value, Failure>, arguments: Value) -> Result<Value, Failure> {
        let Value::Object(arguments) = arguments else { panic!("no object") };
        let (to, _answers) = mpsc::channel(1);
        run(&Call::new(self, arguments, to))
    }
}

const BROKEN: &str = "the message log could not be written";

#[test]
fn a_vhost_is_down_when_nothing_can_be_written() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(check_virtual_hosts, json!({})), Ok(json!({ "down": [] })));
    bench.alarms.push(BROKEN.to_owned());
    let down = json!({ "down": [{ "name": "/", "reason": BROKEN }] });
    assert_eq!(bench.ask(check_virtual_hosts, json!({})), Ok(down));
}

#[test]
fn a_quorum_queue_that_cannot_write_has_no_leader() {
    let mut bench = Bench::new();
    bench.queue("orders", true, "quorum");
    bench.queue("other", true, "classic");
    assert_eq!(bench.ask(check_quorum_queues, json!({})), Ok(json!({ "leaderless": [] })));
    bench.alarms.push(BROKEN.to_owned());
    for (arguments, count) in [
        (json!({}), 1),
        (json!({ "vhost": "/" }), 1),
        (json!({ "vhost": "elsewhere" }), 0),
        (json!({ "pattern": "ord" }), 1),
        (json!({ "pattern": "x" }), 0),
    ] {
        let found = bench.ask(check_quorum_queues, arguments.clone()).unwrap();
        assert_eq!(found["leaderless"].as_array().unwrap().len(), count, "{arguments}");
    }
}

#[test]
fn a_metadata_log_that_failed_is_told() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(check_metadata_store, json!({})).unwrap()["failed"], Value::Null);
    bench.alarms.push(BROKEN.to_owned());
    assert_eq!(bench.ask(check_metadata_store, json!({})).unwrap()["failed"], json!(BROKEN));
}

#[test]
fn queues_that_are_about_to_be_taken_away_are_found() {
    let bench = Bench::new();
    bench.queue("durable", true, "classic");
    assert_eq!(bench.ask(check_deprecated_features, json!({})), Ok(json!({ "used": [] })));
    bench.queue("transient", false, "classic");
    assert_eq!(bench.ask(check_deprecated_features, json!({})), Ok(json!({ "used": ["transient_nonexcl_queues"] })));
}

#[test]
fn nothing_is_well_while_the_broker_is_stopped() {
    let mut bench = Bench::new();
    bench.app = None;
    for operation in OPERATIONS {
        assert!(bench.ask(operation.run, json!({})).is_err(), "{}", operation.name);
    }
}

impl Host for Bench {
    fn phase(&self) -> Phase {
        if self.app.is_some() { Phase::Running } else { Phase::Stopped }
    }

    fn app(&self) -> Option<App> {
        self.app.clone()
    }

    fn facts(&self) -> Facts {
        Facts {
            node_name: "rabbit@here".to_owned(),
            version: "1",
            advertised_version: String::new(),
            advertised_product: String::new(),
            pid: 1,
            started: UNIX_EPOCH,
            uptime: Duration::ZERO,
            system: String::new(),
            data_dir: PathBuf::new(),
            config_files: Vec::new(),
            enabled_plugins_file: PathBuf::new(),
            files: (0, 0),
            sockets: 0,
            memory: 0,
            memory_total: 0,
            memory_budget: 0,
            disk_free: 0,
            threads: 1,
            tasks: (1, 1),
            processors: 1,
            run_queue: 0,
            context_switches: 0,
            disk_io: (0, 0),
            mechanisms: Vec::new(),
            alarms: self.alarms.clone(),
            command_line: Vec::new(),
        }
    }

    fn start_app(&self) -> Result<(), HostError> {
        unreachable!()
    }

    fn stop_app(&self) -> Result<(), HostError> {
        unreachable!()
    }

    fn reset(&self) -> Result<(), HostError> {
        unreachable!()
    }

    fn stop(&self) {
        unreachable!()
    }

    fn listeners(&self) -> Vec<Listener> {
        unreachable!()
    }

    fn suspend_listeners(&self) -> Result<(), HostError> {
        unreachable!()
    }

    fn resume_listeners(&self) -> Result<(), HostError> {
        unreachable!()
    }

    fn plugins(&self) -> Vec<Plugin> {
        unreachable!()
    }

    fn set_plugins(&self, _: &BTreeSet<String>) -> Result<PluginChange, HostError> {
        unreachable!()
    }

    fn reload(&self) -> Result<Vec<String>, HostError> {
        unreachable!()
    }

    fn settings(&self) -> Vec<Setting> {
        unreachable!()
    }

    fn logs(&self) -> Arc<dyn Logs> {
        unreachable!()
    }

    fn memory(&self) -> Vec<MemoryUse> {
        unreachable!()
    }

    fn figures(&self) -> Figures {
        unreachable!()
    }

    fn certificates(&self) -> Vec<CertificateFile> {
        unreachable!()
    }
}
