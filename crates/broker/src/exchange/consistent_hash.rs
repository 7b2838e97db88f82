//! The consistent hash exchange: each routing key, or each value of a header or property, has one destination. Shares are by
//! weight, which is what the binding key says, and a destination that comes or goes moves its own share only.
//!
//! A destination's score for a message follows from the two of them alone, and the best score wins (rendezvous hashing). So
//! where a message goes does not depend on the order in which bindings were made. The price is a look at every destination,
//! of a few nanoseconds each, and a logarithm for every weight that occurs; routes by routing key are kept, so that only a new
//! key pays it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::digest::Digest;
use crate::error::{Error, InvalidBinding, InvalidExchange};
use crate::hash::Map;
use crate::properties::Property;
use crate::topology::{Binding, Destination, Routes, RoutingInput};
use crate::value::{Table, Term, Value};
use crate::{Name, entropy};

/// The argument that names the header to hash.
pub(super) const HEADER_ARGUMENT: &str = "hash-header";
/// The argument that names the property to hash.
pub(super) const PROPERTY_ARGUMENT: &str = "hash-property";
/// The highest weight.
const WEIGHT_MAX: u16 = 10_000;
/// Binary digits behind the point of a logarithm.
const FRACTION_BITS: u32 = 32;

/// What a message is told apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HashOn {
    RoutingKey,
    Header(Name),
    Property(Property),
}

/// A destination and what its score is made from.
#[derive(Clone, Debug)]
struct Point {
    digest: u64,
    /// The binding whose weight counts.
    binding: Arc<Binding>,
}

/// The destinations of a consistent hash exchange.
#[derive(Clone, Debug)]
pub(super) struct ConsistentHash {
    hash_on: HashOn,
    /// All destinations by their weight: among those of the same weight, comparing scores is enough.
    by_weight: BTreeMap<u16, Vec<Point>>,
    /// The bindings of each destination. The weight of the first one counts.
    bindings: Map<Destination, Vec<Arc<Binding>>>,
}

/// Refuses arguments of an exchange that say no single thing to hash. That they are text has been checked.
pub(super) fn check_arguments(arguments: &Table) -> Result<(), Error> {
    HashOn::of(arguments).map(|_| ()).map_err(|reason| Error::InvalidExchange { reason })
}

/// Refuses a binding key that is no weight.
pub(super) fn check_binding(routing_key: &str) -> Result<(), Error> {
    weight(routing_key).map(|_| ()).map_err(|reason| Error::InvalidBinding { reason })
}

/// The weight that a binding key stands for: an integer as Erlang reads it.
fn weight(routing_key: &str) -> Result<u16, InvalidBinding> {
    let digits = routing_key.strip_prefix(['+', '-']).unwrap_or(routing_key);
    if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        let key = Term(&Value::text(routing_key)).to_string();
        return Err(InvalidBinding::WeightNotInteger(key));
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() || routing_key.starts_with('-') {
        return Err(InvalidBinding::WeightZero);
    }
    match digits.parse() {
        Ok(weight) if weight <= WEIGHT_MAX => Ok(weight),
        // What does not fit the type is above the limit as well.
        _ => Err(InvalidBinding::WeightTooLarge),
    }
}

impl HashOn {
    fn of(arguments: &Table) -> Result<Self, InvalidExchange> {
        match (arguments.get(HEADER_ARGUMENT), arguments.get(PROPERTY_ARGUMENT)) {
            (None, None) => Ok(Self::RoutingKey),
            (Some(header), None) => Ok(Self::Header(header.to_string().into())),
            (None, Some(property)) => match &*property.to_string() {
                "correlation_id" => Ok(Self::Property(Property::CorrelationId)),
                "message_id" => Ok(Self::Property(Property::MessageId)),
                "timestamp" => Ok(Self::Property(Property::Timestamp)),
                other => Err(InvalidExchange::HashProperty(other.into())),
            },
            (Some(_), Some(_)) => Err(InvalidExchange::HashArguments),
        }
    }

    /// All messages without the header or the property are the same.
    fn digest(&self, input: &RoutingInput<'_>) -> u64 {
        let digest = Digest::new();
        let digest = match self {
            // The keys of `CC` and `BCC` do not count.
            Self::RoutingKey => input.routing_keys.first().map(|key| digest.field(key.as_bytes())),
            Self::Header(name) => input.properties.header(input.message, name).map(|value| digest.value(&value)),
            Self::Property(property) => {
                input.properties.property(input.message, *property).map(|octets| digest.field(&octets))
            }
        };
        digest.unwrap_or(Digest::new()).finish()
    }
}

impl ConsistentHash {
    pub(super) fn new(arguments: &Table) -> Self {
        // Arguments that make no sense were refused.
        let hash_on = HashOn::of(arguments).unwrap_or(HashOn::RoutingKey);
        Self { hash_on, by_weight: BTreeMap::new(), bindings: Map::default() }
    }

    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        let bindings = self.bindings.entry(binding.destination().clone()).or_default();
        bindings.push(Arc::clone(binding));
        if bindings.len() == 1 {
            self.add(Arc::clone(binding));
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let Some(bindings) = self.bindings.get_mut(binding.destination()) else { return };
        let Some(index) = bindings.iter().position(|other| **other == *binding) else { return };
        bindings.remove(index);
        if index > 0 {
            return;
        }
        // Of those that are left none came first, as far as anybody still knows after a restart.
        bindings.sort_by(|one, two| one.compare(two));
        let next = bindings.first().cloned();
        if next.is_none() {
            self.bindings.remove(binding.destination());
        }
        self.drop_point(binding);
        if let Some(next) = next {
            self.add(next);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_weight.is_empty()
    }

    /// Whether the weight of this binding counts.
    pub(super) fn counts(&self, binding: &Binding) -> bool {
        self.bindings.get(binding.destination()).and_then(|all| all.first()).is_some_and(|first| **first == *binding)
    }

    pub(super) fn route(&self, input: &RoutingInput<'_>, routes: &mut Routes) -> bool {
        if self.is_empty() {
            return false;
        }
        routes.cacheable &= self.hash_on == HashOn::RoutingKey;
        let Some(chosen) = self.choose(self.hash_on.digest(input)) else { return false };
        routes.add_target(chosen.binding.target());
        true
    }

    /// With scores `s` that are even between 0 and 1, the least of `-log(s) / weight` wins as often as its weight says.
    fn choose(&self, digest: u64) -> Option<&Point> {
        let mut best: Option<(u64, u64, &Point)> = None;
        for (weight, points) in &self.by_weight {
            let scores = points.iter().map(|point| (entropy::mix(point.digest ^ digest), point));
            let Some((score, point)) = scores.max_by_key(|(score, _)| *score) else { continue };
            let (cost, weight) = (cost(score), u64::from(*weight));
            // Neither product reaches 2^52.
            if best.is_none_or(|(least, of_weight, _)| cost * of_weight < least * weight) {
                best = Some((cost, weight, point));
            }
        }
        best.map(|(_, _, point)| point)
    }

    fn add(&mut self, binding: Arc<Binding>) {
        let weight = weight(binding.routing_key()).unwrap_or(1);
        let points = self.by_weight.entry(weight).or_default();
        let point = Point { digest: digest(&binding), binding };
        if let Err(index) = points.binary_search_by(|other| other.compare(&point)) {
            points.insert(index, point);
        }
    }

    fn drop_point(&mut self, binding: &Binding) {
        let weight = weight(binding.routing_key()).unwrap_or(1);
        let Some(points) = self.by_weight.get_mut(&weight) else { return };
        let digest = digest(binding);
        let start = points.partition_point(|point| point.digest < digest);
        let found = points.iter().skip(start).position(|point| *point.binding == *binding);
        if let Some(index) = found {
            points.remove(start + index);
        }
        if points.is_empty() {
            self.by_weight.remove(&weight);
        }
    }
}

impl Point {
    /// An order that follows from the points.
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        self.digest.cmp(&other.digest).then_with(|| self.binding.compare(&other.binding))
    }
}

fn digest(binding: &Binding) -> u64 {
    let (kind, name) = match binding.destination() {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    };
    Digest::new().field(kind.as_bytes()).field(name.as_bytes()).finish()
}

/// The negated binary logarithm of a score, which stands for a number above 0 and below 1, in units of 2^-32. Integers alone,
/// so that no two machines disagree on it.
fn cost(score: u64) -> u64 {
    let score = score | 1;
    let zeros = score.leading_zeros();
    // Between 1 and 2, in units of 2^-63. Squaring doubles the logarithm; each time that brings a digit before the point.
    let mut number = score << zeros;
    let mut fraction = 0_u64;
    for _ in 0..FRACTION_BITS {
        let square = (u128::from(number) * u128::from(number)) >> 63;
        let digit = u32::from(square >> 64 != 0);
        #[expect(clippy::cast_possible_truncation, reason = "it is below 2 again, or below 2^64")]
        {
            number = (square >> digit) as u64;
        }
        fraction = fraction << 1 | u64::from(digit);
    }
    (u64::from(zeros + 1) << FRACTION_BITS) - fraction
}

#[cfg(test)]
mod tests;
