//! What has a past, and which of its numbers.

use leveret_broker::Name;
use leveret_broker::stats::MessageStats;
use leveret_broker::topology::{ConnectionId, QueueId};

use super::ages::Kind;
use super::series::{BASIC, GLOBAL, Retention};

/// What has a past.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// All that goes through the node, as the overview shows it.
    Overview,
    /// What the node needs.
    Node,
    /// A vhost.
    Vhost(Name),
    /// A queue.
    Queue(QueueId),
    /// An exchange, by its vhost and name.
    Exchange(Name, Name),
    /// A connection.
    Connection(ConnectionId),
    /// A channel. Nobody but its connection knows its numbers, so they are looked at when somebody looks at it.
    Channel(ConnectionId, u16),
}

/// A number that has a past.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// What its details are called.
    pub(super) details: &'static str,
    /// The object that it stands in; none for the row itself.
    pub(super) within: Option<&'static str>,
    pub(super) kind: Kind,
}

macro_rules! fields {
    ($within:expr, $kind:ident: $($name:literal)*) => {
        [$(Field { name: $name, details: concat!($name, "_details"), within: $within, kind: Kind::$kind }),*]
    };
}

const STATS: Option<&str> = Some("message_stats");

static LENGTHS: [Field; 3] = fields!(None, Lengths: "messages" "messages_ready" "messages_unacknowledged");
static TOTALS: [Field; 3] =
    fields!(Some("queue_totals"), Lengths: "messages" "messages_ready" "messages_unacknowledged");
static OCTETS: [Field; 2] = fields!(None, Octets: "recv_oct" "send_oct");
static MESSAGES: [Field; 14] = fields!(STATS, Messages:
    "publish" "publish_in" "publish_out" "confirm" "return_unroutable" "drop_unroutable" "deliver" "deliver_no_ack"
    "deliver_get" "get" "get_no_ack" "get_empty" "redeliver" "ack");
static QUEUE_MESSAGES: [Field; 9] = fields!(STATS, Messages:
    "publish" "deliver" "deliver_no_ack" "deliver_get" "get" "get_no_ack" "get_empty" "redeliver" "ack");
static EXCHANGE_MESSAGES: [Field; 2] = fields!(STATS, Messages: "publish_in" "publish_out");
static CHURN: [Field; 7] = fields!(Some("churn_rates"), Messages:
    "connection_created" "connection_closed" "channel_created" "channel_closed" "queue_declared" "queue_created"
    "queue_deleted");
static NODE_CHURN: [Field; 7] = fields!(None, Messages:
    "connection_created" "connection_closed" "channel_created" "channel_closed" "queue_declared" "queue_created"
    "queue_deleted");
static MACHINE: [Field; 4] = fields!(None, Node: "mem_used" "disk_free" "fd_used" "sockets_used");

type Fields = &'static [&'static [Field]];

static OF_OVERVIEW: Fields = &[&TOTALS, &MESSAGES, &CHURN];
static OF_NODE: Fields = &[&MACHINE, &NODE_CHURN];
static OF_VHOST: Fields = &[&LENGTHS, &MESSAGES, &OCTETS];
static OF_QUEUE: Fields = &[&LENGTHS, &QUEUE_MESSAGES];
static OF_EXCHANGE: Fields = &[&EXCHANGE_MESSAGES];
static OF_CONNECTION: Fields = &[&OCTETS];
static OF_CHANNEL: Fields = &[&MESSAGES];

impl Subject {
    /// Its numbers that have a past, in the order in which samples have them.
    pub(super) fn fields(&self) -> Fields {
        match self {
            Self::Overview => OF_OVERVIEW,
            Self::Node => OF_NODE,
            Self::Vhost(_) => OF_VHOST,
            Self::Queue(_) => OF_QUEUE,
            Self::Exchange(..) => OF_EXCHANGE,
            Self::Connection(_) => OF_CONNECTION,
            Self::Channel(..) => OF_CHANNEL,
        }
    }

    /// How long its samples are kept.
    pub(super) const fn retention(&self) -> &'static [Retention] {
        match self {
            Self::Overview | Self::Node | Self::Vhost(_) => GLOBAL,
            Self::Queue(_) | Self::Exchange(..) | Self::Connection(_) | Self::Channel(..) => BASIC,
        }
    }

    /// Whether its numbers are known only from rows that are made of it.
    pub(super) const fn is_seen_only(&self) -> bool {
        matches!(self, Self::Channel(..))
    }
}

/// In the order of [`MESSAGES`].
pub(super) fn messages(stats: &MessageStats) -> [u64; 14] {
    let out = stats.deliver_get();
    let MessageStats {
        publish,
        publish_in,
        publish_out,
        confirm,
        return_unroutable,
        drop_unroutable,
        deliver,
        deliver_no_ack,
        get,
        get_no_ack,
        get_empty,
        redeliver,
        ack,
    } = *stats;
    [
        publish,
        publish_in,
        publish_out,
        confirm,
        return_unroutable,
        drop_unroutable,
        deliver,
        deliver_no_ack,
        out,
        get,
        get_no_ack,
        get_empty,
        redeliver,
        ack,
    ]
}

/// In the order of [`QUEUE_MESSAGES`].
pub(super) fn queue_messages(stats: &MessageStats) -> [u64; 9] {
    let [publish, _, _, _, _, _, rest @ ..] = messages(stats);
    let [deliver, deliver_no_ack, out, get, get_no_ack, get_empty, redeliver, ack] = rest;
    [publish, deliver, deliver_no_ack, out, get, get_no_ack, get_empty, redeliver, ack]
}
