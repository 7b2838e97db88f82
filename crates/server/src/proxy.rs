//! The PROXY protocol, versions 1 and 2: a load balancer says whose connection it passes on.

use std::io;
use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};
use tokio::net::TcpStream;

/// The longest header, in octets. Load balancers put some hundred octets of their own into version 2.
const HEADER_MAX: usize = 4096;
/// The longest header of version 1, in octets (§2.1).
const HEADER_V1_MAX: usize = 107;
/// Octets looked at in one go.
const PIECE: usize = 512;
/// What a header of version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// What a header of version 2 begins with.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Why a connection has no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("it has no PROXY header; {0}")]
    Missing(&'static str),
    #[error("its PROXY header is malformed")]
    Malformed,
    #[error("its PROXY header is longer than {HEADER_MAX} bytes")]
    TooLong,
    #[error("it ended before its PROXY header did")]
    HungUp,
    #[error("{0}")]
    Socket(#[from] io::Error),
}

/// Whose connection a proxy passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proxied {
    /// The client's address.
    pub(crate) source: SocketAddr,
    /// The address that the client connected to.
    pub(crate) destination: SocketAddr,
}

/// Takes the header, and nothing behind it, off a connection. Gives the ends of the client's connection, `None` if the proxy
/// speaks for itself or does not know.
pub(crate) async fn read_header(stream: &TcpStream) -> Result<Option<Proxied>, ProxyError> {
    let mut header = Vec::new();
    loop {
        let taken = header.len();
        let mut piece = [0; PIECE];
        let count = stream.peek(&mut piece).await?;
        if count == 0 {
            return Err(ProxyError::HungUp);
        }
        header.extend_from_slice(piece.get(..count).unwrap_or_default());
        let parsed = parse(&header)?;
        let until = parsed.map_or(header.len(), |(_, length)| length);
        // These octets are there, as they have been looked at; nobody else reads them.
        let mut seen = until.saturating_sub(taken);
        while seen > 0 {
            match stream.try_read(piece.get_mut(..seen).unwrap_or_default()) {
                Ok(0) => return Err(ProxyError::HungUp),
                Ok(count) => seen -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
                Err(error) => return Err(error.into()),
            }
        }
        if let Some((address, _)) = parsed {
            return Ok(address);
        }
        if header.len() >= HEADER_MAX {
            return Err(ProxyError::TooLong);
        }
    }
}

/// A header and its length; `None` while it is not whole.
fn parse(octets: &[u8]) -> Result<Option<(Option<Proxied>, usize)>, ProxyError> {
    let begins = |with: &[u8]| octets.iter().zip(with).all(|(octet, expected)| octet == expected);
    if !begins(V1) && !begins(V2) {
        return Err(ProxyError::Missing(recognize(octets)));
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(octets, config) {
        Ok((_, length)) if begins(V1) && length > HEADER_V1_MAX => Err(ProxyError::Malformed),
        Ok((header, length)) => match header.proxied_address() {
            Some(address) if address.protocol != Protocol::Stream => Err(ProxyError::Malformed),
            Some(address) => {
                let proxied = Proxied { source: address.source, destination: address.destination };
                Ok(Some((Some(proxied), length)))
            }
            None => Ok(Some((None, length))),
        },
        Err(Error::BufferTooShort) => Ok(None),
        Err(_) => Err(ProxyError::Malformed),
    }
}

/// What a client speaks that does not come by a proxy.
fn recognize(octets: &[u8]) -> &'static str {
    match octets {
        [b'A', b'M', b'Q', b'P', ..] => {
            "it is an AMQP client that does not come through a proxy, or the proxy sends none"
        }
        [0x16, 3, ..] => "it is a TLS client that does not come through a proxy, or the proxy sends none",
        _ => "it begins with something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    const V2_IPV4: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x30\x39\x16\x28";
    /// With a TLV of type SSL that is too short to be one.
    const V2_TLV: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x11\x0a\x00\x00\x01\x0a\x00\x00\x02\x30\x39\x16\x28\x20\x00\x02\x01\x00";

    #[test]
    fn whole_headers_give_an_address_and_their_length() {
        for (octets, address) in [
            (b"PROXY TCP4 10.0.0.1 10.0.0.2 12345 5672\r\n".as_slice(), Some(("10.0.0.1:12345", "10.0.0.2:5672"))),
            (b"PROXY TCP6 ::1 ::2 12345 5672\r\n", Some(("[::1]:12345", "[::2]:5672"))),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN ff:: ff:: 1 2\r\n", None),
            (V2_LOCAL, None),
            (V2_IPV4, Some(("10.0.0.1:12345", "10.0.0.2:5672"))),
            (V2_TLV, Some(("10.0.0.1:12345", "10.0.0.2:5672"))),
        ] {
            let with_more = [octets, b"AMQP\0\0\x09\x01"].concat();
            let expected = address.map(|(source, destination): (&str, &str)| Proxied {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
            });
            assert_eq!(parse(&with_more).unwrap(), Some((expected, octets.len())), "{octets:?}");
            for end in 1..octets.len() {
                assert_eq!(parse(&octets[..end]).unwrap(), None, "{:?}", &octets[..end]);
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_early_as_it_shows() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100], b"\r\n"].concat();
        for (octets, reason) in [
            (b"A".as_slice(), "something else"),
            (b"AMQP\0\0\x09\x01", "AMQP client"),
            (b"\x16\x03\x01", "TLS client"),
            (b"PROXX", "no PROXY header"),
            (b"PROXY TCP5 10.0.0.1 10.0.0.2 1 2\r\n", "malformed"),
            (b"PROXY TCP4 10.0.0.256 10.0.0.2 1 2\r\n", "malformed"),
            (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\rx", "malformed"),
            (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x00", "malformed"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x00AMQP\0\0\x09\x01....", "malformed"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x12\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x30\x39\x16\x28", "malformed"),
            (&long, "malformed"),
        ] {
            let error = parse(octets).map(|parsed| format!("{parsed:?}")).unwrap_err().to_string();
            assert!(error.contains(reason), "{octets:?}: {error}");
        }
    }
}
