//! Channels that wait: for the disk, or for somebody to say whether the user may.
//!
//! The answer to a durable declaration says that it survives, so it has to wait until it is written down. Meanwhile the
//! channel is parked: further declarations are made at once and their answers queue up, so that a client that sends many
//! costs few syncs; all other frames are kept, in order, and handled once the answers are out. The connection's other
//! channels go on, and so do deliveries. What needs an answer about the user that has yet to come is kept the same way.

use std::collections::VecDeque;

use leveret_broker::journal::{JournalPosition, Written};
use leveret_broker::store::{Area, StorePosition};
use leveret_protocol::amqp091::{Encode, Frame, FrameKind, Method, frame};

use super::channel::Expecting;
use super::fault::Fault;
use super::{Handled, METHODS_MAX, NO_METHOD, OUTPUT_MAX, Phase, Session};

/// Octets of frames and answers that the parked channels of a connection may keep; then it is not read for a while.
const PARKED_MAX: usize = 1024 * 1024;

/// The channels of a connection that wait.
#[derive(Debug, Default)]
pub(crate) struct Parking {
    pub(crate) channels: Vec<u16>,
    /// Whether what they wait for may have happened; looked into at the end of the turn, when nothing is half done.
    pub(crate) has_moved: bool,
    finishing: Finishing,
    /// Whether nothing is said to the client any more before the connection is closed.
    pub(crate) is_muted: bool,
}

/// Whether the client has sent all it will, and what it sent before is handled without waiting for the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Finishing {
    /// It may send more.
    #[default]
    No,
    /// That is so.
    Handling,
    /// That is so, and the channel came upon something that nobody has answered yet.
    Unanswered,
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A change of what is durable.
    Journal(JournalPosition),
    /// Messages, or settlements of messages.
    Log(StorePosition),
}

/// What a channel waits for, and what waits with it.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// Frames of answers, each with the position it waits for.
    answers: VecDeque<(Option<Wait>, Vec<u8>)>,
    /// Frames that came since and are not handled yet, as octets.
    frames: Vec<u8>,
}

impl Parked {
    fn octets(&self) -> usize {
        self.frames.len() + self.answers.iter().map(|(_, answer)| answer.len()).sum::<usize>()
    }
}

impl Session {
    /// Whether another turn is due at once, though nothing new came: what channels wait for may have happened.
    pub fn is_due(&self) -> bool {
        self.parking.has_moved
    }

    /// Whether reading has to wait for the disk: parked channels keep enough, or messages cannot be written as fast as they
    /// come.
    pub fn is_stuck(&self) -> bool {
        if self.phase != Phase::Running {
            return self.awaits_answers();
        }
        if self.awaits_answers() || self.log.awaited.is_some() || self.log.is_blocked {
            return true;
        }
        let kept = self.parking.channels.iter().filter_map(|number| self.channels.get(*number)?.parked.as_ref());
        kept.map(|parked| parked.octets()).sum::<usize>() >= PARKED_MAX
    }

    /// Answers a method once what it changed is on disk. Without an answer there is nothing to wait for.
    pub(super) fn answer_once_written(
        &mut self,
        number: u16,
        wait: Option<Wait>,
        answer: Option<&impl Encode>,
        out: &mut Vec<u8>,
    ) -> Handled {
        let Some(answer) = answer else { return Ok(()) };
        let mut waiting = None;
        if let Some(wait) = wait {
            match self.written(wait) {
                Written::Synced => {}
                Written::Failed => return Err(not_written()),
                Written::Waiting => waiting = Some(wait),
            }
        }
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        if waiting.is_none() && channel.parked.is_none() {
            frame::write_method(out, number, answer);
            return Ok(());
        }
        if channel.parked.is_none() {
            self.parking.channels.push(number);
        }
        let parked = channel.parked.get_or_insert_default();
        let mut octets = Vec::new();
        frame::write_method(&mut octets, number, answer);
        parked.answers.push_back((waiting, octets));
        Ok(())
    }

    /// Handles what is written anew once it is known whether the user may. Its channel is parked until then.
    pub(super) fn retry_once_answered(&mut self, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
        if self.parking.finishing != Finishing::No {
            self.parking.finishing = Finishing::Unanswered;
            if !self.access.is_closing {
                // Nobody is left to wait for the answer.
                return;
            }
        }
        self.retry(number, write);
    }

    /// Handles what is written anew once what it waits for has happened. Its channel is parked until then.
    fn retry(&mut self, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        if channel.parked.is_none() {
            self.parking.channels.push(number);
        }
        write(&mut channel.parked.get_or_insert_default().frames);
    }

    fn written(&self, wait: Wait) -> Written {
        match wait {
            Wait::Journal(position) => self.node.written(position, &self.mailbox),
            Wait::Log(position) => self.node.stored(Area::Log, position, &self.mailbox),
        }
    }

    /// Handles a method anew once the store has read what it needs. Its channel is parked until then.
    pub(super) fn retry_once_read(&mut self, number: u16, method: &impl Encode) {
        if self.parking.finishing != Finishing::No {
            return;
        }
        self.retry(number, |frames| frame::write_method(frames, number, method));
    }

    /// Keeps a frame if its channel is parked, or handles it if it is a declaration and nothing is kept before it.
    #[inline]
    pub(super) fn keep_if_parked(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> bool {
        if self.parking.channels.is_empty() {
            return false;
        }
        let Some(channel) = self.channels.get_mut(frame.channel) else { return false };
        let Some(parked) = &channel.parked else { return false };
        let is_next = parked.frames.is_empty() && matches!(channel.expecting, Expecting::Method);
        // A refusal changes nothing; it is said after the answers that come before it.
        if is_next && self.declares(frame, out) {
            return true;
        }
        if let Some(parked) = self.channels.get_mut(frame.channel).and_then(|channel| channel.parked.as_mut()) {
            frame::write_frame(&mut parked.frames, frame.kind, frame.channel, |out| {
                out.extend_from_slice(frame.payload);
            });
        }
        true
    }

    /// Handles a frame if it is a method of a kind whose only output is an answer; false if it is not, or was refused.
    fn declares(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> bool {
        if frame.kind != FrameKind::Method {
            return false;
        }
        let Ok(method) = Method::decode(frame.payload) else { return false };
        let declares = matches!(
            method,
            Method::ExchangeDeclare(_)
                | Method::ExchangeDelete(_)
                | Method::ExchangeBind(_)
                | Method::ExchangeUnbind(_)
                | Method::QueueDeclare(_)
                | Method::QueueDelete(_)
                | Method::QueueBind(_)
                | Method::QueueUnbind(_)
        );
        declares && self.handle(frame.channel, &method, frame.payload, out).is_ok()
    }

    /// Goes on with the channels whose wait is over.
    pub(super) fn unpark(&mut self, out: &mut Vec<u8>) {
        for number in std::mem::take(&mut self.parking.channels) {
            if self.phase != Phase::Running {
                return;
            }
            self.unpark_channel(number, out);
        }
    }

    fn unpark_channel(&mut self, number: u16, out: &mut Vec<u8>) {
        let Some(mut parked) = self.channels.get_mut(number).and_then(|channel| channel.parked.take()) else { return };
        while let Some((wait, answer)) = parked.answers.pop_front() {
            match wait.map_or(Written::Synced, |wait| self.written(wait)) {
                Written::Synced => out.extend_from_slice(&answer),
                Written::Failed => {
                    self.close_with(&not_written(), NO_METHOD, out);
                    return;
                }
                Written::Waiting => {
                    parked.answers.push_front((wait, answer));
                    self.park_again(number, parked);
                    return;
                }
            }
        }
        self.replay(number, &parked.frames, out);
    }

    fn park_again(&mut self, number: u16, parked: Box<Parked>) {
        if let Some(channel) = self.channels.get_mut(number) {
            channel.parked = Some(parked);
            self.parking.channels.push(number);
        }
    }

    /// Handles frames that were kept, as many as one turn may. The channel may be parked again by one of them, and keeps the
    /// rest then.
    fn replay(&mut self, number: u16, mut octets: &[u8], out: &mut Vec<u8>) {
        // Before the cache may fall, what another channel's frames published along it has to be out.
        self.flush(out);
        self.follow_topology();
        let output_max = out.len() + OUTPUT_MAX;
        let mut handled = 0;
        while let Ok(Some((frame, used))) = Frame::decode(octets, usize::MAX) {
            let is_enough = out.len() >= output_max || handled >= METHODS_MAX;
            let parked = self.channels.get_mut(number).and_then(|channel| channel.parked.as_mut());
            if let Some(parked) = parked
                && (is_enough || !parked.frames.is_empty())
            {
                parked.frames.extend_from_slice(octets);
                return;
            }
            if self.parking.finishing == Finishing::Unanswered {
                // It may rely on what is not done, such as an ack on a publish.
                return;
            }
            if is_enough {
                let rest = Parked { answers: VecDeque::new(), frames: octets.to_vec() };
                self.park_again(number, Box::new(rest));
                // The rest is due in the next turn, which comes without waiting for anything.
                self.parking.has_moved = true;
                self.held = true;
                return;
            }
            handled += u32::from(frame.kind == FrameKind::Method);
            octets = octets.get(used..).unwrap_or_default();
            self.frame(frame, out);
        }
    }

    /// Handles everything that parked channels keep, for a client that has sent all it will and needs no answers. What nobody
    /// has said yet whether the user may stays parked, with all behind it, if the client waits until the connection is closed; if
    /// it is gone, that is dropped.
    pub(super) fn finish_parked(&mut self) {
        for number in std::mem::take(&mut self.parking.channels) {
            self.parking.finishing = Finishing::Handling;
            while self.phase == Phase::Running
                && self.parking.finishing == Finishing::Handling
                && let Some(parked) = self.channels.get_mut(number).and_then(|channel| channel.parked.take())
            {
                self.parking.has_moved = false;
                self.replay(number, &parked.frames, &mut Vec::new());
            }
        }
        self.parking.finishing = Finishing::No;
        let channels = &self.channels;
        let is_parked = |number: &u16| channels.get(*number).is_some_and(|channel| channel.parked.is_some());
        self.parking.channels.retain(is_parked);
        self.parking.channels.sort_unstable();
        self.parking.channels.dedup();
    }
}

fn not_written() -> Fault {
    Fault::from(leveret_broker::Error::NotWritten)
}
