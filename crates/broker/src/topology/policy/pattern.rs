//! The pattern of a policy, compiled.

use fancy_regex::{Regex, RegexBuilder};

use super::ValidationError;

/// Steps that a pattern with look-around or back-references may take on a name. Such patterns are the only ones whose
/// time is not bound by the length of the name.
const STEPS_MAX: usize = 10_000;

/// A regular expression; it need not match the whole name.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn compile(pattern: &str) -> Result<Self, ValidationError> {
        let compiled = RegexBuilder::new(pattern).backtrack_limit(STEPS_MAX).build();
        compiled.map(Self).map_err(|error| ValidationError::Pattern { reason: error.to_string() })
    }

    /// Whether it matches somewhere in the name. A name that takes too many steps counts as not matching.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name).unwrap_or(false)
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
