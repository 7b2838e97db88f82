//! The recent history exchange: to all bindings, and a new binding gets the last messages at once.
//!
//! What is remembered is in memory only: after a restart the history is empty, as in RabbitMQ.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::targets::Targets;
use crate::Name;
use crate::error::{Error, InvalidExchange};
use crate::message::Message;
use crate::topology::{Binding, Routes, RoutingInput};
use crate::value::{Table, Term, Value};

/// The argument that says how many messages are remembered.
const LENGTH_ARGUMENT: &str = "x-recent-history-length";
/// How many messages are remembered if nothing is said about it.
const LENGTH: usize = 20;
/// The header of a message that is not to be remembered.
const NO_STORE_HEADER: &str = "x-recent-history-no-store";
/// What the messages that an exchange remembers may take together, in octets; only the last message may be larger.
const HISTORY_OCTETS_MAX: usize = 64 * 1024 * 1024;

/// The bindings of a recent history exchange, and its history.
#[derive(Clone, Debug)]
pub(super) struct RecentHistory {
    targets: Targets,
    length: usize,
    /// Messages are remembered while others read the topology. A copy of the exchange, which may take its place, has the same.
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    messages: VecDeque<Remembered>,
    octets: usize,
}

/// A message as it was routed.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(crate) message: Message,
    /// The keys it was routed by.
    pub(crate) routing_keys: Arc<[Name]>,
}

/// Refuses a length that is no positive integer.
pub(super) fn check_arguments(arguments: &Table) -> Result<(), Error> {
    match arguments.get(LENGTH_ARGUMENT) {
        Some(value) if value.as_integer().is_none_or(|length| length <= 0) => {
            Err(Error::InvalidExchange { reason: InvalidExchange::HistoryLength(Term(value).to_string()) })
        }
        _ => Ok(()),
    }
}

impl RecentHistory {
    pub(super) fn new(arguments: &Table) -> Self {
        let length = arguments.get(LENGTH_ARGUMENT).and_then(Value::as_integer);
        let length = length.map_or(LENGTH, |length| usize::try_from(length).unwrap_or(usize::MAX));
        Self { targets: Targets::default(), length, kept: Arc::default() }
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

    /// Routes and remembers, in one step as seen from a new binding, which changes the topology: it gets each message once.
    pub(super) fn route(&self, input: &RoutingInput<'_>, routes: &mut Routes) -> bool {
        // From a cache, messages would pass by unseen.
        routes.cacheable = false;
        if input.properties.header(input.message, NO_STORE_HEADER) != Some(Value::Bool(true)) {
            self.kept.lock().remember(input, self.length);
        }
        self.targets.collect(routes)
    }

    /// The last messages, the oldest first.
    pub(super) fn recall(&self) -> Vec<Remembered> {
        self.kept.lock().messages.iter().cloned().collect()
    }
}

impl Kept {
    fn remember(&mut self, input: &RoutingInput<'_>, length: usize) {
        let routing_keys = input.routing_keys.iter().map(|key| Name::from(*key)).collect();
        self.octets += input.message.size();
        self.messages.push_back(Remembered { message: input.message.clone(), routing_keys });
        while self.messages.len() > length || (self.octets > HISTORY_OCTETS_MAX && self.messages.len() > 1) {
            let Some(oldest) = self.messages.pop_front() else { return };
            self.octets -= oldest.message.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::exchange::testing::{binding, routed};
    use crate::message::Draft;
    use crate::properties::testing::Fixed;

    fn exchange(length: Option<Value>) -> RecentHistory {
        RecentHistory::new(&length.into_iter().map(|length| (LENGTH_ARGUMENT.into(), length)).collect())
    }

    fn publish(exchange: &RecentHistory, key: &str, body_size: usize, headers: &Table) -> Vec<u64> {
        let mut draft = Draft::new(Vec::new(), "x", key);
        draft.body(&vec![0; body_size]);
        let message = draft.message();
        let (properties, now) = (&Fixed { headers: headers.clone(), ..Fixed::default() }, Timestamp::default());
        let input = RoutingInput { routing_keys: &[key, "cc"], message: &message, properties, entropy: 0, now };
        routed(|routes| exchange.route(&input, routes))
    }

    fn keys(exchange: &RecentHistory) -> Vec<String> {
        exchange.recall().iter().map(|remembered| remembered.routing_keys.join(" ")).collect()
    }

    #[test]
    fn the_last_messages_are_remembered_also_without_bindings() {
        let mut exchange = exchange(Some(Value::I32(2)));
        assert!(publish(&exchange, "1", 0, &Table::new()).is_empty());
        exchange.insert(&binding(7, "", Table::new()));
        for key in ["2", "3"] {
            assert_eq!(publish(&exchange, key, 0, &Table::new()), [7]);
        }
        assert_eq!(keys(&exchange), ["2 cc", "3 cc"]);
        exchange.remove(&binding(7, "", Table::new()));
        assert!(exchange.is_empty());
        assert_eq!(keys(&exchange.clone()), ["2 cc", "3 cc"]);
    }

    #[test]
    fn twenty_messages_are_remembered_by_default() {
        let exchange = exchange(None);
        for n in 0..30 {
            publish(&exchange, &n.to_string(), 0, &Table::new());
        }
        assert_eq!((keys(&exchange).len(), keys(&exchange)[0].as_str()), (20, "10 cc"));
    }

    #[test]
    fn a_header_keeps_a_message_out() {
        let exchange = exchange(None);
        for (key, value) in [("1", Value::Bool(true)), ("2", Value::Bool(false)), ("3", Value::text("true"))] {
            publish(&exchange, key, 0, &[(NO_STORE_HEADER.into(), value)].into_iter().collect());
        }
        assert_eq!(keys(&exchange), ["2 cc", "3 cc"]);
    }

    #[test]
    fn what_is_remembered_has_a_bound_in_octets() {
        let exchange = exchange(None);
        for (key, body_size, kept) in [
            ("1", 1, &["1 cc"][..]),
            ("2", HISTORY_OCTETS_MAX - 100, &["1 cc", "2 cc"]),
            ("3", 1000, &["3 cc"]),
            ("4", HISTORY_OCTETS_MAX + 1, &["4 cc"]),
            ("5", 1, &["5 cc"]),
        ] {
            publish(&exchange, key, body_size, &Table::new());
            assert_eq!(keys(&exchange), kept, "{key}");
        }
        let octets = exchange.kept.lock().octets;
        assert_eq!(octets, exchange.recall()[0].message.size());
    }

    #[test]
    fn the_length_is_a_positive_integer() {
        for (length, shown) in [
            (Value::I32(1), None),
            (Value::I8(5), None),
            (Value::I64(i64::MAX), None),
            (Value::I32(0), Some("0")),
            (Value::I32(-1), Some("-1")),
            (Value::text("5"), Some("<<\"5\">>")),
            (Value::F64(1.5), Some("1.5")),
        ] {
            let arguments = [(LENGTH_ARGUMENT.into(), length.clone())].into_iter().collect();
            let found = check_arguments(&arguments).err().map(|error| error.to_string());
            let text = shown
                .map(|shown| format!("Invalid argument {shown}, 'x-recent-history-length' must be a positive integer"));
            assert_eq!(found, text, "{length:?}");
        }
    }
}
