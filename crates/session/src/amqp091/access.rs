//! What the user may do: what each method needs, and the answers that are known.
//!
//! Publishes are checked when their route is found, and everything else before it is done. An answer that takes a while parks
//! the channel; once it is there, what needed it is handled anew and finds it.

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use std::sync::Arc;

use leveret_broker::access::{Answer, Identity, Outcome, Permission, Question, Reply, Secret, tags};
use leveret_broker::clock::Timestamp;
use leveret_broker::exchange::ExchangeKind;
use leveret_broker::message::Message;
use leveret_broker::switches::Part;
use leveret_broker::topology::clean_name;
use leveret_broker::{Error, Name};
use leveret_protocol::amqp091::method::{
    BasicCancel, ConnectionUpdateSecret, ConnectionUpdateSecretOk, ExchangeDeclare, QueueDeclare,
};
use leveret_protocol::amqp091::{Method, ReplyCode, Value, frame};

use super::fault::Fault;
use super::reply_to::{REPLY_TO, is_reply_name};
use super::settings::Mechanism;
use super::sources::SourceKind;
use super::{Handled, Phase, Session};

/// Answers that are kept; with more, all of them are forgotten.
const ANSWERS_MAX: usize = 1024;
/// The same while a channel is parked. A message may need one for each key that its headers have room for.
const ANSWERS_PARKED_MAX: usize = 64 * 1024;
/// Ids of connection.update-secret.
const UPDATE_SECRET: (u16, u16) = (10, 70);

/// Why something is not done now.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is not allowed, or wrong.
    Fault(Fault),
    /// Somebody was asked and has yet to answer.
    Waiting,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Fault(error.into())
    }
}

/// Shorthand of every check.
pub(super) type Permitted = Result<(), Refusal>;

/// What a question is about. The vhost is always the connection's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum About {
    /// The vhost itself.
    Vhost,
    Queue,
    Exchange,
    /// The routing key of a topic exchange.
    Topic,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Subject {
    about: About,
    permission: Permission,
    name: Name,
    routing_key: Name,
}

/// A [`Subject`] that need not be allocated to be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SubjectRef<'a> {
    about: About,
    permission: Permission,
    name: &'a str,
    routing_key: &'a str,
}

impl Equivalent<Subject> for SubjectRef<'_> {
    fn equivalent(&self, key: &Subject) -> bool {
        self.about == key.about
            && self.permission == key.permission
            && *self.name == *key.name
            && *self.routing_key == *key.routing_key
    }
}

impl From<SubjectRef<'_>> for Subject {
    fn from(SubjectRef { about, permission, name, routing_key }: SubjectRef<'_>) -> Self {
        Self { about, permission, name: name.into(), routing_key: routing_key.into() }
    }
}

impl SubjectRef<'_> {
    fn question(self, vhost: &Name) -> Question {
        match self.about {
            About::Vhost => Question::Vhost { vhost: Name::clone(vhost) },
            About::Queue => Question::queue(self.permission, vhost, self.name),
            About::Exchange => Question::exchange(self.permission, vhost, self.name),
            About::Topic => Question::topic(self.permission, vhost, self.name, self.routing_key),
        }
    }
}

/// Whether a user may be refused some routing keys of an exchange that it may publish to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// It may use all.
    Free,
    /// The exchange is one of topics.
    Checked,
}

/// An exchange that the user may publish to.
#[derive(Debug)]
struct LastPublish {
    /// The topology's generation that this holds for, as for a route in the cache.
    generation: u64,
    exchange: Box<str>,
    keys: Keys,
}

/// What is known of the user, and what has been asked.
#[derive(Debug, Default)]
pub(super) struct Access {
    identity: Option<Identity>,
    /// The generation of users that the answers are of.
    generation: u64,
    answers: HashMap<Subject, Answer, RandomState>,
    /// The exchange that was published to last, along a route that was not known.
    last_publish: Option<LastPublish>,
    /// When the answers have to be asked for again.
    stale_at: Option<Timestamp>,
    /// Questions that nobody has answered yet, with their tickets.
    asked: HashMap<Subject, u64, RandomState>,
    /// Answers that are to come, some of them perhaps to questions that do not matter any more.
    outstanding: usize,
    /// Tickets that were given.
    tickets: u64,
    /// The ticket of the login, or of the new secret, that is being looked at.
    verifying: Option<u64>,
    /// Whether the client wants to close the connection and questions before that have no answer yet.
    pub(super) is_closing: bool,
    /// Consumers of which it is not known yet whether they may go on, as what the user may do has changed.
    reviewing: Vec<u32>,
    /// Whether a password or token came since the input was wiped.
    pub(super) saw_secret: bool,
}

impl Access {
    /// Whether answers are to come.
    pub(super) fn is_waiting(&self) -> bool {
        self.outstanding > 0
    }

    /// Whether the user has a tag.
    fn has_tag(&self, tag: &str) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.has_tag(tag))
    }

    /// When something has to be done about it without anybody asking.
    fn due(&self) -> Option<Timestamp> {
        let expires = self.identity.as_ref().and_then(|identity| identity.expires);
        [expires, self.stale_at].into_iter().flatten().min()
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn forget(&mut self) {
        self.answers.clear();
        self.last_publish = None;
        self.asked.clear();
        self.stale_at = None;
    }

    /// Forgets answers of another generation.
    fn validate(&mut self, generation: u64) {
        if self.generation != generation {
            self.forget();
            self.generation = generation;
        }
    }
}

impl Session {
    /// Whether a password or token is in the input that was received since the last call; it is to be wiped.
    pub fn take_saw_secret(&mut self) -> bool {
        std::mem::take(&mut self.access.saw_secret)
    }

    /// Whether nothing more is taken in before somebody has said who the client is or what it may.
    pub(super) fn awaits_answers(&self) -> bool {
        match self.phase {
            Phase::Verifying | Phase::Asking => true,
            // What comes behind connection.close does not count.
            Phase::Running => self.access.is_closing,
            Phase::Header | Phase::Starting | Phase::Tuning | Phase::Opening | Phase::Closing | Phase::Over => false,
        }
    }

    /// A fresh ticket, and where the answer to it is to go.
    pub(super) fn reply(&mut self) -> (u64, Reply) {
        let ticket = self.access.ticket();
        (ticket, Reply::new(Arc::clone(&self.mailbox), ticket))
    }

    /// Waits for the outcome of a login or of a new secret.
    pub(super) fn await_verification(&mut self, ticket: u64) {
        self.access.verifying = Some(ticket);
    }

    pub(super) fn set_identity(&mut self, identity: Identity) {
        self.user = Name::clone(&identity.name);
        self.access.forget();
        self.access.identity = Some(identity);
    }

    /// When the credentials expire or answers have to be asked for again.
    pub(super) fn access_due(&self) -> Option<Timestamp> {
        self.access.due().filter(|_| self.phase == Phase::Running)
    }

    /// Something that was asked has come.
    pub(super) fn access_outcome(&mut self, ticket: u64, outcome: &Outcome, out: &mut Vec<u8>) {
        match outcome {
            Outcome::LoggedIn(result) => {
                if self.phase == Phase::Verifying && self.access.verifying == Some(ticket) {
                    self.access.verifying = None;
                    self.logged_in(result.clone(), out);
                }
            }
            Outcome::Renewed(result) => {
                if self.phase == Phase::Running && self.access.verifying == Some(ticket) {
                    self.access.verifying = None;
                    let renewed = result.clone().map_err(|error| Fault::new(ReplyCode::NotAllowed, error));
                    if let Err(fault) = renewed.and_then(|identity| self.renewed(identity, out)) {
                        self.close_with(&fault, UPDATE_SECRET, out);
                    }
                }
            }
            Outcome::Answered(_, answer) => {
                self.access.outstanding = self.access.outstanding.saturating_sub(1);
                let asked = self.access.asked.extract_if(|_, asked| *asked == ticket).next();
                if let Some((key, _)) = asked {
                    self.keep_answer(key, answer.clone());
                }
                // What needed an answer that is out of date asks again.
                self.answered(out);
            }
        }
    }

    fn answered(&mut self, out: &mut Vec<u8>) {
        match self.phase {
            Phase::Asking => {
                if let Err(fault) = self.enter_vhost(out) {
                    self.close_with(&fault, super::handshake::OPEN, out);
                }
            }
            Phase::Running => {
                self.parking.has_moved = true;
                self.go_on_reviewing(out);
            }
            Phase::Header
            | Phase::Starting
            | Phase::Verifying
            | Phase::Tuning
            | Phase::Opening
            | Phase::Closing
            | Phase::Over => {}
        }
    }

    fn keep_answer(&mut self, key: Subject, answer: Answer) {
        // What waits may need more of them together: if they were forgotten, it would ask for ever.
        let max = if self.parking.channels.is_empty() { ANSWERS_MAX } else { ANSWERS_PARKED_MAX };
        if self.access.answers.len() >= max {
            self.access.answers.clear();
        }
        if self.access.stale_at.is_none() {
            let identity = self.access.identity.as_ref();
            let ms = identity.and_then(|identity| identity.authority.answers_expire_after_ms());
            self.access.stale_at = ms.map(|ms| self.node.now().plus_ms(ms));
        }
        self.access.answers.insert(key, answer);
    }

    /// The generation of users that the answers are of.
    pub(super) fn access_generation(&self) -> u64 {
        self.access.generation
    }

    /// Whether the user may open the connection's vhost.
    pub(super) fn need_vhost(&mut self) -> Permitted {
        let key = SubjectRef { about: About::Vhost, permission: Permission::Configure, name: "", routing_key: "" };
        self.ask(key)?.into_permitted()
    }

    fn need(&mut self, permission: Permission, about: About, name: &str) -> Permitted {
        self.ask(SubjectRef { about, permission, name, routing_key: "" })?.into_permitted()
    }

    fn need_topic(&mut self, permission: Permission, exchange: &str, routing_key: &str) -> Permitted {
        self.ask(SubjectRef { about: About::Topic, permission, name: exchange, routing_key })?.into_permitted()
    }

    /// Any right will do; without any, nobody is told whether there is such a thing.
    fn need_any(&mut self, about: About, name: &str) -> Permitted {
        let mut refused = Vec::new();
        for permission in Permission::ALL {
            let key = SubjectRef { about, permission, name, routing_key: "" };
            match self.ask(key) {
                Ok(Asked::Allowed) => return Ok(()),
                Ok(Asked::Refused(error)) => refused.push((key, error)),
                Err(refusal) => {
                    // They count together with the one that is to come.
                    for (key, error) in refused {
                        if let Error::Refused { answer, .. } = error {
                            self.keep_answer(key.into(), *answer);
                        }
                    }
                    return Err(refusal);
                }
            }
        }
        refused.into_iter().next().map_or(Ok(()), |(_, error)| Err(error.into()))
    }

    /// Asks, unless it is known.
    #[inline]
    fn ask(&mut self, key: SubjectRef<'_>) -> Result<Asked, Refusal> {
        self.access.validate(self.node.access_generation());
        if let Some(Answer::Allowed) = self.access.answers.get(&key) {
            return Ok(Asked::Allowed);
        }
        self.ask_authority(key)
    }

    fn ask_authority(&mut self, key: SubjectRef<'_>) -> Result<Asked, Refusal> {
        if self.access.asked.contains_key(&key) {
            return Err(Refusal::Waiting);
        }
        let question = key.question(&self.vhost);
        // A refusal that came later is told once, and asked for again when it is needed again.
        let answer = match self.access.answers.remove(&key) {
            Some(answer) => Some(answer),
            None => self.put(&question),
        };
        let Some(answer) = answer else {
            self.access.asked.insert(key.into(), self.access.tickets);
            self.access.outstanding += 1;
            return Err(Refusal::Waiting);
        };
        if answer.is_allowed() {
            self.keep_answer(key.into(), answer);
            return Ok(Asked::Allowed);
        }
        Ok(Asked::refused(question, &self.user, answer))
    }

    /// Puts a question to whoever knows. Without an answer, that comes under the ticket given last.
    fn put(&mut self, question: &Question) -> Option<Answer> {
        let authority = self.access.identity.as_ref().map(|identity| Arc::clone(&identity.authority));
        let Some(authority) = authority else { return Some(Answer::REFUSED) };
        let (_, reply) = self.reply();
        authority.ask(question, reply)
    }

    /// Checks that the user may do what a method asks for, in RabbitMQ's order. What is wrong with the method itself before its
    /// rights count is left to its handler, which says so.
    pub(super) fn permit(&mut self, number: u16, method: &Method<'_>) -> Permitted {
        use About::{Exchange, Queue};
        use Permission::{Configure, Read};
        match method {
            Method::ExchangeDeclare(declare) => self.permit_exchange_declare(declare),
            Method::ExchangeDelete(delete) => {
                let name = clean_name(delete.exchange);
                // Neither can be deleted by anybody.
                if name.is_empty() || name.starts_with("amq.") {
                    return Ok(());
                }
                self.need(Configure, Exchange, &name)
            }
            Method::ExchangeBind(bind) => {
                self.permit_binding(Exchange, &clean_name(bind.destination), bind.source, bind.routing_key)
            }
            Method::ExchangeUnbind(unbind) => {
                self.permit_binding(Exchange, &clean_name(unbind.destination), unbind.source, unbind.routing_key)
            }
            Method::QueueDeclare(declare) => self.permit_queue_declare(number, declare),
            Method::QueueBind(bind) => {
                let (queue, routing_key) = self.binding_ends(number, bind.queue, bind.routing_key)?;
                self.permit_binding(Queue, &queue, bind.exchange, &routing_key)
            }
            Method::QueueUnbind(unbind) => {
                let (queue, routing_key) = self.binding_ends(number, unbind.queue, unbind.routing_key)?;
                self.permit_binding(Queue, &queue, unbind.exchange, &routing_key)
            }
            Method::QueuePurge(purge) => {
                let name = self.queue_name(number, purge.queue)?;
                self.need(Read, Queue, &name)
            }
            Method::QueueDelete(delete) => {
                let name = self.queue_name(number, &clean_name(delete.queue))?;
                self.need(Configure, Queue, &name)
            }
            Method::BasicConsume(consume) => {
                let name = self.queue_name(number, consume.queue)?;
                let is_reused = self
                    .channels
                    .get_mut(number)
                    .is_some_and(|channel| channel.consumer(consume.consumer_tag).is_some());
                if &*name == REPLY_TO || is_reused {
                    return Ok(());
                }
                self.need(Read, Queue, &name)
            }
            Method::BasicGet(get) => {
                let name = self.queue_name(number, get.queue)?;
                self.need(Read, Queue, &name)
            }
            // Publishes are checked on their way, and what remains needs nothing.
            _ => Ok(()),
        }
    }

    fn permit_exchange_declare(&mut self, declare: &ExchangeDeclare<'_>) -> Permitted {
        let name = clean_name(declare.exchange);
        if name.is_empty() {
            return Ok(());
        }
        if declare.passive {
            return self.need_any(About::Exchange, &name);
        }
        if self.node.switches().exchange_kind(declare.kind).is_err() {
            return Ok(());
        }
        self.need(Permission::Configure, About::Exchange, &name)?;
        let Some(alternate) = text(declare.arguments.get("alternate-exchange")) else { return Ok(()) };
        if self.node.read(|topology| topology.vhost(&self.vhost).is_ok_and(|vhost| vhost.exchange(&name).is_ok())) {
            return Ok(());
        }
        self.need(Permission::Read, About::Exchange, &name)?;
        self.need(Permission::Write, About::Exchange, alternate)
    }

    fn permit_queue_declare(&mut self, number: u16, declare: &QueueDeclare<'_>) -> Permitted {
        if is_reply_name(declare.queue) {
            return Ok(());
        }
        let name = self.declared_name(number, declare)?;
        if declare.passive {
            return self.need_any(About::Queue, &name);
        }
        let exists =
            self.node.read(|topology| topology.vhost(&self.vhost).is_ok_and(|vhost| vhost.any_queue(&name).is_ok()));
        let is_reserved = name.starts_with("amq.") && !exists && !clean_name(declare.queue).is_empty();
        let dead_letters_to = declare.arguments.get("x-dead-letter-exchange");
        let dead_letter_exchange = text(dead_letters_to);
        if is_reserved || dead_letters_to.is_some() != dead_letter_exchange.is_some() {
            return Ok(());
        }
        self.need(Permission::Configure, About::Queue, &name)?;
        match dead_letter_exchange {
            Some(exchange) if !exists => {
                self.need(Permission::Read, About::Queue, &name)?;
                self.need(Permission::Write, About::Exchange, exchange)
            }
            _ => Ok(()),
        }
    }

    /// A binding writes to what it leads to, and reads from where it comes from.
    fn permit_binding(&mut self, about: About, destination: &str, source: &str, routing_key: &str) -> Permitted {
        self.need(Permission::Write, about, destination)?;
        let source = clean_name(source);
        if source.is_empty() || (about == About::Exchange && destination.is_empty()) {
            return Ok(());
        }
        self.need(Permission::Read, About::Exchange, &source)?;
        let is_topic = self.node.read(|topology| {
            let exchange = topology.vhost(&self.vhost).and_then(|vhost| vhost.exchange(&source));
            exchange.is_ok_and(|exchange| exchange.kind() == ExchangeKind::Topic)
        });
        if is_topic { self.need_topic(Permission::Read, &source, routing_key) } else { Ok(()) }
    }

    /// Checks that the user may publish to an exchange, and that anybody may. Says whether its routing keys have to be checked.
    pub(super) fn permit_publish(&mut self, exchange: &str) -> Result<Keys, Refusal> {
        // Where routes are not kept, every message comes this way.
        let generation = self.routes.generation();
        if let Some(last) = &self.access.last_publish
            && last.generation == generation
            && *last.exchange == *exchange
        {
            return Ok(last.keys);
        }
        self.need(Permission::Write, About::Exchange, exchange)?;
        let keys = self.node.read(|topology| {
            let vhost = topology.vhost(&self.vhost)?;
            let exchange = vhost.exchange(exchange)?;
            exchange.check_publish(vhost.name())?;
            Ok::<_, Error>(if exchange.kind() == ExchangeKind::Topic { Keys::Checked } else { Keys::Free })
        })?;
        self.access.last_publish = Some(LastPublish { generation, exchange: exchange.into(), keys });
        Ok(keys)
    }

    /// Checks that the user may publish with the keys of a message, if that matters.
    pub(super) fn permit_topics(&mut self, keys: Keys, message: &Message, extra_keys: &[String]) -> Permitted {
        if keys == Keys::Free {
            return Ok(());
        }
        for key in std::iter::once(message.routing_key()).chain(extra_keys.iter().map(String::as_str)) {
            self.need_topic(Permission::Write, message.exchange(), key)?;
        }
        Ok(())
    }

    /// The name that the property user-id of the user's messages has to have, if any does.
    pub(super) fn required_user_id(&self) -> Option<&str> {
        (!self.access.has_tag(tags::IMPERSONATOR)).then_some(&self.user)
    }

    /// The client has a new secret.
    pub(super) fn update_secret(&mut self, update: &ConnectionUpdateSecret<'_>, out: &mut Vec<u8>) -> Handled {
        self.access.saw_secret = true;
        // Others look at it, and have only so much room: nobody may give them one after the other without waiting.
        if self.access.verifying.is_some() {
            return Err(Fault::new(ReplyCode::CommandInvalid, "the secret before this one is still being looked at"));
        }
        let Some(authority) = self.access.identity.as_ref().map(|identity| Arc::clone(&identity.authority)) else {
            return Ok(());
        };
        self.told.secret_reason = update.reason.into();
        let (ticket, reply) = self.reply();
        match authority.renew(Secret::new(update.new_secret), reply) {
            Some(Ok(identity)) => self.renewed(identity, out),
            Some(Err(error)) => Err(Fault::new(ReplyCode::NotAllowed, error)),
            None => {
                self.await_verification(ticket);
                Ok(())
            }
        }
    }

    /// A new secret was taken. What the user may do is found out anew, and what it may no more ends.
    fn renewed(&mut self, identity: Identity, out: &mut Vec<u8>) -> Handled {
        self.flush(out);
        self.routes.clear();
        self.set_identity(identity);
        match self.need_vhost() {
            // Who has to be asked first will refuse what is done next.
            Ok(()) | Err(Refusal::Waiting) => {}
            Err(Refusal::Fault(fault)) => return Err(fault),
        }
        self.review_consumers(out);
        self.log_new_secret();
        frame::write_method(out, 0, &ConnectionUpdateSecretOk {});
        Ok(())
    }

    /// Cancels the consumers whose queue the user may not read any more.
    pub(super) fn review_consumers(&mut self, out: &mut Vec<u8>) {
        self.access.reviewing = self.sources.keys();
        self.go_on_reviewing(out);
    }

    fn go_on_reviewing(&mut self, out: &mut Vec<u8>) {
        for key in std::mem::take(&mut self.access.reviewing) {
            let Some(source) = self.sources.get(key).filter(|source| source.live) else { continue };
            let SourceKind::Consumer { queue, .. } = source.kind() else { continue };
            let (number, tag, queue) = (source.channel, Name::clone(&source.tag), Name::clone(&queue.info().name));
            match self.need(Permission::Read, About::Queue, &queue) {
                Ok(()) => {}
                Err(Refusal::Waiting) => self.access.reviewing.push(key),
                Err(Refusal::Fault(fault)) => {
                    self.log_cancel(number, &tag, fault.text());
                    let cancel = BasicCancel { consumer_tag: &tag, no_wait: true };
                    self.cancel(number, &cancel, out);
                    if self.capabilities.consumer_cancel_notify {
                        frame::write_method(out, number, &cancel);
                    }
                }
            }
        }
    }

    /// Does what has to be done when its time has come: ends a connection whose credentials expired, asks again for what was
    /// answered long ago.
    pub(super) fn check_access(&mut self, out: &mut Vec<u8>) {
        let Some(due) = self.access_due() else { return };
        let now = self.node.now();
        if due > now {
            return;
        }
        let expires = self.access.identity.as_ref().and_then(|identity| identity.expires);
        if expires.is_some_and(|expires| expires <= now) {
            let fault = Fault::new(ReplyCode::ConnectionForced, "credential expired");
            self.close_with(&fault, super::NO_METHOD, out);
            return;
        }
        self.flush(out);
        self.routes.clear();
        self.access.answers.clear();
        self.access.last_publish = None;
        self.access.stale_at = None;
    }

    /// The mechanisms that this client is offered.
    pub(super) fn mechanisms(&self) -> String {
        let offered = self.settings.mechanisms.iter().filter(|mechanism| self.is_offered(**mechanism));
        offered.map(|mechanism| mechanism.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Whether a mechanism can be used. A client without a certificate that asks for one to be used is told so.
    pub(super) fn is_offered(&self, mechanism: Mechanism) -> bool {
        let can_use = || self.peer.tls.is_some() && self.node.switches().is_on(Part::External);
        self.settings.mechanisms.contains(&mechanism) && (mechanism != Mechanism::External || can_use())
    }
}

/// What asking came to.
enum Asked {
    Allowed,
    Refused(Error),
}

impl Asked {
    fn refused(question: Question, user: &Name, answer: Answer) -> Self {
        let (question, answer) = (Box::new(question), Box::new(answer));
        Self::Refused(Error::Refused { user: Name::clone(user), question, answer })
    }

    fn into_permitted(self) -> Permitted {
        match self {
            Self::Allowed => Ok(()),
            Self::Refused(error) => Err(error.into()),
        }
    }
}

/// The text of an argument that has to be one.
fn text(value: Option<Value<'_>>) -> Option<&str> {
    match value? {
        Value::LongStr(octets) => std::str::from_utf8(octets).ok(),
        _ => None,
    }
}
