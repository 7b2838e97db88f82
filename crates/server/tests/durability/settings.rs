//! What queues do beyond keeping messages in order goes on after a restart, the clean one and the other.

use std::time::{Duration, Instant};

use leveret_protocol::amqp091::frame::write_content;
use leveret_protocol::amqp091::method::{BasicGet, BasicPublish, QueueDeclare};
use leveret_protocol::amqp091::{Properties, Table, TableWriter, Value};

use crate::process::Process;
use crate::wire::{DEADLINE, Event, FRAME_MAX, Wire, durable_queue, question};

/// How a broker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    Killed,
}

const ENDS: [End; 2] = [End::Clean, End::Killed];

impl End {
    fn of(self, broker: Process) {
        match self {
            Self::Clean => broker.terminate(),
            Self::Killed => broker.kill(),
        }
    }
}

/// A durable queue with arguments to declare.
pub(crate) fn queue_with<'a>(queue: &'a str, arguments: &[(&str, Value<'_>)]) -> QueueDeclare<'a> {
    let mut octets = Vec::new();
    let mut writer = TableWriter::new(&mut octets);
    for (name, value) in arguments {
        writer.field(name, *value);
    }
    QueueDeclare { arguments: Table::parse(octets.leak()).unwrap(), ..durable_queue(queue) }
}

/// Publishes persistent messages, with their ids as bodies, and awaits that they are confirmed or refused; which were.
fn publish(wire: &mut Wire, queue: &str, messages: &[(&str, Properties<'_>)]) -> Vec<bool> {
    wire.confirm_select().unwrap();
    let mut taken = Vec::new();
    for (id, properties) in messages {
        let properties = Properties { delivery_mode: Some(2), message_id: Some(id), ..*properties };
        let (mut list, mut frames) = (Vec::new(), Vec::new());
        properties.encode(&mut list);
        let publish = BasicPublish { ticket: 0, exchange: "", routing_key: queue, mandatory: false, immediate: false };
        write_content(&mut frames, 1, &publish, &list, id.as_bytes(), FRAME_MAX as usize);
        wire.send_octets(&frames).unwrap();
        // One at a time, so that no confirm is for several.
        match wire.event(DEADLINE).unwrap() {
            Some(Event::Confirm { .. }) => taken.push(true),
            Some(Event::Refusal { .. }) => taken.push(false),
            other => panic!("{id}: {other:?}"),
        }
    }
    taken
}

fn plain<'a>(ids: &[&'a str]) -> Vec<(&'a str, Properties<'static>)> {
    ids.iter().map(|id| (*id, Properties::default())).collect()
}

/// Takes all messages of a queue; their ids.
fn drain(wire: &mut Wire, queue: &str) -> Vec<String> {
    std::iter::from_fn(|| {
        wire.send(&BasicGet { ticket: 0, queue, no_ack: true }).unwrap();
        wire.got().unwrap().map(|arrival| arrival.message_id)
    })
    .collect()
}

fn await_count(wire: &mut Wire, queue: &str, count: usize) {
    let end = Instant::now() + DEADLINE;
    while wire.declare(&question(queue)).unwrap() != count {
        assert!(Instant::now() < end, "there are not {count} messages in {queue}");
    }
}

fn with_expiration(expiration: &str) -> Properties<'_> {
    Properties { expiration: Some(expiration), ..Properties::default() }
}

#[test]
fn the_time_of_a_message_goes_on_while_the_broker_is_down() {
    let ttl = Duration::from_millis(800);
    for end in ENDS {
        let folder = tempfile::tempdir().unwrap();
        let broker = Process::start(folder.path());
        let mut wire = Wire::open(broker.address).unwrap();
        wire.declare(&durable_queue("dead")).unwrap();
        let to_dead =
            [("x-dead-letter-exchange", Value::LongStr(b"")), ("x-dead-letter-routing-key", Value::LongStr(b"dead"))];
        wire.declare(&queue_with("by-message", &to_dead)).unwrap();
        let to_dead_in_time = [&to_dead[..], &[("x-message-ttl", Value::I32(800))]].concat();
        wire.declare(&queue_with("by-queue", &to_dead_in_time)).unwrap();
        wire.declare(&queue_with("clock", &[("x-message-ttl", Value::I32(400))])).unwrap();
        let published = Instant::now();
        publish(&mut wire, "by-queue", &plain(&["1"]));
        publish(&mut wire, "by-message", &[("2", with_expiration("800")), ("stays", Properties::default())]);
        publish(&mut wire, "clock", &plain(&["half the time has passed"]));
        await_count(&mut wire, "clock", 0);
        end.of(broker);
        let broker = Process::start(folder.path());
        let mut wire = Wire::open(broker.address).unwrap();
        let started = Instant::now();
        await_count(&mut wire, "dead", 2);
        // Neither too early nor as if it had just been published.
        assert!(published.elapsed() + Duration::from_millis(2) >= ttl, "{end:?}: after {:?}", published.elapsed());
        assert!(started.elapsed() < ttl, "{end:?}: {:?} after the start", started.elapsed());
        let mut dead = drain(&mut wire, "dead");
        dead.sort();
        assert_eq!(dead, ["1", "2"], "{end:?}");
        assert_eq!(drain(&mut wire, "by-queue"), Vec::<String>::new(), "{end:?}");
        assert_eq!(drain(&mut wire, "by-message"), ["stays"], "{end:?}");
    }
}

#[test]
fn what_has_expired_while_the_broker_was_down_is_not_delivered() {
    for end in ENDS {
        let folder = tempfile::tempdir().unwrap();
        let broker = Process::start(folder.path());
        let mut wire = Wire::open(broker.address).unwrap();
        for queue in ["dead", "got", "consumed"] {
            let arguments = [
                ("x-dead-letter-exchange", Value::LongStr(b"")),
                ("x-dead-letter-routing-key", Value::LongStr(b"dead")),
            ];
            wire.declare(&if queue == "dead" { durable_queue(queue) } else { queue_with(queue, &arguments) }).unwrap();
        }
        // The first has to leave the head before the second can expire.
        for queue in ["got", "consumed"] {
            publish(&mut wire, queue, &plain(&["first"]));
            publish(&mut wire, queue, &[("second", with_expiration("20")), ("third", Properties::default())]);
        }
        wire.declare(&queue_with("clock", &[("x-message-ttl", Value::I32(30))])).unwrap();
        publish(&mut wire, "clock", &plain(&["the time has passed"]));
        await_count(&mut wire, "clock", 0);
        end.of(broker);
        let broker = Process::start(folder.path());
        let mut wire = Wire::open(broker.address).unwrap();
        assert_eq!(drain(&mut wire, "got"), ["first", "third"], "{end:?}");
        let mut consumer = Wire::open(broker.address).unwrap();
        consumer.consume("consumed", 0).unwrap();
        for expected in ["first", "third"] {
            let Some(Event::Delivery(arrival)) = consumer.event(DEADLINE).unwrap() else { panic!("no {expected}") };
            assert_eq!(arrival.message_id, expected, "{end:?}");
        }
        await_count(&mut wire, "dead", 2);
    }
}

#[test]
fn a_queue_that_expires_has_its_whole_time_again_after_a_restart() {
    let expires = Duration::from_secs(1);
    for end in ENDS {
        let folder = tempfile::tempdir().unwrap();
        let broker = Process::start(folder.path());
        let mut wire = Wire::open(broker.address).unwrap();
        // Another of the same name is no witness: what is asked for is whether its message is there.
        let expiring = queue_with("expiring", &[("x-expires", Value::I32(1000))]);
        let declaring = Instant::now();
        wire.declare(&expiring).unwrap();
        publish(&mut wire, "expiring", &plain(&["witness"]));
        end.of(broker);
        // On a machine that is too busy to be in time, it may have expired before or after.
        let was_alive = declaring.elapsed() < expires;
        let restarting = Instant::now();
        let broker = Process::start(folder.path());
        let mut wire = Wire::open(broker.address).unwrap();
        wire.declare(&queue_with("clock", &[("x-message-ttl", Value::I32(1500))])).unwrap();
        let found = wire.declare(&expiring).unwrap();
        if was_alive && restarting.elapsed() < expires {
            assert_eq!(found, 1, "{end:?}");
        }
        publish(&mut wire, "clock", &plain(&["the time has passed"]));
        await_count(&mut wire, "clock", 0);
        assert_eq!(wire.declare(&expiring).unwrap(), 0, "{end:?}");
    }
}

#[test]
fn limits_count_what_was_there_before_the_restart() {
    for end in ENDS {
        let folder = tempfile::tempdir().unwrap();
        let broker = Process::start(folder.path());
        let mut wire = Wire::open(broker.address).unwrap();
        let reject = ("x-overflow", Value::LongStr(b"reject-publish"));
        let (length, bytes) = (("x-max-length", Value::I32(3)), ("x-max-length-bytes", Value::I32(3)));
        let queues = [
            ("length", vec![length]),
            ("bytes", vec![bytes]),
            ("full", vec![length, reject]),
            ("filled", vec![bytes, reject]),
        ];
        for (queue, arguments) in &queues {
            wire.declare(&queue_with(queue, arguments)).unwrap();
            assert_eq!(publish(&mut wire, queue, &plain(&["1", "2", "3"])), [true; 3]);
        }
        end.of(broker);
        let broker = Process::start(folder.path());
        let mut wire = Wire::open(broker.address).unwrap();
        for (queue, arguments) in &queues {
            assert_eq!(wire.declare(&queue_with(queue, arguments)).unwrap(), 3, "{end:?} {queue}");
            let refuses = arguments.len() > 1;
            assert_eq!(publish(&mut wire, queue, &plain(&["4"])), [!refuses], "{end:?} {queue}");
            let expected = if refuses { ["1", "2", "3"] } else { ["2", "3", "4"] };
            assert_eq!(drain(&mut wire, queue), expected, "{end:?} {queue}");
            assert_eq!(publish(&mut wire, queue, &plain(&["5"])), [true], "{end:?} {queue}");
        }
    }
}

#[test]
fn priorities_count_after_a_restart() {
    for end in ENDS {
        let folder = tempfile::tempdir().unwrap();
        let broker = Process::start(folder.path());
        let mut wire = Wire::open(broker.address).unwrap();
        wire.declare(&queue_with("q", &[("x-max-priority", Value::I32(5))])).unwrap();
        let with = |priority| Properties { priority, ..Properties::default() };
        let messages = [
            ("a1", with(Some(1))),
            ("b3", with(Some(3))),
            ("c", with(None)),
            ("d9", with(Some(9))),
            ("e1", with(Some(1))),
        ];
        publish(&mut wire, "q", &messages);
        end.of(broker);
        let broker = Process::start(folder.path());
        let mut wire = Wire::open(broker.address).unwrap();
        publish(&mut wire, "q", &[("f3", with(Some(3))), ("g", with(Some(0))), ("h5", with(Some(5)))]);
        assert_eq!(drain(&mut wire, "q"), ["d9", "h5", "b3", "f3", "a1", "e1", "c", "g"], "{end:?}");
    }
}
