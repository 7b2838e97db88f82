//! The documentation of all settings.

use super::ignored::{IGNORED, Ignored};
use super::{GROUPS, Group, Reload, Setting};

/// A heading and a table for each part of the settings that a configuration file may have, in Markdown.
pub fn reference() -> String {
    GROUPS.iter().copied().flatten().map(describe).chain([without_effect()]).collect::<Vec<_>>().join("\n")
}

fn describe(group: &Group) -> String {
    let rows: String = group.settings.iter().map(row).collect();
    format!("## {}\n\n| Key | Value | Default | Reload | |\n|---|---|---|---|---|\n{rows}", group.title)
}

fn row(setting: &Setting) -> String {
    let Setting { key, takes, default, help } = setting;
    let reload = if setting.reload() == Reload::AtOnce { "yes" } else { "" };
    let secret = if takes.is_secret() { ", secret" } else { "" };
    let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
    let key = key.replace('|', "\\|");
    format!("| `{key}` | {}{secret} | {default} | {reload} | {help} |\n", takes.describe()).replace("  ", " ")
}

/// The keys that are known and have no effect.
fn without_effect() -> String {
    let rows: String = IGNORED.iter().map(reason).collect::<Vec<_>>().concat();
    format!("## Keys of RabbitMQ without effect\n\n| Keys | Why |\n|---|---|\n{rows}")
}

fn reason(ignored: &Ignored) -> String {
    let keys: Vec<_> = ignored.keys.iter().map(|key| format!("`{}`", key.replace('|', "\\|"))).collect();
    format!("| {} | {} |\n", keys.join(", "), ignored.because)
}
