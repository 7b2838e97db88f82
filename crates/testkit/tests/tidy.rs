//! The project's own rules that no compiler checks: which crate may use which, licences, the shape of source files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports a failure")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which crate may use which; what is not here may not, be it for a test. A new crate needs a decision in `docs/adr`.
const ARROWS: [(&str, &[&str]); 6] = [
    ("leveret-protocol", &[]),
    ("leveret-broker", &[]),
    ("leveret-session", &["leveret-protocol", "leveret-broker"]),
    ("leveret-perf", &["leveret-protocol"]),
    ("leveret-server", &["leveret-protocol", "leveret-broker", "leveret-session", "leveret-perf"]),
    ("leveret-testkit", &["leveret-protocol", "leveret-broker", "leveret-session", "leveret-perf", "leveret-server"]),
];

/// Licences under which others' code may be built into the broker: none asks for more than a notice.
const LICENCES: [&str; 12] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "Unlicense",
    "CC0-1.0",
    "BSL-1.0",
];

/// Marks of unfinished work; taken apart so that this file may hold them.
const UNFINISHED: [&str; 4] =
    [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("#[ig", "nore"), concat!("FIX", "ME")];

const LINES_MAX: usize = 900;

#[test]
fn crates_use_only_what_the_arrows_allow() {
    let metadata = metadata();
    let mut broken = Vec::new();
    for package in members(&metadata) {
        let name = text(package, "name");
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            broken.push(format!("{name} has no arrows"));
            continue;
        };
        for dependency in array(package, "dependencies") {
            let to = text(dependency, "name");
            if to.starts_with("leveret-") && !allowed.contains(&to) {
                broken.push(format!("{name} may not use {to}"));
            }
        }
    }
    none(&broken);
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let metadata = metadata();
    let mut broken = Vec::new();
    for package in array(&metadata, "packages") {
        let licence = package.get("license").and_then(Value::as_str);
        if !licence.is_some_and(|expression| is_allowed(expression, &LICENCES)) {
            broken.push(format!("{} {}: {licence:?}", text(package, "name"), text(package, "version")));
        }
    }
    none(&broken);
}

#[test]
fn every_source_file_says_what_it_holds() {
    none(&files_where(|source| !source.starts_with("//! "), "does not open with `//!`"));
}

#[test]
fn no_source_file_has_unfinished_work() {
    for mark in UNFINISHED {
        none(&files_where(|source| source.contains(mark), mark));
    }
}

#[test]
fn no_source_file_is_too_long_to_read() {
    none(&files_where(|source| source.lines().count() > LINES_MAX, "is too long"));
}

#[test]
fn a_licence_is_allowed_when_some_choice_of_it_is() {
    for (expression, expected) in [
        ("A", true),
        ("X", false),
        ("A OR X", true),
        ("X OR A", true),
        ("X/A", true),
        ("A AND X", false),
        ("A AND B", true),
        // AND binds closer than OR.
        ("A OR X AND X", true),
        ("X AND X OR A", true),
        ("(A OR X) AND X", false),
        ("(X OR A) AND (B)", true),
        ("A WITH some-exception", true),
        ("X WITH some-exception OR X", false),
        ("A+", false),
        ("", false),
        ("A OR", false),
        ("A B", false),
        ("(A", false),
        ("A)", false),
        ("OR A", false),
    ] {
        assert_eq!(is_allowed(expression, &["A", "B"]), expected, "{expression}");
    }
}

/// Whether an SPDX expression leaves a choice that needs no licence but these; `/` is the old way to write `OR`.
fn is_allowed(expression: &str, licences: &[&str]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    any_of(&words, licences) == Some((true, &[]))
}

/// A judgement and the words after it; `None` is a mistake in the expression.
type Judged<'a> = Option<(bool, &'a [&'a str])>;

fn any_of<'a>(words: &'a [&'a str], licences: &[&str]) -> Judged<'a> {
    let (mut allowed, mut words) = all_of(words, licences)?;
    while let Some(("OR", rest)) = next(words) {
        let (other, rest) = all_of(rest, licences)?;
        (allowed, words) = (allowed | other, rest);
    }
    Some((allowed, words))
}

fn all_of<'a>(words: &'a [&'a str], licences: &[&str]) -> Judged<'a> {
    let (mut allowed, mut words) = one(words, licences)?;
    while let Some(("AND", rest)) = next(words) {
        let (other, rest) = one(rest, licences)?;
        (allowed, words) = (allowed & other, rest);
    }
    Some((allowed, words))
}

fn one<'a>(words: &'a [&'a str], licences: &[&str]) -> Judged<'a> {
    match next(words)? {
        ("(", rest) => {
            let (allowed, rest) = any_of(rest, licences)?;
            let (")", rest) = next(rest)? else { return None };
            Some((allowed, rest))
        }
        (")" | "AND" | "OR" | "WITH", _) => None,
        (licence, rest) => {
            let allowed = licences.contains(&licence);
            // An exception takes duties away and adds none.
            match next(rest) {
                Some(("WITH", rest)) => next(rest).map(|(_, rest)| (allowed, rest)),
                _ => Some((allowed, rest)),
            }
        }
    }
}

fn next<'a>(words: &'a [&'a str]) -> Option<(&'a str, &'a [&'a str])> {
    words.split_first().map(|(first, rest)| (*first, rest))
}

/// What cargo knows about the workspace and its dependencies.
///
/// For every platform if possible; without a network only what this one needs is there.
fn metadata() -> Value {
    let host = format!("--filter-platform={}", host());
    let mut failures = Vec::new();
    for more in [&[] as &[&str], &["--offline", &host]] {
        let output = cargo().args(["metadata", "--format-version=1", "--locked"]).args(more).output().unwrap();
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).unwrap();
        }
        failures.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    panic!("cargo metadata: {}", failures.join("\n"));
}

/// The platform that cargo builds for, such as `x86_64-unknown-linux-gnu`.
fn host() -> String {
    let output = cargo().arg("-vV").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The packages of the workspace itself.
fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    let members = array(metadata, "workspace_members");
    array(metadata, "packages").iter().filter(|package| members.contains(&package["id"]))
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("{key} is no array"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text"))
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The source files that break a rule, each with the rule.
fn files_where(is_broken: impl Fn(&str) -> bool, rule: &str) -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["crates", "fuzz"] {
        collect_sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > ARROWS.len(), "only {} source files found", files.len());
    files.retain(|file| is_broken(&fs::read_to_string(file).unwrap()));
    files.iter().map(|file| format!("{}: {rule}", file.strip_prefix(root()).unwrap().display())).collect()
}

/// Adds the Rust files in `folder` and below it, but for what builds and fuzzers leave there.
fn collect_sources(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect_sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Fails with a line for each breach.
fn none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
