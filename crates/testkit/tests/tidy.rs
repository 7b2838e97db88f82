//! The project's own rules that no compiler checks: which crate may use which, licences, the shape of source files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports a failure")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which crate may use which; what is not here may not, be it for a test. A new crate needs a decision in `docs/adr`.
const ARROWS: [(&str, &[&str]); 10] = [
    ("leveret-protocol", &[]),
    ("leveret-broker", &[]),
    ("leveret-session", &["leveret-protocol", "leveret-broker"]),
    ("leveret-auth", &["leveret-broker"]),
    ("leveret-management", &["leveret-broker", "leveret-auth"]),
    ("leveret-ctl", &["leveret-auth"]),
    ("leveret-storage", &[]),
    ("leveret-perf", &["leveret-protocol"]),
    (
        "leveret-server",
        &[
            "leveret-protocol",
            "leveret-broker",
            "leveret-session",
            "leveret-auth",
            "leveret-management",
            "leveret-ctl",
            "leveret-storage",
            "leveret-perf",
        ],
    ),
    (
        "leveret-testkit",
        &[
            "leveret-protocol",
            "leveret-broker",
            "leveret-session",
            "leveret-auth",
            "leveret-management",
            "leveret-ctl",
            "leveret-storage",
            "leveret-perf",
            "leveret-server",
        ],
    ),
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

/// The documents at the root; those in `docs` are found.
const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];

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
fn links_between_documents_lead_somewhere() {
    let mut documents: Vec<PathBuf> = DOCUMENTS.iter().map(|name| root().join(name)).collect();
    collect(&root().join("docs"), "md", &mut documents);
    assert!(documents.len() > DOCUMENTS.len(), "no documents found in docs");
    let project = root().canonicalize().unwrap();
    let mut broken = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            // What is outside of the project is not there for its readers.
            let target = document.parent().unwrap().join(link).canonicalize();
            if !target.is_ok_and(|target| target.starts_with(&project)) {
                let document = document.strip_prefix(root()).unwrap();
                broken.push(format!("{}: {link} leads nowhere", document.display()));
            }
        }
    }
    none(&broken);
}

#[test]
fn links_are_the_relative_ones_without_fragment_and_title() {
    for (text, expected) in [
        ("[a](b.md)", &["b.md"][..]),
        ("[a](b.md#c), ![d](e/f.svg) and [g](h \"title\")", &["b.md", "e/f.svg", "h"]),
        ("[![a](b.svg)](c.md)", &["b.svg", "c.md"]),
        ("[a]: b.md\n  [c d]: <e.md>", &["b.md", "e.md"]),
        ("[over\ntwo lines](b.md)", &["b.md"]),
        ("[a](#b), [c](https://d/e), [f](mailto:g@h)", &[]),
        ("```rust\ntable[0](b)\n```\n[c](d)", &["d"]),
        ("`table[0](b)` and `c` [d](e)", &["e"]),
        ("[a] (b), [c], (d): e", &[]),
    ] {
        assert_eq!(links(text), expected, "{text}");
    }
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

/// Where the relative links of a Markdown text lead, without fragments and titles; code has none.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            // Every other part of a line is between backticks.
            let inline = line.split('`').step_by(2).flat_map(|part| part.split("](").skip(1));
            let inline = inline.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
            let definition = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
            links.extend(inline.chain(definition.map(|(_, target)| target)));
        }
    }
    let targets = links.into_iter().filter_map(|link| link.split_whitespace().next());
    let targets = targets.map(|target| target.trim_start_matches('<').trim_end_matches('>'));
    let relative = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    relative.filter_map(|target| target.split('#').next()).filter(|path| !path.is_empty()).collect()
}

/// The source files that break a rule, each with the rule.
fn files_where(is_broken: impl Fn(&str) -> bool, rule: &str) -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["crates", "fuzz"] {
        collect(&root().join(folder), "rs", &mut files);
    }
    assert!(files.len() > ARROWS.len(), "only {} source files found", files.len());
    files.retain(|file| is_broken(&fs::read_to_string(file).unwrap()));
    files.iter().map(|file| format!("{}: {rule}", file.strip_prefix(root()).unwrap().display())).collect()
}

/// Adds the files of a kind in `folder` and below it, but for what builds and fuzzers leave there.
fn collect(folder: &Path, kind: &str, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, kind, files);
        } else if path.extension().is_some_and(|extension| extension == kind) {
            files.push(path);
        }
    }
}

/// Fails with a line for each breach.
fn none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
