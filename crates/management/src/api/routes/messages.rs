//! Messages: publish one, get some, purge a queue.

use std::io::{self, Write};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leveret_broker::access::{Permission, tags};
use leveret_broker::mailbox::Mailbox;
use leveret_broker::message::Message;
use leveret_broker::node::{Caller, Held, Settlement};
use leveret_broker::properties::{Properties, PropertyError, Publication};
use leveret_broker::queue::Taken;
use leveret_broker::{Error, Name};
use serde_json::{Value, json};

use super::exchanges::named;
use super::queues::existing;
use crate::api::answer::JSON;
use crate::api::body::{self, Members};
use crate::api::rights::{NOBODY, Rights};
use crate::api::route::{Field, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::{json, pause, wait_stored};

pub(super) const GROUP: Group = Group {
    title: "Messages",
    routes: &[
        Route {
            path: "/api/exchanges/{vhost}/{name}/publish",
            operations: &[
                Operation::post(Access::Vhost, publish, PUBLISH).body(MESSAGE).gives(Gives::One("Published")),
                Operation::put(Access::Vhost, publish, PUBLISH).body(MESSAGE).gives(Gives::One("Published")),
            ],
        },
        Route {
            path: "/api/queues/{vhost}/{name}/get",
            operations: &[Operation::post(Access::Vhost, get, "Gets the first messages of a queue")
                .body(&[
                    Field::needed("count", Kind::Number, "How many at most"),
                    Field::needed(
                        "ackmode",
                        Kind::Text,
                        "What becomes of them: `ack_requeue_true` and `reject_requeue_true` put them back, \
                         `ack_requeue_false` takes them away, `reject_requeue_false` dead-letters them",
                    ),
                    Field::needed("encoding", Kind::Text, "`auto`: text, or base64 if it is none; `base64`"),
                    Field::optional("truncate", Kind::Number, "Octets of each body that are wanted"),
                    Field::optional("requeue", Kind::Flag, "Instead of `ackmode`: whether they are put back"),
                ])
                .gives(Gives::All("Message"))],
        },
        Route {
            path: "/api/queues/{vhost}/{name}/contents",
            operations: &[Operation::delete(Access::Vhost, purge, "Deletes all messages of a queue that wait")],
        },
    ],
};

const PUBLISH: &str =
    "Publishes a message, and says whether it is routed. Not meant for more than a message now and then";

const MESSAGE: &[Field] = &[
    Field::needed("routing_key", Kind::Text, "The key"),
    Field::needed("properties", Kind::Object, "`headers`, `delivery_mode`, `content_type`, and so on"),
    Field::needed("payload", Kind::Text, "The body"),
    Field::needed("payload_encoding", Kind::Text, "`string`, or `base64`"),
];

/// What callers from here are called, where a connection would be named.
const CALLER: &str = "management";
/// Octets of messages that a request gets at most: it has to hold them all at once.
const OCTETS_MAX: usize = 128 * 1024 * 1024;
/// What a message costs besides its body, more or less.
const OVERHEAD: usize = 128;

/// The vhost of the path. `RabbitMQ` finds out too late that it is not there to say so.
fn vhost(ask: &Ask<'_>) -> Result<Name, Failure> {
    ask.vhost().map_err(|_| Failure::not_authorized("Access refused."))
}

fn publish(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhost = vhost(ask)?;
    let exchange = body::name("exchange", named(ask.part("name")))?;
    let members = ask.members()?;
    members.need(&["routing_key", "properties", "payload", "payload_encoding"])?;
    let routing_key = members.key("routing_key")?;
    // An empty array is what messages without properties are shown with.
    let properties = members.arguments("properties")?;
    let payload = payload(&members)?;
    let (rights, refused) = (Rights::of(ask, &vhost), |error: Error| Failure::of_publish(&error));
    rights.publish(&exchange).map_err(refused)?;
    let known = ask.node().read(|topology| {
        let vhost = topology.vhost(&vhost)?;
        vhost.exchange(&exchange)?.check_publish(vhost.name())
    });
    known.map_err(refused)?;
    let user = ask.user()?;
    let publication = Publication {
        exchange: &exchange,
        routing_key: &routing_key,
        properties: &properties,
        body: &payload,
        user: (!user.has_tag(tags::IMPERSONATOR)).then_some(&*user.name),
        now: ask.node().now(),
    };
    let composed = ask.node().properties().compose(&publication).map_err(|error| unacceptable(&error))?;
    let keys = std::iter::once(&*routing_key).chain(composed.extra_keys.iter().map(String::as_str));
    rights.publish_with(&exchange, keys).map_err(refused)?;
    let mailbox = Arc::new(Mailbox::default());
    if ask.node().is_store_blocked(&mailbox) {
        return Err(Failure::unavailable("no messages are taken at the moment: low on disk"));
    }
    let caller = Caller { vhost: &vhost, user: &user.name, name: CALLER };
    let published = ask.node().publish_for(&caller, &composed, &mailbox).map_err(refused)?;
    wait_stored(ask.node(), published.stored)?;
    if published.refused > 0 {
        return Err(Failure::bad_request("rejected Unable to publish message. Check queue limits."));
    }
    Ok(Answer::json(&json!({ "routed": published.is_routed() })))
}

/// The body of the message that is to be published.
fn payload(members: &Members) -> Result<Vec<u8>, Failure> {
    let Some(payload) = members.raw("payload").and_then(Value::as_str) else {
        return Err(Failure::bad_request("payload_not_string"));
    };
    let encoding = members.raw("payload_encoding").unwrap_or(&Value::Null);
    match encoding.as_str() {
        Some("string") => Ok(payload.into()),
        Some("base64") => STANDARD.decode(payload).map_err(|_| Failure::bad_request(json!(["not_base64", payload]))),
        _ => Err(Failure::bad_request(json!(["unsupported_encoding", encoding]))),
    }
}

/// Why a property cannot be, as `RabbitMQ` says it.
fn unacceptable(error: &PropertyError) -> Failure {
    Failure::bad_request(match error {
        PropertyError::Number(name) => json!(["not_int", name]),
        PropertyError::Text(name) => json!(["not_string", name]),
        PropertyError::Table(name) => json!(["not_an_object", name]),
        PropertyError::Rule(text) => json!(format!("406 PRECONDITION_FAILED - {text}")),
    })
}

/// How bodies are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// As text where they are some.
    Auto,
    /// Always in base64.
    Base64,
}

/// What somebody wants of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    /// How many messages; none is all.
    count: Option<usize>,
    settlement: Settlement,
    encoding: Encoding,
    /// How many octets of each body.
    truncate: Option<usize>,
}

impl Wanted {
    fn read(members: &Members) -> Result<Self, Failure> {
        // Before 3.7 it was `requeue` that said what becomes of them.
        let requeue = if members.raw("ackmode").is_none() { members.flag("requeue")? } else { None };
        let needed = if requeue.is_none() { &["ackmode", "count", "encoding"][..] } else { &["count", "encoding"] };
        members.need(needed)?;
        let mode = members.raw("ackmode").unwrap_or(&Value::Null);
        let settlement = match (requeue, mode.as_str()) {
            (Some(true), _) | (None, Some("ack_requeue_true")) => Settlement::Requeue,
            (Some(false), _) | (None, Some("ack_requeue_false")) => Settlement::Done,
            (None, Some("reject_requeue_true")) => Settlement::Fail,
            (None, Some("reject_requeue_false")) => Settlement::Reject,
            (None, _) => return Err(Failure::bad_request(json!(["unsupported_ackmode", mode]))),
        };
        let encoding = match members.raw("encoding").and_then(Value::as_str) {
            Some("auto") => Encoding::Auto,
            Some("base64") => Encoding::Base64,
            _ => return Err(Failure::bad_request("Unsupported encoding. Please use auto or base64.")),
        };
        let count = members.number("count")?.unwrap_or_default();
        let truncate = members.number("truncate")?.and_then(|octets| usize::try_from(octets).ok());
        Ok(Self { count: usize::try_from(count).ok(), settlement, encoding, truncate })
    }
}

/// A message that was taken.
struct Got {
    message: Message,
    redelivered: bool,
    /// How many wait behind it.
    waiting: usize,
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhost = vhost(ask)?;
    let wanted = Wanted::read(&ask.members()?)?;
    let (name, user) = (ask.part("name"), ask.user()?);
    let refused = |error: Error| Failure::of_get(&error);
    Rights::of(ask, &vhost).queue(name, Permission::Read).map_err(refused)?;
    let caller = Caller { vhost: &vhost, user: &user.name, name: CALLER };
    let mut held = ask.node().hold(&caller, name, NOBODY).map_err(refused)?;
    let got = take(ask, &caller, &mut held, wanted.count).map_err(refused)?;
    let written = ask.node().settle(held, wanted.settlement);
    wait_stored(ask.node(), written)?;
    send(ask, &got, wanted).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(Answer::sent())
}

/// Takes messages, as many as are wanted and wait, unless they are too large together.
fn take(ask: &Ask<'_>, caller: &Caller<'_>, held: &mut Held, count: Option<usize>) -> Result<Vec<Got>, Error> {
    let mailbox = Arc::new(Mailbox::default());
    let (mut got, mut octets): (Vec<Got>, usize) = (Vec::new(), 0);
    while count.is_none_or(|count| got.len() < count) && octets < OCTETS_MAX {
        match ask.node().take(caller, held, &mailbox)? {
            (Taken::Message(_, message, redelivered), waiting) => {
                octets += message.body_size() + OVERHEAD;
                got.push(Got { message, redelivered, waiting });
            }
            (Taken::OnDisk, _) => pause(&mailbox),
            (Taken::Nothing, _) => break,
        }
    }
    Ok(got)
}

/// Sends messages, each when its turn comes: as JSON all of them may be much larger.
fn send(ask: &Ask<'_>, got: &[Got], wanted: Wanted) -> io::Result<()> {
    let mut reply = ask.reply();
    let mut to = reply.begin(JSON);
    let mut separator = b'[';
    for got in got {
        to.write_all(&[separator])?;
        serde_json::to_writer(&mut to, &shown(ask.node().properties(), got, wanted))?;
        separator = b',';
    }
    to.write_all(if separator == b'[' { b"[]" } else { b"]" })?;
    to.finish()
}

fn shown(properties: &dyn Properties, got: &Got, wanted: Wanted) -> Value {
    let Got { message, redelivered, waiting } = got;
    let body = message.body();
    let part = wanted.truncate.and_then(|octets| body.get(..octets)).unwrap_or(body);
    let (payload, encoding) = encoded(part, wanted.encoding);
    let properties = json::table(&properties.to_table(message));
    // An object without members is an empty array, as RabbitMQ has it.
    let properties = if properties.is_empty() { json!([]) } else { Value::Object(properties) };
    json!({
        "payload_bytes": body.len(),
        "redelivered": redelivered,
        "exchange": message.exchange(),
        "routing_key": message.routing_key(),
        "message_count": waiting,
        "properties": properties,
        "payload": payload,
        "payload_encoding": encoding,
    })
}

/// A body as text, with the word for how it became some.
fn encoded(body: &[u8], encoding: Encoding) -> (String, &'static str) {
    // A zero is a character, but not one that anybody wants to see.
    let text = if encoding == Encoding::Auto && !body.contains(&0) { std::str::from_utf8(body).ok() } else { None };
    text.map_or_else(|| (STANDARD.encode(body), "base64"), |text| (text.to_owned(), "string"))
}

fn purge(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (vhost, name) = existing(ask)?;
    let refused = |error: Error| Failure::of_change(&error);
    Rights::of(ask, &vhost).queue(&name, Permission::Read).map_err(refused)?;
    let (_, written) = ask.node().queue(&vhost, &name, NOBODY).and_then(|queue| queue.purge()).map_err(refused)?;
    wait_stored(ask.node(), written)?;
    Ok(Answer::done())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: Value) -> Members {
        match value {
            Value::Object(members) => Members::new(members),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn what_is_wanted_is_read_in_all_ways_that_rabbitmq_had() {
        let wanted = |count, settlement, encoding, truncate| Ok(Wanted { count, settlement, encoding, truncate });
        for (body, expected) in [
            (
                json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}),
                wanted(Some(1), Settlement::Requeue, Encoding::Auto, None),
            ),
            (
                json!({"count": "5", "ackmode": "ack_requeue_false", "encoding": "base64", "truncate": "10"}),
                wanted(Some(5), Settlement::Done, Encoding::Base64, Some(10)),
            ),
            (
                json!({"count": -1, "ackmode": "reject_requeue_true", "encoding": "auto", "truncate": 0}),
                wanted(None, Settlement::Fail, Encoding::Auto, Some(0)),
            ),
            (
                json!({"count": 0, "ackmode": "reject_requeue_false", "encoding": "auto"}),
                wanted(Some(0), Settlement::Reject, Encoding::Auto, None),
            ),
            (
                json!({"count": 1, "requeue": "false", "encoding": "auto"}),
                wanted(Some(1), Settlement::Done, Encoding::Auto, None),
            ),
            (json!({}), Err(json!("[{key_missing,ackmode},{key_missing,count},{key_missing,encoding}]"))),
            (json!({"requeue": true, "count": 1}), Err(json!("[{key_missing,encoding}]"))),
            (json!({"count": 1, "ackmode": "nope", "encoding": "auto"}), Err(json!(["unsupported_ackmode", "nope"]))),
            (
                json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "nope"}),
                Err(json!("Unsupported encoding. Please use auto or base64.")),
            ),
            (
                json!({"count": "x", "ackmode": "ack_requeue_true", "encoding": "auto"}),
                Err(json!(["not_integer", "x"])),
            ),
        ] {
            let read = Wanted::read(&members(body.clone())).map_err(|failure| failure.reason);
            assert_eq!(read, expected, "{body}");
        }
    }

    #[test]
    fn payloads_are_text_or_base64() {
        for (body, expected) in [
            (json!({"payload": "hä", "payload_encoding": "string"}), Ok("hä".as_bytes().to_vec())),
            (json!({"payload": "AAEC/w==", "payload_encoding": "base64"}), Ok(vec![0, 1, 2, 255])),
            (json!({"payload": "!!!", "payload_encoding": "base64"}), Err(json!(["not_base64", "!!!"]))),
            (json!({"payload": "x", "payload_encoding": 5}), Err(json!(["unsupported_encoding", 5]))),
            (json!({"payload": 5, "payload_encoding": "string"}), Err(json!("payload_not_string"))),
        ] {
            assert_eq!(payload(&members(body.clone())).map_err(|failure| failure.reason), expected, "{body}");
        }
        for (body, encoding, expected) in [
            (&b"hi"[..], Encoding::Auto, ("hi", "string")),
            (b"hi", Encoding::Base64, ("aGk=", "base64")),
            (b"a\0b", Encoding::Auto, ("YQBi", "base64")),
            (b"\xFF", Encoding::Auto, ("/w==", "base64")),
            (b"", Encoding::Auto, ("", "string")),
        ] {
            let (text, word) = encoded(body, encoding);
            assert_eq!((text.as_str(), word), expected);
        }
    }
}
