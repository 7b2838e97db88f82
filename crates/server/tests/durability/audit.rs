//! Looks at every queue and compares it with the ledger.

use std::net::SocketAddr;

use leveret_protocol::amqp091::method::{BasicAck, ExchangeDeclare, QueueDeclare};
use leveret_protocol::amqp091::{Method, Table};

use crate::ledger::{Ending, Ledger};
use crate::random::Random;
use crate::takers::bind;
use crate::wire::{Arrival, DEADLINE, Event, Wire, durable_queue, question};

/// The queues: their names, whether they are durable, and whether the exchange "all" leads to them.
pub(crate) const QUEUES: &[(&str, bool, bool)] = &[
    ("one", true, false),
    ("many", true, false),
    ("large", true, false),
    ("tx", true, false),
    ("purged", true, false),
    ("deleted", true, true),
    ("fan-a", true, true),
    ("fan-b", true, true),
    ("fan-c", true, true),
    ("passing", false, true),
];
/// Messages that an audit leaves in a queue, so that the next one is not too long.
const KEPT_MAX: usize = 300;

/// A ledger for the queues.
pub(crate) fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    for (queue, durable, _) in QUEUES {
        ledger.open(queue, *durable);
    }
    ledger
}

/// Declares what is not there and compares each queue with the ledger. Some of the messages are acknowledged, the others
/// given back.
pub(crate) fn audit(
    address: SocketAddr,
    ledger: &mut Ledger,
    ending: Ending,
    random: &mut Random,
) -> Result<(), String> {
    prepare(address);
    let complaints: Vec<_> =
        QUEUES.iter().filter_map(|(queue, ..)| audit_queue(address, ledger, queue, ending, random).err()).collect();
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
}

fn prepare(address: SocketAddr) {
    let mut wire = Wire::open(address).unwrap();
    let exchange = ExchangeDeclare {
        ticket: 0,
        exchange: "all",
        kind: "fanout",
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        no_wait: false,
        arguments: Table::default(),
    };
    wire.call(&exchange, |method| matches!(method, Method::ExchangeDeclareOk(_)).then_some(())).unwrap();
    for (queue, durable, bound) in QUEUES {
        wire.declare(&QueueDeclare { durable: *durable, ..durable_queue(queue) }).unwrap();
        if *bound {
            bind(&mut wire, queue).unwrap();
        }
    }
    wire.close();
}

fn audit_queue(
    address: SocketAddr,
    ledger: &mut Ledger,
    queue: &str,
    ending: Ending,
    random: &mut Random,
) -> Result<(), String> {
    let mut wire = Wire::open(address).unwrap();
    let found = take_all(&mut wire, queue)?;
    let order = ledger.audit(queue, &found, ending)?;
    let most = order.len().saturating_sub(KEPT_MAX);
    let acked = if random.percent(10) { order.len() } else { most.max(random.below(order.len() + 1) / 4) };
    if let Some(delivery_tag) = acked.checked_sub(1).map(|last| found[last].delivery_tag) {
        order[..acked].iter().for_each(|id| ledger.acked(queue, *id));
        wire.send(&BasicAck { delivery_tag, multiple: true }).unwrap();
    }
    wire.close();
    Ok(())
}

/// Takes all messages of a queue without acknowledging them; there have to be as many as the broker says.
pub(crate) fn take_all(wire: &mut Wire, queue: &str) -> Result<Vec<Arrival>, String> {
    let count = wire.declare(&question(queue)).unwrap();
    wire.consume(queue, 0).unwrap();
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        match wire.event(DEADLINE).unwrap() {
            Some(Event::Delivery(arrival)) => found.push(arrival),
            Some(other) => return Err(format!("{queue}: {other:?}")),
            None => return Err(format!("{queue}: {} messages came of {count} that the broker counts", found.len())),
        }
    }
    let left = wire.declare(&question(queue)).unwrap();
    let more = wire.event(std::time::Duration::ZERO).unwrap();
    if left > 0 || more.is_some() {
        return Err(format!("{queue}: more messages came than the {count} that the broker counted"));
    }
    Ok(found)
}
