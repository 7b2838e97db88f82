//! The pattern of a policy, compiled.

use fancy_regex::Regex;

use super::ValidationError;
use crate::regex;

/// Octets that a compiled pattern may take.
const COMPILED_MAX: usize = 10 << 20;

/// A regular expression; it need not match the whole name.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn compile(pattern: &str) -> Result<Self, ValidationError> {
        regex::compile(pattern, COMPILED_MAX).map(Self).map_err(|reason| ValidationError::Pattern { reason })
    }

    /// Whether it matches somewhere in the name. A name that takes too many steps counts as not matching.
    pub(super) fn matches(&self, name: &str) -> bool {
        regex::matches(&self.0, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_somewhere_in_a_name() {
        for (pattern, name, expected) in [
            ("q", "a.queue", true),
            ("^q", "a.queue", false),
            ("", "anything", true),
            (".*", "", true),
            ("^(?!amq\\.).*", "orders", true),
            ("^(?!amq\\.).*", "amq.gen-x", false),
            ("(?<=a)b", "ab", true),
            ("^ha\\.", "ha.x", true),
            ("^ha\\.", "hax", false),
            ("(?i)^HA", "ha.x", true),
            ("ü", "grün", true),
        ] {
            assert_eq!(Pattern::compile(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["(q", "[", "*", "\\"] {
            let error = Pattern::compile(pattern).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("pattern should be regular expression but is invalid: "), "{pattern}: {text}");
        }
    }

    #[test]
    fn a_pattern_that_would_take_for_ever_matches_nothing() {
        let pattern = Pattern::compile("^(?=(a+)+$)(a+)+b\\1").unwrap();
        assert!(!pattern.matches(&"a".repeat(200)));
    }
}
