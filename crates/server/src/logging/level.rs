//! How grave records are, what they are about, and below what they are left out.

use std::sync::atomic::{AtomicU8, Ordering};

use tracing::{Level, Metadata};

use crate::config::log::{LogCategory, LogLevel};

/// How grave a record is, or what is left out: all that is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Severity {
    /// For whoever looks for a fault in the broker.
    Trace,
    /// For whoever looks for the cause of something.
    Debug,
    /// What happens.
    Info,
    /// What happens seldom.
    Notice,
    /// What somebody should look at.
    Warning,
    /// What went wrong.
    Error,
    /// What went wrong and will not mend.
    Critical,
    /// What somebody has to see to at once.
    Alert,
    /// The node cannot go on.
    Emergency,
    /// Above all that is ever logged.
    None,
}

impl Severity {
    const ALL: [Self; 10] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
        Self::None,
    ];

    /// Its name, which is RabbitMQ's.
    pub const fn as_str(self) -> &'static str {
        self.names()[0]
    }

    /// Its names with as many letters as it has, with three, and with four.
    const fn names(self) -> [&'static str; 3] {
        match self {
            Self::Trace => ["trace", "trc", "trac"],
            Self::Debug => ["debug", "dbg", "dbug"],
            Self::Info => ["info", "inf", "info"],
            Self::Notice => ["notice", "ntc", "noti"],
            Self::Warning => ["warning", "wrn", "warn"],
            Self::Error => ["error", "err", "eror"],
            Self::Critical => ["critical", "crt", "crit"],
            Self::Alert => ["alert", "alr", "alrt"],
            Self::Emergency => ["emergency", "emg", "emgc"],
            Self::None => ["none", "non", "none"],
        }
    }

    /// Its name with so many letters.
    pub(super) fn short(self, letters: u8) -> &'static str {
        let [whole, three, four] = self.names();
        match letters {
            3 => three,
            4 => four,
            _ => whole,
        }
    }

    /// The one of that name, in RabbitMQ's words or in those that are usual elsewhere.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "warn" => Some(Self::Warning),
            "off" => Some(Self::None),
            _ => Self::ALL.into_iter().find(|severity| severity.as_str() == name),
        }
    }

    fn of_octet(octet: u8) -> Option<Self> {
        Self::ALL.get(usize::from(octet)).copied()
    }
}

impl From<LogLevel> for Severity {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Notice => Self::Notice,
            LogLevel::Warning => Self::Warning,
            LogLevel::Error => Self::Error,
            LogLevel::Critical => Self::Critical,
            LogLevel::Alert => Self::Alert,
            LogLevel::Emergency => Self::Emergency,
            LogLevel::None => Self::None,
        }
    }
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::TRACE => Self::Trace,
            Level::DEBUG => Self::Debug,
            Level::INFO => Self::Info,
            Level::WARN => Self::Warning,
            Level::ERROR => Self::Error,
        }
    }
}

/// What a record is about: the target that it was logged with, if that is the name of a category.
pub(super) fn category(metadata: &Metadata<'_>) -> Option<LogCategory> {
    // A module's path, which is the target of most records, has one of these.
    if metadata.target().contains(':') { None } else { LogCategory::parse(metadata.target()) }
}

/// Which records are kept, as the command line says: a level, and levels of modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    level: Option<Severity>,
    modules: Vec<(String, Severity)>,
}

impl Filter {
    /// Reads directives such as `info,leveret_session=debug`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            let (module, level) = match directive.split_once('=') {
                Some((module, level)) => (Some(module.trim()), level.trim()),
                None => (None, directive),
            };
            let level = Severity::parse(&level.to_ascii_lowercase()).ok_or_else(|| {
                format!(
                    "`{level}` is no level; levels are debug, info, notice, warning, error, critical, alert, emergency \
                     and none, and a module is given as module=level"
                )
            })?;
            match module {
                None => filter.level = Some(level),
                Some(module) if is_path(module) => filter.modules.push((module.to_owned(), level)),
                Some(module) => return Err(format!("`{module}` is no module; one is given as leveret_session=debug")),
            }
        }
        // The longest path that fits is the one that counts.
        filter.modules.sort_by_key(|(module, _)| std::cmp::Reverse(module.len()));
        Ok(filter)
    }

    /// The level for all that is in no module with a level of its own.
    pub(super) const fn level(&self) -> Option<Severity> {
        self.level
    }

    /// The level of a module, if it has one of its own.
    fn of_module(&self, path: &str) -> Option<Severity> {
        let is_within =
            |module: &str| path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        self.modules.iter().find(|(module, _)| is_within(module)).map(|(_, level)| *level)
    }
}

fn is_path(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|character| character.is_alphanumeric() || matches!(character, '_' | ':' | '-'))
}

/// A level that may be changed at any time, or none.
#[derive(Debug)]
pub(super) struct Threshold(AtomicU8);

impl Threshold {
    const UNSET: u8 = u8::MAX;

    pub(super) fn new(level: Option<Severity>) -> Self {
        Self(AtomicU8::new(level.map_or(Self::UNSET, |level| level as u8)))
    }

    pub(super) fn get(&self) -> Option<Severity> {
        Severity::of_octet(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, level: Option<Severity>) {
        self.0.store(level.map_or(Self::UNSET, |level| level as u8), Ordering::Relaxed);
    }
}

/// The levels of all categories, and of modules.
#[derive(Debug)]
pub(super) struct Levels {
    filter: Filter,
    categories: [Threshold; CATEGORIES.len()],
}

/// All categories.
pub(super) const CATEGORIES: [LogCategory; 9] = [
    LogCategory::Connection,
    LogCategory::Channel,
    LogCategory::Mirroring,
    LogCategory::Queue,
    LogCategory::Federation,
    LogCategory::Upgrade,
    LogCategory::User,
    LogCategory::Ra,
    LogCategory::Default,
];

impl Levels {
    pub(super) fn new(filter: Filter, level: impl Fn(LogCategory) -> Option<LogLevel>) -> Self {
        Self { filter, categories: CATEGORIES.map(|category| Threshold::new(level(category).map(Severity::from))) }
    }

    /// The level of a category, if it has one of its own.
    pub(super) fn of_category(&self, category: LogCategory) -> &Threshold {
        let [connection, channel, mirroring, queue, federation, upgrade, user, ra, default] = &self.categories;
        match category {
            LogCategory::Connection => connection,
            LogCategory::Channel => channel,
            LogCategory::Mirroring => mirroring,
            LogCategory::Queue => queue,
            LogCategory::Federation => federation,
            LogCategory::Upgrade => upgrade,
            LogCategory::User => user,
            LogCategory::Ra => ra,
            LogCategory::Default => default,
        }
    }

    /// The level that counts for records like this wherever they go; without one, the output's counts.
    pub(super) fn of(&self, metadata: &Metadata<'_>, category: LogCategory) -> Option<Severity> {
        let module = metadata.module_path().and_then(|path| self.filter.of_module(path));
        module.or_else(|| self.of_category(category).get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_directives() {
        for (text, level, module) in [
            ("info", Some(Severity::Info), None),
            ("OFF", Some(Severity::None), None),
            ("none", Some(Severity::None), None),
            ("notice", Some(Severity::Notice), None),
            ("", None, None),
            ("warn,leveret_session=debug", Some(Severity::Warning), Some(Severity::Debug)),
            ("leveret_session::amqp091=trace, error", Some(Severity::Error), Some(Severity::Trace)),
            ("leveret_session=info,leveret_session::amqp091=error", None, Some(Severity::Error)),
            ("leveret_sess=debug", None, None),
        ] {
            let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(filter.level(), level, "{text}");
            assert_eq!(filter.of_module("leveret_session::amqp091::queue"), module, "{text}");
        }
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for (text, reason) in [
            ("inof", "`inof` is no level"),
            ("info,leveret_session", "`leveret_session` is no level"),
            ("leveret_session=loud", "`loud` is no level"),
            ("[span]=info", "`[span]` is no module"),
        ] {
            let error = Filter::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn every_level_has_a_name_of_three_and_of_four_letters() {
        for severity in Severity::ALL {
            assert_eq!((severity.short(3).len(), severity.short(4).len()), (3, 4), "{severity:?}");
            assert_eq!(Severity::parse(severity.as_str()), Some(severity));
            assert_eq!(Severity::of_octet(severity as u8), Some(severity));
        }
    }
}
