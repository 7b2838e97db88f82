//! `leveret perf` against the broker: what its options make of queues, exchanges and messages, and what it counts.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::LazyLock;

use leveret_server::{Config, Running};
use serde_json::Value;
use tempfile::TempDir;

/// The broker of all tests of this file: runs have queues of their own.
static BROKER: LazyLock<(Running, SocketAddr, TempDir)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let config = Config { listen, data_dir: folder.path().to_owned(), ..Config::default() };
    let running = leveret_server::start(&config).unwrap();
    let address = *running.addresses().first().unwrap();
    (running, address, folder)
});

/// A run with these options, and its report.
struct Run {
    line: String,
    report: Value,
}

impl Run {
    fn of(line: &str) -> Self {
        let url = format!("amqp://guest:guest@{}/", BROKER.1);
        let program = env!("CARGO_BIN_EXE_leveret");
        let mut command = Command::new(program);
        command.args(["perf", "--url", &url, "--json", "--quiet"]).args(line.split_whitespace());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        Self { line: line.to_owned(), report: serde_json::from_slice(&output.stdout).unwrap() }
    }

    fn number(&self, path: &str) -> u64 {
        let value = self.report.pointer(path).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("no {path} with {}: {}", self.line, self.report))
    }

    /// Messages published, confirmed, refused and consumed.
    fn flows(&self) -> [u64; 4] {
        ["published", "confirmed", "refused", "consumed"].map(|flow| self.number(&format!("/{flow}/messages")))
    }

    fn assert_flows(&self, flows: [u64; 4]) {
        assert_eq!(self.flows(), flows, "{}: {}", self.line, self.report);
    }

    fn assert_nothing_lost(&self) {
        let lost_and_duplicated = ["/check/lost", "/check/duplicated"].map(|path| self.number(path));
        assert_eq!(lost_and_duplicated, [0, 0], "{}: {}", self.line, self.report);
    }
}

#[test]
fn messages_with_properties_and_headers_arrive_whatever_the_arguments_of_the_queue() {
    for line in [
        "--queue-args x-max-priority=10 --random-priority 10",
        "--queue-args x-message-ttl=600000,x-max-length=100000 --size 1000 --random-priority 3",
        "--message-properties expiration=600000,type=order,messageId=7 --header kind=1..5 --header name=value",
        "--queue-args x-single-active-consumer=true -y 3",
        "--unique-header x-deduplication-header --queue-args x-message-deduplication=true",
        "--type headers --binding-args x-match=any,kind=1 --header kind=1",
    ] {
        let run = Run::of(&format!("--messages 3000 --confirm 100 --check {line}"));
        run.assert_flows([3000, 3000, 0, 3000]);
        // Nobody knows where messages of a headers exchange ought to go.
        if !line.contains("headers") {
            run.assert_nothing_lost();
        }
    }
}

#[test]
fn messages_that_are_told_apart_by_nothing_are_duplicates() {
    let run = Run::of(
        "--messages 500 --publisher-only --queue twins --confirm 10 --header id=1 \
                       --queue-args x-message-deduplication=true --header x-deduplication-header=same",
    );
    run.assert_flows([500, 500, 0, 0]);
    let rest = Run::of("--drain --queue twins -p --delete");
    rest.assert_flows([0, 0, 0, 1]);
}

#[test]
fn publishes_that_a_full_queue_refuses_are_counted_apart_and_are_not_lost() {
    let line = "--messages 1000 --confirm 50 --queue-args x-max-length=100,x-overflow=reject-publish";
    Run::of(&format!("{line} --publisher-only --queue full --delete")).assert_flows([1000, 100, 900, 0]);
    // The consumer may fall behind or not.
    let run = Run::of(&format!("{line} --check"));
    let [published, confirmed, refused, consumed] = run.flows();
    assert_eq!((published, confirmed, confirmed + refused), (1000, consumed, 1000), "{}", run.report);
    run.assert_nothing_lost();
}

#[test]
fn dead_letters_arrive_at_the_end_of_their_chain() {
    for line in ["", "--queue-args x-max-length=0", "-x 2 -y 2 --queues 2"] {
        let run = Run::of(&format!("--messages 2000 --check --dead-letter-chain 3 {line}"));
        run.assert_flows([2000, 0, 0, 2000]);
        run.assert_nothing_lost();
    }
}

#[test]
fn messages_of_an_exchange_that_hashes_arrive_in_one_queue_each() {
    let line = "--type x-consistent-hash --queues 4 -y 4 -x 2 --routing-keys 100";
    for line in [line, "--type x-consistent-hash --queues 4 -y 4 --header n=1..1000 --exchange-args hash-header=n"] {
        let run = Run::of(&format!("--messages 3000 --check {line}"));
        assert_eq!(run.number("/consumed/messages"), 3000, "{line}");
        run.assert_nothing_lost();
    }
}

#[test]
fn of_delayed_messages_the_report_says_how_late_they_are() {
    for line in ["--delay-ms 20..200", "--header x-delay=100", "--delay-ms 50 -x 2 --confirm 10 --persistent --durable"]
    {
        let run = Run::of(&format!(
            "--messages 1000 --check --type x-delayed-message --exchange-args x-delayed-type=direct {line}"
        ));
        assert_eq!(run.number("/consumed/messages"), 1000, "{line}");
        run.assert_nothing_lost();
        let (on_time, early) = (run.number("/lateness/samples"), run.number("/early"));
        assert_eq!((on_time + early, run.report.get("latency")), (1000, Some(&Value::Null)), "{line}");
    }
}
