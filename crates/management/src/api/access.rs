//! Who is asking, and whether they may.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leveret_auth::Chain;
use leveret_broker::access::{Identity, LoginAttempt, Peer, Secret};

/// The tags of users that the management knows, as RabbitMQ has them.
pub(super) mod tags {
    pub(in crate::api) use leveret_broker::access::tags::ADMINISTRATOR;
    /// May see what is in its own vhosts.
    pub(in crate::api) const MANAGEMENT: &str = "management";
    /// May set policies and parameters of its own vhosts too.
    pub(in crate::api) const POLICYMAKER: &str = "policymaker";
    /// May see everything that is in any vhost, and the node.
    pub(in crate::api) const MONITORING: &str = "monitoring";
}

/// Who may do something. A path that names a vhost which is not there leads to 404 for all who may ask at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, without saying who.
    Anybody,
    /// Everybody, unless the settings want a login for what only describes.
    Reader,
    /// Users with one of the tags.
    Management,
    /// Those who may also open the vhost of the path.
    Vhost,
    /// Those who may open it, and those who may see all vhosts.
    VisibleVhost,
    /// Those with the tag policymaker or administrator, who may open it.
    Policymaker,
    /// Those who may see all vhosts: monitoring and administrator.
    Monitoring,
    /// The user of the path, and administrators.
    Myself,
    /// Administrators.
    Administrator,
}

impl Access {
    /// What the documentation says of it.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Anybody | Self::Reader => "everybody",
            Self::Management => "users with any of the tags management, policymaker, monitoring, administrator",
            Self::Vhost => "users with any such tag who may open the vhost",
            Self::VisibleVhost => {
                "users with any such tag who may open the vhost; monitoring and administrator for all"
            }
            Self::Policymaker => "policymaker and administrator who may open the vhost",
            Self::Monitoring => "monitoring, administrator",
            Self::Myself => "the user, administrator",
            Self::Administrator => "administrator",
        }
    }

    /// Whether a user's tags are enough; vhosts and names are looked at later.
    pub(super) fn tags_suffice(self, user: &Identity) -> bool {
        match self {
            Self::Anybody | Self::Reader => true,
            Self::Management | Self::Vhost | Self::VisibleVhost | Self::Myself => may_manage(user),
            Self::Policymaker => user.has_tag(tags::POLICYMAKER) || user.has_tag(tags::ADMINISTRATOR),
            Self::Monitoring => may_monitor(user),
            Self::Administrator => user.has_tag(tags::ADMINISTRATOR),
        }
    }
}

/// Whether a user may ask for anything at all.
pub(super) fn may_manage(user: &Identity) -> bool {
    [tags::MANAGEMENT, tags::POLICYMAKER].iter().any(|tag| user.has_tag(tag)) || may_monitor(user)
}

/// Whether a user may see all vhosts.
pub(crate) fn may_monitor(user: &Identity) -> bool {
    user.has_tag(tags::MONITORING) || user.has_tag(tags::ADMINISTRATOR)
}

/// What somebody shows to get in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// A name and a password.
    Basic(String, Secret),
    /// A token.
    Bearer(Secret),
}

impl Credentials {
    /// Reads an `Authorization` header; none if it cannot be one.
    pub(crate) fn read(header: &[u8]) -> Option<Self> {
        let (scheme, rest) = std::str::from_utf8(header).ok()?.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Self::Bearer(Secret::new(rest.as_bytes())));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = zeroize::Zeroizing::new(BASE64_STANDARD.decode(rest).ok()?);
        let colon = decoded.iter().position(|octet| *octet == b':')?;
        let (name, password) = decoded.split_at_checked(colon)?;
        Some(Self::Basic(String::from_utf8(name.to_vec()).ok()?, Secret::new(password.get(1..)?)))
    }

    /// Asks whose they are; the reason if they are nobody's.
    pub(crate) async fn check(self, logins: &Chain, peer: &Peer) -> Result<Identity, String> {
        let (name, secret, mechanism) = match self {
            Self::Basic(name, secret) => (name, secret, "PLAIN"),
            Self::Bearer(secret) => (String::new(), secret, "BEARER"),
        };
        let peer = peer.clone();
        let attempt =
            LoginAttempt { name: name.as_str().into(), secret: Some(secret), peer, mechanism, protocol: "http" };
        logins.check(attempt).await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_passwords_and_tokens_are_read() {
        let basic = |name: &str, password: &str| Credentials::Basic(name.into(), Secret::new(password.as_bytes()));
        for (header, expected) in [
            ("Basic Z3Vlc3Q6Z3Vlc3Q=", Some(basic("guest", "guest"))),
            ("basic Z3Vlc3Q6YTpi", Some(basic("guest", "a:b"))),
            ("Basic Z3Vlc3Q6", Some(basic("guest", ""))),
            ("Basic Z3Vlc3Q=", None),
            ("Basic ?", None),
            ("Bearer abc.def", Some(Credentials::Bearer(Secret::new(b"abc.def")))),
            ("Digest abc", None),
            ("Basic", None),
        ] {
            assert_eq!(Credentials::read(header.as_bytes()), expected, "{header}");
        }
    }
}
