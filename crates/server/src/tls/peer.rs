//! What is known of a client by TLS.

use leveret_broker::Name;
use leveret_broker::access::{PeerCertificate, TlsPeer};
use leveret_broker::clock::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, ProtocolVersion, ServerConnection};
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use super::channel::Channel;
use super::ciphers;
use super::login_name::{distinguished_name, login_name};
use super::settings::LoginFrom;

/// Why a client is not taken after its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PeerError {
    /// rustls reads it, we do not.
    #[error("the client's certificate cannot be read")]
    Unreadable,
    /// It was good in an earlier session that the client came back to.
    #[error("the client's certificate has expired since its earlier session")]
    Expired,
}

/// Who shook hands; `now` is in seconds of Unix time.
pub(super) fn peer(channel: &Channel, login_from: LoginFrom, now: i64) -> Result<TlsPeer, PeerError> {
    known(channel.agreed(), channel.peer_certificate(), login_from, now)
}

/// The same of a connection that rustls has a socket for.
pub(super) fn peer_of(connection: &ServerConnection, login_from: LoginFrom, now: i64) -> Result<TlsPeer, PeerError> {
    let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    known(connection.protocol_version().zip(suite), certificate, login_from, now)
}

fn known(
    agreed: Option<(ProtocolVersion, CipherSuite)>,
    certificate: Option<&CertificateDer<'_>>,
    login_from: LoginFrom,
    now: i64,
) -> Result<TlsPeer, PeerError> {
    let (version, suite) = agreed.ok_or(PeerError::Unreadable)?;
    let certificate = match certificate {
        Some(certificate) => {
            let (_, certificate) = parse_x509_certificate(certificate).map_err(|_| PeerError::Unreadable)?;
            // Who comes back with a ticket is not verified again.
            if certificate.validity().not_after.timestamp() < now {
                return Err(PeerError::Expired);
            }
            Some(of(&certificate, login_from))
        }
        None => None,
    };
    let version = if version == ProtocolVersion::TLSv1_3 { "tlsv1.3" } else { "tlsv1.2" };
    Ok(TlsPeer { version: version.into(), cipher: ciphers::name(suite).into(), certificate })
}

fn of(certificate: &X509Certificate<'_>, login_from: LoginFrom) -> PeerCertificate {
    let moment = |time: ASN1Time| Timestamp(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1000));
    PeerCertificate {
        subject: distinguished_name(certificate.subject()).into(),
        issuer: distinguished_name(certificate.issuer()).into(),
        not_before: moment(certificate.validity().not_before),
        not_after: moment(certificate.validity().not_after),
        login_name: login_name(certificate, login_from).map(Name::from),
    }
}
