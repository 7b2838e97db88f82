//! The LDAP back end: logs users in by binding as them, and answers questions by queries of a directory.

mod settings;

pub use settings::{
    LdapBind, LdapClientCertificate, LdapEncryption, LdapLog, LdapSettings, LdapTlsSettings, LdapTlsVersion, LdapVerify,
};
