//! What a node is told about its log.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a node is told about its log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// The folder of log files whose names have none.
    pub folder: Option<PathBuf>,
    /// The log file.
    pub file: FileLog,
    /// What goes to standard output or standard error.
    pub console: ConsoleLog,
    /// What goes to the exchange `amq.rabbitmq.log`.
    pub exchange: ExchangeLog,
    /// What is set of categories.
    pub categories: BTreeMap<LogCategory, CategoryLog>,
}

/// The log file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileLog {
    /// Which one it is.
    pub name: FileName,
    /// What is below this is left out.
    pub level: Option<LogLevel>,
    /// When a new one is begun.
    pub rotation: Rotation,
    /// How records are written.
    pub formatter: LogFormatter,
}

/// The name of a log file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FileName {
    /// Nobody said anything.
    #[default]
    Unset,
    /// There is to be none.
    Off,
    /// It is this one, in the folder for logs unless it begins with a `/`.
    Named(PathBuf),
}

/// When a new log file is begun and the old one becomes an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotation {
    /// At these times.
    pub date: Option<RotationDate>,
    /// With this many octets.
    pub size: Option<u64>,
    /// Archives that are kept; `None` leaves it to the log.
    pub count: Option<u32>,
    /// Whether archives are compressed.
    pub compress: bool,
}

/// At what times a new log file is begun, in the time of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationDate {
    /// Every hour.
    Hour {
        /// From 0 to 59.
        minute: u8,
    },
    /// Every day.
    Day {
        /// From 0 to 23.
        hour: u8,
    },
    /// Every week.
    Week {
        /// From 0, which is Sunday, to 6.
        day: u8,
        /// From 0 to 23.
        hour: u8,
    },
    /// Every month; on its last day if it has fewer.
    Month {
        /// From 1 to 31; `None` is the last one.
        day: Option<u8>,
        /// From 0 to 23.
        hour: u8,
    },
}

/// What goes to standard output or standard error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsoleLog {
    /// Whether there is one; `None` if nobody said anything.
    pub enabled: Option<bool>,
    /// What is below this is left out.
    pub level: Option<LogLevel>,
    /// Where it goes.
    pub stream: ConsoleStream,
    /// Whether levels have colours; `None` leaves it to the log.
    pub colours: Option<bool>,
    /// The escape sequence before records of a level, where it is not the usual one.
    pub colour_sequences: BTreeMap<LogLevel, String>,
    /// How records are written.
    pub formatter: LogFormatter,
}

/// Where the console's log goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConsoleStream {
    /// Nobody said anything.
    #[default]
    Unset,
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// What goes to the exchange `amq.rabbitmq.log`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExchangeLog {
    /// Whether anything does.
    pub enabled: bool,
    /// What is below this is left out.
    pub level: Option<LogLevel>,
    /// How records are written.
    pub formatter: LogFormatter,
}

/// What is set of a category.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CategoryLog {
    /// What is below this is left out.
    pub level: Option<LogLevel>,
    /// A file of its own, in the folder for logs unless it begins with a `/`.
    pub file: Option<PathBuf>,
    /// When a new one is begun.
    pub rotation: Rotation,
}

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFormatter {
    /// As a line of text, or as JSON.
    pub style: LogStyle,
    /// How times are written.
    pub time: TimeFormat,
    /// How levels are written in text.
    pub level: LevelFormat,
    /// Whether line breaks in a message are taken out.
    pub single_line: bool,
    /// The line of text, with `$time`, `$level`, `$pid`, `$msg` and the names of fields in it.
    pub text: String,
    /// Which fields JSON has under which names, in the order written: `time:ts level msg pid gl:-`; `-` is none, and `*` the rest.
    pub json_fields: String,
    /// What `verbosity` is in JSON, by level: `debug=2 info=1 *=0`.
    pub json_verbosity: String,
}

impl Default for LogFormatter {
    fn default() -> Self {
        Self {
            style: LogStyle::Text,
            time: TimeFormat::Rfc3339Space,
            level: LevelFormat::Lower,
            single_line: false,
            text: "$time [$level] $pid $msg".to_owned(),
            json_fields: "time level msg gl:- logger_formatter:- report_cb:- error_logger:-".to_owned(),
            json_verbosity: String::new(),
        }
    }
}

/// As what records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// A line of text.
    Text,
    /// An object on a line.
    Json,
}

/// How times are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-01-31 12:00:00.000000+01:00`
    Rfc3339Space,
    /// The same with a `T` for the space.
    Rfc3339T,
    /// Microseconds since 1970.
    EpochMicroseconds,
    /// Seconds since 1970, with a fraction.
    EpochSeconds,
    /// `2026-01-31 12:00:00.000`
    Lager,
    /// With `%Y`, `%m`, `%d`, `%H`, `%M`, `%S` and the like in it.
    Pattern(String),
}

/// How levels are written in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelFormat {
    /// `warning`
    Lower,
    /// `WARNING`
    Upper,
    /// `wrn`, as many letters.
    LowerShort(u8),
    /// `WRN`, as many letters.
    UpperShort(u8),
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// All of them, by name.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The one of that name.
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

words! {
    /// How grave a record is; the least comes first.
    LogLevel {
        /// For whoever looks for the cause of something.
        Debug = "debug",
        /// What happens.
        Info = "info",
        /// What happens seldom.
        Notice = "notice",
        /// What somebody should look at.
        Warning = "warning",
        /// What went wrong.
        Error = "error",
        /// What went wrong and will not mend.
        Critical = "critical",
        /// What somebody has to see to at once.
        Alert = "alert",
        /// The node cannot go on.
        Emergency = "emergency",
        /// Above all that is ever logged.
        None = "none",
    }
}

words! {
    /// What a record is about.
    LogCategory {
        /// Connections of clients.
        Connection = "connection",
        /// Channels and what is done on them.
        Channel = "channel",
        /// Mirrors of queues, of which there are none.
        Mirroring = "mirroring",
        /// Queues.
        Queue = "queue",
        /// Links to other brokers.
        Federation = "federation",
        /// Upgrades.
        Upgrade = "upgrade",
        /// Users and what they may do.
        User = "user",
        /// Replication.
        Ra = "ra",
        /// All that is in no other category.
        Default = "default",
    }
}
