//! What is kept of a password.

use std::fmt;

/// How a password was hashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum HashingAlgorithm {
    /// SHA-256 of a salt and the password.
    #[default]
    Sha256,
    /// SHA-512 of a salt and the password.
    Sha512,
    /// MD5 of a salt and the password, from before RabbitMQ 3.6.
    Md5,
    /// Argon2id, which takes time and memory to guess at. RabbitMQ does not have it.
    Argon2id,
}

impl HashingAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha256, Self::Sha512, Self::Md5, Self::Argon2id];

    /// The name of RabbitMQ's module, which definitions and settings have; ours for what RabbitMQ does not have.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
            Self::Md5 => "rabbit_password_hashing_md5",
            Self::Argon2id => "leveret_password_hashing_argon2id",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// A password's hash, which the broker keeps and does not look into.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// How it was made.
    pub algorithm: HashingAlgorithm,
    /// A salt and the hash, in the algorithm's form. Nothing in it: no password logs this user in.
    pub octets: Box<[u8]>,
}

impl PasswordHash {
    /// What stands for a user that has no password.
    pub fn none() -> Self {
        Self { algorithm: HashingAlgorithm::default(), octets: Box::default() }
    }

    /// Whether there is no password that would fit.
    pub fn is_none(&self) -> bool {
        self.octets.is_empty()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({})", if self.is_none() { "none" } else { self.algorithm.as_str() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_found_by_their_names() {
        for algorithm in HashingAlgorithm::ALL {
            assert_eq!(HashingAlgorithm::parse(algorithm.as_str()), Some(algorithm), "{algorithm:?}");
        }
        assert_eq!(HashingAlgorithm::parse("sha256"), None);
    }

    #[test]
    fn a_hash_is_not_shown() {
        let hash = PasswordHash { algorithm: HashingAlgorithm::Md5, octets: b"saltsalt".as_slice().into() };
        assert_eq!(format!("{hash:?}"), "PasswordHash(rabbit_password_hashing_md5)");
        assert_eq!(format!("{:?}", PasswordHash::none()), "PasswordHash(none)");
    }
}
