//! A client without a socket: a session, what was sent to it, and what has to come back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use leveret_broker::access::Peer;
use leveret_broker::mailbox::Mailbox;
use leveret_broker::node::Node;
use leveret_protocol::amqp091::method::{
    ChannelCloseOk, ConnectionCloseOk, ConnectionOpen, ConnectionStartOk, ConnectionTuneOk, Encode,
};
use leveret_protocol::amqp091::{Frame, Method, ProtocolHeader, Table, TableWriter, Value, frame};
use leveret_session::amqp091::{Session, Settings};

use super::access::Access;
use super::ledger::{Holder, Ledger};
use super::random::Random;
use super::wire::{Sent, Wire};

/// What something sent on a channel does once the server has heard it.
#[derive(Debug)]
pub(crate) enum Effect {
    Nothing,
    /// A message with its number, if it goes to the followed queue; or one that comes back.
    Publish {
        id: Option<u64>,
        comes_back: bool,
    },
    /// Deliveries were settled: by tag, with their entries.
    Settle {
        settled: Vec<(u64, Unsettled)>,
        requeue: bool,
    },
    Recover,
    Consume {
        tag: String,
        consumer: Consumer,
    },
    Cancel {
        tag: String,
    },
    Get {
        no_ack: bool,
    },
    Confirm,
    Transaction,
    Commit,
    Rollback,
    Close,
}

/// Something sent on a channel whose effect is not known yet.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Octets sent on the connection with its last one.
    end: u64,
    /// Class and method id.
    ids: (u16, u16),
    /// Method id of the reply, in the same class; `None` if there is none.
    reply: Option<&'static [u16]>,
    may_fail: bool,
    effect: Effect,
}

/// A delivery that is not settled.
#[derive(Debug, Clone)]
pub(crate) struct Unsettled {
    pub(crate) consumer: Option<String>,
    pub(crate) id: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Consumer {
    pub(crate) no_ack: bool,
    pub(crate) prefetch: u16,
    pub(crate) unsettled: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    Confirm,
    Transaction,
}

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) is_open: bool,
    pub(crate) close_sent: bool,
    incarnation: u64,
    pub(crate) pending: VecDeque<Pending>,
    /// Frames of a publish that are still to be sent, and what it does then.
    pub(crate) rest_of_publish: VecDeque<Vec<u8>>,
    pub(crate) publish: Option<(Effect, bool)>,
    pub(crate) consumers: HashMap<String, Consumer>,
    pub(crate) unsettled: BTreeMap<u64, Unsettled>,
    pub(crate) mode: Mode,
    pub(crate) prefetch: u16,
    published: u64,
    confirmed: u64,
    returns_due: usize,
    tx_published: Vec<(Option<u64>, bool)>,
    tx_settled: Vec<(Vec<(u64, Unsettled)>, bool)>,
}

pub(crate) struct Client {
    pub(crate) number: usize,
    session: Session,
    pub(crate) mailbox: Weak<Mailbox>,
    ledger: Arc<Mutex<Ledger>>,
    access: Arc<Access>,
    wire: Wire,
    input: Vec<u8>,
    appended: u64,
    used: u64,
    out: Vec<u8>,
    pub(crate) channels: BTreeMap<u16, Channel>,
    incarnations: u64,
    /// Whether it was sent something of which nobody knows what it does.
    pub(crate) is_wild: bool,
    pub(crate) is_over: bool,
    close_sent: bool,
}

/// How often what a turn asked is answered, in parts, before that is too often.
const ROUNDS_MAX: usize = 10_000;
/// The queue whose messages are followed.
pub(crate) const FOLLOWED: &str = "followed";

impl Client {
    pub(crate) fn new(
        number: usize,
        node: &Arc<Node>,
        settings: Settings,
        (ledger, access): (&Arc<Mutex<Ledger>>, Arc<Access>),
        is_wild: bool,
        random: &mut Random,
    ) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let weak = Arc::downgrade(&mailbox);
        let session = Session::new(Arc::clone(node), Arc::new(settings), mailbox, Peer::local());
        let frame_max = random.pick(&[8192, 8192, 131_072]);
        // A damaged handshake may agree on more.
        let wire = Wire::new(usize::try_from(if is_wild { 131_072 } else { frame_max }).unwrap());
        let mut client = Self {
            number,
            session,
            mailbox: weak,
            ledger: Arc::clone(ledger),
            access,
            wire,
            input: Vec::new(),
            appended: 0,
            used: 0,
            out: Vec::new(),
            channels: BTreeMap::new(),
            incarnations: 0,
            is_wild,
            is_over: false,
            close_sent: false,
        };
        client.handshake(frame_max, random);
        client
    }

    fn handshake(&mut self, frame_max: u32, random: &mut Random) {
        let mut properties = Vec::new();
        TableWriter::new(&mut properties).table("capabilities", |table| {
            table.field("consumer_cancel_notify", Value::Bool(random.chance(80)));
            table.field("authentication_failure_close", Value::Bool(random.chance(50)));
        });
        let client_properties = Table::parse(&properties).unwrap();
        self.append(&ProtocolHeader::AMQP_0_9_1.octets());
        self.send(
            0,
            &ConnectionStartOk { client_properties, mechanism: "PLAIN", response: b"\0guest\0guest", locale: "" },
        );
        self.send(0, &ConnectionTuneOk { channel_max: 2047, frame_max, heartbeat: random.pick(&[0, 1, 60]) });
        self.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    pub(crate) fn holder(&self, number: u16) -> Holder {
        (self.number, self.channels[&number].incarnation)
    }

    /// Octets that are sent and not heard yet.
    pub(crate) fn unheard(&self) -> usize {
        self.input.len()
    }

    pub(crate) fn append(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        self.appended += octets.len() as u64;
    }

    pub(crate) fn send(&mut self, channel: u16, method: &impl Encode) {
        let mut octets = Vec::new();
        frame::write_method(&mut octets, channel, method);
        self.append(&octets);
    }

    /// Sends a method that is answered by one of these methods of its class, or closes the channel.
    pub(crate) fn call(&mut self, channel: u16, method: &impl Encode, reply: &'static [u16], effect: Effect) {
        self.send(channel, method);
        self.expect(channel, (method.class_id(), method.method_id()), Some(reply), true, effect);
    }

    /// Sends a method without an answer.
    pub(crate) fn tell(&mut self, channel: u16, method: &impl Encode, may_fail: bool, effect: Effect) {
        self.send(channel, method);
        self.expect(channel, (method.class_id(), method.method_id()), None, may_fail, effect);
    }

    pub(crate) fn expect(
        &mut self,
        channel: u16,
        ids: (u16, u16),
        reply: Option<&'static [u16]>,
        may_fail: bool,
        effect: Effect,
    ) {
        let pending = Pending { end: self.appended, ids, reply, may_fail, effect };
        self.channels.get_mut(&channel).unwrap().pending.push_back(pending);
    }

    /// A channel that the client is about to open.
    pub(crate) fn add_channel(&mut self, number: u16) {
        self.incarnations += 1;
        let channel = Channel {
            is_open: false,
            close_sent: false,
            incarnation: self.incarnations,
            pending: VecDeque::new(),
            rest_of_publish: VecDeque::new(),
            publish: None,
            consumers: HashMap::new(),
            unsettled: BTreeMap::new(),
            mode: Mode::Plain,
            prefetch: 0,
            published: 0,
            confirmed: 0,
            returns_due: 0,
            tx_published: Vec::new(),
            tx_settled: Vec::new(),
        };
        self.channels.insert(number, channel);
    }

    /// Sends the next frame of a publish; with the last one it counts as sent.
    pub(crate) fn send_piece(&mut self, number: u16) {
        let channel = self.channels.get_mut(&number).unwrap();
        let Some(piece) = channel.rest_of_publish.pop_front() else { return };
        let publish = if channel.rest_of_publish.is_empty() { channel.publish.take() } else { None };
        self.append(&piece);
        if let Some((effect, may_fail)) = publish {
            self.expect(number, (60, 40), None, may_fail, effect);
        }
    }

    /// Lets the session have some of what was sent, and checks what it makes of it.
    pub(crate) fn turn(&mut self, random: &mut Random) {
        if self.is_over {
            return;
        }
        if random.chance(80) {
            self.session.deliver(&mut self.out);
        }
        let count = if random.chance(70) { self.input.len() } else { random.below(self.input.len() + 1) };
        let mut start = 0;
        loop {
            start += self.session.receive(&self.input[start..count], &mut self.out);
            // What comes behind connection.close waits with it.
            if !self.session.is_held() || self.close_sent && self.session.is_stuck() {
                break;
            }
        }
        assert!(start <= count);
        let rest = &self.input[start..count];
        if self.session.ending().is_none() && !self.is_wild && self.session.is_open() {
            assert_eq!(Frame::decode(rest, usize::MAX), Ok(None), "a whole frame was left");
        }
        self.input.drain(..start);
        self.used += start as u64;
        if self.session.tick_interval().is_some() && random.chance(10) {
            self.session.tick(!self.is_wild || random.chance(90), random.chance(50), &mut self.out);
        }
        self.session.end_turn(&mut self.out);
        let mut rounds = 0;
        while self.access.answer(random) || self.session.is_due() {
            self.session.deliver(&mut self.out);
            self.session.end_turn(&mut self.out);
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "it asks for ever");
        }
        if random.chance(5) {
            self.session.shrink();
        }
        self.session.take_resumed();
        if let Some(pause) = self.session.take_pause()
            && random.chance(30)
        {
            pause.cell.pause_timed_out(pause.delivered);
        }
        let out = std::mem::take(&mut self.out);
        for sent in self.wire.take(&out) {
            self.sent(&sent);
        }
        self.heard();
        if self.session.ending().is_some() {
            assert!(self.is_wild || self.close_sent, "the connection ended");
            self.gone();
        }
    }

    /// Ends it, whatever it was doing.
    pub(crate) fn gone(&mut self) {
        self.is_over = true;
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for number in numbers {
            self.drop_channel(number);
        }
        self.session.terminate();
    }

    pub(crate) fn close(&mut self) {
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for number in numbers {
            self.doubt_all(number);
        }
        self.close_sent = true;
        let close = leveret_protocol::amqp091::method::ConnectionClose {
            reply_code: 200,
            reply_text: "",
            class_id: 0,
            method_id: 0,
        };
        self.send(0, &close);
    }

    /// What the channel holds may be the queue's again at any time.
    pub(crate) fn doubt_all(&mut self, number: u16) {
        let channel = &self.channels[&number];
        let mut ledger = self.ledger();
        channel.unsettled.values().filter_map(|unsettled| unsettled.id).for_each(|id| ledger.doubt(id));
    }

    fn drop_channel(&mut self, number: u16) {
        if self.channels.contains_key(&number) {
            let holder = self.holder(number);
            self.ledger().release(holder);
            self.channels.remove(&number);
        }
    }

    fn sent(&mut self, sent: &Sent<'_>) {
        let number = sent.channel;
        match &sent.method {
            Method::ConnectionClose(close) => {
                assert!(self.is_wild, "the server closed the connection: {close:?}");
                self.send(0, &ConnectionCloseOk {});
            }
            Method::ChannelClose(close) => {
                if !self.is_wild {
                    self.failed(number, (close.class_id, close.method_id), close.reply_text);
                }
                let close_sent = self.channels.get(&number).is_some_and(|channel| channel.close_sent);
                if !close_sent || self.is_wild {
                    self.drop_channel(number);
                }
                self.send(number, &ChannelCloseOk {});
            }
            // The answer to a close that crossed with the server's, or the server's only one.
            Method::ChannelCloseOk(_) => {
                if !self.is_wild {
                    self.replied(number, (20, 41));
                }
                self.drop_channel(number);
            }
            _ if number == 0 || self.is_wild && !self.channels.contains_key(&number) => {}
            Method::BasicDeliver(deliver) => {
                self.delivered(number, Some(deliver.consumer_tag), deliver.delivery_tag, deliver.redelivered, sent);
            }
            Method::BasicGetOk(ok) => {
                self.replied(number, (60, 71));
                self.delivered(number, None, ok.delivery_tag, ok.redelivered, sent);
            }
            _ if self.is_wild => {
                if let (Method::ChannelOpenOk(_), Some(channel)) = (&sent.method, self.channels.get_mut(&number)) {
                    channel.is_open = true;
                }
            }
            Method::BasicReturn(_) => {
                // What led to it may still be pending.
                self.channels.get_mut(&number).unwrap().returns_due =
                    self.channels[&number].returns_due.wrapping_sub(1);
            }
            Method::BasicAck(ack) => {
                let channel = self.channels.get_mut(&number).unwrap();
                assert!(ack.delivery_tag > channel.confirmed, "{ack:?} after {}", channel.confirmed);
                channel.confirmed = ack.delivery_tag;
            }
            Method::BasicCancel(cancel) => {
                let channel = self.channels.get_mut(&number).unwrap();
                let known = channel.consumers.remove(cancel.consumer_tag).is_some();
                let tag = |pending: &Pending| match &pending.effect {
                    Effect::Consume { tag, .. } | Effect::Cancel { tag } => tag == cancel.consumer_tag,
                    _ => false,
                };
                assert!(known || channel.pending.iter().any(tag), "{cancel:?}");
            }
            method => self.replied(number, method.ids()),
        }
    }

    /// A reply came: what was sent before it has been heard, and it is the answer to what comes next.
    fn replied(&mut self, number: u16, ids: (u16, u16)) {
        if self.is_wild {
            return;
        }
        loop {
            let channel = self.channels.get_mut(&number).unwrap_or_else(|| panic!("{ids:?} on channel {number}"));
            let Some(pending) = channel.pending.pop_front() else { panic!("{ids:?} without need") };
            if let Some(reply) = pending.reply {
                assert!(pending.ids.0 == ids.0 && reply.contains(&ids.1), "{ids:?} for {pending:?}");
                self.apply(number, pending.effect, ids);
                return;
            }
            self.apply(number, pending.effect, (0, 0));
        }
    }

    /// The server closed the channel because of such a method.
    fn failed(&mut self, number: u16, ids: (u16, u16), text: &str) {
        loop {
            let channel = self.channels.get_mut(&number).unwrap();
            let Some(pending) = channel.pending.pop_front() else { panic!("closed by nothing, {ids:?}: {text}") };
            if pending.may_fail && pending.ids == ids {
                break;
            }
            assert!(pending.reply.is_none(), "closed by {ids:?} ({text}) instead of an answer to {pending:?}");
            self.apply(number, pending.effect, (0, 0));
        }
        let channel = self.channels.get_mut(&number).unwrap();
        // Nothing after it was looked at but a close that crossed.
        channel.pending.retain(|pending| matches!(pending.effect, Effect::Close));
        channel.unsettled.clear();
        channel.rest_of_publish.clear();
        let holder = self.holder(number);
        self.ledger().release(holder);
    }

    /// Everything whose last octet was used has had its effect.
    fn heard(&mut self) {
        if self.is_wild {
            return;
        }
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for number in numbers {
            while let Some(channel) = self.channels.get_mut(&number)
                && let Some(pending) = channel.pending.front()
                && pending.end <= self.used
            {
                assert!(self.close_sent || pending.reply.is_none(), "no answer to {pending:?} on channel {number}");
                let Some(pending) = channel.pending.pop_front() else { break };
                if pending.reply.is_none() {
                    self.apply(number, pending.effect, (0, 0));
                }
            }
            let Some(channel) = self.channels.get(&number) else { continue };
            if channel.is_open && !channel.close_sent && !self.close_sent {
                assert_eq!(channel.confirmed, channel.published, "confirms on channel {number}");
                assert_eq!(channel.returns_due, 0, "returns on channel {number}");
            }
        }
    }

    fn apply(&mut self, number: u16, effect: Effect, reply: (u16, u16)) {
        let holder = self.holder(number);
        let ledger = Arc::clone(&self.ledger);
        let channel = self.channels.get_mut(&number).unwrap();
        match effect {
            Effect::Nothing if reply == (20, 11) => channel.is_open = true,
            Effect::Nothing | Effect::Close => {}
            Effect::Get { .. } if reply == (60, 72) => {}
            Effect::Get { no_ack } => {
                // The delivery that follows is told whether it is settled by this.
                channel.consumers.insert(String::new(), Consumer { no_ack, ..Consumer::default() });
            }
            Effect::Publish { id, comes_back } if channel.mode == Mode::Transaction => {
                channel.tx_published.push((id, comes_back));
            }
            Effect::Publish { id, comes_back } => {
                channel.published += u64::from(channel.mode == Mode::Confirm);
                channel.returns_due = channel.returns_due.wrapping_add(usize::from(comes_back));
                if let Some(id) = id {
                    ledger.lock().unwrap().published(id);
                }
            }
            Effect::Settle { settled, requeue } if channel.mode == Mode::Transaction => {
                channel.tx_settled.push((settled, requeue));
            }
            Effect::Settle { settled, requeue } => end_all(&ledger, settled, requeue),
            Effect::Recover => {
                for (_, unsettled) in std::mem::take(&mut channel.unsettled) {
                    let consumer = unsettled.consumer.and_then(|tag| channel.consumers.get_mut(&tag));
                    if let Some(consumer) = consumer {
                        consumer.unsettled -= 1;
                    }
                }
                ledger.lock().unwrap().release(holder);
            }
            Effect::Consume { tag, consumer } => {
                channel.consumers.insert(tag, consumer);
            }
            Effect::Cancel { tag } => {
                channel.consumers.remove(&tag);
            }
            Effect::Confirm => channel.mode = Mode::Confirm,
            Effect::Transaction => channel.mode = Mode::Transaction,
            Effect::Commit => {
                for (id, comes_back) in channel.tx_published.drain(..) {
                    channel.returns_due = channel.returns_due.wrapping_add(usize::from(comes_back));
                    if let Some(id) = id {
                        ledger.lock().unwrap().published(id);
                    }
                }
                for (settled, requeue) in channel.tx_settled.drain(..) {
                    end_all(&ledger, settled, requeue);
                }
            }
            Effect::Rollback => {
                channel.tx_published.clear();
                for (tag, unsettled) in channel.tx_settled.drain(..).flat_map(|(settled, _)| settled) {
                    if let Some(id) = unsettled.id {
                        ledger.lock().unwrap().held_again(id, holder);
                    }
                    let consumer = unsettled.consumer.as_ref().and_then(|tag| channel.consumers.get_mut(tag));
                    if let Some(consumer) = consumer {
                        consumer.unsettled += 1;
                    }
                    channel.unsettled.insert(tag, unsettled);
                }
            }
        }
    }

    fn delivered(&mut self, number: u16, consumer: Option<&str>, tag: u64, redelivered: bool, sent: &Sent<'_>) {
        let id = sent.body.strip_prefix(b"F").and_then(|rest| rest.first_chunk()).map(|id| u64::from_be_bytes(*id));
        if self.is_wild {
            if let Some(channel) = self.channels.get_mut(&number) {
                channel.unsettled.insert(tag, Unsettled { consumer: None, id: None });
            }
            return;
        }
        let holder = self.holder(number);
        let channel = self.channels.get_mut(&number).unwrap();
        let name = consumer.unwrap_or_default();
        if !channel.consumers.contains_key(name) {
            // A consume without an answer takes effect without a word.
            let starts_it = |pending: &Pending| match &pending.effect {
                Effect::Consume { tag, .. } => tag == name && pending.reply.is_none(),
                _ => false,
            };
            let at = channel.pending.iter().position(starts_it);
            let at = at.unwrap_or_else(|| panic!("delivery to unknown consumer {name:?} on channel {number}"));
            assert!(channel.pending.iter().take(at).all(|pending| pending.reply.is_none()), "{name} comes too early");
            let Some(Effect::Consume { tag, consumer }) =
                channel.pending.get_mut(at).map(|pending| std::mem::replace(&mut pending.effect, Effect::Nothing))
            else {
                return;
            };
            channel.consumers.insert(tag, consumer);
        }
        let consumer = channel.consumers.get_mut(name).unwrap();
        let no_ack = consumer.no_ack;
        if !no_ack {
            consumer.unsettled += 1;
            let (unsettled, prefetch) = (consumer.unsettled, consumer.prefetch);
            assert!(prefetch == 0 || unsettled <= prefetch, "{unsettled} deliveries with a prefetch of {prefetch}");
            let consumer = Some(name.to_owned()).filter(|name| !name.is_empty());
            channel.unsettled.insert(tag, Unsettled { consumer, id });
        }
        if let Some(id) = id {
            self.ledger().delivered(id, holder, redelivered, no_ack);
        }
    }
}

fn end_all(ledger: &Mutex<Ledger>, settled: Vec<(u64, Unsettled)>, requeue: bool) {
    let mut ledger = ledger.lock().unwrap();
    let ids = settled.into_iter().filter_map(|(_, unsettled)| unsettled.id);
    if !requeue {
        ids.for_each(|id| ledger.gone(id));
    }
}

impl Pending {
    pub(crate) fn is_quiet_and_may_fail(&self) -> bool {
        self.may_fail && self.reply.is_none()
    }

    /// Whether it changes what is unsettled in a way that is not known before its answer.
    pub(crate) fn changes_unsettled(&self) -> bool {
        matches!(self.effect, Effect::Recover | Effect::Rollback)
    }

    pub(crate) fn selects_transaction(&self) -> bool {
        matches!(self.effect, Effect::Transaction)
    }
}

impl Client {
    /// Changes an octet of what is sent and not heard.
    pub(crate) fn damage(&mut self, random: &mut Random) {
        if self.input.is_empty() {
            return;
        }
        let at = random.below(self.input.len());
        self.input[at] = random.next().to_le_bytes()[0];
    }
}
