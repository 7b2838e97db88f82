//! What can be wrong with bytes, and the reply codes of the protocol.

use thiserror::Error;

/// Why a payload does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The payload ends inside a field.
    #[error("the payload ends inside a field")]
    Truncated,
    /// Octets follow the last field.
    #[error("octets follow the last field")]
    TrailingOctets,
    /// A short string is not UTF-8.
    #[error("Malformed UTF-8 in shortstr")]
    MalformedUtf8,
    /// A field table has a value type that nobody defines.
    #[error("unknown field type {0}")]
    UnknownFieldType(u8),
    /// Tables and arrays nest deeper than [`super::table::DEPTH_MAX`].
    #[error("field tables nest too deep")]
    NestedTooDeep,
    /// No method has these ids.
    #[error("no method has class {class_id} and id {method_id}")]
    UnknownMethod {
        /// Class id as received.
        class_id: u16,
        /// Method id as received.
        method_id: u16,
    },
}

/// Why octets are not a frame (§2.3.5). All of them end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The announced payload is larger than was negotiated.
    TooLarge {
        /// Type octet.
        kind: u8,
        /// Announced payload size in octets.
        size: u32,
        /// Largest payload allowed, in octets.
        max: u32,
    },
    /// The octet after the payload is not 0xCE.
    InvalidEnd {
        /// Type octet.
        kind: u8,
        /// Octets of the payload, for the report: at most the first 16.
        start: Snippet,
        /// What stood in the end marker's place.
        end: u8,
    },
    /// The type octet is none of method, header, body, heartbeat.
    UnknownKind {
        /// Type octet.
        kind: u8,
        /// Octets of the payload, for the report: at most the first 16.
        start: Snippet,
    },
}

/// The first octets of a payload, kept for an error report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snippet {
    octets: [u8; 16],
    len: u8,
    whole: bool,
}

impl Snippet {
    /// Keeps the first 16 octets of `payload`.
    pub fn of(payload: &[u8]) -> Self {
        let mut octets = [0; 16];
        let len = payload.len().min(16);
        for (to, from) in octets.iter_mut().zip(payload) {
            *to = *from;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
        Self { octets, len: len as u8, whole: payload.len() <= 16 }
    }

    /// The octets kept.
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Whether the payload had no more than these.
    pub fn is_whole(&self) -> bool {
        self.whole
    }
}

/// Reply codes (§1.1 and RabbitMQ's use of them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ReplyCode {
    /// 200: all went well.
    Success = 200,
    /// 311
    ContentTooLarge = 311,
    /// 312: a mandatory message was routed nowhere.
    NoRoute = 312,
    /// 313
    NoConsumers = 313,
    /// 320: an operator or a shutdown closed the connection.
    ConnectionForced = 320,
    /// 402
    InvalidPath = 402,
    /// 403
    AccessRefused = 403,
    /// 404
    NotFound = 404,
    /// 405
    ResourceLocked = 405,
    /// 406
    PreconditionFailed = 406,
    /// 501
    FrameError = 501,
    /// 502
    SyntaxError = 502,
    /// 503
    CommandInvalid = 503,
    /// 504
    ChannelError = 504,
    /// 505
    UnexpectedFrame = 505,
    /// 506
    ResourceError = 506,
    /// 530
    NotAllowed = 530,
    /// 540
    NotImplemented = 540,
    /// 541
    InternalError = 541,
}

impl ReplyCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The name that opens a reply text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::ContentTooLarge => "CONTENT_TOO_LARGE",
            Self::NoRoute => "NO_ROUTE",
            Self::NoConsumers => "NO_CONSUMERS",
            Self::ConnectionForced => "CONNECTION_FORCED",
            Self::InvalidPath => "INVALID_PATH",
            Self::AccessRefused => "ACCESS_REFUSED",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceLocked => "RESOURCE_LOCKED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::FrameError => "FRAME_ERROR",
            Self::SyntaxError => "SYNTAX_ERROR",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::ChannelError => "CHANNEL_ERROR",
            Self::UnexpectedFrame => "UNEXPECTED_FRAME",
            Self::ResourceError => "RESOURCE_ERROR",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// Whether the error ends the connection; otherwise only its channel.
    pub fn is_hard(self) -> bool {
        !matches!(
            self,
            Self::Success
                | Self::ContentTooLarge
                | Self::NoRoute
                | Self::NoConsumers
                | Self::AccessRefused
                | Self::NotFound
                | Self::ResourceLocked
                | Self::PreconditionFailed
        )
    }
}
