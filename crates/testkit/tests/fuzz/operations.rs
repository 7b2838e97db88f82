//! What clients send: mostly what real ones do, in any order, and on wild runs anything at all.

use leveret_protocol::amqp091::method::{
    BasicAck, BasicCancel, BasicConsume, BasicGet, BasicNack, BasicPublish, BasicQos, BasicRecover, BasicReject,
    ChannelClose, ChannelFlow, ChannelOpen, ConfirmSelect, ExchangeBind, ExchangeDeclare, ExchangeDelete,
    ExchangeUnbind, QueueBind, QueueDeclare, QueueDelete, QueuePurge, QueueUnbind, TxCommit, TxRollback, TxSelect,
};
use leveret_protocol::amqp091::{Properties, Table, TableWriter, Value, frame};

use super::client::{Client, Consumer, Effect, FOLLOWED, Mode, Pending, Unsettled};
use super::random::Random;

const QUEUES: [&str; 4] = ["q0", "q1", "q2", "q3"];
const EXCHANGES: [&str; 3] = ["x0", "x1", "x2"];
const PREDECLARED: [&str; 5] = ["", "amq.direct", "amq.fanout", "amq.topic", "amq.headers"];
const KEYS: [&str; 6] = ["", "a", "a.b", "a.*", "#", "q0"];
const KINDS: [&str; 9] = [
    "direct",
    "fanout",
    "topic",
    "headers",
    "x-random",
    "x-consistent-hash",
    "x-modulus-hash",
    "x-recent-history",
    "x-local-random",
];
const CHANNELS: [u16; 5] = [1, 2, 3, 2047, 65_535];
/// Larger than a client may publish; see the settings of a run.
pub(crate) const MESSAGE_MAX: usize = 40_000;

/// Sends something on some channel.
pub(crate) fn step(client: &mut Client, random: &mut Random) {
    let all = random.chance(10);
    let number = random.pick(if all { &CHANNELS } else { &CHANNELS[..3] });
    let Some(channel) = client.channels.get(&number) else {
        client.add_channel(number);
        client.call(number, &ChannelOpen { out_of_band: "" }, &[11], Effect::Nothing);
        return;
    };
    if channel.close_sent {
        return;
    }
    if !channel.rest_of_publish.is_empty() {
        client.send_piece(number);
        return;
    }
    match random.below(100) {
        0..30 => publish(client, number, random),
        30..33 => (0..random.below(80)).for_each(|_| publish_all(client, number, random)),
        33..36 => fresh_queue(client, number, random),
        36..55 => settle(client, number, random),
        55..63 => consume(client, number, random),
        63..67 => cancel(client, number, random),
        67..74 => get(client, number, random),
        74..76 => recover(client, number),
        76..79 => modes(client, number, random),
        79..82 => close(client, number, random),
        82..84 => qos(client, number, random),
        _ => topology(client, number, random),
    }
}

fn publish_all(client: &mut Client, number: u16, random: &mut Random) {
    publish(client, number, random);
    while client.channels.get(&number).is_some_and(|channel| !channel.rest_of_publish.is_empty()) {
        client.send_piece(number);
    }
}

fn publish(client: &mut Client, number: u16, random: &mut Random) {
    // At most one that may be refused, or nobody could tell which one was.
    let doubtful = client.channels[&number].pending.iter().any(Pending::is_quiet_and_may_fail);
    let size = random.pick(&[0, 1, 10, 100, 9000, 30_000]);
    let (exchange, routing_key) = (random.pick(&["", "amq.direct"]), FOLLOWED);
    let message = BasicPublish { ticket: 0, exchange, routing_key, mandatory: random.chance(20), immediate: false };
    match random.below(10) {
        0..6 => {
            let id = client.holder(number);
            let id = client.ledger().new_message(id);
            let mut body = [b"F".as_slice(), &id.to_be_bytes()].concat();
            body.resize(body.len() + size, b'.');
            begin(
                client,
                number,
                &message,
                &body,
                (Effect::Publish { id: Some(id), comes_back: false }, false),
                random,
            );
        }
        6 | 7 if !doubtful => {
            let message = BasicPublish {
                exchange: random.pick(&EXCHANGES),
                routing_key: random.pick(&KEYS),
                mandatory: false,
                ..message
            };
            let size = random.pick(&[1, 5000, MESSAGE_MAX + 1]);
            begin(client, number, &message, &vec![b'm'; size], (nothing_published(), true), random);
        }
        8 => {
            let message = BasicPublish { routing_key: "missing", mandatory: true, ..message };
            let effect = Effect::Publish { id: None, comes_back: true };
            begin(client, number, &message, &vec![b'r'; size], (effect, false), random);
        }
        _ => {
            let exchange = random.pick(&PREDECLARED);
            let message =
                BasicPublish { exchange, routing_key: random.pick(&["a", "a.b", "q1"]), mandatory: false, ..message };
            begin(client, number, &message, &vec![b'o'; size], (nothing_published(), false), random);
        }
    }
}

fn nothing_published() -> Effect {
    Effect::Publish { id: None, comes_back: false }
}

/// Cuts a message into frames, the first of which is sent at once.
fn begin(
    client: &mut Client,
    number: u16,
    publish: &BasicPublish<'_>,
    body: &[u8],
    effect: (Effect, bool),
    random: &mut Random,
) {
    let mut headers = Vec::new();
    let id = random.pick(&[1, 2, 3]);
    TableWriter::new(&mut headers).field("a", Value::I32(1)).field("x-deduplication-header", Value::I32(id));
    // What is followed must not expire.
    let may_expire = !body.starts_with(b"F") && random.chance(20);
    let properties = Properties {
        headers: Table::parse(&headers).ok().filter(|_| random.chance(20)),
        delivery_mode: Some(2).filter(|_| random.chance(50)),
        priority: Some(random.pick(&[0, 1, 9, 255])).filter(|_| random.chance(30)),
        expiration: Some(random.pick(&["0", "1", "50"])).filter(|_| may_expire),
        ..Properties::default()
    };
    let mut raw = Vec::new();
    properties.encode(&mut raw);
    let mut frames = std::collections::VecDeque::new();
    let mut piece = |fill: &dyn Fn(&mut Vec<u8>)| {
        let mut octets = Vec::new();
        fill(&mut octets);
        frames.push_back(octets);
    };
    piece(&|out| frame::write_method(out, number, publish));
    piece(&|out| frame::write_header(out, number, &raw, body.len() as u64));
    for part in body.chunks(random.pick(&[8000, 4000, 700])) {
        piece(&|out| {
            frame::write_frame(out, leveret_protocol::amqp091::FrameKind::Body, number, |out| {
                out.extend_from_slice(part);
            });
        });
    }
    let channel = client.channels.get_mut(&number).unwrap();
    channel.rest_of_publish = frames;
    channel.publish = Some(effect);
    let at_once = if random.chance(70) { usize::MAX } else { random.below(3) + 1 };
    for _ in 0..at_once.min(channel.rest_of_publish.len()) {
        client.send_piece(number);
    }
}

/// A queue that is there for what is published after its declaration, and for nothing before, all in one go.
fn fresh_queue(client: &mut Client, number: u16, random: &mut Random) {
    if client.channels[&number].mode == Mode::Transaction
        || client.channels[&number].pending.iter().any(Pending::selects_transaction)
    {
        return;
    }
    let name = format!("fresh.{}", random.next());
    let message = BasicPublish { ticket: 0, exchange: "", routing_key: &name, mandatory: true, immediate: false };
    let publish = |client: &mut Client, comes_back| {
        let mut octets = Vec::new();
        frame::write_content(&mut octets, number, &message, &[], b"x", 0);
        client.append(&octets);
        client.expect(number, (60, 40), None, false, Effect::Publish { id: None, comes_back });
    };
    publish(client, true);
    let declare = QueueDeclare { no_wait: true, ..declare(&name) };
    client.tell(number, &declare, false, Effect::Nothing);
    publish(client, false);
    let delete = QueueDelete { ticket: 0, queue: &name, if_unused: true, if_empty: false, no_wait: true };
    client.tell(number, &delete, false, Effect::Nothing);
    publish(client, true);
}

fn declare(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare {
        ticket: 0,
        queue,
        passive: false,
        durable: false,
        exclusive: true,
        auto_delete: false,
        no_wait: false,
        arguments: Table::default(),
    }
}

fn settle(client: &mut Client, number: u16, random: &mut Random) {
    let channel = client.channels.get_mut(&number).unwrap();
    if channel.pending.iter().any(Pending::changes_unsettled) {
        return;
    }
    let tags: Vec<u64> = channel.unsettled.keys().copied().collect();
    if random.chance(1) && !channel.pending.iter().any(Pending::is_quiet_and_may_fail) {
        client.tell(number, &BasicAck { delivery_tag: 1 << 40, multiple: false }, true, Effect::Nothing);
        return;
    }
    if tags.is_empty() {
        return;
    }
    let tag = random.pick(&tags);
    let multiple = random.chance(20);
    let requeue = random.chance(40);
    let settled: Vec<(u64, Unsettled)> = if multiple {
        let rest = channel.unsettled.split_off(&(tag + 1));
        std::mem::replace(&mut channel.unsettled, rest).into_iter().collect()
    } else {
        channel.unsettled.remove_entry(&tag).into_iter().collect()
    };
    for (_, unsettled) in &settled {
        let consumer = unsettled.consumer.as_ref().and_then(|tag| channel.consumers.get_mut(tag));
        if let Some(consumer) = consumer {
            consumer.unsettled -= 1;
        }
    }
    {
        let mut ledger = client.ledger();
        settled.iter().filter_map(|(_, unsettled)| unsettled.id).for_each(|id| ledger.doubt(id));
    }
    if requeue || random.chance(30) {
        if multiple || random.chance(50) {
            let nack = BasicNack { delivery_tag: tag, multiple, requeue };
            client.tell(number, &nack, false, Effect::Settle { settled, requeue });
        } else {
            let reject = BasicReject { delivery_tag: tag, requeue };
            client.tell(number, &reject, false, Effect::Settle { settled, requeue });
        }
    } else {
        let ack = BasicAck { delivery_tag: tag, multiple };
        client.tell(number, &ack, false, Effect::Settle { settled, requeue: false });
    }
}

fn consume(client: &mut Client, number: u16, random: &mut Random) {
    let tag = format!("c{}", random.next());
    let followed = random.chance(70);
    let channel = &client.channels[&number];
    let (no_ack, no_wait) = (random.chance(20), followed && random.chance(30));
    let consumer = Consumer { no_ack, prefetch: if no_ack { 0 } else { channel.prefetch }, unsettled: 0 };
    let mut arguments = Vec::new();
    if random.chance(20) {
        TableWriter::new(&mut arguments).field("x-priority", Value::I32(random.pick(&[-1, 1, 2])));
    }
    let consume = BasicConsume {
        ticket: 0,
        queue: if followed { FOLLOWED } else { random.pick(&QUEUES) },
        consumer_tag: &tag,
        no_local: false,
        no_ack,
        exclusive: !followed && random.chance(20),
        no_wait,
        arguments: Table::parse(&arguments).unwrap(),
    };
    let effect = Effect::Consume { tag: tag.clone(), consumer };
    if no_wait {
        client.tell(number, &consume, false, effect);
    } else {
        client.call(number, &consume, &[21], effect);
    }
}

fn cancel(client: &mut Client, number: u16, random: &mut Random) {
    let mut tags: Vec<String> = client.channels[&number].consumers.keys().cloned().collect();
    tags.sort_unstable();
    tags.retain(|tag| !tag.is_empty());
    tags.push("unknown".into());
    let tag = tags[random.below(tags.len())].clone();
    let no_wait = random.chance(30);
    let cancel = BasicCancel { consumer_tag: &tag, no_wait };
    let effect = Effect::Cancel { tag: tag.clone() };
    if no_wait {
        client.tell(number, &cancel, false, effect);
    } else {
        client.call(number, &cancel, &[31], effect);
    }
}

fn get(client: &mut Client, number: u16, random: &mut Random) {
    let no_ack = random.chance(30);
    let queue = if random.chance(70) { FOLLOWED } else { random.pick(&QUEUES) };
    client.call(number, &BasicGet { ticket: 0, queue, no_ack }, &[71, 72], Effect::Get { no_ack });
}

fn recover(client: &mut Client, number: u16) {
    client.doubt_all(number);
    client.call(number, &BasicRecover { requeue: true }, &[111], Effect::Recover);
}

fn modes(client: &mut Client, number: u16, random: &mut Random) {
    match client.channels[&number].mode {
        Mode::Plain if random.chance(50) => {
            client.call(number, &ConfirmSelect { no_wait: false }, &[11], Effect::Confirm);
        }
        Mode::Plain => client.call(number, &TxSelect {}, &[11], Effect::Transaction),
        Mode::Confirm => client.call(number, &ConfirmSelect { no_wait: false }, &[11], Effect::Confirm),
        Mode::Transaction if random.chance(70) => client.call(number, &TxCommit {}, &[21], Effect::Commit),
        Mode::Transaction => client.call(number, &TxRollback {}, &[31], Effect::Rollback),
    }
}

fn close(client: &mut Client, number: u16, random: &mut Random) {
    if random.chance(50) {
        client.call(number, &ChannelFlow { active: true }, &[21], Effect::Nothing);
        return;
    }
    client.doubt_all(number);
    let close = ChannelClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 };
    client.call(number, &close, &[41], Effect::Close);
    client.channels.get_mut(&number).unwrap().close_sent = true;
}

fn qos(client: &mut Client, number: u16, random: &mut Random) {
    let (prefetch_count, global) = (random.pick(&[0, 1, 2, 10]), random.chance(30));
    if !global {
        client.channels.get_mut(&number).unwrap().prefetch = prefetch_count;
    }
    client.call(number, &BasicQos { prefetch_size: 0, prefetch_count, global }, &[11], Effect::Nothing);
}

fn topology(client: &mut Client, number: u16, random: &mut Random) {
    let (queue, exchange) = (random.pick(&QUEUES), random.pick(&EXCHANGES));
    let (other, routing_key) = (random.pick(&EXCHANGES), random.pick(&KEYS));
    let from = if random.chance(50) { exchange } else { random.pick(&PREDECLARED) };
    let mut octets = Vec::new();
    if random.chance(20) {
        TableWriter::new(&mut octets).field("x-match", Value::LongStr(b"any")).field("a", Value::I32(1));
    }
    let arguments = Table::parse(&octets).unwrap();
    let ticket = 0;
    let no_wait = false;
    let features = features(random);
    match random.below(12) {
        0..4 => {
            let declare = QueueDeclare {
                arguments: Table::parse(&features).unwrap(),
                durable: random.chance(50),
                exclusive: random.chance(20),
                auto_delete: random.chance(30),
                passive: random.chance(10),
                ..declare(if random.chance(90) { queue } else { "" })
            };
            client.call(number, &declare, &[11], Effect::Nothing);
        }
        4 => {
            let (if_unused, if_empty) = (random.chance(20), random.chance(20));
            let delete = QueueDelete { ticket, queue, if_unused, if_empty, no_wait };
            client.call(number, &delete, &[41], Effect::Nothing);
        }
        5 => client.call(number, &QueuePurge { ticket, queue, no_wait }, &[31], Effect::Nothing),
        6 => {
            let bind = QueueBind { ticket, queue, exchange: from, routing_key, no_wait, arguments };
            client.call(number, &bind, &[21], Effect::Nothing);
        }
        7 => {
            let unbind = QueueUnbind { ticket, queue, exchange: from, routing_key, arguments };
            client.call(number, &unbind, &[51], Effect::Nothing);
        }
        8 => {
            let declare = ExchangeDeclare {
                ticket,
                exchange,
                kind: random.pick(&KINDS),
                passive: random.chance(10),
                durable: false,
                auto_delete: random.chance(40),
                internal: random.chance(10),
                no_wait,
                arguments: Table::default(),
            };
            client.call(number, &declare, &[11], Effect::Nothing);
        }
        9 => {
            let delete = ExchangeDelete { ticket, exchange, if_unused: random.chance(30), no_wait };
            client.call(number, &delete, &[21], Effect::Nothing);
        }
        10 => {
            let bind = ExchangeBind { ticket, destination: other, source: exchange, routing_key, no_wait, arguments };
            client.call(number, &bind, &[31], Effect::Nothing);
        }
        _ => {
            let unbind =
                ExchangeUnbind { ticket, destination: other, source: exchange, routing_key, no_wait, arguments };
            client.call(number, &unbind, &[51], Effect::Nothing);
        }
    }
}

/// Arguments that let a queue do something by itself. Nothing it does reaches the queue that is followed, but for messages that
/// nobody counts.
fn features(random: &mut Random) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut table = TableWriter::new(&mut octets);
    for name in ["x-message-ttl", "x-expires"] {
        if random.chance(10) {
            table.field(name, Value::I32(random.pick(&[1, 10, 100])));
        }
    }
    for name in ["x-max-length", "x-max-length-bytes"] {
        if random.chance(10) {
            table.field(name, Value::I32(random.pick(&[0, 1, 5, 10_000])));
        }
    }
    if random.chance(10) {
        table.field("x-max-priority", Value::I32(random.pick(&[1, 10, 255])));
    }
    if random.chance(10) {
        table.field("x-message-deduplication", Value::Bool(true));
    }
    if random.chance(30) {
        let exchange = random.pick(&["", "amq.direct", "amq.fanout", "x0", "x1"]);
        table.field("x-dead-letter-exchange", Value::LongStr(exchange.as_bytes()));
        if random.chance(50) {
            let key = random.pick(&["q0", "q1", "q2", "a", FOLLOWED]);
            table.field("x-dead-letter-routing-key", Value::LongStr(key.as_bytes()));
        }
    }
    octets
}

/// Sends what no client should: good frames damaged, methods out of place, direct replies, noise.
pub(crate) fn wild_step(client: &mut Client, random: &mut Random) {
    let number = random.pick(&CHANNELS);
    let mut octets = Vec::new();
    match random.below(12) {
        0 => octets.extend((0..random.below(64)).map(|_| random.next().to_le_bytes()[0])),
        1 => frame::write_method(&mut octets, number, &ChannelOpen { out_of_band: "" }),
        2 => frame::write_method(&mut octets, number, &BasicAck { delivery_tag: 0, multiple: true }),
        3 => {
            let nack =
                BasicNack { delivery_tag: random.next() % 20, multiple: random.chance(50), requeue: random.chance(50) };
            frame::write_method(&mut octets, number, &nack);
        }
        4 => {
            let queue = random.pick(&["amq.rabbitmq.reply-to", "q0", FOLLOWED]);
            let consume = BasicConsume {
                ticket: 0,
                queue,
                consumer_tag: random.pick(&["", "t", "u"]),
                no_local: false,
                no_ack: random.chance(80),
                exclusive: random.chance(10),
                no_wait: random.chance(50),
                arguments: Table::default(),
            };
            frame::write_method(&mut octets, number, &consume);
        }
        5 => {
            let properties = Properties { reply_to: Some("amq.rabbitmq.reply-to"), ..Properties::default() };
            let mut raw = Vec::new();
            properties.encode(&mut raw);
            let publish = BasicPublish {
                ticket: 0,
                exchange: "",
                routing_key: random.pick(&["q0", FOLLOWED]),
                mandatory: true,
                immediate: random.chance(1),
            };
            frame::write_content(&mut octets, number, &publish, &raw, b"ask", 0);
        }
        6 => {
            let qos = BasicQos { prefetch_size: 0, prefetch_count: random.pick(&[0, 1, 3]), global: true };
            frame::write_method(&mut octets, number, &qos);
        }
        7 => frame::write_method(&mut octets, number, &BasicCancel { consumer_tag: "t", no_wait: true }),
        8 => frame::write_method(
            &mut octets,
            number,
            &leveret_protocol::amqp091::method::BasicRecoverAsync { requeue: true },
        ),
        9 => {
            let delete = QueueDelete {
                ticket: 0,
                queue: random.pick(&["q0", "q1", FOLLOWED]),
                if_unused: random.chance(50),
                if_empty: false,
                no_wait: true,
            };
            frame::write_method(&mut octets, number, &delete);
        }
        10 => {
            for _ in 0..random.below(40) {
                frame::write_method(&mut octets, number, &BasicGet { ticket: 0, queue: FOLLOWED, no_ack: false });
                let nack = BasicNack { delivery_tag: 0, multiple: true, requeue: true };
                frame::write_method(&mut octets, number, &nack);
            }
        }
        _ => client.damage(random),
    }
    client.append(&octets);
}
