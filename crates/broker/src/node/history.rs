//! What a new binding of an exchange with a history gets.

use std::sync::Arc;

use super::{Node, State};
use crate::Name;
use crate::hash::Map;
use crate::message::Message;
use crate::queue::{Fanout, QueueCell};
use crate::topology::{Change, Destination, Routes, RoutingInput, clean_name};

/// The ends of a binding that is to be made.
pub(super) struct Ends {
    vhost: Name,
    source: Name,
    destination: Destination,
}

/// Messages for each of some queues.
pub(super) type Batches = Vec<(Arc<QueueCell>, Vec<Message>)>;

impl Ends {
    /// The ends of the binding that a change is to make, if it is to make one.
    pub(super) fn of(change: &Change) -> Option<Self> {
        match change {
            Change::Bind { vhost, source, destination, .. } => {
                let (vhost, source) = (Name::clone(vhost), Name::clone(source));
                Some(Self { vhost, source, destination: destination.clone() })
            }
            _ => None,
        }
    }
}

impl Node {
    /// What the source of a new binding remembers, for the queues that its destination leads to.
    pub(super) fn recall(&self, state: &State, ends: &Ends) -> Batches {
        let Ok(vhost) = state.topology.vhost(&ends.vhost) else { return Vec::new() };
        let Ok(source) = vhost.exchange(&clean_name(&ends.source)) else { return Vec::new() };
        let remembered = source.recall();
        if remembered.is_empty() {
            return Vec::new();
        }
        let mut batches = Map::default();
        let mut add = |id, message: &Message| {
            batches.entry(id).or_insert_with(Vec::new).push(message.clone());
        };
        match &ends.destination {
            Destination::Queue(name) => {
                let Ok(queue) = vhost.any_queue(&clean_name(name)) else { return Vec::new() };
                for remembered in &remembered {
                    add(queue.id(), &remembered.message);
                }
            }
            Destination::Exchange(name) => {
                let (mut routes, now) = (Routes::default(), self.now());
                for remembered in &remembered {
                    let keys: Vec<&str> = remembered.routing_keys.iter().map(|key| &**key).collect();
                    let (message, properties, entropy) = (&remembered.message, self.properties(), self.draw());
                    let input = RoutingInput { routing_keys: &keys, message, properties, entropy, now };
                    // The destination is there, or it could not have been bound.
                    if vhost.route(&clean_name(name), &input, &mut routes).is_ok() {
                        self.keep_seen(vhost.name(), &mut routes);
                        for id in &routes.queues {
                            add(*id, message);
                        }
                    }
                }
            }
        }
        let cells = batches.into_iter().filter_map(|(id, batch)| Some((Arc::clone(state.cells.get(&id)?), batch)));
        cells.collect()
    }

    /// Gives the queues what a new binding brought, as if it were published just now.
    pub(super) fn accept_recalled(&self, batches: Batches) {
        let now = self.now();
        for (queue, mut batch) in batches {
            for message in &mut batch {
                if queue.wants_time() || message.published_at().is_some() {
                    *message = message.stamped(now);
                }
            }
            queue.accept(&mut batch, Fanout::Many);
        }
        self.deliver_dead_letters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::ExchangeKind;
    use crate::queue::Taken;
    use crate::topology::{ConnectionId, Origin};
    use crate::value::{Table, Value};

    const ONE: ConnectionId = ConnectionId(1);

    fn declare(node: &Node, name: &str, kind: ExchangeKind) {
        let arguments = [("x-recent-history-length".into(), Value::I32(3))].into_iter().collect();
        let (vhost, name, origin) = ("/".into(), name.into(), Origin::Client);
        let (durable, auto_delete, internal) = (false, false, false);
        let change = Change::DeclareExchange { vhost, name, kind, durable, auto_delete, internal, arguments, origin };
        node.apply(change).unwrap();
    }

    fn queue(node: &Node, name: &str) -> Arc<QueueCell> {
        let (vhost, arguments, origin) = ("/".into(), Table::new(), Origin::Client);
        let (durable, exclusive, auto_delete, id) = (false, None, false, None);
        let queue = name.into();
        node.apply(Change::DeclareQueue { vhost, name: queue, durable, exclusive, auto_delete, arguments, origin, id })
            .unwrap();
        node.queue("/", name, ONE).unwrap()
    }

    fn bind(node: &Node, source: &str, destination: Destination, routing_key: &str) {
        let (vhost, source, routing_key, arguments) = ("/".into(), source.into(), routing_key.into(), Table::new());
        node.apply(Change::Bind { vhost, source, destination, routing_key, arguments, asking: None }).unwrap();
    }

    fn publish(node: &Node, exchange: &str, keys: &[&str]) {
        let message = Message::bare(exchange, keys[0]);
        let (properties, entropy) = (node.properties(), 0);
        let now = node.now();
        let input = RoutingInput { routing_keys: keys, message: &message, properties, entropy, now };
        node.route("/", exchange, &input, &mut Routes::default()).unwrap();
    }

    /// The routing keys of what waits in a queue.
    fn keys(queue: &QueueCell) -> Vec<String> {
        let mut keys = Vec::new();
        while let Ok((Taken::Message(_, message, _), _)) = queue.take(true, &Arc::default()) {
            keys.push(message.routing_key().to_owned());
        }
        keys
    }

    fn to_queue(name: &str) -> Destination {
        Destination::Queue(name.into())
    }

    fn to_exchange(name: &str) -> Destination {
        Destination::Exchange(name.into())
    }

    #[test]
    fn a_new_binding_gets_what_its_exchange_remembers() {
        let node = Node::new();
        declare(&node, "history", ExchangeKind::RecentHistory);
        let queue = queue(&node, "q");
        for key in ["1", "2", "3", "4"] {
            publish(&node, "history", &[key]);
        }
        bind(&node, "history", to_queue("q"), "");
        assert_eq!(keys(&queue), ["2", "3", "4"]);
        bind(&node, "history", to_queue("q"), "");
        assert!(keys(&queue).is_empty(), "the binding was there");
        bind(&node, "history", to_queue("q"), "another");
        assert_eq!(keys(&queue), ["2", "3", "4"]);
    }

    #[test]
    fn a_new_binding_to_an_exchange_routes_from_there() {
        let node = Node::new();
        declare(&node, "history", ExchangeKind::RecentHistory);
        declare(&node, "second", ExchangeKind::RecentHistory);
        let queues = ["a", "b", "late"].map(|name| queue(&node, name));
        bind(&node, "amq.direct", to_queue("a"), "a");
        bind(&node, "amq.direct", to_queue("b"), "b");
        bind(&node, "amq.direct", to_exchange("second"), "b");
        publish(&node, "history", &["a"]);
        publish(&node, "history", &["x", "a", "b"]);
        bind(&node, "history", to_exchange("amq.direct"), "");
        assert_eq!(keys(&queues[0]), ["a", "x"]);
        assert_eq!(keys(&queues[1]), ["x"]);
        bind(&node, "second", to_queue("late"), "");
        assert_eq!(keys(&queues[2]), ["x"], "what was routed on counts there too");
    }

    #[test]
    fn a_history_goes_with_its_exchange() {
        let node = Node::new();
        let queue = queue(&node, "q");
        declare(&node, "history", ExchangeKind::RecentHistory);
        publish(&node, "history", &["1"]);
        node.apply(Change::DeleteExchange { vhost: "/".into(), name: "history".into(), if_unused: false }).unwrap();
        declare(&node, "history", ExchangeKind::RecentHistory);
        bind(&node, "history", to_queue("q"), "");
        assert!(keys(&queue).is_empty());
    }
}
