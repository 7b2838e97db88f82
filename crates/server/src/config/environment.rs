//! `RabbitMQ`'s variables of the environment: what they stand for, and the file rabbitmq-env.conf that may hold them.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::log::{LogCategory, LogLevel};
use super::place::Origin;

/// What `RabbitMQ`'s variables begin with, but for those in rabbitmq-env.conf.
const PREFIX: &str = "RABBITMQ_";
/// The longest list of variables that a warning has.
const NAMES_MAX: usize = 40;

/// Variables that name files, or say how others are to be understood.
const ELSEWHERE: [&str; 10] = [
    "CONFIG_FILE",
    "CONFIG_FILES",
    "ADVANCED_CONFIG_FILE",
    "CONF_ENV_FILE",
    "USE_LONGNAME",
    // Those of the command line tools and of scripts.
    "HOME",
    "SCRIPTS_DIR",
    "ENV_LOADED",
    "CTL_ERL_ARGS",
    "NODENAME_BASE",
];

/// Variables of the environment. Any may be a password.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, Zeroizing<String>>);

impl Environment {
    /// Those of this process that are text.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, Zeroizing::new(value.into_string().ok()?)))
        };
        Self(env::vars_os().filter_map(text).collect())
    }

    /// The value of a variable; an empty one is none, as in `RabbitMQ`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a variable, also an empty one.
    pub(super) fn fill_in(&self, name: &str) -> Option<Zeroizing<String>> {
        self.0.get(name).cloned()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.map(|(name, value)| (name.to_owned(), value.to_owned().into())).into())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Environment {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned().into())).collect())
    }
}

/// `RabbitMQ`'s variables without their prefix, and where each is set.
#[derive(Default)]
pub(super) struct Variables(BTreeMap<String, (Zeroizing<String>, Origin)>);

/// A setting that a variable stands for.
pub(super) struct Stands {
    pub(super) key: String,
    pub(super) value: Zeroizing<String>,
    pub(super) origin: Origin,
}

/// What variables come to.
#[derive(Default)]
pub(super) struct Meant {
    /// Settings that files win over.
    pub(super) below: Vec<Stands>,
    /// Settings that win over files.
    pub(super) above: Vec<Stands>,
    /// What should be looked at.
    pub(super) warnings: Vec<String>,
}

impl Variables {
    /// Those of the environment, and for the rest those of rabbitmq-env.conf.
    pub(super) fn read(environment: &Environment, file: Option<&Path>, warnings: &mut Vec<String>) -> Self {
        let mut variables = Self::default();
        if let Some(path) = file {
            match fs::read_to_string(path).map(Zeroizing::new) {
                Ok(text) => variables.read_file(path, &text, warnings),
                Err(error) => warnings.push(format!("cannot read {}: {error}", path.display())),
            }
        }
        for (name, value) in &environment.0 {
            if let Some(short) = name.strip_prefix(PREFIX).filter(|_| !value.is_empty()) {
                variables.0.insert(short.to_owned(), (value.clone(), Origin::Variable(name.clone())));
            }
        }
        variables
    }

    /// Reads lines `NAME=value`. What a shell would have to work out is not.
    fn read_file(&mut self, path: &Path, text: &str, warnings: &mut Vec<String>) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
            match assignment(line) {
                Some((name, value)) => {
                    let name = name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
                    self.0.insert(name, (value, Origin::File(path.to_owned(), number + 1)));
                }
                None => warnings.push(format!(
                    "{}:{}: only NAME=value is read from here, and nothing that a shell has to work out",
                    path.display(),
                    number + 1
                )),
            }
        }
    }

    /// The value of a variable, without its prefix.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(value, _)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn take(&mut self, name: &str) -> Option<(Zeroizing<String>, Origin)> {
        self.0.remove(name).filter(|(value, _)| !value.is_empty())
    }

    /// What they stand for. `default_node_name` names the folder of a node that has no name.
    pub(super) fn meaning(mut self, default_node_name: &str) -> Meant {
        let mut meant = Meant::default();
        for name in ELSEWHERE {
            self.take(name);
        }
        let node_name = self.get("NODENAME").map_or_else(|| default_node_name.to_owned(), whole_node_name);
        if let Some((_, origin)) = self.take("NODENAME") {
            meant.above("leveret.node_name", node_name.clone(), &origin);
        }
        self.listener(&mut meant);
        self.data_folder(&node_name, &mut meant);
        self.log(&mut meant);
        for (name, key) in [
            ("DEFAULT_USER", "default_user"),
            ("DEFAULT_PASS", "default_pass"),
            ("DEFAULT_VHOST", "default_vhost"),
            ("PRODUCT_NAME", "product.name"),
            ("PRODUCT_VERSION", "product.version"),
            ("ENABLED_PLUGINS_FILE", "leveret.enabled_plugins_file"),
            ("ENABLED_PLUGINS", "leveret.enabled_plugins"),
            ("PID_FILE", "leveret.pid_file"),
        ] {
            self.text_or_file(name, key, &mut meant);
        }
        self.rest(&mut meant);
        meant
    }

    /// A variable, or the file that another one with `_FILE` behind its name names.
    fn text_or_file(&mut self, name: &str, key: &str, meant: &mut Meant) {
        let file = key.starts_with("default_").then(|| self.take(&format!("{name}_FILE"))).flatten();
        if let Some((value, origin)) = self.take(name) {
            meant.above.push(Stands { key: key.to_owned(), value, origin });
        } else if let Some((path, origin)) = file {
            match fs::read_to_string(path.as_str()).map(Zeroizing::new) {
                Ok(text) => meant.above(key, text.trim_end_matches(['\r', '\n']), &origin),
                Err(error) => meant.warnings.push(format!("{origin}: cannot read {}: {error}", path.as_str())),
            }
        }
    }

    fn listener(&mut self, meant: &mut Meant) {
        let (port, address) = (self.take("NODE_PORT"), self.take("NODE_IP_ADDRESS"));
        // As in RabbitMQ, `auto` is every address.
        let ip = address.as_ref().map(|(ip, _)| ip.as_str()).filter(|ip| *ip != "auto");
        let value = match (ip, &port) {
            (Some(ip), Some((port, _))) => format!("{ip}:{}", port.as_str()),
            (Some(ip), None) => format!("{ip}:5672"),
            (None, Some((port, _))) => port.to_string(),
            (None, None) => return,
        };
        if let Some((_, origin)) = port.or(address) {
            meant.below.push(Stands { key: "listeners.tcp.default".to_owned(), value: value.into(), origin });
        }
    }

    fn data_folder(&mut self, node_name: &str, meant: &mut Meant) {
        let base = self.take("MNESIA_BASE");
        if let Some((folder, origin)) = self.take("MNESIA_DIR") {
            meant.above("leveret.data_dir", folder.as_str(), &origin);
        } else if let Some((base, origin)) = base {
            meant.above("leveret.data_dir", PathBuf::from(base.as_str()).join(node_name).to_string_lossy(), &origin);
        }
    }

    fn log(&mut self, meant: &mut Meant) {
        if let Some((folder, origin)) = self.take("LOG_BASE") {
            meant.above("log.dir", folder.as_str(), &origin);
        }
        if let Some((place, origin)) = self.take("LOGS") {
            match place.as_str() {
                "-" | "-stderr" => {
                    meant.above("log.file", "false", &origin);
                    meant.above("log.console", "true", &origin);
                    meant.above("log.console.stdio", if place.as_str() == "-" { "stdout" } else { "stderr" }, &origin);
                }
                "exchange:" => meant.above("log.exchange", "true", &origin),
                "journald:" | "syslog:" => {
                    meant.warnings.push(format!("{origin}: there is no log to {}", place.trim_end_matches(':')));
                }
                file => meant.above("log.file", file, &origin),
            }
        }
        let Some((words, origin)) = self.take("LOG") else { return };
        for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "+color" | "-color" => {
                    meant.above("log.console.use_colors", if word == "+color" { "on" } else { "off" }, &origin);
                }
                "+json" | "-json" => {
                    for output in ["file", "console", "exchange"] {
                        let style = if word == "+json" { "json" } else { "plaintext" };
                        meant.above(&format!("log.{output}.formatter"), style, &origin);
                    }
                }
                "+single_line" | "-single_line" => {
                    for output in ["file", "console", "exchange"] {
                        let on = if word == "+single_line" { "on" } else { "off" };
                        meant.above(&format!("log.{output}.formatter.single_line"), on, &origin);
                    }
                }
                level if LogLevel::parse(level).is_some() => meant.above("log.default.level", level, &origin),
                _ => match word.split_once('=').filter(|(category, level)| {
                    LogCategory::parse(category).is_some() && LogLevel::parse(level).is_some()
                }) {
                    Some((category, level)) => meant.above(&format!("log.{category}.level"), level, &origin),
                    None => meant.warnings.push(format!(
                        "{origin}: `{}` is no level, no category=level, and none of +color, +json and +single_line",
                        super::schema::shorten(word)
                    )),
                },
            }
        }
    }

    /// Says which of them have no effect.
    fn rest(self, meant: &mut Meant) {
        let mut names: Vec<_> = self
            .0
            .into_iter()
            .map(|(name, (_, origin))| match origin {
                Origin::Variable(whole) => whole,
                Origin::File(..) | Origin::Option(_) | Origin::Default => format!("{PREFIX}{name}"),
            })
            .collect();
        if names.is_empty() {
            return;
        }
        let left_out = names.len().saturating_sub(NAMES_MAX);
        names.truncate(NAMES_MAX);
        let more = if left_out > 0 { format!(" and {left_out} more") } else { String::new() };
        meant.warnings.push(format!(
            "these variables have no effect, as there is nothing here that they could be about: {}{more}",
            names.join(", ")
        ));
    }
}

impl Meant {
    fn above(&mut self, key: &str, value: impl Into<String>, origin: &Origin) {
        self.above.push(Stands { key: key.to_owned(), value: Zeroizing::new(value.into()), origin: origin.clone() });
    }
}

/// A node's name with a host; `rabbit` alone is on this one.
fn whole_node_name(name: &str) -> String {
    if name.contains('@') { name.to_owned() } else { format!("{name}@{}", super::host(super::HostName::Short)) }
}

/// Reads `NAME=value`, with quotes of a shell around the value or none.
fn assignment(line: &str) -> Option<(&str, Zeroizing<String>)> {
    let (name, value) = line.split_once('=')?;
    let is_name = |name: &str| {
        !name.is_empty()
            && name.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
    };
    if !is_name(name) {
        return None;
    }
    let (value, behind) = if let Some(rest) = value.strip_prefix('\'') {
        rest.split_once('\'')?
    } else if let Some(rest) = value.strip_prefix('"') {
        rest.split_once('"').filter(|(value, _)| !value.contains(['$', '`', '\\']))?
    } else {
        let (value, behind) = value.split_at(value.find([' ', '\t', ';']).unwrap_or(value.len()));
        if value.contains(['$', '`', '\\', '\'', '"', '(', ')', '&', '|', '<', '>', '*', '~']) {
            return None;
        }
        (value, behind)
    };
    let behind = behind.trim_start();
    (behind.is_empty() || behind.starts_with('#')).then(|| (name, Zeroizing::new(value.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What variables stand for, as `key=value`, those that files win over first; then warnings.
    fn meaning<const N: usize>(variables: [(&str, &str); N]) -> (Vec<String>, Vec<String>) {
        let variables = Variables::read(&variables.into(), None, &mut Vec::new());
        let meant = variables.meaning("rabbit@hare");
        let show = |stands: &Stands| format!("{}={}", stands.key, *stands.value);
        (meant.below.iter().chain(&meant.above).map(show).collect(), meant.warnings)
    }

    #[test]
    fn variables_stand_for_settings() {
        for (variables, expected) in [
            ([("RABBITMQ_NODENAME", "hare@warren"), ("HOME", "/")], &["leveret.node_name=hare@warren"][..]),
            ([("RABBITMQ_NODE_PORT", "5673"), ("A", "b")], &["listeners.tcp.default=5673"]),
            ([("RABBITMQ_NODE_IP_ADDRESS", "::1"), ("A", "b")], &["listeners.tcp.default=::1:5672"]),
            ([("RABBITMQ_NODE_IP_ADDRESS", "auto"), ("RABBITMQ_NODE_PORT", "1")], &["listeners.tcp.default=1"]),
            (
                [("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1"), ("RABBITMQ_NODE_PORT", "1")],
                &["listeners.tcp.default=127.0.0.1:1"],
            ),
            ([("RABBITMQ_MNESIA_BASE", "/b"), ("A", "b")], &["leveret.data_dir=/b/rabbit@hare"]),
            (
                [("RABBITMQ_MNESIA_BASE", "/b"), ("RABBITMQ_NODENAME", "a@b")],
                &["leveret.node_name=a@b", "leveret.data_dir=/b/a@b"],
            ),
            ([("RABBITMQ_MNESIA_BASE", "/b"), ("RABBITMQ_MNESIA_DIR", "/d")], &["leveret.data_dir=/d"]),
            (
                [("RABBITMQ_LOG_BASE", "/l"), ("RABBITMQ_LOGS", "-")],
                &["log.dir=/l", "log.file=false", "log.console=true", "log.console.stdio=stdout"],
            ),
            ([("RABBITMQ_LOGS", "/l/a.log"), ("RABBITMQ_LOG", "")], &["log.file=/l/a.log"]),
            (
                [("RABBITMQ_LOG", "debug,connection=error,-color"), ("A", "b")],
                &["log.default.level=debug", "log.connection.level=error", "log.console.use_colors=off"],
            ),
            ([("RABBITMQ_DEFAULT_USER", "u"), ("RABBITMQ_DEFAULT_PASS", "p")], &["default_user=u", "default_pass=p"]),
            ([("RABBITMQ_DEFAULT_VHOST", "v"), ("RABBITMQ_USE_LONGNAME", "true")], &["default_vhost=v"]),
            (
                [("RABBITMQ_ENABLED_PLUGINS_FILE", "/e"), ("RABBITMQ_PID_FILE", "/p")],
                &["leveret.enabled_plugins_file=/e", "leveret.pid_file=/p"],
            ),
            ([("RABBITMQ_CONFIG_FILE", "/c"), ("RABBITMQ_NODENAME", "")], &[]),
        ] {
            let (settings, warnings) = meaning(variables);
            assert_eq!(settings, expected, "{variables:?}");
            assert_eq!(warnings, [""; 0], "{variables:?}");
        }
    }

    #[test]
    fn variables_without_meaning_are_named_in_one_line() {
        let (settings, warnings) = meaning([
            ("RABBITMQ_ERLANG_COOKIE", "swordfish"),
            ("RABBITMQ_PLUGINS_DIR", "/p"),
            ("RABBITMQ_DIST_PORT", "25672"),
        ]);
        assert!(settings.is_empty() && warnings.len() == 1, "{warnings:?}");
        assert!(warnings.concat().ends_with("RABBITMQ_DIST_PORT, RABBITMQ_ERLANG_COOKIE, RABBITMQ_PLUGINS_DIR"));
        for variable in [("RABBITMQ_LOG", "+colour"), ("RABBITMQ_LOGS", "syslog:")] {
            assert_eq!(meaning([variable]).1.len(), 1, "{variable:?}");
        }
    }

    #[test]
    fn a_user_and_a_password_may_be_in_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "swordfish\n").unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(meaning([("RABBITMQ_DEFAULT_PASS_FILE", path)]).0, ["default_pass=swordfish"]);
        let both = [("RABBITMQ_DEFAULT_PASS_FILE", path), ("RABBITMQ_DEFAULT_PASS", "trout")];
        assert_eq!(meaning(both), (vec!["default_pass=trout".to_owned()], vec![]));
        assert!(meaning([("RABBITMQ_DEFAULT_PASS_FILE", "/there/is/none")]).1.concat().contains("cannot read"));
    }

    #[test]
    fn assignments_are_read_as_far_as_no_shell_is_needed() {
        for (line, expected) in [
            ("NODENAME=hare@localhost", Some(("NODENAME", "hare@localhost"))),
            ("RABBITMQ_LOGS=-", Some(("RABBITMQ_LOGS", "-"))),
            ("A='b c' # d", Some(("A", "b c"))),
            ("A=\"b c\"", Some(("A", "b c"))),
            ("A='$b'", Some(("A", "$b"))),
            ("A=b # c", Some(("A", "b"))),
            ("A=", Some(("A", ""))),
            ("A=$B", None),
            ("A=\"$B\"", None),
            ("A=`b`", None),
            ("A=b; C=d", None),
            ("A='b", None),
            ("if [ -f a ]; then", None),
            ("fi", None),
            ("a=b", None),
            ("A = b", None),
        ] {
            let read = assignment(line);
            let read = read.as_ref().map(|(name, value)| (*name, value.as_str()));
            assert_eq!(read, expected, "{line}");
        }
    }

    #[test]
    fn the_environment_wins_over_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rabbitmq-env.conf");
        fs::write(&path, "# A comment\nexport NODENAME=a@b\nRABBITMQ_NODE_PORT=1\nif true; then\n").unwrap();
        let mut warnings = Vec::new();
        let environment = [("RABBITMQ_NODE_PORT", "2")].into();
        let variables = Variables::read(&environment, Some(&path), &mut warnings);
        assert_eq!((variables.get("NODENAME"), variables.get("NODE_PORT")), (Some("a@b"), Some("2")));
        assert!(
            warnings.len() == 1 && warnings.concat().contains("rabbitmq-env.conf:4: only NAME=value"),
            "{warnings:?}"
        );
    }
}
