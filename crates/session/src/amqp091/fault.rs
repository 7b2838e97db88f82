//! What ends a channel or a connection, and the one table from the broker's errors to reply codes.

use leveret_broker::Error;
use leveret_broker::access::Question;
use leveret_protocol::amqp091::error::Snippet;
use leveret_protocol::amqp091::{DecodeError, FRAME_OVERHEAD, FrameError, ReplyCode};

/// Octets that a reply text may have: what a short string holds.
const TEXT_MAX: usize = 255;
const DOTS: &str = "...";

/// A reply code with its text. Whether it ends the channel or the connection is decided by the code (§1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    code: ReplyCode,
    text: String,
}

impl Fault {
    /// A fault whose text is the code's name and an explanation.
    /// What does not fit a short string ends in three dots.
    pub fn new(code: ReplyCode, explanation: impl std::fmt::Display) -> Self {
        let mut text = format!("{} - {explanation}", code.name());
        if text.len() > TEXT_MAX {
            text.truncate(text.floor_char_boundary(TEXT_MAX - DOTS.len()));
            text.push_str(DOTS);
        }
        Self { code, text }
    }

    /// A fault whose text is the code's name alone.
    pub fn bare(code: ReplyCode) -> Self {
        Self { code, text: code.name().into() }
    }

    /// The reply code.
    pub fn code(&self) -> ReplyCode {
        self.code
    }

    /// The reply text without the code's name.
    pub fn explanation(&self) -> &str {
        self.text.strip_prefix(self.code.name()).and_then(|rest| rest.strip_prefix(" - ")).unwrap_or(&self.text)
    }

    /// The reply text, at most 255 octets.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Refused { question, .. } => match **question {
                Question::Vhost { .. } => ReplyCode::NotAllowed,
                Question::Resource { .. } | Question::Topic { .. } => ReplyCode::AccessRefused,
            },
            Error::NotFound { .. } | Error::ParameterNotFound | Error::UserNotFound { .. } => ReplyCode::NotFound,
            Error::VhostNotFound { .. }
            | Error::VhostConnectionLimit { .. }
            | Error::UserConnectionLimit { .. }
            | Error::NodeConnectionLimit { .. }
            | Error::NodeChannelLimit { .. }
            | Error::UserChannelLimit { .. } => ReplyCode::NotAllowed,
            Error::NotWritten | Error::Unreadable { .. } => ReplyCode::InternalError,
            Error::DefaultExchange
            | Error::ReservedPrefix { .. }
            | Error::SystemExchange { .. }
            | Error::InternalExchange { .. }
            | Error::ExclusiveUse { .. } => ReplyCode::AccessRefused,
            Error::Locked { .. } | Error::SingleActive { .. } => ReplyCode::ResourceLocked,
            Error::UnconditionalDelete { .. } | Error::SharedPrefetch { .. } => ReplyCode::NotImplemented,
            Error::Inequivalent { .. }
            | Error::InUse { .. }
            | Error::NotEmpty { .. }
            | Error::InvalidArgument { .. }
            | Error::InvalidArgumentType { .. }
            | Error::ArgumentOfOtherType { .. }
            | Error::InvalidProperty { .. }
            | Error::UnknownExchangeType { .. }
            | Error::InvalidBinding { .. }
            | Error::InvalidExchange { .. }
            | Error::InvalidMatchValue { .. }
            | Error::InvalidMatchType { .. }
            | Error::DelayedType { .. }
            | Error::TooManyWildcards { .. }
            | Error::Validation(_)
            | Error::InvalidLimits(_)
            | Error::UserExists { .. }
            | Error::NamelessUser
            | Error::PolicyAsParameter { .. }
            | Error::QueueLimit { .. }
            | Error::NodeQueueLimit { .. }
            | Error::ExchangeLimit { .. }
            | Error::VhostLimit { .. }
            | Error::ProtectedVhost { .. } => ReplyCode::PreconditionFailed,
        };
        Self::new(code, error)
    }
}

/// The fault for octets that are no frame. A frame's size is reported without its overhead, as RabbitMQ does.
pub(crate) fn of_frame(error: FrameError, frame_max: u32) -> Fault {
    let explanation = match error {
        FrameError::TooLarge { kind, size, .. } => {
            let max = frame_max.saturating_sub(u32::try_from(FRAME_OVERHEAD).unwrap_or(8));
            format!("type {kind}, all octets = <<>>: {{frame_too_large,{size},{max}}}")
        }
        FrameError::InvalidEnd { kind, start, end } => {
            format!("type {kind}, {}: {{invalid_frame_end_marker,{end}}}", octets(start))
        }
        FrameError::UnknownKind { kind, start } => format!("type {kind}, {}: unknown_frame", octets(start)),
    };
    Fault::new(ReplyCode::FrameError, explanation)
}

/// The fault for a payload that does not decode.
pub(crate) fn of_payload(error: DecodeError, payload: &[u8]) -> Fault {
    match error {
        DecodeError::MalformedUtf8 => Fault::new(ReplyCode::FrameError, error),
        DecodeError::UnknownMethod { .. } => Fault::new(ReplyCode::CommandInvalid, "unimplemented method"),
        // RabbitMQ shows the arguments, which is what follows the ids, and always as numbers.
        _ => Fault::new(
            ReplyCode::FrameError,
            format!("cannot decode {}", Numbers(payload.get(4..).unwrap_or_default())),
        ),
    }
}

/// The fault for a frame too short for what it claims to be.
pub(crate) fn unknown_frame(kind: u8, payload: &[u8]) -> Fault {
    Fault::new(ReplyCode::FrameError, format!("type {kind}, {}: unknown_frame", octets(Snippet::of(payload))))
}

/// A frame that has no place on its channel.
pub(crate) fn unexpected_frame(kind: u8, payload: &[u8]) -> Fault {
    Fault::new(ReplyCode::UnexpectedFrame, format!("type {kind}, {}", octets(Snippet::of(payload))))
}

fn octets(start: Snippet) -> String {
    let which = if start.is_whole() { "all" } else { "first 16" };
    format!("{which} octets = {}", Binary(start.octets()))
}

/// Octets the way Erlang prints them: as text if all are printable, else as numbers.
pub(crate) struct Binary<'a>(pub(crate) &'a [u8]);

impl std::fmt::Display for Binary<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let printable = |octet: &u8| matches!(octet, 0x20..=0x7e | 0x08..=0x0d | 0x1b);
        if self.0.is_empty() || !self.0.iter().all(printable) {
            return Numbers(self.0).fmt(f);
        }
        f.write_str("<<\"")?;
        {
            for octet in self.0 {
                match octet {
                    b'"' => f.write_str("\\\"")?,
                    b'\\' => f.write_str("\\\\")?,
                    b'\n' => f.write_str("\\n")?,
                    b'\r' => f.write_str("\\r")?,
                    b'\t' => f.write_str("\\t")?,
                    0x08 => f.write_str("\\b")?,
                    0x0b => f.write_str("\\v")?,
                    0x0c => f.write_str("\\f")?,
                    0x1b => f.write_str("\\e")?,
                    octet => write!(f, "{}", char::from(*octet))?,
                }
            }
        }
        f.write_str("\">>")
    }
}

/// Octets the way Erlang prints them as numbers.
struct Numbers<'a>(&'a [u8]);

impl std::fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<<")?;
        for (index, octet) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{octet}")?;
        }
        f.write_str(">>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_shown_as_erlang_shows_them() {
        for (octets, shown) in [
            (&b""[..], "<<>>"),
            (b"GET / HTTP", "<<\"GET / HTTP\">>"),
            (b"say \"hi\"\n", "<<\"say \\\"hi\\\"\\n\">>"),
            (b"\0\x0a\x01", "<<0,10,1>>"),
        ] {
            assert_eq!(Binary(octets).to_string(), shown);
        }
    }

    #[test]
    fn frame_errors_read_as_rabbitmq_writes_them() {
        for (error, text) in [
            (
                FrameError::TooLarge { kind: 1, size: 9000, max: 8192 },
                "FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,9000,8184}",
            ),
            (
                FrameError::InvalidEnd { kind: 3, start: Snippet::of(b"0123456789abcdefg"), end: 0 },
                "FRAME_ERROR - type 3, first 16 octets = <<\"0123456789abcdef\">>: {invalid_frame_end_marker,0}",
            ),
            (
                FrameError::UnknownKind { kind: 4, start: Snippet::of(b"\x01") },
                "FRAME_ERROR - type 4, all octets = <<1>>: unknown_frame",
            ),
        ] {
            assert_eq!(of_frame(error, 8192).text(), text);
        }
    }
}
