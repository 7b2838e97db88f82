//! Who may log in.

use subtle::ConstantTimeEq;

use crate::Name;

/// A user and how it may log in.
#[derive(Debug, Clone)]
struct User {
    name: Name,
    password: Box<[u8]>,
    loopback_only: bool,
}

/// Where a login comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerLocation {
    /// This machine.
    Loopback,
    /// Anywhere else.
    Remote,
}

/// Why a login was refused. Peers are told no more than that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No such user, or another password.
    #[error("invalid credentials")]
    InvalidCredentials,
    /// The user may log in from this machine only.
    #[error("user can only connect via localhost")]
    LoopbackOnly,
}

/// The users of a node.
#[derive(Debug, Clone)]
pub struct Users {
    users: Vec<User>,
}

impl Users {
    /// The user every fresh node has: guest with password guest, from this machine only.
    pub fn with_guest() -> Self {
        Self { users: vec![User { name: "guest".into(), password: b"guest".as_slice().into(), loopback_only: true }] }
    }

    /// Whether there is a user of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.users.iter().any(|user| &*user.name == name)
    }

    /// Checks a name and password; gives the user's name to keep.
    pub fn login(&self, name: &str, password: &[u8], from: PeerLocation) -> Result<Name, LoginError> {
        let user = self.users.iter().find(|user| &*user.name == name).ok_or(LoginError::InvalidCredentials)?;
        // The time of a comparison must not tell how much of a password was right.
        if !bool::from(user.password.ct_eq(password)) {
            return Err(LoginError::InvalidCredentials);
        }
        if user.loopback_only && from == PeerLocation::Remote {
            return Err(LoginError::LoopbackOnly);
        }
        Ok(Name::clone(&user.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_logs_in_with_its_password_and_from_this_machine_only() {
        use PeerLocation::{Loopback, Remote};
        let users = Users::with_guest();
        for (name, password, from, expected) in [
            ("guest", "guest", Loopback, Ok(())),
            ("guest", "guess", Loopback, Err(LoginError::InvalidCredentials)),
            ("guest", "", Loopback, Err(LoginError::InvalidCredentials)),
            ("Guest", "guest", Loopback, Err(LoginError::InvalidCredentials)),
            ("guest", "guest", Remote, Err(LoginError::LoopbackOnly)),
            ("guest", "guess", Remote, Err(LoginError::InvalidCredentials)),
        ] {
            assert_eq!(
                users.login(name, password.as_bytes(), from).map(|_| ()),
                expected,
                "{name} {password} {from:?}"
            );
        }
    }
}
