//! Fields that are meant to differ, wherever they come.
//!
//! ```text
//! field GET /api/queues* - *.backing_queue_status
//! field GET /api/queues* + *.delivery_limit
//! because a queue here is no list of stages
//! field * /api/* ~ error : "not_authorised" -> "not_authorized"
//! because that is how RabbitMQ 4 spells it
//! ```
//!
//! `-` is what RabbitMQ's answer has and the one here has not, `+` the other way round, `~` what has another type or
//! value; behind a colon stands which ones. `*` stands for anything. A reason is for all the fields before it.

use crate::diff::{Difference, Kind};
use crate::script::Request;

/// Fields of some requests' answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// As it stands in the file.
    pub(crate) line: String,
    pub(crate) because: String,
    request: String,
    kind: Kind,
    path: String,
    /// What RabbitMQ answers and what is answered here, if it has to be that.
    values: Option<(String, String)>,
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("field ")?.splitn(4, ' ');
        let request = format!("{} {}", words.next()?, words.next()?);
        let kind = Kind::of_sign(words.next()?)?;
        let rest = words.next()?;
        let (path, values) = match rest.split_once(" : ") {
            Some((path, values)) => (path, Some(values.split_once(" -> ")?)),
            None => (rest, None),
        };
        let values = values.map(|(expected, got)| (expected.to_owned(), got.to_owned()));
        Some(Self { line: line.to_owned(), because: String::new(), request, kind, path: path.to_owned(), values })
    }

    /// Whether it is about this difference of this request's answer.
    pub(crate) fn allows(&self, request: &Request, difference: &Difference) -> bool {
        self.kind == difference.kind
            && matches(&self.path, &difference.path)
            && self
                .values
                .as_ref()
                .is_none_or(|(expected, got)| matches(expected, &difference.expected) && matches(got, &difference.got))
            && matches(&self.request, &format!("{} {}", request.method, request.path))
    }
}

/// Takes the rules out of a file of differences; what is left are entries.
pub(crate) fn take(text: &str) -> Result<(Vec<Rule>, String), String> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut rest = String::new();
    let mut in_rules = false;
    for line in text.lines() {
        if line.starts_with("field ") {
            rules.push(Rule::parse(line).ok_or_else(|| format!("no rule: {line}"))?);
            in_rules = true;
        } else if let Some(reason) = line.strip_prefix("because ").filter(|_| in_rules) {
            rules
                .iter_mut()
                .filter(|rule| rule.because.is_empty())
                .for_each(|rule| reason.clone_into(&mut rule.because));
        } else {
            in_rules = in_rules && (line.is_empty() || line.starts_with('#'));
            rest = rest + line + "\n";
        }
    }
    match rules.iter().find(|rule| rule.because.is_empty()) {
        Some(rule) => Err(format!("no reason: {}", rule.line)),
        None => Ok((rules, rest)),
    }
}

/// Whether a text has the form of a pattern, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn a_star_stands_for_anything() {
    for (pattern, text, fits) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*.b", "*.b", true),
        ("*.b", "x.y.b", true),
        ("*a*c", "xaybc", true),
        ("*a*c", "xcyba", false),
        ("GET /api/queues*", "GET /api/queues/%2F", true),
        ("a*a", "a", false),
    ] {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
}

#[test]
fn a_reason_is_for_all_rules_before_it() {
    let text = "field GET /a* - x\nfield PUT /b ~ y z\nbecause c\n> guest GET /x\nbecause d\n< 200\n";
    let (rules, rest) = take(text).unwrap();
    assert_eq!(rest, "> guest GET /x\nbecause d\n< 200\n");
    let read: Vec<(&str, &str)> = rules.iter().map(|rule| (rule.path.as_str(), rule.because.as_str())).collect();
    assert_eq!(read, [("x", "c"), ("y z", "c")]);
    let (rules, _) = take("field * /a ~ x : \"b*\" -> 5\nbecause c\n").unwrap();
    assert_eq!(rules[0].values, Some(("\"b*\"".to_owned(), "5".to_owned())));
    assert!(take("field GET /a - x\n").is_err());
    assert!(take("field GET /a x\n").is_err());
}
