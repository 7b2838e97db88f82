//! What a running broker says of itself when somebody looks.
//!
//! Nothing is counted for this on the way of a message but what is needed anyway: queues are asked under their lock, one after
//! the other, and connections by an event in their mailbox. Who asks decides how long to wait. Of a connection that has not
//! answered by then is said what the node knows of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::Name;
use crate::access::Peer;
use crate::clock::Timestamp;
use crate::hash::Map;
use crate::stats::{ConnectionCounters, MessageStats};
use crate::topology::ConnectionId;
use crate::value::Table;

/// What connections are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The connection.
    Connection,
    /// The connection and each of its channels.
    Channels,
}

/// How far a connection is, in RabbitMQ's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// The protocol header is to come.
    PreInit,
    /// The client is to say who it is.
    Starting,
    /// Somebody looks at who it is.
    Securing,
    /// Limits are to be agreed on.
    Tuning,
    /// The vhost is to be opened.
    Opening,
    /// It works.
    Running,
    /// It is not read for a while, as queues or the disk are slower than its client.
    Flow,
    /// Messages cannot be taken at the moment, and its client publishes some.
    Blocked,
    /// It is being closed.
    Closing,
    /// It is closed.
    Closed,
}

impl ConnectionState {
    /// RabbitMQ's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreInit => "pre_init",
            Self::Starting => "starting",
            Self::Securing => "securing",
            Self::Tuning => "tuning",
            Self::Opening => "opening",
            Self::Running => "running",
            Self::Flow => "flow",
            Self::Blocked => "blocked",
            Self::Closing => "closing",
            Self::Closed => "closed",
        }
    }
}

/// What a connection says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionReport {
    /// How far it is.
    pub state: ConnectionState,
    /// Major and minor version, and revision of its protocol.
    pub protocol: (u8, u8, u8),
    /// How its client said who it is; none before it did.
    pub mechanism: Option<Name>,
    /// The user; none before the login.
    pub user: Option<Name>,
    /// The vhost that it works in, or asks for; none before.
    pub vhost: Option<Name>,
    /// Seconds between heartbeats; 0 is none.
    pub heartbeat_seconds: u16,
    /// Octets of the largest frame; 0 is no limit.
    pub frame_max: u32,
    /// Most channels; 0 is no limit.
    pub channel_max: u16,
    /// What the client said of itself.
    pub client_properties: Table,
    /// Channels it has.
    pub channel_count: usize,
    /// The channels, if somebody asked for them.
    pub channels: Vec<ChannelReport>,
}

/// Whether a channel works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelState {
    /// It does.
    Running,
    /// It does, but its connection is not read for a while.
    Flow,
    /// It is being closed.
    Closing,
}

impl ChannelState {
    /// RabbitMQ's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Flow => "flow",
            Self::Closing => "closing",
        }
    }
}

/// What a connection says of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelReport {
    /// Its number.
    pub number: u16,
    /// Whether it works.
    pub state: ChannelState,
    /// Whether publishes and settlements wait for a commit.
    pub is_transactional: bool,
    /// Whether publishes are confirmed.
    pub is_confirming: bool,
    /// Whether it waits for the disk, or for an answer about its user.
    pub is_parked: bool,
    /// Consumers it has.
    pub consumers: usize,
    /// Messages that its client has and did not settle.
    pub unsettled: usize,
    /// Messages published in the transaction that is not committed.
    pub uncommitted: usize,
    /// Settlements in that transaction.
    pub uncommitted_settlements: usize,
    /// Messages that are to be confirmed.
    pub unconfirmed: u64,
    /// Most unsettled messages of each consumer to come; 0 is no limit.
    pub prefetch: u32,
    /// Most unsettled messages of all its consumers; 0 is no limit.
    pub shared_prefetch: u32,
    /// What happened to its messages.
    pub stats: MessageStats,
}

/// What a node knows of a connection without asking it.
#[derive(Debug, Clone)]
pub struct KnownConnection {
    /// Its id.
    pub id: ConnectionId,
    /// The other end.
    pub peer: Arc<Peer>,
    /// When it came.
    pub since: Timestamp,
    /// What it counts.
    pub counters: Arc<ConnectionCounters>,
    /// Where it is open and by whom, if it is.
    pub open: Option<KnownOpen>,
}

/// What a node knows of an open connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOpen {
    /// The vhost it works in.
    pub vhost: Name,
    /// Its user.
    pub user: Name,
    /// Channels it has.
    pub channels: u64,
}

/// A connection, and what it said of itself if it did in time.
#[derive(Debug, Clone)]
pub struct Answered {
    /// What the node knows.
    pub known: KnownConnection,
    /// What the connection said.
    pub report: Option<Box<ConnectionReport>>,
}

#[derive(Debug, Default)]
struct Answers {
    /// Set when nobody wants any more of them.
    is_closed: bool,
    /// Set when nobody will give any more of them.
    is_complete: bool,
    reports: Map<ConnectionId, Box<ConnectionReport>>,
    waker: Option<Waker>,
}

/// The last question that is dropped ends the waiting.
#[derive(Debug)]
struct Outstanding(Arc<Mutex<Answers>>);

impl Drop for Outstanding {
    fn drop(&mut self) {
        let waker = {
            let mut answers = self.0.lock();
            answers.is_complete = true;
            answers.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

/// A question to a connection. It is answered, or dropped without an answer.
#[derive(Debug, Clone)]
pub struct Question {
    subject: Subject,
    outstanding: Arc<Outstanding>,
}

impl Question {
    /// What it is about.
    pub const fn subject(&self) -> Subject {
        self.subject
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_late(&self) -> bool {
        self.outstanding.0.lock().is_closed
    }

    /// Answers it.
    pub fn answer(self, id: ConnectionId, report: ConnectionReport) {
        let mut answers = self.outstanding.0.lock();
        if !answers.is_closed {
            answers.reports.insert(id, Box::new(report));
        }
    }
}

/// The answers of connections as they come in. As a future it is done when all have answered that ever will.
#[derive(Debug)]
pub struct Asking {
    known: Vec<KnownConnection>,
    answers: Arc<Mutex<Answers>>,
}

impl Asking {
    /// Nobody was asked yet; these are those to be asked.
    pub(crate) fn new(known: Vec<KnownConnection>, subject: Subject) -> (Self, Question) {
        let answers = Arc::<Mutex<Answers>>::default();
        let question = Question { subject, outstanding: Arc::new(Outstanding(Arc::clone(&answers))) };
        (Self { known, answers }, question)
    }

    /// Everybody who was asked, in the order of their ids, with the answers there are by now. Who answers later is not heard.
    pub fn end(self) -> Vec<Answered> {
        let mut answers = self.answers.lock();
        answers.is_closed = true;
        let answered = self.known.into_iter().map(|known| {
            let report = answers.reports.remove(&known.id);
            Answered { known, report }
        });
        answered.collect()
    }
}

impl Future for Asking {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut answers = self.answers.lock();
        if answers.is_complete {
            return Poll::Ready(());
        }
        answers.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wakes::Wakes;

    fn known(id: u64) -> KnownConnection {
        let (peer, since, counters) = (Arc::new(Peer::local()), Timestamp::default(), Arc::default());
        KnownConnection { id: ConnectionId(id), peer, since, counters, open: None }
    }

    fn report() -> ConnectionReport {
        ConnectionReport {
            state: ConnectionState::Running,
            protocol: (0, 9, 1),
            mechanism: None,
            user: None,
            vhost: None,
            heartbeat_seconds: 60,
            frame_max: 0,
            channel_max: 0,
            client_properties: Table::new(),
            channel_count: 0,
            channels: Vec::new(),
        }
    }

    #[test]
    fn waiting_ends_with_the_last_answer_or_with_whoever_will_give_none() {
        let (mut asking, question) = Asking::new(vec![known(1), known(2)], Subject::Connection);
        let (one, two) = (question.clone(), question);
        let woken = Wakes::new();
        let waker = woken.waker();
        let mut poll = || Pin::new(&mut asking).poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        one.answer(ConnectionId(1), report());
        assert!(poll().is_pending());
        assert_eq!(woken.count(), 0);
        drop(two);
        assert_eq!(woken.count(), 1);
        assert!(poll().is_ready());
        let answered: Vec<_> = asking.end().iter().map(|one| (one.known.id.0, one.report.is_some())).collect();
        assert_eq!(answered, [(1, true), (2, false)]);
    }

    #[test]
    fn late_answers_are_not_heard() {
        let (asking, question) = Asking::new(vec![known(1)], Subject::Channels);
        assert!(!question.is_late());
        assert!(asking.end().iter().all(|one| one.report.is_none()));
        assert!(question.is_late());
        question.answer(ConnectionId(1), report());
    }
}
