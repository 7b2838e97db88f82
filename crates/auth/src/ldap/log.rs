//! What is written down about queries, if an administrator wants it.

use super::directory::Filter;
use super::settings::LdapLog;

/// Writes as much as is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log(pub(super) LdapLog);

/// What is shown of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Everything.
    All,
    /// What kind of name it is, without the values in it.
    Kind,
}

impl Log {
    /// What was decided, or found out on the way.
    pub(super) fn decision(self, text: impl FnOnce() -> String) {
        if self.0 != LdapLog::Off {
            tracing::info!("LDAP: {}", text());
        }
    }

    /// What was asked of a server.
    pub(super) fn network(self, text: impl FnOnce(Shown) -> String) {
        match self.0 {
            LdapLog::Off | LdapLog::Decisions => {}
            LdapLog::Network => tracing::info!("LDAP network traffic: {}", text(Shown::Kind)),
            LdapLog::NetworkUnsafe => tracing::info!("LDAP network traffic: {}", text(Shown::All)),
        }
    }
}

impl Shown {
    /// A DN: `cn=alice,dc=example`, or `cn=xxxx,dc=xxxx`. Of what is none nothing is shown.
    pub(super) fn dn(self, dn: &str) -> String {
        if self == Self::All {
            return format!("'{dn}'");
        }
        let part = |part: &str| match part.split_once('=') {
            Some((kind, _)) => format!("{}=xxxx", kind.trim()),
            None => "xxxx".into(),
        };
        // What is escaped is not told apart; at worst there is an xxxx too many.
        format!("'{}'", dn.split(',').map(part).collect::<Vec<_>>().join(","))
    }

    /// A filter, with or without its value.
    pub(super) fn filter(self, filter: &Filter) -> String {
        match (self, filter) {
            (Self::Kind, Filter::Has { attribute, .. }) => format!("({attribute}=xxxx)"),
            (Self::Kind, Filter::Any) | (Self::All, _) => filter.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_names_are_shown_only_if_that_is_wanted() {
        for (dn, kind) in [
            ("cn=alice,ou=People,dc=x", "'cn=xxxx,ou=xxxx,dc=xxxx'"),
            ("cn=Lim\\, John,dc=x", "'cn=xxxx,xxxx,dc=xxxx'"),
            ("alice@example.com", "'xxxx'"),
            ("", "'xxxx'"),
        ] {
            assert_eq!(Shown::Kind.dn(dn), kind, "{dn}");
            assert_eq!(Shown::All.dn(dn), format!("'{dn}'"));
        }
        let filter = Filter::Has { attribute: "uid".into(), value: "alice".into() };
        assert_eq!(Shown::Kind.filter(&filter), "(uid=xxxx)");
        assert_eq!(Shown::All.filter(&filter), "(uid=alice)");
    }
}
