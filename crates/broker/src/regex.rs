//! Regular expressions that others give us: none may take for ever, or as much memory as it likes.

use fancy_regex::{Regex, RegexBuilder};

/// Steps that a pattern with look-around or back-references may take on a name. Such patterns are the only ones whose time is
/// not bound by the length of the name.
const STEPS_MAX: usize = 10_000;
/// Octets that a compiled pattern may add to itself by being used.
const CACHE_MAX: usize = 256 * 1024;

/// Octets that a compiled [`Pattern`] may take.
const COMPILED_MAX: usize = 1024 * 1024;

/// A pattern that somebody looks for names with.
#[derive(Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles one; or says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        compile(pattern, COMPILED_MAX).map(Self)
    }

    /// Compiles one that takes upper and lower case for the same; or says what is wrong with it.
    pub fn ignoring_case(pattern: &str) -> Result<Self, String> {
        compile(&format!("(?i:{pattern})"), COMPILED_MAX).map(Self)
    }

    /// Whether it matches somewhere in a name.
    pub fn matches(&self, name: &str) -> bool {
        matches(&self.0, name)
    }
}

/// Compiles a pattern, which may take so many octets; or says what is wrong with it.
pub(crate) fn compile(pattern: &str, octets_max: usize) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(pattern);
    builder.backtrack_limit(STEPS_MAX).delegate_size_limit(octets_max).delegate_dfa_size_limit(CACHE_MAX);
    builder.build().map_err(|error| error.to_string())
}

/// Whether it matches somewhere in a name. A name that takes too many steps counts as not matching.
pub(crate) fn matches(regex: &Regex, name: &str) -> bool {
    regex.is_match(name).unwrap_or(false)
}
