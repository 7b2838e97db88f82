//! Cipher suites by the names that people write.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion, Tls12CipherSuite, version};

use super::error::TlsError;
use super::settings::TlsVersion;

/// Records that may go out with one key under TLS 1.2. Its keys cannot be changed, and rustls ends a connection after 2^24
/// records of AES-GCM, which is what full records allow; a broker's are small, and octets are counted instead.
const RECORDS_MAX: u64 = 1 << 32;
/// Octets that may go out with one key of AES-GCM under TLS 1.2: 2^24.5 full records (RFC 8446 §5.5), rounded down.
pub(super) const OCTETS_MAX: u64 = 1 << 38;

/// The suites there are: IANA's name, which is also rustls' for TLS 1.2, and OpenSSL's.
const NAMES: [(CipherSuite, &str, &str); 9] = [
    (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384", "TLS13_AES_256_GCM_SHA384"),
    (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256", "TLS13_AES_128_GCM_SHA256"),
    (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256", "TLS13_CHACHA20_POLY1305_SHA256"),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ),
];

/// The library with the suites that were asked for, in their order; with all of them if none was.
pub(super) fn provider(ciphers: &[String], versions: &[TlsVersion]) -> Result<Arc<CryptoProvider>, TlsError> {
    let all = suites();
    let mut chosen = Vec::new();
    for name in ciphers {
        let suite = all.iter().find(|suite| is_called(suite.suite(), name)).ok_or_else(|| unknown(name))?;
        if !chosen.contains(suite) {
            chosen.push(*suite);
        }
    }
    if chosen.is_empty() {
        chosen = all.to_vec();
    }
    for version in versions {
        let has = |suite: &SupportedCipherSuite| suite.version().version == protocol(*version).version;
        if !chosen.iter().any(has) {
            return Err(TlsError::NoCipherFor { version: *version });
        }
    }
    Ok(Arc::new(CryptoProvider { cipher_suites: chosen, ..aws_lc_rs::default_provider() }))
}

/// The name of a suite for people and for `RabbitMQ`'s views: IANA's.
pub(super) fn name(suite: CipherSuite) -> &'static str {
    NAMES.iter().find(|(known, ..)| *known == suite).map_or("unknown", |(_, name, _)| *name)
}

/// What rustls calls a version.
pub(super) fn protocol(version: TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::V1_2 => &version::TLS12,
        TlsVersion::V1_3 => &version::TLS13,
    }
}

fn is_called(suite: CipherSuite, name: &str) -> bool {
    NAMES.iter().any(|(known, iana, other)| {
        *known == suite && (name.eq_ignore_ascii_case(iana) || name.eq_ignore_ascii_case(other))
    })
}

fn unknown(name: &str) -> TlsError {
    let known: Vec<_> = NAMES.iter().map(|(_, name, _)| *name).collect();
    TlsError::UnknownCipher { name: name.to_owned(), known: known.join(", ") }
}

/// All suites, made once: rustls asks for ones that live as long as the process.
fn suites() -> &'static [SupportedCipherSuite] {
    static SUITES: LazyLock<Vec<SupportedCipherSuite>> =
        LazyLock::new(|| aws_lc_rs::default_provider().cipher_suites.into_iter().map(lasting).collect());
    &SUITES
}

/// The same suite, with octets in place of records as its limit.
fn lasting(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls13(_) => suite,
        SupportedCipherSuite::Tls12(short) => {
            let mut common = rustls::CipherSuiteCommon { ..short.common };
            common.confidentiality_limit = common.confidentiality_limit.max(RECORDS_MAX);
            let Tls12CipherSuite { prf_provider, kx, sign, aead_alg, .. } = *short;
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common,
                prf_provider,
                kx,
                sign,
                aead_alg,
            })))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(ciphers: &[&str], versions: &[TlsVersion]) -> Result<Vec<&'static str>, String> {
        let ciphers: Vec<_> = ciphers.iter().map(|name| (*name).to_owned()).collect();
        let provider = provider(&ciphers, versions).map_err(|error| error.to_string())?;
        Ok(provider.cipher_suites.iter().map(|suite| name(suite.suite())).collect())
    }

    #[test]
    fn every_suite_has_its_names() {
        let all = chosen(&[], &TlsVersion::ALL).unwrap();
        assert_eq!(all.len(), NAMES.len());
        assert!(!all.contains(&"unknown"), "{all:?}");
    }

    #[test]
    fn suites_are_chosen_by_any_of_their_names_and_keep_the_order() {
        let names = [
            "ECDHE-RSA-AES128-GCM-SHA256",
            "TLS_AES_256_GCM_SHA384",
            "tls13_aes_256_gcm_sha384",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ];
        let expected = [
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ];
        assert_eq!(chosen(&names, &TlsVersion::ALL).unwrap(), expected);
    }

    #[test]
    fn what_is_unknown_or_missing_is_refused_by_name() {
        for (ciphers, reason) in [
            (&["AES128-SHA"][..], "`AES128-SHA` is not known"),
            (&["TLS_AES_128_GCM_SHA256", ""], "`` is not known"),
            (&["TLS_AES_128_GCM_SHA256"], "TLS 1.2 is switched on, but none"),
            (&["ECDHE-RSA-AES128-GCM-SHA256"], "TLS 1.3 is switched on, but none"),
        ] {
            let error = chosen(ciphers, &TlsVersion::ALL).unwrap_err();
            assert!(error.contains(reason), "{ciphers:?}: {error}");
        }
    }

    #[test]
    fn records_do_not_end_connections_of_the_old_version() {
        for suite in suites() {
            if let SupportedCipherSuite::Tls12(suite) = suite {
                assert!(suite.common.confidentiality_limit >= RECORDS_MAX, "{:?}", suite.common.suite);
            }
        }
    }
}
