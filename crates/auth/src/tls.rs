//! TLS to those whom back ends ask: how they prove who they are, and this node to them.

mod verifier;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use self::verifier::{Unverified, Verifier};

/// The settings, as `ssl_options.*` of a back end. Defaults are RabbitMQ's, but that servers are always verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// `verify`.
    pub verify: Verify,
    /// `cacertfile`: a PEM file of those who may sign the server's certificate; `None` is the list of the operating system.
    pub ca_certificate_file: Option<PathBuf>,
    /// `certfile` and `keyfile`: PEM files of the certificate that the server may ask for, and of its key.
    pub client_certificate: Option<ClientCertificate>,
    /// `sni`: the name that the server's certificate has, if it is not the one that it is asked by.
    pub server_name: Option<String>,
    /// `hostname_verification`.
    pub hostname_verification: HostnameVerification,
    /// `depth`: how many certificates may be between the server's and the one of `cacertfile` that it leads to; `None` for as
    /// many as the TLS library follows.
    pub depth: Option<u8>,
    /// `versions.N`.
    pub versions: Vec<TlsVersion>,
}

/// A certificate of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Itself, and those that lead to who signed it.
    pub certificate_file: PathBuf,
    /// Its private key, which is not encrypted.
    pub key_file: PathBuf,
}

/// What is expected of the certificate of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// That it is for this server, valid, and signed by somebody known: `verify_peer`.
    Peer,
    /// Nothing: `verify_none`. Whoever is between the node and the server may read passwords, and make up answers.
    None,
}

/// Which names in a certificate are the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostnameVerification {
    /// Its own, and those with a `*` for their first label: `wildcard`. RabbitMQ's default is the other one.
    Wildcard,
    /// Its own: `none`, which turns wildcards off and not the check.
    Exact,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// `tlsv1.2`
    V1_2,
    /// `tlsv1.3`
    V1_3,
}

/// Whether there will be TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// There will.
    Certain,
    /// Only if somebody is sent on to a server with it, who may fail then.
    Possible,
}

/// A setting that cannot be used, without the prefix of its back end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct TlsSettingsError {
    setting: &'static str,
    reason: String,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            verify: Verify::Peer,
            ca_certificate_file: None,
            client_certificate: None,
            server_name: None,
            hostname_verification: HostnameVerification::Wildcard,
            depth: None,
            versions: vec![TlsVersion::V1_2, TlsVersion::V1_3],
        }
    }
}

/// What the TLS library needs. Who may sign certificates has to be known only if it is certain that there will be TLS.
pub(crate) fn client_config(settings: &TlsSettings, use_of_it: Use) -> Result<ClientConfig, TlsSettingsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let roots = match settings.verify {
        Verify::Peer => roots(settings)?,
        Verify::None => RootCertStore::empty(),
    };
    let verifier: Arc<dyn ServerCertVerifier> = if roots.is_empty() {
        if use_of_it == Use::Certain && settings.verify == Verify::Peer {
            return Err(wrong("cacertfile", &"has to be set, as the system has no list of certificate authorities"));
        }
        Arc::new(Unverified { expected: settings.verify, algorithms })
    } else {
        let verifier = Verifier::new(roots, settings, &provider);
        Arc::new(verifier.map_err(|error| wrong("cacertfile", &error))?)
    };
    let versions: Vec<_> = settings.versions.iter().map(|version| supported(*version)).collect();
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|_| wrong("versions", &"none of them can be used"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(own) = &settings.client_certificate else {
        return Ok(config.with_no_client_auth());
    };
    let key =
        PrivateKeyDer::from_pem_file(&own.key_file).map_err(|error| wrong_file("keyfile", &own.key_file, &error))?;
    config
        .with_client_auth_cert(certificates("certfile", &own.certificate_file)?, key)
        .map_err(|error| wrong_file("certfile", &own.certificate_file, &error))
}

/// The name that the server's certificate has, if it is not the one that it is asked by.
pub(crate) fn server_name(settings: &TlsSettings) -> Result<Option<ServerName<'static>>, TlsSettingsError> {
    let Some(name) = &settings.server_name else {
        return Ok(None);
    };
    let read = ServerName::try_from(name.clone());
    read.map(Some).map_err(|_| wrong("sni", &format_args!("'{name}' is not the name of a host")))
}

const fn supported(version: TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::V1_2 => &rustls::version::TLS12,
        TlsVersion::V1_3 => &rustls::version::TLS13,
    }
}

fn roots(settings: &TlsSettings) -> Result<RootCertStore, TlsSettingsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &settings.ca_certificate_file {
        for certificate in certificates("cacertfile", path)? {
            roots.add(certificate).map_err(|error| wrong_file("cacertfile", path, &error))?;
        }
    } else {
        // A system may list what the library does not understand, which helps nobody in.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSettingsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| wrong_file(setting, path, &error))?;
    if found.is_empty() { Err(wrong_file(setting, path, &"no certificate in it")) } else { Ok(found) }
}

fn wrong(setting: &'static str, reason: &dyn fmt::Display) -> TlsSettingsError {
    TlsSettingsError { setting, reason: reason.to_string() }
}

fn wrong_file(setting: &'static str, path: &Path, reason: &dyn fmt::Display) -> TlsSettingsError {
    wrong(setting, &format_args!("{}: {reason}", path.display()))
}
