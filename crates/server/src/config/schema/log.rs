//! Settings of the log.

use super::{At, Group, Setting, Takes};
use crate::config::log::{
    CategoryLog, ConsoleStream, FileName, LevelFormat, LogCategory, LogFormatter, LogLevel, LogStyle, Rotation,
    TimeFormat,
};

const LEVEL_FORMATS: &[&str] = &["lc", "uc", "lc3", "uc3", "lc4", "uc4"];
const SWITCH: &[&str] = &["on", "off", "true", "false"];
/// The most old files that are kept.
const FILES_MAX: u64 = 10_000;

pub(super) const GROUP: Group = Group {
    title: "Log",
    settings: &[
        Setting {
            key: "log.dir",
            takes: Takes::Name(|draft, _, folder| draft.config.log.folder = Some(folder.into())),
            default: "",
            help: "Folder of the log files",
        },
        Setting {
            key: "log.file",
            takes: Takes::Name(|draft, _, name| {
                draft.config.log.file.name = if name == "false" { FileName::Off } else { FileName::Named(name.into()) };
            }),
            default: "",
            help: "Name of the log file in that folder, or the whole way to it; `false` for none",
        },
        Setting {
            key: "log.console",
            takes: Takes::Flag(|draft, _, on| draft.config.log.console.enabled = Some(on)),
            default: "",
            help: "Whether the log goes to the console",
        },
        Setting {
            key: "log.console.stdio",
            takes: Takes::Word(&["stdout", "stderr"], |draft, _, word| {
                draft.config.log.console.stream =
                    if word == "stdout" { ConsoleStream::Output } else { ConsoleStream::Error };
            }),
            default: "",
            help: "Whether that is standard output or standard error",
        },
        Setting {
            key: "log.console.use_colors",
            takes: Takes::Word(SWITCH, |draft, _, word| draft.config.log.console.colours = Some(is_on(word))),
            default: "",
            help: "Whether levels have colours there; without it, if it is a terminal",
        },
        Setting {
            key: "log.console.color_esc_seqs.(debug|info|notice|warning|error|critical|alert|emergency)",
            takes: Takes::Text(|draft, at, text| {
                if let Some(level) = LogLevel::parse(at.word()) {
                    draft.config.log.console.colour_sequences.insert(level, text);
                }
            }),
            default: "",
            help: "The escape sequence before records of that level",
        },
        Setting {
            key: "log.exchange",
            takes: Takes::Flag(|draft, _, on| draft.config.log.exchange.enabled = on),
            default: "false",
            help: "Whether the log goes to the exchange `amq.rabbitmq.log`, too",
        },
        Setting {
            key: "log.(file|console|exchange).level",
            takes: Takes::Word(LogLevel::NAMES, |draft, at, level| *level_of(draft, at) = LogLevel::parse(level)),
            default: "",
            help: "Below what records are left out there",
        },
        Setting {
            key: "log.(file|console|exchange).formatter",
            takes: Takes::Word(&["plaintext", "json"], |draft, at, style| {
                formatter(draft, at).style = if style == "json" { LogStyle::Json } else { LogStyle::Text };
            }),
            default: "plaintext",
            help: "Whether a record is a line of text or JSON",
        },
        Setting {
            key: "log.(file|console|exchange).formatter.time_format",
            takes: Takes::Name(|draft, at, text| formatter(draft, at).time = time_format(text)),
            default: "rfc3339_space",
            help: "How times are written: rfc3339_space, rfc3339_T, epoch_usecs, epoch_secs, lager_default, or with `%Y-%m-%d %H:%M:%S` and the like",
        },
        Setting {
            key: "log.(file|console|exchange).formatter.level_format",
            takes: Takes::Word(LEVEL_FORMATS, |draft, at, word| formatter(draft, at).level = level_format(word)),
            default: "lc",
            help: "How levels are written in text: in lower or upper case, whole or with 3 or 4 letters",
        },
        Setting {
            key: "log.(file|console|exchange).formatter.single_line",
            takes: Takes::Word(SWITCH, |draft, at, word| formatter(draft, at).single_line = is_on(word)),
            default: "off",
            help: "Whether line breaks in messages are taken out",
        },
        Setting {
            key: "log.(file|console|exchange).formatter.plaintext.format",
            takes: Takes::Text(|draft, at, text| formatter(draft, at).text = text),
            default: "$time [$level] $pid $msg",
            help: "The line of text; a word with `$` before it is a field of the record",
        },
        Setting {
            key: "log.(file|console|exchange).formatter.json.field_map",
            takes: Takes::Text(|draft, at, text| formatter(draft, at).json_fields = text),
            default: "time level msg gl:- logger_formatter:- report_cb:- error_logger:-",
            help: "Which fields of a record JSON has in which order, `field:name` under another name, `field:-` not at all",
        },
        Setting {
            key: "log.(file|console|exchange).formatter.json.verbosity_map",
            takes: Takes::Text(|draft, at, text| formatter(draft, at).json_verbosity = text),
            default: "",
            help: "A number for each level that JSON has as `verbosity`, such as `debug=2 info=1 *=0`",
        },
        Setting {
            key: "log.(connection|channel|mirroring|queue|federation|upgrade|user|ra|default).level",
            takes: Takes::Word(LogLevel::NAMES, |draft, at, level| category(draft, at).level = LogLevel::parse(level)),
            default: "",
            help: "Below what records of this category are left out, wherever they go",
        },
        Setting {
            key: "log.(connection|channel|mirroring|queue|federation|upgrade|user|ra|default).file",
            takes: Takes::Name(|draft, at, name| category(draft, at).file = Some(name.into())),
            default: "",
            help: "A file of its own for this category",
        },
        Setting {
            key: "log.(file|connection|channel|mirroring|queue|federation|upgrade|user|ra|default).rotation.date",
            takes: Takes::RotationDate(|draft, at, date| rotation(draft, at).date = date),
            default: "",
            help: "When a new file is begun",
        },
        Setting {
            key: "log.(file|connection|channel|mirroring|queue|federation|upgrade|user|ra|default).rotation.size",
            takes: Takes::Size(0, u64::MAX, |draft, at, size| {
                rotation(draft, at).size = Some(size).filter(|size| *size > 0);
            }),
            default: "",
            help: "With how many bytes a new file is begun; 0 for never",
        },
        Setting {
            key: "log.(file|connection|channel|mirroring|queue|federation|upgrade|user|ra|default).rotation.count",
            takes: Takes::Number(0, FILES_MAX, |draft, at, count| {
                rotation(draft, at).count = u32::try_from(count).ok();
            }),
            default: "",
            help: "How many old files are kept",
        },
        Setting {
            key: "log.(file|connection|channel|mirroring|queue|federation|upgrade|user|ra|default).rotation.compress",
            takes: Takes::Flag(|draft, at, on| rotation(draft, at).compress = on),
            default: "false",
            help: "Whether old files are compressed",
        },
    ],
};

fn level_of<'a>(draft: &'a mut super::Draft, at: &At<'_>) -> &'a mut Option<LogLevel> {
    let log = &mut draft.config.log;
    match at.word() {
        "file" => &mut log.file.level,
        "console" => &mut log.console.level,
        _ => &mut log.exchange.level,
    }
}

fn formatter<'a>(draft: &'a mut super::Draft, at: &At<'_>) -> &'a mut LogFormatter {
    let log = &mut draft.config.log;
    match at.word() {
        "file" => &mut log.file.formatter,
        "console" => &mut log.console.formatter,
        _ => &mut log.exchange.formatter,
    }
}

fn category<'a>(draft: &'a mut super::Draft, at: &At<'_>) -> &'a mut CategoryLog {
    let category = LogCategory::parse(at.word()).unwrap_or(LogCategory::Default);
    draft.config.log.categories.entry(category).or_default()
}

fn rotation<'a>(draft: &'a mut super::Draft, at: &At<'_>) -> &'a mut Rotation {
    match at.word() {
        "file" => &mut draft.config.log.file.rotation,
        _ => &mut category(draft, at).rotation,
    }
}

fn time_format(text: String) -> TimeFormat {
    match text.as_str() {
        "rfc3339_space" => TimeFormat::Rfc3339Space,
        "rfc3339_T" => TimeFormat::Rfc3339T,
        "epoch_usecs" => TimeFormat::EpochMicroseconds,
        "epoch_secs" => TimeFormat::EpochSeconds,
        "lager_default" => TimeFormat::Lager,
        _ => TimeFormat::Pattern(text),
    }
}

fn level_format(word: &str) -> LevelFormat {
    match word {
        "uc" => LevelFormat::Upper,
        "lc3" => LevelFormat::LowerShort(3),
        "uc3" => LevelFormat::UpperShort(3),
        "lc4" => LevelFormat::LowerShort(4),
        "uc4" => LevelFormat::UpperShort(4),
        _ => LevelFormat::Lower,
    }
}

fn is_on(word: &str) -> bool {
    matches!(word, "on" | "true")
}
