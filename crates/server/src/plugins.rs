//! Which parts of the node are on, under the names of `RabbitMQ`'s plugins.
//!
//! Without a file `enabled_plugins`, everything is on that does nothing by itself. With one, what it lists is, and what that needs, and the back ends that
//! the configuration names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use leveret_auth::{BackendSettings, LinkSettings};
use leveret_broker::switches::Part;
use leveret_ctl::enabled_plugins::{self, FileError};
use leveret_ctl::plugins::{BUILT_IN, BuiltIn, Unlisted, with_needs};
use leveret_management::{HostError, Plugin};

use crate::config::{AccessSettings, PluginSettings};

/// The plugin that publishes what happens.
pub(crate) const EVENT_EXCHANGE: &str = "rabbitmq_event_exchange";
/// What stands for all of them where the configuration names plugins.
const ALL: &str = "ALL";

/// What of the broker a plugin is.
const PARTS: [(&str, Part); 7] = [
    ("rabbitmq_auth_mechanism_ssl", Part::External),
    ("rabbitmq_consistent_hash_exchange", Part::ConsistentHash),
    ("rabbitmq_delayed_message_exchange", Part::Delayed),
    ("rabbitmq_message_deduplication", Part::Deduplication),
    ("rabbitmq_random_exchange", Part::Random),
    ("rabbitmq_recent_history_exchange", Part::RecentHistory),
    ("rabbitmq_sharding", Part::ModulusHash),
];

/// Which start of the broker it is within its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// The first one.
    First,
    /// Another one, before which operators may have changed something.
    Again,
}

/// Which parts are on.
#[derive(Debug)]
pub(crate) struct Plugins {
    file: PathBuf,
    /// What the file lists; `None` without one.
    listed: Option<BTreeSet<String>>,
    /// The plugins of the back ends that the configuration names.
    named: BTreeSet<&'static str>,
}

impl Plugins {
    /// Reads which parts are to be on. What the configuration wants in the file is written there if this is the
    /// first start.
    pub(crate) fn open(
        data_dir: &Path,
        settings: &PluginSettings,
        access: &AccessSettings,
        start: Start,
    ) -> Result<Self, FileError> {
        let file = settings.file.clone().unwrap_or_else(|| enabled_plugins::path(data_dir, |_| None));
        if let (Some(asked), Start::First) = (&settings.enabled, start) {
            let asked = names(asked);
            if enabled_plugins::read(&file)?.as_ref() != Some(&asked) {
                enabled_plugins::write(&file, &asked)?;
            }
        }
        Ok(Self { listed: enabled_plugins::read(&file)?, file, named: named(access) })
    }

    /// Where they are listed, or would be.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// What is to be said of them when the node starts, in a sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let file = self.file.display();
        let listed = self.listed.iter().flatten();
        let unknown = listed.filter(|name| BuiltIn::find(name).is_none());
        let mut warnings: Vec<_> =
            unknown.map(|name| format!("{file} lists {name}, which this broker does not have")).collect();
        if let Some(listed) = &self.listed {
            let missing = self.named.iter().filter(|name| !listed.contains(**name));
            warnings.extend(missing.map(|name| {
                format!("{name} is on though {file} does not list it, because auth_backends names its back end")
            }));
        }
        warnings
    }

    /// Those that are on.
    pub(crate) fn on(&self) -> BTreeSet<&'static str> {
        match &self.listed {
            None => unlisted().map(|part| part.name).collect(),
            Some(listed) => with_needs(listed.iter().map(String::as_str).chain(self.named.iter().copied())),
        }
    }

    /// The parts of the broker that are off.
    pub(crate) fn off_parts(&self) -> Vec<Part> {
        let on = self.on();
        PARTS.iter().filter(|(name, _)| !on.contains(name)).map(|(_, part)| *part).collect()
    }

    /// The plugins as they will be with exactly these names in the file, and what it has beside them.
    pub(crate) fn with(&self, names: &BTreeSet<String>) -> Result<Self, HostError> {
        let known = |name: &&String| BuiltIn::find(name).is_some();
        let kept = self.listed.iter().flatten().filter(|name| !known(name));
        let unknown: Vec<_> =
            names.iter().filter(|name| !known(name) && !kept.clone().any(|kept| kept == *name)).collect();
        if !unknown.is_empty() {
            return Err(HostError::UnknownPlugins { names: unknown.into_iter().cloned().collect() });
        }
        let off: Vec<_> = self.named.iter().filter(|name| !names.contains(**name)).copied().collect();
        // What was on without being listed need not be listed by who changes something else.
        let off: Vec<_> =
            off.into_iter().filter(|name| self.listed.as_ref().is_none_or(|list| list.contains(*name))).collect();
        if !off.is_empty() {
            return Err(HostError::Failed(format!(
                "{} cannot be switched off: auth_backends names what it does. Change the configuration first",
                off.join(", ")
            )));
        }
        let listed = names.iter().chain(kept).cloned().collect();
        Ok(Self { file: self.file.clone(), listed: Some(listed), named: self.named.clone() })
    }

    /// Writes the file.
    pub(crate) fn save(&self) -> Result<(), FileError> {
        self.listed.as_ref().map_or(Ok(()), |listed| enabled_plugins::write(&self.file, listed))
    }

    /// All of them, as operators see them; they run if the broker does.
    pub(crate) fn rows(&self, is_running: impl Fn(&str) -> bool) -> Vec<Plugin> {
        let on = self.on();
        let row = |part: &BuiltIn| {
            let explicit =
                self.listed.as_ref().map_or(part.unlisted == Unlisted::On, |listed| listed.contains(part.name));
            Plugin {
                name: part.name,
                description: part.description,
                version: env!("CARGO_PKG_VERSION"),
                needs: part.needs,
                explicit,
                implicit: !explicit && on.contains(part.name),
                running: on.contains(part.name) && is_running(part.name),
            }
        };
        BUILT_IN.iter().map(row).collect()
    }
}

/// What is on without a list.
fn unlisted() -> impl Iterator<Item = &'static BuiltIn> {
    BUILT_IN.iter().filter(|part| part.unlisted == Unlisted::On)
}

/// The names that the configuration gives.
fn names(asked: &[String]) -> BTreeSet<String> {
    if asked.iter().any(|name| name.eq_ignore_ascii_case(ALL)) {
        return BUILT_IN.iter().map(|part| part.name.to_owned()).collect();
    }
    asked.iter().cloned().collect()
}

/// The plugins of the back ends that are named.
fn named(access: &AccessSettings) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    for link in &access.login.links {
        match link {
            LinkSettings::Whole(backend) => name(backend, &mut names),
            LinkSettings::Split { authentication, authorization } => {
                name(authentication, &mut names);
                for backend in authorization {
                    name(backend, &mut names);
                }
            }
        }
    }
    names
}

fn name(backend: &BackendSettings, names: &mut BTreeSet<&'static str>) {
    match backend {
        BackendSettings::Internal | BackendSettings::Dummy => {}
        BackendSettings::Http(_) => {
            names.insert("rabbitmq_auth_backend_http");
        }
        BackendSettings::Ldap(_) => {
            names.insert("rabbitmq_auth_backend_ldap");
        }
        BackendSettings::OAuth2(_) => {
            names.insert("rabbitmq_auth_backend_oauth2");
        }
        BackendSettings::Cache(_, cached) => {
            names.insert("rabbitmq_auth_backend_cache");
            name(cached, names);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use leveret_auth::CacheLimits;

    use super::*;
    use crate::http_listener::Purpose;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn open(folder: &Path, text: Option<&str>) -> Plugins {
        if let Some(text) = text {
            fs::write(folder.join(enabled_plugins::FILE), text).unwrap();
        }
        Plugins::open(folder, &PluginSettings::default(), &AccessSettings::default(), Start::First).unwrap()
    }

    #[test]
    fn every_part_of_the_broker_is_a_plugin() {
        assert!(PARTS.iter().all(|(name, _)| BuiltIn::find(name).is_some()));
        for purpose in Purpose::ALL {
            assert!(BuiltIn::find(purpose.plugin()).is_some());
        }
        assert!(BuiltIn::find(EVENT_EXCHANGE).is_some());
    }

    #[test]
    fn without_a_file_all_that_waits_to_be_used_is_on_and_with_one_what_it_lists() {
        let folder = tempfile::tempdir().unwrap();
        let all = open(folder.path(), None);
        let asked_for = |name: &str| matches!(name, EVENT_EXCHANGE | "rabbitmq_tracing");
        assert_eq!(all.on().len(), BUILT_IN.len() - 2);
        assert!(!all.on().iter().any(|name| asked_for(name)));
        assert!(all.off_parts().is_empty());
        let is_on = |row: &Plugin| row.explicit && row.running;
        assert!(all.rows(|_| true).iter().all(|row| is_on(row) != asked_for(row.name)));
        let listed = open(folder.path(), Some("[rabbitmq_management,rabbitmq_shovel]."));
        let on = ["rabbitmq_management", "rabbitmq_management_agent", "rabbitmq_web_dispatch"];
        assert!(listed.on().into_iter().eq(on));
        assert_eq!(listed.off_parts().len(), PARTS.len());
        assert_eq!(listed.warnings().len(), 1);
        let implicit: Vec<_> =
            listed.rows(|_| true).into_iter().filter(|row| row.implicit).map(|row| row.name).collect();
        assert_eq!(implicit, on[1..]);
    }

    #[test]
    fn a_change_keeps_what_is_unknown_and_takes_nothing_that_is() {
        let folder = tempfile::tempdir().unwrap();
        let plugins = open(folder.path(), Some("[rabbitmq_management,rabbitmq_shovel]."));
        let changed = plugins.with(&set(&["rabbitmq_sharding"])).unwrap();
        changed.save().unwrap();
        assert_eq!(fs::read_to_string(changed.file()).unwrap(), "[rabbitmq_sharding,rabbitmq_shovel].\n");
        let refused = plugins.with(&set(&["rabbitmq_sharding", "rabbitmq_mqtt"])).unwrap_err();
        assert_eq!(refused, HostError::UnknownPlugins { names: vec!["rabbitmq_mqtt".to_owned()] });
    }

    #[test]
    fn a_back_end_that_is_named_stays_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut access = AccessSettings::default();
        let cached = BackendSettings::Cache(CacheLimits::default(), Box::new(BackendSettings::Internal));
        access.login.links = vec![LinkSettings::Whole(cached)];
        let plugins = Plugins::open(folder.path(), &PluginSettings::default(), &access, Start::First).unwrap();
        let refused = plugins.with(&set(&["rabbitmq_management"])).unwrap_err().to_string();
        assert!(refused.starts_with("rabbitmq_auth_backend_cache cannot be switched off"), "{refused}");
        fs::write(folder.path().join(enabled_plugins::FILE), "[].").unwrap();
        let plugins = Plugins::open(folder.path(), &PluginSettings::default(), &access, Start::First).unwrap();
        assert!(plugins.on().contains("rabbitmq_auth_backend_cache"));
        assert_eq!(plugins.warnings().len(), 1);
        assert!(plugins.with(&set(&["rabbitmq_management"])).is_ok(), "it was not listed before");
    }

    #[test]
    fn the_configuration_fills_the_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let access = AccessSettings::default();
        for (names, count) in [(&["rabbitmq_management", "rabbitmq_sharding"][..], 4), (&["ALL"], BUILT_IN.len())] {
            let enabled = Some(names.iter().map(|name| (*name).to_owned()).collect());
            let file = Some(folder.path().join("plugins"));
            let settings = PluginSettings { file, enabled };
            let plugins = Plugins::open(folder.path(), &settings, &access, Start::First).unwrap();
            assert_eq!(plugins.on().len(), count, "{names:?}");
            plugins.with(&set(&["rabbitmq_sharding"])).unwrap().save().unwrap();
            let plugins = Plugins::open(folder.path(), &settings, &access, Start::Again).unwrap();
            assert!(plugins.on().into_iter().eq(["rabbitmq_sharding"]));
        }
    }
}
