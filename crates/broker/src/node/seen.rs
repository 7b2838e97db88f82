//! What exchanges remember over a restart of the messages that they have seen.

use std::sync::Arc;

use super::Node;
use crate::Name;
use crate::dedup::{SeenLog, SeenRecord};
use crate::exchange::ExchangeKind;
use crate::topology::{Change, Routes, Topology, clean_name};

/// What a change means for what an exchange remembers, if it declares one that does.
pub(super) fn begun(change: &Change) -> Option<SeenRecord> {
    match change {
        Change::DeclareExchange {
            vhost,
            name,
            kind: ExchangeKind::Deduplication | ExchangeKind::Delayed,
            durable: true,
            ..
        } => Some(SeenRecord::Begun { vhost: Name::clone(vhost), exchange: clean_name(name).into() }),
        _ => None,
    }
}

impl Node {
    /// Makes known where what exchanges have seen is written down. Only the first one counts.
    pub fn keep_seen_in(&self, log: Arc<dyn SeenLog>) {
        let _ = self.seen_log.set(log);
    }

    /// All that exchanges still know after a restart, as the records that bring it about.
    pub fn seen_records(&self) -> Vec<SeenRecord> {
        self.read(Topology::seen_records)
    }

    /// Writes down what exchanges on the way of a message have seen.
    pub(super) fn keep_seen(&self, vhost: &Name, routes: &mut Routes) {
        if routes.newly_seen.is_empty() {
            return;
        }
        let seen = routes.newly_seen.drain(..).map(|(exchange, id, until)| SeenRecord::Seen {
            vhost: Name::clone(vhost),
            exchange,
            id,
            until,
        });
        self.write_seen(seen.collect());
    }

    pub(super) fn write_seen(&self, records: Vec<SeenRecord>) {
        if let Some(log) = self.seen_log.get()
            && !records.is_empty()
        {
            log.append(records);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::dedup::{ID_HEADER, MessageId};
    use crate::message::Message;
    use crate::node::Surroundings;
    use crate::properties::testing::Fixed;
    use crate::topology::{Destination, Origin, RoutingInput};
    use crate::value::{Table, Value};
    use parking_lot::Mutex;

    #[derive(Debug, Default)]
    struct Written(Mutex<Vec<SeenRecord>>);

    impl SeenLog for Written {
        fn append(&self, records: Vec<SeenRecord>) {
            self.0.lock().extend(records);
        }
    }

    fn declare(name: &str, persistence: &str) -> Change {
        let arguments = [("x-cache-size", Value::I32(10)), ("x-cache-persistence", Value::text(persistence))];
        Change::DeclareExchange {
            vhost: "/".into(),
            name: name.into(),
            kind: ExchangeKind::Deduplication,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: arguments.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            origin: Origin::Client,
        }
    }

    fn bind(source: &str, to: &str) -> Change {
        Change::Bind {
            vhost: "/".into(),
            source: source.into(),
            destination: Destination::Exchange(to.into()),
            routing_key: "".into(),
            arguments: Table::new(),
            asking: None,
        }
    }

    /// Whether the message with this id is no duplicate.
    fn publish(node: &Node, exchange: &str, id: &str) -> bool {
        let headers = [(ID_HEADER.into(), Value::text(id))].into_iter().collect();
        let (properties, message) = (&Fixed { headers, ..Fixed::default() }, &Message::bare(exchange, ""));
        let input = RoutingInput { routing_keys: &[""], message, properties, entropy: 0, now: node.now() };
        !node.route("/", exchange, &input, &mut Routes::default()).unwrap().is_withheld
    }

    fn node(log: &Arc<Written>) -> Node {
        let clock = Arc::new(ManualClock::at(Timestamp(1000)));
        let node = Node::within(Surroundings { clock, ..Surroundings::default() });
        node.keep_seen_in(Arc::clone(log) as Arc<dyn SeenLog>);
        for change in [declare("disk", "disk"), declare("memory", "memory"), bind("disk", "memory")] {
            node.apply(change).unwrap();
        }
        node.apply(bind("memory", "amq.fanout")).unwrap();
        node
    }

    #[test]
    fn what_is_seen_is_known_again_where_that_is_asked_for() {
        let log = Arc::<Written>::default();
        let before = node(&log);
        for (exchange, id, is_new) in [
            ("disk", "a", true),
            ("disk", "a", false),
            ("memory", "b", true),
            // New to the one, it meets the other.
            ("disk", "b", false),
            ("disk", "b", false),
        ] {
            assert_eq!(publish(&before, exchange, id), is_new, "{exchange} {id}");
        }
        let begun = || SeenRecord::Begun { vhost: "/".into(), exchange: "disk".into() };
        let seen = |id: &str| SeenRecord::Seen {
            vhost: "/".into(),
            exchange: "disk".into(),
            id: MessageId::from(&Value::text(id)),
            until: None,
        };
        let all = [begun(), seen("a"), seen("b")];
        let written = log.0.lock().clone();
        assert_eq!(written.iter().filter(|record| matches!(record, SeenRecord::Seen { .. })).count(), 2);
        assert_eq!(before.seen_records(), all);

        let after = node(&Arc::default());
        for record in written.iter().chain(&all) {
            after.read(|topology| topology.restore_seen(record, after.now()));
        }
        for (exchange, id, is_new) in [("disk", "a", false), ("disk", "b", false), ("memory", "b", true)] {
            assert_eq!(publish(&after, exchange, id), is_new, "{exchange} {id}");
        }
    }

    #[test]
    fn an_exchange_that_is_declared_anew_has_seen_nothing() {
        let log = Arc::<Written>::default();
        let before = node(&log);
        assert!(publish(&before, "disk", "a"));
        let (vhost, name, if_unused) = ("/".into(), "disk".into(), false);
        before.apply(Change::DeleteExchange { vhost, name, if_unused }).unwrap();
        before.apply(declare("disk", "disk")).unwrap();
        before.apply(bind("disk", "amq.fanout")).unwrap();
        before.apply(declare("disk", "disk")).unwrap();
        let after = node(&Arc::default());
        for record in log.0.lock().iter() {
            after.read(|topology| topology.restore_seen(record, after.now()));
        }
        assert_eq!(after.seen_records().len(), 1);
        assert!(publish(&before, "disk", "a") && publish(&after, "disk", "c"));
        // A record of an exchange that is gone, or that remembers nothing over restarts, does nothing.
        for exchange in ["gone", "memory", "amq.fanout"] {
            let (vhost, exchange) = ("/".into(), exchange.into());
            let id = MessageId::from(&Value::text("d"));
            let record = SeenRecord::Seen { vhost, exchange, id, until: None };
            after.read(|topology| topology.restore_seen(&record, after.now()));
        }
        assert!(publish(&after, "memory", "d"));
    }
}
