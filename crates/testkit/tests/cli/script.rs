//! The files: scenarios, and answers as they are recorded and compared.
//!
//! A scenario has one step per line:
//!
//! ```text
//! # A comment.
//! $ rabbitmqctl add_user alice wonderland
//! $sorted rabbitmqctl list_users
//! % connect c {"user":"alice","password":"wonderland"}
//! ```
//!
//! `$` runs a shell command; words behind it say what to level out, see [`crate::normal::Mode`]. Beside the tools it
//! finds `$NODE`, `$PORT`, `$TLS_PORT`, `$PID` and `$PIDFILE` of the node. `%` is done by the test itself: clients, see
//! [`crate::client`]; `stopped` awaits that the node has stopped, `start` starts it again, and `tls 100` does it with a
//! TLS listener whose certificate ends in 100 days. An answer follows its step:
//!
//! ```text
//! $ rabbitmqctl add_user alice again
//! exit 70
//! out> Adding user "alice" ...
//! err> Error:
//! err> User "alice" already exists
//! ```
//!
//! A last line without line feed has `]` for `>`. Tabs and other control characters are escaped, and so is `\`. Of
//! equal steps, the second has `time 2` after it. In `differences`, lines that open with `because` say why.

use std::fmt::Write as _;

use crate::normal::Mode;

/// One step of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The line as it stands in the file.
    pub(crate) line: String,
    pub(crate) action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Shell { command: String, modes: Vec<Mode> },
    Own(String),
}

impl Step {
    fn parse(line: &str) -> Result<Self, String> {
        let action = if let Some(rest) = line.strip_prefix("% ") {
            Action::Own(rest.to_owned())
        } else if let Some(rest) = line.strip_prefix('$') {
            let (modes, command) = rest.split_once(' ').ok_or_else(|| format!("no command: {line}"))?;
            let modes = modes.split(',').filter(|mode| !mode.is_empty()).map(Mode::parse).collect::<Result<_, _>>()?;
            Action::Shell { command: command.to_owned(), modes }
        } else {
            return Err(format!("neither $ nor %: {line}"));
        };
        Ok(Self { line: line.to_owned(), action })
    }
}

/// The steps of a scenario.
pub(crate) fn steps(text: &str) -> Result<Vec<Step>, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(Step::parse).collect()
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    /// Exit status; a step of the test's own has none.
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// Appends the lines of a file.
    pub(crate) fn write(&self, file: &mut String) {
        if let Some(exit) = self.exit {
            let _ = writeln!(file, "exit {exit}");
        }
        for (name, text) in [("out", &self.stdout), ("err", &self.stderr)] {
            for line in text.split_inclusive('\n') {
                let (line, mark) = line.strip_suffix('\n').map_or((line, ']'), |line| (line, '>'));
                let gap = if line.is_empty() { "" } else { " " };
                let _ = writeln!(file, "{name}{mark}{gap}{}", escape(line));
            }
        }
    }

    fn read(&mut self, line: &str) -> Result<(), String> {
        if let Some(exit) = line.strip_prefix("exit ") {
            self.exit = Some(exit.parse().map_err(|error| format!("{error}: {line}"))?);
            return Ok(());
        }
        let (name, rest) = line.split_at_checked(3).ok_or_else(|| format!("what is this? {line}"))?;
        let text = match name {
            "out" => &mut self.stdout,
            "err" => &mut self.stderr,
            _ => return Err(format!("what is this? {line}")),
        };
        let (mark, rest) = rest.split_at_checked(1).ok_or_else(|| format!("what is this? {line}"))?;
        text.push_str(&unescape(rest.strip_prefix(' ').unwrap_or(rest)));
        if mark == ">" {
            text.push('\n');
        }
        Ok(())
    }
}

/// A step's line with an answer to it, as a file has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) line: String,
    /// Which of equal steps it is, from 1.
    pub(crate) time: usize,
    pub(crate) because: String,
    pub(crate) answer: Answer,
}

impl Entry {
    pub(crate) fn write(&self, file: &mut String) {
        let _ = writeln!(file, "{}", self.line);
        if self.time > 1 {
            let _ = writeln!(file, "time {}", self.time);
        }
        for line in self.because.lines() {
            let _ = writeln!(file, "because {line}");
        }
        self.answer.write(file);
    }
}

/// The entries of a file of answers.
pub(crate) fn entries(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with(['$', '%']) {
            entries.push(Entry { line: line.to_owned(), time: 1, ..Entry::default() });
            continue;
        }
        let entry = entries.last_mut().ok_or_else(|| format!("no step before {line}"))?;
        if let Some(time) = line.strip_prefix("time ") {
            entry.time = time.parse().map_err(|error| format!("{error}: {line}"))?;
        } else if let Some(reason) = line.strip_prefix("because ") {
            entry.because.push_str(reason);
            entry.because.push('\n');
        } else {
            entry.answer.read(line)?;
        }
    }
    Ok(entries)
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            character if character.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", character as u32);
            }
            character => out.push(character),
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let kind = after.chars().next();
        rest = after.get(1..).unwrap_or_default();
        match kind {
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('e') => out.push('\u{1b}'),
            Some('u') => {
                let (code, after) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).unwrap_or_default();
                out.extend(u32::from_str_radix(code, 16).ok().and_then(char::from_u32));
                rest = after;
            }
            _ => out.push('\\'),
        }
    }
    out.push_str(rest);
    out
}

#[test]
fn what_is_written_reads_the_same() {
    for (exit, stdout, stderr) in [
        (0, "", ""),
        (70, "a\n", "b\n"),
        (0, "no line feed", "\n"),
        (1, "tab\there\n\n\\t \u{1b}[1mbold\u{1b}[0m \u{7}\n", " two\n  three"),
        (1, "exit 5\n", "$ x\n# y\n"),
    ] {
        let answer = Answer { exit: Some(exit), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        let entry = Entry { line: "$ a b".to_owned(), time: 2, because: "one\ntwo\n".to_owned(), answer };
        let mut file = String::new();
        entry.write(&mut file);
        assert_eq!(entries(&file), Ok(vec![entry]), "{file}");
    }
}

#[test]
fn a_step_is_a_command_with_modes_or_an_act_of_the_test() {
    let parsed = steps("# c\n\n$ a 'b c'\n$sorted,json x\n% connect c\n").unwrap();
    let shell = |command: &str, modes| Action::Shell { command: command.to_owned(), modes };
    let actions: Vec<Action> = parsed.into_iter().map(|step| step.action).collect();
    assert_eq!(
        actions,
        [shell("a 'b c'", Vec::new()), shell("x", vec![Mode::Sorted, Mode::Json]), Action::Own("connect c".to_owned())]
    );
    for bad in ["x", "$no_such_mode x", "$"] {
        assert!(steps(bad).is_err(), "{bad}");
    }
}
