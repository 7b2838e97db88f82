//! The regular expressions of permissions.

use std::sync::OnceLock;

use fancy_regex::Regex;

use crate::{Name, regex};

/// Octets that a compiled pattern may take.
const COMPILED_MAX: usize = 1 << 20;
/// Octets of a pattern: more could not be kept whole.
const TEXT_MAX: usize = u16::MAX as usize;
/// Characters that mean something to regular expressions. Patterns without them stand for themselves.
const SPECIAL: &[char] = &['\\', '.', '^', '$', '|', '?', '*', '+', '(', ')', '[', ']', '{', '}'];

/// A pattern that names, or keys, are held against. It need not match the whole of them. An empty one matches empty names only.
///
/// A broker may have many and use few at a time, so one is compiled when it is used first.
#[derive(Debug)]
pub struct Pattern {
    text: Name,
    compiled: OnceLock<Compiled>,
}

#[derive(Debug)]
enum Compiled {
    /// Everything matches.
    All,
    /// Nothing matches but what is empty.
    Empty,
    /// Matches what begins with this.
    Prefix(Box<str>),
    /// Matches this.
    Exact(Box<str>),
    Regex(Box<Regex>),
    /// It compiled when it was set; with the variables' values in it, it does not.
    Never,
}

/// Why something is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression '{pattern}': {reason}")]
pub struct PatternError {
    /// What was to be one.
    pub pattern: Name,
    /// What is wrong with it.
    pub reason: String,
}

/// What stands for a variable in a pattern: its name, and its value.
pub type Variable<'a> = (&'a str, &'a str);

impl Pattern {
    /// Takes a text for a pattern, if it is one.
    pub fn new(text: Name) -> Result<Self, PatternError> {
        if text.len() > TEXT_MAX {
            let reason = format!("it has more than {TEXT_MAX} bytes");
            return Err(PatternError { pattern: text, reason });
        }
        if let Err(reason) = compile(&text) {
            return Err(PatternError { pattern: text, reason });
        }
        Ok(Self { text, compiled: OnceLock::new() })
    }

    /// A text that was a pattern when it was kept. If it is none any more, nothing matches.
    pub(crate) const fn kept(text: Name) -> Self {
        Self { text, compiled: OnceLock::new() }
    }

    /// What everything matches.
    pub fn all() -> Self {
        Self { text: ".*".into(), compiled: OnceLock::from(Compiled::All) }
    }

    /// As it was given.
    pub const fn text(&self) -> &Name {
        &self.text
    }

    /// Whether it matches somewhere in a name. What takes too many steps counts as not matching. The variables' values stand for
    /// themselves, whatever is in them; they must be the same in every call.
    pub fn matches(&self, name: &str, variables: &[Variable<'_>]) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&expand(&self.text, variables)).unwrap_or(Compiled::Never));
        match compiled {
            Compiled::All => true,
            Compiled::Empty => name.is_empty(),
            Compiled::Prefix(prefix) => name.starts_with(&**prefix),
            Compiled::Exact(exact) => name == &**exact,
            Compiled::Regex(regex) => regex::matches(regex, name),
            Compiled::Never => false,
        }
    }
}

/// A copy may become somebody else's, whose name is another one: it is compiled anew.
impl Clone for Pattern {
    fn clone(&self) -> Self {
        Self::kept(Name::clone(&self.text))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

/// Puts the variables' values in the place of `{name}`. They are escaped, so that no name of a user becomes a pattern.
fn expand(text: &str, variables: &[Variable<'_>]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        expanded.push_str(before);
        let variable = variables.iter().find_map(|(name, value)| {
            let after = from.strip_prefix('{')?.strip_prefix(name)?.strip_prefix('}')?;
            Some((value, after))
        });
        if let Some((value, after)) = variable {
            expanded.push_str(&fancy_regex::escape(value));
            rest = after;
        } else {
            expanded.push('{');
            rest = from.strip_prefix('{').unwrap_or_default();
        }
    }
    expanded.push_str(rest);
    expanded
}

fn compile(pattern: &str) -> Result<Compiled, String> {
    match pattern {
        "" | "^$" => return Ok(Compiled::Empty),
        ".*" | "^.*" | ".*$" | "^.*$" => return Ok(Compiled::All),
        _ => {}
    }
    if let Some(rest) = pattern.strip_prefix('^') {
        let (literal, is_exact) = match rest.strip_suffix('$') {
            Some(literal) => (literal, true),
            None => (rest.strip_suffix(".*").unwrap_or(rest), false),
        };
        let plain = literal.replace("\\.", "").replace("\\-", "");
        if !plain.contains(SPECIAL) {
            let literal = literal.replace("\\.", ".").replace("\\-", "-").into();
            return Ok(if is_exact { Compiled::Exact(literal) } else { Compiled::Prefix(literal) });
        }
    }
    regex::compile(pattern, COMPILED_MAX).map(|regex| Compiled::Regex(Box::new(regex)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIABLES: [Variable<'_>; 2] = [("username", "a.b"), ("vhost", "/")];

    #[test]
    fn patterns_match_somewhere_in_a_name() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "q", false),
            ("^$", "", true),
            ("^$", "q", false),
            (".*", "", true),
            (".*", "anything", true),
            ("q", "a.queue", true),
            ("^q", "a.queue", false),
            ("^q", "queue", true),
            ("^q$", "queue", false),
            ("^q$", "q", true),
            ("^a\\.b\\-c.*", "a.b-c.d", true),
            ("^a\\.b\\-c.*", "axb-c.d", false),
            ("^a.b", "axb", true),
            ("^a\\.b$", "a.b", true),
            ("^a\\.b$", "axb", false),
            ("^(amq\\.gen.*|amq\\.default)$", "amq.gen-x", true),
            ("^(amq\\.gen.*|amq\\.default)$", "amq.direct", false),
            ("^a|b$", "cb", true),
            ("^(?!amq\\.).*", "orders", true),
            ("^(?!amq\\.).*", "amq.gen-x", false),
            ("(?<=a)b", "ab", true),
            ("(?i)^HA", "ha.x", true),
            ("^Q", "q", false),
            ("ü", "grün", true),
            ("[[:alpha:]]", "1a", true),
            ("a\\z", "ba", true),
            ("^{username}$", "a.b", true),
            ("^{username}$", "axb", false),
            ("^{username}-{vhost}-.*", "a.b-/-q", true),
            ("{username}", "x a.b x", true),
            ("a{2}", "aa", true),
            ("a{2}", "a", false),
        ] {
            let compiled = Pattern::new(pattern.into()).unwrap();
            assert_eq!(compiled.matches(name, &VARIABLES), expected, "{pattern} {name}");
            assert_eq!(compiled.matches(name, &VARIABLES), expected, "{pattern} {name} again");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["(q", "[", "*", "\\", "((a{100}){100}){100}"] {
            let error = Pattern::new(pattern.into()).unwrap_err();
            assert!(error.to_string().starts_with("invalid regular expression '"), "{pattern}: {error}");
        }
    }

    #[test]
    fn what_is_too_long_to_be_kept_is_refused() {
        assert!(Pattern::new(format!("^{}", "a".repeat(TEXT_MAX - 1)).as_str().into()).is_ok());
        let error = Pattern::new(format!("^{}", "a".repeat(TEXT_MAX)).as_str().into()).unwrap_err();
        assert_eq!(error.reason, "it has more than 65535 bytes");
    }

    #[test]
    fn what_was_kept_and_is_no_pattern_any_more_matches_nothing() {
        let pattern = Pattern::kept("(q".into());
        assert!(!pattern.matches("(q", &[]) && !pattern.matches("", &[]));
        assert!(Pattern::kept("^q".into()).matches("queue", &[]));
    }

    #[test]
    fn a_name_does_not_become_a_pattern() {
        let pattern = Pattern::new("^{username}$".into()).unwrap();
        assert!(!pattern.matches("anything", &[("username", ".*")]));
        let pattern = Pattern::new("^{username}$".into()).unwrap();
        assert!(pattern.matches("(", &[("username", "(")]));
    }

    #[test]
    fn a_copy_is_nobodys_yet() {
        let of_ann = Pattern::new("^{username}$".into()).unwrap();
        assert!(of_ann.matches("ann", &[("username", "ann")]));
        let of_bob = of_ann.clone();
        assert!(of_bob.matches("bob", &[("username", "bob")]) && !of_bob.matches("ann", &[("username", "bob")]));
    }

    #[test]
    fn a_pattern_that_would_take_for_ever_matches_nothing() {
        let pattern = Pattern::new("^(?=(a+)+$)(a+)+b\\1".into()).unwrap();
        assert!(!pattern.matches(&"a".repeat(200), &[]));
    }
}
