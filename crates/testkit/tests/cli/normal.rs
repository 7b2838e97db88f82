//! What differs between two runs of the same broker, levelled out: ports, folders, times, process ids, numbers.

use crate::json;
use crate::script::Answer;

/// No word of a text is as long.
const HASH_MIN: usize = 20;

/// What terminals take for bold and for lines, whose digits are no numbers, and characters for it that no text has.
const ESCAPES: [(&str, &str); 3] = [("\u{1b}[0m", "\u{e000}"), ("\u{1b}[1m", "\u{e001}"), ("\u{1b}(0", "\u{e002}")];

/// What a step asks to have levelled out, beyond what always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The order of lines; that of arrays' elements, too, if it comes with `json`.
    Sorted,
    /// Layout of JSON and the order of its keys.
    Json,
    /// Every number.
    Numbers,
    /// Widths of columns.
    Widths,
    /// Numbers like 3.10.8.
    Versions,
    /// What looks like a hash or a cipher text.
    Hashes,
    /// What comes after the first five lines.
    First5,
    /// All but whether there is any.
    Some,
}

impl Mode {
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "sorted" => Self::Sorted,
            "json" => Self::Json,
            "numbers" => Self::Numbers,
            "widths" => Self::Widths,
            "versions" => Self::Versions,
            "hashes" => Self::Hashes,
            "first5" => Self::First5,
            "some" => Self::Some,
            _ => return Err(format!("no mode {name}")),
        })
    }
}

/// Texts of one run and what stands for them.
pub(crate) type Known = Vec<(String, String)>;

/// Levels out an answer.
pub(crate) fn normal(answer: &Answer, modes: &[Mode], known: &Known) -> Answer {
    Answer {
        exit: answer.exit,
        stdout: text(&answer.stdout, modes, known),
        stderr: text(without_diagnostics(&without_log(&answer.stderr)), modes, known),
    }
}

fn text(text: &str, modes: &[Mode], known: &Known) -> String {
    let has = |mode| modes.contains(&mode);
    if has(Mode::Some) && !text.is_empty() {
        return "{some}\n".to_owned();
    }
    let level = |text: &str| values(text, modes, known);
    if has(Mode::Json)
        && let Some(json) = json::normal(text, has(Mode::Sorted), &level)
    {
        return json;
    }
    let mut text = level(text);
    if has(Mode::Widths) {
        text = text.lines().map(|line| narrow(line) + "\n").collect();
    }
    if has(Mode::Sorted) {
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines.sort_unstable();
        text = lines.concat();
    }
    if has(Mode::First5) {
        text = text.split_inclusive('\n').take(5).collect();
    }
    text
}

/// Levels out what stands for itself, without regard to lines.
fn values(text: &str, modes: &[Mode], known: &Known) -> String {
    let has = |mode| modes.contains(&mode);
    let mut text = ESCAPES.iter().fold(text.to_owned(), |text, (escape, mark)| text.replace(escape, mark));
    for (part, name) in known {
        text = if part.chars().all(|character| character.is_ascii_digit()) {
            words(&text, |character| character.is_ascii_digit(), |word| (word == part).then(|| name.clone()))
        } else {
            text.replace(part, name)
        };
    }
    for level in [other_nodes, pids, times, ports, base64, random_names] {
        text = level(&text);
    }
    if has(Mode::Hashes) {
        text = words(&text, is_base64, |word| (word.len() >= HASH_MIN).then(|| "{hash}".to_owned()));
    }
    if has(Mode::Versions) {
        text = words(&text, is_number, |word| is_version(word).then(|| "{version}".to_owned()));
    }
    if has(Mode::Numbers) {
        text = words(&text, is_number, |word| Some(number(word)));
    }
    ESCAPES.iter().fold(text, |text, (escape, mark)| text.replace(mark, escape))
}

/// Which other nodes run on the machine.
fn other_nodes(text: &str) -> String {
    const LIST: &str = "(nodes here: ";
    let Some((before, after)) = text.split_once(LIST) else { return text.to_owned() };
    let rest = after.split_once(';').map_or(after, |(_, rest)| rest);
    format!("{before}{LIST}{{nodes}};{rest}")
}

/// What the node logs while `RabbitMQ`'s tool waits for it comes out of the tool, too: `17:53:13.448 [warning] ...`.
fn without_log(text: &str) -> String {
    let is_logged = |line: &&str| {
        let (time, rest) = line.split_at_checked("00:00:00.000 ".len()).unwrap_or_default();
        rest.starts_with('[') && time.chars().all(|character| character.is_ascii_digit() || ":. ".contains(character))
    };
    let rest: String = text.split_inclusive('\n').filter(|line| !is_logged(line)).collect();
    // Some records have empty lines around them.
    if rest.len() < text.len() && rest.trim().is_empty() { String::new() } else { rest }
}

/// What Erlang knows of the other nodes of the machine is left out.
fn without_diagnostics(text: &str) -> &str {
    text.find("DIAGNOSTICS\n").and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Replaces runs of characters that are `part` of a word by what `replace` makes of them; `None` leaves them.
fn words(text: &str, part: fn(char) -> bool, replace: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(part) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|character| !part(character)).unwrap_or(from.len()));
        out.push_str(before);
        match replace(word) {
            Some(new) => out.push_str(&new),
            None => out.push_str(word),
        }
        rest = after;
    }
    out + rest
}

fn is_number(character: char) -> bool {
    character.is_ascii_digit() || character == '.'
}

fn is_version(word: &str) -> bool {
    word.matches('.').count() > 1 && !word.starts_with('.') && !word.ends_with('.')
}

fn is_base64(character: char) -> bool {
    character.is_ascii_alphanumeric() || "+/=".contains(character)
}

/// A number's stand-in; full stops around it stay.
fn number(word: &str) -> String {
    let bare = word.trim_matches('.');
    if bare.is_empty() { word.to_owned() } else { word.replacen(bare, "N", 1) }
}

/// `<rabbit@host.1.2.3>`, and Erlang's own `#PID<0.1.2>` and `<0.1.2>`.
fn pids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        let inside = after.split_once('>').filter(|(inside, _)| is_pid(inside));
        if let Some((_, after)) = inside {
            out.push_str(before.strip_suffix("#PID").unwrap_or(before));
            out.push_str("<pid>");
            rest = after;
        } else {
            out.push_str(before);
            out.push('<');
            rest = after;
        }
    }
    out + rest
}

fn is_pid(inside: &str) -> bool {
    let parts: Vec<&str> = inside.rsplitn(4, '.').collect();
    let digits = |part: &&str| !part.is_empty() && part.chars().all(|character| character.is_ascii_digit());
    match parts[..] {
        [a, b, c] => [a, b, c].iter().all(digits),
        [a, b, c, node] => [a, b, c].iter().all(digits) && is_node(node),
        _ => false,
    }
}

fn is_node(name: &str) -> bool {
    name == "{node}" || (name.contains('@') && !name.contains(char::is_whitespace))
}

/// The port after an address of this machine.
fn ports(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("127.0.0.1:") {
        let digits = after.find(|character: char| !character.is_ascii_digit()).unwrap_or(after.len());
        out.push_str(before);
        out.push_str("127.0.0.1:");
        out.push_str(if digits > 0 { "{port}" } else { "" });
        rest = after.get(digits..).unwrap_or_default();
    }
    out + rest
}

/// `2026-01-31 23:59:59.123456+01:00`, and the same with a `T`.
fn times(text: &str) -> String {
    const SHAPE: &str = "0000-00-00 00:00:00";
    let fits = |text: &str| {
        text.len() >= SHAPE.len()
            && text.chars().zip(SHAPE.chars()).all(|(character, shape)| match shape {
                '0' => character.is_ascii_digit(),
                ' ' => character == ' ' || character == 'T',
                shape => character == shape,
            })
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if fits(rest) {
            out.push_str("{time}");
            rest = rest.get(SHAPE.len()..).unwrap_or_default();
            rest = rest.trim_start_matches(|character: char| character.is_ascii_digit() || ".+:Z".contains(character));
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// Hashes that end as base64 does.
fn base64(text: &str) -> String {
    words(text, is_base64, |word| (word.len() >= HASH_MIN && word.ends_with('=')).then(|| "{hash}".to_owned()))
}

/// The tools' own node names, which have their process id, and names of clusters that are random.
fn random_names(text: &str) -> String {
    let mut text = text.to_owned();
    for name in ["rabbitmqcli-", "rabbitmq-cluster-id-"] {
        let mut parts = text.split(name);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.push_str(name);
            out.push('N');
            out.push_str(match name {
                "rabbitmqcli-" => part.trim_start_matches(|character: char| character.is_ascii_digit()),
                _ => part.trim_start_matches(|character: char| {
                    character.is_ascii_alphanumeric() || "-_".contains(character)
                }),
            });
        }
        text = out;
    }
    text
}

/// One space for many, and one line character for many; without a terminal these are `q`s of another character set.
fn narrow(line: &str) -> String {
    let has_lines = line.contains("\u{1b}(0");
    let mut out = String::new();
    for character in line.trim_end().chars() {
        let repeats = character == ' ' || matches!(character, '─' | '═' | '╌') || (has_lines && character == 'q');
        if !(repeats && out.ends_with(character)) {
            out.push(character);
        }
    }
    out
}

#[test]
fn what_differs_between_runs_is_levelled_out() {
    let known = vec![("/tmp/x1".to_owned(), "{dir}".to_owned()), ("34567".to_owned(), "{port}".to_owned())];
    for (raw, modes, expected) in [
        ("pid <rabbit@h.1.2.3> and #PID<0.1.2>\n", &[][..], "pid <pid> and <pid>\n"),
        ("<{node}.1.2.3>", &[], "<pid>"),
        ("<username> <1.2> <a b@c.1.2.3>", &[], "<username> <1.2> <a b@c.1.2.3>"),
        ("127.0.0.1:1 -> 127.0.0.1:34567, port: 34567", &[], "127.0.0.1:{port} -> 127.0.0.1:{port}, port: {port}"),
        ("at 2026-01-31 23:59:59.123456+01:00: x", &[], "at {time} x"),
        ("/tmp/x1/a", &[], "{dir}/a"),
        ("hash: gKPBPn6H93BVP05BDrEVSA==\n", &[], "hash: {hash}\n"),
        ("rabbitmqcli-861-users@localhost", &[], "rabbitmqcli-N-users@localhost"),
        ("\"rabbitmq-cluster-id-1aB-c_D\"", &[], "\"rabbitmq-cluster-id-N\""),
        ("b\na\n", &[Mode::Sorted], "a\nb\n"),
        ("\u{1b}[1mMemory\u{1b}[0m 5", &[Mode::Numbers], "\u{1b}[1mMemory\u{1b}[0m N"),
        ("134567 a34567 34567.0", &[], "134567 a{port} {port}.0"),
        ("1.5 GB, 20 of 3.", &[Mode::Numbers], "N GB, N of N."),
        ("a 3.10.8 b 1.5   c ...\n", &[Mode::Versions], "a {version} b 1.5   c ...\n"),
        ("│ a    │\n├──────┤\n╞══════╡\n", &[Mode::Widths], "│ a │\n├─┤\n╞═╡\n"),
        ("\u{1b}(0lqqqqk\u{1b}(B\nqq\n", &[Mode::Widths], "\u{1b}(0lqk\u{1b}(B\nqq\n"),
        ("1\n2\n3\n4\n5\n6\n", &[Mode::First5], "1\n2\n3\n4\n5\n"),
        ("a\nb\n", &[Mode::Some], "{some}\n"),
        ("", &[Mode::Some], ""),
        ("[{\"b\":12}]", &[Mode::Json, Mode::Numbers], "[\n  {\n    \"b\": \"N\"\n  }\n]\n"),
    ] {
        assert_eq!(text(raw, modes, &known), expected, "{raw}");
    }
}

#[test]
fn what_the_node_logs_is_no_answer() {
    let text = "17:53:13.448 [warning] Failed\nError:\n[x]\n";
    assert_eq!(without_log(text), "Error:\n[x]\n");
    assert_eq!(without_log("\n17:53:13.448 [warning] Draining\n\n"), "");
    assert_eq!(without_log("\n"), "\n");
    assert_eq!(without_diagnostics("Error\n\nDIAGNOSTICS\n=====\n"), "Error\n\n");
    assert_eq!(without_diagnostics("Error\n"), "Error\n");
}
