//! The broker's own certificates, and which of them a client gets to see.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::error::TlsError;
use super::files;
use super::settings::{KeyPassword, TlsSettings};

/// The broker's certificates; the first one is for clients that ask for no name, or for one that none has.
#[derive(Debug)]
pub(super) struct Certificates {
    first: Arc<CertifiedKey>,
    others: Vec<Certificate>,
    /// When the first of them ends, and its file.
    pub(super) ends: Vec<(i64, std::path::PathBuf)>,
}

#[derive(Debug)]
struct Certificate {
    key: Arc<CertifiedKey>,
    /// Names in lower case, some of which begin with `*.`.
    names: Vec<String>,
}

impl Certificates {
    /// Reads all of them.
    pub(super) fn open(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let password = settings.key_password.as_ref();
        let first = open(&settings.certificate, &settings.key, password, provider)?;
        let mut ends = vec![(end(&first), settings.certificate.clone())];
        let first_names = names(&first);
        let first = Arc::new(first);
        let mut others = vec![Certificate { key: Arc::clone(&first), names: first_names }];
        if let Some(folder) = &settings.more_certificates {
            for (certificate, key) in files::pairs(folder)? {
                let opened = open(&certificate, &key, password, provider)?;
                let names = names(&opened);
                if names.is_empty() {
                    let reason = "nobody will ask for this certificate: it has no DNS name (subjectAltName)";
                    return Err(TlsError::file(&certificate, reason));
                }
                ends.push((end(&opened), certificate));
                others.push(Certificate { key: Arc::new(opened), names });
            }
        }
        Ok(Self { first, others, ends })
    }

    /// Those that are for a name, first those for it alone.
    fn named(&self, name: &str) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let any = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        let with = |wanted: Option<String>| {
            let has =
                move |certificate: &&Certificate| wanted.as_ref().is_some_and(|name| certificate.names.contains(name));
            self.others.iter().filter(has).map(|certificate| &certificate.key)
        };
        with(Some(name)).chain(with(any))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let named = hello.server_name().and_then(|name| self.named(name).find(fits));
        Some(Arc::clone(named.unwrap_or(&self.first)))
    }
}

fn open(
    certificate: &Path,
    key: &Path,
    password: Option<&KeyPassword>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = files::certificates(certificate)?;
    CertifiedKey::from_der(chain, files::key(key, password)?, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::WrongKey { key: key.to_owned(), certificate: certificate.to_owned() }
        }
        Error::InvalidCertificate(error) => {
            TlsError::file(certificate, format!("the certificate cannot be used: {error}"))
        }
        error => TlsError::file(key, format!("the key cannot be used: {error}")),
    })
}

/// When a certificate ends, in seconds of Unix time. One that cannot be read is none that ends; rustls has checked it.
fn end(key: &CertifiedKey) -> i64 {
    let end = key.cert.first().and_then(|certificate| {
        let (_, certificate) = parse_x509_certificate(certificate).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    end.unwrap_or(i64::MAX)
}

/// The DNS names of a certificate, in lower case.
fn names(key: &CertifiedKey) -> Vec<String> {
    let Some(certificate) = key.cert.first() else { return Vec::new() };
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns).collect()
}
