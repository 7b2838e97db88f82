//! The headers exchange: a message goes where the arguments of a binding match its headers.

use std::cell::OnceCell;

use super::targets::Targets;
use crate::error::Error;
use crate::hash::Map;
use crate::topology::{Binding, Routes};
use crate::value::{Table, Term, Value};

/// The argument that says how many of the others must match.
const MATCH_ARGUMENT: &str = "x-match";

/// The headers of a message, parsed when the first headers exchange asks.
pub(crate) struct Headers<'a> {
    parse: &'a dyn Fn() -> Table,
    parsed: OnceCell<Table>,
}

impl<'a> Headers<'a> {
    pub(crate) const fn new(parse: &'a dyn Fn() -> Table) -> Self {
        Self { parse, parsed: OnceCell::new() }
    }

    /// In the order of their names, so that looking for many among many costs no more than sorting them.
    pub(crate) fn table(&self) -> &Table {
        self.parsed.get_or_init(|| {
            let mut headers = (self.parse)();
            headers.sort();
            headers
        })
    }
}

/// How many of a binding's arguments must match, and whether those that start with `x-` count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    All,
    Any,
    AllWithX,
    AnyWithX,
}

impl Match {
    /// `all` is the default; binding refuses anything that is not one of the four.
    fn of(arguments: &Table) -> Result<Self, Error> {
        match arguments.get(MATCH_ARGUMENT) {
            None => Ok(Self::All),
            Some(value @ Value::LongStr(text)) => match &**text {
                b"all" => Ok(Self::All),
                b"any" => Ok(Self::Any),
                b"all-with-x" => Ok(Self::AllWithX),
                b"any-with-x" => Ok(Self::AnyWithX),
                _ => Err(Error::InvalidMatchValue { value: Term(value).to_string() }),
            },
            Some(value) => {
                Err(Error::InvalidMatchType { type_name: value.type_name(), value: Term(value).to_string() })
            }
        }
    }

    /// The headers are in the order of their names.
    fn matches(self, arguments: &Table, headers: &Table) -> bool {
        let mut wanted = arguments.iter().filter(|(name, _)| self.counts(name));
        let mut satisfied = |(name, value): &(crate::Name, Value)| {
            headers.find(name).is_some_and(|header| matches!(value, Value::Void) || header.equivalent(value))
        };
        match self {
            Self::All | Self::AllWithX => wanted.all(&mut satisfied),
            Self::Any | Self::AnyWithX => wanted.any(&mut satisfied),
        }
    }

    fn counts(self, name: &str) -> bool {
        match self {
            Self::All | Self::Any => !name.starts_with("x-"),
            Self::AllWithX | Self::AnyWithX => name != MATCH_ARGUMENT,
        }
    }
}

/// Refuses binding arguments that say nothing a headers exchange understands.
pub(super) fn check_binding(arguments: &Table) -> Result<(), Error> {
    Match::of(arguments).map(|_| ())
}

/// The bindings of a headers exchange by their arguments: bindings that want the same are matched once.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadersIndex {
    patterns: Map<Table, Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    how: Match,
    targets: Targets,
}

impl HeadersIndex {
    pub(super) fn insert(&mut self, binding: &Binding) {
        // The check at binding time leaves nothing that does not parse; an old stored binding means `all`.
        let how = Match::of(binding.arguments()).unwrap_or(Match::All);
        self.patterns
            .entry(binding.arguments().clone())
            .or_insert_with(|| Pattern { how, targets: Targets::default() })
            .targets
            .insert(binding.target());
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let Some(pattern) = self.patterns.get_mut(binding.arguments()) else { return };
        pattern.targets.remove(binding.target());
        if pattern.targets.is_empty() {
            self.patterns.remove(binding.arguments());
        }
    }

    pub(super) fn route(&self, headers: &Headers<'_>, routes: &mut Routes) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        routes.cacheable = false;
        let headers = headers.table();
        let mut found = false;
        for (arguments, pattern) in &self.patterns {
            if pattern.how.matches(arguments, headers) {
                found |= pattern.targets.collect(routes);
            }
        }
        found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::testing::{binding, routed};

    type Values<'a> = &'a [(&'a str, Value)];

    fn table(values: Values<'_>) -> Table {
        values.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    fn with_match(how: &str, values: Values<'_>) -> Table {
        let mut arguments = table(values);
        arguments.push("x-match".into(), Value::text(how));
        arguments
    }

    fn is_routed(arguments: Table, headers: &Table) -> bool {
        let mut index = HeadersIndex::default();
        index.insert(&binding(1, "", arguments));
        !routed(|routes| index.route(&Headers::new(&|| headers.clone()), routes)).is_empty()
    }

    #[test]
    fn match_mode_decides_how_many_arguments_must_be_there() {
        let one = ("a", Value::I32(1));
        let two = ("b", Value::text("t"));
        let other = ("b", Value::text("u"));
        let extended = ("x-a", Value::I32(1));
        let cases: &[(&str, Values<'_>, Values<'_>, bool)] = &[
            ("all", &[one.clone(), two.clone()], &[two.clone(), one.clone()], true),
            ("all", &[one.clone(), two.clone()], std::slice::from_ref(&one), false),
            ("all", &[one.clone(), two.clone()], &[one.clone(), other.clone()], false),
            ("any", &[one.clone(), two.clone()], &[one.clone(), other.clone()], true),
            ("any", &[one.clone(), two.clone()], std::slice::from_ref(&other), false),
            ("all", &[], std::slice::from_ref(&one), true),
            ("any", &[], std::slice::from_ref(&one), false),
            ("all", std::slice::from_ref(&extended), &[], true),
            ("any", std::slice::from_ref(&extended), std::slice::from_ref(&extended), false),
            ("all-with-x", std::slice::from_ref(&extended), &[], false),
            ("all-with-x", std::slice::from_ref(&extended), std::slice::from_ref(&extended), true),
            ("any-with-x", &[one.clone(), extended.clone()], std::slice::from_ref(&extended), true),
            ("any-with-x", &[], std::slice::from_ref(&one), false),
        ];
        for (how, arguments, headers, expected) in cases {
            let found = is_routed(with_match(how, arguments), &table(headers));
            assert_eq!(found, *expected, "{how} {arguments:?} {headers:?}");
        }
    }

    #[test]
    fn match_mode_is_all_when_it_is_absent() {
        let arguments = table(&[("a", Value::I32(1)), ("b", Value::I32(2))]);
        assert!(is_routed(arguments.clone(), &arguments));
        assert!(!is_routed(arguments, &table(&[("a", Value::I32(1))])));
    }

    #[test]
    fn values_are_compared_without_their_width() {
        for (wanted, header, expected) in [
            (Value::Void, Value::text("anything"), true),
            (Value::Void, Value::Void, true),
            (Value::I32(1), Value::Void, false),
            (Value::I32(1), Value::I64(1), true),
            (Value::I32(1), Value::U8(1), true),
            (Value::I32(1), Value::F64(1.0), false),
            (Value::F32(1.0), Value::F64(1.0), true),
            (Value::I32(1), Value::text("1"), false),
            (Value::I32(1), Value::Bool(true), false),
            (Value::Bool(true), Value::Bool(true), true),
            (Value::text("a"), Value::Bytes(b"a".as_slice().into()), true),
            (Value::text("a"), Value::text("A"), false),
            (Value::Timestamp(5), Value::I64(5), true),
            (Value::Array(vec![Value::I32(1)]), Value::Array(vec![Value::I32(1)]), true),
        ] {
            let found = is_routed(table(&[("h", wanted.clone())]), &table(&[("h", header.clone())]));
            assert_eq!(found, expected, "{wanted:?} {header:?}");
        }
    }

    #[test]
    fn bad_match_mode_is_refused() {
        for (value, text) in [
            (
                Value::text("foo"),
                "Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x",
            ),
            (Value::I32(1), "Invalid x-match field type signedint (value 1); expected longstr"),
            (Value::Bool(true), "Invalid x-match field type bool (value true); expected longstr"),
        ] {
            assert_eq!(check_binding(&table(&[("x-match", value)])).unwrap_err().to_string(), text);
        }
        for how in ["all", "any", "all-with-x", "any-with-x"] {
            assert_eq!(check_binding(&with_match(how, &[])), Ok(()), "{how}");
        }
    }

    #[test]
    fn headers_are_parsed_once_and_only_for_bindings() {
        let parsed = std::cell::Cell::new(0);
        let parse = || {
            parsed.set(parsed.get() + 1);
            Table::new()
        };
        let headers = Headers::new(&parse);
        let mut index = HeadersIndex::default();
        let mut routes = Routes::default();
        index.route(&headers, &mut routes);
        assert_eq!(parsed.get(), 0);
        index.insert(&binding(1, "", Table::new()));
        index.route(&headers, &mut routes);
        index.route(&headers, &mut routes);
        assert_eq!(parsed.get(), 1);
        assert!(!routes.cacheable);
    }

    #[test]
    fn bindings_with_the_same_arguments_are_kept_apart() {
        let mut index = HeadersIndex::default();
        for (queue, key) in [(1, "k"), (1, "l"), (2, "k")] {
            index.insert(&binding(queue, key, Table::new()));
        }
        let queues = |index: &HeadersIndex| routed(|routes| index.route(&Headers::new(&Table::new), routes));
        assert_eq!(queues(&index), [1, 2]);
        index.remove(&binding(1, "k", Table::new()));
        assert_eq!(queues(&index), [1, 2]);
        index.remove(&binding(1, "l", Table::new()));
        assert_eq!(queues(&index), [2]);
        index.remove(&binding(2, "k", Table::new()));
        assert!(index.is_empty());
    }
}
