//! Rows of a node that has some of everything.

use std::sync::Arc;

use leveret_broker::access::{Peer, PeerCertificate, Permissions, TlsPeer};
use leveret_broker::clock::Timestamp;
use leveret_broker::exchange::ExchangeKind;
use leveret_broker::mailbox::Mailbox;
use leveret_broker::node::{ConnectionsOf, Opening};
use leveret_broker::queue::{Subscriber, Subscription};
use leveret_broker::topology::{ApplyTo, Change, ConnectionId, Destination, Origin, Policy, PolicyKind};

use super::*;

const WAIT: Duration = Duration::from_millis(1);

struct Bench {
    node: Node,
    pids: Pids,
    mailbox: Arc<Mailbox>,
    connection: ConnectionId,
}

impl Bench {
    fn new() -> Self {
        let node = Node::new();
        let mailbox = Arc::<Mailbox>::default();
        let peer = Peer::at("10.0.0.1:40000".parse().unwrap(), "[::1]:5672".parse().unwrap());
        let connection = node.connect(&mailbox, &Arc::new(peer), &Arc::default());
        let opened = node.open_connection(connection, "/", &"guest".into(), node.access_generation()).unwrap();
        assert!(matches!(opened, Opening::Open(_)));
        let pids = Pids::new(Name::clone(node.name()), 7);
        Self { node, pids, mailbox, connection }
    }

    fn apply(&self, change: Change) {
        self.node.apply(change).unwrap();
    }

    fn queue(&self, name: &str, arguments: &[(&str, Value)], exclusive: bool) {
        self.apply(Change::DeclareQueue {
            vhost: "/".into(),
            name: name.into(),
            durable: !exclusive,
            exclusive: exclusive.then_some(self.connection),
            auto_delete: false,
            arguments: arguments.iter().map(|(name, value)| ((*name).into(), value.clone())).collect(),
            origin: Origin::Client,
            id: None,
        });
    }

    fn consume(&self, queue: &str, tag: &str, exclusive: bool) {
        let cell = self.node.queue("/", queue, self.connection).unwrap();
        let arguments = [("x-priority".into(), Value::I32(3))].into_iter().collect();
        let subscription = Subscription {
            sink: Arc::clone(&self.mailbox),
            key: 0,
            tag: tag.into(),
            no_ack: false,
            exclusive,
            priority: 3,
            prefetch: 5,
            shared: None,
            subscriber: Subscriber { connection: self.connection, channel: 4, arguments },
        };
        cell.subscribe(subscription).unwrap();
    }

    fn view<'a>(&'a self, form: Form, columns: &'a Columns) -> View<'a> {
        View { node: &self.node, pids: &self.pids, form, columns }
    }
}

/// The values of some columns.
fn pick(rows: impl IntoIterator<Item = Row>, columns: &[&str]) -> Vec<Json> {
    let pick = |row: Row| columns.iter().map(|column| row.get(*column).cloned().unwrap_or(json!("MISSING"))).collect();
    rows.into_iter().map(pick).collect()
}

#[test]
fn queues_are_shown_with_all_that_is_known_of_them() {
    let bench = Bench::new();
    bench.queue("a", &[("x-max-length", Value::I32(5))], false);
    bench.queue("q", &[("x-queue-type", Value::text("quorum"))], false);
    bench.queue("s", &[("x-single-active-consumer", Value::Bool(true))], false);
    bench.queue("x", &[], true);
    bench.consume("s", "first", false);
    bench.consume("s", "second", false);
    bench.consume("x", "alone", true);
    let policy = Policy {
        name: "p".into(),
        pattern: "^a".into(),
        apply_to: ApplyTo::Queues,
        priority: 1,
        definition: [("max-length".into(), Value::I64(9))].into_iter().collect(),
    };
    bench.apply(Change::SetPolicy { vhost: "/".into(), kind: PolicyKind::User, policy });
    let all = Columns::All;
    let rows: Vec<Row> = bench.view(Form::Listing, &all).queues("/").unwrap().collect();
    let node = &**bench.node.name();
    assert_eq!(
        pick(rows.clone(), &["name", "type", "durable", "exclusive", "arguments", "policy", "members", "state"]),
        [
            json!(["a", "classic", true, false, [["x-max-length", "signedint", 5]], "p", null, "running"]),
            json!(["q", "quorum", true, false, [["x-queue-type", "longstr", "quorum"]], null, [node], "running"]),
            json!(["s", "classic", true, false, [["x-single-active-consumer", "bool", true]], null, null, "running"]),
            json!(["x", "classic", false, true, [], null, null, "running"]),
        ]
    );
    let channel = bench.pids.channel(bench.connection, 4);
    assert_eq!(
        pick(
            rows,
            &[
                "consumers",
                "exclusive_consumer_tag",
                "exclusive_consumer_pid",
                "single_active_consumer_tag",
                "single_active_consumer_pid",
                "owner_pid",
                "consumer_capacity",
                "messages",
                "message_bytes",
            ]
        ),
        [
            json!([0, null, null, null, null, null, 0, 0, 0]),
            json!([0, null, null, null, null, null, 0, 0, 0]),
            json!([2, null, null, "first", channel, null, 1.0, 0, 0]),
            json!([1, "alone", channel, null, null, bench.pids.connection(bench.connection), 1.0, 0, 0]),
        ]
    );
    let row = bench.view(Form::Api, &all).queue("/", "a").unwrap();
    assert_eq!(
        pick([row], &["arguments", "effective_policy_definition", "node", "pid"]),
        [json!([{"x-max-length": 5}, {"max-length": 9}, node, "MISSING"])]
    );
    assert!(bench.view(Form::Api, &all).queue("/", "none").is_err());
    assert!(bench.view(Form::Api, &all).queues("none").is_err());
}

#[test]
fn only_the_columns_that_are_wanted_are_given() {
    let bench = Bench::new();
    bench.queue("a", &[], false);
    let columns = Columns::of(["name", "messages", "no such column"]);
    let rows: Vec<Row> = bench.view(Form::Listing, &columns).queues("/").unwrap().collect();
    assert_eq!(rows, [Row::from_iter([("name".to_owned(), json!("a")), ("messages".to_owned(), json!(0))])]);
}

#[test]
fn many_queues_are_listed_in_order_whatever_becomes_of_them_meanwhile() {
    let bench = Bench::new();
    for number in 0..1000 {
        bench.queue(&format!("q{number:04}"), &[], false);
    }
    let columns = Columns::of(["name"]);
    let mut rows = bench.view(Form::Listing, &columns).queues("/").unwrap();
    assert_eq!(pick(rows.next(), &["name"]), [json!(["q0000"])]);
    let id = bench.node.listed_queue("/", "q0999").unwrap().id;
    bench.apply(Change::DeleteQueue { vhost: "/".into(), name: "q0999".into(), id: Some(id) });
    let rest: Vec<Json> = pick(rows, &["name"]);
    assert_eq!((rest.len(), rest.last()), (998, Some(&json!(["q0998"]))));
}

#[test]
fn consumers_are_shown_with_their_channels() {
    let bench = Bench::new();
    bench.queue("s", &[("x-single-active-consumer", Value::Bool(true))], false);
    bench.consume("s", "first", false);
    bench.consume("s", "second", false);
    let all = Columns::All;
    let rows = bench.view(Form::Listing, &all).consumers("/").unwrap();
    let columns = [
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "activity_status",
        "arguments",
    ];
    let (pid, arguments) = (bench.pids.channel(bench.connection, 4), json!([["x-priority", "signedint", 3]]));
    assert_eq!(
        pick(rows, &columns),
        [
            json!(["s", pid, "first", true, 5, true, "single_active", arguments]),
            json!(["s", pid, "second", true, 5, false, "waiting", arguments]),
        ]
    );
    let rows = bench.view(Form::Api, &all).consumers_of("/", "s").unwrap();
    assert_eq!(
        pick(rows, &["queue", "exclusive", "arguments", "channel_details"])[0],
        json!([{"name": "s", "vhost": "/"}, false, {"x-priority": 3}, {
            "name": "10.0.0.1:40000 -> [::1]:5672 (4)",
            "number": 4,
            "connection_name": "10.0.0.1:40000 -> [::1]:5672",
            "peer_host": "10.0.0.1",
            "peer_port": 40000,
            "node": &**bench.node.name(),
            "user": "guest",
        }])
    );
}

#[test]
fn a_connection_that_does_not_answer_has_what_the_node_knows() {
    let bench = Bench::new();
    let silent = bench.node.connect(&Arc::default(), &Arc::new(Peer::local()), &Arc::default());
    let all = Columns::All;
    let view = bench.view(Form::Listing, &all);
    let columns = ["pid", "name", "port", "peer_host", "user", "vhost", "channels", "state", "recv_oct", "ssl"];
    let (one, two) = (bench.pids.connection(bench.connection), bench.pids.connection(silent));
    let name = "10.0.0.1:40000 -> [::1]:5672";
    assert_eq!(
        pick(view.connections(&ConnectionsOf::Everybody, WAIT), &columns),
        [
            json!([one, name, 5672, "10.0.0.1", "guest", "/", 0, null, 0, false]),
            json!([two, "127.0.0.1:0 -> 0.0.0.0:0", 0, "127.0.0.1", null, null, 0, null, 0, false]),
        ]
    );
    for (whose, count) in [
        (ConnectionsOf::Vhost("/".into()), 1),
        (ConnectionsOf::User("guest".into()), 1),
        (ConnectionsOf::User("bob".into()), 0),
    ] {
        assert_eq!(view.connections(&whose, WAIT).len(), count, "{whose:?}");
    }
    assert!(view.channels(&ConnectionsOf::Everybody, WAIT).is_empty());
}

#[test]
fn exchanges_and_bindings_are_shown_with_those_that_nobody_made() {
    let bench = Bench::new();
    bench.queue("q", &[], false);
    bench.apply(Change::DeclareExchange {
        vhost: "/".into(),
        name: "e".into(),
        kind: ExchangeKind::parse("topic").unwrap(),
        durable: true,
        auto_delete: false,
        internal: true,
        arguments: Table::new(),
        origin: Origin::Client,
    });
    for (destination, key) in [(Destination::Queue("q".into()), "b"), (Destination::Exchange("e".into()), "a")] {
        bench.apply(Change::Bind {
            vhost: "/".into(),
            source: "e".into(),
            destination,
            routing_key: key.into(),
            arguments: Table::new(),
            asking: None,
        });
    }
    let all = Columns::All;
    let view = bench.view(Form::Listing, &all);
    let columns = ["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"];
    assert_eq!(
        pick(view.bindings("/").unwrap(), &columns),
        [
            json!(["", "exchange", "q", "queue", "q", []]),
            json!(["e", "exchange", "e", "exchange", "a", []]),
            json!(["e", "exchange", "q", "queue", "b", []]),
        ]
    );
    let api = bench.view(Form::Api, &all);
    assert_eq!(
        pick(api.bindings("/").unwrap(), &["source", "vhost", "destination", "destination_type", "arguments"])[0],
        json!(["", "/", "q", "queue", {}])
    );
    let names: Vec<Json> = pick(view.exchanges("/").unwrap(), &["name"]);
    assert_eq!((names[0].clone(), names.last()), (json!([""]), Some(&json!(["e"]))));
    assert_eq!(
        pick([view.exchange("/", "e").unwrap()], &["type", "durable", "auto_delete", "internal", "policy"]),
        [json!(["topic", true, false, true, null])]
    );
}

#[test]
fn vhosts_users_and_what_is_set_of_them_are_shown() {
    let bench = Bench::new();
    let limits: Table = [("max-queues".into(), Value::I64(10))].into_iter().collect();
    let limits = Value::Table(limits);
    bench.apply(Change::SetParameter {
        vhost: "/".into(),
        component: "vhost-limits".into(),
        name: "limits".into(),
        value: limits,
    });
    let permissions = Permissions::new("^a", "", ".*").unwrap();
    bench.apply(Change::SetPermissions { user: "guest".into(), vhost: "/".into(), permissions });
    let all = Columns::All;
    let (view, api) = (bench.view(Form::Listing, &all), bench.view(Form::Api, &all));
    let node = &**bench.node.name();
    assert_eq!(
        pick(view.vhosts(), &["name", "tracing", "tags", "default_queue_type", "cluster_state"]),
        [json!(["/", false, [], "classic", {node: "running"}])]
    );
    assert_eq!(pick(view.users(), &["user", "tags"]), [json!(["guest", ["administrator"]])]);
    assert_eq!(pick(api.users(), &["name", "password_hash"]), [json!(["guest", ""])]);
    assert!(!view.users()[0].contains_key("password_hash"));
    let expected = json!(["guest", "/", "^a", "", ".*"]);
    for rows in [view.permissions(), view.permissions_in("/").unwrap(), view.permissions_of("guest").unwrap()] {
        assert_eq!(pick(rows, &["user", "vhost", "configure", "write", "read"]), std::slice::from_ref(&expected));
    }
    assert!(view.permissions_in("none").is_err() && view.permissions_of("nobody").is_err());
    assert_eq!(pick(view.vhost_limits(None).unwrap(), &["vhost", "limits"]), [json!(["/", "{\"max-queues\":10}"])]);
    assert_eq!(pick(api.vhost_limits(Some("/")).unwrap(), &["vhost", "value"]), [json!(["/", {"max-queues": 10}])]);
    assert_eq!(
        pick(view.parameters("/").unwrap(), &["component", "name", "value"]),
        [json!(["vhost-limits", "limits", "{\"max-queues\":10}"])]
    );
    assert!(view.user_limits(Some("nobody")).is_err());
    assert!(view.user_limits(None).unwrap().is_empty() && view.topic_permissions().is_empty());
}

#[test]
fn a_tls_session_is_shown_in_its_parts() {
    let node = Node::new();
    let certificate = PeerCertificate {
        subject: "CN=client".into(),
        issuer: "CN=authority".into(),
        not_before: Timestamp(0),
        not_after: Timestamp(86_400_000),
        login_name: None,
    };
    let (version, cipher) = ("tlsv1.2".into(), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".into());
    let tls = Some(TlsPeer { version, cipher, certificate: Some(certificate) });
    node.connect(&Arc::default(), &Arc::new(Peer { tls, ..Peer::local() }), &Arc::default());
    let (all, pids) = (Columns::All, Pids::new("n".into(), 0));
    let view = View { node: &node, pids: &pids, form: Form::Listing, columns: &all };
    let columns = [
        "ssl",
        "ssl_protocol",
        "ssl_key_exchange",
        "ssl_cipher",
        "ssl_hash",
        "peer_cert_subject",
        "peer_cert_issuer",
        "peer_cert_validity",
    ];
    let validity = "1970-01-01T00:00:00Z - 1970-01-02T00:00:00Z";
    let expected = json!([true, "tlsv1.2", "ecdhe_rsa", "aes_128_gcm", "aead", "CN=client", "CN=authority", validity]);
    assert_eq!(pick(view.connections(&ConnectionsOf::Everybody, WAIT), &columns), [expected]);
}
