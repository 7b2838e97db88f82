//! The rules that look into a message's properties: user id, reply-to, expiration, CC and BCC.

use leveret_broker::message::Message;
use leveret_protocol::amqp091::{RawProperties, ReplyCode, Table, TableWriter, Value};

use super::fault::Fault;
use super::reply_to::REPLY_TO;
use super::table::value_to_broker;

/// Longest expiration, in milliseconds: ten years.
const EXPIRATION_MAX_MS: u64 = 315_360_000_000;
/// Property flags of headers, reply-to and user id.
const EXAMINED_FLAGS: u16 = 1 << 13 | 1 << 9 | USER_ID_FLAG;
/// The property flag of the user id.
const USER_ID_FLAG: u16 = 1 << 4;
/// The property flag of the expiration.
const EXPIRATION_FLAG: u16 = 1 << 8;

/// What the rules came to for a message that passed.
pub(super) struct Examined {
    /// The message as a rule changed it; none if it stays as it is.
    pub(super) changed: Option<Message>,
    /// Routing keys of the CC and BCC headers.
    pub(super) extra_keys: Vec<String>,
}

/// Whether a rule may apply; most messages are spared the look. With a `ttl_ms`, [that](ttl_ms) of the expiration, there is nothing
/// wrong with the latter.
#[inline]
pub(super) fn need_examination(raw: &[u8], ttl_ms: Option<u64>) -> bool {
    let examined = if ttl_ms.is_some() { EXAMINED_FLAGS } else { EXAMINED_FLAGS | EXPIRATION_FLAG };
    has_any(raw, examined)
}

/// Whether there is a property with one of these flags.
#[inline]
fn has_any(raw: &[u8], flags: u16) -> bool {
    raw.first_chunk::<2>().is_some_and(|first| u16::from_be_bytes(*first) & flags != 0)
}

/// Applies the rules. `reply_token` is what the channel's consumer of direct replies is reached by, if it has one.
pub(super) fn examine(message: &Message, reply_token: Option<&str>) -> Result<Examined, Fault> {
    let properties = RawProperties::decode(message.properties()).unwrap_or_default();
    let refuse = |explanation: String| Err(Fault::new(ReplyCode::PreconditionFailed, explanation));
    let mut changed = properties;
    if properties.reply_to == Some(REPLY_TO.as_bytes()) {
        let Some(token) = reply_token else { return refuse("fast reply consumer does not exist".into()) };
        changed.reply_to = Some(token.as_bytes());
    }
    let expiration = properties.expiration.map(String::from_utf8_lossy);
    if let Some(expiration) = expiration
        && let Err(reason) = check_expiration(&expiration)
    {
        return refuse(format!("invalid expiration '{expiration}': {reason}"));
    }
    let (mut extra_keys, mut hidden_keys) = (Vec::new(), Vec::new());
    let mut without_bcc = Vec::new();
    if let Some(headers) = properties.headers {
        for name in ["CC", "BCC"] {
            match headers.get(name) {
                None => {}
                Some(Value::Array(keys)) => extra_keys.extend(keys.iter().filter_map(text)),
                Some(other) => {
                    let kind = value_to_broker(other).type_name();
                    return refuse(format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}"));
                }
            }
        }
        if let Some(Value::Array(keys)) = headers.get("BCC") {
            hidden_keys.extend(keys.iter().filter_map(text));
            let mut writer = TableWriter::new(&mut without_bcc);
            for (_, field) in headers.field_octets().filter(|(name, _)| *name != b"BCC") {
                writer.field_octets(field);
            }
            changed.headers = Table::parse(&without_bcc).ok();
        }
    }
    if changed == properties {
        return Ok(Examined { changed: None, extra_keys });
    }
    let mut raw = Vec::new();
    changed.encode(&mut raw);
    let mut changed = message.with_properties(&raw);
    if !hidden_keys.is_empty() {
        // Nobody is shown them, but a dead letter is routed by them too.
        changed = changed.with_hidden_keys(&hidden_keys);
    }
    Ok(Examined { changed: Some(changed), extra_keys })
}

/// Refuses a user id other than the one required, if there is any.
pub(super) fn check_user_id(message: &Message, required: Option<&str>) -> Result<(), Fault> {
    let Some(user) = required.filter(|_| has_any(message.properties(), USER_ID_FLAG)) else { return Ok(()) };
    let claimed = RawProperties::decode(message.properties()).unwrap_or_default().user_id;
    let Some(claimed) = claimed.filter(|claimed| *claimed != user.as_bytes()) else { return Ok(()) };
    let claimed = String::from_utf8_lossy(claimed);
    let explanation = format!("user_id property set to '{claimed}' but authenticated user was '{user}'");
    Err(Fault::new(ReplyCode::PreconditionFailed, explanation))
}

fn text(value: Value<'_>) -> Option<String> {
    match value {
        Value::LongStr(octets) => std::str::from_utf8(octets).ok().map(str::to_owned),
        _ => None,
    }
}

/// The milliseconds of an expiration, unless it is to be refused.
pub(super) fn ttl_ms(expiration: &[u8]) -> Option<u64> {
    // As signed, for a zero may have a sign.
    let milliseconds: i64 = std::str::from_utf8(expiration).ok()?.parse().ok()?;
    u64::try_from(milliseconds).ok().filter(|ms| *ms <= EXPIRATION_MAX_MS)
}

/// Whether an expiration is a number of milliseconds; the reason it is not, in the words of Erlang's `string:to_integer`.
fn check_expiration(text: &str) -> Result<(), String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    if count == 0 {
        return Err("no_integer".into());
    }
    let end = text.len() - digits.len() + count;
    let (number, leftover) = text.split_at_checked(end).unwrap_or((text, ""));
    if !leftover.is_empty() {
        return Err(format!("{{leftover_string,\"{leftover}\"}}"));
    }
    match number.trim_start_matches('+').parse::<i128>() {
        Ok(value) if value < 0 => Err(format!("{{value_negative,{value}}}")),
        Ok(value) if value <= EXPIRATION_MAX_MS.into() => Ok(()),
        // Longer than any integer we know is too large as well.
        _ => Err(format!("{{value_too_large,{number}}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_broker::message::Draft;
    use leveret_protocol::amqp091::Properties;

    fn message(properties: Properties<'_>) -> Message {
        let mut raw = Vec::new();
        properties.encode(&mut raw);
        let mut draft = Draft::new(Vec::new(), "x", "key");
        draft.properties(&raw);
        draft.body(b"body");
        draft.message()
    }

    #[test]
    fn an_expiration_is_a_count_of_milliseconds() {
        for (text, reason) in [
            ("0", None),
            ("60000", None),
            ("+5", None),
            ("-0", None),
            ("315360000000", None),
            ("315360000001", Some("{value_too_large,315360000001}")),
            ("-1", Some("{value_negative,-1}")),
            ("", Some("no_integer")),
            ("abc", Some("no_integer")),
            ("-", Some("no_integer")),
            ("10s", Some("{leftover_string,\"s\"}")),
            ("1.5", Some("{leftover_string,\".5\"}")),
        ] {
            assert_eq!(check_expiration(text).err().as_deref(), reason, "{text}");
            assert_eq!(ttl_ms(text.as_bytes()).is_some(), reason.is_none(), "{text}");
        }
    }

    #[test]
    fn the_user_id_is_the_users_own() {
        let with = |user| message(Properties { user_id: Some(user), ..Properties::default() });
        assert_eq!(check_user_id(&with("guest"), Some("guest")), Ok(()));
        assert_eq!(check_user_id(&with("root"), None), Ok(()));
        let fault = check_user_id(&with("root"), Some("guest")).unwrap_err();
        assert_eq!(
            fault.text(),
            "PRECONDITION_FAILED - user_id property set to 'root' but authenticated user was 'guest'"
        );
    }

    #[test]
    fn direct_reply_to_becomes_the_channels_token() {
        let asking = message(Properties { reply_to: Some(REPLY_TO), ..Properties::default() });
        let examined = examine(&asking, Some("amq.rabbitmq.reply-to.t")).ok().unwrap();
        let changed = examined.changed.unwrap();
        let properties = Properties::decode(changed.properties()).unwrap();
        assert_eq!(properties.reply_to, Some("amq.rabbitmq.reply-to.t"));
        assert_eq!(changed.body(), b"body");
        assert!(examine(&asking, None).is_err());
    }

    #[test]
    fn bcc_routes_and_is_hidden_and_cc_stays() {
        let mut headers = Vec::new();
        TableWriter::new(&mut headers)
            .array("CC", |keys| {
                keys.value(Value::LongStr(b"a")).value(Value::I32(1));
            })
            .array("BCC", |keys| {
                keys.value(Value::LongStr(b"b"));
            });
        let message = message(Properties { headers: Table::parse(&headers).ok(), ..Properties::default() });
        let examined = examine(&message, None).ok().unwrap();
        assert_eq!(examined.extra_keys, ["a", "b"]);
        let changed = examined.changed.unwrap();
        let left = Properties::decode(changed.properties()).unwrap().headers.unwrap();
        assert!(left.get("CC").is_some() && left.get("BCC").is_none());
        assert_eq!(changed.hidden_keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(changed.body(), b"body");
    }
}
