//! The lines of a configuration file: `key = value`, as in `RabbitMQ`'s rabbitmq.conf.

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::place::{Place, Remark};

/// Around a value with a `#` in it.
const QUOTE: char = '\'';
/// Around a value of many lines.
const QUOTES: &str = "'''";
/// What some editors put before a text.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// What stands for a variable of the environment: `$(NAME)`.
const VARIABLE: &str = "$(";
/// The longest key, in octets.
const KEY_BYTES_MAX: usize = 300;

/// A key and its value.
pub(super) struct Entry {
    /// The words of the key, which have dots between them.
    pub(super) key: Vec<String>,
    /// The value without its quotes. Any may be a password.
    pub(super) value: Zeroizing<String>,
    /// The line it begins on.
    pub(super) place: Place,
}

/// What is in a file.
#[derive(Default)]
pub(super) struct Lines {
    /// The entries in their order; of those with one key, the last.
    pub(super) entries: Vec<Entry>,
    /// What cannot be read.
    pub(super) mistakes: Vec<Remark>,
    /// What can be read, but may not be what was meant.
    pub(super) warnings: Vec<Remark>,
}

/// Reads all lines of the source with this number. `variable` is asked what `$(NAME)` in a value stands for.
pub(super) fn read(text: &str, source: usize, variable: impl Fn(&str) -> Option<Zeroizing<String>>) -> Lines {
    let mut lines = Lines::default();
    let mut cursor = Cursor { rest: text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text), line: 0 };
    while let Some(line) = cursor.next() {
        let place = Place::new(source, cursor.line);
        let entry = read_line(line, place, &mut cursor, &mut lines.warnings).and_then(|entry| {
            let Some((key, value)) = entry else { return Ok(None) };
            Ok(Some(Entry { key, value: fill_in(&value, &variable)?, place }))
        });
        match entry {
            Ok(Some(entry)) => lines.entries.push(entry),
            Ok(None) => {}
            Err(mistake) => lines.mistakes.push(Remark::new(place, mistake)),
        }
    }
    lines.keep_the_last();
    lines
}

/// A key as it is written.
pub(super) fn show(key: &[String]) -> String {
    let words: Vec<_> = key.iter().map(|word| word.replace('.', "\\.")).collect();
    words.join(".")
}

impl Lines {
    /// Drops entries whose key is set again further down.
    fn keep_the_last(&mut self) {
        let mut last: HashMap<Vec<String>, Entry> = HashMap::new();
        for entry in self.entries.drain(..) {
            let place = entry.place;
            if let Some(earlier) = last.insert(entry.key.clone(), entry) {
                let text =
                    format!("{} was set on line {} already; this one counts", show(&earlier.key), earlier.place.line);
                self.warnings.push(Remark::new(place, text));
            }
        }
        self.entries.extend(last.into_values());
        self.entries.sort_unstable_by_key(|entry| entry.place);
    }
}

/// Gives one line after the other.
struct Cursor<'a> {
    rest: &'a str,
    /// The line that was given last, from 1.
    line: usize,
}

impl<'a> Cursor<'a> {
    /// The next line without its end.
    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += 1;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }
}

type KeyAndValue = (Vec<String>, Zeroizing<String>);

/// Reads one line, and those behind it if its value goes on there; `None` if nothing is said on it.
fn read_line(
    line: &str,
    place: Place,
    cursor: &mut Cursor,
    warnings: &mut Vec<Remark>,
) -> Result<Option<KeyAndValue>, String> {
    let line = trim(line);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.starts_with("include ") || line.starts_with("include\t") {
        return Err("`include` is not supported; put the file into a folder conf.d".to_owned());
    }
    let Some((key, value)) = line.split_once('=') else {
        return Err("expected `key = value`, or a # before what is a comment".to_owned());
    };
    let (key, value) = (words(trim(key))?, trim(value));
    let value = if let Some(value) = value.strip_prefix(QUOTES) {
        many_lines(value, cursor)?
    } else if let Some(value) = value.strip_prefix(QUOTE) {
        quoted(value)?
    } else {
        plain(value, &key, place, warnings)?
    };
    Ok(Some((key, value)))
}

/// The words of a key: letters, digits, `-`, `_` and whatever else stands for itself; `\.` is a dot within a word.
pub(super) fn words(key: &str) -> Result<Vec<String>, String> {
    if key.len() > KEY_BYTES_MAX {
        return Err(format!("expected a key of at most {KEY_BYTES_MAX} bytes before the ="));
    }
    let mut words = vec![String::new()];
    let mut characters = key.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            ('\\', Some(word)) if characters.next_if_eq(&'.').is_some() => word.push('.'),
            ('.', _) => words.push(String::new()),
            // What is left of the = may be a password if somebody forgot what belongs there, so it is not repeated here.
            (_, Some(word)) if !character.is_whitespace() && !character.is_control() => word.push(character),
            _ => return Err("there is a space in the key; expected `key = value`".to_owned()),
        }
    }
    if words.iter().any(String::is_empty) {
        return Err("a key is words with a dot between each two, such as listeners.tcp.1".to_owned());
    }
    Ok(words)
}

/// A value without quotes, as far as the comment behind it.
fn plain(value: &str, key: &[String], place: Place, warnings: &mut Vec<Remark>) -> Result<Zeroizing<String>, String> {
    let (value, comment) = value.split_once('#').map_or((value, None), |(value, comment)| (value, Some(comment)));
    if comment.is_some() && !value.is_empty() && trim(value) == value {
        let text = format!("# begins a comment: if it is part of the value of {}, put that into '...'", show(key));
        warnings.push(Remark::new(place, text));
    }
    match trim(value) {
        "" => Err(format!("{} has no value; write '' if it is to be empty", show(key))),
        value => Ok(Zeroizing::new(value.to_owned())),
    }
}

/// A value behind its opening quote.
fn quoted(value: &str) -> Result<Zeroizing<String>, String> {
    let Some((value, behind)) = value.split_once(QUOTE) else {
        return Err(format!("the ' before the value is not closed; a value of many lines has {QUOTES} on both sides"));
    };
    ends(behind)?;
    Ok(Zeroizing::new(value.to_owned()))
}

/// A value behind its opening quotes, and on as many lines as it takes. Line breaks next to the quotes are not part of it.
fn many_lines(first: &str, cursor: &mut Cursor) -> Result<Zeroizing<String>, String> {
    // As large as it can get, so that no copy of a part is left behind.
    let mut value = Zeroizing::new(String::with_capacity(first.len() + cursor.rest.len() + 1));
    let mut line = first;
    loop {
        if let Some((last, behind)) = line.split_once(QUOTES) {
            ends(behind)?;
            value.push_str(last);
            let value = value.strip_prefix('\n').unwrap_or(&value);
            return Ok(Zeroizing::new(value.strip_suffix('\n').unwrap_or(value).to_owned()));
        }
        value.push_str(line);
        value.push('\n');
        line = cursor.next().ok_or_else(|| format!("the {QUOTES} before the value are not closed"))?;
    }
}

/// Nothing but a comment may come behind a closing quote.
fn ends(behind: &str) -> Result<(), String> {
    let behind = trim(behind);
    if behind.is_empty() || behind.starts_with('#') {
        return Ok(());
    }
    Err(format!("something comes behind the closing quote; a value with a ' in it has {QUOTES} on both sides"))
}

/// Replaces `$(NAME)` by what the variable holds.
fn fill_in(value: &str, variable: impl Fn(&str) -> Option<Zeroizing<String>>) -> Result<Zeroizing<String>, String> {
    let mut filled = Zeroizing::new(String::new());
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once(VARIABLE) {
        let Some((name, behind)) = behind.split_once(')').filter(|(name, _)| is_variable(name)) else {
            add(&mut filled, before);
            add(&mut filled, VARIABLE);
            rest = behind;
            continue;
        };
        let content = variable(name).ok_or_else(|| format!("the environment variable {name} is not set"))?;
        add(&mut filled, before);
        add(&mut filled, &content);
        rest = behind;
    }
    add(&mut filled, rest);
    Ok(filled)
}

/// Appends without leaving a copy of what is there in memory that is given back.
fn add(text: &mut Zeroizing<String>, more: &str) {
    let mut longer = Zeroizing::new(String::with_capacity(text.len() + more.len()));
    longer.push_str(text);
    longer.push_str(more);
    *text = longer;
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Lines {
        super::read(text, 1, |name| (name == "HOME_OF_HARES").then(|| "a # 'field'".to_owned().into()))
    }

    /// The entries as `key=value`, with their lines.
    fn entries(text: &str) -> Vec<(usize, String)> {
        let lines = read(text);
        assert_eq!(lines.mistakes, [], "{text}");
        lines
            .entries
            .iter()
            .map(|entry| (entry.place.line, format!("{}={}", entry.key.join("|"), *entry.value)))
            .collect()
    }

    #[test]
    fn a_line_is_a_key_and_a_value() {
        for (text, expected) in [
            ("a = b", "a=b"),
            ("a=b\n", "a=b"),
            (" a\t=\tb \t\n", "a=b"),
            ("a.b.c = d", "a|b|c=d"),
            ("a = b = c", "a=b = c"),
            ("a = b c", "a=b c"),
            ("a = b # c", "a=b"),
            ("a = b#c", "a=b"),
            ("a = b\r\n", "a=b"),
            ("\u{feff}a = b", "a=b"),
            ("a = 'b # c'", "a=b # c"),
            ("a = ' b ' # c", "a= b "),
            ("a = ''", "a="),
            ("a = '' # b", "a="),
            ("a = \"b\"", "a=\"b\""),
            ("a = don't", "a=don't"),
            ("a = <<b>>", "a=<<b>>"),
            ("a-b_c.1\\.5 = d", "a-b_c|1.5=d"),
            ("a.\u{fc}@b = c", "a|\u{fc}@b=c"),
            ("a = ${b}", "a=${b}"),
            ("a = $(b", "a=$(b"),
            ("a = $(b.c) $()", "a=$(b.c) $()"),
            ("a = x$(HOME_OF_HARES)y", "a=xa # 'field'y"),
            ("a = '$(HOME_OF_HARES)$(HOME_OF_HARES)'", "a=a # 'field'a # 'field'"),
            ("a = '''b'''", "a=b"),
            ("a = '''\nb\n'''", "a=b"),
            ("a = '''\r\n  'b' # c\r\n\r\n=d\r\n''' # e\r\n", "a=  'b' # c\n\n=d"),
            ("a = ''''b'''", "a='b"),
            ("a = ''''''", "a="),
        ] {
            assert_eq!(entries(text), [(1, expected.to_owned())], "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_over_comments_and_long_values() {
        let text = "# a\n\n  \t\na = 1\r\n   # b = 2\nc = '''\nd\ne'''\n\nf = 3";
        let expected = [(4, "a=1"), (6, "c=d\ne"), (10, "f=3")];
        assert_eq!(entries(text), expected.map(|(line, entry)| (line, entry.to_owned())));
        assert_eq!(entries(""), []);
    }

    #[test]
    fn what_is_no_setting_is_a_mistake_with_its_line() {
        for (text, line, reason) in [
            ("a", 1, "expected `key = value`"),
            ("\n\na\n", 3, "expected `key = value`"),
            ("a =", 1, "a has no value; write ''"),
            ("a.b =  # c", 1, "a.b has no value"),
            ("= b", 1, "words with a dot between"),
            ("a..b = c", 1, "words with a dot between"),
            (".a = c", 1, "words with a dot between"),
            ("a. = c", 1, "words with a dot between"),
            ("a b = c", 1, "a space in the key"),
            ("a = 'b", 1, "is not closed"),
            ("a = 'b\nc'", 1, "is not closed"),
            ("a = 'b'c", 1, "behind the closing quote"),
            ("a = 'it''s'", 1, "behind the closing quote"),
            ("a = 1\nb = '''c\n\n", 2, "are not closed"),
            ("a = '''b''''", 1, "behind the closing quote"),
            ("include conf.d/*.conf", 1, "`include` is not supported"),
            ("a = $(HOME_OF_WOLVES)", 1, "the environment variable HOME_OF_WOLVES is not set"),
        ] {
            let mistake = read(text).mistakes.into_iter().next().unwrap_or_else(|| panic!("{text:?} has none"));
            assert_eq!(mistake.place.line, line, "{text:?}");
            assert!(mistake.text.contains(reason), "{text:?}: {}", mistake.text);
        }
    }

    #[test]
    fn a_key_has_a_limit() {
        for (length, mistakes) in [(KEY_BYTES_MAX, 0), (KEY_BYTES_MAX + 1, 1)] {
            assert_eq!(read(&format!("{} = b", "a".repeat(length))).mistakes.len(), mistakes, "{length}");
        }
    }

    #[test]
    fn a_mistake_does_not_repeat_what_may_be_a_password() {
        for text in ["default_pass swordfish", "default_pass swordfish = a", "a = 'swordfish", "a = 'b'swordfish"] {
            for mistake in read(text).mistakes {
                assert!(!mistake.text.contains("swordfish"), "{}", mistake.text);
            }
        }
    }

    #[test]
    fn all_mistakes_are_found_at_once() {
        let lines = read("a\nb = 1\nc\n");
        assert_eq!(lines.mistakes.iter().map(|mistake| mistake.place.line).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(lines.entries.len(), 1);
    }

    #[test]
    fn of_one_key_the_last_value_counts_and_that_is_said() {
        let lines = read("a.b = 1\nc = 2\na.b = 3\n");
        let entries: Vec<_> = lines.entries.iter().map(|entry| (entry.place.line, entry.value.as_str())).collect();
        assert_eq!(entries, [(2, "2"), (3, "3")]);
        assert_eq!(lines.warnings, [Remark::new(Place::new(1, 3), "a.b was set on line 1 already; this one counts")]);
    }

    #[test]
    fn a_number_sign_within_a_value_is_worth_a_warning() {
        for (text, warned) in [("a = b#c", true), ("a = b #c", false), ("a = 'b#c'", false), ("a = b", false)] {
            assert_eq!(!read(text).warnings.is_empty(), warned, "{text}");
        }
    }
}
