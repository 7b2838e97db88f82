//! Direct reply-to: a consumer without a queue, reached under a token (RabbitMQ).

use std::sync::Arc;

use leveret_broker::Name;
use leveret_protocol::amqp091::method::{BasicConsume, BasicConsumeOk, QueueDeclare, QueueDeclareOk};
use leveret_protocol::amqp091::{ReplyCode, frame};

use super::channel::Channel;
use super::fault::Fault;
use super::settings::generated_name;
use super::sources::SourceKind;
use super::{Handled, Session};

/// The name that stands for "reply to me" in basic.consume and in the property reply-to.
pub(super) const REPLY_TO: &str = "amq.rabbitmq.reply-to";
const TOKEN_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Whether a routing key reaches a consumer of direct replies.
pub(super) fn is_reply_token(name: &str) -> bool {
    name.starts_with(TOKEN_PREFIX)
}

/// Whether a queue name is direct reply-to or one of its tokens.
pub(super) fn is_reply_name(name: &str) -> bool {
    name == REPLY_TO || is_reply_token(name)
}

impl Channel {
    /// The token of the channel's consumer of direct replies.
    pub(super) fn reply_token(&mut self) -> Option<Name> {
        self.reply_consumer.as_ref().map(|(token, _)| Name::clone(token))
    }
}

impl Session {
    pub(super) fn consume_replies(
        &mut self,
        number: u16,
        tag: &Name,
        consume: &BasicConsume<'_>,
        out: &mut Vec<u8>,
    ) -> Handled {
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        let refuse = |explanation: &str| Err(Fault::new(ReplyCode::PreconditionFailed, explanation));
        if channel.reply_consumer.is_some() {
            return refuse("reply consumer already set");
        }
        if !consume.no_ack {
            return refuse("reply consumer cannot acknowledge");
        }
        let token: Name = generated_name(TOKEN_PREFIX, (self.settings.random)()).into();
        let kind = SourceKind::Replies { token: Name::clone(&token) };
        let key = self.sources.add(number, Name::clone(tag), true, kind);
        channel.reply_consumer = Some((Name::clone(&token), key));
        channel.consumers.push((Name::clone(tag), key));
        self.count_clients();
        self.node.register_reply(token, &Arc::clone(&self.mailbox), key);
        if !consume.no_wait {
            frame::write_method(out, number, &BasicConsumeOk { consumer_tag: tag });
        }
        Ok(())
    }

    /// Declaring a reply name asks whether it exists.
    pub(super) fn declare_replies(&self, number: u16, declare: &QueueDeclare<'_>, out: &mut Vec<u8>) -> Handled {
        if declare.queue != REPLY_TO && !self.node.reply_exists(declare.queue) {
            let explanation = format!("no queue '{}' in vhost '{}'", declare.queue, self.vhost);
            return Err(Fault::new(ReplyCode::NotFound, explanation));
        }
        if !declare.no_wait {
            let ok = QueueDeclareOk { queue: declare.queue, message_count: 0, consumer_count: 1 };
            frame::write_method(out, number, &ok);
        }
        Ok(())
    }
}
