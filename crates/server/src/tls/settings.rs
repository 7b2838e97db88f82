//! What TLS listeners are told.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

/// Intermediate certificates that a client's certificate may have between itself and an authority, unless told otherwise.
pub(super) const DEPTH: u8 = 10;

/// What TLS listeners are told. Files are PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The broker's certificate, and behind it those that lead to an authority.
    pub certificate: PathBuf,
    /// The key of that certificate: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// Opens keys that are encrypted.
    pub key_password: Option<KeyPassword>,
    /// A folder with more certificates, chosen by the server's name that a client asks for: `x.crt` or `x.pem`, each with
    /// `x.key` unless the key is in the same file.
    pub more_certificates: Option<PathBuf>,
    /// A file, or a folder of files, with the authorities whose clients are believed.
    pub authorities: Option<PathBuf>,
    /// A file, or a folder of files, with lists of certificates that are revoked. With it, every certificate has to be covered
    /// by a list.
    pub revocation_lists: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub verify: Verify,
    /// Whether clients without a certificate are turned away.
    pub fail_if_no_peer_cert: bool,
    /// Intermediate certificates that a client's may have between itself and an authority. More than 6 are never followed.
    pub depth: u8,
    /// Versions spoken.
    pub versions: Vec<TlsVersion>,
    /// Cipher suites by the name of IANA, OpenSSL or rustls, the preferred one first; none are all.
    pub ciphers: Vec<String>,
    /// Whether the order of our suites counts, rather than that of the client's.
    pub honor_cipher_order: bool,
    /// What of a client's certificate is the name of its user.
    pub login_from: LoginFrom,
}

impl TlsSettings {
    /// Settings with this certificate and key, and else what a listener does that is told nothing.
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self {
            certificate,
            key,
            key_password: None,
            more_certificates: None,
            authorities: None,
            revocation_lists: None,
            verify: Verify::None,
            fail_if_no_peer_cert: false,
            depth: DEPTH,
            versions: vec![TlsVersion::V1_2, TlsVersion::V1_3],
            ciphers: Vec::new(),
            honor_cipher_order: false,
            login_from: LoginFrom::DistinguishedName,
        }
    }
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// They are not.
    None,
    /// They are, and one that they give has to be good.
    Peer,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

impl TlsVersion {
    /// All that are spoken.
    pub const ALL: [Self; 2] = [Self::V1_2, Self::V1_3];

    /// Versions from this one on.
    pub fn and_later(self) -> Vec<Self> {
        Self::ALL.into_iter().filter(|version| *version >= self).collect()
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        })
    }
}

impl FromStr for TlsVersion {
    type Err = String;

    /// Reads `1.2` or, as `RabbitMQ` writes it, `tlsv1.2`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("tlsv").unwrap_or(text) {
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            "1" | "1.0" | "1.1" => Err(format!("TLS {text} is not secure and not spoken; use 1.2 or 1.3")),
            _ => Err(format!("`{text}` is no version of TLS; use 1.2 or 1.3")),
        }
    }
}

/// What of a client's certificate is the name of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginFrom {
    /// The whole subject, as in RFC 4514: `CN=client,O=example`.
    DistinguishedName,
    /// The subject's common names, with commas between them.
    CommonName,
    /// A subject alternative name.
    SubjectAlternativeName {
        /// Of this type.
        kind: SanType,
        /// Which of those, from 0.
        index: usize,
    },
}

/// Types of subject alternative names (RFC 5280 §4.2.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SanType {
    /// A host's name.
    Dns,
    /// An address of e-mail.
    Email,
    /// A URI.
    Uri,
    /// An IP address.
    Ip,
    /// Any other name that is a text.
    OtherName,
}

impl FromStr for SanType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "dns" => Ok(Self::Dns),
            "email" => Ok(Self::Email),
            "uri" => Ok(Self::Uri),
            "ip" => Ok(Self::Ip),
            "other_name" => Ok(Self::OtherName),
            _ => Err(format!("`{text}` is no type of names; use dns, email, uri, ip or other_name")),
        }
    }
}

/// The password of a key. It shows nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPassword(Zeroizing<String>);

impl KeyPassword {
    /// A password to keep.
    pub fn new(password: String) -> Self {
        Self(Zeroizing::new(password))
    }

    pub(super) fn octets(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for KeyPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPassword(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_in_both_spellings_and_old_ones_are_refused() {
        for (text, version) in [
            ("1.2", Some(TlsVersion::V1_2)),
            ("tlsv1.2", Some(TlsVersion::V1_2)),
            ("1.3", Some(TlsVersion::V1_3)),
            ("tlsv1.3", Some(TlsVersion::V1_3)),
            ("tlsv1.1", None),
            ("tlsv1", None),
            ("1.4", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), version, "{text}");
        }
        assert_eq!(TlsVersion::V1_2.and_later(), TlsVersion::ALL);
        assert_eq!(TlsVersion::V1_3.and_later(), [TlsVersion::V1_3]);
    }

    #[test]
    fn a_password_does_not_show() {
        let mut settings = TlsSettings::new("a".into(), "b".into());
        settings.key_password = Some(KeyPassword::new("secret".into()));
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
