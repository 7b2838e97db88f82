//! Definitions into files and out of them.

use std::fs;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Line;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::Answer;
use crate::spec::{Command, Flag, Positional, Section, Takes};

/// How often the progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Width of the bar that shows it.
const BAR: usize = 30;

pub(super) const COMMANDS: &[Command] = &[
    Command::new("import_definitions", Section::Definitions, "Imports definitions in JSON", import)
        .takes(
            "<file_path | \"-\"> [--format <json | erlang>] [--skip-if-unchanged] [--timeout <timeout>]",
            &[Positional::optional("file", "local file path to import from. If omitted will be read from standard input")],
            &[
                Flag::with("format", Takes::Text("format"), "input format to use: json; there is no Erlang here"),
                Flag::switch("skip-if-unchanged", "accepted for RabbitMQ's sake: what is unchanged costs next to nothing"),
                Flag::switch("dry-run", "show what the import would change, line by line, and change nothing"),
            ],
        )
        .notes(
            "With --vhost everything in the file goes into that virtual host, as a file that was exported with --vhost does. \
             Nothing is ever deleted by an import. A file with a mistake changes nothing: the whole of it is done, or none.",
        )
        .timeout(300)
        .validate(validate_import)
        .banner(|it| match it.argument("file") {
            Some("-") | None => Some("Importing definitions in JSON from standard input ...".to_owned()),
            Some(file) => Some(format!("Importing definitions in JSON from a file at \"{file}\" ...")),
        }),
    Command::new("export_definitions", Section::Definitions, "Exports definitions in JSON", export)
        .takes(
            "<file_path | \"-\"> [--format <json | erlang>] [--timeout <timeout>]",
            &[Positional::one("file", "local file path to export to. Pass a dash (-) for stdout.")],
            &[Flag::with("format", Takes::Text("format"), "output format to use: json; there is no Erlang here")],
        )
        .notes("With --vhost only what is in that virtual host is exported, in a form that can be imported into another one.")
        .timeout(300)
        .validate(validate_export)
        .banner(|it| match it.required("file") {
            "-" => None,
            file => Some(format!("Exporting definitions in JSON to a file at \"{file}\" ...")),
        }),
];

fn validate_format(invocation: &Invocation) -> Result<(), Failure> {
    match invocation.value("format").map(str::to_lowercase).as_deref() {
        None | Some("json") => Ok(()),
        Some("erlang") => {
            Err(invocation.bad_argument("Format should be json: there is no Erlang here to read or write its terms"))
        }
        Some(_) => Err(invocation.bad_argument("Format should be either json or erlang")),
    }
}

fn validate_import(invocation: &Invocation) -> Result<(), Failure> {
    validate_format(invocation)?;
    match invocation.argument("file") {
        Some("-") | None => Ok(()),
        Some(file) => match fs::metadata(file) {
            Err(_) => Err(invocation.bad_argument(&format!("File {file} does not exist"))),
            Ok(found) if found.is_file() && found.len() == 0 => {
                Err(invocation.bad_argument(&format!("File {file} is zero-sized")))
            }
            Ok(_) => Ok(()),
        },
    }
}

fn validate_export(invocation: &Invocation) -> Result<(), Failure> {
    validate_format(invocation)?;
    let folder = Path::new(invocation.required("file")).parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|folder| !folder.is_dir()) {
        Some(folder) => Err(invocation.bad_argument(&format!("Directory {} does not exist", folder.display()))),
        None => Ok(()),
    }
}

fn import(invocation: &Invocation) -> Result<Answer, Failure> {
    let text = match invocation.argument("file") {
        None | Some("-") => {
            let mut text = String::new();
            let read = std::io::stdin().lock().read_to_string(&mut text);
            read.map_err(|error| Failure::new(Exit::Io, format!("cannot read standard input: {error}")))?;
            text
        }
        Some(file) => {
            fs::read_to_string(file).map_err(|error| Failure::new(Exit::Io, format!("cannot read {file}: {error}")))?
        }
    };
    let is_dry_run = invocation.general.dry_run || invocation.is_set("dry-run");
    let vhost = invocation.general.vhost.as_deref();
    let arguments = json!({ "definitions": text, "vhost": vhost, "dry_run": is_dry_run });
    drop(text);
    let mut bar = Bar::new();
    let mut changes = Vec::new();
    let result = invocation.call_each("import_definitions", &arguments, &mut |line| {
        match line {
            Line::Row(row) => changes.extend(row.get("change").and_then(Value::as_str).map(str::to_owned)),
            Line::Progress { what, done, of } => bar.show(&what, done, of),
            Line::Note(_) => {}
        }
        Ok(())
    });
    bar.clear();
    let result = result?;
    for warning in list(&result, "warnings") {
        eprintln!("Warning: {warning}");
    }
    let dropped = result.get("warnings_dropped").and_then(Value::as_u64).unwrap_or_default();
    if dropped > 0 {
        eprintln!("Warning: there are {dropped} more warnings like these");
    }
    changes.push(summary(&result, is_dry_run));
    let text = if invocation.is_hushed() && !is_dry_run { String::new() } else { changes.join("\n") };
    Ok(Answer::Report { text, value: result })
}

fn list<'a>(result: &'a Value, key: &str) -> Vec<&'a str> {
    result
        .get(key)
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

/// What came of it, in a line.
fn summary(result: &Value, is_dry_run: bool) -> String {
    let counts = result.get("counts").and_then(Value::as_object);
    let sum = |key: &str| -> u64 {
        let all = counts.into_iter().flat_map(|counts| counts.values());
        all.filter_map(|counts| counts.get(key).and_then(Value::as_u64)).sum()
    };
    let (created, changed, unchanged) = (sum("created"), sum("changed"), sum("unchanged"));
    let done = match (is_dry_run, created + changed) {
        (_, 0) => "Nothing to change".to_owned(),
        (true, _) => format!("Would create {created} and change {changed}"),
        (false, _) => format!("Created {created} and changed {changed}"),
    };
    let more = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    let kept = more(sum("kept"), "kept with other properties");
    let left_out = more(sum("left_out"), "left out");
    format!("{done}; {unchanged} as they should be{kept}{left_out}.")
}

/// How far an import is, on the terminal if there is one.
struct Bar {
    is_shown: bool,
    last: Option<Instant>,
}

impl Bar {
    fn new() -> Self {
        Self { is_shown: std::io::stderr().is_terminal(), last: None }
    }

    fn show(&mut self, what: &str, done: u64, of: u64) {
        if !self.is_shown || (done < of && self.last.is_some_and(|last| last.elapsed() < PROGRESS_EVERY)) {
            return;
        }
        self.last = Some(Instant::now());
        // The node may send anything; a bar is never wider than it is.
        let filled = usize::try_from(done.saturating_mul(30).checked_div(of).unwrap_or(30)).unwrap_or(BAR).min(BAR);
        let line = format!("\r\x1b[K{}{} {done} of {of} {what}", "█".repeat(filled), "░".repeat(BAR - filled));
        let mut stderr = std::io::stderr();
        // A bar that cannot be drawn is no reason to stop.
        let _ = stderr.write_all(line.as_bytes()).and_then(|()| stderr.flush());
    }

    fn clear(&self) {
        if self.is_shown && self.last.is_some() {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

fn export(invocation: &Invocation) -> Result<Answer, Failure> {
    let vhost = invocation.general.vhost.as_deref();
    let reply = invocation.call("export_definitions", &json!({ "vhost": vhost }))?;
    let text = reply.result.get("definitions").and_then(Value::as_str).unwrap_or_default();
    match invocation.required("file") {
        "-" => {
            let value = serde_json::from_str(text).map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
            Ok(Answer::Report { text: text.to_owned(), value })
        }
        file => {
            write_whole(Path::new(file), text)
                .map_err(|error| Failure::new(Exit::CannotCreate, format!("cannot write {file}: {error}")))?;
            Ok(Answer::Report { text: String::new(), value: Value::Null })
        }
    }
}

/// Writes a file so that it is whole or not there. It has the hashes of passwords, so nobody else may read it.
fn write_whole(file: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // What is no file, such as a pipe, cannot be replaced.
    if file.exists() && !file.is_file() {
        return fs::write(file, text);
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = file.with_file_name(name);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut opened| opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()))
        .and_then(|()| fs::rename(&part, file));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_what_was_done() {
        let result = json!({"counts": {
            "queues": {"created": 2, "changed": 0, "unchanged": 5, "kept": 1, "left_out": 0},
            "policies": {"created": 0, "changed": 1, "unchanged": 0, "kept": 0, "left_out": 2},
        }});
        for (is_dry_run, text) in [
            (false, "Created 2 and changed 1; 5 as they should be, 1 kept with other properties, 2 left out."),
            (true, "Would create 2 and change 1; 5 as they should be, 1 kept with other properties, 2 left out."),
        ] {
            assert_eq!(summary(&result, is_dry_run), text);
        }
        assert_eq!(summary(&json!({"counts": {}}), false), "Nothing to change; 0 as they should be.");
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out.json");
        fs::write(&file, "before").unwrap();
        write_whole(&file, "after").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "after");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_whole(&folder.path().join("none/out.json"), "x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
