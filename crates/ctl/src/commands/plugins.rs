//! Plugins: parts of the node under the names that `RabbitMQ` has for them. Without a node, the file with their names is read and written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fancy_regex::Regex;
use serde_json::{Map, Value, json};

use super::status::is_json;
use crate::enabled_plugins;
use crate::failure::{Exit, Failure};
use crate::invocation::{Invocation, Target};
use crate::output::Answer;
use crate::output::sections::{text, texts};
use crate::plugins::{BUILT_IN, with_needs};
use crate::spec::{Command, Flag, Positional, Section};
use crate::tool::Tool;

const PLUGINS: &[Tool] = &[Tool::Plugins];
const ONLINE: Flag = Flag::switch("online", "only through the node, which has to run");
const OFFLINE: Flag = Flag::switch("offline", "only in the file, whether the node runs or not");

pub(super) const COMMANDS: &[Command] = &[
    Command::new("list", Section::Plugins, "Lists plugins and their state", list)
        .takes(
            "[pattern] [--verbose] [--minimal] [--enabled] [--implicitly-enabled]",
            &[Positional::optional("pattern", "only those whose names this regular expression matches")],
            &[
                Flag::switch("verbose", "output more information").short('v'),
                Flag::switch("minimal", "only output plugin names").short('m'),
                Flag::switch("enabled", "only list explicitly enabled plugins").short('E'),
                Flag::switch("implicitly-enabled", "only list enabled plugins, also those that others need").short('e'),
            ],
        )
        .tools(PLUGINS)
        .validate(|call| {
            if call.is_set("verbose") && call.is_set("minimal") {
                return Err(call.bad_argument("Cannot set both verbose and minimal"));
            }
            Ok(())
        })
        .banner(|call| {
            let pattern = call.argument("pattern").unwrap_or(".*");
            Some(format!("Listing plugins with pattern \"{pattern}\" ..."))
        }),
    Command::new("enable", Section::Plugins, "Enables one or more plugins", |call| change(call, Mode::Enable))
        .takes(
            "<plugin1> [ <plugin2>] | --all [--offline] [--online]",
            &[Positional::any("plugin", "names of plugins")],
            &[ONLINE, OFFLINE, Flag::switch("all", "enable all plugins there are")],
        )
        .tools(PLUGINS)
        .validate(check_names)
        .banner(|call| Some(announce(call, "Enabling"))),
    Command::new("disable", Section::Plugins, "Disables one or more plugins", |call| change(call, Mode::Disable))
        .takes(
            "<plugin1> [ <plugin2>] | --all [--offline] [--online]",
            &[Positional::any("plugin", "names of plugins")],
            &[ONLINE, OFFLINE, Flag::switch("all", "disable all plugins there are")],
        )
        .tools(PLUGINS)
        .validate(check_names)
        .banner(|call| Some(announce(call, "Disabling"))),
    Command::new("set", Section::Plugins, "Enables one or more plugins, disables the rest", |call| {
        change(call, Mode::Set)
    })
    .takes(
        "<plugin1> [ <plugin2>] [--offline] [--online]",
        &[Positional::any("plugin", "names of plugins")],
        &[ONLINE, OFFLINE],
    )
    .tools(PLUGINS)
    .validate(check_place)
    .banner(|call| Some(announce(call, "Enabling"))),
    Command::new(
        "is_enabled",
        Section::Plugins,
        "Health check that exits with a non-zero code if provided plugins are not enabled on target node",
        is_enabled,
    )
    .takes(
        "<plugin1> [ <plugin2>] [--offline] [--online]",
        &[Positional::many("plugin", "names of plugins")],
        &[ONLINE, OFFLINE],
    )
    .tools(PLUGINS)
    .validate(check_place)
    .banner(|call| {
        let subject = subject(&call.arguments("plugin"));
        let verb = if call.arguments("plugin").len() == 1 { "is" } else { "are" };
        Some(if call.is_set("offline") {
            format!("Inferring if {subject} {verb} from local environment...")
        } else {
            format!("Asking node {} if {subject} {verb} enabled...", call.node())
        })
    }),
    Command::new(
        "directories",
        Section::Plugins,
        "Displays plugin directory and enabled plugin file paths",
        directories,
    )
    .takes("[--offline] [--online]", &[], &[ONLINE, OFFLINE])
    .tools(PLUGINS)
    .validate(check_place)
    .banner(|call| {
        Some(if call.is_set("offline") {
            "Listing plugin directories inferred from local environment...".to_owned()
        } else {
            format!("Listing plugin directories used by node {}", call.node())
        })
    }),
];

/// What is to become of the plugins that are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Enable,
    Disable,
    Set,
}

/// A plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plugin {
    name: String,
    description: String,
    version: String,
    needs: Vec<String>,
    explicit: bool,
    implicit: bool,
    running: bool,
}

/// The plugins, and where that is known from.
struct Known {
    plugins: Vec<Plugin>,
    source: Source,
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    Node,
    File(PathBuf),
}

fn check_place(call: &Invocation) -> Result<(), Failure> {
    if call.is_set("online") && call.is_set("offline") {
        return Err(call.bad_argument("Cannot set both online and offline"));
    }
    Ok(())
}

fn check_names(call: &Invocation) -> Result<(), Failure> {
    check_place(call)?;
    match (call.arguments("plugin").is_empty(), call.is_set("all")) {
        (true, false) => Err(call.invalid(Exit::Usage, "not enough arguments.")),
        (false, true) => Err(call.bad_argument("Cannot set both --all and a list of plugins")),
        (true, true) | (false, false) => Ok(()),
    }
}

fn announce(call: &Invocation, what: &str) -> String {
    let node = call.node();
    if call.is_set("all") {
        return format!("{what} ALL plugins on node {node}");
    }
    let mut lines = vec![format!("{what} plugins on node {node}:")];
    lines.extend(call.arguments("plugin").into_iter().map(str::to_owned));
    lines.join("\n")
}

/// `plugin a`, or `plugins a, b`.
fn subject(names: &[&str]) -> String {
    let many = if names.len() == 1 { "" } else { "s" };
    format!("plugin{many} {}", names.join(", "))
}

/// What is known of the plugins: from the node, or from the file if there is none.
fn known(call: &Invocation) -> Result<Known, Failure> {
    if call.is_set("offline") {
        return from_file(call);
    }
    match call.call("list_plugins", &json!({})) {
        Ok(reply) => {
            let plugins = reply.rows.iter().map(|row| plugin(&Value::Object(row.clone()))).collect();
            Ok(Known { plugins, source: Source::Node })
        }
        Err(failure) if failure.exit == Exit::Unavailable && !call.is_set("online") && !call.is_remote() => {
            from_file(call)
        }
        Err(failure) => Err(failure),
    }
}

fn plugin(row: &Value) -> Plugin {
    let flag = |key: &str| row.get(key).and_then(Value::as_bool).unwrap_or_default();
    Plugin {
        name: text(row, "name").to_owned(),
        description: text(row, "description").to_owned(),
        version: text(row, "version").to_owned(),
        needs: row.get("needs").into_iter().flat_map(texts).map(str::to_owned).collect(),
        explicit: flag("explicit"),
        implicit: flag("implicit"),
        running: flag("running"),
    }
}

/// The file: the one that the node uses if it can be asked, else where a node would look for it.
fn file(call: &Invocation) -> PathBuf {
    let told = call.call("facts", &json!({})).ok().map(|reply| text(&reply.result, "enabled_plugins_file").to_owned());
    if let Some(path) = told.filter(|path| !path.is_empty()) {
        return path.into();
    }
    let given = match &call.general.target {
        Target::Local { data_dir, .. } => data_dir.clone(),
        Target::Remote { .. } => None,
    };
    let set = || std::env::var_os("LEVERET_DATA_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = given.or_else(set).unwrap_or_else(|| PathBuf::from("leveret-data"));
    enabled_plugins::path(&folder, |name| std::env::var_os(name))
}

fn from_file(call: &Invocation) -> Result<Known, Failure> {
    let path = file(call);
    let names = read(&path)?;
    Ok(Known { plugins: built_in(&names), source: Source::File(path) })
}

fn read(path: &Path) -> Result<BTreeSet<String>, Failure> {
    let names = enabled_plugins::read(path).map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
    Ok(names.unwrap_or_default())
}

/// What is built in, with these enabled.
fn built_in(names: &BTreeSet<String>) -> Vec<Plugin> {
    let needed = with_needs(names.iter().map(String::as_str));
    let plugin = |part: &crate::plugins::BuiltIn| Plugin {
        name: part.name.to_owned(),
        description: part.description.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        needs: part.needs.iter().map(|name| (*name).to_owned()).collect(),
        explicit: names.contains(part.name),
        implicit: needed.contains(part.name) && !names.contains(part.name),
        running: false,
    };
    BUILT_IN.iter().map(plugin).collect()
}

fn list(call: &Invocation) -> Result<Answer, Failure> {
    let pattern = call.argument("pattern").unwrap_or(".*");
    let pattern = Regex::new(pattern)
        .map_err(|error| Failure::new(Exit::Software, format!("the pattern is no regular expression: {error}")))?;
    let Known { mut plugins, source } = known(call)?;
    plugins.sort_by(|one, other| one.name.cmp(&other.name));
    plugins.retain(|plugin| {
        let is_wanted = if call.is_set("implicitly-enabled") {
            plugin.explicit || plugin.implicit
        } else {
            plugin.explicit || !call.is_set("enabled")
        };
        is_wanted && pattern.is_match(&plugin.name).unwrap_or_default()
    });
    let mut lines = Vec::new();
    if !call.is_set("minimal") && !call.is_hushed() {
        lines.push(" Configured: E = explicitly enabled; e = implicitly enabled".to_owned());
        lines.push(match source {
            Source::Node => format!(" | Status: * = running on {}", call.node()),
            Source::File(_) => format!(" | Status: [failed to contact {} - status not shown]", call.node()),
        });
        lines.push(" |/".to_owned());
    }
    let width = plugins.iter().map(|plugin| plugin.name.len()).max().unwrap_or_default();
    for plugin in &plugins {
        if call.is_set("minimal") {
            lines.push(plugin.name.clone());
        } else if call.is_set("verbose") {
            lines.push(format!("{} {}", plugin.marks(), plugin.name));
            lines.push(format!("     Version:     \t{}", plugin.version));
            if !plugin.needs.is_empty() {
                lines.push(format!("     Dependencies:\t[{}]", plugin.needs.join(",")));
            }
            lines.push(format!("     Description: \t{}", plugin.description));
        } else {
            lines.push(format!("{} {:width$} {}", plugin.marks(), plugin.name, plugin.version));
        }
    }
    let format = match (call.is_set("minimal"), call.is_set("verbose")) {
        (true, _) => "minimal",
        (_, true) => "verbose",
        (false, false) => "normal",
    };
    let status = if source == Source::Node { "running" } else { "node_down" };
    let plugins: Vec<Value> = plugins.iter().map(Plugin::json).collect();
    let value = json!({ "format": format, "plugins": plugins, "status": status });
    Ok(Answer::Report { text: lines.join("\n"), value })
}

impl Plugin {
    fn marks(&self) -> String {
        let configured = match (self.explicit, self.implicit) {
            (true, _) => 'E',
            (false, true) => 'e',
            (false, false) => ' ',
        };
        format!("[{configured}{}]", if self.running { '*' } else { ' ' })
    }

    fn json(&self) -> Value {
        let enabled = match (self.explicit, self.implicit) {
            (true, _) => "enabled",
            (false, true) => "implicit",
            (false, false) => "not_enabled",
        };
        json!({
            "enabled": enabled,
            "name": self.name,
            "running": self.running,
            "running_version": self.running.then_some(&self.version),
            "version": self.version,
        })
    }
}

fn is_enabled(call: &Invocation) -> Result<Answer, Failure> {
    let names = call.arguments("plugin");
    let (plugins, place) = if call.is_set("offline") {
        (from_file(call)?.plugins, String::new())
    } else {
        let reply = call.call("list_plugins", &json!({}))?;
        let rows = reply.rows.iter().map(|row| plugin(&Value::Object(row.clone())));
        (rows.filter(|plugin| plugin.running).collect(), format!(" on node {}", call.node()))
    };
    let is_on = |plugin: &&Plugin| plugin.running || plugin.explicit || plugin.implicit;
    let enabled: BTreeSet<&str> = plugins.iter().filter(is_on).map(|plugin| plugin.name.as_str()).collect();
    let missing: Vec<&str> = names.iter().copied().filter(|name| !enabled.contains(name)).collect();
    let sentence = |names: &[&str], rest: &str| {
        let subject = subject(names);
        let verb = if names.len() == 1 { "is" } else { "are" };
        format!("P{} {verb} {rest}{place}", subject.trim_start_matches('p'))
    };
    if missing.is_empty() {
        let message = sentence(&names, "enabled");
        return Ok(Answer::Text(message));
    }
    let all = enabled.into_iter().collect::<Vec<_>>().join(", ");
    let message = format!("{}. Enabled plugins and dependencies: {all}", sentence(&missing, "not enabled"));
    if is_json(call) {
        let value = json!({ "result": "error", "message": message });
        return Err(Failure::plain(Exit::Unavailable, value.to_string()));
    }
    Err(Failure::new(Exit::Unavailable, message))
}

fn directories(call: &Invocation) -> Result<Answer, Failure> {
    let path = if call.is_set("offline") {
        file(call)
    } else {
        let facts = call.call("facts", &json!({}))?.result;
        text(&facts, "enabled_plugins_file").into()
    };
    let path = path.display().to_string();
    let text = format!("Plugin archives directory: (none, plugins are built in)\nEnabled plugins file: {path}");
    Ok(Answer::Report { text, value: json!({ "enabled_plugins_file": path }) })
}

fn change(call: &Invocation, mode: Mode) -> Result<Answer, Failure> {
    let before = known(call)?;
    let wanted = wanted(call, mode, &before.plugins)?;
    let enabled_before = names(&before.plugins, |plugin| plugin.explicit || plugin.implicit);
    let (enabled, outcome) = match &before.source {
        Source::Node => {
            let done = call.call("set_plugins", &json!({ "plugins": wanted }))?.result;
            let list = |key: &str| -> BTreeSet<String> {
                done.get(key).into_iter().flat_map(texts).map(str::to_owned).collect()
            };
            let applied = done.get("applied").and_then(Value::as_bool).unwrap_or_default();
            let outcome = applied.then(|| (list("started").len(), list("stopped").len()));
            (list("enabled"), outcome)
        }
        Source::File(path) => {
            enabled_plugins::write(path, &wanted).map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
            (names(&built_in(&wanted), |plugin| plugin.explicit || plugin.implicit), None)
        }
    };
    let came: Vec<&String> = enabled.difference(&enabled_before).collect();
    let went: Vec<&String> = enabled_before.difference(&enabled).collect();
    let mut lines = Vec::new();
    if enabled.is_empty() {
        lines.push("All plugins have been disabled.".to_owned());
    } else {
        lines.push("The following plugins have been configured:".to_owned());
        lines.extend(enabled.iter().map(|name| format!("  {name}")));
    }
    lines.push(format!("Applying plugin configuration to {}...", call.node()));
    let (title, changed) = if mode == Mode::Disable { ("disabled", &went) } else { ("enabled", &came) };
    if mode != Mode::Set && !changed.is_empty() {
        lines.push(format!("The following plugins have been {title}:"));
        lines.extend(changed.iter().map(|name| format!("  {name}")));
        lines.push(String::new());
    }
    lines.push(match outcome {
        Some((0, 0)) | None if came.is_empty() && went.is_empty() => "Plugin configuration unchanged.".to_owned(),
        Some((0, 0)) => "nothing to do.".to_owned(),
        Some((started, 0)) => format!("started {started} plugins."),
        Some((0, stopped)) => format!("stopped {stopped} plugins."),
        Some((started, stopped)) => format!("started {started} plugins and stopped {stopped} plugins."),
        None => format!("set {} plugins.\nOffline change; changes will take effect at broker restart.", enabled.len()),
    });
    let key = if mode == Mode::Disable { "disabled" } else { "enabled" };
    let fields = [
        ("mode".to_owned(), json!(if outcome.is_some() { "online" } else { "offline" })),
        ("set".to_owned(), json!(enabled)),
        (key.to_owned(), json!(changed)),
    ];
    Ok(Answer::Report { text: lines.join("\n"), value: Value::Object(Map::from_iter(fields)) })
}

fn names(plugins: &[Plugin], is_meant: impl Fn(&Plugin) -> bool) -> BTreeSet<String> {
    plugins.iter().filter(|plugin| is_meant(plugin)).map(|plugin| plugin.name.clone()).collect()
}

/// The plugins that the file is to name.
fn wanted(call: &Invocation, mode: Mode, plugins: &[Plugin]) -> Result<BTreeSet<String>, Failure> {
    let given: BTreeSet<String> = call.arguments("plugin").into_iter().map(str::to_owned).collect();
    let all = names(plugins, |_| true);
    let mut explicit = names(plugins, |plugin| plugin.explicit);
    if mode != Mode::Disable {
        let unknown: Vec<&str> = given.difference(&all).map(String::as_str).collect();
        if !unknown.is_empty() {
            let exit = if mode == Mode::Set { Exit::Data } else { Exit::Software };
            return Err(Failure::new(exit, format!("The following plugins were not found: {}", unknown.join(", "))));
        }
    }
    Ok(match (mode, call.is_set("all")) {
        (Mode::Set, _) => given,
        (Mode::Enable, true) => all,
        (Mode::Disable, true) => BTreeSet::new(),
        (Mode::Enable, false) => {
            explicit.extend(given);
            explicit
        }
        (Mode::Disable, false) => {
            // What needs one of them goes with it.
            let goes = |name: &String| with_needs([name.as_str()]).iter().any(|part| given.contains(*part));
            explicit.retain(|name| !given.contains(name) && !goes(name));
            explicit
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_enabled_is_marked() {
        let plugins = built_in(&BTreeSet::from(["rabbitmq_management".to_owned()]));
        let marks = |name: &str| plugins.iter().find(|plugin| plugin.name == name).unwrap().marks();
        assert_eq!(marks("rabbitmq_management"), "[E ]");
        assert_eq!(marks("rabbitmq_web_dispatch"), "[e ]");
        assert_eq!(marks("rabbitmq_sharding"), "[  ]");
    }

    #[test]
    fn plugins_are_named_in_sentences() {
        for (names, sentence) in [(&["a"][..], "plugin a"), (&["a", "b"], "plugins a, b")] {
            assert_eq!(subject(names), sentence);
        }
    }
}
