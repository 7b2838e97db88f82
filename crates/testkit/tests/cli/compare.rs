//! Running a group and comparing its answers with what is expected.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::node::Broker;
use crate::normal::Mode;
use crate::run;
use crate::script::{Action, Answer, Entry, Step, entries, steps};

pub(crate) const SCENARIOS: &str = "scenarios";
pub(crate) const RECORDED: &str = "recorded";
pub(crate) const DIFFERENCES: &str = "differences";

/// How many steps that are not as expected are printed in full.
const SHOWN_MAX: usize = 12;

/// Whether the commands of a group are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    #[allow(dead_code, reason = "no group may be ready")]
    Yes,
    #[allow(dead_code, reason = "every group may be ready")]
    No,
}

/// Runs one group as the environment asks for.
pub(crate) fn group(name: &str, ready: Ready) {
    let is_asked_for = ["RABBITMQ_TOOLS", "LEVERET_CLI_ALL"].iter().any(|name| std::env::var_os(name).is_some());
    if ready == Ready::No && !is_asked_for {
        eprintln!("{name}: not compared, its commands are not complete");
        return;
    }
    let broker = Broker::of_environment();
    let is_rabbitmq = matches!(broker, Broker::RabbitMq { .. });
    let record = std::env::var_os("LEVERET_RECORD").is_some();
    assert!(is_rabbitmq || !record, "LEVERET_RECORD needs RABBITMQ_TOOLS");
    let steps = steps(&read(SCENARIOS, name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let ran = run::all(broker, name, &steps);
    if record {
        let mut file = format!("# What RabbitMQ {} answered. See ../main.rs on how to record it anew.\n", ran.version);
        for entry in &ran.entries {
            entry.write(&mut file);
        }
        fs::write(path(RECORDED, name), file).unwrap();
        return;
    }
    let mut recorded = recording(name).unwrap_or_else(|error| panic!("{error}"));
    if !is_rabbitmq {
        recorded.iter_mut().for_each(unembolden);
    }
    let differences = if is_rabbitmq { Vec::new() } else { listed(name) };
    let wrong = wrong(&ran.entries, &recorded, &differences);
    if !wrong.is_empty() {
        let left = leave(name, &wrong);
        let shown: Vec<String> = wrong.iter().take(SHOWN_MAX).map(Wrong::text).collect();
        panic!(
            "{name}: {} of {} steps are not as expected, all are in {}\n{}",
            wrong.len(),
            ran.entries.len(),
            left.display(),
            shown.join("\n")
        );
    }
}

/// The recorded answers of a group, checked against its scenario.
pub(crate) fn recording(group: &str) -> Result<Vec<Entry>, String> {
    let in_group = |error| format!("{group}: {error}");
    let steps = steps(&try_read(SCENARIOS, group)?).map_err(in_group)?;
    let recorded = entries(&try_read(RECORDED, group)?).map_err(in_group)?;
    let expected: Vec<&str> = steps.iter().map(|step| step.line.as_str()).collect();
    let found: Vec<&str> = recorded.iter().map(|entry| entry.line.as_str()).collect();
    match expected.iter().zip(&found).find(|(expected, found)| expected != found) {
        Some((expected, found)) => Err(format!("{group}: the step {expected} is recorded as {found}")),
        None if expected.len() != found.len() => {
            Err(format!("{group}: {} steps, {} of them recorded", expected.len(), found.len()))
        }
        None => Ok(recorded),
    }
}

/// The names of the files in a folder, without their endings.
pub(crate) fn names(folder: &str) -> Vec<String> {
    let folder = fs::read_dir(path(folder, "x").parent().unwrap());
    let files = folder.into_iter().flatten().map(|file| file.unwrap().path());
    files.filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect()
}

/// Takes out what makes terminals write in bold: `RabbitMQ`'s tools write that into files as well, the ones here do not.
fn unembolden(entry: &mut Entry) {
    let is_sorted = matches!(steps(&entry.line).as_deref(), Ok([Step { action: Action::Shell { modes, .. }, .. }])
        if modes.contains(&Mode::Sorted));
    for text in [&mut entry.answer.stdout, &mut entry.answer.stderr] {
        let plain = text.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        if plain == *text {
            continue;
        }
        let mut lines: Vec<&str> = plain.split_inclusive('\n').collect();
        if is_sorted {
            lines.sort_unstable();
        }
        *text = lines.concat();
    }
}

/// A step that is not as expected.
struct Wrong<'a> {
    problem: &'static str,
    expected: Option<&'a Answer>,
    got: Entry,
}

impl Wrong<'_> {
    fn text(&self) -> String {
        let mut text = format!("# {}", self.problem);
        if let Some(expected) = self.expected {
            let mut lines = String::new();
            expected.write(&mut lines);
            text.extend(lines.lines().map(|line| format!("\n#   {line}")));
        }
        text.push('\n');
        self.got.write(&mut text);
        text
    }
}

fn wrong<'a>(ran: &[Entry], recorded: &'a [Entry], differences: &'a [Entry]) -> Vec<Wrong<'a>> {
    let key = |entry: &Entry| (entry.line.clone(), entry.time);
    let mut listed: HashMap<_, _> = differences.iter().map(|entry| (key(entry), entry)).collect();
    let mut wrong = Vec::new();
    for (got, recorded) in ran.iter().zip(recorded) {
        let difference = listed.remove(&key(got));
        let expected = difference.unwrap_or(recorded);
        let problem = if got.answer != expected.answer {
            if difference.is_some() { "the listed difference says" } else { "RabbitMQ says" }
        } else if difference.is_some_and(|difference| difference.answer == recorded.answer) {
            "this is listed as a difference, and is none"
        } else if difference.is_some_and(|difference| difference.because.is_empty()) {
            "this difference has no reason"
        } else {
            continue;
        };
        let because = difference.map(|difference| difference.because.clone()).unwrap_or_default();
        wrong.push(Wrong { problem, expected: Some(&expected.answer), got: Entry { because, ..got.clone() } });
    }
    // In the order of the file.
    for difference in differences.iter().filter(|difference| listed.contains_key(&key(difference))) {
        wrong.push(Wrong { problem: "no such step", expected: None, got: difference.clone() });
    }
    wrong
}

/// Leaves the answers for a person to look at.
fn leave(group: &str, wrong: &[Wrong<'_>]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{group}.txt"));
    let text: String = wrong.iter().map(Wrong::text).collect();
    fs::write(&file, text).unwrap();
    file
}

fn listed(group: &str) -> Vec<Entry> {
    // Most groups have no differences.
    let Ok(text) = try_read(DIFFERENCES, group) else { return Vec::new() };
    entries(&text).unwrap_or_else(|error| panic!("{DIFFERENCES}/{group}.txt: {error}"))
}

fn read(folder: &str, group: &str) -> String {
    try_read(folder, group).unwrap_or_else(|error| panic!("{error}"))
}

fn try_read(folder: &str, group: &str) -> Result<String, String> {
    let path = path(folder, group);
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn path(folder: &str, group: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(folder).join(format!("{group}.txt"))
}

#[test]
fn only_a_listed_difference_may_differ() {
    let entry = |line: &str, time, stdout: &str, because: &str| Entry {
        line: line.to_owned(),
        time,
        because: because.to_owned(),
        answer: Answer { exit: Some(0), stdout: stdout.to_owned(), stderr: String::new() },
    };
    let recorded = [entry("$ a", 1, "x", ""), entry("$ a", 2, "y", "")];
    let problems = |ran: [&str; 2], differences: &[Entry]| {
        let ran = [entry("$ a", 1, ran[0], ""), entry("$ a", 2, ran[1], "")];
        wrong(&ran, &recorded, differences).iter().map(|wrong| wrong.problem).collect::<Vec<_>>()
    };
    assert!(problems(["x", "y"], &[]).is_empty());
    assert_eq!(problems(["x", "z"], &[]), ["RabbitMQ says"]);
    assert!(problems(["x", "z"], &[entry("$ a", 2, "z", "why")]).is_empty());
    assert_eq!(problems(["x", "z"], &[entry("$ a", 2, "z", "")]), ["this difference has no reason"]);
    assert_eq!(problems(["x", "u"], &[entry("$ a", 2, "z", "why")]), ["the listed difference says"]);
    assert_eq!(problems(["x", "y"], &[entry("$ a", 2, "y", "why")]), ["this is listed as a difference, and is none"]);
    assert_eq!(problems(["x", "y"], &[entry("$ b", 1, "z", "why")]), ["no such step"]);
}

#[test]
fn bold_is_taken_out_and_lines_stay_in_order() {
    for (line, text, plain) in [
        ("$ a", "b\n\u{1b}[1mUsage\u{1b}[0m\na\n", "b\nUsage\na\n"),
        ("$sorted a", "\u{1b}[1mUsage\u{1b}[0m\nError\n", "Error\nUsage\n"),
        ("$ a", "b\na\n", "b\na\n"),
    ] {
        let answer = Answer { exit: Some(64), stdout: String::new(), stderr: text.to_owned() };
        let mut entry = Entry { line: line.to_owned(), answer, ..Entry::default() };
        unembolden(&mut entry);
        assert_eq!(entry.answer.stderr, plain, "{line}");
    }
}
