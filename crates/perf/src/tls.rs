//! TLS of a client's connection, without a thread or a buffer more than without it.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::Error;
use crate::options::Options;

/// Plaintext put into records at a time, in octets.
const SEAL_MAX: usize = 256 * 1024;
/// Ciphertext read at a time, in octets.
const READ_SIZE: usize = 256 * 1024;
/// Ciphertext read at a time by connections that have little to read.
const READ_SIZE_SMALL: usize = 16 * 1024;

/// What the options say about the other side of a TLS connection, and about ours.
pub(crate) fn config(options: &Options) -> Result<Arc<ClientConfig>, Error> {
    let failed = |path: &Path, reason: String| Error::Options(format!("{}: {reason}", path.display()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Options(error.to_string()))?;
    let builder = match &options.tls_ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| failed(path, error.to_string()))?;
            }
            builder.with_root_certificates(roots)
        }
        None if options.tls_insecure => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { provider }))
        }
        None => {
            return Err(Error::Options(
                "amqps:// needs --tls-ca with the broker's authority, or --tls-insecure".into(),
            ));
        }
    };
    let mut config = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => {
            let loaded = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, loaded)
                .map_err(|error| failed(key, error.to_string()))?
        }
        _ => builder.with_no_client_auth(),
    };
    // Every connection costs the broker what a new client's costs.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |reason: String| Error::Options(format!("{}: {reason}", path.display()));
    let all = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))?;
    if all.is_empty() { Err(failed("there is no certificate in this file".into())) } else { Ok(all) }
}

/// A TLS connection between a socket and everything else.
pub(crate) struct Tls {
    records: UnbufferedClientConnection,
    /// Ciphertext: the first `kept` octets are the start of a record whose rest has yet to come.
    sealed: Vec<u8>,
    kept: usize,
    /// Plaintext for which there was no room.
    opened: Vec<u8>,
    /// Ciphertext on its way out; what is in front of `written` is gone.
    outgoing: Vec<u8>,
    written: usize,
    filled: usize,
    ended: bool,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Shakes hands with a broker that calls itself `host`.
    pub(crate) fn open(config: &Arc<ClientConfig>, host: &str, stream: &TcpStream) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut tls = Self {
            records: UnbufferedClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?,
            sealed: Vec::new(),
            kept: 0,
            opened: Vec::new(),
            outgoing: Vec::new(),
            written: 0,
            filled: 0,
            ended: false,
        };
        tls.process(0, &mut [])?;
        while tls.records.is_handshaking() || tls.is_sending() {
            while !tls.flush(stream)? {
                std::thread::yield_now();
            }
            if tls.records.is_handshaking() {
                tls.fill(stream, READ_SIZE_SMALL, RecvFlags::empty(), &mut [])?;
            }
            if tls.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(tls)
    }

    /// Whether ciphertext waits for room in the socket.
    pub(crate) fn is_sending(&self) -> bool {
        self.written < self.filled
    }

    /// Reads into `room` and gives the length, 0 at the end of the connection.
    pub(crate) fn read(&mut self, stream: &TcpStream, room: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        self.flush(stream)?;
        loop {
            if !self.opened.is_empty() {
                let count = self.opened.len().min(room.len());
                if let (Some(to), Some(from)) = (room.get_mut(..count), self.opened.get(..count)) {
                    to.copy_from_slice(from);
                }
                self.opened.drain(..count);
                return Ok(count);
            }
            if self.ended {
                return Ok(0);
            }
            let size = if room.len() > READ_SIZE_SMALL { READ_SIZE } else { READ_SIZE_SMALL };
            let count = self.fill(stream, size, flags, room)?;
            if count > 0 {
                return Ok(count);
            }
        }
    }

    /// Takes as much of `octets` as it may have to keep; says how many those were. What the socket does not take now goes out
    /// with the next call of anything here.
    pub(crate) fn send(&mut self, stream: &TcpStream, octets: &[u8]) -> io::Result<usize> {
        if !self.flush(stream)? {
            return Ok(0);
        }
        let taken = octets.len().min(SEAL_MAX);
        self.seal(octets.get(..taken).unwrap_or_default())?;
        self.flush(stream)?;
        Ok(taken)
    }

    /// Writes what waits; says whether all of it is out.
    pub(crate) fn flush(&mut self, stream: &TcpStream) -> io::Result<bool> {
        while let Some(rest) = self.outgoing.get(self.written..self.filled).filter(|rest| !rest.is_empty()) {
            match send(stream, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => self.written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        (self.written, self.filled) = (0, 0);
        Ok(true)
    }

    /// Reads once and opens what came; gives how much of it is in `room` now.
    fn fill(&mut self, stream: &TcpStream, size: usize, flags: RecvFlags, room: &mut [u8]) -> io::Result<usize> {
        if self.sealed.len() < self.kept + size {
            self.sealed.resize(self.kept + size, 0);
        }
        let (_, count) = recv(stream, self.sealed.get_mut(self.kept..).unwrap_or_default(), flags)?;
        if count == 0 {
            self.ended = true;
            return Ok(0);
        }
        self.process(self.kept + count, room)
    }

    /// Opens all whole records in the first `end` octets of ciphertext.
    fn process(&mut self, end: usize, room: &mut [u8]) -> io::Result<usize> {
        let (mut used, mut opened) = (0, 0);
        loop {
            let octets = self.sealed.get_mut(used..end).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.records.process_tls_records(octets);
            used += discard;
            match state.map_err(io::Error::other)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let payload = record.map_err(io::Error::other)?.payload;
                        match room.get_mut(opened..opened + payload.len()) {
                            Some(room) if self.opened.is_empty() => {
                                room.copy_from_slice(payload);
                                opened += payload.len();
                            }
                            _ => self.opened.extend_from_slice(payload),
                        }
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    self.filled += match data.encode(self.outgoing.get_mut(self.filled..).unwrap_or_default()) {
                        Err(EncodeError::InsufficientSize(size)) => {
                            self.outgoing.resize(self.filled + size.required_size, 0);
                            data.encode(self.outgoing.get_mut(self.filled..).unwrap_or_default())
                        }
                        result => result,
                    }
                    .map_err(io::Error::other)?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.ended = true,
                ConnectionState::Closed => {
                    self.ended = true;
                    break;
                }
                _ => break,
            }
        }
        self.sealed.copy_within(used..end, 0);
        self.kept = end - used;
        Ok(opened)
    }

    /// Puts octets into records behind what waits already.
    fn seal(&mut self, octets: &[u8]) -> io::Result<()> {
        loop {
            let sealed = self.sealed.get_mut(..self.kept).unwrap_or_default();
            let UnbufferedStatus { state, .. } = self.records.process_tls_records(sealed);
            match state.map_err(io::Error::other)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    match traffic.encrypt(octets, self.outgoing.get_mut(self.filled..).unwrap_or_default()) {
                        Ok(count) => {
                            self.filled += count;
                            return Ok(());
                        }
                        Err(EncryptError::InsufficientSize(size)) => {
                            self.outgoing.resize(self.filled + size.required_size, 0);
                        }
                        Err(error @ EncryptError::EncryptExhausted) => return Err(io::Error::other(error)),
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    self.outgoing.resize(self.outgoing.len().max(self.filled + SMALL_RECORD_MAX), 0);
                    let room = self.outgoing.get_mut(self.filled..).unwrap_or_default();
                    self.filled += data.encode(room).map_err(io::Error::other)?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                state => return Err(io::Error::other(format!("TLS cannot write: {state:?}"))),
            }
        }
    }
}

/// Room for what TLS itself says after the handshake, in octets.
const SMALL_RECORD_MAX: usize = 1024;

/// Believes whoever answers, but not that anybody may change what is said.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
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
