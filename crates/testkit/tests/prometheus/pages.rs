//! The pages, and who gets them.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use leveret_protocol::amqp091::method::QueueDeleteOk;
use leveret_testkit::amqp091::queue_delete;

use crate::names::{Family, families};
use crate::node::{Node, declare};

/// The number of a sample.
fn number(found: &BTreeMap<String, Family>, sample: &str) -> f64 {
    let name = sample.split_once('{').map_or(sample, |(name, _)| name);
    let family = found.get(name).unwrap_or_else(|| panic!("no {name}"));
    let number = family.samples.iter().find(|(known, _)| known == sample);
    number.unwrap_or_else(|| panic!("no {sample} in {family:?}")).1.parse().unwrap()
}

#[track_caller]
fn expect(found: &BTreeMap<String, Family>, samples: &[(&str, f64)]) {
    for (sample, expected) in samples {
        let found = number(found, sample);
        assert!((found - expected).abs() < 1e-9, "{sample} is {found}, not {expected}");
    }
}

#[test]
fn what_happens_is_counted() {
    let node = Node::start("");
    let connection = node.connect();
    let channel = connection.channel();
    channel.confirm_select();
    declare(&channel, "a\"b\\c", "classic");
    for _ in 0..3 {
        channel.publish("", "a\"b\\c", &[b'x'; 200]);
        channel.next_confirm();
    }
    channel.publish_mandatory("", "nowhere", b"x");
    channel.next_return();
    channel.next_confirm();
    let got = channel.get("a\"b\\c").unwrap();
    channel.ack(got.delivery_tag);
    assert!(channel.get("a\"b\\c").is_some());
    channel.round_trip();
    let queue = "{vhost=\"/\",queue=\"a\\\"b\\\\c\"}";
    let found = families(&node.page("/metrics"));
    expect(
        &found,
        &[
            ("rabbitmq_connections", 1.0),
            ("rabbitmq_channels", 1.0),
            ("rabbitmq_queues", 1.0),
            ("rabbitmq_queues_created_total", 1.0),
            ("rabbitmq_queue_messages_ready", 1.0),
            ("rabbitmq_queue_messages_unacked", 1.0),
            ("rabbitmq_queue_messages", 2.0),
            ("rabbitmq_channel_messages_unacked", 1.0),
            ("rabbitmq_auth_attempts_succeeded_total{protocol=\"amqp091\"}", 1.0),
            ("rabbitmq_global_messages_received_total{protocol=\"amqp091\"}", 4.0),
            ("rabbitmq_global_messages_confirmed_total{protocol=\"amqp091\"}", 4.0),
            ("rabbitmq_global_messages_routed_total{protocol=\"amqp091\"}", 3.0),
            ("rabbitmq_global_messages_unroutable_returned_total{protocol=\"amqp091\"}", 1.0),
            ("rabbitmq_global_publishers{protocol=\"amqp091\"}", 1.0),
            (
                "rabbitmq_global_messages_delivered_get_manual_ack_total{protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"}",
                2.0,
            ),
            (
                "rabbitmq_global_messages_acknowledged_total{protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"}",
                1.0,
            ),
        ],
    );
    let sizes = &found["rabbitmq_message_size_bytes"].samples;
    let bucket = |bound: &str| {
        let name = format!("rabbitmq_message_size_bytes_bucket{{protocol=\"amqp091\",le=\"{bound}\"}}");
        sizes.iter().find(|(sample, _)| *sample == name).unwrap().1.clone()
    };
    assert_eq!([bucket("100"), bucket("1000"), bucket("100000000"), bucket("+Inf")], ["1", "4", "4", "4"]);
    let per_object = families(&node.page("/metrics/per-object"));
    for (name, expected) in [
        ("queue_messages_ready", 1.0),
        ("queue_messages_unacked", 1.0),
        ("queue_messages_published_total", 3.0),
        ("queue_get_ack_total", 2.0),
        ("queue_messages_acked_total", 1.0),
        ("queue_consumers", 0.0),
    ] {
        let labels = queue.to_owned();
        expect(&per_object, &[(&format!("rabbitmq_{name}{labels}"), expected)]);
    }
    // Who is gone is not forgotten.
    connection.close();
    let gone = |node: &Node| {
        let found = families(&node.page("/metrics"));
        (number(&found, "rabbitmq_connections_closed_total") > 0.0).then_some(found)
    };
    let found = std::iter::repeat_with(|| gone(&node)).find_map(|found| found).unwrap();
    expect(
        &found,
        &[
            ("rabbitmq_connections", 0.0),
            ("rabbitmq_channels_closed_total", 1.0),
            ("rabbitmq_queue_messages_ready", 2.0),
            ("rabbitmq_global_publishers{protocol=\"amqp091\"}", 0.0),
            ("rabbitmq_global_messages_received_total{protocol=\"amqp091\"}", 4.0),
            ("rabbitmq_channel_messages_published_total", 4.0),
        ],
    );
}

#[test]
fn only_what_is_asked_for_is_on_the_detailed_page() {
    let node = Node::start("");
    let connection = node.connect();
    let channel = connection.channel();
    for queue in ["one", "two"] {
        channel.declare_queue(queue);
    }
    let samples = |query: &str, name: &str| {
        let found = families(&node.page(&format!("/metrics/detailed?{query}")));
        found.get(name).map(|family| family.samples.len())
    };
    let ready = "rabbitmq_detailed_queue_messages_ready";
    for (query, name, expected) in [
        ("", ready, None),
        ("family=queue_coarse_metrics", ready, Some(2)),
        ("family=queue_coarse_metrics&queue=two", ready, Some(1)),
        ("family=queue_coarse_metrics&vhost=%2F&vhost=x", ready, Some(2)),
        ("family=queue_coarse_metrics&vhost=x", ready, Some(0)),
        ("family=nothing", ready, None),
        ("family=queue_consumer_count", "rabbitmq_detailed_queue_consumers", Some(2)),
        ("family=queue_consumer_count&family=queue_metrics", "rabbitmq_detailed_queue_consumers", Some(2)),
        ("family=queue_metrics", "rabbitmq_detailed_queue_info", Some(2)),
        ("family=node_metrics", "rabbitmq_detailed_queue_info", Some(0)),
        ("family=vhost_status", "rabbitmq_cluster_vhost_status", Some(1)),
        ("family=exchange_names", "rabbitmq_cluster_exchange_name", Some(7)),
        ("family=exchange_bindings", "rabbitmq_cluster_exchange_bindings", Some(7)),
        ("family=connection_metrics", "rabbitmq_detailed_connection_channels", Some(1)),
        ("family=channel_metrics", "rabbitmq_detailed_channel_consumers", Some(1)),
    ] {
        let found = samples(query, name);
        assert_eq!(found.or(expected.filter(|count| *count == 0)), expected, "{query}");
    }
    let _: QueueDeleteOk = channel.call(&queue_delete("one"));
    assert_eq!(samples("family=queue_coarse_metrics", ready), Some(1));
}

#[test]
fn a_node_keeps_the_id_of_its_cluster() {
    let node = Node::start("");
    for (path, endpoint) in [
        ("/metrics", "aggregated"),
        ("/metrics/", "aggregated"),
        ("/metrics/per-object", "per-object"),
        ("/metrics/detailed", "detailed"),
        ("/metrics/memory-breakdown", "memory-breakdown"),
    ] {
        let found = families(&node.page(path));
        let (identity, _) = &found["rabbitmq_identity_info"].samples[0];
        assert!(identity.contains(",rabbitmq_cluster_permanent_id=\"rabbitmq-cluster-id-"), "{identity}");
        assert!(identity.ends_with(&format!(",rabbitmq_endpoint=\"{endpoint}\"}}")), "{identity}");
    }
    let memory = families(&node.page("/metrics/memory-breakdown"));
    assert!(number(&memory, "rabbitmq_memory_code_module_bytes") > 0.0);
}

#[test]
fn paths_and_methods_are_those_of_rabbitmq() {
    let node = Node::start("");
    for (method, path, status, kind) in [
        ("GET", "/metrics", 200, "text/plain; version=0.0.4"),
        ("HEAD", "/metrics", 200, "text/plain; version=0.0.4"),
        ("OPTIONS", "/metrics", 200, "text/plain"),
        ("POST", "/metrics", 405, "text/plain"),
        ("DELETE", "/metrics/per-object", 405, "text/plain"),
        ("GET", "/", 404, "application/json"),
        ("GET", "/metricsx", 404, "application/json"),
        ("GET", "/api/overview", 404, "application/json"),
        ("GET", "/metrics/nothing", 404, "text/plain"),
    ] {
        let answer = node.ask(method, path, &[]);
        assert_eq!((answer.status, answer.header("content-type")), (status, Some(kind)), "{method} {path}");
        if status == 405 {
            assert_eq!(answer.header("allow"), Some("HEAD, GET, OPTIONS"));
        }
        assert!(method != "HEAD" || answer.body.is_empty());
    }
}

#[test]
fn answers_are_compressed_for_those_who_like_it() {
    let node = Node::start("");
    let plain = node.ask("GET", "/metrics", &[]);
    let compressed = node.ask("GET", "/metrics", &["accept-encoding: gzip"]);
    assert_eq!((plain.header("content-encoding"), compressed.header("content-encoding")), (None, Some("gzip")));
    assert!(compressed.body.starts_with(&[0x1f, 0x8b]) && compressed.body.len() * 3 < plain.body.len());
}

#[test]
fn settings_are_followed() {
    let node = Node::start("prometheus.path = /hares\nprometheus.return_per_object_metrics = true");
    declare(&node.connect().channel(), "q", "classic");
    assert_eq!(node.ask("GET", "/metrics", &[]).status, 404);
    let found = families(&node.page("/hares"));
    expect(&found, &[("rabbitmq_queue_messages{vhost=\"/\",queue=\"q\"}", 0.0)]);
    assert!(found["rabbitmq_identity_info"].samples[0].0.contains("rabbitmq_endpoint=\"per-object\""));
    assert!(node.page("/hares/detailed?family=node_metrics").contains("rabbitmq_detailed_process_max_fds"));
}

#[test]
fn only_who_may_monitor_is_told_if_that_is_asked_for() {
    let definitions = tempfile::NamedTempFile::new().unwrap();
    let user =
        |name: &str, tags: &str| format!("{{\"name\":\"{name}\",\"password\":\"swordfish\",\"tags\":\"{tags}\"}}");
    let users =
        [user("admin", "administrator"), user("monitor", "monitoring"), user("manager", "management")].join(",");
    std::fs::write(definitions.path(), format!("{{\"vhosts\":[{{\"name\":\"/\"}}],\"users\":[{users}]}}")).unwrap();
    let path = definitions.path().display();
    let node = Node::start(&format!(
        "prometheus.authentication.enabled = true\ndefinitions.import_backend = local_filesystem\ndefinitions.local.path = {path}"
    ));
    for (credentials, status) in [
        (None, 401),
        // admin:swordfish, monitor:swordfish, manager:swordfish, admin:wrong
        (Some("YWRtaW46c3dvcmRmaXNo"), 200),
        (Some("bW9uaXRvcjpzd29yZGZpc2g="), 200),
        (Some("bWFuYWdlcjpzd29yZGZpc2g="), 401),
        (Some("YWRtaW46d3Jvbmc="), 401),
    ] {
        let header = credentials.map(|credentials| format!("authorization: Basic {credentials}"));
        let headers: Vec<&str> = header.iter().map(String::as_str).collect();
        let answer = node.ask("GET", "/metrics", &headers);
        assert_eq!(answer.status, status, "{credentials:?}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
}

#[test]
fn promtool_finds_nothing_wrong() {
    let is_there = Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if is_there.is_err() {
        eprintln!("NOT CHECKED: there is no promtool (Debian has it in the package prometheus)");
        return;
    }
    let node = Node::start("");
    declare(&node.connect().channel(), "q", "quorum");
    for path in [
        "/metrics",
        "/metrics/per-object",
        "/metrics/memory-breakdown",
        "/metrics/detailed?family=queue_metrics&family=exchange_names",
    ] {
        let mut process = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        process.stdin.take().unwrap().write_all(node.page(path).as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        // The name is RabbitMQ's.
        let wrong: Vec<&str> =
            said.lines().filter(|line| !line.starts_with("rabbitmq_unreachable_cluster_peers_count ")).collect();
        assert!(wrong.is_empty(), "{path}: {wrong:?}");
    }
}
