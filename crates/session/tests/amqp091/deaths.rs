//! Messages that clients reject or let grow too old, and where they go.

use std::sync::Arc;

use leveret_broker::clock::{ManualClock, Timestamp};
use leveret_broker::node::{MoveTo, Moved, Node, Surroundings};
use leveret_broker::topology::{ApplyTo, Change, Policy, PolicyKind};
use leveret_broker::value;
use leveret_protocol::amqp091::frame::write_content;
use leveret_protocol::amqp091::method::{
    BasicNack, BasicPublish, BasicReject, ChannelClose, TxCommit, TxRollback, TxSelect,
};
use leveret_protocol::amqp091::{Properties, Table, TableWriter, Value};
use leveret_session::amqp091::BasicProperties;

use super::client::{Client, FRAME_MAX, counts, drain, queue_counts};

struct World {
    clock: Arc<ManualClock>,
    node: Arc<Node>,
    client: Client,
}

/// A client; `work` dead-letters to `dead`, `plain` to nowhere.
fn start() -> World {
    let clock = Arc::new(ManualClock::at(Timestamp(1_800_000_000_000)));
    let node = Arc::new(Node::within(Surroundings {
        clock: clock.clone(),
        properties: Arc::new(BasicProperties),
        ..Surroundings::default()
    }));
    let mut client = Client::open(&node);
    let arguments =
        [("x-dead-letter-exchange", Value::LongStr(b"")), ("x-dead-letter-routing-key", Value::LongStr(b"dead"))];
    client.declare_with(1, "work", &arguments);
    client.declare(1, "plain");
    client.declare(1, "dead");
    client.quiet_turn();
    World { clock, node, client }
}

impl World {
    /// Hands letters of a queue to a consumer on channel 1.
    fn deliver(&mut self, queue: &str, letters: &[&str]) {
        self.client.consume(1, queue, false);
        for letter in letters {
            self.client.publish(1, queue, letter);
        }
        assert_eq!(self.client.turn().len(), letters.len());
    }

    fn publish_with(&mut self, queue: &str, properties: Properties<'_>) {
        let mut raw = Vec::new();
        properties.encode(&mut raw);
        let publish = BasicPublish { ticket: 0, exchange: "", routing_key: queue, mandatory: false, immediate: false };
        write_content(&mut self.client.to_server, 1, &publish, &raw, b"m", FRAME_MAX as usize);
    }

    fn publish_for(&mut self, queue: &str, expiration: &str) {
        self.publish_with(queue, Properties { expiration: Some(expiration), ..Properties::default() });
    }

    fn pass(&self, ms: u64) {
        self.clock.advance(ms).into_iter().for_each(|id| self.node.wake(id));
    }

    fn ready(&self, queue: &str) -> usize {
        counts(&self.node, queue).ready
    }

    /// Gives a time to live to the queues whose names begin with `p`.
    fn limit_lives(&self, ms: i64) {
        let definition = [("message-ttl".into(), value::Value::I64(ms))].into_iter().collect();
        let (name, pattern, apply_to, priority) = ("p".into(), "^p".into(), ApplyTo::All, 0);
        let policy = Policy { name, pattern, apply_to, priority, definition };
        self.node.apply(Change::SetPolicy { vhost: "/".into(), kind: PolicyKind::User, policy }).unwrap();
    }
}

fn reject(delivery_tag: u64) -> BasicReject {
    BasicReject { delivery_tag, requeue: false }
}

fn nack_to(delivery_tag: u64) -> BasicNack {
    BasicNack { delivery_tag, multiple: true, requeue: false }
}

#[test]
fn the_dead_can_be_moved_back_to_where_they_died() {
    let mut world = start();
    world.deliver("work", &["a"]);
    world.client.send(1, &reject(1));
    world.client.quiet_turn();
    // This one died nowhere.
    world.client.publish(1, "dead", "b");
    world.client.quiet_turn();
    let positions: Vec<_> =
        world.node.browse("/", "dead", None, 10).unwrap().iter().map(|browsed| browsed.position).collect();
    let moved = world.node.move_messages("/", "dead", &positions, &MoveTo::WhereTheyDied);
    assert_eq!(moved, Ok(Moved { moved: 1, stayed: 1 }));
    assert_eq!(world.client.turn().len(), 1, "its consumer gets it again");
    assert_eq!(counts(&world.node, "work"), queue_counts(0, 1, 1));
    assert_eq!(drain(&world.node, "dead"), ["b"]);
}

#[test]
fn what_is_rejected_goes_where_its_queue_says() {
    type Act = fn(&mut Client);
    let acts: [(&str, Act, &[&str]); 5] = [
        ("reject", |client| client.send(1, &reject(2)), &["b"]),
        ("nack of several", |client| client.send(1, &nack_to(2)), &["a", "b"]),
        ("nack of all", |client| client.send(1, &nack_to(0)), &["a", "b", "c"]),
        (
            "one by one",
            |client| {
                client.send(1, &reject(3));
                client.send(1, &reject(1));
            },
            &["c", "a"],
        ),
        (
            "ack and reject",
            |client| {
                client.ack(1, 1, false);
                client.send(1, &reject(2));
                client.ack(1, 3, false);
            },
            &["b"],
        ),
    ];
    for (what, act, dead) in acts {
        for (queue, expected) in [("work", dead), ("plain", &[])] {
            let mut world = start();
            world.deliver(queue, &["a", "b", "c"]);
            act(&mut world.client);
            world.client.quiet_turn();
            assert_eq!(drain(&world.node, "dead"), expected, "{what} {queue}");
            let settled = if what == "ack and reject" { 3 } else { dead.len() };
            assert_eq!(counts(&world.node, queue), queue_counts(0, 3 - settled, 1), "{what} {queue}");
        }
    }
}

#[test]
fn a_rejection_in_a_transaction_counts_with_the_commit() {
    let mut world = start();
    world.client.send(1, &TxSelect {});
    assert_eq!(world.client.turn(), ["1: TxSelectOk"]);
    world.client.consume(1, "work", false);
    world.client.publish(1, "work", "a");
    world.client.send(1, &TxCommit {});
    assert_eq!(world.client.turn().last().unwrap(), "1: deliver work 1 'a'");
    world.client.send(1, &reject(1));
    world.client.quiet_turn();
    assert_eq!(world.ready("dead"), 0);
    world.client.send(1, &TxRollback {});
    assert_eq!(world.client.turn(), ["1: TxRollbackOk"]);
    world.client.send(1, &reject(1));
    world.client.send(1, &TxCommit {});
    assert_eq!(world.client.turn(), ["1: TxCommitOk"]);
    assert_eq!(drain(&world.node, "dead"), ["a"]);
    assert_eq!(counts(&world.node, "work"), queue_counts(0, 0, 1));
}

#[test]
fn rejections_before_the_channel_closes_count_and_those_of_a_transaction_do_not() {
    for (in_transaction, dead, back) in [(false, 1, 1), (true, 0, 2)] {
        let mut world = start();
        world.deliver("work", &["a", "b"]);
        if in_transaction {
            world.client.send(1, &TxSelect {});
            world.client.exchange();
            world.client.read();
        }
        world.client.send(1, &reject(1));
        let (reply_code, reply_text, class_id, method_id) = (200, "", 0, 0);
        world.client.send(1, &ChannelClose { reply_code, reply_text, class_id, method_id });
        assert_eq!(world.client.turn(), ["1: close-ok"]);
        assert_eq!((world.ready("dead"), world.ready("work")), (dead, back), "{in_transaction}");
    }
}

#[test]
fn rejections_of_a_connection_that_is_gone_count() {
    let mut world = start();
    world.deliver("work", &["a", "b"]);
    world.client.send(1, &reject(1));
    let mut out = Vec::new();
    let octets = std::mem::take(&mut world.client.to_server);
    world.client.session.receive(&octets, &mut out);
    world.client.session.terminate();
    assert_eq!((drain(&world.node, "dead"), drain(&world.node, "work")), (vec!["a".into()], vec!["b*".into()]));
}

#[test]
fn an_expiration_counts_from_when_the_message_comes() {
    for expiration in ["0", "-0", "10", "+10", "0010"] {
        let mut world = start();
        world.publish_for("work", expiration);
        world.client.quiet_turn();
        let ms: i64 = expiration.parse().unwrap();
        if ms > 0 {
            world.pass(9);
            assert_eq!((world.ready("work"), world.ready("dead")), (1, 0), "{expiration}");
            world.pass(1);
        }
        assert_eq!((world.ready("work"), world.ready("dead")), (0, 1), "{expiration}");
    }
}

#[test]
fn a_message_in_a_transaction_lives_from_the_commit() {
    let mut world = start();
    world.client.send(1, &TxSelect {});
    world.publish_for("work", "10");
    world.client.exchange();
    world.pass(100);
    world.client.send(1, &TxCommit {});
    assert_eq!(world.client.turn(), ["1: TxSelectOk", "1: TxCommitOk"]);
    world.pass(9);
    assert_eq!(world.ready("work"), 1);
    world.pass(1);
    assert_eq!((world.ready("work"), world.ready("dead")), (0, 1));
}

#[test]
fn a_time_to_live_that_comes_later_holds_for_what_is_published_then() {
    let mut world = start();
    world.client.publish(1, "plain", "before");
    world.client.quiet_turn();
    world.limit_lives(10);
    world.pass(10);
    assert_eq!(drain(&world.node, "plain"), ["before"], "it did not say when it came");
    // The route is new once more, then it is cached.
    for _ in 0..3 {
        world.client.publish(1, "plain", "m");
        world.client.quiet_turn();
        world.pass(9);
        assert_eq!(world.ready("plain"), 1);
        world.pass(1);
        assert_eq!(world.ready("plain"), 0);
    }
}

#[test]
fn what_a_transaction_holds_when_a_time_to_live_comes_has_one_as_well() {
    let mut world = start();
    world.client.send(1, &TxSelect {});
    world.client.publish(1, "plain", "m");
    world.client.exchange();
    world.limit_lives(10);
    world.client.send(1, &TxCommit {});
    world.client.exchange();
    assert_eq!(world.ready("plain"), 1);
    world.pass(10);
    assert_eq!(world.ready("plain"), 0);
}

#[test]
fn hidden_copies_expire_as_well_and_are_dead_lettered_by_their_keys() {
    let mut world = start();
    let arguments = [("x-dead-letter-exchange", Value::LongStr(b"")), ("x-message-ttl", Value::I32(10))];
    world.client.declare_with(1, "source", &arguments);
    world.client.declare(1, "hidden");
    let mut headers = Vec::new();
    TableWriter::new(&mut headers).array("BCC", |keys| {
        keys.value(Value::LongStr(b"hidden"));
    });
    let headers = Table::parse(&headers).ok();
    world.publish_with("source", Properties { headers, expiration: Some("5"), ..Properties::default() });
    world.client.quiet_turn();
    assert_eq!((world.ready("source"), world.ready("hidden")), (1, 1));
    world.pass(5);
    // The copy is too old; the other one went to where it is hidden, without an expiration.
    assert_eq!((world.ready("source"), world.ready("hidden")), (0, 1));
    world.pass(1000);
    assert_eq!(world.ready("hidden"), 1);
}
