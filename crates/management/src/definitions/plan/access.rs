//! Users, vhosts and who may do what.

use leveret_auth::hash;
use leveret_broker::Name;
use leveret_broker::access::PasswordHash;
use leveret_broker::topology::{Change, Existing, Protection, VhostMetadata};
use leveret_broker::value::{Table, Value};

use super::{Planner, Stop, changes, same};
use crate::definitions::report::Kind;
use crate::definitions::sections::{At, Password, Permission, TopicPermission, User, Vhost};

/// What a parameter with the limits of a vhost is called.
const LIMITS: (&str, &str) = ("vhost-limits", "limits");

impl Planner<'_, '_> {
    pub(super) fn user(&mut self, at: At, user: &User, hashed: Option<&PasswordHash>) -> Result<(), Stop> {
        let existing = self.draft.topology().user(&user.name).ok();
        let is_new = existing.is_none();
        let before = existing.map(|user| (user.password().clone(), user.tags().to_vec()));
        let (password_before, tags_before) = before.unwrap_or_else(|| (PasswordHash::none(), Vec::new()));
        let password = match &user.password {
            Password::Unsaid => password_before.clone(),
            Password::Hash(hash) => hash.clone(),
            // Hashed anew it would be another one each time.
            Password::Plain(plain) if hash::verify(&password_before, plain) => password_before.clone(),
            Password::Plain(_) => hashed.cloned().unwrap_or_else(PasswordHash::none),
        };
        let mut how = Vec::new();
        if password != password_before {
            how.push("password".to_owned());
        }
        if user.tags != tags_before {
            how.push(format!("tags {} -> {}", list(&tags_before), list(&user.tags)));
        }
        if is_new || !how.is_empty() {
            let (name, tags) = (Name::clone(&user.name), user.tags.clone());
            self.apply(at, Change::SetUser { user: name, password, tags, existing: Existing::Replace })?;
        }
        let limits_before = self.draft.topology().all_user_limits().find(|(name, _)| **name == user.name);
        let limits_before = limits_before.map(|(_, limits)| limits.clone()).unwrap_or_default();
        let limits = merged(&limits_before, &user.limits);
        if !same(&limits_before, &limits) {
            changes("limits.", &limits_before, &limits, &mut how);
            self.apply(at, Change::SetUserLimits { user: Name::clone(&user.name), limits })?;
        }
        if is_new || !how.is_empty() {
            self.settled(Kind::Users, is_new, &how, || format!("user '{}'", user.name));
        } else {
            self.report.unchanged(Kind::Users);
        }
        Ok(())
    }

    pub(super) fn vhost(&mut self, at: At, vhost: &Vhost) -> Result<(), Stop> {
        let existing = self.draft.topology().vhost(&vhost.name).ok();
        let is_new = existing.is_none();
        let before = existing.map(|vhost| vhost.metadata().clone()).unwrap_or_default();
        let limits_before = match existing.map(|vhost| vhost.parameter(LIMITS.0, LIMITS.1)) {
            Some(Ok(Value::Table(limits))) => limits.clone(),
            _ => Table::new(),
        };
        let mut metadata = before.clone();
        if let Some(description) = &vhost.description {
            metadata.description = Name::clone(description);
        }
        if let Some(tags) = &vhost.tags {
            metadata.tags.clone_from(tags);
        }
        match vhost.default_queue_type.as_deref() {
            Some("stream") => self.report.warn(format!(
                "vhost '{}': streams are not there yet, so its default_queue_type is left out",
                vhost.name
            )),
            Some(_) => metadata.default_queue_type.clone_from(&vhost.default_queue_type),
            None => {}
        }
        if let Some(is_protected) = vhost.is_protected {
            metadata.protection = if is_protected { Protection::Deletion } else { Protection::None };
        }
        let mut how = described(&before, &metadata);
        if is_new || !how.is_empty() {
            self.apply(at, Change::SetVhost { vhost: Name::clone(&vhost.name), metadata })?;
        }
        if !vhost.limits.is_empty() && !same(&limits_before, &vhost.limits) {
            changes("limits.", &limits_before, &vhost.limits, &mut how);
            let (component, name) = (LIMITS.0.into(), LIMITS.1.into());
            let (vhost, value) = (Name::clone(&vhost.name), Value::Table(vhost.limits.clone()));
            self.apply(at, Change::SetParameter { vhost, component, name, value })?;
        }
        if is_new || !how.is_empty() {
            self.settled(Kind::Vhosts, is_new, &how, || format!("vhost '{}'", vhost.name));
        } else {
            self.report.unchanged(Kind::Vhosts);
        }
        Ok(())
    }

    pub(super) fn permission(&mut self, at: At, item: &Permission) -> Result<(), Stop> {
        let Permission { user, vhost, permissions } = item;
        let existing = self.draft.topology().user(user).ok();
        let before = existing.and_then(|user| user.permissions().find(|(name, _)| *name == vhost));
        let before = before.map(|(_, before)| before.clone());
        if before.as_ref() == Some(permissions) {
            self.report.unchanged(Kind::Permissions);
            return Ok(());
        }
        let how = before.as_ref().map_or_else(Vec::new, |before| {
            let patterns = [
                ("configure", &before.configure, &permissions.configure),
                ("write", &before.write, &permissions.write),
                ("read", &before.read, &permissions.read),
            ];
            let changed = patterns.into_iter().filter(|(_, before, now)| before != now);
            changed.map(|(name, before, now)| format!("{name} '{}' -> '{}'", before.text(), now.text())).collect()
        });
        let (user, vhost) = (Name::clone(user), Name::clone(vhost));
        self.apply(at, Change::SetPermissions { user, vhost, permissions: permissions.clone() })?;
        self.settled(Kind::Permissions, before.is_none(), &how, || {
            format!("permissions of user '{}' in vhost '{}'", item.user, item.vhost)
        });
        Ok(())
    }

    pub(super) fn topic_permission(&mut self, at: At, item: &TopicPermission) -> Result<(), Stop> {
        let TopicPermission { user, vhost, exchange, permissions } = item;
        let existing = self.draft.topology().user(user).ok();
        let before = existing
            .and_then(|user| user.topic_permissions().find(|(in_vhost, of, _)| *in_vhost == vhost && *of == exchange));
        let before = before.map(|(_, _, before)| before.clone());
        if before.as_ref() == Some(permissions) {
            self.report.unchanged(Kind::TopicPermissions);
            return Ok(());
        }
        let how = before.as_ref().map_or_else(Vec::new, |before| {
            let patterns = [("write", &before.write, &permissions.write), ("read", &before.read, &permissions.read)];
            let changed = patterns.into_iter().filter(|(_, before, now)| before != now);
            changed.map(|(name, before, now)| format!("{name} '{}' -> '{}'", before.text(), now.text())).collect()
        });
        let (user, vhost, exchange) = (Name::clone(user), Name::clone(vhost), Name::clone(exchange));
        self.apply(at, Change::SetTopicPermissions { user, vhost, exchange, permissions: permissions.clone() })?;
        self.settled(Kind::TopicPermissions, before.is_none(), &how, || {
            format!(
                "topic permissions of user '{}' on exchange '{}' in vhost '{}'",
                item.user, item.exchange, item.vhost
            )
        });
        Ok(())
    }
}

/// What a table comes to with the values of another one.
fn merged(before: &Table, now: &Table) -> Table {
    let kept = before.iter().filter(|(name, _)| now.get(name).is_none());
    kept.chain(now.iter()).cloned().collect()
}

/// How what is said of a vhost changed.
fn described(before: &VhostMetadata, now: &VhostMetadata) -> Vec<String> {
    let mut how = Vec::new();
    if before.description != now.description {
        how.push(format!("description '{}' -> '{}'", before.description, now.description));
    }
    if before.tags != now.tags {
        how.push(format!("tags {} -> {}", list(&before.tags), list(&now.tags)));
    }
    if before.default_queue_type != now.default_queue_type {
        let word = |queue_type: &Option<Name>| queue_type.as_deref().unwrap_or("none").to_owned();
        let (before, now) = (word(&before.default_queue_type), word(&now.default_queue_type));
        how.push(format!("default_queue_type {before} -> {now}"));
    }
    if before.protection != now.protection {
        how.push("protected_from_deletion".to_owned());
    }
    how
}

fn list(words: &[Name]) -> String {
    format!("[{}]", words.join(", "))
}
