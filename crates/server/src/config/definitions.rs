//! What a node is told about definitions that it reads when it starts.

use std::path::PathBuf;

/// What a node is told about definitions that it reads when it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefinitionsSettings {
    /// Files, and folders whose files are read in the order of their names; each can be read.
    pub sources: Vec<PathBuf>,
    /// Whether they are left alone if nothing has changed since they were read last.
    pub skip_if_unchanged: bool,
    /// By what it is seen whether something has.
    pub hash: DefinitionsHash,
}

/// By what it is seen whether definitions have changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DefinitionsHash {
    /// SHA-1
    Sha1,
    /// SHA-224
    Sha224,
    /// SHA-256
    #[default]
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl DefinitionsHash {
    /// Their names in configuration files.
    pub const NAMES: &'static [&'static str] = &["sha", "sha224", "sha256", "sha384", "sha512"];

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "sha" => Some(Self::Sha1),
            "sha224" => Some(Self::Sha224),
            "sha256" => Some(Self::Sha256),
            "sha384" => Some(Self::Sha384),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}
