//! Frames on a byte stream (§2.3.5) and the protocol header that precedes them (§4.2.2).
//!
//! ```text
//! 0      1         3             7                  size+7 size+8
//! +------+---------+-------------+ +------------+ +-----------+
//! | type | channel |     size    | |  payload   | | frame-end |
//! +------+---------+-------------+ +------------+ +-----------+
//!  octet   short        long         size octets      0xCE
//! ```

use super::content::ContentHeader;
use super::error::{FrameError, Snippet};
use super::method::Encode;
use super::{CLASS_BASIC, FRAME_OVERHEAD};

/// The octet that ends every frame.
pub const FRAME_END: u8 = 0xCE;
/// Octets before the payload.
const HEAD: usize = 7;

/// What a frame's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A method and its arguments.
    Method = 1,
    /// A content header.
    Header = 2,
    /// A piece of content body.
    Body = 3,
    /// Nothing: a sign of life.
    Heartbeat = 8,
}

impl FrameKind {
    fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// One frame, its payload borrowed from the read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameKind,
    /// 0 is the connection itself.
    pub channel: u16,
    /// The octets between head and end marker.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Octets of the frame that `buffer` starts with, as its head announces them.
    pub fn announced_size(buffer: &[u8]) -> usize {
        let size = buffer.get(3..HEAD).and_then(|octets| octets.try_into().ok()).map_or(0, u32::from_be_bytes);
        (size as usize).saturating_add(FRAME_OVERHEAD)
    }

    /// Takes the first frame of `buffer`: the frame and how many octets it used, or `None` if more octets are needed.
    ///
    /// `payload_max` is the largest payload to accept, in octets; the check comes before the payload has arrived, so that
    /// nobody can make a peer wait for, or hold, more.
    #[inline]
    pub fn decode(buffer: &'a [u8], payload_max: usize) -> Result<Option<(Self, usize)>, FrameError> {
        let Some((&[kind, c1, c0, s3, s2, s1, s0], rest)) = buffer.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let announced = u32::from_be_bytes([s3, s2, s1, s0]);
        let size = announced as usize;
        if size > payload_max {
            let max = u32::try_from(payload_max).unwrap_or(u32::MAX);
            return Err(FrameError::TooLarge { kind, size: announced, max });
        }
        let Some((payload, &[end, ..])) = rest.split_at_checked(size) else { return Ok(None) };
        if end != FRAME_END {
            return Err(FrameError::InvalidEnd { kind, start: Snippet::of(payload), end });
        }
        let Some(kind) = FrameKind::from_octet(kind) else {
            return Err(FrameError::UnknownKind { kind, start: Snippet::of(payload) });
        };
        Ok(Some((Self { kind, channel: u16::from_be_bytes([c1, c0]), payload }, size + FRAME_OVERHEAD)))
    }
}

/// Appends a frame whose payload `fill` appends.
#[inline]
pub fn write_frame(out: &mut Vec<u8>, kind: FrameKind, channel: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    let [c1, c0] = channel.to_be_bytes();
    out.extend_from_slice(&[kind as u8, c1, c0, 0, 0, 0, 0]);
    fill(out);
    let size = u32::try_from(out.len() - at - HEAD).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(at + 3..at + HEAD) {
        slot.copy_from_slice(&size.to_be_bytes());
    }
    out.push(FRAME_END);
}

/// Appends a method frame.
#[inline]
pub fn write_method(out: &mut Vec<u8>, channel: u16, method: &impl Encode) {
    write_frame(out, FrameKind::Method, channel, |out| method.encode(out));
}

/// Appends a heartbeat.
pub fn write_heartbeat(out: &mut Vec<u8>) {
    write_frame(out, FrameKind::Heartbeat, 0, |_| {});
}

/// Appends a content header frame of the basic class.
#[inline]
pub fn write_header(out: &mut Vec<u8>, channel: u16, properties: &[u8], body_size: u64) {
    write_frame(out, FrameKind::Header, channel, |out| {
        ContentHeader { class_id: CLASS_BASIC, body_size, properties }.encode(out);
    });
}

/// Appends a method with its content: header frame and as many body frames as `frame_max` asks for.
///
/// `frame_max` is the octets of a whole frame as tuned; 0 is no limit (connection.tune). A body is cut, method and header are
/// not: who needs them smaller has to refuse them beforehand.
#[inline]
pub fn write_content(
    out: &mut Vec<u8>,
    channel: u16,
    method: &impl Encode,
    properties: &[u8],
    body: &[u8],
    frame_max: usize,
) {
    let piece_max = match frame_max {
        0 => u32::MAX as usize,
        _ => frame_max.saturating_sub(FRAME_OVERHEAD).max(1),
    };
    write_method(out, channel, method);
    write_header(out, channel, properties, body.len() as u64);
    for piece in body.chunks(piece_max) {
        write_frame(out, FrameKind::Body, channel, |out| out.extend_from_slice(piece));
    }
}

/// The eight octets that open a connection: `AMQP` and four that name protocol and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolHeader(pub [u8; 4]);

impl ProtocolHeader {
    /// AMQP 0-9-1.
    pub const AMQP_0_9_1: Self = Self([0, 0, 9, 1]);
    /// AMQP 0-9 as Qpid wrote it; treated as 0-9-1.
    pub const AMQP_0_9: Self = Self([1, 1, 0, 9]);
    /// AMQP 1.0 with its SASL layer.
    pub const AMQP_1_0_SASL: Self = Self([3, 1, 0, 0]);

    /// Reads a header; `None` if these are not `AMQP` and four octets.
    pub fn decode(octets: &[u8; 8]) -> Option<Self> {
        octets.strip_prefix(b"AMQP").and_then(|version| version.try_into().ok()).map(Self)
    }

    /// The octets of the wire.
    pub fn octets(self) -> [u8; 8] {
        let [a, b, c, d] = self.0;
        [b'A', b'M', b'Q', b'P', a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::super::method::{BasicPublish, TxSelect};
    use super::*;

    #[test]
    fn a_frame_comes_out_whole_or_not_yet() {
        let mut octets = Vec::new();
        write_method(&mut octets, 7, &TxSelect {});
        for cut in 0..octets.len() {
            assert_eq!(Frame::decode(octets.get(..cut).unwrap(), 100), Ok(None), "{cut} octets");
        }
        let (frame, used) = Frame::decode(&octets, 100).unwrap().unwrap();
        assert_eq!((frame.kind, frame.channel, used), (FrameKind::Method, 7, octets.len()));
    }

    #[test]
    fn octets_that_are_no_frame_are_named() {
        let cases: [(&[u8], FrameError); 4] = [
            (b"\x01\0\0\0\0\0\x65", FrameError::TooLarge { kind: 1, size: 101, max: 100 }),
            (b"\x01\0\0\0\0\0\x02ab\xcd", FrameError::InvalidEnd { kind: 1, start: Snippet::of(b"ab"), end: 0xCD }),
            (b"\x05\0\0\0\0\0\0\xce", FrameError::UnknownKind { kind: 5, start: Snippet::of(b"") }),
            (b"GET / HTTP/1.1\r\n", FrameError::TooLarge { kind: b'G', size: 0x202F_2048, max: 100 }),
        ];
        for (octets, error) in cases {
            assert_eq!(Frame::decode(octets, 100), Err(error));
        }
    }

    #[test]
    fn a_body_is_cut_into_frames_no_larger_than_frame_max() {
        let publish = BasicPublish { ticket: 0, exchange: "", routing_key: "q", mandatory: false, immediate: false };
        for (body, frames) in [(0, 2), (1, 3), (92, 3), (93, 4), (184, 4), (185, 5)] {
            let mut octets = Vec::new();
            write_content(&mut octets, 1, &publish, &[], &vec![b'x'; body], 100);
            let mut rest = octets.as_slice();
            let mut seen = 0;
            while let Some((frame, used)) = Frame::decode(rest, 92).unwrap() {
                assert!(used <= 100 || frame.kind != FrameKind::Body);
                rest = rest.get(used..).unwrap();
                seen += 1;
            }
            assert_eq!((seen, rest.len()), (frames, 0), "body of {body}");
        }
    }
}
