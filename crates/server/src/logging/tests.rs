//! Records on their way from where they are logged to files.

use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::log::{CategoryLog, FileLog, LogFormatter, LogLevel};

/// A log that writes to a folder.
struct Log {
    logs: Logs,
    folder: TempDir,
}

fn file(level: Option<LogLevel>) -> FileLog {
    let formatter = LogFormatter { text: "[$level] $pid $msg".to_owned(), ..LogFormatter::default() };
    FileLog { name: FileName::Named("x.log".into()), level, formatter, ..FileLog::default() }
}

fn category(level: Option<LogLevel>, file: Option<&str>) -> CategoryLog {
    CategoryLog { level, file: file.map(PathBuf::from), ..CategoryLog::default() }
}

impl Log {
    fn new(filter: &str, settings: &LogSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wishes = Wishes { filter: Filter::parse(filter).unwrap(), style: None };
        let logs = Logs::new(wishes).unwrap();
        logs.configure(settings, "rabbit@here", folder.path()).unwrap();
        Self { logs, folder }
    }

    /// What goes to files while something is done.
    fn of(&self, log: impl FnOnce()) {
        tracing::subscriber::with_default(registry().with(Distributor(Arc::clone(&self.logs.hub))), || {
            // Other tests run at the same time and have callsites in common with this one.
            tracing::callsite::rebuild_interest_cache();
            log();
        });
        self.logs.flush();
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("log").join(name)).unwrap()
    }
}

/// What is logged meanwhile, each line as `[level] text`.
pub(crate) fn captured(log: impl FnOnce()) -> Vec<String> {
    let formatter = LogFormatter { text: "[$level] $msg".to_owned(), ..LogFormatter::default() };
    let to_file = Log::new("", &LogSettings { file: FileLog { formatter, ..file(None) }, ..LogSettings::default() });
    to_file.of(log);
    to_file.file("x.log").lines().map(str::to_owned).collect()
}

fn one_of_each() {
    tracing::debug!(target: "connection", connection = 7, "connection debug");
    tracing::info!(target: "connection", connection = 7, user = "x", "connection info");
    tracing::error!(target: "channel", connection = 7, channel = 2, detail = "because", "channel error:");
    tracing::info!(size = 3, name = "a\nb", "default info");
    tracing::warn!("default warning");
}

#[test]
fn a_record_is_one_line_whatever_is_in_it() {
    let log = Log::new("", &LogSettings { file: file(None), ..LogSettings::default() });
    log.of(|| {
        let name = "a\r\n ERROR \u{1b}[1m\u{2028}ü";
        tracing::info!(name, shown = %name, number = 7, "no queue '{name}'");
        tracing::error!(report = %"one\ntwo", "damaged");
        tracing::warn!(target: "connection", connection = 3_u64, user = name, detail = %name, "closing ({name}):");
    });
    let escaped = "a\\r\\n ERROR \\u{1b}[1m\\u{2028}ü";
    let expected = [
        format!("[info] <0.0.0> no queue '{escaped}' name=\"{escaped}\" shown={escaped} number=7"),
        "[error] <0.0.0> damaged".to_owned(),
        "[error] <0.0.0> one".to_owned(),
        "[error] <0.0.0> two".to_owned(),
        format!("[warning] <0.3.0> closing ({escaped}):"),
        format!("[warning] <0.3.0> {escaped}"),
    ];
    assert_eq!(log.file("x.log").lines().collect::<Vec<_>>(), expected);
}

#[test]
fn levels_are_those_of_modules_then_categories_then_outputs() {
    let settings = |level, categories: &[(LogCategory, LogLevel)]| LogSettings {
        file: file(level),
        categories: categories.iter().map(|(name, level)| (*name, category(Some(*level), None))).collect(),
        ..LogSettings::default()
    };
    let connection = |level| (LogCategory::Connection, level);
    let all = ["connection debug", "connection info", "channel error:", "because", "default info", "default warning"];
    for (filter, settings, expected) in [
        ("", settings(None, &[]), &[1, 2, 3, 4, 5][..]),
        ("", settings(Some(LogLevel::Debug), &[]), &[0, 1, 2, 3, 4, 5]),
        ("", settings(Some(LogLevel::Warning), &[]), &[2, 3, 5]),
        ("", settings(Some(LogLevel::Notice), &[]), &[2, 3, 5]),
        ("", settings(Some(LogLevel::Critical), &[]), &[]),
        ("", settings(Some(LogLevel::None), &[]), &[]),
        ("error", settings(Some(LogLevel::Debug), &[]), &[2, 3]),
        ("", settings(Some(LogLevel::Error), &[connection(LogLevel::Debug)]), &[0, 1, 2, 3]),
        ("", settings(None, &[connection(LogLevel::None), (LogCategory::Default, LogLevel::Warning)]), &[2, 3, 5]),
        ("leveret_server::logging=warn", settings(Some(LogLevel::Debug), &[connection(LogLevel::Debug)]), &[2, 3, 5]),
        ("none,leveret_server=info", settings(None, &[]), &[1, 2, 3, 4, 5]),
    ] {
        let log = Log::new(filter, &settings);
        log.of(one_of_each);
        let text = log.file("x.log");
        let found: Vec<_> = text.lines().filter_map(|line| all.iter().position(|text| line.contains(text))).collect();
        assert_eq!(found, expected, "{filter} {settings:?}\n{text}");
    }
}

#[test]
fn a_category_may_have_a_file_of_its_own() {
    let categories = BTreeMap::from([
        (LogCategory::Connection, category(None, Some("clients.log"))),
        (LogCategory::Channel, category(Some(LogLevel::Error), Some("clients.log"))),
    ]);
    let log = Log::new("", &LogSettings { file: file(None), categories, ..LogSettings::default() });
    log.of(one_of_each);
    assert_eq!(
        log.file("x.log"),
        "[info] <0.0.0> default info size=3 name=\"a\\nb\"\n[warning] <0.0.0> default warning\n"
    );
    assert_eq!(
        log.file("clients.log"),
        "[info] <0.7.0> connection info\n[error] <0.7.2> channel error:\n[error] <0.7.2> because\n"
    );
    let names = log.logs.locations();
    assert!(names.len() == 2 && names.iter().any(|name| name.ends_with("/log/clients.log")), "{names:?}");
    assert_eq!(log.logs.tail(1).unwrap(), ["[warning] <0.0.0> default warning"]);
}

#[test]
fn levels_change_while_the_node_runs() {
    let log = Log::new("", &LogSettings { file: file(None), ..LogSettings::default() });
    let record = || tracing::info!(target: "queue", "a queue");
    log.of(|| {
        record();
        log.logs.set_level(None, Severity::Warning);
        record();
        log.logs.set_level(Some(LogCategory::Queue), Severity::Debug);
        record();
        log.logs.set_level(Some(LogCategory::Queue), Severity::None);
        record();
    });
    assert_eq!(log.file("x.log").lines().count(), 2);
}

#[test]
fn files_are_rotated_on_command_and_followed() {
    let log = Log::new("", &LogSettings { file: file(None), ..LogSettings::default() });
    let mut follower = log.logs.follow();
    log.of(|| tracing::warn!("first"));
    log.logs.rotate();
    log.of(|| tracing::warn!("second"));
    assert_eq!(log.file("x.log"), "[warning] <0.0.0> second\n");
    assert_eq!(log.file("x.log.0"), "[warning] <0.0.0> first\n");
    for text in ["first\n", "second\n"] {
        let line = follower.blocking_next().unwrap();
        assert!(line.ends_with(text), "{line}");
    }
}

#[test]
fn where_the_log_goes_is_what_settings_say() {
    let folder = tempfile::tempdir().unwrap();
    let logs = Logs::new(Wishes::default()).unwrap();
    assert_eq!(logs.locations(), ["<stderr>"]);
    let console = |enabled| crate::config::log::ConsoleLog { enabled, ..Default::default() };
    let log_dir = Some(folder.path().to_owned());
    for (settings, expected) in [
        (LogSettings { console: console(Some(true)), ..LogSettings::default() }, &["<stdout>"][..]),
        (LogSettings { console: console(Some(false)), ..LogSettings::default() }, &[]),
        (LogSettings { folder: log_dir.clone(), ..LogSettings::default() }, &["rabbit@here.log"]),
        (
            LogSettings { folder: log_dir, console: console(Some(true)), ..LogSettings::default() },
            &["rabbit@here.log", "<stdout>"],
        ),
    ] {
        logs.configure(&settings, "rabbit@here", folder.path()).unwrap();
        let found = logs.locations();
        assert!(found.len() == expected.len(), "{found:?}");
        assert!(found.iter().zip(expected).all(|(found, expected)| found.ends_with(expected)), "{found:?}");
    }
    let within_a_file = folder.path().join("rabbit@here.log");
    let settings = LogSettings { folder: Some(within_a_file), ..LogSettings::default() };
    let error = logs.configure(&settings, "rabbit@here", folder.path()).unwrap_err();
    assert!(error.to_string().starts_with("cannot write to the log file"), "{error}");
    assert_eq!(logs.locations().len(), 2, "what was before stays");
}
