//! The deduplicating exchange: to all bindings, but messages with the same id only once in a while.
//!
//! A duplicate is routed nowhere, and is not unroutable either: no alternate exchange gets it, and nobody gets it back.
//!
//! As long as nothing is bound, nothing is remembered: who gets a message back and publishes it again is not to lose it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::targets::Targets;
use crate::Name;
use crate::clock::Timestamp;
use crate::dedup::{MessageId, Recent, TTL_NAME};
use crate::error::{Error, InvalidExchange};
use crate::topology::{Binding, Routes, RoutingInput};
use crate::value::{Table, Value};

/// The argument that says how many ids are remembered at most.
const SIZE_ARGUMENT: &str = "x-cache-size";
/// The argument that says whether what is remembered survives a restart.
const PERSISTENCE_ARGUMENT: &str = "x-cache-persistence";

/// The bindings of a deduplicating exchange, and the ids that it has seen.
#[derive(Clone, Debug)]
pub(super) struct Deduplication {
    targets: Targets,
    ttl_ms: Option<u64>,
    is_kept: bool,
    /// Ids are remembered while others read the topology. A copy of the exchange, which may take its place, has the same.
    recent: Arc<Mutex<Recent>>,
}

/// Refuses arguments that are no numbers above zero, or name no place to remember ids.
pub(super) fn check_arguments(arguments: &Table) -> Result<(), Error> {
    let refuse = |reason| Err(Error::InvalidExchange { reason });
    if arguments.get(SIZE_ARGUMENT).and_then(positive).is_none() {
        return refuse(InvalidExchange::CacheSize);
    }
    if arguments.get(TTL_NAME).is_some_and(|ttl| positive(ttl).is_none()) {
        return refuse(InvalidExchange::CacheTtl);
    }
    match arguments.get(PERSISTENCE_ARGUMENT) {
        Some(value) if !matches!(value.as_str(), Some("disk" | "memory")) => refuse(InvalidExchange::CachePersistence),
        _ => Ok(()),
    }
}

/// A number above zero, also one that is written as text.
fn positive(value: &Value) -> Option<u64> {
    number(value).filter(|number| *number > 0)
}

fn number(value: &Value) -> Option<u64> {
    match value.as_integer() {
        Some(number) => u64::try_from(number).ok(),
        None => value.as_str()?.parse().ok(),
    }
}

impl Deduplication {
    pub(super) fn new(arguments: &Table, is_durable: bool) -> Self {
        let size_max = arguments.get(SIZE_ARGUMENT).and_then(positive).unwrap_or(1);
        let size_max = usize::try_from(size_max).unwrap_or(usize::MAX);
        Self {
            targets: Targets::default(),
            ttl_ms: arguments.get(TTL_NAME).and_then(positive),
            is_kept: is_durable && arguments.get(PERSISTENCE_ARGUMENT).and_then(Value::as_str) == Some("disk"),
            recent: Arc::new(Mutex::new(Recent::new(size_max))),
        }
    }

    pub(super) fn insert(&mut self, binding: &Binding) {
        self.targets.insert(binding.target());
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.targets.remove(binding.target());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    pub(super) fn route(&self, exchange: &Name, input: &RoutingInput<'_>, routes: &mut Routes) -> bool {
        // The next message with the same key may be a duplicate.
        routes.cacheable = false;
        if self.targets.is_empty() {
            return false;
        }
        let Some(id) = MessageId::of(input.message, input.properties) else { return self.targets.collect(routes) };
        let own_ttl = input.properties.header(input.message, TTL_NAME).as_ref().and_then(number);
        let until = own_ttl.or(self.ttl_ms).map(|ttl| input.now.plus_ms(ttl));
        if !self.recent.lock().insert(&id, until, input.now) {
            routes.is_withheld = true;
            return true;
        }
        if self.is_kept {
            routes.newly_seen.push((Name::clone(exchange), id, until));
        }
        self.targets.collect(routes)
    }

    /// Whether what it remembers survives a restart.
    pub(super) const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Remembers an id again after a restart.
    pub(super) fn remember(&self, id: &MessageId, until: Option<Timestamp>, now: Timestamp) {
        if until.is_none_or(|until| until > now) {
            self.recent.lock().insert(id, until, now);
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        self.recent.lock().clear();
    }

    /// What it remembers, the oldest first.
    pub(super) fn remembered(&self) -> Vec<(MessageId, Option<Timestamp>)> {
        self.recent.lock().iter().map(|(id, until)| (id.clone(), until)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::ID_HEADER;
    use crate::exchange::testing::binding;
    use crate::message::Message;
    use crate::properties::testing::Fixed;

    fn table(values: &[(&str, Value)]) -> Table {
        values.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    fn exchange(arguments: &[(&str, Value)]) -> Deduplication {
        let mut exchange = Deduplication::new(&table(arguments), true);
        exchange.insert(&binding(7, "ignored", Table::new()));
        exchange
    }

    /// Where a message goes; nothing if it is a duplicate.
    fn publish(exchange: &Deduplication, headers: &[(&str, Value)], now: u64) -> Option<Vec<u64>> {
        let properties = Fixed { headers: table(headers), ..Fixed::default() };
        let message = Message::bare("x", "key");
        let (properties, now) = (&properties, Timestamp(now));
        let input = RoutingInput { routing_keys: &["key"], message: &message, properties, entropy: 0, now };
        let mut routes = Routes::default();
        routes.start();
        let found = exchange.route(&"x".into(), &input, &mut routes);
        assert!(!routes.cacheable);
        assert_eq!(found, !exchange.is_empty(), "what is withheld goes to no alternate exchange");
        assert!(routes.queues.is_empty() || !routes.is_withheld);
        (!routes.is_withheld).then(|| routes.queues.iter().map(|id| id.0).collect())
    }

    #[test]
    fn an_id_is_routed_once() {
        let exchange = exchange(&[(SIZE_ARGUMENT, Value::I32(10))]);
        for (id, is_new) in [("a", true), ("b", true), ("a", false), ("b", false), ("c", true)] {
            let routed = publish(&exchange, &[(ID_HEADER, Value::text(id))], 0);
            assert_eq!(routed, is_new.then(|| vec![7]), "{id}");
        }
        for _ in 0..2 {
            assert_eq!(publish(&exchange, &[], 0), Some(vec![7]), "without an id");
        }
    }

    #[test]
    fn the_time_of_the_message_goes_before_that_of_the_exchange() {
        for (argument, header, is_new_at) in [
            (None, None, None),
            (Some(Value::I32(100)), None, Some(100)),
            (Some(Value::text("100")), None, Some(100)),
            (Some(Value::I32(100)), Some(Value::I64(50)), Some(50)),
            (Some(Value::I32(100)), Some(Value::I64(500)), Some(500)),
            (None, Some(Value::I64(50)), Some(50)),
            (Some(Value::I32(100)), Some(Value::text("soon")), Some(100)),
            (None, Some(Value::I32(-1)), None),
        ] {
            let mut arguments = vec![(SIZE_ARGUMENT, Value::I32(10))];
            arguments.extend(argument.clone().map(|ttl| (TTL_NAME, ttl)));
            let exchange = exchange(&arguments);
            let mut headers = vec![(ID_HEADER, Value::I32(1))];
            headers.extend(header.clone().map(|ttl| (TTL_NAME, ttl)));
            assert_eq!(publish(&exchange, &headers, 0), Some(vec![7]));
            let new_at = is_new_at.unwrap_or(1_000_000);
            assert_eq!(publish(&exchange, &headers, new_at - 1), None, "{argument:?} {header:?}");
            assert_eq!(publish(&exchange, &headers, new_at).is_some(), is_new_at.is_some(), "{argument:?} {header:?}");
        }
    }

    #[test]
    fn nothing_is_remembered_without_a_binding() {
        let mut exchange = exchange(&[(SIZE_ARGUMENT, Value::I32(10))]);
        exchange.remove(&binding(7, "ignored", Table::new()));
        let id = [(ID_HEADER, Value::text("a"))];
        assert_eq!(publish(&exchange, &id, 0), Some(vec![]));
        exchange.insert(&binding(7, "ignored", Table::new()));
        assert_eq!(publish(&exchange, &id, 0), Some(vec![7]));
        assert_eq!(publish(&exchange, &id, 0), None);
        assert_eq!(publish(&exchange.clone(), &id, 0), None);
    }

    #[test]
    fn what_survives_a_restart_is_asked_for() {
        for (persistence, durable, expected) in [
            (None, true, false),
            (Some("memory"), true, false),
            (Some("disk"), true, true),
            (Some("disk"), false, false),
        ] {
            let mut arguments = vec![(SIZE_ARGUMENT, Value::I32(10))];
            arguments.extend(persistence.map(|place| (PERSISTENCE_ARGUMENT, Value::text(place))));
            let exchange = Deduplication::new(&table(&arguments), durable);
            assert_eq!(exchange.is_kept(), expected, "{persistence:?} {durable}");
        }
    }

    #[test]
    fn ids_come_back_unless_their_time_is_over() {
        let exchange = exchange(&[(SIZE_ARGUMENT, Value::I32(10))]);
        for (id, until) in [("over", Some(50)), ("short", Some(200)), ("ever", None)] {
            exchange.remember(&MessageId::from(&Value::text(id)), until.map(Timestamp), Timestamp(100));
        }
        assert_eq!(exchange.remembered().len(), 2);
        for (id, now, is_new) in
            [("over", 100, true), ("short", 199, false), ("ever", 199, false), ("short", 200, true)]
        {
            assert_eq!(publish(&exchange, &[(ID_HEADER, Value::text(id))], now).is_some(), is_new, "{id} {now}");
        }
        exchange.forget();
        assert!(publish(&exchange, &[(ID_HEADER, Value::text("ever"))], 300).is_some());
    }

    #[test]
    fn the_arguments_are_numbers_above_zero_and_a_place() {
        let size = "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0";
        let ttl = "Invalid argument, 'x-cache-ttl' must be an integer greater than 0";
        let place = "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'";
        let ok = (SIZE_ARGUMENT, Value::I32(1));
        for (arguments, refusal) in [
            (vec![], Some(size)),
            (vec![ok.clone()], None),
            (vec![(SIZE_ARGUMENT, Value::I16(5))], None),
            (vec![(SIZE_ARGUMENT, Value::text("10"))], None),
            (vec![(SIZE_ARGUMENT, Value::text("foo"))], Some(size)),
            (vec![(SIZE_ARGUMENT, Value::text("0"))], Some(size)),
            (vec![(SIZE_ARGUMENT, Value::I32(0))], Some(size)),
            (vec![(SIZE_ARGUMENT, Value::I32(-1))], Some(size)),
            (vec![(SIZE_ARGUMENT, Value::Bool(true))], Some(size)),
            (vec![ok.clone(), (TTL_NAME, Value::U32(1000))], None),
            (vec![ok.clone(), (TTL_NAME, Value::text("1000"))], None),
            (vec![ok.clone(), (TTL_NAME, Value::I32(0))], Some(ttl)),
            (vec![ok.clone(), (TTL_NAME, Value::text("bar"))], Some(ttl)),
            (vec![ok.clone(), (TTL_NAME, Value::F64(1.0))], Some(ttl)),
            (vec![ok.clone(), (PERSISTENCE_ARGUMENT, Value::text("disk"))], None),
            (vec![ok.clone(), (PERSISTENCE_ARGUMENT, Value::text("memory"))], None),
            (vec![ok.clone(), (PERSISTENCE_ARGUMENT, Value::text("tape"))], Some(place)),
            (vec![ok, (PERSISTENCE_ARGUMENT, Value::I32(1))], Some(place)),
        ] {
            let found = check_arguments(&table(&arguments)).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), refusal, "{arguments:?}");
        }
    }
}
