//! Exchanges that hold messages back until they are due.

use std::sync::Arc;

use leveret_broker::clock::{ManualClock, Timestamp};
use leveret_broker::mailbox::Mailbox;
use leveret_broker::node::{Node, Surroundings};
use leveret_broker::queue::Taken;
use leveret_broker::topology::{ApplyTo, Change, ConnectionId, Policy, PolicyKind};
use leveret_broker::value;
use leveret_protocol::amqp091::frame::write_content;
use leveret_protocol::amqp091::method::{
    BasicPublish, ExchangeBind, ExchangeDeclare, ExchangeDelete, QueueBind, QueueUnbind, TxCommit, TxRollback, TxSelect,
};
use leveret_protocol::amqp091::{Properties, Table, TableWriter, Value};
use leveret_session::amqp091::BasicProperties;

use super::client::{Client, FRAME_MAX, counts, drain, queue_counts};
use super::fake_store::FakeStore;

const NOW: u64 = 1_800_000_000_000;

struct World {
    clock: Arc<ManualClock>,
    node: Arc<Node>,
    client: Client,
}

/// A client, a delaying exchange `x` that routes like a direct one, and a queue `q` bound to it with `k`.
fn start() -> World {
    start_with(None)
}

fn start_with(store: Option<&Arc<FakeStore>>) -> World {
    let clock = Arc::new(ManualClock::at(Timestamp(NOW)));
    let node = Arc::new(Node::within(Surroundings {
        clock: clock.clone(),
        properties: Arc::new(BasicProperties),
        store: store.map(|store| store.clone() as _),
        ..Surroundings::default()
    }));
    let mut world = World { clock, client: Client::open(&node), node };
    world.declare("x", "direct");
    world.client.declare(1, "q");
    world.bind("q", "x", "k");
    world
}

impl World {
    fn declare(&mut self, exchange: &str, delayed_type: &str) {
        self.declare_as(exchange, "x-delayed-message", &[("x-delayed-type", Value::LongStr(delayed_type.as_bytes()))]);
        self.client.quiet_turn();
    }

    fn declare_as(&mut self, exchange: &str, kind: &str, arguments: &[(&str, Value<'_>)]) {
        let octets = fields(arguments);
        let arguments = Table::parse(&octets).unwrap();
        let (passive, durable, auto_delete, internal, no_wait) = (false, true, false, false, true);
        let ticket = 0;
        self.client.send(
            1,
            &ExchangeDeclare { ticket, exchange, kind, passive, durable, auto_delete, internal, no_wait, arguments },
        );
    }

    fn bind(&mut self, queue: &str, exchange: &str, routing_key: &str) {
        let (ticket, no_wait, arguments) = (0, true, Table::default());
        self.client.send(1, &QueueBind { ticket, queue, exchange, routing_key, no_wait, arguments });
    }

    fn publish(&mut self, exchange: &str, routing_key: &str, headers: &[(&str, Value<'_>)], body: &str) {
        self.publish_as(exchange, routing_key, headers, body, false);
    }

    fn publish_as(
        &mut self,
        exchange: &str,
        routing_key: &str,
        headers: &[(&str, Value<'_>)],
        body: &str,
        mandatory: bool,
    ) {
        let octets = fields(headers);
        let headers = Table::parse(&octets).ok();
        let mut raw = Vec::new();
        Properties { headers, delivery_mode: Some(2), ..Properties::default() }.encode(&mut raw);
        let publish = BasicPublish { ticket: 0, exchange, routing_key, mandatory, immediate: false };
        write_content(&mut self.client.to_server, 1, &publish, &raw, body.as_bytes(), FRAME_MAX as usize);
    }

    fn delay(&mut self, ms: i32, body: &str) {
        self.publish("x", "k", &[("x-delay", Value::I32(ms))], body);
    }

    fn pass(&mut self, ms: u64) {
        for id in self.clock.advance(ms) {
            self.node.wake(id);
        }
    }

    fn held(&self, exchange: &str) -> usize {
        self.node.delay("/", exchange).unwrap().count()
    }
}

fn fields(fields: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut writer = TableWriter::new(&mut octets);
    for (name, value) in fields {
        writer.field(name, *value);
    }
    octets
}

/// The headers of the first message of a queue.
fn headers(node: &Node, queue: &str) -> Vec<(String, value::Value)> {
    let cell = node.queue("/", queue, ConnectionId(0)).unwrap();
    let taken = cell.take(true, &Arc::<Mailbox>::default()).unwrap().0;
    let message = if let Taken::Message(_, message, _) = taken { Some(message) } else { None }.unwrap();
    assert_eq!(message.due_at(), None);
    let headers = node.properties().headers(&message);
    headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

#[test]
fn a_message_is_routed_when_it_is_due() {
    let mut world = start();
    world.delay(300, "c");
    world.delay(100, "a");
    world.delay(0, "at once");
    world.delay(-200, "held back before");
    world.delay(200, "b");
    world.client.publish_to(1, "x", "k", b"without headers", false);
    world.client.quiet_turn();
    assert_eq!(drain(&world.node, "q"), ["at once", "held back before", "without headers"]);
    assert_eq!(world.held("x"), 3);
    world.pass(99);
    assert_eq!(drain(&world.node, "q"), [""; 0]);
    for expected in ["a", "b", "c"] {
        world.pass(1);
        assert_eq!(drain(&world.node, "q"), [expected]);
        world.pass(99);
    }
    assert_eq!((drain(&world.node, "q"), world.held("x")), (vec![], 0));
}

#[test]
fn messages_of_a_turn_keep_their_order() {
    let mut world = start();
    let bodies: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
    for body in &bodies {
        world.delay(50, body);
    }
    world.client.quiet_turn();
    world.pass(50);
    assert_eq!(drain(&world.node, "q"), bodies);
}

#[test]
fn the_header_says_that_a_message_was_held_back() {
    use value::Value as Header;
    let mut world = start();
    for (headers_before, expected) in [
        (vec![("x-delay", Value::I32(50))], vec![("x-delay", Header::I32(-50))]),
        (
            vec![("x-delay", Value::U8(50)), ("a", Value::I32(1))],
            vec![("x-delay", Header::I32(-50)), ("a", Header::I32(1))],
        ),
        (vec![("x-delay", Value::LongStr(b"50"))], vec![("x-delay", Header::I32(-50))]),
        (vec![("x-delay", Value::F64(50.5))], vec![("x-delay", Header::I32(-50))]),
    ] {
        world.publish("x", "k", &headers_before, "body");
        world.client.quiet_turn();
        world.pass(100);
        let mut found = headers(&world.node, "q");
        found.sort_by(|one, two| two.0.cmp(&one.0));
        let expected: Vec<_> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(found, expected);
    }
    let year = 365 * 24 * 60 * 60 * 1000;
    world.publish("x", "k", &[("x-delay", Value::I64(year))], "body");
    world.client.quiet_turn();
    world.pass(year.unsigned_abs());
    assert_eq!(headers(&world.node, "q"), [("x-delay".to_owned(), Header::I64(-year))]);
    // Nobody takes 0 for a delay, so it stays.
    world.delay(0, "body");
    world.client.quiet_turn();
    assert_eq!(headers(&world.node, "q"), [("x-delay".to_owned(), Header::I32(0))]);
}

#[test]
fn a_message_can_say_when_it_is_due() {
    let mut world = start();
    let at = |ms: u64| Value::I64((NOW + ms).cast_signed());
    world.publish("x", "k", &[("x-deliver-at", at(700))], "b");
    world.publish("x", "k", &[("x-deliver-at", Value::I64(5))], "past");
    world.publish("x", "k", &[("x-deliver-at", Value::Timestamp(NOW / 1000 + 1))], "c");
    world.publish("x", "k", &[("x-deliver-at", at(700)), ("x-delay", Value::I32(500))], "a");
    world.client.quiet_turn();
    assert_eq!(drain(&world.node, "q"), ["past"]);
    for (ms, expected) in [(500, "a"), (200, "b"), (300, "c")] {
        world.pass(ms);
        assert_eq!(drain(&world.node, "q"), [expected]);
    }
}

#[test]
fn bindings_count_as_they_are_when_a_message_is_due() {
    let mut world = start();
    world.delay(100, "1");
    let (ticket, no_wait, arguments) = (0, true, Table::default());
    world.client.declare(1, "late");
    world
        .client
        .send(1, &QueueUnbind { ticket, queue: "q", exchange: "x", routing_key: "k", arguments: Table::default() });
    world.client.send(1, &QueueBind { ticket, queue: "late", exchange: "x", routing_key: "k", no_wait, arguments });
    world.client.exchange();
    world.pass(100);
    assert_eq!((drain(&world.node, "q"), drain(&world.node, "late")), (vec![], vec!["1".to_owned()]));
}

#[test]
fn a_delaying_exchange_routes_like_the_type_it_is_made_with() {
    let mut world = start();
    world.client.declare(1, "t");
    world.client.declare(1, "f");
    world.declare("topic", "topic");
    world.declare("fanout", "fanout");
    world.bind("t", "topic", "a.#");
    world.bind("f", "fanout", "any");
    for (exchange, key, queue, is_routed) in [
        ("topic", "a.b.c", "t", true),
        ("topic", "b.a", "t", false),
        ("fanout", "whatever", "f", true),
        ("x", "k", "q", true),
        ("x", "other", "q", false),
    ] {
        for delay in [0, 10] {
            world.publish(exchange, key, &[("x-delay", Value::I32(delay))], key);
            world.client.quiet_turn();
            world.pass(delay.unsigned_abs().into());
            assert_eq!(drain(&world.node, queue).len(), usize::from(is_routed), "{exchange} {key} {delay}");
        }
    }
}

#[test]
fn a_delaying_exchange_has_to_say_of_what_type_it_is() {
    let missing = "1: close PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type";
    let itself =
        "1: close PRECONDITION_FAILED - Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'";
    let unknown = "1: close PRECONDITION_FAILED - unknown exchange type 'x-foo'";
    for (arguments, refusal) in [
        (vec![], missing),
        (vec![("x-delayed-type", Value::I32(1))], missing),
        (vec![("x-delayed-type", Value::Void)], missing),
        (vec![("x-delayed-type", Value::LongStr(b"x-delayed-message"))], itself),
        (vec![("x-delayed-type", Value::LongStr(b"x-foo"))], unknown),
    ] {
        let mut world = start();
        world.declare_as("y", "x-delayed-message", &arguments);
        assert_eq!(world.client.turn(), [refusal]);
    }
    // As in RabbitMQ's plugin the argument is not compared.
    let mut world = start();
    world.declare("x", "topic");
}

#[test]
fn messages_come_to_a_delaying_exchange_from_other_exchanges() {
    let mut world = start();
    world.declare("y", "fanout");
    world.client.declare(1, "direct");
    world.client.declare(1, "behind");
    world.bind("direct", "amq.fanout", "");
    world.bind("behind", "y", "");
    for (source, destination) in [("amq.fanout", "x"), ("x", "y")] {
        let (ticket, no_wait, arguments) = (0, true, Table::default());
        world.client.send(1, &ExchangeBind { ticket, source, destination, routing_key: "k", no_wait, arguments });
    }
    world.publish("amq.fanout", "k", &[("x-delay", Value::I32(100))], "m");
    world.client.quiet_turn();
    assert_eq!((drain(&world.node, "direct"), world.held("x"), world.held("y")), (vec!["m".to_owned()], 1, 0));
    world.pass(100);
    assert_eq!(world.held("y"), 0, "what was held back once is not held back again");
    assert_eq!((drain(&world.node, "q"), drain(&world.node, "behind")), (vec!["m".to_owned()], vec!["m".to_owned()]));
}

#[test]
fn what_no_binding_takes_goes_to_the_alternate_exchange_when_it_is_due() {
    let mut world = start();
    let arguments =
        [("x-delayed-type", Value::LongStr(b"direct")), ("alternate-exchange", Value::LongStr(b"amq.fanout"))];
    world.declare_as("alternate", "x-delayed-message", &arguments);
    world.client.declare(1, "rest");
    world.bind("rest", "amq.fanout", "");
    world.publish("alternate", "nowhere", &[("x-delay", Value::I32(10))], "m");
    world.client.quiet_turn();
    assert_eq!(drain(&world.node, "rest"), [""; 0]);
    world.pass(10);
    assert_eq!(drain(&world.node, "rest"), ["m"]);
}

#[test]
fn copies_go_their_way_when_the_message_is_due() {
    let mut world = start();
    for (queue, key) in [("c", "copy"), ("b", "hidden")] {
        world.client.declare(1, queue);
        world.bind(queue, "x", key);
    }
    let mut octets = fields(&[("x-delay", Value::I32(10))]);
    TableWriter::new(&mut octets)
        .array("CC", |keys| {
            keys.value(Value::LongStr(b"copy"));
        })
        .array("BCC", |keys| {
            keys.value(Value::LongStr(b"hidden"));
        });
    let mut raw = Vec::new();
    Properties { headers: Table::parse(&octets).ok(), ..Properties::default() }.encode(&mut raw);
    let publish = BasicPublish { ticket: 0, exchange: "x", routing_key: "k", mandatory: false, immediate: false };
    write_content(&mut world.client.to_server, 1, &publish, &raw, b"m", FRAME_MAX as usize);
    world.client.quiet_turn();
    world.pass(10);
    for queue in ["q", "c", "b"] {
        let names: Vec<String> = headers(&world.node, queue).into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"CC".to_owned()) && !names.contains(&"BCC".to_owned()), "{queue}: {names:?}");
    }
}

#[test]
fn what_is_held_back_is_routed_and_confirmed() {
    let mut world = start();
    world.client.confirm_select(1);
    world.publish_as("x", "nowhere", &[("x-delay", Value::I32(100))], "m", true);
    assert_eq!(world.client.turn(), ["1: ack 1"]);
    world.publish_as("x", "nowhere", &[("x-delay", Value::I32(0))], "m", true);
    assert_eq!(world.client.turn(), ["1: return NO_ROUTE 'm'", "1: ack 2"]);
    world.pass(100);
    world.client.quiet_turn();
    assert_eq!(world.held("x"), 0);
}

#[test]
fn what_has_to_survive_is_confirmed_once_it_is_on_disk() {
    let store = FakeStore::new();
    let mut world = start_with(Some(&store));
    world.client.confirm_select(1);
    world.delay(100, "persistent");
    world.client.quiet_turn();
    world.publish("x", "k", &[("x-delay", Value::I32(0))], "not held back, and its queue is transient");
    assert_eq!(world.client.turn(), ["1: ack 2"]);
    store.sync();
    assert_eq!(world.client.turn(), ["1: ack 1"]);
    assert_eq!(store.kept(), ["persistent"]);
    world.pass(100);
    assert_eq!(store.kept(), [""; 0], "its queue is transient, so nothing waits for a copy");
    assert_eq!(counts(&world.node, "q"), queue_counts(2, 0, 0));
}

#[test]
fn a_transaction_holds_messages_back_once_it_is_committed() {
    let mut world = start();
    world.client.send(1, &TxSelect {});
    world.client.turn();
    world.delay(100, "dropped");
    world.client.send(1, &TxRollback {});
    world.delay(100, "kept");
    world.client.turn();
    assert_eq!(world.held("x"), 0);
    world.client.send(1, &TxCommit {});
    world.client.turn();
    assert_eq!(world.held("x"), 1);
    world.pass(100);
    assert_eq!(drain(&world.node, "q"), ["kept"]);
}

#[test]
fn what_an_exchange_holds_back_goes_with_it() {
    let mut world = start();
    world.delay(100, "m");
    world.client.quiet_turn();
    let cell = world.node.delay("/", "x").unwrap();
    world.client.send(1, &ExchangeDelete { ticket: 0, exchange: "x", if_unused: false, no_wait: true });
    world.declare("x", "direct");
    world.bind("q", "x", "k");
    world.client.quiet_turn();
    assert_eq!((cell.count(), world.held("x")), (0, 0));
    world.pass(1000);
    assert_eq!(drain(&world.node, "q"), [""; 0]);
}

#[test]
fn a_policy_makes_any_exchange_hold_messages_back() {
    let mut world = start();
    world.bind("q", "amq.direct", "k");
    let policy = |delays: bool| Change::SetPolicy {
        vhost: "/".into(),
        kind: PolicyKind::User,
        policy: Policy {
            name: "p".into(),
            pattern: "^amq.direct$".into(),
            apply_to: ApplyTo::Exchanges,
            priority: 0,
            definition: [("delayed-message".into(), value::Value::Bool(delays))].into_iter().collect(),
        },
    };
    let publish = |world: &mut World, body: &str| {
        world.publish("amq.direct", "k", &[("x-delay", Value::I32(100))], body);
        world.client.quiet_turn();
    };
    publish(&mut world, "before");
    world.node.apply(policy(true)).unwrap();
    publish(&mut world, "held back");
    assert_eq!((drain(&world.node, "q"), world.held("amq.direct")), (vec!["before".to_owned()], 1));
    world.node.apply(policy(false)).unwrap();
    publish(&mut world, "after");
    assert_eq!(drain(&world.node, "q"), ["after"]);
    world.pass(100);
    assert_eq!(drain(&world.node, "q"), ["held back"], "what is held back still comes when it is due");
}
