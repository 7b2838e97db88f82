//! The TLS session of a connection, in RabbitMQ's words.

use leveret_broker::access::{PeerCertificate, TlsPeer};
use leveret_broker::clock::Timestamp;

use super::RowBuilder;

/// Adds what is known of it; without one, all of it is null.
pub(super) fn add(row: &mut RowBuilder<'_>, tls: Option<&TlsPeer>) {
    let certificate = tls.and_then(|tls| tls.certificate.as_ref());
    let suite = tls.map(|tls| Suite::parse(&tls.cipher));
    row.add("ssl", || tls.is_some())
        .name("ssl_protocol", tls.map(|tls| &tls.version))
        .add("ssl_key_exchange", || suite.as_ref().map(|suite| suite.key_exchange.clone()))
        .add("ssl_cipher", || suite.as_ref().map(|suite| suite.cipher.clone()))
        .add("ssl_hash", || suite.as_ref().map(|suite| suite.hash))
        .name("peer_cert_subject", certificate.map(|certificate| &certificate.subject))
        .name("peer_cert_issuer", certificate.map(|certificate| &certificate.issuer))
        .add("peer_cert_validity", || certificate.map(validity));
}

/// The parts of a cipher suite, as Erlang names them.
#[derive(Debug, PartialEq, Eq)]
struct Suite {
    key_exchange: String,
    cipher: String,
    /// All suites there are check the octets together with ciphering them.
    hash: &'static str,
}

impl Suite {
    /// Takes IANA's name apart: `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`, or `TLS_AES_128_GCM_SHA256` from TLS 1.3 on.
    fn parse(name: &str) -> Self {
        let name = name.trim_start_matches("TLS13_").trim_start_matches("TLS_").to_lowercase();
        let (key_exchange, rest) = name.split_once("_with_").unwrap_or(("any", &name));
        let cipher = rest.rsplit_once("_sha").map_or(rest, |(cipher, _)| cipher);
        Self { key_exchange: key_exchange.to_owned(), cipher: cipher.to_owned(), hash: "aead" }
    }
}

fn validity(certificate: &PeerCertificate) -> String {
    format!("{} - {}", moment(certificate.not_before), moment(certificate.not_after))
}

/// `2026-01-31T12:00:00Z`.
fn moment(Timestamp(milliseconds): Timestamp) -> String {
    let seconds = milliseconds / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = super::date(days);
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_taken_apart() {
        for (name, key_exchange, cipher) in [
            ("TLS_AES_256_GCM_SHA384", "any", "aes_256_gcm"),
            ("TLS_CHACHA20_POLY1305_SHA256", "any", "chacha20_poly1305"),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ecdhe_rsa", "aes_128_gcm"),
            ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ecdhe_ecdsa", "chacha20_poly1305"),
        ] {
            let expected = Suite { key_exchange: key_exchange.into(), cipher: cipher.into(), hash: "aead" };
            assert_eq!(Suite::parse(name), expected);
        }
    }

    #[test]
    fn moments_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_704_067_199, "2023-12-31T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(moment(Timestamp(seconds * 1000)), text);
        }
    }
}
