//! What every session of a node shares.

use std::sync::Arc;

use leveret_broker::Name;
use leveret_broker::access::{Authenticator, Secret};

/// How a client says who it is (SASL).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// Name and password as text (RFC 4616).
    Plain,
    /// Name and password as a field table, from before PLAIN.
    Amqplain,
    /// By nothing: it is who the settings say (RFC 4505).
    Anonymous,
    /// By its certificate (RFC 4422, appendix A).
    External,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Amqplain, Self::Anonymous, Self::External];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Amqplain => "AMQPLAIN",
            Self::Anonymous => "ANONYMOUS",
            Self::External => "EXTERNAL",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.as_str() == name)
    }
}

/// Who a client is that says nothing of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anonymous {
    /// The user,
    pub user: Name,
    /// and its password.
    pub password: Secret,
}

/// Limits and names a node gives its sessions.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Largest frame proposed to clients, in octets; 0 is no limit.
    pub frame_max: u32,
    /// Most channels proposed to clients; 0 is no limit.
    pub channel_max: u16,
    /// Heartbeat interval proposed to clients, in seconds; 0 is none.
    pub heartbeat_seconds: u16,
    /// Largest message body taken from a publisher, in octets.
    pub max_message_size: u64,
    /// Most consumers that a channel may have; `None` is no limit.
    pub max_consumers_per_channel: Option<u64>,
    /// What `product` says in the server-properties: client libraries switch features on it.
    pub product: String,
    /// What `version` says in the server-properties: client libraries switch features on it.
    pub version: String,
    /// What `cluster_name` says in the server-properties, unless the broker was given a name.
    pub cluster_name: String,
    /// Our own version, under the key `leveret`.
    pub leveret_version: String,
    /// Checks who clients are.
    pub authenticator: Arc<dyn Authenticator>,
    /// How clients may say who they are, the preferred first.
    pub mechanisms: Vec<Mechanism>,
    /// Who those are that say nothing; `None` does not let them in.
    pub anonymous: Option<Anonymous>,
    /// Draws 16 random octets, for generated names.
    pub random: fn() -> [u8; 16],
}

/// Smallest `frame_max` a client may ask for, in octets.
pub(crate) const FRAME_MAX_MIN: u32 = 8192;
/// Largest body announced that is read at all, in octets; more is a frame error.
pub(crate) const BODY_SIZE_MAX: u64 = 512 * 1024 * 1024;

/// A generated name: the prefix and 16 random octets in URL-safe base 64, as RabbitMQ generates them.
pub(crate) fn generated_name(prefix: &str, random: [u8; 16]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut name = String::with_capacity(prefix.len() + 22);
    name.push_str(prefix);
    let number = u128::from_be_bytes(random);
    // 128 bits are 21 digits of 6 bits and one of 2.
    for shift in (0..22).map(|digit| 128 - 6 * (digit + 1)) {
        let bits = if shift >= 0 { number >> shift } else { number << -shift };
        let digit = usize::try_from(bits & 0x3f).unwrap_or_default();
        name.push(DIGITS.get(digit).copied().map_or('A', char::from));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_base64_of_their_octets() {
        for (octets, name) in [
            ([0; 16], "amq.gen-AAAAAAAAAAAAAAAAAAAAAA"),
            ([0xff; 16], "amq.gen-_____________________w"),
            (*b"0123456789abcdef", "amq.gen-MDEyMzQ1Njc4OWFiY2RlZg"),
        ] {
            assert_eq!(generated_name("amq.gen-", octets), name);
        }
    }
}
