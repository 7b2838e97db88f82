//! Users and what they may do: part of what is declared, changed and restored like the rest of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Applied, Record, Topology, VhostMetadata};
use crate::access::{Answer, PasswordHash, Permissions, Question, TopicPermissions, tags};
use crate::{Error, Name};

/// What is said of the vhost that a fresh broker begins with.
const DESCRIPTION: &str = "Default virtual host";

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    name: Name,
    password: PasswordHash,
    tags: Arc<[Name]>,
    /// By vhost.
    permissions: BTreeMap<Name, Permissions>,
    /// By vhost and exchange.
    topic_permissions: BTreeMap<(Name, Name), TopicPermissions>,
}

/// What a fresh broker begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The vhost.
    pub vhost: Name,
    /// The user,
    pub user: Name,
    /// the hash of its password,
    pub password: PasswordHash,
    /// its tags,
    pub tags: Vec<Name>,
    /// and what it may do in the vhost.
    pub permissions: Permissions,
}

/// What becomes of a user that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Its password and tags are replaced.
    Replace,
    /// It is an error.
    Refuse,
}

impl User {
    /// Its name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The hash of its password.
    pub const fn password(&self) -> &PasswordHash {
        &self.password
    }

    /// Its tags.
    pub const fn tags(&self) -> &Arc<[Name]> {
        &self.tags
    }

    /// What it may do, by vhost.
    pub fn permissions(&self) -> impl ExactSizeIterator<Item = (&Name, &Permissions)> {
        self.permissions.iter()
    }

    /// Which routing keys it may use, by vhost and exchange.
    pub fn topic_permissions(&self) -> impl ExactSizeIterator<Item = (&Name, &Name, &TopicPermissions)> {
        self.topic_permissions.iter().map(|((vhost, exchange), permissions)| (vhost, exchange, permissions))
    }

    /// Whether it may do something.
    pub fn answer(&self, question: &Question) -> Answer {
        Answer::of(match question {
            Question::Vhost { vhost } => self.permissions.contains_key(vhost),
            Question::Resource { resource, permission } => self
                .permissions
                .get(&resource.vhost)
                .is_some_and(|permissions| permissions.allow(*permission, resource, &self.name)),
            // Keys are free as long as nothing is said about the exchange.
            Question::Topic { exchange, routing_key, permission } => self
                .topic_permissions
                .get(&(Name::clone(&exchange.vhost), Name::clone(&exchange.name)))
                .is_none_or(|permissions| permissions.allow(*permission, routing_key, &self.name, &exchange.vhost)),
        })
    }

    fn records(&self, records: &mut Vec<Record>) {
        let user = || Name::clone(&self.name);
        let (password, tags) = (self.password.clone(), self.tags.to_vec());
        records.push(Record::UserSet { user: user(), password, tags });
        records.extend(self.permissions().map(|(vhost, permissions)| Record::PermissionsSet {
            user: user(),
            vhost: Name::clone(vhost),
            permissions: permissions.clone(),
        }));
        records.extend(self.topic_permissions().map(|(vhost, exchange, permissions)| Record::TopicPermissionsSet {
            user: user(),
            vhost: Name::clone(vhost),
            exchange: Name::clone(exchange),
            permissions: permissions.clone(),
        }));
    }
}

impl Defaults {
    /// What a broker has that nobody configured: a vhost `/` and a user `guest` that may do everything in it.
    pub fn guest(password: PasswordHash) -> Self {
        Self {
            vhost: "/".into(),
            user: "guest".into(),
            password,
            tags: vec![tags::ADMINISTRATOR.into()],
            permissions: Permissions::all(),
        }
    }
}

impl Topology {
    /// The user of that name.
    pub fn user(&self, name: &str) -> Result<&User, Error> {
        self.users.get(name).ok_or_else(|| Error::UserNotFound { user: name.into() })
    }

    /// All users, in the order of their names.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &User> {
        self.users.values()
    }

    /// Goes up with every change of a user or of what one may do; answers from before may be out of date.
    pub const fn access_generation(&self) -> u64 {
        self.access_generation
    }

    /// Whether the broker has, or had, what it begins with.
    #[cfg(test)]
    pub(super) const fn has_defaults(&self) -> bool {
        self.has_defaults
    }

    /// Whether a user may do something. Somebody who is no user may do nothing.
    pub fn answer(&self, user: &str, question: &Question) -> Answer {
        self.users.get(user).map_or(Answer::REFUSED, |user| user.answer(question))
    }

    pub(super) fn create_defaults(&mut self, defaults: Defaults) -> Applied {
        if self.has_defaults {
            return Applied::Unchanged;
        }
        let Defaults { vhost, user, password, tags, permissions } = defaults;
        // There may be a vhost, from before there were users, or a user that may do nothing, if the first start did not get
        // further. Whoever has more lost the record that says so, and nobody is to get in by a password that everybody knows.
        let is_fresh = self.users.values().all(|known| known.name == user && known.permissions.is_empty());
        if is_fresh {
            if self.create_vhost(Name::clone(&vhost)) == Applied::VhostCreated {
                self.describe_default(&vhost);
            }
            let _ = self.set_user(Name::clone(&user), password, tags);
            let _ = self.set_permissions(&user, vhost, permissions);
        }
        self.note_defaults();
        self.records.push(Record::DefaultsCreated);
        Applied::VhostCreated
    }

    /// In the words of RabbitMQ, by which people know the vhost that was there from the beginning.
    fn describe_default(&mut self, vhost: &Name) {
        if let Some(vhost) = self.vhosts.get_mut(vhost) {
            vhost.set_metadata(VhostMetadata { description: DESCRIPTION.into(), ..VhostMetadata::default() });
            self.records.append(&mut vhost.records);
        }
    }

    pub(super) fn waive_defaults(&mut self) -> Applied {
        if self.has_defaults {
            return Applied::Unchanged;
        }
        self.note_defaults();
        self.records.push(Record::DefaultsCreated);
        Applied::Set
    }

    pub(super) fn note_defaults(&mut self) {
        self.has_defaults = true;
    }

    pub(super) fn set_user(&mut self, name: Name, password: PasswordHash, tags: Vec<Name>) -> Applied {
        if let Some(user) = self.users.get(&name)
            && user.password == password
            && *user.tags == *tags
        {
            return Applied::Unchanged;
        }
        let user = Name::clone(&name);
        self.records.push(Record::UserSet { user, password: password.clone(), tags: tags.clone() });
        let tags: Arc<[Name]> = tags.into();
        if let Some(user) = self.users.get_mut(&name) {
            (user.password, user.tags) = (password, tags);
        } else {
            let (permissions, topic_permissions) = (BTreeMap::new(), BTreeMap::new());
            let user = User { name: Name::clone(&name), password, tags, permissions, topic_permissions };
            self.users.insert(Name::clone(&name), user);
        }
        self.access_changed(name)
    }

    pub(super) fn create_user(
        &mut self,
        name: Name,
        password: PasswordHash,
        tags: Vec<Name>,
        existing: Existing,
    ) -> Result<Applied, Error> {
        if name.is_empty() {
            return Err(Error::NamelessUser);
        }
        if existing == Existing::Refuse && self.users.contains_key(&name) {
            return Err(Error::UserExists { user: name });
        }
        Ok(self.set_user(name, password, tags))
    }

    pub(super) fn set_password(&mut self, name: Name, password: PasswordHash) -> Result<Applied, Error> {
        let tags = self.user(&name)?.tags.to_vec();
        Ok(self.set_user(name, password, tags))
    }

    pub(super) fn set_tags(&mut self, name: Name, tags: Vec<Name>) -> Result<Applied, Error> {
        let password = self.user(&name)?.password.clone();
        Ok(self.set_user(name, password, tags))
    }

    pub(super) fn delete_user(&mut self, name: Name) -> Result<Applied, Error> {
        if self.users.remove(&name).is_none() {
            return Err(Error::UserNotFound { user: name });
        }
        self.user_limits.remove(&name);
        self.records.push(Record::UserDeleted { user: Name::clone(&name) });
        self.access_generation += 1;
        Ok(Applied::UserDeleted { user: name })
    }

    pub(super) fn set_permissions(
        &mut self,
        name: &Name,
        vhost: Name,
        permissions: Permissions,
    ) -> Result<Applied, Error> {
        self.vhost(&vhost)?;
        let user = self.user_mut(name)?;
        if user.permissions.get(&vhost) == Some(&permissions) {
            return Ok(Applied::Unchanged);
        }
        user.permissions.insert(Name::clone(&vhost), permissions.clone());
        self.records.push(Record::PermissionsSet { user: Name::clone(name), vhost, permissions });
        Ok(self.access_changed(Name::clone(name)))
    }

    pub(super) fn clear_permissions(&mut self, name: &Name, vhost: Name) -> Result<Applied, Error> {
        self.vhost(&vhost)?;
        if self.user_mut(name)?.permissions.remove(&vhost).is_none() {
            return Ok(Applied::Unchanged);
        }
        self.records.push(Record::PermissionsCleared { user: Name::clone(name), vhost });
        Ok(self.access_changed(Name::clone(name)))
    }

    pub(super) fn set_topic_permissions(
        &mut self,
        name: &Name,
        vhost: Name,
        exchange: Name,
        permissions: TopicPermissions,
    ) -> Result<Applied, Error> {
        self.vhost(&vhost)?;
        let key = (Name::clone(&vhost), Name::clone(&exchange));
        let user = self.user_mut(name)?;
        if user.topic_permissions.get(&key) == Some(&permissions) {
            return Ok(Applied::Unchanged);
        }
        user.topic_permissions.insert(key, permissions.clone());
        self.records.push(Record::TopicPermissionsSet { user: Name::clone(name), vhost, exchange, permissions });
        Ok(self.access_changed(Name::clone(name)))
    }

    pub(super) fn clear_topic_permissions(
        &mut self,
        name: &Name,
        vhost: &Name,
        exchange: Option<&Name>,
    ) -> Result<Applied, Error> {
        self.vhost(vhost)?;
        let user = self.user_mut(name)?;
        let cleared: Vec<Name> = user
            .topic_permissions
            .keys()
            .filter(|(in_vhost, of)| in_vhost == vhost && exchange.is_none_or(|exchange| exchange == of))
            .map(|(_, of)| Name::clone(of))
            .collect();
        if cleared.is_empty() {
            return Ok(Applied::Unchanged);
        }
        for exchange in &cleared {
            user.topic_permissions.remove(&(Name::clone(vhost), Name::clone(exchange)));
        }
        self.records.extend(cleared.into_iter().map(|exchange| {
            let (user, vhost) = (Name::clone(name), Name::clone(vhost));
            Record::TopicPermissionsCleared { user, vhost, exchange }
        }));
        Ok(self.access_changed(Name::clone(name)))
    }

    /// A vhost is gone, and with it what anybody might do there. Its record says so, too.
    pub(super) fn forget_permissions_in(&mut self, vhost: &Name) {
        for user in self.users.values_mut() {
            user.permissions.remove(vhost);
            user.topic_permissions.retain(|(in_vhost, _), _| in_vhost != vhost);
        }
        self.access_generation += 1;
    }

    pub(super) fn user_records(&self, records: &mut Vec<Record>) {
        for user in self.users.values() {
            user.records(records);
        }
        if self.has_defaults {
            records.push(Record::DefaultsCreated);
        }
    }

    fn user_mut(&mut self, name: &Name) -> Result<&mut User, Error> {
        self.users.get_mut(name).ok_or_else(|| Error::UserNotFound { user: Name::clone(name) })
    }

    fn access_changed(&mut self, user: Name) -> Applied {
        self.access_generation += 1;
        Applied::AccessChanged { user }
    }
}

#[cfg(test)]
mod tests;
