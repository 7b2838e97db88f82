//! The handshake of a TLS connection, and why it failed, in a sentence for the log.

use std::io;
use std::time::{Duration, SystemTime};

use leveret_broker::access::TlsPeer;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::channel::Channel;
use super::context::{Context, unix_seconds};
use super::peer::{PeerError, peer};

/// Time a client has for the handshake.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Octets read at a time.
const READ_SIZE: usize = 4096;
/// The first octet of a handshake record (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the client hung up")]
    HungUp,
    #[error("it took too long")]
    Timeout,
    #[error("{0}")]
    NotTls(&'static str),
    #[error("{}", describe(.0))]
    Tls(#[from] Error),
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("{0}")]
    Socket(#[from] io::Error),
}

/// Shakes hands with a client that has just connected; gives the connection and who it is. It may take until `deadline`, and
/// some seconds at most.
pub(crate) async fn handshake(
    stream: &TcpStream,
    context: &Context,
    deadline: Instant,
) -> Result<(Channel, TlsPeer), HandshakeError> {
    let deadline = deadline.min(Instant::now() + TIMEOUT);
    let shaken = tokio::time::timeout_at(deadline, shake(stream, context)).await;
    let channel = shaken.unwrap_or(Err(HandshakeError::Timeout))?;
    let peer = peer(&channel, context.login_from(), unix_seconds(SystemTime::now()))?;
    Ok((channel, peer))
}

async fn shake(stream: &TcpStream, context: &Context) -> Result<Channel, HandshakeError> {
    let mut channel = Channel::new(context.config())?;
    let mut is_first = true;
    loop {
        stream.readable().await?;
        let shaken = {
            let mut octets = [0; READ_SIZE];
            let count = match stream.try_read(&mut octets) {
                Ok(0) => return Err(HandshakeError::HungUp),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            let octets = octets.get(..count).unwrap_or_default();
            if is_first && octets.first() != Some(&HANDSHAKE_RECORD) {
                return Err(HandshakeError::NotTls(recognize(octets)));
            }
            is_first = false;
            channel.shake(octets)
        };
        // An alert goes out also when there is no more to come.
        let sent = send(stream, &channel.take_outgoing()).await;
        shaken?;
        sent?;
        if !channel.is_handshaking() {
            return Ok(channel);
        }
        if channel.has_ended() {
            return Err(HandshakeError::HungUp);
        }
    }
}

/// Sends all of it.
async fn send(stream: &TcpStream, mut octets: &[u8]) -> io::Result<()> {
    while !octets.is_empty() {
        stream.writable().await?;
        match stream.try_write(octets) {
            Ok(count) => octets = octets.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What a client speaks that does not speak TLS.
fn recognize(octets: &[u8]) -> &'static str {
    const HTTP: [&[u8]; 5] = [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS "];
    if octets.starts_with(b"AMQP") {
        "AMQP client without TLS detected on TLS port"
    } else if HTTP.iter().any(|method| octets.starts_with(method)) {
        "HTTP request detected on TLS port for AMQP"
    } else if octets.starts_with(b"PROXY ") || octets.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
        "PROXY protocol header on a listener that does not expect one"
    } else {
        "this is not TLS"
    }
}

/// What an error means.
fn describe(error: &Error) -> String {
    match error {
        Error::NoCertificatesPresented => "the client has no certificate".into(),
        Error::InvalidCertificate(error) => describe_certificate(error),
        Error::PeerIncompatible(incompatible) => match incompatible {
            PeerIncompatible::NoCipherSuitesInCommon => {
                "the client speaks none of the cipher suites that are switched on here".into()
            }
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
                "the client speaks no version of TLS that is switched on here".into()
            }
            other => format!("the client cannot speak with us: {other:?}"),
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::UnknownCA => {
                "the client does not trust our certificate (unknown_ca): does it have the file with our authority?"
                    .into()
            }
            AlertDescription::CertificateExpired => "the client refuses our certificate: it has expired".into(),
            AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
                format!("the client refuses our certificate ({alert:?}): is it for the name that the client asks for?")
            }
            alert => format!("the client refused: {alert:?}"),
        },
        other => other.to_string(),
    }
}

fn describe_certificate(error: &CertificateError) -> String {
    let what = match error {
        CertificateError::UnknownIssuer => "was issued by an unknown authority",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::Revoked => "is revoked",
        CertificateError::UnknownRevocationStatus => "is covered by no revocation list",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "is covered by a revocation list that has expired"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for clients (extended key usage)"
        }
        CertificateError::Other(error) => return error.to_string(),
        other => return format!("the client's certificate was refused: {other}"),
    };
    format!("the client's certificate {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_without_tls_are_recognised() {
        for (octets, text) in [
            (b"AMQP\0\0\x09\x01".as_slice(), "AMQP client without TLS"),
            (b"GET / HTTP/1.1\r\n", "HTTP request"),
            (b"POST /", "HTTP request"),
            (b"PROXY TCP4 1.2.3.4 ", "PROXY protocol"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21", "PROXY protocol"),
            (b"\0", "not TLS"),
        ] {
            assert!(recognize(octets).contains(text), "{octets:?}");
        }
    }
}
