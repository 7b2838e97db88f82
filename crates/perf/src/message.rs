//! What messages carry besides their bodies: properties and headers, the same for all or drawn anew for each of a row.

use std::str::FromStr;

use leveret_protocol::amqp091::{Properties, Table, TableWriter, Value};

use crate::argument::{ArgumentValue, key_and_value};
use crate::clock::MILLISECOND_NS;
use crate::options::Options;

/// The header that tells an exchange of type `x-delayed-message` how many milliseconds to keep a message.
pub(crate) const DELAY: &str = "x-delay";
/// What stands in the header of [`Options::unique_header`] until the number of the message does: as long as that, and
/// nothing that a command line could hold.
pub(crate) const NUMBER_PLACE: [u8; 16] = [0; 16];
/// Messages of a row in which something is drawn; then they repeat.
const ROW: usize = 512;
/// Octets of body in such a row, unless a few messages are more.
const ROW_OCTETS: usize = 4 << 20;
/// Messages in a row of large ones.
const ROW_MIN: usize = 16;

/// A whole number, or any from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The least.
    pub(crate) first: i64,
    /// The greatest.
    pub(crate) last: i64,
}

impl Span {
    fn is_one(self) -> bool {
        self.first == self.last
    }

    fn draw(self, random: &mut Random) -> i64 {
        let width = self.last.wrapping_sub(self.first).cast_unsigned();
        let step = if width == u64::MAX { random.next() } else { random.next() % (width + 1) };
        self.first.wrapping_add_unsigned(step)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self { first, last }),
            _ => Err("it is a whole number or FROM..TO".into()),
        }
    }
}

/// A header of the messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    name: String,
    value: HeaderValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HeaderValue {
    Fixed(ArgumentValue),
    Drawn(Span),
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = key_and_value(text)?;
        let drawn = value.contains("..").then(|| value.parse().ok()).flatten().map(HeaderValue::Drawn);
        let value = drawn.unwrap_or_else(|| HeaderValue::Fixed(ArgumentValue::of(value)));
        Ok(Self { name: name.to_owned(), value })
    }
}

/// A property that all messages have, from `--message-properties`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Property {
    ContentType(String),
    ContentEncoding(String),
    DeliveryMode(u8),
    Priority(u8),
    CorrelationId(String),
    ReplyTo(String),
    Expiration(String),
    MessageId(String),
    Timestamp(u64),
    Kind(String),
    UserId(String),
    AppId(String),
    ClusterId(String),
}

impl FromStr for Property {
    type Err = String;

    /// Names read as in AMQP, as in Java or with hyphens: `message_id`, `messageId`, `message-id`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = key_and_value(text)?;
        let name: String = name.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
        let octet = |what: &str| value.parse().map_err(|_| format!("{what} is a number from 0 to 255"));
        let text = value.to_owned();
        if text.len() > 255 {
            return Err("a property takes 255 bytes at most".into());
        }
        Ok(match name.as_str() {
            "contenttype" => Self::ContentType(text),
            "contentencoding" => Self::ContentEncoding(text),
            "deliverymode" => Self::DeliveryMode(octet("delivery_mode")?),
            "priority" => Self::Priority(octet("priority")?),
            "correlationid" => Self::CorrelationId(text),
            "replyto" => Self::ReplyTo(text),
            "expiration" => Self::Expiration(text),
            "messageid" => Self::MessageId(text),
            "timestamp" => Self::Timestamp(value.parse().map_err(|_| "timestamp is in seconds since 1970")?),
            "type" => Self::Kind(text),
            "userid" => Self::UserId(text),
            "appid" => Self::AppId(text),
            "clusterid" => Self::ClusterId(text),
            _ => return Err("there is no such property; headers are given with --header".into()),
        })
    }
}

/// What one message of a row carries.
#[derive(Debug)]
pub(crate) struct Variant<'a> {
    options: &'a Options,
    priority: Option<u8>,
    headers: Vec<u8>,
    /// How long an exchange is asked to keep it, in nanoseconds.
    pub(crate) delay_ns: u64,
}

impl<'a> Variant<'a> {
    /// The rows of a publisher: `keys` is how many routing keys come in turn, so that each gets as many messages.
    pub(crate) fn row(options: &'a Options, publisher: usize, keys: usize) -> Vec<Self> {
        let keys = keys.max(1);
        let length = if is_drawn(options) {
            let fit = ROW_OCTETS / options.size.max(1);
            fit.clamp(ROW_MIN, ROW).next_multiple_of(keys)
        } else {
            keys
        };
        // Publishers draw differently, and the same whenever the run is repeated.
        let mut random = Random(publisher as u64 + 1);
        (0..length).map(|_| Self::draw(options, &mut random)).collect()
    }

    fn draw(options: &'a Options, random: &mut Random) -> Self {
        let priority = options.random_priority.map(|max| {
            let drawn = Span { first: 0, last: max.into() }.draw(random);
            u8::try_from(drawn).unwrap_or(max)
        });
        let (mut headers, mut delay_ns) = (Vec::new(), 0);
        let mut writer = TableWriter::new(&mut headers);
        for Header { name, value } in &options.header {
            match value {
                HeaderValue::Fixed(value) => writer.field(name, value.field()),
                HeaderValue::Drawn(span) => writer.field(name, Value::I64(span.draw(random))),
            };
        }
        if let Some(span) = options.delay_ms {
            let delay = span.draw(random);
            writer.field(DELAY, Value::I64(delay));
            delay_ns = u64::try_from(delay).unwrap_or_default().saturating_mul(MILLISECOND_NS);
        }
        if let Some(name) = &options.unique_header {
            writer.field(name, Value::LongStr(&NUMBER_PLACE));
        }
        Self { options, priority, headers, delay_ns }
    }

    /// The properties of the message.
    pub(crate) fn properties(&self) -> Properties<'_> {
        let mut properties = Properties {
            delivery_mode: self.options.persistent.then_some(2),
            // It was written a moment ago.
            headers: Table::parse(&self.headers).ok().filter(|headers| !headers.is_empty()),
            ..Properties::default()
        };
        for property in &self.options.message_properties {
            match property {
                Property::ContentType(text) => properties.content_type = Some(text),
                Property::ContentEncoding(text) => properties.content_encoding = Some(text),
                Property::DeliveryMode(mode) => properties.delivery_mode = Some(*mode),
                Property::Priority(priority) => properties.priority = Some(*priority),
                Property::CorrelationId(text) => properties.correlation_id = Some(text),
                Property::ReplyTo(text) => properties.reply_to = Some(text),
                Property::Expiration(text) => properties.expiration = Some(text),
                Property::MessageId(text) => properties.message_id = Some(text),
                Property::Timestamp(seconds) => properties.timestamp = Some(*seconds),
                Property::Kind(text) => properties.kind = Some(text),
                Property::UserId(text) => properties.user_id = Some(text),
                Property::AppId(text) => properties.app_id = Some(text),
                Property::ClusterId(text) => properties.cluster_id = Some(text),
            }
        }
        properties.priority = self.priority.or(properties.priority);
        properties
    }
}

/// Makes a delay that was given as a header one that is known, and says what is wrong with the headers.
pub(crate) fn settle(options: &mut Options) -> Result<(), String> {
    let delays = |header: &Header| match (&header.value, header.name == DELAY) {
        (HeaderValue::Fixed(ArgumentValue::Integer(delay)), true) => Some(Span { first: *delay, last: *delay }),
        (HeaderValue::Drawn(span), true) => Some(*span),
        _ => None,
    };
    if let Some(span) = options.header.iter().find_map(delays) {
        if options.delay_ms.is_some() {
            return Err(format!("--delay-ms and --header {DELAY} are the same"));
        }
        options.delay_ms = Some(span);
        options.header.retain(|header| delays(header).is_none());
    }
    let names = options.header.iter().map(|header| header.name.as_str()).chain(options.unique_header.as_deref());
    let mut names: Vec<_> = names.chain(options.delay_ms.map(|_| DELAY)).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| matches!(pair, [one, next] if one == next)) {
        return Err("a header is given twice".into());
    }
    if names.iter().any(|name| name.is_empty() || name.len() > 255) {
        return Err("the name of a header has 1 to 255 bytes".into());
    }
    Ok(())
}

/// The longest that messages may be kept by an exchange before they reach a queue, if the run asks for that.
pub(crate) fn delay_max_ns(options: &Options) -> Option<u64> {
    options.delay_ms.map(|span| u64::try_from(span.last).unwrap_or_default().saturating_mul(MILLISECOND_NS))
}

/// Whether messages differ by chance.
fn is_drawn(options: &Options) -> bool {
    let header = |header: &Header| matches!(header.value, HeaderValue::Drawn(span) if !span.is_one());
    options.random_priority.is_some_and(|max| max > 0)
        || options.delay_ms.is_some_and(|span| !span.is_one())
        || options.header.iter().any(header)
}

/// Numbers that look random and are the same in each run (`SplitMix64`).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Result<Options, String> {
        let words = std::iter::once("perf").chain(line.split_whitespace());
        let mut options = Line::try_parse_from(words).map_err(|error| error.to_string())?.options;
        settle(&mut options).map(|()| options)
    }

    #[test]
    fn properties_are_known_by_any_spelling_of_their_names() {
        for (line, expected) in [
            ("priority=5", Properties { priority: Some(5), ..Properties::default() }),
            ("expiration=60000", Properties { expiration: Some("60000"), ..Properties::default() }),
            ("messageId=a=b", Properties { message_id: Some("a=b"), ..Properties::default() }),
            ("message_id=1", Properties { message_id: Some("1"), ..Properties::default() }),
            ("type=t", Properties { kind: Some("t"), ..Properties::default() }),
            (
                "content-type=text/plain,deliveryMode=2,timestamp=7",
                Properties {
                    content_type: Some("text/plain"),
                    delivery_mode: Some(2),
                    timestamp: Some(7),
                    ..Properties::default()
                },
            ),
        ] {
            let options = options(&format!("--message-properties {line}")).unwrap();
            let row = Variant::row(&options, 0, 1);
            assert_eq!(row.iter().map(Variant::properties).collect::<Vec<_>>(), [expected], "{line}");
        }
        let long = format!("app-id={}", "x".repeat(256));
        for line in ["priority=256", "nonsense=1", "priority", "timestamp=now", &long] {
            assert!(options(&format!("--message-properties {line}")).is_err(), "{line}");
        }
    }

    #[test]
    fn headers_have_types_and_may_be_drawn() {
        let options = options("--header a=1 --header b=text --header n=5..7 --header c=x..y --persistent").unwrap();
        let row = Variant::row(&options, 0, 1);
        let mut drawn = [0; 10];
        for variant in &row {
            let properties = variant.properties();
            let headers = properties.headers.unwrap();
            assert_eq!(properties.delivery_mode, Some(2));
            assert_eq!(headers.get("a"), Some(Value::I64(1)));
            assert_eq!(headers.get("b"), Some(Value::LongStr(b"text")));
            assert_eq!(headers.get("c"), Some(Value::LongStr(b"x..y")));
            match headers.get("n") {
                Some(Value::I64(number)) => drawn[usize::try_from(number).unwrap()] += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(drawn.iter().sum::<usize>(), ROW);
        assert!(drawn[5..=7].iter().all(|count| *count > ROW / 5), "{drawn:?}");
    }

    #[test]
    fn a_row_gives_every_key_as_many_messages_and_is_no_longer_than_needed() {
        for (line, keys, length) in [
            ("", 1, 1),
            ("", 3, 3),
            ("--random-priority 0", 1, 1),
            ("--delay-ms 5", 1, 1),
            ("--random-priority 10", 1, 512),
            ("--random-priority 10", 100, 600),
            ("--random-priority 10", 2000, 2000),
            ("--delay-ms 0..9 --size 65536", 1, 64),
            ("--header n=1..2 --size 100000000", 1, 16),
        ] {
            assert_eq!(Variant::row(&options(line).unwrap(), 0, keys).len(), length, "{line} with {keys} keys");
        }
        let options = options("--random-priority 255").unwrap();
        let priorities =
            |publisher| Variant::row(&options, publisher, 1).iter().map(|variant| variant.priority).collect::<Vec<_>>();
        assert_eq!(priorities(1), priorities(1));
        assert_ne!(priorities(0), priorities(1));
    }

    #[test]
    fn priorities_are_drawn_from_0_to_the_greatest() {
        let options = options("--random-priority 3 --message-properties priority=9").unwrap();
        let mut seen: Vec<_> = Variant::row(&options, 0, 1).iter().map(|one| one.properties().priority).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [Some(0), Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn a_delay_is_one_however_it_is_given() {
        for (line, first, last) in [
            ("--delay-ms 1000", 1000, 1000),
            ("--delay-ms 10..20", 10, 20),
            ("--header x-delay=1000", 1000, 1000),
            ("--header x-delay=-5..20", -5, 20),
        ] {
            let options = options(line).unwrap();
            assert_eq!(options.delay_ms, Some(Span { first, last }), "{line}");
            assert_eq!(delay_max_ns(&options), Some(u64::try_from(last).unwrap() * MILLISECOND_NS));
            for variant in Variant::row(&options, 0, 1) {
                let delay = variant.properties().headers.and_then(|headers| headers.get(DELAY));
                match delay {
                    Some(Value::I64(delay)) if (first..=last).contains(&delay) => {
                        assert_eq!(variant.delay_ns, u64::try_from(delay).unwrap_or(0) * MILLISECOND_NS);
                    }
                    other => panic!("{line}: {other:?}"),
                }
            }
        }
        assert_eq!(delay_max_ns(&options("--header x-delay=soon").unwrap()), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--delay-ms 5 --header x-delay=5",
            "--delay-ms 5..",
            "--delay-ms 9..5",
            "--delay-ms soon",
            "--header a=1 --header a=2",
            "--header a=1 --unique-header a",
            "--header a",
            "--random-priority 256",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
