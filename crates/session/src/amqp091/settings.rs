//! What every session of a node shares.

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
    /// What `product` says in the server-properties: client libraries switch features on it.
    pub product: String,
    /// What `version` says in the server-properties: client libraries switch features on it.
    pub version: String,
    /// What `cluster_name` says in the server-properties.
    pub cluster_name: String,
    /// Our own version, under the key `leveret`.
    pub leveret_version: String,
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
