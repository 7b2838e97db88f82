//! How far back somebody wants to look, and how closely.

/// What kind of numbers is looked at: each has its own age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// How many messages there are.
    Lengths,
    /// What happens to messages.
    Messages,
    /// Octets that go through connections.
    Octets,
    /// What the node needs.
    Node,
}

/// Samples that somebody may ask for at once.
const SAMPLES_MAX: u64 = 1_000;

/// A look back: so many seconds, with samples so many apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Age {
    pub(super) age_s: u64,
    pub(super) increment_s: u64,
}

/// How far back each kind of numbers is wanted; none is not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ages {
    lengths: Option<Age>,
    messages: Option<Age>,
    octets: Option<Age>,
    node: Option<Age>,
}

/// A look back that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid range parameters: age {age}, incr {increment}")]
pub(crate) struct InvalidAge {
    age: i64,
    increment: i64,
}

impl Ages {
    /// Reads it out of a query, which gives values by names such as `lengths_age` and `lengths_incr`.
    pub(crate) fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, InvalidAge> {
        let read = |name: &str| {
            let number = |what: &str| get(&format!("{name}_{what}")).and_then(|text| text.parse::<i64>().ok());
            let (Some(age), Some(increment)) = (number("age"), number("incr")) else { return Ok(None) };
            let invalid = || InvalidAge { age, increment };
            let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
            let (age_s, increment_s) = positive(age).zip(positive(increment)).ok_or_else(invalid)?;
            if age_s / increment_s > SAMPLES_MAX {
                return Err(invalid());
            }
            Ok(Some(Age { age_s, increment_s }))
        };
        Ok(Self {
            lengths: read("lengths")?,
            messages: read("msg_rates")?,
            octets: read("data_rates")?,
            node: read("node_stats")?,
        })
    }

    pub(super) const fn of(&self, kind: Kind) -> Option<Age> {
        match kind {
            Kind::Lengths => self.lengths,
            Kind::Messages => self.messages,
            Kind::Octets => self.octets,
            Kind::Node => self.node,
        }
    }

    /// Whether anybody wants to look back.
    pub(super) const fn is_some(&self) -> bool {
        self.lengths.is_some() || self.messages.is_some() || self.octets.is_some() || self.node.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_or_refused() {
        let look = |age_s, increment_s| Ok(Some(Age { age_s, increment_s }));
        for (age, increment, expected) in [
            (None, None, Ok(None)),
            (Some("60"), None, Ok(None)),
            (Some("60"), Some("x"), Ok(None)),
            (Some("60"), Some("5"), look(60, 5)),
            (Some("86400"), Some("1800"), look(86_400, 1_800)),
            (Some("0"), Some("0"), Err("Invalid range parameters: age 0, incr 0")),
            (Some("60"), Some("-5"), Err("Invalid range parameters: age 60, incr -5")),
            (Some("99999999"), Some("1"), Err("Invalid range parameters: age 99999999, incr 1")),
        ] {
            let read = Ages::read(|name| match name {
                "lengths_age" => age,
                "lengths_incr" => increment,
                _ => None,
            });
            let read = read.map(|ages| ages.of(Kind::Lengths)).map_err(|error| error.to_string());
            assert_eq!(read, expected.map_err(str::to_owned), "{age:?} {increment:?}");
        }
    }
}
