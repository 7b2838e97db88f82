//! Clients that a scenario wants to be there.
//!
//! ```text
//! % connect c {"user":"guest","password":"guest","vhost":"/","name":"first"}
//! % c queue NAME {"durable":true,"auto_delete":false,"exclusive":false,"arguments":{}}
//! % c exchange NAME {"type":"direct","durable":true,"auto_delete":false,"internal":false,"arguments":{}}
//! % c bind QUEUE EXCHANGE KEY {"x-match":"all"}
//! % c bind_exchange DESTINATION SOURCE KEY {}
//! % c publish EXCHANGE KEY BODY {"persistent":true}
//! % c send EXCHANGE KEY BODY {"mandatory":true}
//! % c returned
//! % c consume QUEUE {"tag":"t","no_ack":false,"exclusive":false,"arguments":{}}
//! % c deliveries 2
//! % c cancel TAG
//! % c get QUEUE {"no_ack":true}
//! % c get_empty QUEUE
//! % c ack 1
//! % c reject 2 {"requeue":true}
//! % c qos 10
//! % c confirm
//! % c tx
//! % c commit
//! % c rollback
//! % c closed
//! % close c
//! ```
//!
//! What is in braces, and the braces, may be left out. `publish` awaits that what is published is in its queues; `send` is for
//! channels that confirm nothing.
//! `closed` awaits that the server closes the connection, and answers with why.

use std::collections::{BTreeMap, HashMap};

use leveret_protocol::amqp091::method::{
    BasicAck, BasicConsume, BasicGet, BasicPublish, BasicReject, ConnectionClose, ConnectionCloseOk, Encode,
    ExchangeBind, ExchangeBindOk, ExchangeDeclare, ExchangeDeclareOk, QueueBind, QueueBindOk, QueueDeclare,
    QueueDeclareOk, TxCommit, TxCommitOk, TxRollback, TxRollbackOk, TxSelect, TxSelectOk,
};
use leveret_protocol::amqp091::{Properties, Table, TableWriter, Value};
use leveret_testkit::amqp091::{Channel, Connection};
use leveret_testkit::broker::Url;
use serde_json::{Map, Value as Json};

/// A connection with one channel.
struct Client {
    connection: Connection,
    channel: Channel,
    confirms: bool,
}

/// The clients of a group by their names.
#[derive(Default)]
pub(crate) struct Clients {
    clients: HashMap<String, Client>,
}

impl Clients {
    /// Carries out one step; the answer is what a client was told.
    pub(crate) fn act(&mut self, act: &str, url: &Url) -> String {
        let (words, fields) = split(act);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let fields = Fields(&fields);
        match words[..] {
            ["connect", name] => {
                self.clients.insert(name.to_owned(), connect(url, &fields));
            }
            ["close", name] => self.take(name).connection.close(),
            [name, "closed"] => return closed(&self.take(name)),
            [name, ref words @ ..] => {
                let client = self.clients.get_mut(name).unwrap_or_else(|| panic!("no client {name}: {act}"));
                client.act(words, &fields);
            }
            [] => panic!("no words: {act}"),
        }
        String::new()
    }

    fn take(&mut self, name: &str) -> Client {
        self.clients.remove(name).unwrap_or_else(|| panic!("no client {name}"))
    }
}

fn connect(url: &Url, fields: &Fields<'_>) -> Client {
    let mut builder = Connection::builder_at(url)
        .user(fields.text("user", "guest"), fields.text("password", "guest"))
        .vhost(fields.text("vhost", "/"));
    let name = fields.text("name", "");
    if !name.is_empty() {
        builder = builder.property("connection_name", Value::LongStr(name.as_bytes()));
    }
    let connection = builder.open();
    let channel = connection.channel();
    Client { connection, channel, confirms: false }
}

fn closed(client: &Client) -> String {
    let close: ConnectionClose<'_> = client.connection.expect();
    client.connection.send(&ConnectionCloseOk {});
    client.connection.expect_end();
    format!("{} {}\n", close.reply_code, close.reply_text)
}

impl Client {
    fn act(&mut self, words: &[&str], fields: &Fields<'_>) {
        let channel = &self.channel;
        match *words {
            ["queue", name] => declare_queue(channel, name, fields),
            ["exchange", name] => declare_exchange(channel, name, fields),
            ["bind", queue, exchange, routing_key] => {
                let octets = fields.octets();
                let arguments = Table::parse(&octets).unwrap();
                let bind = QueueBind { ticket: 0, queue, exchange, routing_key, no_wait: false, arguments };
                let _: QueueBindOk = channel.call(&bind);
            }
            ["bind_exchange", destination, source, routing_key] => {
                let octets = fields.octets();
                let arguments = Table::parse(&octets).unwrap();
                let bind = ExchangeBind { ticket: 0, destination, source, routing_key, no_wait: false, arguments };
                let _: ExchangeBindOk = channel.call(&bind);
            }
            ["publish", exchange, key, body] => {
                if !self.confirms {
                    channel.confirm_select();
                    self.confirms = true;
                }
                let delivery_mode = fields.flag("persistent", false).then_some(2);
                let properties = Properties { delivery_mode, ..Properties::default() };
                channel.publish_with(exchange, key, &properties, body.as_bytes());
                channel.next_confirm();
            }
            ["consume", queue] => consume(channel, queue, fields),
            ["send", exchange, routing_key, body] => {
                let mandatory = fields.flag("mandatory", false);
                let publish = BasicPublish { ticket: 0, exchange, routing_key, mandatory, immediate: false };
                channel.send_content(&publish, &Properties::default(), body.as_bytes());
                channel.round_trip();
            }
            ["returned"] => drop(channel.next_return()),
            ["cancel", tag] => channel.cancel(tag),
            ["deliveries", count] => (0..number(count)).for_each(|_| drop(channel.next_delivery())),
            ["get", queue] => {
                let get = BasicGet { ticket: 0, queue, no_ack: fields.flag("no_ack", false) };
                drop(channel.get_with(&get).unwrap_or_else(|| panic!("nothing in {queue}")));
            }
            ["get_empty", queue] => assert!(channel.get(queue).is_none(), "something in {queue}"),
            ["ack", tag] => settle(channel, &BasicAck { delivery_tag: number(tag).into(), multiple: false }),
            ["reject", tag] => {
                let requeue = fields.flag("requeue", false);
                settle(channel, &BasicReject { delivery_tag: number(tag).into(), requeue });
            }
            ["qos", count] => channel.qos(number(count)),
            ["confirm"] => {
                channel.confirm_select();
                self.confirms = true;
            }
            ["tx"] => {
                let _: TxSelectOk = channel.call(&TxSelect {});
            }
            ["commit"] => {
                let _: TxCommitOk = channel.call(&TxCommit {});
            }
            ["rollback"] => {
                let _: TxRollbackOk = channel.call(&TxRollback {});
            }
            _ => panic!("a client cannot {words:?}"),
        }
    }
}

fn declare_queue(channel: &Channel, queue: &str, fields: &Fields<'_>) {
    let octets = fields.arguments();
    let declare = QueueDeclare {
        ticket: 0,
        queue,
        passive: false,
        durable: fields.flag("durable", true),
        exclusive: fields.flag("exclusive", false),
        auto_delete: fields.flag("auto_delete", false),
        no_wait: false,
        arguments: Table::parse(&octets).unwrap(),
    };
    let _: QueueDeclareOk<'_> = channel.call(&declare);
}

fn declare_exchange(channel: &Channel, exchange: &str, fields: &Fields<'_>) {
    let octets = fields.arguments();
    let declare = ExchangeDeclare {
        ticket: 0,
        exchange,
        kind: fields.text("type", "direct"),
        passive: false,
        durable: fields.flag("durable", true),
        auto_delete: fields.flag("auto_delete", false),
        internal: fields.flag("internal", false),
        no_wait: false,
        arguments: Table::parse(&octets).unwrap(),
    };
    let _: ExchangeDeclareOk = channel.call(&declare);
}

fn consume(channel: &Channel, queue: &str, fields: &Fields<'_>) {
    let octets = fields.arguments();
    channel.consume_with(&BasicConsume {
        ticket: 0,
        queue,
        consumer_tag: fields.text("tag", ""),
        no_local: false,
        no_ack: fields.flag("no_ack", false),
        exclusive: fields.flag("exclusive", false),
        no_wait: false,
        arguments: Table::parse(&octets).unwrap(),
    });
}

/// Settles something, and waits until the broker knows.
fn settle(channel: &Channel, method: &impl Encode) {
    channel.send(method);
    channel.round_trip();
}

fn number(word: &str) -> u16 {
    word.parse().unwrap_or_else(|error| panic!("{word}: {error}"))
}

/// Words, in single quotes if they have spaces, and the JSON object that may follow.
fn split(act: &str) -> (Vec<String>, Map<String, Json>) {
    let (words, fields) = match act.split_once(" {") {
        Some((words, fields)) => (words, format!("{{{fields}")),
        None => (act, "{}".to_owned()),
    };
    let fields = serde_json::from_str(&fields).unwrap_or_else(|error| panic!("{act}: {error}"));
    let mut list = Vec::new();
    let mut rest = words.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').unwrap_or_else(|| panic!("open quotes: {act}")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        list.push(word.to_owned());
        rest = after.trim_start();
    }
    (list, fields)
}

/// The options of a step.
struct Fields<'a>(&'a Map<String, Json>);

impl<'a> Fields<'a> {
    fn text(&self, name: &str, default: &'a str) -> &'a str {
        self.0.get(name).and_then(Json::as_str).unwrap_or(default)
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.0.get(name).and_then(Json::as_bool).unwrap_or(default)
    }

    /// The field `arguments` as the octets of a table.
    fn arguments(&self) -> Vec<u8> {
        self.0.get("arguments").and_then(Json::as_object).map(octets).unwrap_or_default()
    }

    /// All of them as the octets of a table.
    fn octets(&self) -> Vec<u8> {
        octets(self.0)
    }
}

fn octets(fields: &Map<String, Json>) -> Vec<u8> {
    let mut octets = Vec::new();
    write_fields(&mut TableWriter::new(&mut octets), fields);
    octets
}

/// Fields go out in the order of their names, for brokers list them as they came.
fn write_fields(writer: &mut TableWriter<'_>, fields: &Map<String, Json>) {
    let fields: BTreeMap<&String, &Json> = fields.iter().collect();
    for (name, value) in fields {
        match value {
            Json::Object(fields) => {
                writer.table(name, |writer| write_fields(writer, fields));
            }
            Json::Array(values) => {
                writer.array(name, |writer| write_values(writer, values));
            }
            value => {
                writer.field(name, plain(value));
            }
        }
    }
}

fn write_values(writer: &mut TableWriter<'_>, values: &[Json]) {
    for value in values {
        match value {
            Json::Object(fields) => {
                writer.table_value(|writer| write_fields(writer, fields));
            }
            Json::Array(values) => {
                writer.array_value(|writer| write_values(writer, values));
            }
            value => {
                writer.value(plain(value));
            }
        }
    }
}

/// A value that holds no others. Whole numbers are 64 bits wide.
fn plain(value: &Json) -> Value<'_> {
    match value {
        Json::Bool(flag) => Value::Bool(*flag),
        Json::String(text) => Value::LongStr(text.as_bytes()),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::I64(number),
            None => Value::F64(number.as_f64().unwrap_or_default()),
        },
        Json::Null | Json::Array(_) | Json::Object(_) => Value::Void,
    }
}

#[test]
fn an_act_is_words_and_fields() {
    for (act, words, fields) in [
        ("c queue q", &["c", "queue", "q"][..], 0),
        ("c publish '' 'a b' x", &["c", "publish", "", "a b", "x"], 0),
        ("c queue 'a b' {\"durable\":true,\"arguments\":{\"a\":1}}", &["c", "queue", "a b"], 2),
    ] {
        let (found, found_fields) = split(act);
        assert_eq!(
            (found.iter().map(String::as_str).collect::<Vec<_>>(), found_fields.len()),
            (words.to_vec(), fields),
            "{act}"
        );
    }
}
