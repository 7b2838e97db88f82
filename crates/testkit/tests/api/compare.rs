//! Running a group and comparing its answers with what is expected.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::answer::{Entry, entries};
use crate::diff::{self, Difference};
use crate::node::Broker;
use crate::rules::{self, Rule};
use crate::run;
use crate::script::{Action, Step, steps};

pub(crate) const SCENARIOS: &str = "scenarios";
pub(crate) const RECORDED: &str = "recorded";
pub(crate) const DIFFERENCES: &str = "differences";

/// The file of differences whose rules are for all groups.
pub(crate) const EVERYWHERE: &str = "everywhere";

/// How many steps that are not as expected are printed in full.
const SHOWN_MAX: usize = 12;

/// Whether the requests of a group are all answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    #[allow(dead_code, reason = "no group may be ready")]
    Yes,
    #[allow(dead_code, reason = "every group may be ready")]
    No,
}

/// Runs one group as the environment asks for.
pub(crate) fn group(name: &str, ready: Ready) {
    let is_asked_for = ["RABBITMQ_TOOLS", "LEVERET_API_ALL"].iter().any(|name| std::env::var_os(name).is_some());
    if ready == Ready::No && !is_asked_for {
        eprintln!("{name}: not compared, its requests are not all answered");
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
    let recorded = recording(name).unwrap_or_else(|error| panic!("{error}"));
    let listed =
        if is_rabbitmq { Listed::default() } else { Listed::of(name).unwrap_or_else(|error| panic!("{error}")) };
    let wrong = wrong(&steps, &ran.entries, &recorded, &listed);
    // What an earlier run left would be taken for what this one did.
    let _ = fs::remove_file(left(name));
    if !wrong.is_empty() {
        let left = leave(name, &wrong);
        let shown: Vec<&str> = wrong.iter().take(SHOWN_MAX).map(String::as_str).collect();
        panic!(
            "{name}: {} of {} steps are not as expected, all are in {}\n{}",
            wrong.len(),
            ran.entries.len(),
            left.display(),
            shown.join("\n")
        );
    }
}

/// What is meant to differ.
#[derive(Default)]
struct Listed {
    /// Whole answers.
    answers: Vec<Entry>,
    /// Fields, of this group.
    rules: Vec<Rule>,
    /// Fields, of all groups.
    everywhere: Vec<Rule>,
}

impl Listed {
    fn of(group: &str) -> Result<Self, String> {
        // Most groups have no differences.
        let (rules, rest) = rules::take(&try_read(DIFFERENCES, group).unwrap_or_default())?;
        let (everywhere, _) = rules::take(&try_read(DIFFERENCES, EVERYWHERE).unwrap_or_default())?;
        let answers = entries(&rest).map_err(|error| format!("{DIFFERENCES}/{group}.txt: {error}"))?;
        Ok(Self { answers, rules, everywhere })
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

/// Every step that is not as expected, with what is wrong with it.
fn wrong(steps: &[Step], ran: &[Entry], recorded: &[Entry], listed: &Listed) -> Vec<String> {
    let key = |entry: &Entry| (entry.line.clone(), entry.time);
    let mut unused: HashMap<_, _> = listed.answers.iter().map(|entry| (key(entry), entry)).collect();
    let mut unused_rules: Vec<&Rule> = listed.rules.iter().collect();
    let mut wrong = Vec::new();
    for ((step, got), recorded) in steps.iter().zip(ran).zip(recorded) {
        let other = unused.remove(&key(got));
        let mut differences = diff::differences(&other.unwrap_or(recorded).answer, &got.answer);
        if let Action::Ask { request, .. } = &step.action {
            unused_rules.retain(|rule| !differences.iter().any(|found| rule.allows(request, found)));
            let rules = || listed.rules.iter().chain(&listed.everywhere);
            differences.retain(|found| !rules().any(|rule| rule.allows(request, found)));
        }
        let problem = match other {
            _ if !differences.is_empty() => "is not as expected",
            Some(other) if other.answer == recorded.answer => "is listed as a difference, and is none",
            Some(other) if other.because.is_empty() => "is a difference without a reason",
            _ => continue,
        };
        wrong.push(describe(problem, &differences, got));
    }
    // In the order of the file.
    for other in listed.answers.iter().filter(|other| unused.contains_key(&key(other))) {
        wrong.push(format!("# no such step\n{}\n", other.line));
    }
    wrong.extend(unused_rules.iter().map(|rule| format!("# nothing differs in this way\n{}\n", rule.line)));
    wrong
}

fn describe(problem: &str, differences: &[Difference], got: &Entry) -> String {
    let mut text = format!("# this {problem}\n");
    for difference in differences {
        let _ = writeln!(text, "#   {difference}");
    }
    got.write(&mut text);
    text
}

/// Leaves the answers for a person to look at.
fn leave(group: &str, wrong: &[String]) -> PathBuf {
    let file = left(group);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, wrong.concat()).unwrap();
    file
}

fn left(group: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("api").join(format!("{group}.txt"))
}

fn read(folder: &str, group: &str) -> String {
    try_read(folder, group).unwrap_or_else(|error| panic!("{error}"))
}

fn try_read(folder: &str, group: &str) -> Result<String, String> {
    let path = path(folder, group);
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn path(folder: &str, group: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api").join(folder).join(format!("{group}.txt"))
}

#[test]
fn only_what_is_listed_may_differ() {
    let steps = steps("> a GET /x\n> a GET /x\n").unwrap();
    let recorded = entries("> a GET /x\n< 200\n{\"f\":1}\n> a GET /x\ntime 2\n< 200\n{\"f\":2}\n").unwrap();
    let problems = |second: &str, listed: &str| {
        let ran = entries(&format!("> a GET /x\n< 200\n{{\"f\":1}}\n> a GET /x\ntime 2\n{second}")).unwrap();
        let (rules, rest) = rules::take(listed).unwrap();
        let listed = Listed { answers: entries(&rest).unwrap(), rules, everywhere: Vec::new() };
        let wrong = wrong(&steps, &ran, &recorded, &listed);
        wrong.iter().map(|text| text.lines().next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let second = "> a GET /x\ntime 2\n";
    for (got, listed, expected) in [
        ("< 200\n{\"f\":2}\n", "", &[][..]),
        ("< 200\n{\"f\":3}\n", "", &["# this is not as expected"]),
        ("< 200\n{\"f\":3}\n", "field GET /* ~ f\nbecause why\n", &[]),
        ("< 200\n{\"f\":2}\n", "field GET /* ~ f\nbecause why\n", &["# nothing differs in this way"]),
        ("< 404\n", &format!("{second}because why\n< 404\n"), &[]),
        ("< 404\n", &format!("{second}< 404\n"), &["# this is a difference without a reason"]),
        (
            "< 200\n{\"f\":2}\n",
            &format!("{second}because x\n< 200\n{{\"f\":2}}\n"),
            &["# this is listed as a difference, and is none"],
        ),
        ("< 200\n{\"f\":2}\n", "> b GET /x\nbecause why\n< 404\n", &["# no such step"]),
    ] {
        assert_eq!(problems(got, listed), expected, "{got} {listed}");
    }
}
