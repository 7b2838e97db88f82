//! The settings of a configuration file: one table that reads them, explains mistakes and makes the documentation.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use leveret_auth::http::HttpSettings;
use leveret_auth::ldap::LdapSettings;
use leveret_auth::oauth2::OAuth2Settings;
use leveret_broker::access::{Pattern, Secret};

pub use self::reference::reference;
pub(super) use self::values::shorten;
use super::file::{Entry, show};
use super::log::RotationDate;
use super::place::{Place, Remark};
use super::{Config, SyncMode};

mod backends;
mod certificate;
mod definitions;
mod events;
mod http;
mod ignored;
mod ldap;
mod limits;
mod listeners;
mod log;
mod management;
mod node;
mod oauth2;
mod prometheus;
mod reference;
mod tls;
mod users;
mod values;

#[cfg(test)]
mod tests;

/// The longest time that can be set, in milliseconds: a week.
const MILLISECONDS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;
/// Whether somebody's certificate is checked.
const VERIFY: &[&str] = &["verify_peer", "verify_none"];
/// Versions of TLS.
const TLS_VERSIONS: &[&str] = &["tlsv1.2", "tlsv1.3"];

/// A part of the table.
pub(super) struct Group {
    /// Its heading in the documentation.
    pub(super) title: &'static str,
    /// Its settings.
    pub(super) settings: &'static [Setting],
}

/// One setting, or all that a pattern stands for.
pub(super) struct Setting {
    /// Its key; a word that begins with `$` stands for any word, `(a|b)` for either.
    pub(super) key: &'static str,
    /// What values it takes, and where they go.
    pub(super) takes: Takes,
    /// What holds without it, for the documentation.
    pub(super) default: &'static str,
    /// What it does, for the documentation.
    pub(super) help: &'static str,
}

/// When a setting that was changed takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// When the files are read again.
    AtOnce,
    /// When the broker starts.
    AtStart,
}

/// Settings that take effect when the files are read again, besides those of the log.
const AT_ONCE: &[&str] = &[
    "heartbeat",
    "frame_max",
    "channel_max",
    "max_channels_per_connection",
    "max_message_size",
    "handshake_timeout",
    "consumer_max_per_channel",
    "max_connections",
    "connection_max",
    "channel_max_per_node",
    "vhost_max",
    "cluster_queue_limit",
    "cluster_exchange_limit",
    "product.name",
    "product.version",
    "cluster_name",
];

impl Setting {
    /// When a change of it takes effect.
    pub(super) fn reload(&self) -> Reload {
        if AT_ONCE.contains(&self.key) || self.key.starts_with("log.") { Reload::AtOnce } else { Reload::AtStart }
    }
}

/// Puts a value where it belongs.
type Set<T> = fn(&mut Draft, &At<'_>, T);

/// What values a setting takes, and where they go.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    /// Any text.
    Text(Set<String>),
    /// Any text but none.
    Name(Set<String>),
    /// A regular expression for names.
    Pattern(Set<Pattern>),
    /// Any text that nobody is to see.
    Secret(Set<Secret>),
    /// `true` or `false`.
    Flag(Set<bool>),
    /// A whole number within these bounds.
    Number(u64, u64, Set<u64>),
    /// A whole number, or `infinity`.
    Count(Set<Option<u64>>),
    /// A number of milliseconds, from this one, or `infinity`.
    Milliseconds(u64, Set<Option<u64>>),
    /// A URL with one of these schemes. It may have a password in it.
    Url(&'static [&'static str], Set<String>),
    /// Nothing but this word, which says what holds anyway.
    Only(&'static str),
    /// One of these words.
    Word(&'static [&'static str], Set<&'static str>),
    /// A file that can be read.
    File(Set<PathBuf>),
    /// A file or a folder that can be read.
    FileOrFolder(Set<PathBuf>),
    /// A port on all addresses, or an address and a port.
    Address(Set<SocketAddr>),
    /// An address without a port.
    Ip(Set<IpAddr>),
    /// A number of octets within these bounds, perhaps with a unit.
    Size(u64, u64, Set<u64>),
    /// When to sync.
    Sync(Set<SyncMode>),
    /// When a log file is begun anew, or nothing.
    RotationDate(Set<Option<RotationDate>>),
}

/// Where a value was found.
pub(super) struct At<'a> {
    key: &'a [String],
    /// The words in the place of those that stand for any.
    words: Vec<&'a str>,
    /// The line.
    pub(super) place: Place,
}

impl At<'_> {
    /// The key as it is written.
    fn key(&self) -> String {
        show(self.key)
    }

    /// The word in the place of the pattern's last one that stands for any.
    fn word(&self) -> &str {
        self.words.last().copied().unwrap_or_default()
    }

    /// The word in the place of the pattern's first one that stands for any, if there is one.
    fn first_word(&self) -> Option<&str> {
        self.words.first().copied()
    }
}

/// Values of keys that end in a number, or in any other word.
struct Numbered<T>(Vec<(Option<u64>, T)>);

impl<T> Numbered<T> {
    fn push(&mut self, at: &At<'_>, value: T) {
        self.0.push((at.word().parse().ok(), value));
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values in the order of their numbers, then those without one in the order of lines.
    fn sorted(mut self) -> Vec<T> {
        self.0.sort_by_key(|(number, _)| (number.is_none(), *number));
        self.0.into_iter().map(|(_, value)| value).collect()
    }
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// A configuration that is being put together.
pub(super) struct Draft {
    /// What needs no second look.
    pub(super) config: Config,
    listeners: listeners::Draft,
    tls: tls::Draft,
    management: management::Draft,
    prometheus: prometheus::Draft,
    users: users::Draft,
    backends: backends::Draft,
    /// The back ends, whoever asks them.
    http_settings: HttpSettings,
    ldap_settings: LdapSettings,
    oauth2_settings: OAuth2Settings,
    http: http::Draft,
    ldap: ldap::Draft,
    oauth2: oauth2::Draft,
    /// The name of the cluster, if it is not that of the node.
    cluster_name: Option<String>,
    /// Where something secret is.
    pub(super) secrets: Vec<Place>,
    /// Keys without effect, by the group that says why.
    ignored: BTreeMap<usize, Vec<String>>,
    pub(super) mistakes: Vec<Remark>,
    pub(super) warnings: Vec<Remark>,
}

/// The whole table.
const GROUPS: &[&[Group]] = &[
    &[
        listeners::GROUP,
        node::CLIENTS,
        node::SOCKETS,
        node::OWN,
        node::DECODER,
        limits::GROUP,
        tls::GROUP,
        users::GROUP,
        definitions::GROUP,
        log::GROUP,
        events::GROUP,
        management::GROUP,
        prometheus::GROUP,
    ],
    &[backends::GROUP, http::GROUP, ldap::GROUP],
    &oauth2::GROUPS,
];

impl Draft {
    /// A draft that has nothing in it but what holds anyway.
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            listeners: listeners::Draft::default(),
            tls: tls::Draft::default(),
            management: management::Draft::default(),
            prometheus: prometheus::Draft::default(),
            users: users::Draft::default(),
            backends: backends::Draft::default(),
            http_settings: HttpSettings::default(),
            ldap_settings: LdapSettings::default(),
            oauth2_settings: OAuth2Settings::default(),
            http: http::Draft::default(),
            ldap: ldap::Draft::default(),
            oauth2: oauth2::Draft::default(),
            cluster_name: None,
            secrets: Vec::new(),
            ignored: BTreeMap::new(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Puts an entry where it belongs.
    pub(super) fn set(&mut self, entry: &Entry) {
        let Some((setting, words)) = find(&entry.key) else {
            match ignored::find(&entry.key) {
                Some(group) => self.ignored.entry(group).or_default().push(show(&entry.key)),
                None => self.warnings.push(Remark::new(entry.place, unknown(&entry.key))),
            }
            return;
        };
        let at = At { key: &entry.key, words, place: entry.place };
        if let Err(reason) = setting.takes.set(self, &at, &entry.value) {
            self.mistakes.push(Remark::new(entry.place, format!("{}: {reason}", show(&entry.key))));
        }
    }

    /// Puts together what belongs together.
    pub(super) fn finish(mut self) -> Self {
        listeners::finish(&mut self);
        tls::finish(&mut self);
        // Behind the listeners' TLS, whose certificate it may have.
        management::finish(&mut self);
        prometheus::finish(&mut self);
        users::finish(&mut self);
        http::finish(&mut self);
        ldap::finish(&mut self);
        oauth2::finish(&mut self);
        // Behind those whose settings it takes.
        backends::finish(&mut self);
        self.config.cluster_name = self.cluster_name.take().unwrap_or_else(|| self.config.node_name.clone());
        for (group, keys) in std::mem::take(&mut self.ignored) {
            let because = ignored::IGNORED.get(group).map_or("", |group| group.because);
            let text = format!("{} has no effect, as {because}", keys.join(", "));
            self.warnings.push(Remark::new(
                Place::default(),
                text.replacen(" has ", if keys.len() > 1 { " have " } else { " has " }, 1),
            ));
        }
        self
    }
}

/// The setting with this key, and what stands in the place of words that stand for any.
pub(super) fn find(key: &[String]) -> Option<(&'static Setting, Vec<&str>)> {
    settings().find_map(|setting| Some((setting, matches(setting.key, key)?)))
}

/// All settings.
pub(super) fn settings() -> impl Iterator<Item = &'static Setting> {
    GROUPS.iter().copied().flatten().flat_map(|group| group.settings)
}

/// What the words of `key` are that stand for any, or for one of several, in `pattern`, if it is a key of that kind.
fn matches<'a>(pattern: &str, key: &'a [String]) -> Option<Vec<&'a str>> {
    let mut key = key.iter();
    let mut words = Vec::new();
    for expected in split(pattern) {
        match expected {
            Word::Plain(plain) => {
                key.next().filter(|found| *found == plain)?;
            }
            Word::Any => words.push(key.next()?.as_str()),
            Word::Choice(choices) => {
                // One of the words may have dots in it, and is worth as much as the others.
                let rest = key.as_slice();
                let chosen = choices.split('|').find(|choice| {
                    let mut rest = rest.iter();
                    choice.split('.').all(|word| rest.next().is_some_and(|found| found == word))
                })?;
                words.push(rest.first()?.as_str());
                key = rest.get(chosen.split('.').count()..)?.iter();
            }
        }
    }
    key.next().is_none().then_some(words)
}

/// A part of a pattern.
#[derive(Clone, Copy)]
enum Word<'a> {
    /// Itself.
    Plain(&'a str),
    /// Any word.
    Any,
    /// One of these, which have a `|` between each two.
    Choice(&'a str),
}

/// The parts of a pattern. Choices may have dots in them.
fn split(pattern: &str) -> impl Iterator<Item = Word<'_>> {
    let mut rest = Some(pattern);
    std::iter::from_fn(move || {
        let text = rest?;
        if let Some((choices, behind)) = text.strip_prefix('(').and_then(|text| text.split_once(')')) {
            rest = behind.strip_prefix('.');
            return Some(Word::Choice(choices));
        }
        let (word, behind) = text.split_once('.').map_or((text, None), |(word, behind)| (word, Some(behind)));
        rest = behind;
        Some(if word.starts_with('$') { Word::Any } else { Word::Plain(word) })
    })
}

/// The keys that a pattern with several words stands for.
pub(super) fn choices(pattern: &str) -> Vec<String> {
    let chosen = pattern.split_once('(').and_then(|(before, rest)| {
        let (choices, behind) = rest.split_once(')')?;
        Some(choices.split('|').flat_map(|choice| self::choices(&format!("{before}{choice}{behind}"))).collect())
    });
    chosen.unwrap_or_else(|| vec![pattern.to_owned()])
}

/// Says that there is no such key, and which one may be meant.
fn unknown(key: &[String]) -> String {
    let written = show(key);
    let nearest = settings()
        .map(|setting| {
            let meant = like(setting.key, key);
            (strsim::damerau_levenshtein(&written, &meant), meant)
        })
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, meant)) if distance <= (written.chars().count() / 3).max(2) => {
            format!("there is no setting {written}, so it has no effect; is {meant} meant?")
        }
        _ => format!("there is no setting {written}, so it has no effect"),
    }
}

/// The pattern with the words of `key` where it leaves room for any, and of several words the one that is most like that of `key`.
fn like(pattern: &str, key: &[String]) -> String {
    let words = split(pattern).enumerate().map(|(place, expected)| {
        let written = key.get(place).map_or("", String::as_str);
        match expected {
            Word::Plain(word) => word.to_owned(),
            Word::Any => written.replace('.', "\\."),
            Word::Choice(choices) => {
                let nearest = choices.split('|').min_by_key(|choice| strsim::damerau_levenshtein(choice, written));
                nearest.unwrap_or_default().to_owned()
            }
        }
    });
    words.collect::<Vec<_>>().join(".")
}
