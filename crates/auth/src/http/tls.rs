//! TLS to a service.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::{HttpHostnameVerification, HttpSettingsError, HttpTlsSettings, HttpTlsVersion, HttpVerify};

/// What the TLS library needs. Who may sign certificates has to be known only if TLS is used.
pub(crate) fn client_config(settings: &HttpTlsSettings, is_used: bool) -> Result<ClientConfig, HttpSettingsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let roots = match settings.verify {
        HttpVerify::Peer => roots(settings)?,
        HttpVerify::None => RootCertStore::empty(),
    };
    let verifier: Arc<dyn ServerCertVerifier> = if roots.is_empty() {
        if is_used && settings.verify == HttpVerify::Peer {
            return Err(HttpSettingsError::NoAuthorities);
        }
        Arc::new(Unverified { expected: settings.verify, algorithms })
    } else {
        Arc::new(Verifier::new(roots, settings, &provider)?)
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(&settings.versions))
        .map_err(|_| HttpSettingsError::Versions)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(own) = &settings.client_certificate else {
        return Ok(config.with_no_client_auth());
    };
    let key = PrivateKeyDer::from_pem_file(&own.key_file).map_err(|error| file("keyfile", &own.key_file, &error))?;
    config
        .with_client_auth_cert(certificates("certfile", &own.certificate_file)?, key)
        .map_err(HttpSettingsError::ClientCertificate)
}

/// The name that the service's certificate has, if it is not the one in the URL.
pub(super) fn server_name(settings: &HttpTlsSettings) -> Result<Option<ServerName<'static>>, HttpSettingsError> {
    let Some(name) = &settings.server_name else {
        return Ok(None);
    };
    ServerName::try_from(name.clone()).map(Some).map_err(|_| HttpSettingsError::ServerName(name.clone()))
}

fn versions(versions: &[HttpTlsVersion]) -> Vec<&'static SupportedProtocolVersion> {
    versions
        .iter()
        .map(|version| match version {
            HttpTlsVersion::V1_2 => &rustls::version::TLS12,
            HttpTlsVersion::V1_3 => &rustls::version::TLS13,
        })
        .collect()
}

fn roots(settings: &HttpTlsSettings) -> Result<RootCertStore, HttpSettingsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &settings.ca_certificate_file {
        for certificate in certificates("cacertfile", path)? {
            roots.add(certificate).map_err(|error| file("cacertfile", path, &error))?;
        }
    } else {
        // A system may list what the library does not understand, which helps nobody in.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
}

fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpSettingsError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| file(setting, path, &error))?.collect();
    let found = found.map_err(|error| file(setting, path, &error))?;
    if found.is_empty() { Err(file(setting, path, &"no certificate in it")) } else { Ok(found) }
}

fn file(setting: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> HttpSettingsError {
    HttpSettingsError::File { setting, path: path.into(), reason: reason.to_string() }
}

/// Verifies certificates as the library does, and what else may be asked for.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    depth: Option<usize>,
    hostname: HttpHostnameVerification,
}

impl Verifier {
    fn new(
        roots: RootCertStore,
        settings: &HttpTlsSettings,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, HttpSettingsError> {
        let roots = Arc::new(roots);
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
            .build()
            .map_err(|error| HttpSettingsError::Tls(error.to_string()))?;
        Ok(Self {
            inner,
            roots,
            algorithms: provider.signature_verification_algorithms,
            depth: settings.depth.map(usize::from),
            hostname: settings.hostname_verification,
        })
    }

    fn check_depth(
        &self,
        certificate: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let Some(depth) = self.depth else {
            return Ok(());
        };
        let is_short = |path: &VerifiedPath<'_>| {
            if path.intermediate_certificates().count() <= depth {
                Ok(())
            } else {
                Err(webpki::Error::MaximumPathDepthExceeded)
            }
        };
        certificate
            .verify_for_usage(
                self.algorithms.all,
                &self.roots.roots,
                intermediates,
                now,
                KeyUsage::server_auth(),
                None,
                Some(&is_short),
            )
            .map(|_| ())
            .map_err(|_| {
                Error::General("more certificates than depth allows are between the service's and a known one".into())
            })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let certificate = EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        self.check_depth(&certificate, intermediates, now)?;
        if self.hostname == HttpHostnameVerification::Exact && !has_name(&certificate, server_name) {
            return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a certificate, which is valid for this name, has it as it is. Addresses have no wildcards.
fn has_name(certificate: &EndEntityCert<'_>, name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(name) = name else {
        return true;
    };
    let name = name.as_ref();
    let name = name.strip_suffix('.').unwrap_or(name);
    certificate.valid_dns_names().any(|valid| valid.eq_ignore_ascii_case(name))
}

/// Verifies nothing: takes any certificate, or none as nobody is known who could sign one.
#[derive(Debug)]
struct Unverified {
    expected: HttpVerify,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.expected {
            HttpVerify::None => Ok(ServerCertVerified::assertion()),
            HttpVerify::Peer => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
