//! Every setting with its value and where that comes from, for whoever runs the node.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use super::Config;
use super::file::{Entry, show};
use super::place::{Origin, Places};
use super::schema::{self, Reload};

/// What is shown for a secret.
const HIDDEN: &str = "[hidden]";

/// A setting with its value and where that comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Its key, as in a file.
    pub key: String,
    /// Its value as it is shown: nothing of a secret, and `None` if it is not set and nothing holds instead.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether nobody is to see the value.
    pub is_secret: bool,
    /// Whether it can change while the node runs.
    pub reload: Reload,
    /// Changes with the value, also of a secret, and means nothing outside of this process.
    fingerprint: u64,
}

impl Effective {
    /// Whether somebody set it to what does not hold anyway.
    pub fn is_changed(&self) -> bool {
        self.origin != Origin::Default
    }
}

/// Keys whose values differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that can change while the node runs.
    pub at_once: Vec<String>,
    /// Those that need a restart.
    pub at_start: Vec<String>,
}

impl Changes {
    /// What differs between two lists of settings.
    pub fn between(before: &[Effective], after: &[Effective]) -> Self {
        let mut changes = Self::default();
        let mut note = |setting: &Effective| {
            let keys = match setting.reload {
                Reload::AtOnce => &mut changes.at_once,
                Reload::AtStart => &mut changes.at_start,
            };
            if !keys.contains(&setting.key) {
                keys.push(setting.key.clone());
            }
        };
        let same = |one: &Effective, other: &Effective| one.key == other.key && one.fingerprint == other.fingerprint;
        after.iter().filter(|new| !before.iter().any(|old| same(old, new))).for_each(&mut note);
        before.iter().filter(|old| !after.iter().any(|new| old.key == new.key)).for_each(&mut note);
        changes
    }
}

/// All settings: those that are set, and those that hold anyway.
pub(super) fn list(entries: &[Entry], places: &Places, config: &Config) -> Vec<Effective> {
    let mut settings = Vec::new();
    for setting in schema::settings() {
        let found =
            entries.iter().filter(|entry| schema::find(&entry.key).is_some_and(|(found, _)| found.key == setting.key));
        let mut is_set = Vec::new();
        for entry in found {
            let key = show(&entry.key);
            let is_secret = setting.takes.hides(&entry.value);
            is_set.push(key.clone());
            settings.push(Effective {
                key,
                value: Some(if is_secret { HIDDEN.to_owned() } else { entry.value.to_string() }),
                origin: places.origin(entry.place),
                is_secret,
                reload: setting.reload(),
                fingerprint: fingerprint(&entry.value),
            });
        }
        let has_any = setting.key.contains('$');
        if has_any && (!is_set.is_empty() || setting.default.is_empty()) {
            continue;
        }
        for key in schema::choices(setting.key).into_iter().filter(|key| !is_set.contains(key)) {
            let value =
                computed(&key, config).or_else(|| Some(setting.default.to_owned()).filter(|text| !text.is_empty()));
            settings.push(Effective {
                fingerprint: fingerprint(value.as_deref().unwrap_or_default()),
                key,
                value: value.map(|value| if setting.takes.is_secret() { HIDDEN.to_owned() } else { value }),
                origin: Origin::Default,
                is_secret: setting.takes.is_secret(),
                reload: setting.reload(),
            });
        }
    }
    settings
}

/// What holds if nobody says anything, where that depends on the machine.
fn computed(key: &str, config: &Config) -> Option<String> {
    match key {
        "leveret.node_name" => Some(config.node_name.clone()),
        "cluster_name" => Some(config.cluster_name.clone()),
        "leveret.threads" => Some(config.threads.to_string()),
        "leveret.memory_budget" => Some(config.memory_budget.to_string()),
        _ => None,
    }
}

fn fingerprint(value: &str) -> u64 {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    STATE.hash_one(value)
}
