//! `leveret storage check`: reads everything, and says what is there.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Instant;

use leveret_server::Purpose;
use leveret_storage::messages::inspect::{Checked, FileReport, FileState, Inspection, QueueReport};
use leveret_storage::metadata::inspect as metadata;
use serde_json::{Value, json};

use super::definitions::{Definitions, QueueName};
use super::folder::Folder;
use super::progress::Progress;
use super::text::{Side, Table, bytes, count, grouped, shown};
use super::{CheckOptions, Failure, Verdict, body_bytes};

/// Everything that a check found.
pub(super) struct Findings {
    pub(super) definitions: Definitions,
    /// `None` if there is no message log.
    pub(super) messages: Option<Checked>,
}

/// A queue with its name, if a definition has it, and what it holds.
pub(super) struct Queue<'a> {
    pub(super) name: Option<&'a QueueName>,
    pub(super) report: QueueReport,
}

pub(super) fn run(options: &CheckOptions, output: &mut dyn Write) -> Result<Verdict, Failure> {
    let folder = Folder::open(&options.dir, Purpose::Look)?;
    let begun = Instant::now();
    let findings = Findings::read(&folder)?;
    let text = if options.json {
        format!("{:#}\n", findings.json(&folder))
    } else {
        let seconds = begun.elapsed().as_secs_f64();
        format!("{}\n{}\n", findings.text(), findings.summary(&folder, seconds))
    };
    output.write_all(text.as_bytes())?;
    Ok(Verdict::of(findings.is_sound()))
}

impl Findings {
    /// Reads everything in a folder.
    pub(super) fn read(folder: &Folder) -> Result<Self, Failure> {
        let definitions = Definitions::read(folder)?;
        let messages = match folder.messages()? {
            Some(disk) => {
                let mut progress = Progress::new("reading messages");
                let inspection = Inspection::open(&disk).map_err(|error| folder.failure(&error))?;
                let checked = inspection.check(&body_bytes, &mut |done, total| progress.show(done, total));
                Some(checked.map_err(|error| folder.failure(&error))?)
            }
            None => None,
        };
        Ok(Self { definitions, messages })
    }

    pub(super) fn is_sound(&self) -> bool {
        self.definitions.is_sound() && self.messages.as_ref().is_none_or(Checked::is_sound)
    }

    /// The queues: those that are declared by name, empty ones included, then those that hold messages and are not.
    pub(super) fn queues(&self) -> Vec<Queue<'_>> {
        let reports = self.messages.as_ref().map(|checked| checked.queues.as_slice()).unwrap_or_default();
        queues(&self.definitions, reports)
    }

    fn text(&self) -> String {
        let definitions = &self.definitions;
        let mut text = "Definitions\n".to_owned();
        if definitions.files.is_empty() {
            text.push_str("  there are none\n");
        } else {
            text.push_str(&definition_files(definitions));
            let _ = writeln!(text, "\n  {}", declared(definitions));
        }
        for problem in definitions.problems.iter().chain(&definitions.skipped) {
            let _ = writeln!(text, "  {}", shown(problem));
        }
        text.push_str("\nMessages\n");
        match &self.messages {
            Some(checked) if checked.files.is_empty() && checked.missing.is_empty() => {
                text.push_str("  there are no files\n");
            }
            Some(checked) => text.push_str(&message_files(checked)),
            None => text.push_str("  there are no files\n"),
        }
        let queues = self.queues();
        if !queues.is_empty() {
            text.push_str("\nQueues\n");
            text.push_str(&queue_table(&queues));
        }
        text
    }

    fn summary(&self, folder: &Folder, seconds: f64) -> String {
        let queues = self.queues();
        let messages: u64 = queues.iter().map(|queue| queue.report.messages).sum();
        let unreadable: u64 = queues.iter().map(|queue| queue.report.unreadable).sum();
        let holding = queues.iter().filter(|queue| queue.report.messages > 0).count() as u64;
        let mut text = if self.is_sound() {
            format!("Sound: {} in {}, read in {seconds:.1} s.", count(messages, "message"), count(holding, "queue"))
        } else {
            let dir = folder.path.display();
            format!("Damaged: {}. `leveret storage repair {dir}` keeps what can be read.", self.damage(unreadable))
        };
        text.push_str(&self.orphans(folder));
        text
    }

    /// What is damaged, in a few words.
    fn damage(&self, unreadable: u64) -> String {
        let mut parts = Vec::new();
        if !self.definitions.is_sound() {
            parts.push("not all definitions can be read".to_owned());
        }
        if let Some(checked) = &self.messages {
            let lost = checked.files.iter().filter(|file| file.state == FileState::Unreadable).count();
            let lost = (lost + checked.missing.len()) as u64;
            if lost > 0 {
                parts.push(format!("{} {} missing or unreadable as a whole", count(lost, "file"), is(lost)));
            }
            if unreadable > 0 {
                parts.push(format!("{} cannot be read", count(unreadable, "message")));
            }
            if let Some(lost) = unknown(checked) {
                parts.push(lost);
            }
            if parts.is_empty() {
                parts.push("no message of a queue is known to be lost".to_owned());
            }
        }
        parts.join(", ")
    }

    /// What to know about messages in queues that no definition has, on lines of their own.
    pub(super) fn orphans(&self, folder: &Folder) -> String {
        let queues = self.queues();
        let orphans: Vec<_> = queues.iter().filter(|queue| queue.name.is_none()).collect();
        let Some(first) = orphans.first() else { return String::new() };
        let messages = orphans.iter().map(|queue| queue.report.messages).sum();
        let verb = is(messages);
        let (id, dir) = (first.report.queue.0, folder.path.display());
        format!(
            "\n{} {verb} in queues that are not declared; a broker drops them when it starts. They are printed by \
             `leveret storage dump {dir} --id {id}`{}.",
            count(messages, "message"),
            if orphans.len() == 1 { "" } else { " and so on" }
        )
    }

    fn json(&self, folder: &Folder) -> Value {
        let definitions = &self.definitions;
        let files = definitions
            .files
            .iter()
            .map(|file| json!({"name": file.name, "bytes": file.bytes, "state": definition_state(file.state).replace(' ', "_")}));
        let damaged = definitions.damaged.iter().map(|damage| {
            json!({"file": damage.file, "from": damage.range.start, "to": damage.range.end, "records": damage.records})
        });
        let torn = definitions.torn_tail.map(|tail| json!({"from": tail.offset, "records": tail.records}));
        let (vhosts, exchanges, queues, bindings) = totals(definitions);
        let checked = self.messages.as_ref();
        let message_files = checked.map(|checked| checked.files.iter().map(file_json).collect::<Vec<_>>());
        let queue_list = self.queues().into_iter().map(|Queue { name, report }| {
            json!({
                "vhost": name.map(|name| &name.vhost),
                "name": name.map(|name| &name.name),
                "id": report.queue.0,
                "messages": report.messages,
                "body_bytes": report.bytes,
                "first": report.first,
                "last": report.last,
                "delivered_before": report.delivered,
                "unreadable": report.unreadable,
            })
        });
        json!({
            "folder": folder.path.display().to_string(),
            "sound": self.is_sound(),
            "definitions": {
                "sound": definitions.is_sound(),
                "files": files.collect::<Vec<_>>(),
                "damaged": damaged.collect::<Vec<_>>(),
                "torn_tail": torn,
                "problems": definitions.problems,
                "skipped": definitions.skipped,
                "vhosts": vhosts,
                "exchanges": exchanges,
                "queues": queues,
                "bindings": bindings,
            },
            "messages": {
                "sound": checked.is_none_or(Checked::is_sound),
                "files": message_files.unwrap_or_default(),
                "missing": checked.map(|checked| checked.missing.clone()).unwrap_or_default(),
            },
            "queues": queue_list.collect::<Vec<_>>(),
        })
    }
}

/// What is lost and nobody knows of which queue, in a few words.
pub(super) fn unknown(checked: &Checked) -> Option<String> {
    match checked.lost() {
        Some(0) => None,
        Some(records) => Some(format!("{} {} lost of unknown queues", count(records, "record"), is(records))),
        None => Some("an unknown number of records is lost".to_owned()),
    }
}

/// The verb for so many things.
fn is(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

/// Queues with their names and what they hold.
pub(super) fn queues<'a>(definitions: &'a Definitions, reports: &[QueueReport]) -> Vec<Queue<'a>> {
    let find = |id: u64| {
        let place = reports.binary_search_by_key(&id, |report| report.queue.0).ok()?;
        reports.get(place).copied()
    };
    let nothing = |id| QueueReport {
        queue: leveret_storage::messages::QueueKey(id),
        messages: 0,
        bytes: 0,
        first: None,
        last: None,
        delivered: 0,
        unreadable: 0,
    };
    let declared = definitions.queues();
    let mut queues: Vec<Queue<'_>> = declared
        .map(|(id, name)| Queue { name: Some(name), report: find(id).unwrap_or_else(|| nothing(id)) })
        .collect();
    queues.sort_by(|one, other| one.name.cmp(&other.name));
    let orphans = reports.iter().filter(|report| report.messages > 0);
    let orphans = orphans.filter(|report| definitions.queue(report.queue.0).is_none());
    queues.extend(orphans.map(|report| Queue { name: None, report: *report }));
    queues
}

/// How many vhosts, exchanges, queues and bindings there are.
fn totals(definitions: &Definitions) -> (u64, u64, u64, u64) {
    let mut totals = (0, 0, 0, 0);
    for vhost in definitions.topology.vhosts() {
        totals.0 += 1;
        totals.1 += vhost.exchanges().count() as u64;
        totals.2 += vhost.queue_count() as u64;
    }
    let bound =
        |record: &&leveret_broker::topology::Record| matches!(record, leveret_broker::topology::Record::Bound(_));
    totals.3 = definitions.topology.durable_records().iter().filter(bound).count() as u64;
    totals
}

fn declared(definitions: &Definitions) -> String {
    let (vhosts, exchanges, queues, bindings) = totals(definitions);
    let [vhosts, exchanges] = [count(vhosts, "vhost"), count(exchanges, "exchange")];
    format!("{vhosts}, {exchanges}, {}, {}", count(queues, "queue"), count(bindings, "binding"))
}

fn definition_state(state: metadata::FileState) -> &'static str {
    match state {
        metadata::FileState::InUse => "in use",
        metadata::FileState::Replaced => "replaced by a newer one",
        metadata::FileState::Unfinished => "unfinished",
        metadata::FileState::KeptAside => "copy of a damaged file",
        metadata::FileState::Other => "not ours",
    }
}

fn definition_files(definitions: &Definitions) -> String {
    let mut table = Table::new([("file", Side::Left), ("size", Side::Right), ("state", Side::Left)]);
    for file in &definitions.files {
        let damage: Vec<_> = definitions.damaged.iter().filter(|damage| damage.file == file.name).collect();
        let state = definition_state(file.state);
        let state = if damage.is_empty() { state.to_owned() } else { format!("{state}, damaged") };
        table.row([shown(&file.name), bytes(file.bytes), state]);
        for damage in damage {
            table.remark(format!("damaged {}: {}", range(&damage.range), lost(damage.records)));
        }
        if let (Some(tail), metadata::FileState::InUse) = (definitions.torn_tail, file.state) {
            table.remark(unfinished(tail.offset, tail.records));
        }
    }
    table.text()
}

fn message_state(report: &FileReport) -> String {
    let state = match report.state {
        FileState::Sealed => "sealed",
        FileState::Open => "open",
        FileState::Ready => "ready for use",
        FileState::Spare => "spare",
        FileState::Gone => "given back",
        FileState::KeptAside => "copy of a damaged file",
        FileState::Unfinished => "unfinished copy",
        FileState::Unreadable => "nothing in it can be read",
        FileState::Other => "not ours",
    };
    let has_records = matches!(report.state, FileState::Sealed | FileState::Open);
    let dead = if has_records && report.live == 0 { ", dead" } else { "" };
    let damaged = if report.damaged.is_empty() { "" } else { ", damaged" };
    format!("{state}{dead}{damaged}")
}

fn message_files(checked: &Checked) -> String {
    let mut table = Table::new([
        ("file", Side::Left),
        ("size", Side::Right),
        ("state", Side::Left),
        ("messages", Side::Right),
        ("live", Side::Right),
        ("unreadable", Side::Right),
    ]);
    let mut missing = checked.missing.iter().peekable();
    let row = |file: &String| {
        [file.clone(), String::new(), "missing".to_owned(), String::new(), String::new(), String::new()]
    };
    for report in &checked.files {
        while let Some(file) = missing.next_if(|file| **file < report.name) {
            table.row(row(file));
        }
        let has_records = matches!(report.state, FileState::Sealed | FileState::Open);
        let number = |number| if has_records { grouped(number) } else { String::new() };
        table.row([
            shown(&report.name),
            bytes(report.bytes),
            message_state(report),
            number(report.messages),
            number(report.live),
            number(report.unreadable),
        ]);
        for damage in &report.damaged {
            // Behind the last mark, a write that a power cut tore looks the same.
            let doubt = if report.state == FileState::Open { ", unless a power cut left it unfinished" } else { "" };
            table.remark(format!("damaged {}: {}{doubt}", range(&damage.range), lost(damage.records)));
        }
        if let Some(tail) = &report.torn_tail {
            table.remark(unfinished(tail.offset, tail.records));
        }
    }
    missing.for_each(|file| table.row(row(file)));
    table.text()
}

fn range(range: &std::ops::Range<u64>) -> String {
    if range.is_empty() {
        return format!("at byte {}", grouped(range.start));
    }
    format!("from byte {} to {}", grouped(range.start), grouped(range.end))
}

fn lost(records: Option<u64>) -> String {
    match records {
        Some(0) => "nothing is lost by it".to_owned(),
        Some(records) => format!("{} lost", count(records, "record")),
        None => "nobody knows how many records".to_owned(),
    }
}

fn unfinished(offset: u64, records: u64) -> String {
    let behind = if records == 0 { String::new() } else { format!(", with {} in it", count(records, "record")) };
    format!("a write was not finished at byte {}{behind}; it was never confirmed", grouped(offset))
}

fn queue_table(queues: &[Queue<'_>]) -> String {
    let mut table = Table::new([
        ("vhost", Side::Left),
        ("queue", Side::Left),
        ("messages", Side::Right),
        ("bodies", Side::Right),
        ("positions", Side::Right),
        ("redelivered", Side::Right),
        ("unreadable", Side::Right),
    ]);
    for Queue { name, report } in queues {
        let positions = match (report.first, report.last) {
            (Some(first), Some(last)) => format!("{} to {}", grouped(first), grouped(last)),
            _ => String::new(),
        };
        table.row([
            name.map_or_else(String::new, |name| shown(&name.vhost)),
            name.map_or_else(|| format!("number {}, not declared", report.queue.0), |name| shown(&name.name)),
            grouped(report.messages),
            bytes(report.bytes),
            positions,
            grouped(report.delivered),
            grouped(report.unreadable),
        ]);
    }
    table.text()
}

fn file_json(report: &FileReport) -> Value {
    let state = match report.state {
        FileState::Sealed => "sealed",
        FileState::Open => "open",
        FileState::Ready => "ready",
        FileState::Spare => "spare",
        FileState::Gone => "given_back",
        FileState::KeptAside => "kept_aside",
        FileState::Unfinished => "unfinished",
        FileState::Unreadable => "unreadable",
        FileState::Other => "other",
    };
    let damaged = report
        .damaged
        .iter()
        .map(|damage| json!({"from": damage.range.start, "to": damage.range.end, "records": damage.records}));
    let torn = report.torn_tail.as_ref().map(|tail| json!({"from": tail.offset, "records": tail.records}));
    json!({
        "name": report.name,
        "bytes": report.bytes,
        "state": state,
        "messages": report.messages,
        "live": report.live,
        "unreadable": report.unreadable,
        "lost_of_unknown_queues": report.lost,
        "damaged": damaged.collect::<Vec<_>>(),
        "torn_tail": torn,
    })
}
