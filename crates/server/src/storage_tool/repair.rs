//! `leveret storage repair`: makes a data folder sound, and says what was lost.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use leveret_server::Purpose;
use leveret_storage::messages::Options;
use leveret_storage::messages::inspect::{Checked, QueueReport, Step, plan, repair};
use leveret_storage::metadata::inspect::FileState;
use leveret_storage::{Disk, MetadataLog};

use super::check::{Findings, queues, unknown};
use super::definitions::Definitions;
use super::folder::Folder;
use super::progress::Progress;
use super::text::{Side, Table, count, grouped, shown};
use super::{Failure, RepairOptions, Verdict, body_bytes};

pub(super) fn run(options: &RepairOptions, output: &mut dyn Write) -> Result<Verdict, Failure> {
    if options.dry_run {
        return dry_run(&Folder::open(&options.dir, Purpose::Look)?, output);
    }
    let folder = Folder::open(&options.dir, Purpose::Change)?;
    let before = Definitions::read(&folder)?;
    let text = repair_definitions(&before, &folder)?;
    output.write_all(text.as_bytes())?;
    let mut is_done = !text.is_empty();
    let definitions = Definitions::read(&folder)?;
    let mut is_sound = definitions.is_sound();
    let mut messages = None;
    if let Some(disk) = folder.messages()? {
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let mut progress = Progress::new("reading messages");
        let repaired = repair(&disk, Options::default(), &body_bytes, &mut |done, total| progress.show(done, total))
            .map_err(|error| folder.failure(&error))?;
        drop(progress);
        is_done |= !repaired.steps.is_empty();
        is_sound &= repaired.after.is_sound();
        let mut text = message_steps(&repaired.steps, Tense::Done);
        text.push_str(&losses(&before, &repaired.before, Some(&repaired.after)));
        output.write_all(text.as_bytes())?;
        messages = Some(repaired.after);
    }
    let mut end = end(&definitions, is_done, is_sound);
    if is_done {
        let orphans = Findings { definitions, messages }.orphans(&folder);
        end.push_str(orphans.trim_start());
        end.push_str(if orphans.is_empty() { "" } else { "\n" });
    }
    output.write_all(end.as_bytes())?;
    Ok(Verdict::of(is_sound))
}

/// Does what a start does about the log of definitions, and leaves out of it what a start would skip.
fn repair_definitions(before: &Definitions, folder: &Folder) -> Result<String, Failure> {
    let mut text = definition_steps(before, Tense::Done);
    let Some(disk) = folder.metadata()?.filter(|_| !text.is_empty()) else { return Ok(text) };
    let disk: Arc<dyn Disk> = Arc::new(disk);
    if !before.skipped.is_empty() && before.damaged.is_empty() {
        // Opening keeps a copy only of a log that is damaged itself.
        let in_use = before.files.iter().find(|file| file.state == FileState::InUse);
        if let Some(file) = in_use {
            let copy = format!("{}.damaged", file.name);
            keep_copy(&*disk, &file.name, &copy).map_err(|error| folder.failure(&error))?;
            let _ = writeln!(text, "The file as it was found is kept as {copy}.");
        }
    }
    let (mut log, recovered) = MetadataLog::open(disk).map_err(|error| folder.failure(&error))?;
    for kept in &recovered.report.kept_aside {
        let _ = writeln!(text, "The file as it was found is kept as {kept}.");
    }
    if !before.skipped.is_empty() {
        let records = before.topology.durable_records();
        let octets = records.iter().map(|record| {
            let mut octets = Vec::new();
            record.encode(&mut octets);
            octets
        });
        log.snapshot(octets).map_err(|error| folder.failure(&error))?;
    }
    Ok(text)
}

/// Copies a file, durably, unless there is a copy.
fn keep_copy(disk: &dyn Disk, name: &str, copy: &str) -> std::io::Result<()> {
    if disk.open(copy).is_ok() {
        return Ok(());
    }
    let content = disk.open(name)?.read_all()?;
    // A start removes a file of this name: under the other one, a copy is complete.
    let unfinished = format!("{name}.tmp");
    let file = disk.create(&unfinished)?;
    file.write_at(0, &content)?;
    file.sync_data()?;
    disk.rename(&unfinished, copy)?;
    disk.sync_folder()
}

/// Says what would be done; nothing is.
fn dry_run(folder: &Folder, output: &mut dyn Write) -> Result<Verdict, Failure> {
    let findings = Findings::read(folder)?;
    let mut text = definition_steps(&findings.definitions, Tense::Planned);
    if let (Some(disk), Some(checked)) = (folder.messages()?, &findings.messages) {
        let steps = plan(&disk, checked).map_err(|error| folder.failure(&error))?;
        text.push_str(&message_steps(&steps, Tense::Planned));
        text.push_str(&losses(&findings.definitions, checked, None));
    }
    if !text.is_empty() {
        text.push_str(findings.orphans(folder).trim_start());
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for problem in &findings.definitions.problems {
        let _ = writeln!(text, "A repair cannot help: {}.", shown(problem));
    }
    if text.is_empty() {
        text.push_str("Nothing to do: everything is sound.\n");
    }
    output.write_all(text.as_bytes())?;
    Ok(Verdict::of(findings.is_sound()))
}

fn end(definitions: &Definitions, is_done: bool, is_sound: bool) -> String {
    let mut text = String::new();
    for problem in &definitions.problems {
        let _ = writeln!(text, "A repair cannot help: {}.", shown(problem));
    }
    match (is_done, is_sound) {
        (false, true) => text.push_str("Nothing to do: everything is sound.\n"),
        (true, true) => text.push_str("Everything is sound now.\n"),
        (_, false) => {}
    }
    text
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tense {
    Planned,
    Done,
}

impl Tense {
    /// `Would be`, or what it was, with the rest of the sentence.
    fn say(self, subject: &str, participle: &str) -> String {
        match self {
            Self::Planned => format!("{subject} would be {participle}.\n"),
            Self::Done => format!("{subject} was {participle}.\n"),
        }
    }
}

fn definition_steps(definitions: &Definitions, tense: Tense) -> String {
    let mut text = String::new();
    if !definitions.problems.is_empty() {
        return text;
    }
    for skipped in &definitions.skipped {
        text.push_str(&tense.say(&format!("A definition that no broker would use ({})", shown(skipped)), "left out"));
    }
    if !definitions.wants_repair {
        return text;
    }
    for damage in &definitions.damaged {
        let lost = match damage.records {
            Some(records) => format!("{} lost", count(records, "definition")),
            None => "nobody knows how many definitions are lost".to_owned(),
        };
        let place = format!("{} is damaged from byte {} to {}", damage.file, damage.range.start, damage.range.end);
        let _ = writeln!(text, "{place}: {lost}.");
    }
    if !definitions.damaged.is_empty() {
        text.push_str(&tense.say("The log of definitions", "copied aside and written anew from what can be read"));
    }
    if let Some(tail) = definitions.torn_tail {
        let what = format!("A write of {} bytes to the log of definitions that was not finished", tail.bytes);
        text.push_str(&tense.say(&what, "cut off"));
    }
    for file in &definitions.files {
        if matches!(file.state, FileState::Replaced | FileState::Unfinished) {
            text.push_str(&tense.say(&format!("{}, which a crash left,", file.name), "removed"));
        }
    }
    text
}

fn message_steps(steps: &[Step], tense: Tense) -> String {
    let say = |step: &Step| match step {
        Step::KeepCopy { file, copy } => tense.say(file, &format!("copied to {copy}")),
        Step::SetAside { file, name } => {
            tense.say(&format!("{file}, in which nothing can be read,"), &format!("renamed to {name}"))
        }
        Step::Rewrite { file } => tense.say(file, "written anew from what can be read"),
        Step::Forget { file } => {
            tense.say(&format!("{file}, which is missing with all its messages,"), "taken off the list")
        }
        Step::CutTail(tail) => {
            let what = format!("A write to {} that was not finished", tail.file);
            tense.say(&what, &format!("cut off at byte {}", grouped(tail.offset)))
        }
        Step::Remove { file } => tense.say(&format!("{file}, a copy that was not finished,"), "removed"),
    };
    steps.iter().map(say).collect()
}

/// What queues lost, in a table; nothing if they lost nothing.
fn losses(definitions: &Definitions, before: &Checked, after: Option<&Checked>) -> String {
    let left = |report: &QueueReport| match after {
        Some(after) => {
            let found = after.queues.iter().find(|queue| queue.queue == report.queue);
            found.map_or(0, |queue| queue.messages)
        }
        None => report.messages - report.unreadable,
    };
    let mut table =
        Table::new([("vhost", Side::Left), ("queue", Side::Left), ("lost", Side::Right), ("left", Side::Right)]);
    let mut has_lost = false;
    for queue in queues(definitions, &before.queues) {
        let left = left(&queue.report);
        let lost = queue.report.messages.saturating_sub(left);
        if lost == 0 {
            continue;
        }
        has_lost = true;
        table.row([
            queue.name.map_or_else(String::new, |name| shown(&name.vhost)),
            queue
                .name
                .map_or_else(|| format!("number {}, not declared", queue.report.queue.0), |name| shown(&name.name)),
            grouped(lost),
            grouped(left),
        ]);
    }
    let mut text = if has_lost { format!("\nMessages\n{}\n", table.text()) } else { String::new() };
    if let Some(lost) = unknown(before) {
        let _ = writeln!(text, "{}{lost}.", if has_lost { "Besides, " } else { "As far as can be told, " });
    } else if !has_lost && before.files.iter().any(|file| !file.damaged.is_empty()) {
        text.push_str("No queue loses a message by that.\n");
    }
    text
}
