//! The session of an AMQP 0-9-1 connection.
//!
//! The server calls, in any order: [`Session::receive`] with octets read, [`Session::deliver`] when its mailbox has
//! something, [`Session::tick`] twice per heartbeat interval, and [`Session::end_turn`] after each round of those; each
//! appends to the octets to write. [`Session::ending`] tells when and how the connection is over.
//!
//! Within a turn, publishes and settlements are collected, and each queue is given its share in one call when the turn
//! ends or a method needs to see their effect.

mod access;
mod channel;
mod compose;
mod confirm;
mod consume;
mod deaths;
mod deliver;
mod dispatch;
mod events;
mod exchange;
pub mod fault;
mod handshake;
mod log;
mod parking;
mod properties;
mod publish;
mod queue;
mod reply_to;
mod report;
mod routes;
mod settings;
mod settle;
mod sources;
mod stats;
mod table;
mod taps;
mod timeouts;
mod transaction;
mod unsettled;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use leveret_broker::Name;
use leveret_broker::access::Peer;
use leveret_broker::clock::Timestamp;
use leveret_broker::entropy::Entropy;
use leveret_broker::mailbox::{CloseReason, Event, Inbox, Mailbox};
use leveret_broker::node::Node;
use leveret_broker::stats::ConnectionCounters;
use leveret_broker::store::StorePosition;
use leveret_broker::topology::ConnectionId;
use leveret_protocol::amqp091::method::{BasicCancel, ConnectionClose};
use leveret_protocol::amqp091::{CLASS_BASIC, FRAME_OVERHEAD, Frame, FrameError, ReplyCode, frame};

use access::Access;
use channel::{Channels, Mode};
use confirm::LogWait;
pub use deaths::BasicProperties;
use fault::Fault;
pub use log::Loss;
use log::Told;
use parking::Parking;
pub use routes::Pause;
use routes::Routes;
pub use settings::{Anonymous, Mechanism, Settings};
use sources::Sources;
use taps::Taps;
use timeouts::Deadline;

/// Half heartbeat intervals without an octet after which a client counts as gone: two intervals and a half.
const SILENT_TICKS_MAX: u32 = 5;
/// How long a connection that was refused is kept before it is dropped, so that guessing is slow and the last octets arrive.
const LINGER: Duration = Duration::from_secs(3);
/// Longest wait for connection.close-ok.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Octets that one call of [`Session::receive`] appends before it leaves the rest of its input for the next one. A few octets
/// can ask for many, such as basic.get and basic.nack in turns; what they lead to has to be written before there is more.
const OUTPUT_MAX: usize = 1024 * 1024;
/// Methods other than publishes and settlements that one call of [`Session::receive`] handles before it leaves the rest of its
/// input for the next one. Each may lock the topology or look through all queues, and others wait for the thread.
const METHODS_MAX: u32 = 1024;
/// Largest frame taken from a client before it has logged in, in octets.
const INITIAL_FRAME_MAX: u32 = 8192;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The protocol header is to come.
    Header,
    /// connection.start is out.
    Starting,
    /// Somebody looks at who the client is.
    Verifying,
    /// connection.tune is out.
    Tuning,
    /// connection.open is to come.
    Opening,
    /// Somebody was asked whether the client may open the vhost.
    Asking,
    /// It works.
    Running,
    /// connection.close is out; everything but close-ok is ignored.
    Closing,
    /// It is over; everything is ignored.
    Over,
}

/// How the server ends the connection once everything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Close the socket.
    Now,
    /// Go on reading for so long, unless the client hangs up first; then close the socket.
    Within(Duration),
}

/// What a client can do, from its properties.
#[derive(Debug, Clone, Copy, Default)]
struct Capabilities {
    authentication_failure_close: bool,
    consumer_cancel_notify: bool,
    connection_blocked: bool,
}

/// Limits agreed on; zero is none.
#[derive(Debug, Clone, Copy)]
struct Limits {
    frame_max: u32,
    channel_max: u16,
    heartbeat_seconds: u16,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    node: Arc<Node>,
    settings: Arc<Settings>,
    mailbox: Arc<Mailbox>,
    id: ConnectionId,
    peer: Arc<Peer>,
    /// How the client says who it is.
    mechanism: Mechanism,
    access: Access,
    phase: Phase,
    ending: Option<Ending>,
    capabilities: Capabilities,
    client_properties: leveret_broker::value::Table,
    limits: Limits,
    user: Name,
    vhost: Name,
    channels: Channels,
    sources: Sources,
    routes: Routes,
    taps: Taps,
    broker_routes: leveret_broker::topology::Routes,
    /// Decides where an exchange chooses at random.
    entropy: Entropy,
    inbox: Inbox,
    deadline: Deadline,
    /// The time of this turn, once somebody asked for it.
    turn_time: Option<Timestamp>,
    /// Buffer for the next draft.
    draft: Vec<u8>,
    /// Channels with publishes to confirm or shared prefetch to release.
    dirty_channels: Vec<u16>,
    /// What waits for the message log.
    log: LogWait,
    /// Channels that wait for the disk.
    parking: Parking,
    pause: Option<Pause>,
    resumed: bool,
    /// Whether the last call of `receive` left frames for the next one.
    held: bool,
    /// Methods, other than publishes and settlements, that this call of `receive` handled.
    methods: u32,
    /// Why the node wants the connection closed; done at the end of the turn, when nothing is half done.
    asked_to_close: Option<CloseReason>,
    silent_ticks: u32,
    told: Told,
    counters: Arc<ConnectionCounters>,
    /// Whether the server does not read the client, as a queue asked for a pause.
    is_paused: bool,
}

impl Session {
    /// A session for a connection that was just accepted.
    pub fn new(node: Arc<Node>, settings: Arc<Settings>, mailbox: Arc<Mailbox>, peer: Peer) -> Self {
        let peer = Arc::new(peer);
        let counters = Arc::default();
        let id = node.connect(&mailbox, &peer, &counters);
        let entropy = Entropy::new((settings.random)());
        let limits = Limits { frame_max: INITIAL_FRAME_MAX, channel_max: 0, heartbeat_seconds: 0 };
        Self {
            node,
            settings,
            mailbox,
            id,
            peer,
            mechanism: Mechanism::Plain,
            access: Access::default(),
            phase: Phase::Header,
            ending: None,
            capabilities: Capabilities::default(),
            client_properties: leveret_broker::value::Table::new(),
            limits,
            user: "".into(),
            vhost: "".into(),
            channels: Channels::default(),
            sources: Sources::default(),
            routes: Routes::default(),
            taps: Taps::default(),
            broker_routes: leveret_broker::topology::Routes::default(),
            entropy,
            inbox: Inbox::default(),
            deadline: Deadline::default(),
            turn_time: None,
            draft: Vec::new(),
            dirty_channels: Vec::new(),
            log: LogWait::default(),
            parking: Parking::default(),
            pause: None,
            resumed: false,
            held: false,
            methods: 0,
            asked_to_close: None,
            silent_ticks: 0,
            told: Told::default(),
            counters,
            is_paused: false,
        }
    }

    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The user that logged in; empty before.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What it counts. What goes over its socket is counted by whoever reads and writes it.
    pub const fn counters(&self) -> &Arc<ConnectionCounters> {
        &self.counters
    }

    /// The vhost it works in, or asked for; empty before.
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// What the client said of itself in connection.start-ok.
    pub fn client_properties(&self) -> &leveret_broker::value::Table {
        &self.client_properties
    }

    /// Whether the handshake is over.
    pub fn is_open(&self) -> bool {
        match self.phase {
            Phase::Running | Phase::Closing | Phase::Over => true,
            Phase::Header | Phase::Starting | Phase::Verifying | Phase::Tuning | Phase::Opening | Phase::Asking => {
                false
            }
        }
    }

    /// How the connection ends, once it does.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The interval at which [`Session::tick`] is due; `None` without heartbeats.
    pub fn tick_interval(&self) -> Option<Duration> {
        match self.limits.heartbeat_seconds {
            0 => None,
            seconds => Some(Duration::from_millis(u64::from(seconds) * 500)),
        }
    }

    /// A request to pause reading, made since the last call.
    pub fn take_pause(&mut self) -> Option<Pause> {
        self.is_paused |= self.pause.is_some();
        self.pause.take()
    }

    /// The pause in reading is over.
    pub const fn end_pause(&mut self) {
        self.is_paused = false;
    }

    /// Whether a pause ended since the last call.
    pub fn take_resumed(&mut self) -> bool {
        std::mem::take(&mut self.resumed)
    }

    /// Whether the last call of [`Session::receive`] left more than the start of a frame, because its output or its work was
    /// getting long. The rest has to come again, without waiting for more, once some of the output is written.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Takes octets in; says how many were used. The rest, the start of a frame, has to come again with more behind it.
    /// See [`Session::is_held`] for the exception.
    pub fn receive(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut used = 0;
        let output_max = out.len() + OUTPUT_MAX;
        self.held = false;
        self.methods = 0;
        self.turn_time = None;
        self.follow_topology();
        while self.phase != Phase::Over {
            // What comes next cannot be handled before it is known who sent it.
            if out.len() >= output_max || self.methods >= METHODS_MAX || self.awaits_answers() {
                self.held = true;
                return used;
            }
            let rest = input.get(used..).unwrap_or_default();
            if self.phase == Phase::Header {
                if !rest.is_empty() {
                    self.log_accepted();
                }
                let Some(octets) = rest.first_chunk::<8>() else { return used };
                used += octets.len();
                self.protocol_header(*octets, out);
                continue;
            }
            // RabbitMQ lets frames be larger than agreed by the frame's own overhead.
            let payload_max = if self.limits.frame_max == 0 { usize::MAX } else { self.limits.frame_max as usize };
            match Frame::decode(rest, payload_max) {
                Ok(Some((frame, octets))) => {
                    used += octets;
                    self.frame(frame, out);
                }
                Ok(None) => return used,
                // After our connection.close nobody cares what kind a frame is, and its end is known.
                Err(error @ FrameError::UnknownKind { .. }) if self.is_open() => {
                    if self.phase == Phase::Running {
                        self.close_with(&fault::of_frame(error, self.limits.frame_max), NO_METHOD, out);
                    }
                    used += Frame::announced_size(rest);
                }
                Err(error) => {
                    self.frame_error(error, out);
                    return input.len();
                }
            }
        }
        input.len()
    }

    /// Handles what came into the mailbox.
    pub fn deliver(&mut self, out: &mut Vec<u8>) {
        let said = out.len();
        let mut inbox = std::mem::take(&mut self.inbox);
        self.mailbox.take(&mut inbox);
        self.handle_inbox(inbox, out);
        self.mute(said, out);
    }

    /// Handles only what cannot wait, for a connection whose client does not read what it has been sent.
    pub fn deliver_urgent(&mut self, out: &mut Vec<u8>) {
        for event in self.mailbox.take_urgent() {
            self.event(event, out);
        }
    }

    /// Takes back what was said since, if the client is to hear nothing any more.
    fn mute(&self, said: usize, out: &mut Vec<u8>) {
        if self.parking.is_muted && self.phase == Phase::Running {
            out.truncate(said);
        }
    }

    /// Handles an inbox and keeps it for the next one.
    fn handle_inbox(&mut self, mut inbox: Inbox, out: &mut Vec<u8>) {
        self.deliver_all(&mut inbox, out);
        for event in inbox.events.drain(..) {
            self.event(event, out);
        }
        for key in inbox.awaiting_room.drain(..) {
            self.sources.resume(key);
        }
        self.inbox = inbox;
    }

    /// Gives every queue its share of the turn's work and sends the confirms that follow from it.
    pub fn end_turn(&mut self, out: &mut Vec<u8>) {
        let said = out.len();
        self.flush(out);
        self.turn_time = None;
        if std::mem::take(&mut self.parking.has_moved) {
            self.log.is_told = false;
            self.unpark(out);
            self.flush(out);
            self.wait_for_log(out);
        }
        self.mute(said, out);
        if self.access.is_closing && !self.access.is_waiting() && !self.parking.has_moved {
            self.close_as_asked(out);
        }
        self.check_timeouts(out);
        self.check_access(out);
        if !self.log.confirming.is_empty() {
            self.confirm_stored(out);
        }
        self.mute(said, out);
        self.node.deliver_dead_letters();
        if let Some(reason) = self.asked_to_close.take() {
            self.force_close(&reason, out);
        }
    }

    /// Gives memory back that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.inbox.shrink();
        self.draft = Vec::new();
        self.routes.clear();
        self.mailbox.shrink();
    }

    /// Half a heartbeat interval passed. `received` and `sent` say whether an octet came or went since the last tick.
    pub fn tick(&mut self, received: bool, sent: bool, out: &mut Vec<u8>) {
        if self.phase == Phase::Over {
            return;
        }
        if !sent {
            frame::write_heartbeat(out);
        }
        self.silent_ticks = if received { 0 } else { self.silent_ticks + 1 };
        if self.silent_ticks >= SILENT_TICKS_MAX {
            let seconds = self.limits.heartbeat_seconds;
            self.log_failed(&format_args!("missed heartbeats from client, timeout: {seconds}s"));
            self.over(Ending::Now);
        }
    }

    /// The connection is gone: requeues what was unsettled, drops its consumers and exclusive queues. May be called again.
    pub fn terminate(&mut self) {
        if self.phase == Phase::Running {
            self.finish_parked();
        }
        self.close_channels(&mut Vec::new());
        self.node.deliver_dead_letters();
        self.phase = Phase::Over;
        self.disconnect();
        self.log_end();
    }

    /// Has the node forget the connection.
    fn disconnect(&self) {
        if self.node.disconnect(self.id) && self.told.is_accepted() {
            self.tell_closed();
        }
    }

    /// Ends the connection after an error of its octets or methods.
    fn close_with(&mut self, fault: &Fault, ids: (u16, u16), out: &mut Vec<u8>) {
        self.close_blaming(0, fault, ids, out);
    }

    /// The same after an error on a channel.
    fn close_blaming(&mut self, number: u16, fault: &Fault, ids: (u16, u16), out: &mut Vec<u8>) {
        self.log_fault(number, fault, ids);
        let (class_id, method_id) = ids;
        // Before what is in the mailbox is handled, which may be another reason.
        self.phase = Phase::Closing;
        self.close_channels(out);
        let close = ConnectionClose { reply_code: fault.code().code(), reply_text: fault.text(), class_id, method_id };
        frame::write_method(out, 0, &close);
        let wait = match self.limits.heartbeat_seconds {
            0 => CLOSE_WAIT_MAX,
            seconds => Duration::from_secs(u64::from(seconds)).min(CLOSE_WAIT_MAX),
        };
        self.ending = Some(Ending::Within(wait));
    }

    fn frame_error(&mut self, error: FrameError, out: &mut Vec<u8>) {
        let fault = fault::of_frame(error, self.limits.frame_max);
        if self.is_open() {
            if self.phase == Phase::Running {
                self.close_with(&fault, NO_METHOD, out);
            }
        } else {
            self.log_failed(&fault.text());
        }
        // Nothing that follows can be made sense of.
        self.over(Ending::Within(LINGER));
    }

    fn over(&mut self, ending: Ending) {
        self.phase = Phase::Over;
        self.ending = Some(ending);
    }

    fn event(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::ConsumerCancelled { key, queue } => self.consumer_cancelled(key, queue, out),
            Event::ConsumerTimeoutChanged { key, queue } => self.consumer_timeout_changed(key, queue),
            Event::PublishingResumed => self.resumed = true,
            Event::JournalMoved => self.parking.has_moved = true,
            Event::Close(reason) => self.asked_to_close = Some(reason),
            Event::AccessChanged => self.review_consumers(out),
            Event::Access { ticket, outcome } => self.access_outcome(ticket, &outcome, out),
            Event::Report(question) => self.answer(question),
        }
    }

    fn force_close(&mut self, reason: &CloseReason, out: &mut Vec<u8>) {
        match self.phase {
            Phase::Running => {
                let explanation = match reason {
                    CloseReason::Shutdown => "broker forced connection closure with reason 'shutdown'".to_owned(),
                    CloseReason::VhostDeleted { vhost } => format!("vhost '{vhost}' is deleted"),
                    CloseReason::UserDeleted { user } => format!("user '{user}' is deleted"),
                    CloseReason::Operator { reason } => reason.to_string(),
                };
                self.close_with(&Fault::new(ReplyCode::ConnectionForced, explanation), NO_METHOD, out);
            }
            Phase::Closing | Phase::Over => {}
            _ => self.over(Ending::Now),
        }
    }

    /// A queue was deleted under a consumer.
    fn consumer_cancelled(&mut self, key: u32, queue: leveret_broker::topology::QueueId, out: &mut Vec<u8>) {
        let Some(source) = self.sources.get_mut(key) else { return };
        let is = matches!(source.kind(), sources::SourceKind::Consumer { queue: cell, .. } if cell.info().id == queue);
        if !is || !source.live {
            return;
        }
        let number = source.channel;
        let tag = Name::clone(&source.tag);
        self.tell_consumer_gone(key);
        if let Some(source) = self.sources.get_mut(key) {
            source.live = false;
        }
        if let Some(channel) = self.channels.get_mut(number) {
            channel.consumers.retain(|(_, consumer)| *consumer != key);
            if self.capabilities.consumer_cancel_notify {
                frame::write_method(out, number, &BasicCancel { consumer_tag: &tag, no_wait: true });
            }
        }
        self.sources.drop_if_done(key);
        self.count_clients();
    }

    /// Gives every queue its share of what was collected, and confirms.
    fn flush(&mut self, out: &mut Vec<u8>) {
        let mut stored = None;
        if self.routes.is_dirty() || self.sources.is_dirty() {
            // Queues take note of when they were used, and none of them reads the clock for that.
            self.node.now();
        }
        if self.routes.is_dirty() {
            let flushed = self.routes.flush(&self.mailbox, &self.counters.publishes);
            if flushed.pause.is_some() {
                self.pause = flushed.pause;
            }
            stored = flushed.stored;
            for (number, publish) in flushed.refused {
                self.refused(number, publish);
            }
            if stored.is_some() || flushed.awaited.is_some() {
                self.log.is_blocked |= stored.is_some();
                self.log.awaited = flushed.awaited.or(self.log.awaited);
                self.wait_for_log(out);
            }
        }
        self.log.flushed = stored;
        if self.sources.is_dirty() {
            self.log.flushed = stored.max(self.sources.flush(&self.counters));
        }
        self.node.deliver_dead_letters();
        while let Some(number) = self.dirty_channels.pop() {
            self.flush_channel(number, stored, out);
        }
    }

    /// A queue refused a publish.
    fn refused(&mut self, number: u16, publish: u64) {
        match self.channels.get_mut(number).map(|channel| &mut channel.mode) {
            Some(Mode::Confirm(confirms)) => confirms.refuse(publish),
            Some(Mode::Transaction(transaction)) => transaction.is_refused = true,
            Some(Mode::Plain) | None => {}
        }
    }

    fn flush_channel(&mut self, number: u16, stored: Option<StorePosition>, out: &mut Vec<u8>) {
        self.confirm_turn(number, stored, out);
        let Some(channel) = self.channels.get_mut(number) else { return };
        let released = std::mem::take(&mut channel.released);
        if released > 0
            && let Some(shared) = &channel.shared_prefetch
        {
            shared.release(released);
            for (_, key) in &channel.consumers {
                self.sources.resume(*key);
            }
        }
    }

    fn mark_dirty(&mut self, number: u16) {
        if !self.dirty_channels.contains(&number) {
            self.dirty_channels.push(number);
        }
    }

    /// Makes everything that was collected take effect, and sends what it led to, before a method that a client may use as
    /// a barrier is answered.
    fn settle_turn(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        self.deliver(out);
        self.follow_topology();
    }

    /// Octets of the largest frame to send.
    fn frame_max(&self) -> usize {
        match self.limits.frame_max {
            0 => usize::MAX,
            max => (max as usize).max(FRAME_OVERHEAD + 1),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Whatever ended the connection, a panic included, nothing it held unsettled may be lost. What is broken may panic
        // once more, and a panic that leaves here while another one unwinds would end the node.
        let terminated = catch_unwind(AssertUnwindSafe(|| self.terminate()));
        if let Err(panic) = terminated {
            self.node.disconnect(self.id);
            if !std::thread::panicking() {
                resume_unwind(panic);
            }
        }
    }
}

/// Class and method ids for a fault that no method caused.
const NO_METHOD: (u16, u16) = (0, 0);
/// Ids of basic.publish, the method that content belongs to.
const PUBLISH: (u16, u16) = (CLASS_BASIC, 40);

/// The ids of a payload's method, known even if its arguments do not decode.
fn ids_of(payload: &[u8]) -> (u16, u16) {
    match payload.first_chunk::<4>() {
        Some(&[c1, c0, m1, m0]) => (u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0])),
        None => NO_METHOD,
    }
}

/// Shorthand of every handler.
type Handled = Result<(), Fault>;
