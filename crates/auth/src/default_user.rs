//! What a fresh node begins with.

use leveret_broker::Name;
use leveret_broker::access::{Permissions, Secret, tags};
use leveret_broker::topology::Defaults;

use crate::hash::{HashError, Hashing};

/// The first user and the first vhost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultUser {
    /// `default_user`
    pub name: Name,
    /// `default_pass`
    pub password: Secret,
    /// `default_user_tags`
    pub tags: Vec<Name>,
    /// `default_vhost`
    pub vhost: Name,
    /// `default_permissions`
    pub permissions: Permissions,
}

impl Default for DefaultUser {
    /// guest, an administrator with password guest, who may do everything in vhost `/`.
    fn default() -> Self {
        Self {
            name: "guest".into(),
            password: Secret::new(b"guest"),
            tags: vec![tags::ADMINISTRATOR.into()],
            vhost: "/".into(),
            permissions: Permissions::all(),
        }
    }
}

impl DefaultUser {
    /// The same with the password hashed.
    pub fn defaults(&self, hashing: &Hashing) -> Result<Defaults, HashError> {
        Ok(Defaults {
            vhost: Name::clone(&self.vhost),
            user: Name::clone(&self.name),
            password: hashing.hash(&self.password)?,
            tags: self.tags.clone(),
            permissions: self.permissions.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash;

    #[test]
    fn a_fresh_node_has_a_guest() {
        let defaults = DefaultUser::default().defaults(&Hashing::default()).unwrap();
        assert_eq!((&*defaults.user, &*defaults.vhost, &*defaults.tags), ("guest", "/", &["administrator".into()][..]));
        assert!(hash::verify(&defaults.password, &Secret::new(b"guest")));
        assert_eq!(defaults.permissions, Permissions::new(".*", ".*", ".*").unwrap());
    }
}
