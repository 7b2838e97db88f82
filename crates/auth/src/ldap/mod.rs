//! The LDAP back end: logs users in by binding as them, and answers questions by queries of a directory.

mod backend;
mod connection;
mod directory;
mod evaluate;
mod log;
mod query;
mod session;
mod settings;
mod template;
mod term;

pub use backend::{LdapBackend, LdapSettingsError};
pub use settings::{LdapBind, LdapEncryption, LdapLog, LdapSettings};
