//! From basic.publish and its content to the batches of the queues it is routed to.

use leveret_broker::clock::Timestamp;
use leveret_broker::message::{Draft, Message};
use leveret_broker::node::Routed;
use leveret_broker::topology::RoutingInput;
use leveret_broker::{Name, Weight};
use leveret_protocol::amqp091::method::{BasicPublish, BasicReturn};
use leveret_protocol::amqp091::{CLASS_BASIC, ContentHeader, RawProperties, ReplyCode, frame};

use super::access::{Keys, Refusal};
use super::channel::{Channel, Expecting, Held, Mode, Publishing};
use super::dispatch::expected_method;
use super::fault::{self, Fault};
use super::properties::{self, Examined};
use super::reply_to::is_reply_token;
use super::routes::{Hints, Origin};
use super::settings::BODY_SIZE_MAX;
use super::{BasicProperties, Handled, NO_METHOD, PUBLISH, Session};

/// The delivery mode of a message that is to survive a restart.
pub(super) const PERSISTENT: u8 = 2;
/// Octets a draft's buffer keeps between messages.
const DRAFT_KEPT: usize = 128 * 1024;

/// Where a message goes.
pub(super) enum Destination {
    /// Along a route of the cache.
    Route(u32),
    /// To these queues and consumers of direct replies, this time.
    Once(Held),
}

type Content = Result<(), ((u16, u16), Fault)>;

impl Session {
    #[inline]
    pub(super) fn publish(&mut self, number: u16, publish: &BasicPublish<'_>) {
        let draft = Draft::new(std::mem::take(&mut self.draft), publish.exchange, publish.routing_key);
        let publishing = Publishing {
            draft,
            ttl_ms: None,
            mandatory: publish.mandatory,
            immediate: publish.immediate,
            body_size: 0,
        };
        if let Some(channel) = self.channels.get_mut(number) {
            channel.expecting = Expecting::Header(publishing);
        }
    }

    #[inline]
    pub(super) fn content_header(&mut self, number: u16, payload: &[u8], out: &mut Vec<u8>) -> Content {
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        let mut publishing = match std::mem::take(&mut channel.expecting) {
            Expecting::Header(publishing) => publishing,
            Expecting::Method => return Err((NO_METHOD, expected_method())),
            Expecting::Body(..) => {
                let explanation = "expected content body, got non content body frame instead";
                return Err((PUBLISH, Fault::new(ReplyCode::UnexpectedFrame, explanation)));
            }
        };
        let header = ContentHeader::decode(payload).map_err(|error| (NO_METHOD, fault::of_payload(error, payload)))?;
        // The weight is always zero (§4.2.6.1); RabbitMQ takes anything else for no header at all.
        if payload.get(2..4) != Some(&[0, 0]) {
            let explanation = "expected content header for class 60, got non content header frame instead";
            return Err((PUBLISH, Fault::new(ReplyCode::UnexpectedFrame, explanation)));
        }
        if header.class_id != CLASS_BASIC {
            let explanation =
                format!("expected content header for class 60, got one for class {} instead", header.class_id);
            return Err((PUBLISH, Fault::new(ReplyCode::UnexpectedFrame, explanation)));
        }
        let size = header.body_size;
        if size > BODY_SIZE_MAX {
            let explanation = format!("content body size {size} exceeds maximum allowed size {BODY_SIZE_MAX}");
            return Err((PUBLISH, Fault::new(ReplyCode::FrameError, explanation)));
        }
        // They are forwarded as they are, so a consumer must be able to read them.
        let properties =
            RawProperties::decode(header.properties).map_err(|_| (NO_METHOD, Fault::bare(ReplyCode::InternalError)))?;
        publishing.draft.properties(header.properties);
        if properties.delivery_mode == Some(PERSISTENT) {
            publishing.draft.set_persistent();
        }
        if let Some(priority) = properties.priority {
            publishing.draft.set_priority(priority);
        }
        publishing.ttl_ms = properties.expiration.and_then(properties::ttl_ms);
        publishing.body_size = size;
        if size == 0 {
            return self.published(number, publishing, out).map_err(|fault| (PUBLISH, fault));
        }
        channel.expecting = Expecting::Body(publishing, size);
        Ok(())
    }

    #[inline]
    pub(super) fn content_body(&mut self, number: u16, payload: &[u8], out: &mut Vec<u8>) -> Content {
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        let (mut publishing, remaining) = match std::mem::take(&mut channel.expecting) {
            Expecting::Body(publishing, remaining) => (publishing, remaining),
            Expecting::Method => return Err((NO_METHOD, expected_method())),
            Expecting::Header(_) => {
                let explanation = "expected content header for class 60, got non content header frame instead";
                return Err((PUBLISH, Fault::new(ReplyCode::UnexpectedFrame, explanation)));
            }
        };
        let Some(remaining) = remaining.checked_sub(payload.len() as u64) else {
            let explanation = "content body frame exceeds remaining content size";
            return Err((PUBLISH, Fault::new(ReplyCode::FrameError, explanation)));
        };
        // What is too large will be refused once it is here, as RabbitMQ does; it need not be kept until then.
        if publishing.body_size <= self.settings.max_message_size {
            publishing.draft.body(payload);
        }
        if remaining == 0 {
            return self.published(number, publishing, out).map_err(|fault| (PUBLISH, fault));
        }
        channel.expecting = Expecting::Body(publishing, remaining);
        Ok(())
    }

    /// A message is whole.
    #[inline]
    fn published(&mut self, number: u16, publishing: Publishing, out: &mut Vec<u8>) -> Handled {
        let Publishing { mut draft, ttl_ms, mandatory, immediate, body_size } = publishing;
        if immediate {
            return Err(Fault::new(ReplyCode::NotImplemented, "immediate=true"));
        }
        let max = self.settings.max_message_size;
        if body_size > max {
            let limit = if max < BODY_SIZE_MAX { "configured max size" } else { "max size" };
            let explanation = format!("message size {body_size} is larger than {limit} {max}");
            return Err(Fault::new(ReplyCode::PreconditionFailed, explanation));
        }
        // Most publishes go the way of one before.
        let known = self.routes.find(draft.exchange(), draft.routing_key());
        let hints = known.map(|route| self.routes.hints(route)).unwrap_or_default();
        if hints.wants_time || ttl_ms.is_some() {
            draft.stamp(self.turn_time(), ttl_ms);
        }
        let message = draft.message();
        let buffer = draft.into_buffer();
        if buffer.capacity() <= DRAFT_KEPT {
            self.draft = buffer;
        }
        let (message, destination, hints) = match known {
            Some(route) if !properties::need_examination(message.properties(), ttl_ms) => {
                (message, Destination::Route(route), hints)
            }
            _ => match self.find_way(number, &message, ttl_ms) {
                Ok(found) => {
                    self.tap_publish(number, &found.0, &found.1);
                    found
                }
                Err(Refusal::Fault(fault)) => return Err(fault),
                Err(Refusal::Waiting) => {
                    self.publish_once_answered(number, &message, mandatory);
                    return Ok(());
                }
            },
        };
        self.counters.sizes.add(body_size);
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        let mut origin = None;
        match &mut channel.mode {
            Mode::Transaction(transaction) => {
                let held = match destination {
                    Destination::Route(route) => Held::of(self.routes.queues(route), self.routes.counters(route)),
                    Destination::Once(held) => held,
                };
                transaction.published.push((message, held, mandatory));
                return Ok(());
            }
            Mode::Confirm(confirms) => {
                if confirms.is_clean() {
                    self.dirty_channels.push(number);
                }
                let is_stored = (message.is_persistent() && hints.is_durable) || hints.stores_transient;
                origin = Some((number, confirms.publish(is_stored)));
            }
            Mode::Plain => {}
        }
        channel.stats.publish += 1;
        if channel.stats.publish == 1 {
            self.count_clients();
        }
        match destination {
            Destination::Route(route) if self.routes.is_unroutable(route) => {
                self.routes.count(route);
                self.unroutable(number, &message, mandatory, out);
            }
            Destination::Route(route) => {
                if hints.may_refuse
                    && let Some(origin) = origin
                {
                    self.routes.note_origin(route, origin);
                }
                let weight = Weight::of_size(body_size, &message);
                self.routes.publish(route, message, weight);
            }
            Destination::Once(held) => self.publish_held(number, &message, &held, mandatory, origin, out),
        }
        Ok(())
    }

    /// Publishes a message anew once it is known whether the user may.
    fn publish_once_answered(&mut self, number: u16, message: &Message, mandatory: bool) {
        let frame_max = self.frame_max();
        let publish = BasicPublish {
            ticket: 0,
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            mandatory,
            immediate: false,
        };
        self.retry_once_answered(number, |frames| {
            frame::write_content(frames, number, &publish, message.properties(), message.body(), frame_max);
        });
    }

    /// Finds the way of a message that something has to be looked into for: its properties, or the topology.
    fn find_way(
        &mut self,
        number: u16,
        message: &Message,
        ttl_ms: Option<u64>,
    ) -> Result<(Message, Destination, Hints), Refusal> {
        let publishing = self.permit_publish(message.exchange())?;
        let (mut message, destination) = if properties::need_examination(message.properties(), ttl_ms) {
            self.examine_and_route(number, message, publishing)?
        } else {
            self.permit_topics(publishing, message, &[])?;
            (message.clone(), self.resolve(message, &[])?)
        };
        let hints = match &destination {
            Destination::Route(route) => self.routes.hints(*route),
            Destination::Once(held) => held.hints(),
        };
        if hints.wants_time && message.published_at().is_none() {
            message = message.stamped(self.turn_time());
        }
        Ok((message, destination, hints))
    }

    /// When the messages of this turn are published: the clock is read once for all of them.
    #[inline]
    fn turn_time(&mut self) -> Timestamp {
        *self.turn_time.get_or_insert_with(|| self.node.now())
    }

    /// Publishes a message whose way was found before: by a transaction, or along a route that is not kept.
    pub(super) fn publish_held(
        &mut self,
        number: u16,
        message: &Message,
        held: &Held,
        mandatory: bool,
        origin: Option<Origin>,
        out: &mut Vec<u8>,
    ) {
        self.routes.count_once(&held.counters, held.queues.len());
        for token in &held.replies {
            self.node.reply(token, message);
        }
        self.routes.publish_to(&held.queues, message, origin);
        self.routes.hold(&held.delays, message, held.due);
        if held.is_unroutable() {
            self.unroutable(number, message, mandatory, out);
        }
    }

    /// Applies the rules that look into properties, then routes.
    fn examine_and_route(
        &mut self,
        number: u16,
        message: &Message,
        publishing: Keys,
    ) -> Result<(Message, Destination), Refusal> {
        let token = self.channels.get_mut(number).and_then(Channel::reply_token);
        let Examined { changed, extra_keys } = properties::examine(message, token.as_deref())?;
        self.permit_topics(publishing, message, &extra_keys)?;
        properties::check_user_id(message, self.required_user_id())?;
        let message = changed.unwrap_or_else(|| message.clone());
        let destination = self.route(&message, &extra_keys)?;
        Ok((message, destination))
    }

    #[inline]
    fn route(&mut self, message: &Message, extra_keys: &[String]) -> Result<Destination, Fault> {
        let (exchange, routing_key) = (message.exchange(), message.routing_key());
        if extra_keys.is_empty()
            && let Some(route) = self.routes.find(exchange, routing_key)
        {
            return Ok(Destination::Route(route));
        }
        self.resolve(message, extra_keys)
    }

    /// Routes by the topology, for a message whose route is not in the cache.
    fn resolve(&mut self, message: &Message, extra_keys: &[String]) -> Result<Destination, Fault> {
        let (exchange, routing_key) = (message.exchange(), message.routing_key());
        let mut keys = vec![routing_key];
        keys.extend(extra_keys.iter().map(String::as_str));
        let (tokens, keys): (Vec<&str>, Vec<&str>) =
            keys.into_iter().partition(|key| exchange.is_empty() && is_reply_token(key));
        let (properties, entropy) = (&BasicProperties, self.entropy.draw());
        let input = RoutingInput { routing_keys: &keys, message, properties, entropy, now: self.node.now() };
        let routed = self.node.route(&self.vhost, exchange, &input, &mut self.broker_routes)?;
        if routed.cacheable && extra_keys.is_empty() && tokens.is_empty() && !self.taps.are_there() {
            return Ok(Destination::Route(self.routes.insert(exchange, routing_key, &routed.queues, routed.counters)));
        }
        let replies = tokens.into_iter().map(Name::from).collect();
        let Routed { queues, delays, due, is_withheld, counters, .. } = routed;
        Ok(Destination::Once(Held { queues, replies, delays, due, is_withheld, counters }))
    }

    /// A message that no queue takes: comes back if it is mandatory, or is dropped.
    fn unroutable(&mut self, number: u16, message: &Message, mandatory: bool, out: &mut Vec<u8>) {
        self.count_unroutable(number, mandatory);
        if !mandatory {
            return;
        }
        let returned = BasicReturn {
            reply_code: ReplyCode::NoRoute.code(),
            reply_text: ReplyCode::NoRoute.name(),
            exchange: message.exchange(),
            routing_key: message.routing_key(),
        };
        frame::write_content(out, number, &returned, message.properties(), message.body(), self.frame_max());
    }
}
