//! The patterns of scopes: text with `*` for anything, octets as `%2F`, a space as `+`, and `{claim}` for what a token says.
//!
//! A claim's value stands for itself: it is never read as a pattern, nor does a `/` in it end one. So nobody gets more by the name
//! that he chose. RabbitMQ puts values into scopes as they are.

use leveret_broker::Name;
use memchr::memmem;
use serde_json::{Map, Value};

/// The variable that stands for the vhost that is asked about.
const VHOST: &str = "vhost";

/// A pattern, with the claims of its token filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What has to come one after the other, with anything between one and the next. A pattern without any matches nothing.
    runs: Vec<Run>,
}

/// What stands between two asterisks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Run {
    text: Vec<u8>,
    /// Where in the text the name of the vhost belongs, in order.
    vhost_at: Vec<usize>,
}

/// A pattern names a claim that the token does not have, or its braces do not match: nobody can say what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaningless;

impl Pattern {
    /// Reads a pattern. One with a `%` that is not followed by two hexadecimal digits matches nothing.
    pub(super) fn parse(pattern: &str, claims: &Map<String, Value>) -> Result<Self, Meaningless> {
        let mut runs = Vec::new();
        let mut run = Run::default();
        let mut octets = pattern.bytes();
        let mut is_valid = true;
        while let Some(octet) = octets.next() {
            match octet {
                b'*' => runs.push(std::mem::take(&mut run)),
                b'+' => run.text.push(b' '),
                b'%' => match (octets.next().and_then(digit), octets.next().and_then(digit)) {
                    (Some(high), Some(low)) => run.text.push(high << 4 | low),
                    (_, None) | (None, _) => is_valid = false,
                },
                b'{' => {
                    let name: Vec<u8> = octets.by_ref().take_while(|octet| *octet != b'}').collect();
                    // Without a brace that ends it, the name has everything to the end.
                    if octets.len() == 0 && !pattern.ends_with('}') {
                        return Err(Meaningless);
                    }
                    run.fill_in(&name, claims)?;
                }
                other => run.text.push(other),
            }
        }
        runs.push(run);
        Ok(if is_valid { Self { runs } } else { Self { runs: Vec::new() } })
    }

    /// Whether it matches all of something in that vhost. It takes time in proportion to both, whatever they are.
    pub(super) fn matches(&self, subject: &Name, vhost: &Name) -> bool {
        let Some((first, others)) = self.runs.split_first() else { return false };
        let Some(mut rest) = first.strip_from_start(subject.as_bytes(), vhost) else { return false };
        let Some((last, middle)) = others.split_last() else { return rest.is_empty() };
        for run in middle {
            let Some(behind) = run.skip_to_end(rest, vhost) else { return false };
            rest = behind;
        }
        last.ends(rest, vhost)
    }
}

impl Run {
    fn fill_in(&mut self, name: &[u8], claims: &Map<String, Value>) -> Result<(), Meaningless> {
        if name == VHOST.as_bytes() {
            self.vhost_at.push(self.text.len());
            return Ok(());
        }
        let claim = std::str::from_utf8(name).ok().and_then(|name| claims.get(name)).and_then(Value::as_str);
        self.text.extend_from_slice(claim.ok_or(Meaningless)?.as_bytes());
        Ok(())
    }

    fn strip_from_start<'a>(&self, subject: &'a [u8], vhost: &Name) -> Option<&'a [u8]> {
        self.with_text(vhost, |text| subject.strip_prefix(text))
    }

    fn skip_to_end<'a>(&self, subject: &'a [u8], vhost: &Name) -> Option<&'a [u8]> {
        self.with_text(vhost, |text| subject.get(memmem::find(subject, text)? + text.len()..))
    }

    fn ends(&self, subject: &[u8], vhost: &Name) -> bool {
        self.with_text(vhost, |text| subject.ends_with(text))
    }

    fn with_text<T>(&self, vhost: &Name, then: impl FnOnce(&[u8]) -> T) -> T {
        if self.vhost_at.is_empty() {
            return then(&self.text);
        }
        let mut text = Vec::with_capacity(self.text.len() + self.vhost_at.len() * vhost.len());
        let mut taken = 0;
        for at in &self.vhost_at {
            text.extend_from_slice(self.text.get(taken..*at).unwrap_or_default());
            text.extend_from_slice(vhost.as_bytes());
            taken = *at;
        }
        text.extend_from_slice(self.text.get(taken..).unwrap_or_default());
        then(&text)
    }
}

fn digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(pattern: &str, subject: &str) -> bool {
        Pattern::parse(pattern, &Map::new()).unwrap().matches(&subject.into(), &"/".into())
    }

    #[test]
    fn text_matches_itself_only() {
        for (pattern, subject, expected) in [
            ("foo", "foo", true),
            ("fo", "foo", false),
            ("fooo", "foo", false),
            ("", "", true),
            ("", "foo", false),
            ("CaseSensitive", "casesensitive", false),
            ("pattern with  spaces", "pattern with  spaces", true),
            ("pattern+with++plus++spaces", "pattern with  plus  spaces", true),
            ("string%20with%20%2F%20special%20%25%20characters", "string with / special % characters", true),
            ("case+with+%2a+special+%2f+characters", "case with * special / characters", true),
            ("wildcard+%2a+is+not+matched", "wildcard * is not matched", true),
            ("wildcard+%2a+is+not+matched", "wildcard anything is not matched", false),
            ("%D1%8E", "ю", true),
            ("}", "}", true),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn an_asterisk_matches_anything() {
        for (pattern, subject, expected) in [
            ("*", "foo", true),
            ("*", "", true),
            ("*", "a*/b", true),
            ("*oo", "foo", true),
            ("*foo", "foo", true),
            ("*r", "foo", false),
            ("*foobar", "foo", false),
            ("fo*", "foo", true),
            ("foo*", "foo", true),
            ("b*", "foo", false),
            ("barfoo*", "foo", false),
            ("line+%2a*", "line * with * special", true),
            ("*special+%2A+characters", "line * with * special * characters", true),
            ("*str*ing*", "string", true),
            ("*str*ing*", "str*ing", true),
            ("some*string", "some long string", true),
            ("some*long*string", "some long string", true),
            ("*+*+*", "some long string", true),
            ("*+*+*", "some string", false),
            ("some*other*string", "some long string", false),
            ("s*e*str*", "some long string", true),
            ("s*z*str*", "some long string", false),
            ("*some*string*", "string", false),
            ("wildcard * is matched", "wildcard * and anything else is matched", true),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    /// RabbitMQ takes the first place that a part fits, so it misses these; its documentation says that they match.
    #[test]
    fn the_last_part_is_looked_for_at_the_end() {
        for (pattern, subject, expected) in [
            ("*oo", "fooo", true),
            ("*rout", "routrout", true),
            ("a*a", "aaa", true),
            ("a*a", "a", false),
            ("ab*bc", "abc", false),
            ("foo**", "foo", true),
            ("*a*a*", "a", false),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn octets_that_are_no_octets_match_nothing() {
        for (pattern, subject) in
            [("100% sure", "100% sure"), ("%", "%"), ("%2", "%2"), ("%zz*", "%zz"), ("%2G", "%2G"), ("%é0", "%é0")]
        {
            assert!(!matches(pattern, subject), "{pattern}");
        }
    }

    #[test]
    fn claims_stand_for_themselves() {
        let Value::Object(claims) = json!({"sub": "bob", "star": "*", "odd": "a/b%2F+", "list": ["x"], "vhost": "no"})
        else {
            panic!();
        };
        for (pattern, subject, expected) in [
            ("{sub}", "bob", Ok(true)),
            ("u-{sub}-*", "u-bob-1", Ok(true)),
            ("u-{sub}-*", "u-eve-1", Ok(false)),
            ("*{sub}*", "xbobx", Ok(true)),
            ("{star}", "anything", Ok(false)),
            ("{star}", "*", Ok(true)),
            ("{odd}", "a/b%2F+", Ok(true)),
            ("{vhost}", "my/vhost", Ok(true)),
            ("x-{vhost}-{vhost}*{sub}", "x-my/vhost-my/vhost!bob", Ok(true)),
            ("{vhost}", "no", Ok(false)),
            ("*{vhost}", "in my/vhost", Ok(true)),
            ("{missing}", "missing", Err(Meaningless)),
            ("{list}", "x", Err(Meaningless)),
            ("{}", "", Err(Meaningless)),
            ("{sub", "bob", Err(Meaningless)),
            ("a{", "a", Err(Meaningless)),
            ("{a}{sub", "bob", Err(Meaningless)),
            ("%7Bsub}", "{sub}", Ok(true)),
        ] {
            let parsed = Pattern::parse(pattern, &claims);
            let result = parsed.map(|pattern| pattern.matches(&subject.into(), &"my/vhost".into()));
            assert_eq!(result, expected, "{pattern} {subject}");
        }
    }

    #[test]
    fn many_asterisks_take_no_longer_than_a_few() {
        let pattern = Pattern::parse(&"*a".repeat(10_000), &Map::new()).unwrap();
        let subject: Name = "a".repeat(9_999).into();
        assert!(!pattern.matches(&subject, &"/".into()));
    }
}
