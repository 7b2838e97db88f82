//! TLS to LDAP servers.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use super::settings::{LdapTlsSettings, LdapTlsVersion, LdapVerify};

/// Makes what connections need, or says what is wrong with which setting.
pub(super) fn client_config(settings: &LdapTlsSettings) -> Result<Arc<ClientConfig>, (&'static str, String)> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions: Vec<&SupportedProtocolVersion> =
        settings.versions.iter().map(|version| supported(*version)).collect();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions);
    let builder = builder.map_err(|error| ("auth_ldap.ssl_options.versions", error.to_string()))?;
    let builder = match settings.verify {
        LdapVerify::Peer => builder.with_root_certificates(authorities(settings.ca_certificate_file.as_deref())?),
        LdapVerify::None => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { provider })),
    };
    let Some(own) = &settings.client_certificate else { return Ok(Arc::new(builder.with_no_client_auth())) };
    let chain = certificates("auth_ldap.ssl_options.certfile", &own.certificate_file)?;
    let key_setting = "auth_ldap.ssl_options.keyfile";
    let key = PrivateKeyDer::from_pem_file(&own.key_file);
    let key = key.map_err(|error| (key_setting, format!("{}: {error}", own.key_file.display())))?;
    let config = builder.with_client_auth_cert(chain, key);
    config.map(Arc::new).map_err(|error| (key_setting, format!("{}: {error}", own.key_file.display())))
}

fn supported(version: LdapTlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        LdapTlsVersion::V1_2 => &rustls::version::TLS12,
        LdapTlsVersion::V1_3 => &rustls::version::TLS13,
    }
}

/// Those in a file, or those whom the operating system trusts.
fn authorities(file: Option<&Path>) -> Result<RootCertStore, (&'static str, String)> {
    let setting = "auth_ldap.ssl_options.cacertfile";
    let mut store = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates(setting, file)? {
                store.add(certificate).map_err(|error| (setting, format!("{}: {error}", file.display())))?;
            }
        }
        None => {
            // Some that are there may be of a kind that is not understood, which does not matter to the others.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() {
        return Err((setting, "is not set, and the operating system trusts nobody".into()));
    }
    Ok(store)
}

fn certificates(setting: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, (&'static str, String)> {
    let wrong = |what: String| (setting, format!("{}: {what}", file.display()));
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() { Err(wrong("has no certificate".into())) } else { Ok(found) }
}

/// Takes any certificate, as long as the server has its key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
