//! Stopping and starting the broker within its process, and emptying it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::thread;

use leveret_protocol::amqp091::Method;
use leveret_protocol::amqp091::method::ConnectionCloseOk;
use serde_json::json;

use crate::client::Client;
use crate::process::{Process, count, eventually, fill, folder};

#[test]
fn what_is_durable_survives_stop_app_and_clients_are_told() {
    let folder = folder();
    let mut process = Process::start(folder.path());
    fill(process.amqp(), "kept", 3);
    let address = process.amqp();
    let mut client = Client::open(address);
    thread::scope(|scope| {
        let stopping = scope.spawn(|| process.done("stop_app"));
        let payload = client.payload();
        let Ok(Method::ConnectionClose(close)) = Method::decode(&payload) else { panic!("{payload:?}") };
        assert_eq!(close.reply_code, 320);
        client.send(0, &ConnectionCloseOk {});
        stopping.join().unwrap();
    });
    assert_eq!(process.phase(), "stopped");
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    assert!(process.done("listeners").rows.is_empty());
    let refused = process.ask("list_users", &json!({}));
    assert!(refused.error().contains("requires the 'rabbit' app to be running"), "{refused:?}");
    process.done("stop_app");
    for _ in 0..2 {
        process.done("start_app");
        assert_eq!(process.phase(), "running");
    }
    assert_eq!(count(process.amqp(), "kept"), Some(3));
    let pid = process.done("stop").result()["pid"].as_u64();
    assert_eq!(pid, Some(process.pid().into()));
    assert!(process.wait().success());
    let process = Process::start(folder.path());
    assert_eq!(count(process.amqp(), "kept"), Some(3));
}

#[test]
fn a_reset_needs_a_stopped_broker_and_makes_it_like_new() {
    let folder = folder();
    let process = Process::start(folder.path());
    fill(process.amqp(), "lost", 3);
    process.ask("add_user", &json!({ "user": "hare", "password": "field" })).result();
    let refused = process.ask("reset", &json!({}));
    assert!(refused.error().contains("stop_app"), "{refused:?}");
    assert_eq!(count(process.amqp(), "lost"), Some(3), "nothing was done");
    process.done("stop_app");
    process.done("reset");
    process.done("reset");
    process.done("start_app");
    assert_eq!(count(process.amqp(), "lost"), None);
    let users = process.done("list_users").rows;
    assert_eq!(users, [json!({ "user": "guest", "tags": ["administrator"] })]);
    fill(process.amqp(), "new", 1);
}

#[test]
fn a_start_that_fails_leaves_the_process_alive() {
    let folder = folder();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let listen = address.to_string();
    let process = Process::start_with(folder.path(), &["--listen", &listen], &[]);
    process.done("stop_app");
    let taken = TcpListener::bind(address).unwrap();
    let refused = process.ask("start_app", &json!({}));
    assert!(refused.error().contains("the port is taken by another program"), "{refused:?}");
    assert_eq!(process.phase(), "stopped");
    drop(taken);
    process.done("start_app");
    assert_eq!(process.amqp(), address);
}

#[test]
fn those_who_come_at_the_same_time_get_a_clear_answer() {
    let folder = folder();
    let process = Process::start(folder.path());
    thread::scope(|scope| {
        let asked: Vec<_> = (0..8)
            .map(|number| {
                let process = &process;
                let operation = ["stop_app", "start_app", "reset"][number % 3];
                scope.spawn(move || (operation, process.ask(operation, &json!({}))))
            })
            .collect();
        for asked in asked {
            let (operation, answer) = asked.join().unwrap();
            if answer.end.get("result").is_none() {
                let text = answer.error();
                let is_clear = text.contains("by somebody else") || (operation == "reset" && text.contains("stop_app"));
                assert!(is_clear, "{operation}: {text}");
            }
        }
    });
    process.done("start_app");
    assert_eq!(process.phase(), "running");
    Client::open(process.amqp());
}

#[test]
fn a_suspended_node_takes_no_connections_and_keeps_those_it_has() {
    let folder = folder();
    let process = Process::start(folder.path());
    let address = process.amqp();
    let mut client = Client::open_channel(address);
    process.done("suspend_listeners");
    assert!(process.done("listeners").rows.is_empty());
    assert!(TcpStream::connect(address).is_err());
    client.send(1, &leveret_protocol::amqp091::method::TxSelect {});
    assert!(matches!(Method::decode(&client.payload()), Ok(Method::TxSelectOk(_))));
    process.done("suspend_listeners");
    process.done("resume_listeners");
    assert_eq!(process.amqp(), address);
    Client::open(address);
    process.done("resume_listeners");
}

#[test]
fn starting_and_stopping_often_leaves_nothing_behind() {
    const ROUNDS: usize = 20;
    /// A thread that waits for the next operation comes and goes.
    const THREADS_SLACK: usize = 4;
    const MEMORY_SLACK: u64 = 32 * 1024 * 1024;
    let folder = folder();
    let process = Process::start_with(
        folder.path(),
        &["--listen", "127.0.0.1:0"],
        &[("LEVERET_MANAGEMENT_LISTEN", "127.0.0.1:0")],
    );
    let used = || {
        let pid = process.pid();
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let memory = process.done("facts").result()["memory"].as_u64().unwrap();
        (threads, files, memory)
    };
    let round = || {
        fill(process.amqp(), "q", 10);
        process.done("stop_app");
        process.done("start_app");
    };
    // What is made once is there after the first.
    (0..2).for_each(|_| round());
    let before = used();
    (0..ROUNDS).for_each(|_| round());
    eventually("as many threads and files as before", || {
        let (threads, files, _) = used();
        (threads <= before.0 + THREADS_SLACK && files <= before.1 + 1).then_some(())
    });
    let after = used();
    println!("threads, files, memory: {before:?} before, {after:?} after {ROUNDS} rounds");
    assert!(after.2 <= before.2 + MEMORY_SLACK, "{before:?} {after:?}");
    assert_eq!(count(process.amqp(), "q"), Some(220));
}

#[test]
fn those_who_stop_and_start_the_broker_at_once_take_turns() {
    let folder = folder();
    let process = Process::start(folder.path());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for operation in ["stop_app", "start_app", "start_app"] {
                    process.done(operation);
                }
            });
        }
    });
    process.done("start_app");
    assert_eq!(process.phase(), "running");
}
