//! From a frame to the handler of its method.

use leveret_protocol::amqp091::method::{
    AccessRequestOk, BasicAck, BasicPublish, ChannelClose, ChannelCloseOk, ChannelFlowOk, ChannelOpenOk,
    ConfirmSelectOk, ConnectionCloseOk,
};
use leveret_protocol::amqp091::{
    CLASS_BASIC, ContentHeader, Decode, DecodeError, Frame, FrameKind, Method, ReplyCode, frame,
};

use super::access::Refusal;
use super::channel::{ChannelPhase, Expecting, Mode, Publishing};
use super::confirm::Confirms;
use super::fault::{self, Fault};
use super::{Ending, Handled, LINGER, NO_METHOD, PUBLISH, Phase, Session, ids_of};

impl Session {
    #[inline]
    pub(super) fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) {
        match self.phase {
            Phase::Running if frame.channel != 0 => self.channel_frame(frame, out),
            Phase::Header | Phase::Over => {}
            Phase::Closing => self.frame_while_closing(frame, out),
            _ => self.connection_frame(frame, out),
        }
    }

    fn frame_while_closing(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) {
        if frame.kind != FrameKind::Method || frame.channel != 0 {
            return;
        }
        match Method::decode(frame.payload) {
            Ok(Method::ConnectionCloseOk(_)) => self.over(Ending::Now),
            Ok(Method::ConnectionClose(_)) => frame::write_method(out, 0, &ConnectionCloseOk {}),
            _ => {}
        }
    }

    /// A frame on channel 0, or any before the connection is open.
    fn connection_frame(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) {
        let phase = self.phase;
        let handled = match (frame.kind, frame.channel) {
            _ if is_cut_short(frame) => Err((NO_METHOD, fault::unknown_frame(frame.kind as u8, frame.payload))),
            (FrameKind::Heartbeat, 0) => return,
            (FrameKind::Method, 0) => match Method::decode(frame.payload) {
                Ok(method) if phase == Phase::Running => self.connection_method(&method, out),
                Ok(method) => self.handshake(&method, out),
                Err(_) if phase == Phase::Running => Err(Fault::bare(ReplyCode::InternalError)),
                Err(error) => {
                    self.refuse(&fault::of_payload(error, frame.payload));
                    return;
                }
            }
            .map_err(|fault| (ids_of(frame.payload), fault)),
            _ => Err((NO_METHOD, fault::unexpected_frame(frame.kind as u8, frame.payload))),
        };
        let Err((ids, fault)) = handled else { return };
        match phase {
            Phase::Starting | Phase::Verifying | Phase::Tuning => self.refuse(&fault),
            _ if fault.code() == ReplyCode::InternalError => self.close_with(&fault, NO_METHOD, out),
            _ => self.close_with(&fault, ids, out),
        }
    }

    /// Ends a connection that has not got through the handshake without a word, after a while.
    fn refuse(&mut self, fault: &Fault) {
        self.log_failed(&format_args!("handshake error: {}", fault.text()));
        self.over(Ending::Within(LINGER));
    }

    #[inline]
    fn channel_frame(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) {
        let number = frame.channel;
        if self.keep_if_parked(frame, out) {
            return;
        }
        if is_cut_short(frame) {
            self.close_blaming(number, &fault::unknown_frame(frame.kind as u8, frame.payload), NO_METHOD, out);
            return;
        }
        let handled = match self.channels.get_mut(number) {
            Some(channel) if channel.phase == ChannelPhase::Open => match frame.kind {
                FrameKind::Method => self.channel_method(number, frame.payload, out),
                FrameKind::Header => self.content_header(number, frame.payload, out),
                FrameKind::Body => self.content_body(number, frame.payload, out),
                FrameKind::Heartbeat => Err((NO_METHOD, fault::unexpected_frame(frame.kind as u8, frame.payload))),
            },
            Some(_) => {
                self.frame_on_closing_channel(frame, out);
                return;
            }
            None => self.frame_on_unopened_channel(frame, out),
        };
        if let Err((ids, fault)) = handled {
            if fault.code().is_hard() {
                self.close_blaming(number, &fault, ids, out);
            } else {
                self.close_channel_with(number, &fault, ids, out);
            }
        }
    }

    fn frame_on_closing_channel(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) {
        let Some(channel) = self.channels.get_mut(frame.channel) else { return };
        // What the client had on its way is ignored, but has to be content where content is due.
        let due = std::mem::take(&mut channel.expecting);
        match (frame.kind, due) {
            (FrameKind::Method, _) => {}
            (FrameKind::Header, Expecting::Header(publishing)) => {
                let size = ContentHeader::decode(frame.payload).map_or(0, |header| header.body_size);
                if size > 0 {
                    channel.expecting = Expecting::Body(publishing, size);
                }
                return;
            }
            (FrameKind::Body, Expecting::Body(publishing, remaining)) => {
                let remaining = remaining.saturating_sub(frame.payload.len() as u64);
                if remaining > 0 {
                    channel.expecting = Expecting::Body(publishing, remaining);
                }
                return;
            }
            _ => {
                self.close_blaming(frame.channel, &expected_method(), NO_METHOD, out);
                return;
            }
        }
        match Method::decode(frame.payload) {
            Ok(Method::BasicPublish(_)) => channel.expecting = Expecting::Header(Publishing::ignored()),
            Ok(Method::ChannelCloseOk(_)) => self.forget_channel(frame.channel),
            // Both sides closed at once; the client's close-ok is still to come.
            Ok(Method::ChannelClose(_)) => frame::write_method(out, frame.channel, &ChannelCloseOk {}),
            Ok(Method::ChannelOpen(_)) => {
                let fault = Fault::new(ReplyCode::ChannelError, "second 'channel.open' seen");
                self.close_blaming(frame.channel, &fault, ids_of(frame.payload), out);
            }
            _ => {}
        }
    }

    /// A channel is closed at both ends.
    fn forget_channel(&mut self, number: u16) {
        self.channels.remove(number);
        self.node.close_channels(self.id, 1);
        self.tell_channel_closed(number);
    }

    fn frame_on_unopened_channel(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<(), ((u16, u16), Fault)> {
        if frame.kind == FrameKind::Heartbeat {
            return Err((NO_METHOD, fault::unexpected_frame(frame.kind as u8, frame.payload)));
        }
        if frame.kind != FrameKind::Method {
            return Err((NO_METHOD, expected_method()));
        }
        let ids = ids_of(frame.payload);
        match Method::decode(frame.payload).map_err(|error| (ids, fault::of_payload(error, frame.payload)))? {
            Method::ChannelOpen(_) => {
                let (open, max) = (self.channels.len(), usize::from(self.limits.channel_max));
                if max != 0 && open >= max {
                    let explanation =
                        format!("number of channels opened ({open}) has reached the negotiated channel_max ({max})");
                    return Err((NO_METHOD, Fault::new(ReplyCode::NotAllowed, explanation)));
                }
                self.node.open_channel(self.id, &self.user).map_err(|error| (NO_METHOD, error.into()))?;
                self.channels.open(frame.channel);
                self.tell_channel_opened(frame.channel);
                frame::write_method(out, frame.channel, &ChannelOpenOk { channel_id: b"" });
                Ok(())
            }
            _ => Err((ids, Fault::new(ReplyCode::ChannelError, "expected 'channel.open'"))),
        }
    }

    #[inline]
    fn channel_method(&mut self, number: u16, payload: &[u8], out: &mut Vec<u8>) -> Result<(), ((u16, u16), Fault)> {
        if let Some(channel) = self.channels.get_mut(number) {
            match channel.expecting {
                Expecting::Method => {}
                Expecting::Header(_) => {
                    let explanation = "expected content header for class 60, got non content header frame instead";
                    return Err((PUBLISH, Fault::new(ReplyCode::UnexpectedFrame, explanation)));
                }
                Expecting::Body(..) => {
                    let explanation = "expected content body, got non content body frame instead";
                    return Err((PUBLISH, Fault::new(ReplyCode::UnexpectedFrame, explanation)));
                }
            }
        }
        // Nearly every method is one of these two, which go past the enum of all: it is as large as its largest.
        match ids_of(payload) {
            PUBLISH => {
                let publish = BasicPublish::decode(payload).map_err(|error| undecodable(error, payload))?;
                self.publish(number, &publish);
                return Ok(());
            }
            ACK => {
                let ack = BasicAck::decode(payload).map_err(|error| undecodable(error, payload))?;
                return self.ack(number, ack).map_err(|fault| (ACK, fault));
            }
            _ => {}
        }
        let method = Method::decode(payload).map_err(|error| undecodable(error, payload))?;
        self.handle(number, &method, payload, out).map_err(|fault| (ids_of(payload), fault))
    }

    #[inline]
    pub(super) fn handle(&mut self, number: u16, method: &Method<'_>, payload: &[u8], out: &mut Vec<u8>) -> Handled {
        // First what comes once per message; none of it needs to see what the turn has collected.
        match method {
            Method::BasicNack(nack) => return self.nack(number, *nack),
            Method::BasicReject(reject) => return self.reject(number, *reject),
            _ => {}
        }
        self.methods += 1;
        self.settle_turn(out);
        if self.channels.get_mut(number).is_none() {
            return Ok(());
        }
        let handled = match self.permit(number, method) {
            Ok(()) => self.handle_synchronous(number, method, out),
            Err(Refusal::Fault(fault)) => Err(fault),
            Err(Refusal::Waiting) => {
                self.retry_once_answered(number, |frames| {
                    frame::write_frame(frames, FrameKind::Method, number, |out| out.extend_from_slice(payload));
                });
                Ok(())
            }
        };
        // What is published next goes where this method may have led it.
        self.follow_topology();
        handled
    }

    fn handle_synchronous(&mut self, number: u16, method: &Method<'_>, out: &mut Vec<u8>) -> Handled {
        match method {
            Method::ChannelOpen(_) => Err(Fault::new(ReplyCode::ChannelError, "second 'channel.open' seen")),
            Method::ChannelClose(_) => {
                self.end_channel(number, out);
                self.forget_channel(number);
                frame::write_method(out, number, &ChannelCloseOk {});
                Ok(())
            }
            Method::ChannelFlow(flow) if flow.active => {
                frame::write_method(out, number, &ChannelFlowOk { active: true });
                Ok(())
            }
            Method::ChannelFlow(_) => Err(Fault::new(ReplyCode::NotImplemented, "active=false")),
            Method::AccessRequest(_) => {
                frame::write_method(out, number, &AccessRequestOk { ticket: 1 });
                Ok(())
            }
            Method::ExchangeDeclare(declare) => self.exchange_declare(number, declare, out),
            Method::ExchangeDelete(delete) => self.exchange_delete(number, delete, out),
            Method::ExchangeBind(bind) => self.exchange_bind(number, bind, out),
            Method::ExchangeUnbind(unbind) => self.exchange_unbind(number, unbind, out),
            Method::QueueDeclare(declare) => self.queue_declare(number, declare, out),
            Method::QueueBind(bind) => self.queue_bind(number, bind, out),
            Method::QueueUnbind(unbind) => self.queue_unbind(number, unbind, out),
            Method::QueuePurge(purge) => self.queue_purge(number, purge, out),
            Method::QueueDelete(delete) => self.queue_delete(number, delete, out),
            Method::BasicQos(qos) => self.qos(number, *qos, out),
            Method::BasicConsume(consume) => self.consume(number, consume, out),
            Method::BasicCancel(cancel) => {
                self.cancel(number, cancel, out);
                Ok(())
            }
            Method::BasicGet(get) => self.get(number, get, out),
            Method::BasicRecover(recover) => self.recover(number, recover.requeue, true, out),
            Method::BasicRecoverAsync(recover) => self.recover(number, recover.requeue, false, out),
            Method::TxSelect(_) => self.tx_select(number, out),
            Method::TxCommit(_) => self.tx_commit(number, out),
            Method::TxRollback(_) => self.tx_rollback(number, out),
            Method::ConfirmSelect(select) => self.confirm_select(number, select.no_wait, out),
            // What remains is what only servers send, and the connection's methods, which have no place on a channel.
            _ => Err(Fault::new(ReplyCode::CommandInvalid, "unimplemented method")),
        }
    }

    fn confirm_select(&mut self, number: u16, no_wait: bool, out: &mut Vec<u8>) -> Handled {
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        match channel.mode {
            Mode::Plain => channel.mode = Mode::Confirm(Confirms::default()),
            Mode::Confirm(_) => {}
            Mode::Transaction(_) => {
                return Err(Fault::new(ReplyCode::PreconditionFailed, "cannot switch from tx to confirm mode"));
            }
        }
        if !no_wait {
            frame::write_method(out, number, &ConfirmSelectOk {});
        }
        Ok(())
    }

    /// Closes a channel, mostly after an error of one of its methods.
    pub(super) fn close_channel_with(&mut self, number: u16, fault: &Fault, ids: (u16, u16), out: &mut Vec<u8>) {
        self.log_channel_fault(number, fault, ids);
        self.flush(out);
        self.end_channel(number, out);
        // An auto-delete queue may have gone with the channel.
        self.follow_topology();
        if let Some(channel) = self.channels.get_mut(number) {
            channel.phase = ChannelPhase::Closing;
        }
        let (class_id, method_id) = ids;
        let close = ChannelClose { reply_code: fault.code().code(), reply_text: fault.text(), class_id, method_id };
        frame::write_method(out, number, &close);
    }
}

/// Ids of basic.ack.
const ACK: (u16, u16) = (CLASS_BASIC, 80);

fn undecodable(error: DecodeError, payload: &[u8]) -> ((u16, u16), Fault) {
    let ids = if error == DecodeError::MalformedUtf8 { NO_METHOD } else { ids_of(payload) };
    (ids, fault::of_payload(error, payload))
}

/// Whether a frame has too few octets for its kind, or any in a heartbeat.
#[inline]
fn is_cut_short(frame: Frame<'_>) -> bool {
    match frame.kind {
        FrameKind::Method => frame.payload.len() < 4,
        FrameKind::Header => frame.payload.len() < 12,
        FrameKind::Body => false,
        FrameKind::Heartbeat => !frame.payload.is_empty(),
    }
}

/// Content came where a method had to.
pub(super) fn expected_method() -> Fault {
    Fault::new(ReplyCode::UnexpectedFrame, "expected method frame, got non method frame instead")
}
