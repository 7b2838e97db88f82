//! The octets of one TLS connection, without its socket: ciphertext in and out, plaintext in and out.
//!
//! A connection holds next to nothing between its turns: records are opened and made in buffers that all connections of a
//! thread share, and what is not sent yet is kept as ciphertext beside what plain connections keep.

use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{CipherSuite, Error, HandshakeKind, ProtocolVersion, ServerConfig};

use super::ciphers::OCTETS_MAX;

/// Ciphertext that waits for the rest of a record or of a handshake message, at most, in octets. A record has 16 KiB and a
/// little, and rustls takes messages up to 64 KiB.
pub(crate) const PARTIAL_MAX: usize = 96 * 1024;
/// Things that TLS has to say after an error, at most: what it was about to send, and why it ends.
const LAST_WORDS_MAX: usize = 8;

/// One TLS connection.
pub(crate) struct Channel {
    tls: UnbufferedServerConnection,
    /// The start of a record whose rest has yet to come.
    partial: Vec<u8>,
    /// Plaintext that came with the last of the handshake.
    early: Vec<u8>,
    /// What TLS itself has to say: handshake, tickets, alerts.
    outgoing: Vec<u8>,
    /// Octets that went out with one key that cannot be changed.
    sent: u64,
    /// The peer will send no more.
    ended: bool,
    /// The peer sent what is no TLS, or not for us. Nothing is read or written after that, but for what says so.
    failed: bool,
}

impl Channel {
    /// A connection whose handshake is still to come.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(config)?,
            partial: Vec::new(),
            early: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            ended: false,
            failed: false,
        })
    }

    /// Whether the handshake is still going on.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether the client came back to an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Version and suite.
    pub(super) fn agreed(&self) -> Option<(ProtocolVersion, CipherSuite)> {
        Some((self.tls.protocol_version()?, self.tls.negotiated_cipher_suite()?.suite()))
    }

    /// The client's certificate, if it gave one.
    pub(super) fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.peer_certificates()?.first()
    }

    /// Takes octets of the handshake. Plaintext behind it is kept for [`Channel::decrypt`].
    pub(crate) fn shake(&mut self, incoming: &[u8]) -> Result<(), Error> {
        if self.partial.len() + incoming.len() > PARTIAL_MAX {
            return Err(Error::General("the handshake is too long".into()));
        }
        let mut octets = std::mem::take(&mut self.partial);
        octets.extend_from_slice(incoming);
        let mut early = std::mem::take(&mut self.early);
        let used = self.process(&mut octets, |plaintext| {
            early.extend_from_slice(plaintext);
            Ok(())
        });
        self.early = early;
        octets.drain(..used?);
        self.partial = octets;
        Ok(())
    }

    /// What TLS itself has to say.
    pub(crate) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Whether there is plaintext that came with the last of the handshake; it goes to `plaintext`, as much as there is room.
    pub(crate) fn take_early(&mut self, plaintext: &mut [u8]) -> usize {
        let count = self.early.len().min(plaintext.len());
        if let (Some(to), Some(from)) = (plaintext.get_mut(..count), self.early.get(..count)) {
            to.copy_from_slice(from);
        }
        self.early.drain(..count);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        count
    }

    /// Octets of a record whose rest has yet to come.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Whether the peer said that it sends no more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Opens all whole records in `octets`, which begin with [`Channel::partial`], and gives the length of what was in them.
    /// `plaintext` has to have as much room as there are octets.
    pub(crate) fn decrypt(&mut self, octets: &mut [u8], plaintext: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        let used = self.process(octets, |record| {
            let end = filled + record.len();
            let room = plaintext.get_mut(filled..end).ok_or_else(|| Error::General("no room for plaintext".into()))?;
            room.copy_from_slice(record);
            filled = end;
            Ok(())
        });
        let rest = octets.get(used.map_err(io::Error::other)?..).unwrap_or_default();
        if rest.len() > PARTIAL_MAX {
            return Err(io::Error::other("a TLS record without an end"));
        }
        self.partial.clear();
        if rest.is_empty() && self.partial.capacity() > 0 {
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(rest);
        }
        Ok(filled)
    }

    /// Puts what TLS itself has to say and then `plaintext` into records in `out`, and gives their length. `out` is made
    /// larger if need be; what is behind the records is old.
    pub(crate) fn encrypt(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        if plaintext.is_empty() && self.outgoing.is_empty() {
            return Ok(0);
        }
        if self.failed {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.count(plaintext)?;
        let mut filled = append(out, 0, &self.outgoing);
        self.outgoing = Vec::new();
        let mut partial = std::mem::take(&mut self.partial);
        let mut used = 0;
        // Each round either ends or takes something out of TLS, but for one that makes room.
        let result = loop {
            let octets = partial.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(octets);
            used += discard;
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    match traffic.encrypt(plaintext, out.get_mut(filled..).unwrap_or_default()) {
                        Ok(count) => break Ok(filled + count),
                        Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                            out.resize(filled + required_size, 0);
                        }
                        Err(error @ EncryptError::EncryptExhausted) => break Err(io::Error::other(error)),
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    filled = encode(&mut data, out, filled).map_err(io::Error::other)?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::Closed) => break Ok(filled),
                Ok(state) => break Err(io::Error::other(format!("TLS cannot write: {state:?}"))),
                Err(error) => break Err(io::Error::other(error)),
            }
        };
        partial.drain(..used);
        self.partial = partial;
        result
    }

    /// The alert that says that we send no more, for the last write.
    pub(crate) fn close(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut filled = append(&mut out, 0, &std::mem::take(&mut self.outgoing));
        if !self.failed
            && let UnbufferedStatus { state: Ok(ConnectionState::WriteTraffic(mut traffic)), .. } =
                self.tls.process_tls_records(&mut self.partial)
        {
            out.resize(filled + ALERT_ROOM, 0);
            filled += traffic.queue_close_notify(out.get_mut(filled..).unwrap_or_default()).unwrap_or(0);
        }
        out.truncate(filled);
        out
    }

    /// Takes all whole records out of `octets`; says how many octets they had.
    fn process(
        &mut self,
        octets: &mut [u8],
        mut plaintext: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut used = 0;
        loop {
            let rest = octets.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(rest);
            used += discard;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        plaintext(record.payload)?;
                        used += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let filled = self.outgoing.len();
                    encode(&mut data, &mut self.outgoing, filled).map_err(|error| Error::General(error.to_string()))?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::Closed) => {
                    self.ended = true;
                    return Ok(used);
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => return Ok(used),
                Ok(state) => return Err(Error::General(format!("unexpected state of TLS: {state:?}"))),
                Err(error) => {
                    self.failed = true;
                    self.last_words(octets.get_mut(used..).unwrap_or_default());
                    return Err(error);
                }
            }
        }
    }

    /// After an error, what the peer is to be told about it.
    fn last_words(&mut self, octets: &mut [u8]) {
        let mut used = 0;
        for _ in 0..LAST_WORDS_MAX {
            let rest = octets.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(rest);
            used += discard;
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let filled = self.outgoing.len();
                    if encode(&mut data, &mut self.outgoing, filled).is_err() {
                        return;
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                _ => return,
            }
        }
    }

    /// Counts what goes out with a key that cannot be changed.
    fn count(&mut self, plaintext: &[u8]) -> io::Result<()> {
        self.sent += plaintext.len() as u64;
        if self.sent > OCTETS_MAX && self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_2) {
            return Err(io::Error::other(
                "the key has encrypted as much as TLS 1.2 allows for one connection; TLS 1.3 changes keys",
            ));
        }
        Ok(())
    }
}

/// Room for an alert in a record of any suite, in octets.
const ALERT_ROOM: usize = 128;

/// Writes what TLS itself has to say behind the first `filled` octets; gives how many there are then.
fn encode(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, rustls::server::ServerConnectionData>,
    out: &mut Vec<u8>,
    filled: usize,
) -> Result<usize, EncodeError> {
    match data.encode(out.get_mut(filled..).unwrap_or_default()) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            out.resize(filled + required_size, 0);
            data.encode(out.get_mut(filled..).unwrap_or_default()).map(|count| filled + count)
        }
        result => result.map(|count| filled + count),
    }
}

/// Copies `octets` behind the first `filled` of `out`, which grows if need be; gives how many there are then.
fn append(out: &mut Vec<u8>, filled: usize, octets: &[u8]) -> usize {
    let end = filled + octets.len();
    if out.len() < end {
        out.resize(end, 0);
    }
    if let Some(room) = out.get_mut(filled..end) {
        room.copy_from_slice(octets);
    }
    end
}
