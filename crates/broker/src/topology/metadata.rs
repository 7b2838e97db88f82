//! What is said of a vhost beside its name.

use super::arguments::{QUEUE_TYPE_ARGUMENT, is_queue_type, names_queue_type, queue_type};
use super::name::clean_name;
use super::{Applied, QueueRecord, Record, ValidationError, Vhost};
use crate::value::{Table, Value};
use crate::{Error, Name};

/// What is said of a vhost beside its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VhostMetadata {
    /// What it is for, for people.
    pub description: Name,
    /// Words to find it by.
    pub tags: Vec<Name>,
    /// The type of a queue whose declaration names none, if a queue of this type can be what is declared.
    pub default_queue_type: Option<Name>,
    /// Whether it can be deleted.
    pub protection: Protection,
}

/// Something else to be said of a vhost; what is not given stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostUpdate {
    /// What it is for.
    pub description: Option<Name>,
    /// All of its tags.
    pub tags: Option<Vec<Name>>,
    /// The type of a queue whose declaration names none.
    pub default_queue_type: Option<Name>,
    /// Whether it can be deleted.
    pub protection: Option<Protection>,
}

impl VhostUpdate {
    /// What was said, with this in its place.
    pub fn of(&self, metadata: &VhostMetadata) -> VhostMetadata {
        VhostMetadata {
            description: self.description.as_ref().unwrap_or(&metadata.description).clone(),
            tags: self.tags.as_ref().unwrap_or(&metadata.tags).clone(),
            default_queue_type: self.default_queue_type.as_ref().or(metadata.default_queue_type.as_ref()).cloned(),
            protection: self.protection.unwrap_or(metadata.protection),
        }
    }
}

/// Whether a vhost can be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protection {
    /// It can.
    #[default]
    None,
    /// It cannot, until that is taken back.
    Deletion,
}

impl Default for VhostMetadata {
    fn default() -> Self {
        Self { description: "".into(), tags: Vec::new(), default_queue_type: None, protection: Protection::None }
    }
}

impl VhostMetadata {
    /// Refuses what cannot be said of a vhost.
    pub(super) fn check(&self) -> Result<(), ValidationError> {
        match &self.default_queue_type {
            Some(queue_type) if !is_queue_type(queue_type) => {
                Err(ValidationError::QueueType { queue_type: Name::clone(queue_type) })
            }
            _ => Ok(()),
        }
    }
}

impl Vhost {
    /// What is said of it.
    pub const fn metadata(&self) -> &VhostMetadata {
        &self.metadata
    }

    /// The metadata has been checked.
    pub(super) fn set_metadata(&mut self, metadata: VhostMetadata) -> Applied {
        if self.metadata == metadata {
            return Applied::Unchanged;
        }
        self.records.push(Record::VhostDescribed { vhost: Name::clone(&self.name), metadata: metadata.clone() });
        self.metadata = metadata;
        Applied::Set
    }

    pub(super) fn update_metadata(&mut self, update: &VhostUpdate) -> Result<Applied, Error> {
        let metadata = update.of(&self.metadata);
        metadata.check()?;
        Ok(self.set_metadata(metadata))
    }

    /// Prepares the declaration of a queue that is not restored: refuses it if there are too many already, and gives it
    /// the type that queues have here if it names none.
    pub(super) fn admit_queue(&self, declared: &mut QueueRecord) -> Result<(), Error> {
        let existing = self.queues.get(&*clean_name(&declared.name));
        let count = u64::try_from(self.queues.len()).unwrap_or(u64::MAX);
        if let Some(limit) = self.limits.max_queues.filter(|limit| existing.is_none() && count >= *limit) {
            let (queue, vhost) = (Name::clone(&declared.name), Name::clone(&self.name));
            return Err(Error::QueueLimit { queue, vhost, limit });
        }
        // Queues of the types that can be a default survive and belong to nobody; others stay classic.
        let can_be_any = declared.durable && declared.exclusive.is_none() && !declared.auto_delete;
        let default = self.metadata.default_queue_type.as_ref().filter(|_| can_be_any);
        if let Some(default) = default.filter(|default| ***default != *queue_type(&Table::new()))
            && !names_queue_type(&declared.arguments)
            // A queue from before the default was set is what its clients declare, whatever the default is now.
            && existing.is_none_or(|existing| *queue_type(&existing.arguments) == **default)
        {
            let mut arguments: Table =
                declared.arguments.iter().filter(|(name, _)| &**name != QUEUE_TYPE_ARGUMENT).cloned().collect();
            arguments.push(QUEUE_TYPE_ARGUMENT.into(), Value::text(default));
            declared.arguments = arguments;
        }
        Ok(())
    }
}
