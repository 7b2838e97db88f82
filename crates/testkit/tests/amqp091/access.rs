//! What comes of a method that a user may send or not, for the tests of permissions.

use leveret_protocol::amqp091::Method;
use leveret_protocol::amqp091::method::{ChannelClose, ChannelCloseOk, ChannelFlow};
use leveret_testkit::amqp091::{Channel, Connection};
use leveret_testkit::broker;
use leveret_testkit::policy::{OwnVhost, own_vhost};
use leveret_testkit::users::{OwnUser, Permissions, own_user};

/// What a name ends in says what a user with [`BY_SUFFIX`] may do with what it stands for: `-w-` is write only.
pub(crate) const SUFFIXES: [&str; 8] = ["cwr", "cw-", "c-r", "c--", "-wr", "-w-", "--r", "---"];

/// Permissions that go by the end of a name.
pub(crate) const BY_SUFFIX: Permissions<'static> =
    Permissions { configure: r"\.c[-w][-r]$", write: r"\.[-c]w[-r]$", read: r"\.[-c][-w]r$" };

const GOODBYE: ChannelClose<'_> = ChannelClose { reply_code: 200, reply_text: "Goodbye", class_id: 0, method_id: 0 };

/// A right, by its letter in [`SUFFIXES`] and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    Configure,
    Write,
    Read,
}

impl Right {
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Configure => 'c',
            Self::Write => 'w',
            Self::Read => 'r',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// A vhost with a user that may do what the ends of names say, each connected to it: the user of all tests and this one.
pub(crate) struct Bench {
    pub(crate) owner: Connection,
    pub(crate) client: Connection,
    pub(crate) user: OwnUser,
    pub(crate) vhost: OwnVhost,
}

impl Bench {
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self::with(BY_SUFFIX)
    }

    #[track_caller]
    pub(crate) fn with(permissions: Permissions<'_>) -> Self {
        let vhost = own_vhost();
        let user = own_user(vhost.name(), permissions);
        let owner = Connection::builder().vhost(vhost.name()).open();
        let client = user.open(vhost.name());
        Self { owner, client, user, vhost }
    }

    /// The text that refuses access to a queue.
    pub(crate) fn no_queue_access(&self, right: Right, queue: &str) -> Refusal {
        self.no_access(right, &format!("queue '{queue}'"))
    }

    /// The text that refuses access to an exchange.
    pub(crate) fn no_exchange_access(&self, right: Right, exchange: &str) -> Refusal {
        self.no_access(right, &format!("exchange '{exchange}'"))
    }

    /// The text that refuses a routing key or binding key of an exchange.
    pub(crate) fn no_topic_access(&self, right: Right, exchange: &str, key: &str) -> Refusal {
        self.no_access(right, &format!("topic '{key}' in exchange '{exchange}'"))
    }

    fn no_access(&self, right: Right, what: &str) -> Refusal {
        // RabbitMQ 3 does not say which right is missing.
        let verb = if is_rabbitmq_3() { String::new() } else { format!("{} ", right.name()) };
        let (vhost, user) = (self.vhost.name(), self.user.name());
        refused(403, &format!("ACCESS_REFUSED - {verb}access to {what} in vhost '{vhost}' refused for user '{user}'"))
    }

    /// What comes of what the client sends on a channel of its own.
    #[track_caller]
    pub(crate) fn outcome(&self, send: impl FnOnce(&Channel)) -> Outcome {
        let channel = self.client.channel();
        send(&channel);
        outcome(&channel)
    }
}

/// The close of a channel: code, text, and the method it blames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) text: String,
    blame: Option<(u16, u16)>,
}

impl Refusal {
    pub(crate) fn blame(&self) -> Option<(u16, u16)> {
        self.blame
    }

    /// The same with the method that is to blame, without which any may be.
    pub(crate) fn blaming(self, method: (u16, u16)) -> Self {
        Self { blame: Some(method), ..self }
    }
}

/// A refusal of any method.
pub(crate) fn refused(code: u16, text: &str) -> Refusal {
    Refusal { code, text: text.to_owned(), blame: None }
}

/// What came of the methods sent on a channel.
#[derive(Debug)]
pub(crate) struct Outcome(pub(crate) Result<(), Refusal>);

impl Outcome {
    #[track_caller]
    pub(crate) fn assert_allowed(self, case: &str) {
        assert_eq!(self.0, Ok(()), "{case}");
    }

    #[track_caller]
    pub(crate) fn assert_refused(self, expected: &Refusal, case: &str) {
        let got = self.0.map_err(|got| if expected.blame.is_none() { Refusal { blame: None, ..got } } else { got });
        assert_eq!(got.as_ref(), Err(expected), "{case}");
    }
}

/// Whether the channel is still there once the server has done all that was sent on it, which are methods that cost no
/// more than the channel. It is closed in any case.
#[track_caller]
pub(crate) fn outcome(channel: &Channel) -> Outcome {
    let outcome = outcome_so_far(channel);
    if outcome.0.is_ok() {
        channel.send(&GOODBYE);
        // RabbitMQ's basic.consume-ok may come this late, as it is from the queue.
        while !matches!(channel.next_answer(), Method::ChannelCloseOk(_)) {}
    }
    outcome
}

/// Whether the channel is still there once the server has done all that was sent on it.
#[track_caller]
pub(crate) fn outcome_so_far(channel: &Channel) -> Outcome {
    channel.send(&ChannelFlow { active: true });
    loop {
        match channel.next_answer() {
            Method::ChannelFlowOk(_) => return Outcome(Ok(())),
            Method::ChannelClose(close) => {
                channel.send(&ChannelCloseOk {});
                let blame = Some((close.class_id, close.method_id));
                return Outcome(Err(Refusal { code: close.reply_code, text: close.reply_text.to_owned(), blame }));
            }
            _ => {}
        }
    }
}

/// Whether the broker under test is RabbitMQ 3, which says less in some texts.
pub(crate) fn is_rabbitmq_3() -> bool {
    broker::rabbitmq_major().is_some_and(|major| major < 4)
}
