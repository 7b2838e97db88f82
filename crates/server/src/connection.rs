//! One connection's task: reads, lets the session decide, writes.
//!
//! A turn takes what came in from the mailbox and the socket, lets the session handle all of it, and ends with one write.
//! Reading does not wait for writing, or a client that publishes and consumes on one connection would deadlock with us; it
//! stops only for what nobody reads (see [`READ_PAUSE`]) or when a queue asks its publishers to pause. Deliveries stay in
//! the mailbox, and by that in their queues, while the socket takes no more.

use std::cell::RefCell;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use leveret_broker::clock::Timestamp;
use leveret_broker::mailbox::Mailbox;
use leveret_broker::stats::TrafficCounters;
use leveret_session::amqp091::{Ending, Loss, Pause, Session};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use zeroize::Zeroize;

use crate::output::Output;
use crate::tls::Channel;

/// Octets read at a time. All connections of a thread share one buffer of this size.
const READ_SIZE: usize = 256 * 1024;
/// Unwritten octets above which no more deliveries are taken from the mailbox.
const DELIVERY_PAUSE: usize = 512 * 1024;
/// Unwritten octets above which nothing more is read: the client asks for more than it reads.
const READ_PAUSE: usize = 16 * 1024 * 1024;
/// Longest pause in reading that a queue may ask for.
const PUBLISH_PAUSE: Duration = Duration::from_millis(10);
/// Pause between looks whether a client that is not read is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time the last octets of a connection that is over have to leave; a client that reads nothing does not keep it for longer.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// Turns a task may take before others on its thread get theirs.
const TURNS_MAX: usize = 8;
/// Octets the thread's buffer for input keeps once a large frame is through.
const INPUT_KEPT: usize = 4 * READ_SIZE;
/// Octets the thread's buffer for output keeps.
const SCRATCH_KEPT: usize = 4 * 1024 * 1024;

thread_local! {
    /// Buffers that the connections of a thread share; a connection holds octets of its own only between turns.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch { input: vec![0; READ_SIZE], output: Vec::new(), sealed: Vec::new() });
}

struct Scratch {
    input: Vec<u8>,
    output: Vec<u8>,
    /// Ciphertext, as it comes in and as it goes out.
    sealed: Vec<u8>,
}

impl Scratch {
    /// Overwrites what was read last, so many octets of input and what they were sealed in.
    fn wipe(&mut self, input: usize) {
        self.input.get_mut(..input).unwrap_or_default().zeroize();
        self.sealed.as_mut_slice().zeroize();
    }
}

/// A connection, as a future that ends with it.
pub(crate) struct Connection {
    stream: TcpStream,
    /// With TLS, what is between the stream and everything else here.
    tls: Option<Box<Channel>>,
    session: Session,
    mailbox: Arc<Mailbox>,
    /// The start of a frame whose rest has yet to come.
    partial: Vec<u8>,
    /// What could not be written yet; ciphertext with TLS.
    output: Output,
    /// Set while the client has a deadline: for the handshake, or for hanging up.
    deadline: Option<Pin<Box<Sleep>>>,
    ending: Option<Ending>,
    tick: Option<(Duration, Pin<Box<Sleep>>)>,
    received: bool,
    sent: bool,
    pause: Option<(Pause, Pin<Box<Sleep>>)>,
    /// Set while a delivery may have to be settled in time.
    settling: Option<(Timestamp, Pin<Box<Sleep>>)>,
    /// Set while the client is not read for want of disk.
    look_again: Option<Pin<Box<Sleep>>>,
    reading: Reading,
}

/// What reading came to in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Something was read; there may be more.
    More,
    /// Nothing is there; the task is woken when something comes.
    Waiting,
    /// Reading is paused.
    Paused,
    /// The client will send no more.
    Ended,
}

impl Connection {
    /// A connection whose client has until then for connection.open.
    pub(crate) fn new(
        stream: TcpStream,
        tls: Option<Box<Channel>>,
        deadline: Instant,
        session: Session,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        Self {
            stream,
            tls,
            session,
            mailbox,
            partial: Vec::new(),
            output: Output::default(),
            deadline: Some(Box::pin(sleep_until(deadline))),
            ending: None,
            tick: None,
            received: false,
            sent: false,
            pause: None,
            settling: None,
            look_again: None,
            reading: Reading::More,
        }
    }

    /// One turn; says whether the connection is over.
    fn turn(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<Turn, std::io::Error> {
        scratch.output.clear();
        let ticked = self.timers(cx, &mut scratch.output);
        if self.output.len() < DELIVERY_PAUSE {
            self.session.deliver(&mut scratch.output);
        } else {
            self.session.deliver_urgent(&mut scratch.output);
        }
        self.pausing(cx);
        self.reading = self.read(cx, scratch)?;
        self.session.end_turn(&mut scratch.output);
        let wrote = match &mut self.tls {
            None => self.output.write(&mut self.stream, cx, &scratch.output)?,
            Some(tls) => {
                let length = tls.encrypt(&scratch.output, &mut scratch.sealed)?;
                let sealed = scratch.sealed.get(..length).unwrap_or_default();
                self.output.write(&mut self.stream, cx, sealed)?
            }
        };
        // A heartbeat is no reason to leave the next one out.
        self.sent = !ticked && (self.sent || wrote > 0);
        if scratch.output.capacity() > SCRATCH_KEPT {
            scratch.output = Vec::new();
        }
        if scratch.sealed.capacity() > SCRATCH_KEPT {
            scratch.sealed = Vec::new();
        }
        self.note_progress();
        self.count_written(wrote);
        if self.reading == Reading::Ended || (self.ending == Some(Ending::Now) && self.output.len() == 0) {
            return Ok(Turn::Over);
        }
        let full = self.output.len() >= DELIVERY_PAUSE;
        let idle = match self.reading {
            // What the session left needs no more octets to go on.
            Reading::Waiting => !self.session.is_held() && !self.session.is_due(),
            // Whoever may read again by now has to look, or nothing would wake the task for what is there already.
            Reading::Paused => self.may_not_read() && !self.session.is_due(),
            Reading::More | Reading::Ended => false,
        };
        let idle = idle && !self.settling_is_due(cx);
        // With the socket full, its readiness wakes the task; but for what cannot wait, the mailbox can.
        let mailbox = &self.mailbox;
        let register = || if full { mailbox.register_urgent(cx.waker()) } else { mailbox.register(cx.waker()) };
        if idle && register() { Ok(Turn::Idle) } else { Ok(Turn::Again) }
    }

    /// Counts what a turn wrote, for those who look.
    fn count_written(&self, octets: usize) {
        let traffic = &self.session.counters().traffic;
        traffic.pending.set(self.output.len() as u64);
        if octets > 0 {
            traffic.sent.add(octets as u64);
            traffic.writes.add(1);
        }
    }

    fn may_not_read(&self) -> bool {
        self.pause.is_some() || self.output.len() >= READ_PAUSE || self.session.is_stuck()
    }

    fn read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> std::io::Result<Reading> {
        if self.may_not_read() {
            return Ok(if self.is_deserted(cx) { Reading::Ended } else { Reading::Paused });
        }
        self.look_again = None;
        let kept = self.partial.len();
        if kept == 0 && scratch.input.len() > INPUT_KEPT {
            scratch.input = vec![0; READ_SIZE];
        }
        if kept + READ_SIZE / 2 > scratch.input.len() {
            scratch.input.resize(kept + READ_SIZE, 0);
        }
        if let Some(front) = scratch.input.get_mut(..kept) {
            front.copy_from_slice(&self.partial);
        }
        let mut count = 0;
        // What the session left is enough for a turn.
        if !self.session.is_held() {
            let room = scratch.input.get_mut(kept..).unwrap_or_default();
            let read = match &mut self.tls {
                None => poll_read(&mut self.stream, &self.session.counters().traffic, cx, room),
                Some(tls) => {
                    let traffic = &self.session.counters().traffic;
                    poll_read_sealed(&mut self.stream, tls, traffic, cx, &mut scratch.sealed, room)
                }
            };
            count = match read {
                Poll::Pending => return Ok(Reading::Waiting),
                Poll::Ready(result) => result?,
            };
            if count == 0 {
                return Ok(Reading::Ended);
            }
            self.received = true;
        }
        let input = scratch.input.get(..kept + count).unwrap_or_default();
        let used = self.session.receive(input, &mut scratch.output);
        let rest = input.get(used..).unwrap_or_default();
        let saw_secret = self.session.take_saw_secret();
        if saw_secret || !self.session.is_open() {
            self.partial.zeroize();
            // To grow would leave what was in it behind.
            self.partial = Vec::with_capacity(rest.len());
        }
        self.partial.clear();
        if rest.is_empty() && self.partial.capacity() > 0 {
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(rest);
        }
        if saw_secret {
            // The next connection of this thread would find it there.
            scratch.wipe(kept + count);
        }
        Ok(Reading::More)
    }

    /// Whether the client hung up while it is not read for want of disk. Octets that wait to be read hide that from everybody
    /// but the system, which is asked now and then.
    fn is_deserted(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.session.is_stuck() {
            self.look_again = None;
            return false;
        }
        let timer = self.look_again.get_or_insert_with(|| Box::pin(sleep(LOOK_AGAIN)));
        while timer.as_mut().poll(cx).is_ready() {
            timer.as_mut().reset(Instant::now() + LOOK_AGAIN);
        }
        let ready = std::pin::pin!(self.stream.ready(Interest::READABLE)).poll(cx);
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// Takes up what the turn changed about deadlines, heartbeats and pauses.
    fn note_progress(&mut self) {
        if self.ending.is_none() && self.session.is_open() {
            self.deadline = None;
        }
        let ending = self.session.ending();
        if ending != self.ending {
            self.ending = ending;
            self.deadline = ending.map(|ending| {
                Box::pin(sleep(match ending {
                    Ending::Now => LAST_WRITE_TIMEOUT,
                    Ending::Within(wait) => wait,
                }))
            });
        }
        let interval = self.session.tick_interval();
        if self.tick.is_none()
            && let Some(interval) = interval
        {
            self.tick = Some((interval, Box::pin(sleep(interval))));
        }
        if let Some(pause) = self.session.take_pause() {
            self.pause = Some((pause, Box::pin(sleep(PUBLISH_PAUSE))));
            // Another turn, in which its timer gets to know whom to wake.
            self.reading = Reading::More;
        }
    }

    /// Lets the session know when half a heartbeat interval passed; says whether it did.
    fn timers(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> bool {
        let mut ticked = false;
        while let Some((interval, timer)) = &mut self.tick {
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            let next = Instant::now() + *interval;
            timer.as_mut().reset(next);
            let idle = !self.received && self.output.len() == 0;
            // With octets waiting to leave, one more sign of life would only wait behind them.
            // What we do not read for want of disk is no silence of the client's.
            let received = self.received || self.session.is_stuck();
            self.session.tick(received, self.sent || self.output.len() > 0, out);
            (self.received, self.sent) = (false, false);
            ticked = true;
            if idle && self.ending.is_none() {
                self.session.shrink();
            }
        }
        ticked
    }

    /// Ends a pause in reading when its queue says so or its time is up. Comes before reading: whoever is told to go on has
    /// to look at the socket in the same turn, or nothing would wake the task for what is there already.
    fn pausing(&mut self, cx: &mut Context<'_>) {
        if self.session.take_resumed() {
            self.pause = None;
            self.session.end_pause();
        }
        if let Some((pause, timer)) = &mut self.pause
            && timer.as_mut().poll(cx).is_ready()
        {
            pause.cell.pause_timed_out(pause.delivered);
            self.pause = None;
            self.session.end_pause();
        }
    }

    /// Whether the session has to look for deliveries that were not settled in time. If not, the task is woken when it has to.
    fn settling_is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.session.deadline() else {
            self.settling = None;
            return false;
        };
        let timer = match &mut self.settling {
            Some((awaited, timer)) if *awaited == due => timer,
            _ => {
                let wait = Duration::from_millis(due.ms_since(self.session.now()));
                &mut self.settling.insert((due, Box::pin(sleep(wait)))).1
            }
        };
        let is_due = timer.as_mut().poll(cx).is_ready();
        if is_due {
            self.settling = None;
        }
        is_due
    }

    fn deadline_passed(&mut self, cx: &mut Context<'_>) -> bool {
        let passed = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        if passed && self.ending.is_none() {
            self.session.lost(&Loss::TooSlow);
        }
        passed
    }
}

/// Reads what is there; gives its length, 0 once the client sends no more.
#[inline]
fn poll_read(
    stream: &mut TcpStream,
    traffic: &TrafficCounters,
    cx: &mut Context<'_>,
    room: &mut [u8],
) -> Poll<std::io::Result<usize>> {
    let mut buffer = ReadBuf::new(room);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    let count = buffer.filled().len();
    if count > 0 {
        traffic.received.add(count as u64);
        traffic.reads.add(1);
    }
    Poll::Ready(Ok(count))
}

/// The same through TLS: records come into `sealed`, and what was in them goes to `room`.
fn poll_read_sealed(
    stream: &mut TcpStream,
    tls: &mut Channel,
    traffic: &TrafficCounters,
    cx: &mut Context<'_>,
    sealed: &mut Vec<u8>,
    room: &mut [u8],
) -> Poll<std::io::Result<usize>> {
    if sealed.len() < READ_SIZE {
        sealed.resize(READ_SIZE, 0);
    }
    let size = room.len().min(READ_SIZE);
    loop {
        let early = tls.take_early(room);
        if early > 0 || tls.has_ended() {
            return Poll::Ready(Ok(early));
        }
        let kept = tls.partial().len();
        if let Some(front) = sealed.get_mut(..kept) {
            front.copy_from_slice(tls.partial());
        }
        let count = ready!(poll_read(stream, traffic, cx, sealed.get_mut(kept..size).unwrap_or_default()))?;
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let opened = tls.decrypt(sealed.get_mut(..kept + count).unwrap_or_default(), room)?;
        // A part of a record, or something that only concerns TLS, is nothing yet.
        if opened > 0 {
            return Poll::Ready(Ok(opened));
        }
    }
}

/// What a turn came to.
enum Turn {
    /// There is more to do now.
    Again,
    /// There is nothing to do until the task is woken.
    Idle,
    /// The connection is over.
    Over,
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        SCRATCH.with_borrow_mut(|scratch| {
            for _ in 0..TURNS_MAX {
                match this.turn(cx, scratch) {
                    Ok(Turn::Again) => {}
                    Ok(Turn::Idle) => {
                        if this.deadline_passed(cx) {
                            return this.end(cx);
                        }
                        return Poll::Pending;
                    }
                    Ok(Turn::Over) => return this.end(cx),
                    Err(error) => {
                        this.failed(&error);
                        return this.end(cx);
                    }
                }
            }
            // Who keeps the task busy does not get more time by that.
            if this.deadline_passed(cx) {
                return this.end(cx);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }
}

impl Connection {
    /// The socket failed. Once the connection is over that is how many a client hangs up.
    fn failed(&mut self, error: &std::io::Error) {
        if self.ending.is_none() {
            let has_hung_up = matches!(
                error.kind(),
                ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof
            );
            self.session.lost(&if has_hung_up { Loss::HungUp } else { Loss::Failed(error.to_string()) });
        }
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.session.is_open() {
            self.partial.zeroize();
        }
        if self.ending.is_none() {
            self.session.lost(&Loss::HungUp);
        }
        self.session.terminate();
        // The last octets leave before the socket does. What cannot be written now will not be.
        if let Some(tls) = &mut self.tls
            && self.output.len() == 0
        {
            let _ = self.stream.try_write(&tls.close());
        }
        let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        Poll::Ready(())
    }
}
