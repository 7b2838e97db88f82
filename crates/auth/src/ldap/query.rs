//! RabbitMQ's language of queries, read from Erlang terms.

use fancy_regex::{Regex, RegexBuilder};
use leveret_broker::Name;

use super::template::Template;
use super::term::{Term, TermError, TermKind};

/// Steps that a pattern with look-around or back-references may take on a text. Such patterns are the only ones whose time
/// is not bound by the length of the text.
const STEPS_MAX: usize = 10_000;

/// The attribute that has the members of a group, unless a query names another one.
const MEMBER: &str = "member";

/// What is true or not.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Constant(bool),
    /// The first one whose variable has this value.
    For(Vec<Case>),
    /// There is an entry.
    Exists(Template),
    /// An entry has the user's DN in an attribute.
    InGroup {
        group: Template,
        attribute: String,
    },
    /// As before, or has the DN of another entry that does, and so on.
    InNestedGroup {
        group: Template,
        attribute: String,
        depth: Depth,
    },
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    Equals(Value, Value),
    Match {
        subject: Value,
        pattern: Pattern,
    },
}

/// One of several conditions.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) variable: String,
    pub(super) value: String,
    pub(super) then: Condition,
}

/// How far below an entry others are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Nowhere: the entry itself.
    Entry,
    /// Right below it.
    OneLevel,
    /// It and everything below.
    Subtree,
}

/// What is text: one, or several.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(Template),
    /// The values of an attribute.
    Attribute {
        entry: Template,
        attribute: String,
    },
}

/// A regular expression, or where one comes from.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    Known(Regex),
    Asked(Value),
}

/// A tag, and who has it.
pub(super) type TagQuery = (Name, Condition);

/// Makes a regular expression of a text.
pub(super) fn compile(pattern: &str) -> Result<Regex, fancy_regex::Error> {
    RegexBuilder::new(pattern).backtrack_limit(STEPS_MAX).build()
}

impl Condition {
    /// Reads a query.
    pub(super) fn parse(text: &str) -> Result<Self, TermError> {
        Self::read(&Term::parse(text)?)
    }

    /// Reads the queries for tags: a list of pairs.
    pub(super) fn parse_tags(text: &str) -> Result<Vec<TagQuery>, TermError> {
        list(&Term::parse(text)?)?.iter().map(tag_query).collect()
    }

    /// Whether this, or what it consists of, looks groups up below some entry.
    pub(super) fn has_nested_groups(&self) -> bool {
        match self {
            Self::InNestedGroup { .. } => true,
            Self::Not(inner) => inner.has_nested_groups(),
            Self::And(all) | Self::Or(all) => all.iter().any(Self::has_nested_groups),
            Self::For(cases) => cases.iter().any(|case| case.then.has_nested_groups()),
            Self::Constant(_) | Self::Exists(_) | Self::InGroup { .. } | Self::Equals(..) | Self::Match { .. } => false,
        }
    }

    fn read(term: &Term) -> Result<Self, TermError> {
        let (name, arguments) = named_tuple(term, "a query, which is a tuple that begins with an atom")?;
        let wrong = |what: String| Err(TermError::new(term.at, what));
        match (name, arguments) {
            ("constant", [value]) => boolean(value).map(Self::Constant),
            ("for", [cases]) => list(cases)?.iter().map(Case::read).collect::<Result<_, _>>().map(Self::For),
            ("exists", [entry]) => template(entry).map(Self::Exists),
            ("in_group", [group]) => Ok(Self::InGroup { group: template(group)?, attribute: MEMBER.into() }),
            ("in_group", [group, of]) => Ok(Self::InGroup { group: template(group)?, attribute: attribute(of)? }),
            ("in_group_nested", [group, more @ ..]) if more.len() <= 2 => Ok(Self::InNestedGroup {
                group: template(group)?,
                attribute: more.first().map_or_else(|| Ok(MEMBER.into()), attribute)?,
                depth: more.get(1).map_or(Ok(Depth::Subtree), depth)?,
            }),
            ("not", [inner]) => Ok(Self::Not(Box::new(Self::read(inner)?))),
            ("and", [all]) => Self::read_all(all).map(Self::And),
            ("or", [all]) => Self::read_all(all).map(Self::Or),
            ("equals", [one, other]) => Ok(Self::Equals(Value::read(one)?, Value::read(other)?)),
            ("match", [subject, pattern]) => {
                Ok(Self::Match { subject: Value::read(subject)?, pattern: Pattern::read(pattern)? })
            }
            ("string" | "attribute", _) => {
                wrong(format!("{name} gives text, where a query that is true or not should be"))
            }
            _ => match takes(name) {
                Some(takes) => wrong(format!("{name} takes {takes}")),
                None => wrong(format!("there is no query {name}")),
            },
        }
    }

    fn read_all(term: &Term) -> Result<Vec<Self>, TermError> {
        list(term)?.iter().map(Self::read).collect()
    }
}

impl Case {
    fn read(term: &Term) -> Result<Self, TermError> {
        let expected = "a case of for, which is {variable, value, query}";
        let (variable, arguments) = named_tuple(term, expected)?;
        let [value, then] = arguments else { return Err(unexpected(term, expected)) };
        let value = match &value.kind {
            TermKind::Atom(value) | TermKind::Text(value) | TermKind::Number(value) => value.clone(),
            TermKind::Tuple(_) | TermKind::List(_) => return Err(unexpected(value, "a value")),
        };
        Ok(Self { variable: variable.into(), value, then: Condition::read(then)? })
    }
}

impl Value {
    fn read(term: &Term) -> Result<Self, TermError> {
        const EXPECTED: &str = "a string, {string, String} or {attribute, DN, Name}";
        if matches!(term.kind, TermKind::Text(_)) {
            return template(term).map(Self::Text);
        }
        match named_tuple(term, EXPECTED)? {
            ("string", [text]) => template(text).map(Self::Text),
            ("attribute", [entry, of]) => Ok(Self::Attribute { entry: template(entry)?, attribute: attribute(of)? }),
            _ => Err(unexpected(term, EXPECTED)),
        }
    }
}

impl Pattern {
    fn read(term: &Term) -> Result<Self, TermError> {
        let value = Value::read(term)?;
        let Value::Text(text) = &value else { return Ok(Self::Asked(value)) };
        let Some(literal) = text.literal() else { return Ok(Self::Asked(value)) };
        let known = compile(literal).map(Self::Known);
        known.map_err(|error| TermError::new(term.at, format!("this is no regular expression: {error}")))
    }
}

/// What a query takes, if there is such a query.
fn takes(name: &str) -> Option<&'static str> {
    Some(match name {
        "constant" => "true or false",
        "for" => "a list of cases",
        "exists" => "a DN",
        "in_group" => "a DN, and perhaps the name of an attribute",
        "in_group_nested" => "a DN, and perhaps the name of an attribute and a scope",
        "not" => "a query",
        "and" | "or" => "a list of queries",
        "equals" | "match" => "two values",
        _ => return None,
    })
}

fn tag_query(term: &Term) -> Result<TagQuery, TermError> {
    if let TermKind::Tuple(elements) = &term.kind
        && let [Term { kind: TermKind::Atom(tag) | TermKind::Text(tag), .. }, query] = elements.as_slice()
    {
        return Ok((tag.as_str().into(), Condition::read(query)?));
    }
    Err(unexpected(term, "a pair of a tag and a query"))
}

fn boolean(term: &Term) -> Result<bool, TermError> {
    match &term.kind {
        TermKind::Atom(name) if name == "true" => Ok(true),
        TermKind::Atom(name) if name == "false" => Ok(false),
        _ => Err(unexpected(term, "true or false")),
    }
}

fn template(term: &Term) -> Result<Template, TermError> {
    match &term.kind {
        TermKind::Text(text) => Ok(Template::parse(text)),
        _ => Err(unexpected(term, "a string")),
    }
}

/// The name of an attribute, which goes into filters as it is.
fn attribute(term: &Term) -> Result<String, TermError> {
    let TermKind::Text(name) = &term.kind else { return Err(unexpected(term, "the name of an attribute as a string")) };
    if is_attribute(name) {
        Ok(name.clone())
    } else {
        Err(TermError::new(term.at, format!("no attribute is called {name:?}")))
    }
}

/// Whether attributes may have such a name (RFC 4512 §2.5).
pub(super) fn is_attribute(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b';' | b'_'))
}

fn depth(term: &Term) -> Result<Depth, TermError> {
    match &term.kind {
        TermKind::Atom(name) if name == "subtree" => Ok(Depth::Subtree),
        TermKind::Atom(name) if matches!(&**name, "singlelevel" | "single_level" | "onelevel" | "one_level") => {
            Ok(Depth::OneLevel)
        }
        _ => Err(unexpected(term, "subtree or onelevel")),
    }
}

fn list(term: &Term) -> Result<&[Term], TermError> {
    match &term.kind {
        TermKind::List(elements) => Ok(elements),
        _ => Err(unexpected(term, "a list")),
    }
}

/// The atom that a tuple begins with, and what follows.
fn named_tuple<'a>(term: &'a Term, expected: &str) -> Result<(&'a str, &'a [Term]), TermError> {
    if let TermKind::Tuple(elements) = &term.kind
        && let Some((Term { kind: TermKind::Atom(name), .. }, arguments)) = elements.split_first()
    {
        return Ok((name, arguments));
    }
    Err(unexpected(term, expected))
}

fn unexpected(term: &Term, expected: &str) -> TermError {
    TermError::new(term.at, format!("expected {expected}, but found {}", term.kind.describe()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_every_kind_are_read() {
        for text in [
            "{constant, true}",
            "{for, []}",
            "{for, [{permission, configure, {in_group, \"cn=a\"}}, {vhost, <<\"a\">>, {constant, true}}]}",
            "{exists, \"ou=${vhost},dc=b\"}",
            "{in_group, \"cn=a\"}",
            "{in_group, \"cn=a\", \"uniqueMember\"}",
            "{in_group_nested, \"cn=a\"}",
            "{in_group_nested, \"cn=a\", \"member\"}",
            "{in_group_nested, \"cn=a\", \"member\", onelevel}",
            "{'not', {'and', [{'or', []}, {constant, false}]}}",
            "{equals, \"${name}\", {string, \"a\"}}",
            "{equals, {attribute, \"${user_dn}\", \"memberOf\"}, <<\"a\">>}",
            "{match, {string, \"${name}\"}, {string, \"^xch-${username}-.*\"}}",
            "{match, \"${name}\", {attribute, \"${user_dn}\", \"description\"}}",
        ] {
            assert!(Condition::parse(text).is_ok(), "{text}: {:?}", Condition::parse(text));
        }
    }

    #[test]
    fn tags_and_their_queries_are_read_in_order() {
        let tags =
            Condition::parse_tags("[{administrator, {constant, false}}, {\"my tag\", {constant, true}}]").unwrap();
        assert_eq!(tags.iter().map(|(tag, _)| &**tag).collect::<Vec<_>>(), ["administrator", "my tag"]);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, expected) in [
            ("true", "1: expected a query, which is a tuple that begins with an atom, but found the atom true"),
            ("[{constant, true}]", "1: expected a query, which is a tuple that begins with an atom, but found a list"),
            ("{}", "1: expected a query, which is a tuple that begins with an atom, but found a tuple of 0"),
            ("{in_grup, \"a\"}", "1: there is no query in_grup"),
            ("{constant, yes}", "12: expected true or false, but found the atom yes"),
            ("{constant}", "1: constant takes true or false"),
            (
                "{'not', [{constant, true}]}",
                "9: expected a query, which is a tuple that begins with an atom, but found a list",
            ),
            ("{'and', {constant, true}}", "9: expected a list, but found a tuple of 2 that begins with constant"),
            ("{in_group, cn}", "12: expected a string, but found the atom cn"),
            ("{in_group, \"a\", \"b)(c\"}", "17: no attribute is called \"b)(c\""),
            ("{in_group_nested, \"a\", \"b\", base}", "29: expected subtree or onelevel, but found the atom base"),
            (
                "{in_group_nested, \"a\", \"b\", subtree, 1}",
                "1: in_group_nested takes a DN, and perhaps the name of an attribute and a scope",
            ),
            ("{string, \"a\"}", "1: string gives text, where a query that is true or not should be"),
            (
                "{equals, {constant, true}, \"a\"}",
                "10: expected a string, {string, String} or {attribute, DN, Name}, but found a tuple of 2 that begins with constant",
            ),
            ("{match, \"a\"}", "1: match takes two values"),
            (
                "{for, [{vhost, \"a\"}]}",
                "8: expected a case of for, which is {variable, value, query}, but found a tuple of 2 that begins with vhost",
            ),
            ("{for, [{vhost, [], {constant, true}}]}", "16: expected a value, but found a list"),
        ] {
            let error = Condition::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("line 1, column {expected}"), "{text}");
        }
        let error = Condition::parse("{match, \"a\", \"(\"}").unwrap_err().to_string();
        assert!(error.starts_with("line 1, column 14: this is no regular expression: "), "{error}");
        let error = Condition::parse_tags("[{administrator}]").unwrap_err().to_string();
        assert_eq!(
            error,
            "line 1, column 2: expected a pair of a tag and a query, but found a tuple of 1 that begins with administrator"
        );
    }
}
