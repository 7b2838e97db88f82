//! Erlang terms, as far as queries have them: atoms, numbers, strings, binaries, tuples and lists.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// Terms in terms; a limit for those who would use up the stack.
const DEPTH_MAX: usize = 64;

/// Where in a text something is, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    line: usize,
    column: usize,
}

/// What is wrong with the text of a query, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {what}", at.line, at.column)]
pub(super) struct TermError {
    at: Position,
    what: String,
}

impl TermError {
    pub(super) fn new(at: Position, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }
}

/// A term, and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) at: Position,
    pub(super) kind: TermKind,
}

/// What a term is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TermKind {
    Atom(String),
    Number(String),
    /// A string or binary, which mean the same here.
    Text(String),
    Tuple(Vec<Term>),
    List(Vec<Term>),
}

impl TermKind {
    /// What it is, for error texts.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Atom(name) => format!("the atom {name}"),
            Self::Number(digits) => format!("the number {digits}"),
            Self::Text(_) => "a string".into(),
            Self::Tuple(elements) => match elements.first().map(|first| &first.kind) {
                Some(Self::Atom(name)) => format!("a tuple of {} that begins with {name}", elements.len()),
                _ => format!("a tuple of {}", elements.len()),
            },
            Self::List(_) => "a list".into(),
        }
    }
}

impl Term {
    /// Reads a text that has one term, which may end with a full stop.
    pub(super) fn parse(text: &str) -> Result<Self, TermError> {
        let mut reader = Reader { rest: text.chars().peekable(), at: Position { line: 1, column: 1 } };
        reader.skip_space();
        let term = reader.term(0)?;
        reader.skip_space();
        reader.skip_if('.');
        reader.skip_space();
        match reader.peek() {
            None => Ok(term),
            Some(more) => Err(reader.wrong(format!("there is '{more}' after the end of the term"))),
        }
    }
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    at: Position,
}

impl Reader<'_> {
    fn term(&mut self, depth: usize) -> Result<Term, TermError> {
        if depth > DEPTH_MAX {
            return Err(self.wrong(format!("more than {DEPTH_MAX} terms are in each other")));
        }
        let at = self.at;
        let kind = match self.peek() {
            None => return Err(self.wrong("the text ends where a term should be")),
            Some('{') => TermKind::Tuple(self.elements(at, '}', depth)?),
            Some('[') => TermKind::List(self.elements(at, ']', depth)?),
            Some('"') => TermKind::Text(self.strings(at)?),
            Some('<') => TermKind::Text(self.binary(at)?),
            Some('\'') => TermKind::Atom(self.quoted(at, '\'')?),
            Some(first) if first.is_lowercase() => TermKind::Atom(self.word()),
            Some(first) if first.is_ascii_digit() || first == '-' => TermKind::Number(self.number()?),
            Some(other) if other.is_uppercase() || other == '_' => {
                let word = self.word();
                return Err(TermError::new(
                    at,
                    format!("{word} is an Erlang variable; atoms begin small, or are in ''"),
                ));
            }
            Some(other) => return Err(self.wrong(format!("no term begins with '{other}'"))),
        };
        Ok(Term { at, kind })
    }

    fn elements(&mut self, at: Position, end: char, depth: usize) -> Result<Vec<Term>, TermError> {
        self.next();
        let mut elements = Vec::new();
        self.skip_space();
        if self.skip_if(end) {
            return Ok(elements);
        }
        loop {
            self.skip_space();
            elements.push(self.term(depth + 1)?);
            self.skip_space();
            if self.skip_if(end) {
                return Ok(elements);
            }
            match self.peek() {
                Some(',') => self.next(),
                Some(other) => return Err(self.wrong(format!("expected ',' or '{end}' but found '{other}'"))),
                None => return Err(TermError::new(at, format!("the '{end}' of what begins here is missing"))),
            };
        }
    }

    /// Strings that follow each other are one.
    fn strings(&mut self, at: Position) -> Result<String, TermError> {
        let mut text = self.quoted(at, '"')?;
        loop {
            self.skip_space();
            if self.peek() != Some('"') {
                return Ok(text);
            }
            let at = self.at;
            text.push_str(&self.quoted(at, '"')?);
        }
    }

    fn binary(&mut self, at: Position) -> Result<String, TermError> {
        self.expect("<<")?;
        self.skip_space();
        let text = if self.peek() == Some('"') {
            let at = self.at;
            self.strings(at)?
        } else {
            String::new()
        };
        if self.skip_if('/') && self.word() != "utf8" {
            return Err(TermError::new(at, "the only type of a binary that is known is utf8"));
        }
        self.skip_space();
        self.expect(">>")?;
        Ok(text)
    }

    fn quoted(&mut self, at: Position, quote: char) -> Result<String, TermError> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(TermError::new(at, format!("the {quote} that ends what begins here is missing"))),
                Some(end) if end == quote => return Ok(text),
                Some('\\') => text.extend(self.escaped()?),
                Some(other) => text.push(other),
            }
        }
    }

    /// What a backslash stands for; `None` is nothing, of a line that goes on.
    fn escaped(&mut self) -> Result<Option<char>, TermError> {
        let at = self.at;
        let Some(kind) = self.next() else { return Err(TermError::new(at, "the text ends after a backslash")) };
        let code = match kind {
            'b' => 8,
            'd' => 127,
            'e' => 27,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            's' => 32,
            't' => 9,
            'v' => 11,
            '\n' => return Ok(None),
            '0'..='7' => self.digits(kind, 8, 3),
            'x' if self.skip_if('{') => {
                let code = self.digits('0', 16, 8);
                if !self.skip_if('}') {
                    return Err(TermError::new(at, "the '}' of \\x{ is missing"));
                }
                code
            }
            'x' => self.digits('0', 16, 3),
            other => return Ok(Some(other)),
        };
        char::from_u32(code).map(Some).ok_or_else(|| TermError::new(at, "there is no such character"))
    }

    /// A number whose first digit is known.
    fn digits(&mut self, first: char, radix: u32, digits_max: usize) -> u32 {
        let mut number = first.to_digit(radix).unwrap_or(0);
        for _ in 1..digits_max {
            let Some(digit) = self.peek().and_then(|digit| digit.to_digit(radix)) else { break };
            self.next();
            number = number.saturating_mul(radix).saturating_add(digit);
        }
        number
    }

    fn number(&mut self) -> Result<String, TermError> {
        let mut digits = String::new();
        if self.skip_if('-') {
            digits.push('-');
        }
        while let Some(digit) = self.peek().filter(char::is_ascii_digit) {
            digits.push(digit);
            self.next();
        }
        if digits.ends_with(|last: char| last.is_ascii_digit()) {
            Ok(digits)
        } else {
            Err(self.wrong("expected a digit"))
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(next) = self.peek().filter(|next| next.is_alphanumeric() || matches!(next, '_' | '@')) {
            word.push(next);
            self.next();
        }
        word
    }

    fn expect(&mut self, expected: &str) -> Result<(), TermError> {
        for each in expected.chars() {
            if !self.skip_if(each) {
                return Err(self.wrong(format!("expected '{expected}'")));
            }
        }
        Ok(())
    }

    fn skip_space(&mut self) {
        while let Some(next) = self.peek() {
            if next == '%' {
                while self.peek().is_some_and(|next| next != '\n') {
                    self.next();
                }
            } else if next.is_whitespace() {
                self.next();
            } else {
                return;
            }
        }
    }

    fn skip_if(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.next();
        }
        found
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        if next == '\n' {
            self.at = Position { line: self.at.line + 1, column: 1 };
        } else {
            self.at.column += 1;
        }
        Some(next)
    }

    fn wrong(&self, what: impl Into<String>) -> TermError {
        TermError::new(self.at, what)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elements = |f: &mut fmt::Formatter<'_>, elements: &[Self]| {
            for (index, element) in elements.iter().enumerate() {
                write!(f, "{}{element}", if index == 0 { "" } else { ", " })?;
            }
            Ok(())
        };
        match &self.kind {
            TermKind::Atom(text) | TermKind::Number(text) => f.write_str(text),
            TermKind::Text(text) => write!(f, "{text:?}"),
            TermKind::Tuple(inner) => {
                f.write_str("{")?;
                elements(f, inner)?;
                f.write_str("}")
            }
            TermKind::List(inner) => {
                f.write_str("[")?;
                elements(f, inner)?;
                f.write_str("]")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read() {
        for (text, expected) in [
            ("{constant, true}", "{constant, true}"),
            (" {constant,true} . ", "{constant, true}"),
            ("{'and', [{'not', {constant, false}}, 'or']}", "{and, [{not, {constant, false}}, or]}"),
            ("[]", "[]"),
            ("{}", "{}"),
            ("[a,\n  b, % why\n c]", "[a, b, c]"),
            ("\"a\" \"b\"\n\"c\"", "\"abc\""),
            ("<<\"a\">>", "\"a\""),
            ("<<>>", "\"\""),
            ("<< \"ü\"/utf8 >>", "\"ü\""),
            (
                r#""a\"b\\c\x41\x{fc}\101\s\
d""#,
                r#""a\"b\\cAüA d""#,
            ),
            (r#""^\\d+$""#, r#""^\\d+$""#),
            ("-12", "-12"),
            ("monitor@x_1", "monitor@x_1"),
        ] {
            assert_eq!(Term::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let deep = "[".repeat(100);
        for (text, expected) in [
            ("", "line 1, column 1: the text ends where a term should be"),
            ("% nothing", "line 1, column 10: the text ends where a term should be"),
            ("{constant, true", "line 1, column 1: the '}' of what begins here is missing"),
            ("{constant true}", "line 1, column 11: expected ',' or '}' but found 't'"),
            ("{constant,\n true]", "line 2, column 6: expected ',' or '}' but found ']'"),
            ("[a,]", "line 1, column 4: no term begins with ']'"),
            ("{constant, True}", "line 1, column 12: True is an Erlang variable; atoms begin small, or are in ''"),
            ("{string, \"a}", "line 1, column 10: the \" that ends what begins here is missing"),
            ("'a", "line 1, column 1: the ' that ends what begins here is missing"),
            ("a b", "line 1, column 3: there is 'b' after the end of the term"),
            ("a. b", "line 1, column 4: there is 'b' after the end of the term"),
            ("-", "line 1, column 2: expected a digit"),
            ("<<1>>", "line 1, column 3: expected '>>'"),
            ("<<\"a\"/latin1>>", "line 1, column 1: the only type of a binary that is known is utf8"),
            ("\"\\x{110000}\"", "line 1, column 3: there is no such character"),
            ("\"\\x{41\"", "line 1, column 3: the '}' of \\x{ is missing"),
            ("\"\\", "line 1, column 3: the text ends after a backslash"),
            ("#{}", "line 1, column 1: no term begins with '#'"),
            (&deep, "line 1, column 66: more than 64 terms are in each other"),
        ] {
            assert_eq!(Term::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn any_text_is_read_or_refused() {
        let alphabet: Vec<char> = "{}[],\"'\\<>%.aA1 ".chars().collect();
        let mut texts = vec![String::new()];
        for _ in 0..4 {
            let longer = |text: &String| alphabet.iter().map(|next| format!("{text}{next}")).collect::<Vec<_>>();
            texts = texts.iter().flat_map(longer).collect();
            for text in &texts {
                let _ = Term::parse(text).map(|term| term.to_string());
            }
        }
    }
}
