//! Which clients' certificates are believed.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::error::TlsError;
use super::files;
use super::settings::{TlsSettings, Verify};

/// A chain with more intermediate certificates than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client's certificate is more than {depth} intermediate certificates away from an authority")]
pub(super) struct TooDeep {
    /// How many are allowed.
    pub(super) depth: u8,
}

/// The verifier that the settings ask for.
pub(super) fn verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    if settings.verify == Verify::None {
        if settings.fail_if_no_peer_cert {
            return Err(TlsError::NotAsked);
        }
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let path = settings.authorities.as_deref().ok_or(TlsError::NoAuthorities)?;
    let roots = Arc::new(authorities(path)?);
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
    if !settings.fail_if_no_peer_cert {
        builder = builder.allow_unauthenticated();
    }
    if let Some(path) = &settings.revocation_lists {
        builder = builder.with_crls(files::revocation_lists(path)?);
    }
    let path = settings.revocation_lists.as_deref().unwrap_or(path);
    let chain = builder.build().map_err(|error| TlsError::file(path, error.to_string()))?;
    Ok(Arc::new(Verifier { chain, roots, depth: settings.depth, provider: Arc::clone(provider) }))
}

/// The authorities in a file or folder. All of them have to be readable: a typing error is not to shut clients out in silence.
fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (file, certificate) in files::authorities(path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::file(&file, format!("a certificate in this file cannot be used: {error}")))?;
    }
    Ok(roots)
}

/// Checks chains with rustls' verifier, and then how long they are.
#[derive(Debug)]
struct Verifier {
    chain: Arc<dyn ClientCertVerifier>,
    roots: Arc<RootCertStore>,
    depth: u8,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// Whether some chain that is good is short enough.
    fn is_near(&self, certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let near = |path: &VerifiedPath<'_>| {
            let far = path.intermediate_certificates().count() > usize::from(self.depth);
            if far { Err(webpki::Error::MaximumPathDepthExceeded) } else { Ok(()) }
        };
        EndEntityCert::try_from(certificate).is_ok_and(|certificate| {
            let algorithms = self.provider.signature_verification_algorithms.all;
            let usage = KeyUsage::client_auth();
            certificate.verify_for_usage(algorithms, &self.roots.roots, others, now, usage, None, Some(&near)).is_ok()
        })
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        // A second look costs as much as the first one, and no chain is longer than what the client sent.
        if intermediates.len() > usize::from(self.depth) && !self.is_near(end_entity, intermediates, now) {
            let error = OtherError(Arc::new(TooDeep { depth: self.depth }));
            return Err(CertificateError::Other(error).into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
