//! Families of metrics: one name, and a number for each thing that has it.

/// What the numbers of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// They only grow, but for a new start.
    Counter,
    /// They go up and down.
    Gauge,
    /// RabbitMQ does not say.
    Untyped,
    /// Numbers of how values are spread.
    Histogram,
}

impl Kind {
    /// What Prometheus calls it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Untyped => "untyped",
            Self::Histogram => "histogram",
        }
    }
}

/// A family of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family {
    /// Its name, without what comes before the names of all.
    pub(super) name: &'static str,
    /// What its numbers are.
    pub(super) kind: Kind,
    /// What it tells people.
    pub(super) help: &'static str,
}

impl Family {
    /// A family of numbers that grow.
    pub(super) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, help }
    }

    /// A family of numbers that go up and down.
    pub(super) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, help }
    }

    /// A family of numbers of which RabbitMQ does not say what they are.
    pub(super) const fn untyped(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Untyped, help }
    }

    /// A family of numbers of how values are spread.
    pub(super) const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, help }
    }
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// A whole one.
    Whole(u64),
    /// Another one.
    Real(f64),
    /// One that is not known.
    Unknown,
}

impl Number {
    /// One that may not be known.
    pub(super) const fn maybe(number: Option<u64>) -> Self {
        match number {
            Some(number) => Self::Whole(number),
            None => Self::Unknown,
        }
    }

    /// Both together, which is not known if one of them is not.
    pub(super) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(one), Self::Whole(two)) => Self::Whole(one.saturating_add(two)),
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (one, two) => Self::Real(one.real() + two.real()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
    fn real(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Real(number) => number,
            Self::Unknown => 0.0,
        }
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

/// A family, and the number that something has in it.
#[derive(Debug)]
pub(super) struct Column<T: 'static> {
    /// The family.
    pub(super) family: Family,
    /// The number.
    pub(super) number: fn(&T) -> Number,
}

impl<T> Column<T> {
    /// Numbers that grow.
    pub(super) const fn counter(name: &'static str, help: &'static str, number: fn(&T) -> Number) -> Self {
        Self { family: Family::counter(name, help), number }
    }

    /// Numbers that go up and down.
    pub(super) const fn gauge(name: &'static str, help: &'static str, number: fn(&T) -> Number) -> Self {
        Self { family: Family::gauge(name, help), number }
    }

    /// Numbers of which RabbitMQ does not say what they are.
    pub(super) const fn untyped(name: &'static str, help: &'static str, number: fn(&T) -> Number) -> Self {
        Self { family: Family::untyped(name, help), number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_known_if_all_of_it_is() {
        for (one, two, sum) in [
            (Number::Whole(1), Number::Whole(2), Number::Whole(3)),
            (Number::Whole(1), Number::Unknown, Number::Unknown),
            (Number::Unknown, Number::Unknown, Number::Unknown),
            (Number::Whole(1), Number::Real(0.5), Number::Real(1.5)),
            (Number::Whole(u64::MAX), Number::Whole(1), Number::Whole(u64::MAX)),
        ] {
            assert_eq!(one.plus(two), sum, "{one:?} {two:?}");
        }
    }
}
