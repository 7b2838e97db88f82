//! Back ends that say what a test wants, and a session that waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use leveret_broker::Name;
use leveret_broker::access::{Answer, LoginAttempt, Outcome, Peer, Question, Reason, Reply, Secret};
use leveret_broker::clock::Timestamp;
use leveret_broker::mailbox::{Event, Inbox, Mailbox};
use parking_lot::Mutex;

use crate::backend::{Backend, Checked, Denial, Grant, LoggedIn, Pending, Renewal};

/// How a fake back end behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Lets users in whose secret is `right`, or who have none.
    Know,
    /// The same, under the name `renamed`.
    Rename,
    /// Refuses everybody.
    Refuse,
    /// Refuses everybody who does not come from this machine.
    WantLoopback,
    /// Is out of order.
    Fail,
    /// Does not answer for so many milliseconds, then lets in as `Know` does.
    Wait(u64),
    /// Panics.
    Panic,
}

/// A fake back end.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) name: &'static str,
    pub(crate) does: Does,
    pub(crate) grant: FakeGrant,
    pub(crate) expires: Option<Timestamp>,
    /// How often it was asked.
    pub(crate) asked: AtomicUsize,
    /// The tags of those whom others let in.
    pub(crate) authorized_with: Mutex<Vec<Vec<Name>>>,
}

/// What a fake back end says of questions and new secrets.
#[derive(Debug, Clone)]
pub(crate) struct FakeGrant {
    pub(crate) name: &'static str,
    /// What it says at once.
    pub(crate) now: Option<Answer>,
    /// What it does if it says nothing at once.
    pub(crate) later: Does,
    /// What it does with a new secret; nothing if it needs none.
    pub(crate) renewal: Option<Does>,
    /// How often it was asked.
    pub(crate) asked: Arc<AtomicUsize>,
}

impl Fake {
    /// A back end that allows everything at once.
    pub(crate) fn new(name: &'static str, does: Does) -> Self {
        let grant = FakeGrant::now(name, Answer::Allowed);
        Self { name, does, grant, expires: None, asked: AtomicUsize::new(0), authorized_with: Mutex::default() }
    }

    pub(crate) fn with_grant(self, grant: FakeGrant) -> Self {
        Self { grant: FakeGrant { name: self.name, ..grant }, ..self }
    }

    pub(crate) fn times_asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl FakeGrant {
    pub(crate) fn now(name: &'static str, answer: Answer) -> Self {
        Self { name, now: Some(answer), later: Does::Know, renewal: None, asked: Arc::default() }
    }

    pub(crate) fn later(later: Does) -> Self {
        Self { now: None, later, ..Self::now("", Answer::Allowed) }
    }

    pub(crate) fn times_asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Backend for Fake {
    fn name(&self) -> &'static str {
        self.name
    }

    fn authenticate(&self, attempt: &Arc<LoginAttempt>) -> Pending<Result<LoggedIn, Denial>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (does, attempt) = (self.does, Arc::clone(attempt));
        let logged_in = LoggedIn {
            name: if does == Does::Rename { "renamed".into() } else { Name::clone(&attempt.name) },
            tags: vec![self.name.into()],
            expires: self.expires,
            grant: Arc::new(self.grant.clone()),
        };
        let is_right = attempt.secret.as_ref().is_none_or(|secret| secret.expose() == b"right");
        let is_loopback = attempt.peer.is_loopback();
        Box::pin(async move { does.run(is_right, is_loopback).await.map(|()| logged_in) })
    }

    fn authorize(&self, attempt: &Arc<LoginAttempt>, tags: &[Name]) -> Pending<Result<LoggedIn, Denial>> {
        self.authorized_with.lock().push(tags.to_vec());
        self.authenticate(&Arc::new(LoginAttempt { secret: None, ..LoginAttempt::clone(attempt) }))
    }
}

impl Grant for FakeGrant {
    fn check(&self, _question: &Question) -> Checked {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = &self.now {
            return Checked::Now(answer.clone());
        }
        let (does, backend) = (self.later, self.name);
        Checked::Later(Box::pin(async move {
            match does.run(true, true).await {
                Ok(()) => Answer::Allowed,
                Err(Denial::Failed(text)) => Answer::Failed(Reason { backend, text: text.into() }),
                Err(_) => Answer::REFUSED,
            }
        }))
    }

    fn renew(&self, secret: &Secret) -> Renewal {
        let Some(does) = self.renewal else { return Renewal::NoNeed };
        let is_right = secret.expose() == b"right";
        let name = if does == Does::Rename { "renamed" } else { "alice" };
        let logged_in = LoggedIn {
            name: name.into(),
            tags: vec!["new".into()],
            expires: Some(Timestamp(9)),
            grant: Arc::new(self.clone()),
        };
        Renewal::Later(Box::pin(async move { does.run(is_right, true).await.map(|()| logged_in) }))
    }
}

impl Does {
    async fn run(self, is_right: bool, is_loopback: bool) -> Result<(), Denial> {
        match self {
            Self::Know | Self::Rename | Self::WantLoopback | Self::Wait(_) if !is_right => {
                Err(Denial::Refused("invalid credentials".into()))
            }
            Self::Know | Self::Rename => Ok(()),
            Self::Refuse => Err(Denial::Refused("no".into())),
            Self::WantLoopback if is_loopback => Ok(()),
            Self::WantLoopback => Err(Denial::LoopbackOnly),
            Self::Fail => Err(Denial::Failed("out of order".into())),
            Self::Wait(ms) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(())
            }
            Self::Panic => panic!("a back end panics, as this test wants it to"),
        }
    }
}

/// Somebody who wants in.
pub(crate) fn attempt(name: &str, secret: Option<&str>, address: &str) -> LoginAttempt {
    LoginAttempt {
        name: name.into(),
        secret: secret.map(|secret| Secret::new(secret.as_bytes())),
        peer: Peer::plain(address.parse().unwrap()),
        mechanism: "PLAIN",
        protocol: "amqp091",
    }
}

/// What a session asks first.
pub(crate) fn question() -> Question {
    Question::Vhost { vhost: "/".into() }
}

/// A connection that asks.
#[derive(Debug, Default)]
pub(crate) struct Asker(Arc<Mailbox>);

impl Asker {
    pub(crate) fn reply(&self) -> Reply {
        Reply::new(Arc::clone(&self.0), 7)
    }

    /// The next outcome.
    pub(crate) async fn outcome(&self) -> Outcome {
        let mut inbox = Inbox::default();
        std::future::poll_fn(|context| if self.0.register(context.waker()) { Poll::Pending } else { Poll::Ready(()) })
            .await;
        self.0.take(&mut inbox);
        match inbox.events.pop() {
            Some(Event::Access { ticket: 7, outcome }) if inbox.events.is_empty() => *outcome,
            other => panic!("expected one outcome: {other:?}"),
        }
    }
}
