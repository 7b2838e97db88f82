//! Exchanges: one file per type, and what they have in common.

mod consistent_hash;
mod deduplication;
mod digest;
mod direct;
mod fanout;
mod headers;
mod modulus_hash;
mod random;
mod recent_history;
mod slots;
mod targets;
mod topic;

use std::sync::Arc;

pub(crate) use headers::Headers;
pub(crate) use recent_history::Remembered;
pub(crate) use topic::Scratch as TopicScratch;

use crate::clock::Timestamp;
use crate::dedup::MessageId;
use crate::error::{DelayedType, Resource};
use crate::hash::Set;
use crate::stats::{ExchangeCounters, MessageStats};
use crate::topology::{AppliedPolicies, Binding, QueueId, Routes, RoutingInput};
use crate::value::{Table, Value};
use crate::{Error, Name};

/// The argument that names the exchange for messages that are routed nowhere.
pub(crate) const ALTERNATE_ARGUMENT: &str = "alternate-exchange";

/// The argument that says how a delaying exchange routes.
pub(crate) const DELAYED_TYPE_ARGUMENT: &str = "x-delayed-type";

/// The type of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// To the bindings with exactly the message's key.
    Direct,
    /// To all bindings.
    Fanout,
    /// To the bindings whose pattern of words matches the key.
    Topic,
    /// To the bindings whose arguments match the headers.
    Headers,
    /// To all bindings, but messages with the same id only once in a while.
    Deduplication,
    /// To one destination by the hash of the key, a header or a property; keys of bindings are weights.
    ConsistentHash,
    /// To one binding by the hash of the keys.
    ModulusHash,
    /// To one binding, whichever.
    Random,
    /// To one queue on this node, whichever.
    LocalRandom,
    /// To all bindings, of which a new one gets the last messages.
    RecentHistory,
    /// Like another type, which the argument `x-delayed-type` names, but not before messages are due.
    Delayed,
}

/// A declared exchange and the bindings at both of its ends.
#[derive(Clone, Debug)]
pub struct Exchange {
    name: Name,
    kind: ExchangeKind,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Table,
    alternate: Option<Name>,
    policies: Option<Arc<AppliedPolicies>>,
    /// How messages are routed: the type, or the one that a delaying exchange is made with.
    routing: ExchangeKind,
    /// What the exchange holds back is known by this number, once it has had a reason to hold messages back.
    delay: Option<QueueId>,
    /// The bindings from here, each once.
    outbound: Set<Arc<Binding>>,
    /// The bindings that lead here.
    inbound: Set<Arc<Binding>>,
    /// The bindings from here again, in the order in which this type of exchange looks for them.
    index: Index,
    counters: Arc<ExchangeCounters>,
}

/// The properties of an exchange as a declaration gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declaration {
    pub(crate) name: Name,
    pub(crate) kind: ExchangeKind,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: Table,
}

#[derive(Clone, Debug)]
enum Index {
    Direct(direct::Direct),
    Fanout(fanout::Fanout),
    Topic(topic::Topic),
    Headers(headers::HeadersIndex),
    Deduplication(deduplication::Deduplication),
    ConsistentHash(consistent_hash::ConsistentHash),
    ModulusHash(modulus_hash::ModulusHash),
    Random(random::Random),
    RecentHistory(recent_history::RecentHistory),
}

impl ExchangeKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::ConsistentHash,
        Self::ModulusHash,
        Self::Random,
        Self::LocalRandom,
        Self::RecentHistory,
        Self::Deduplication,
        Self::Delayed,
    ];

    /// The type of that name.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let kind = Self::ALL.iter().find(|kind| kind.as_str() == name);
        kind.copied().ok_or_else(|| Error::UnknownExchangeType { kind: name.into() })
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::Deduplication => "x-message-deduplication",
            Self::ConsistentHash => "x-consistent-hash",
            Self::ModulusHash => "x-modulus-hash",
            Self::Random => "x-random",
            Self::LocalRandom => "x-local-random",
            Self::RecentHistory => "x-recent-history",
            Self::Delayed => "x-delayed-message",
        }
    }

    /// The arguments of this type of exchange that must be text.
    pub(crate) const fn text_arguments(self) -> &'static [&'static str] {
        match self {
            Self::ConsistentHash => &[consistent_hash::HEADER_ARGUMENT, consistent_hash::PROPERTY_ARGUMENT],
            Self::Direct
            | Self::Fanout
            | Self::Topic
            | Self::Headers
            | Self::ModulusHash
            | Self::Random
            | Self::LocalRandom
            | Self::RecentHistory
            | Self::Deduplication
            | Self::Delayed => &[],
        }
    }

    /// Refuses arguments this type of exchange cannot make sense of, if those that must be text are.
    pub(crate) fn check_arguments(self, arguments: &Table) -> Result<(), Error> {
        match self {
            Self::Direct
            | Self::Fanout
            | Self::Topic
            | Self::Headers
            | Self::ModulusHash
            | Self::Random
            | Self::LocalRandom => Ok(()),
            Self::ConsistentHash => consistent_hash::check_arguments(arguments),
            Self::Deduplication => deduplication::check_arguments(arguments),
            Self::RecentHistory => recent_history::check_arguments(arguments),
            Self::Delayed => match delayed_type(arguments)? {
                Some(Self::Delayed) => Err(Error::DelayedType { reason: DelayedType::Itself }),
                Some(inner) => inner.check_arguments(arguments),
                None => Err(Error::DelayedType { reason: DelayedType::Missing }),
            },
        }
    }

    /// How an exchange of this type with these arguments routes.
    pub(crate) fn routing(self, arguments: &Table) -> Self {
        if self != Self::Delayed {
            return self;
        }
        // Whoever declared it was refused anything that this does not find.
        let inner = delayed_type(arguments).ok().flatten();
        inner.filter(|inner| *inner != Self::Delayed).unwrap_or(Self::Direct)
    }

    /// Refuses a binding this type of exchange cannot make sense of. `queue_type` is that of the queue it leads to, if it
    /// leads to a queue.
    pub(crate) fn check_binding(
        self,
        routing_key: &Name,
        arguments: &Table,
        queue_type: Option<&str>,
    ) -> Result<(), Error> {
        match self {
            Self::Direct
            | Self::Fanout
            | Self::ModulusHash
            | Self::Random
            | Self::RecentHistory
            | Self::Deduplication
            | Self::Delayed => Ok(()),
            Self::Topic => topic::check_binding(routing_key),
            Self::Headers => headers::check_binding(arguments),
            Self::ConsistentHash => consistent_hash::check_binding(routing_key),
            Self::LocalRandom => random::check_local_binding(routing_key, queue_type),
        }
    }
}

/// The type by which a delaying exchange with these arguments is to route, if it says so.
fn delayed_type(arguments: &Table) -> Result<Option<ExchangeKind>, Error> {
    match arguments.get(DELAYED_TYPE_ARGUMENT) {
        Some(Value::LongStr(name) | Value::Bytes(name)) => {
            ExchangeKind::parse(&String::from_utf8_lossy(name)).map(Some)
        }
        _ => Ok(None),
    }
}

impl Exchange {
    pub(crate) fn new(declaration: Declaration) -> Self {
        let Declaration { name, kind, durable, auto_delete, internal, arguments } = declaration;
        let routing = kind.routing(&arguments);
        let index = Index::new(routing, &arguments, durable);
        let (outbound, inbound, policies, delay) = (Set::default(), Set::default(), None, None);
        let mut exchange = Self {
            name,
            kind,
            durable,
            auto_delete,
            internal,
            arguments,
            alternate: None,
            policies,
            routing,
            delay,
            outbound,
            inbound,
            index,
            counters: Arc::default(),
        };
        exchange.set_policies(None);
        exchange
    }

    /// Its name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Its type.
    pub const fn kind(&self) -> ExchangeKind {
        self.kind
    }

    /// How it routes: as its type says, or as the type that a delaying exchange is made with.
    pub const fn routing(&self) -> ExchangeKind {
        self.routing
    }

    /// The number by which the store knows what it holds back, if it ever had a reason to hold messages back.
    pub const fn delay(&self) -> Option<QueueId> {
        self.delay
    }

    /// Whether messages with a delay wait here.
    pub(crate) fn wants_delay(&self) -> bool {
        self.kind == ExchangeKind::Delayed || self.is_delayed_by_policy()
    }

    pub(crate) const fn set_delay(&mut self, id: QueueId) {
        self.delay = Some(id);
    }

    /// What went through it.
    pub fn stats(&self) -> MessageStats {
        self.counters.read()
    }

    /// What counts that.
    pub const fn counters(&self) -> &Arc<ExchangeCounters> {
        &self.counters
    }

    /// Whether it survives a restart.
    pub const fn durable(&self) -> bool {
        self.durable
    }

    /// Whether it goes with the last binding from it.
    pub const fn auto_delete(&self) -> bool {
        self.auto_delete
    }

    /// Whether only other exchanges may publish to it.
    pub const fn internal(&self) -> bool {
        self.internal
    }

    /// The arguments as they were declared.
    pub const fn arguments(&self) -> &Table {
        &self.arguments
    }

    /// The exchange that takes what this one routes nowhere; it need not exist.
    pub const fn alternate(&self) -> Option<&Name> {
        self.alternate.as_ref()
    }

    /// The policies that apply to it; its arguments win over what they say.
    pub const fn policies(&self) -> Option<&Arc<AppliedPolicies>> {
        self.policies.as_ref()
    }

    /// Whether a policy says that messages with a delay wait here.
    pub fn is_delayed_by_policy(&self) -> bool {
        let value = self.policies.as_ref().and_then(|policies| policies.get("delayed-message"));
        value == Some(&Value::Bool(true))
    }

    /// Makes policies apply; says whether messages may go other ways than before.
    pub(crate) fn set_policies(&mut self, policies: Option<Arc<AppliedPolicies>>) -> bool {
        let (alternate, delayed) = (self.alternate.take(), self.is_delayed_by_policy());
        self.policies = policies;
        let by_policy = || self.policies.as_ref()?.get(ALTERNATE_ARGUMENT);
        let now = self.arguments.get(ALTERNATE_ARGUMENT).or_else(by_policy);
        self.alternate = now.and_then(Value::as_str).map(Name::from);
        self.alternate != alternate || self.is_delayed_by_policy() != delayed
    }

    /// The bindings from here, in no particular order.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.outbound.iter()
    }

    /// The bindings from other exchanges that lead here, in no particular order.
    pub fn inbound_bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.inbound.iter()
    }

    /// Whether there are bindings from here.
    pub fn is_used(&self) -> bool {
        !self.outbound.is_empty()
    }

    /// Refuses what a client publishes to an internal exchange; other exchanges may route there.
    pub fn check_publish(&self, vhost: &Name) -> Result<(), Error> {
        if self.internal {
            return Err(Error::InternalExchange { exchange: Resource::exchange(vhost, &self.name) });
        }
        Ok(())
    }

    /// Adds a binding from here; says whether it is new.
    pub(crate) fn add_outbound(&mut self, binding: Arc<Binding>) -> bool {
        if self.outbound.contains(&binding) {
            return false;
        }
        self.index.insert(&binding);
        self.outbound.insert(binding);
        true
    }

    /// Takes a binding from here away and returns the one that was kept.
    pub(crate) fn remove_outbound(&mut self, binding: &Binding) -> Option<Arc<Binding>> {
        let binding = self.outbound.take(binding)?;
        self.index.remove(&binding);
        Some(binding)
    }

    pub(crate) fn has_outbound(&self, binding: &Binding) -> bool {
        self.outbound.contains(binding)
    }

    pub(crate) fn has_inbound(&self, binding: &Binding) -> bool {
        self.inbound.contains(binding)
    }

    pub(crate) const fn inbound_mut(&mut self) -> &mut Set<Arc<Binding>> {
        &mut self.inbound
    }

    /// Adds what the bindings from here lead to; says whether that is anything.
    pub(crate) fn route(&self, input: &RoutingInput<'_>, headers: &Headers<'_>, routes: &mut Routes) -> bool {
        let routing_keys = input.routing_keys;
        match &self.index {
            Index::Direct(direct) => each(routing_keys, |key| direct.route(key, routes)),
            Index::Fanout(fanout) => fanout.route(routes),
            Index::Topic(topic) => each(routing_keys, |key| topic.route(key, routes)),
            Index::Headers(index) => index.route(headers, routes),
            Index::Deduplication(index) => index.route(&self.name, input, routes),
            Index::ConsistentHash(index) => index.route(input, routes),
            Index::ModulusHash(index) => index.route(routing_keys, routes),
            Index::Random(index) => index.route(input.entropy, routes),
            Index::RecentHistory(index) => index.route(input, routes),
        }
    }

    /// What it remembers of messages that it has seen, the oldest first, if that survives a restart.
    pub(crate) fn seen(&self) -> Option<Vec<(MessageId, Option<Timestamp>)>> {
        match &self.index {
            Index::Deduplication(index) if index.is_kept() => Some(index.remembered()),
            Index::Direct(_)
            | Index::Fanout(_)
            | Index::Topic(_)
            | Index::Headers(_)
            | Index::ConsistentHash(_)
            | Index::ModulusHash(_)
            | Index::Random(_)
            | Index::RecentHistory(_)
            | Index::Deduplication(_) => None,
        }
    }

    /// Remembers an id again after a restart, or forgets all of them if there is none.
    pub(crate) fn restore_seen(&self, seen: Option<(&MessageId, Option<Timestamp>)>, now: Timestamp) {
        match (&self.index, seen) {
            (Index::Deduplication(index), Some((id, until))) if index.is_kept() => index.remember(id, until, now),
            (Index::Deduplication(index), None) => index.forget(),
            _ => {}
        }
    }

    /// What this exchange remembers for a new binding, the oldest first; nothing if it is of a type that does not.
    pub(crate) fn recall(&self) -> Vec<Remembered> {
        match &self.index {
            Index::RecentHistory(index) => index.recall(),
            Index::Direct(_)
            | Index::Fanout(_)
            | Index::Topic(_)
            | Index::Headers(_)
            | Index::ConsistentHash(_)
            | Index::ModulusHash(_)
            | Index::Random(_)
            | Index::Deduplication(_) => Vec::new(),
        }
    }

    /// Whether this binding gives way to an earlier one to the same destination, which counts instead of it. Bindings that do
    /// have to be made later when the exchange is made anew.
    pub(crate) fn gives_way(&self, binding: &Binding) -> bool {
        match &self.index {
            Index::ConsistentHash(index) => !index.counts(binding),
            Index::Direct(_)
            | Index::Fanout(_)
            | Index::Topic(_)
            | Index::Headers(_)
            | Index::ModulusHash(_)
            | Index::Random(_)
            | Index::RecentHistory(_)
            | Index::Deduplication(_) => false,
        }
    }

    /// Whether routing finds no binding at all, as must be the case if and only if there is none.
    pub(crate) fn index_is_empty(&self) -> bool {
        match &self.index {
            Index::Direct(direct) => direct.is_empty(),
            Index::Fanout(fanout) => fanout.is_empty(),
            Index::Topic(topic) => topic.is_empty(),
            Index::Headers(index) => index.is_empty(),
            Index::Deduplication(index) => index.is_empty(),
            Index::ConsistentHash(index) => index.is_empty(),
            Index::ModulusHash(index) => index.is_empty(),
            Index::Random(index) => index.is_empty(),
            Index::RecentHistory(index) => index.is_empty(),
        }
    }
}

/// Routes by every key, also when an earlier one led somewhere.
fn each(routing_keys: &[&str], mut route: impl FnMut(&str) -> bool) -> bool {
    routing_keys.iter().fold(false, |found, key| route(key) | found)
}

impl Index {
    fn new(kind: ExchangeKind, arguments: &Table, is_durable: bool) -> Self {
        match kind {
            ExchangeKind::Direct | ExchangeKind::Delayed => Self::Direct(direct::Direct::default()),
            ExchangeKind::Fanout => Self::Fanout(fanout::Fanout::default()),
            ExchangeKind::Topic => Self::Topic(topic::Topic::default()),
            ExchangeKind::Headers => Self::Headers(headers::HeadersIndex::default()),
            ExchangeKind::Deduplication => {
                Self::Deduplication(deduplication::Deduplication::new(arguments, is_durable))
            }
            ExchangeKind::ConsistentHash => Self::ConsistentHash(consistent_hash::ConsistentHash::new(arguments)),
            ExchangeKind::ModulusHash => Self::ModulusHash(modulus_hash::ModulusHash::default()),
            ExchangeKind::Random | ExchangeKind::LocalRandom => Self::Random(random::Random::default()),
            ExchangeKind::RecentHistory => Self::RecentHistory(recent_history::RecentHistory::new(arguments)),
        }
    }

    fn insert(&mut self, binding: &Arc<Binding>) {
        match self {
            Self::Direct(direct) => direct.insert(binding),
            Self::Fanout(fanout) => fanout.insert(binding),
            Self::Topic(topic) => topic.insert(binding),
            Self::Headers(index) => index.insert(binding),
            Self::Deduplication(index) => index.insert(binding),
            Self::ConsistentHash(index) => index.insert(binding),
            Self::ModulusHash(index) => index.insert(binding),
            Self::Random(index) => index.insert(binding),
            Self::RecentHistory(index) => index.insert(binding),
        }
    }

    fn remove(&mut self, binding: &Binding) {
        match self {
            Self::Direct(direct) => direct.remove(binding),
            Self::Fanout(fanout) => fanout.remove(binding),
            Self::Topic(topic) => topic.remove(binding),
            Self::Headers(index) => index.remove(binding),
            Self::Deduplication(index) => index.remove(binding),
            Self::ConsistentHash(index) => index.remove(binding),
            Self::ModulusHash(index) => index.remove(binding),
            Self::Random(index) => index.remove(binding),
            Self::RecentHistory(index) => index.remove(binding),
        }
    }
}

/// What the tests of the exchange types share.
#[cfg(test)]
mod testing {
    use crate::topology::{Binding, Destination, QueueId, Routes, Target};
    use crate::value::Table;

    /// A binding to the queue with that id.
    pub(super) fn binding(queue: u64, routing_key: &str, arguments: Table) -> Binding {
        let destination = Destination::Queue(format!("q{queue}").into());
        Binding::new("x".into(), destination, routing_key.into(), arguments, Target::Queue(QueueId(queue)))
    }

    /// The ids of the queues that routing finds.
    pub(super) fn routed(route: impl FnOnce(&mut Routes) -> bool) -> Vec<u64> {
        let mut routes = Routes::default();
        let found = route(&mut routes);
        routes.finish();
        assert_eq!(found, !routes.queues.is_empty());
        routes.queues.iter().map(|id| id.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchange_types_are_known_by_their_names() {
        for kind in ExchangeKind::ALL {
            assert_eq!(ExchangeKind::parse(kind.as_str()), Ok(*kind));
        }
        for name in ["", "Direct", "x-foo", "X-Random"] {
            let text = format!("unknown exchange type '{name}'");
            assert_eq!(ExchangeKind::parse(name).unwrap_err().to_string(), text);
        }
    }
}
