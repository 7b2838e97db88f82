//! Content headers and the properties of the basic class (§2.3.5.2, §4.2.6.1).

use super::error::DecodeError;
use super::reader::Reader;
use super::table::Table;
use super::writer::Writer;

/// The payload of a header frame.
///
/// `properties` are the flags and the list as they came: they are forwarded untouched and looked into only when a rule
/// needs one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// Class of the method the content belongs to.
    pub class_id: u16,
    /// Octets of body that follow in body frames.
    pub body_size: u64,
    /// Property flags and property list, raw.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Decodes the payload of a header frame; the properties stay raw.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let class_id = reader.u16()?;
        let _weight = reader.u16()?;
        let body_size = reader.u64()?;
        Ok(Self { class_id, body_size, properties: reader.rest() })
    }

    /// Appends the payload of a header frame.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.u16(self.class_id);
        writer.u16(0);
        writer.u64(self.body_size);
        // A header without even the flags is what "no properties" is in memory; the wire wants the flags.
        writer.octets(if self.properties.is_empty() { &[0, 0] } else { self.properties });
    }
}

/// Property flags, from the first property (bit 15) downwards.
mod flag {
    pub(super) const CONTENT_TYPE: u16 = 1 << 15;
    pub(super) const CONTENT_ENCODING: u16 = 1 << 14;
    pub(super) const HEADERS: u16 = 1 << 13;
    pub(super) const DELIVERY_MODE: u16 = 1 << 12;
    pub(super) const PRIORITY: u16 = 1 << 11;
    pub(super) const CORRELATION_ID: u16 = 1 << 10;
    pub(super) const REPLY_TO: u16 = 1 << 9;
    pub(super) const EXPIRATION: u16 = 1 << 8;
    pub(super) const MESSAGE_ID: u16 = 1 << 7;
    pub(super) const TIMESTAMP: u16 = 1 << 6;
    pub(super) const KIND: u16 = 1 << 5;
    pub(super) const USER_ID: u16 = 1 << 4;
    pub(super) const APP_ID: u16 = 1 << 3;
    pub(super) const CLUSTER_ID: u16 = 1 << 2;
}

/// The properties of the basic class with texts as strings: what a well-behaved client sends.
pub type Properties<'a> = BasicProperties<'a, &'a str>;
/// The properties of the basic class with texts as octets: what a server must be able to forward.
///
/// Texts ought to be UTF-8 (§4.2.5.3), but clients put binary correlation ids there and RabbitMQ lets them.
pub type RawProperties<'a> = BasicProperties<'a, &'a [u8]>;

/// How the text of a property is represented.
pub trait Text<'a>: Copy {
    /// Takes the octets of a short string, if they can be represented.
    fn from_octets(octets: &'a [u8]) -> Result<Self, DecodeError>;
    /// The octets of the short string.
    fn octets(self) -> &'a [u8];
}

impl<'a> Text<'a> for &'a str {
    fn from_octets(octets: &'a [u8]) -> Result<Self, DecodeError> {
        std::str::from_utf8(octets).map_err(|_| DecodeError::MalformedUtf8)
    }
    fn octets(self) -> &'a [u8] {
        self.as_bytes()
    }
}

impl<'a> Text<'a> for &'a [u8] {
    fn from_octets(octets: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(octets)
    }
    fn octets(self) -> &'a [u8] {
        self
    }
}

/// The properties of the basic class, borrowed from a content header.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the fields are the properties of the specification")]
pub struct BasicProperties<'a, T> {
    pub content_type: Option<T>,
    pub content_encoding: Option<T>,
    pub headers: Option<Table<'a>>,
    /// 2 is persistent; anything else transient.
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<T>,
    pub reply_to: Option<T>,
    /// Milliseconds, as decimal text.
    pub expiration: Option<T>,
    pub message_id: Option<T>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// The property `type`.
    pub kind: Option<T>,
    pub user_id: Option<T>,
    pub app_id: Option<T>,
    pub cluster_id: Option<T>,
}

impl<T> Default for BasicProperties<'_, T> {
    fn default() -> Self {
        Self {
            content_type: None,
            content_encoding: None,
            headers: None,
            delivery_mode: None,
            priority: None,
            correlation_id: None,
            reply_to: None,
            expiration: None,
            message_id: None,
            timestamp: None,
            kind: None,
            user_id: None,
            app_id: None,
            cluster_id: None,
        }
    }
}

impl<'a, T: Text<'a>> BasicProperties<'a, T> {
    /// Decodes raw flags and list; no octets at all are no properties. The two flags that nobody defines are ignored, as
    /// RabbitMQ does.
    pub fn decode(raw: &'a [u8]) -> Result<Self, DecodeError> {
        if raw.is_empty() || raw == [0, 0] {
            return Ok(Self::default());
        }
        let mut reader = Reader::new(raw);
        let flags = reader.u16()?;
        let properties = Self {
            content_type: optional(flags & flag::CONTENT_TYPE, &mut reader, text)?,
            content_encoding: optional(flags & flag::CONTENT_ENCODING, &mut reader, text)?,
            headers: optional(flags & flag::HEADERS, &mut reader, |reader| Table::parse(reader.longstr()?))?,
            delivery_mode: optional(flags & flag::DELIVERY_MODE, &mut reader, Reader::u8)?,
            priority: optional(flags & flag::PRIORITY, &mut reader, Reader::u8)?,
            correlation_id: optional(flags & flag::CORRELATION_ID, &mut reader, text)?,
            reply_to: optional(flags & flag::REPLY_TO, &mut reader, text)?,
            expiration: optional(flags & flag::EXPIRATION, &mut reader, text)?,
            message_id: optional(flags & flag::MESSAGE_ID, &mut reader, text)?,
            timestamp: optional(flags & flag::TIMESTAMP, &mut reader, Reader::u64)?,
            kind: optional(flags & flag::KIND, &mut reader, text)?,
            user_id: optional(flags & flag::USER_ID, &mut reader, text)?,
            app_id: optional(flags & flag::APP_ID, &mut reader, text)?,
            cluster_id: optional(flags & flag::CLUSTER_ID, &mut reader, text)?,
        };
        if reader.is_empty() { Ok(properties) } else { Err(DecodeError::TrailingOctets) }
    }

    /// Appends flags and list.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = 0;
        for (present, flag) in [
            (self.content_type.is_some(), flag::CONTENT_TYPE),
            (self.content_encoding.is_some(), flag::CONTENT_ENCODING),
            (self.headers.is_some(), flag::HEADERS),
            (self.delivery_mode.is_some(), flag::DELIVERY_MODE),
            (self.priority.is_some(), flag::PRIORITY),
            (self.correlation_id.is_some(), flag::CORRELATION_ID),
            (self.reply_to.is_some(), flag::REPLY_TO),
            (self.expiration.is_some(), flag::EXPIRATION),
            (self.message_id.is_some(), flag::MESSAGE_ID),
            (self.timestamp.is_some(), flag::TIMESTAMP),
            (self.kind.is_some(), flag::KIND),
            (self.user_id.is_some(), flag::USER_ID),
            (self.app_id.is_some(), flag::APP_ID),
            (self.cluster_id.is_some(), flag::CLUSTER_ID),
        ] {
            if present {
                flags |= flag;
            }
        }
        let mut writer = Writer::new(out);
        writer.u16(flags);
        let text = |writer: &mut Writer<'_>, value: Option<T>| {
            if let Some(value) = value {
                writer.shortstr_octets(value.octets());
            }
        };
        text(&mut writer, self.content_type);
        text(&mut writer, self.content_encoding);
        if let Some(headers) = self.headers {
            writer.longstr(headers.octets());
        }
        if let Some(mode) = self.delivery_mode {
            writer.u8(mode);
        }
        if let Some(priority) = self.priority {
            writer.u8(priority);
        }
        text(&mut writer, self.correlation_id);
        text(&mut writer, self.reply_to);
        text(&mut writer, self.expiration);
        text(&mut writer, self.message_id);
        if let Some(timestamp) = self.timestamp {
            writer.u64(timestamp);
        }
        text(&mut writer, self.kind);
        text(&mut writer, self.user_id);
        text(&mut writer, self.app_id);
        text(&mut writer, self.cluster_id);
    }
}

/// Reads a property if its flag is set.
#[inline]
fn optional<'a, T>(
    present: u16,
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if present == 0 { Ok(None) } else { read(reader).map(Some) }
}

/// Not inlined: ten copies would make the common case, in which hardly any is there, the slower one.
#[inline(never)]
fn text<'a, T: Text<'a>>(reader: &mut Reader<'a>) -> Result<T, DecodeError> {
    T::from_octets(reader.shortstr_octets()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_written_are_the_properties_read() {
        for properties in [
            Properties::default(),
            Properties { delivery_mode: Some(2), ..Properties::default() },
            Properties {
                content_type: Some("text/plain"),
                priority: Some(9),
                reply_to: Some("amq.rabbitmq.reply-to"),
                timestamp: Some(1 << 40),
                cluster_id: Some(""),
                ..Properties::default()
            },
        ] {
            let mut raw = Vec::new();
            properties.encode(&mut raw);
            assert_eq!(Properties::decode(&raw), Ok(properties));
        }
    }

    #[test]
    fn malformed_properties_are_refused() {
        for (raw, error) in [
            (&b"\x10"[..], DecodeError::Truncated),
            (b"\x10\0", DecodeError::Truncated),
            (b"\x10\0\x02\x02", DecodeError::TrailingOctets),
            (b"\x80\0\x01\xff", DecodeError::MalformedUtf8),
            (b"\x20\0\0\0\0\x01\x05", DecodeError::Truncated),
        ] {
            assert_eq!(Properties::decode(raw), Err(error), "{raw:?}");
        }
    }
}
