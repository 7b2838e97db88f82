//! The documentation of all settings.

use super::{GROUPS, Group, Setting};

/// A heading and a table for each part of the settings that a configuration file may have, in Markdown.
pub fn reference() -> String {
    GROUPS.iter().copied().flatten().map(describe).collect::<Vec<_>>().join("\n")
}

fn describe(group: &Group) -> String {
    let rows: String = group.settings.iter().map(row).collect();
    format!("## {}\n\n| Key | Value | Default | |\n|---|---|---|---|\n{rows}", group.title)
}

fn row(setting: &Setting) -> String {
    let Setting { key, takes, default, help } = setting;
    let secret = if takes.is_secret() { ", secret" } else { "" };
    let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
    let key = key.replace('|', "\\|");
    format!("| `{key}` | {}{secret} | {default} | {help} |\n", takes.describe()).replace("  ", " ")
}
