//! Parts that are switched on and off while the node runs, as clients see it.

use std::fs;
use std::net::TcpStream;

use leveret_protocol::amqp091::method::ExchangeDeclare;
use leveret_protocol::amqp091::{Method, Table};
use serde_json::{Value, json};

use crate::client::Client;
use crate::process::{Process, folder};

/// The reply code that declaring an exchange is refused with; 0 if it is not.
fn declare(process: &Process, exchange: &str, kind: &str) -> u16 {
    let mut client = Client::open_channel(process.amqp());
    let (ticket, passive, auto_delete, internal, no_wait, arguments) =
        (0, false, false, false, false, Table::default());
    let durable = true;
    client.send(
        1,
        &ExchangeDeclare { ticket, exchange, kind, passive, durable, auto_delete, internal, no_wait, arguments },
    );
    match Method::decode(&client.payload()) {
        Ok(Method::ExchangeDeclareOk(_)) => 0,
        Ok(Method::ChannelClose(close)) => close.reply_code,
        Ok(Method::ConnectionClose(close)) => close.reply_code,
        other => panic!("{other:?}"),
    }
}

fn set(process: &Process, plugins: &[&str]) -> Value {
    process.ask("set_plugins", &json!({ "plugins": plugins })).result().clone()
}

#[test]
fn a_type_of_exchange_goes_and_comes_with_its_plugin() {
    let folder = folder();
    let process = Process::start(folder.path());
    assert_eq!(declare(&process, "hash", "x-consistent-hash"), 0, "without a file, everything is on");
    let change = set(&process, &["rabbitmq_random_exchange"]);
    assert_eq!(change["applied"], true);
    assert!(change["stopped"].as_array().unwrap().contains(&json!("rabbitmq_consistent_hash_exchange")), "{change}");
    assert_eq!(fs::read_to_string(process.folder.join("enabled_plugins")).unwrap(), "[rabbitmq_random_exchange].\n");
    let unknown = declare(&process, "x", "no-such-type");
    assert_ne!(unknown, 0);
    assert_eq!(declare(&process, "hash2", "x-consistent-hash"), unknown);
    assert_eq!(declare(&process, "random", "x-random"), 0);
    // The file holds at the next start, too, and what was declared before goes on.
    process.done("stop_app");
    let change = set(&process, &["rabbitmq_random_exchange", "rabbitmq_sharding"]);
    assert_eq!(change["applied"], false);
    process.done("start_app");
    assert_eq!(declare(&process, "hash2", "x-consistent-hash"), unknown);
    assert_eq!(declare(&process, "modulus", "x-modulus-hash"), 0);
    set(&process, &["rabbitmq_consistent_hash_exchange"]);
    assert_eq!(declare(&process, "hash", "x-consistent-hash"), 0);
}

#[test]
fn the_management_listener_is_a_plugin() {
    let folder = folder();
    fs::write(folder.path().join("data/enabled_plugins"), "[rabbitmq_shovel]. % not ours\n").unwrap();
    let variables = [("LEVERET_MANAGEMENT_LISTEN", "127.0.0.1:0")];
    let process = Process::start_with(folder.path(), &["--listen", "127.0.0.1:0"], &variables);
    assert_eq!(process.address("http"), None);
    set(&process, &["rabbitmq_management"]);
    let address = process.address("http").unwrap();
    TcpStream::connect(address).unwrap();
    let implicit: Vec<_> =
        process.done("list_plugins").rows.into_iter().filter(|row| row["implicit"] == true).collect();
    assert_eq!(implicit.len(), 2, "{implicit:?}");
    set(&process, &[]);
    assert_eq!(process.address("http"), None);
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(fs::read_to_string(process.folder.join("enabled_plugins")).unwrap(), "[rabbitmq_shovel].\n");
}

#[test]
fn the_metrics_are_a_plugin() {
    let folder = folder();
    let variables = [("LEVERET_PROMETHEUS_LISTEN", "127.0.0.1:0")];
    let process = Process::start_with(folder.path(), &["--listen", "127.0.0.1:0"], &variables);
    let address = process.address("http/prometheus").unwrap();
    TcpStream::connect(address).unwrap();
    set(&process, &["rabbitmq_sharding"]);
    assert_eq!(process.address("http/prometheus"), None);
    assert!(TcpStream::connect(address).is_err());
    set(&process, &["rabbitmq_prometheus"]);
    TcpStream::connect(process.address("http/prometheus").unwrap()).unwrap();
}

#[test]
fn what_is_unknown_is_refused_by_name() {
    let folder = folder();
    let process = Process::start(folder.path());
    let refused = process.ask("set_plugins", &json!({ "plugins": ["rabbitmq_mqtt", "rabbitmq_sharding"] }));
    assert_eq!(refused.error(), "no such plugins: rabbitmq_mqtt");
    assert!(!process.folder.join("enabled_plugins").exists(), "nothing was changed");
    let refused = process.ask("set_plugins", &json!({}));
    assert_eq!(refused.end["error"]["kind"], "usage");
}

#[test]
fn a_file_that_is_no_list_ends_the_start() {
    let folder = folder();
    fs::write(folder.path().join("data/enabled_plugins"), "rabbitmq_management").unwrap();
    let mut process = Process::spawn(folder.path(), &["--listen", "127.0.0.1:0"], &[]);
    assert_eq!(process.wait().code(), Some(1));
}
