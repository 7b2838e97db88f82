//! The options of `leveret perf`.

use std::path::PathBuf;
use std::str::FromStr;

use crate::argument::Argument;
use crate::message::{Header, Property, Span};
use crate::url::Url;

/// Loads a broker with messages and measures what it does.
///
/// Publishers and consumers are spread over the queues in turn. Without --queue the queues are the run's own and are
/// deleted at its end.
///
/// What a feature of queues costs shows with its arguments: --queue-args x-max-priority=10 --random-priority 10, or
/// --type x-delayed-message --exchange-args x-delayed-type=direct --delay-ms 1000..5000. Publishes that a queue refuses
/// (--queue-args x-overflow=reject-publish,x-max-length=1000 --confirm 100) are counted apart from those confirmed.
///
/// What storing messages costs shows with, say, --durable --persistent --confirm 100 --broker-pid auto: the broker's CPU
/// time and memory, and the bytes it wrote to disks.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "the switches of a command line")]
pub struct Options {
    /// Where the broker is: amqp://user:password@host:port/vhost, or amqps: with TLS
    #[arg(long, value_name = "URL", default_value = "amqp://guest:guest@127.0.0.1:5672/")]
    pub(crate) url: Url,
    /// With amqps://, PEM file with the authority of the broker's certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// With amqps://, take any certificate for the broker's
    #[arg(long, conflicts_with = "tls_ca")]
    pub(crate) tls_insecure: bool,
    /// With amqps://, PEM file with a certificate to show to the broker
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file with the key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Publishers, each with a connection and a thread
    #[arg(long, short = 'x', value_name = "N", default_value_t = 1)]
    pub(crate) publishers: usize,
    /// Consumers, each with a connection and a thread
    #[arg(long, short = 'y', value_name = "N", default_value_t = 1)]
    pub(crate) consumers: usize,
    /// Only publish; the messages stay in the queue
    #[arg(long, conflicts_with_all = ["consumer_only", "drain"])]
    pub(crate) publisher_only: bool,
    /// Only consume
    #[arg(long)]
    pub(crate) consumer_only: bool,
    /// Only consume, until the queues are empty
    #[arg(long)]
    pub(crate) drain: bool,

    /// Publish so many messages in all while nobody consumes, report, then drain the queues and report that
    #[arg(long, value_name = "N", conflicts_with_all = ["publisher_only", "consumer_only", "drain", "messages", "exclusive"])]
    pub(crate) fill: Option<u64>,

    /// Body of a message in bytes; from 8 on it carries a time, and latency is measured
    #[arg(long, short = 's', value_name = "BYTES", default_value_t = 16)]
    pub(crate) size: usize,
    /// Messages a second of each publisher; 0 is as many as go
    #[arg(long, short = 'r', value_name = "N", default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Messages in all, then the run ends
    #[arg(long, short = 'C', value_name = "N")]
    pub(crate) messages: Option<u64>,
    /// Seconds to measure; 0 is until Ctrl-C [default: 10, or no limit with --messages, --fill or --drain]
    #[arg(long, short = 'z', value_name = "SECONDS")]
    pub(crate) duration: Option<f64>,
    /// Seconds to run before measuring [default: 2, or 0 with --messages, --fill or --drain]
    ///
    /// The default is longer by the longest delay, if messages are delayed.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) warm_up: Option<f64>,

    /// Publish with confirms, with so many publishes waiting for theirs at most
    #[arg(long, short = 'c', value_name = "N")]
    pub(crate) confirm: Option<usize>,
    /// Publish persistent messages
    #[arg(long, short = 'f')]
    pub(crate) persistent: bool,
    /// Publish mandatory messages and count those that come back
    #[arg(long)]
    pub(crate) mandatory: bool,

    /// Properties of the messages, with commas between them: priority=5,expiration=60000
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',')]
    pub(crate) message_properties: Vec<Property>,
    /// Header of the messages; FROM..TO draws a number for each; may be given several times
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    pub(crate) header: Vec<Header>,
    /// Header that holds another text in every message, as deduplication needs it
    #[arg(long, value_name = "NAME")]
    pub(crate) unique_header: Option<String>,
    /// Draw a priority from 0 to MAX for each message
    #[arg(long, value_name = "MAX")]
    pub(crate) random_priority: Option<u8>,
    /// Header x-delay of the messages, in ms; FROM..TO draws it for each
    ///
    /// Instead of latency, the report says how long after their time such messages are delivered: sending time plus
    /// delay, by the clock of this machine. Those that come a millisecond or more before it are counted as early.
    #[arg(long, value_name = "MS", allow_hyphen_values = true)]
    pub(crate) delay_ms: Option<Span>,

    /// Deliveries a consumer may have unacknowledged; 0 is no limit
    #[arg(long, short = 'q', value_name = "N", default_value_t = 0)]
    pub(crate) prefetch: u16,
    /// Acknowledge: 'auto' (not at all), 'each', or a number: all of every N deliveries with one ack
    #[arg(long, short = 'a', value_name = "MODE", default_value = "auto")]
    pub(crate) ack: AckMode,

    /// Queue to use, or several with commas; with --queues, NAME-1 to NAME-N
    #[arg(long, short = 'u', value_name = "NAME", value_delimiter = ',')]
    pub(crate) queue: Vec<String>,
    /// Number of queues
    #[arg(long, value_name = "N")]
    pub(crate) queues: Option<usize>,
    /// Publish to all queues in turn, and let every consumer take from its share of all queues
    #[arg(long, conflicts_with = "exclusive")]
    pub(crate) round_robin: bool,
    /// Arguments of queue.declare, with commas between them: x-queue-type=quorum,x-max-length=1000
    ///
    /// Numbers, true and false are such; what is to be text all the same stands in double quotes.
    #[arg(long, alias = "queue-arg", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub(crate) queue_args: Vec<Argument>,
    /// Let each queue dead-letter to another, and that to the next, N times; consumers take from the last
    ///
    /// The queues after QUEUE are QUEUE-dead-1 to QUEUE-dead-N. Messages die in all but the last one: at once, by
    /// x-message-ttl=0, or as --queue-args says with a TTL or a limit of length.
    #[arg(long, value_name = "N", conflicts_with = "exclusive", conflicts_with = "predeclared")]
    pub(crate) dead_letter_chain: Option<usize>,
    /// Declare durable queues and exchange
    #[arg(long)]
    pub(crate) durable: bool,
    /// Declare exclusive queues; each takes one consumer
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// Declare auto-delete queues
    #[arg(long)]
    pub(crate) auto_delete: bool,
    /// Declare and bind nothing: queues and exchange are there
    #[arg(long, short = 'p')]
    pub(crate) predeclared: bool,
    /// Delete the queues at the end even if they were named
    #[arg(long)]
    pub(crate) delete: bool,

    /// Exchange to publish to [default: the default exchange, or with --type one of the run's own]
    #[arg(long, short = 'e', value_name = "NAME")]
    pub(crate) exchange: Option<String>,
    /// Type of that exchange [default: direct]
    #[arg(long = "type", short = 't', alias = "exchange-type", value_name = "TYPE")]
    pub(crate) exchange_type: Option<String>,
    /// Arguments of exchange.declare, with commas between them: x-delayed-type=direct
    #[arg(long, alias = "exchange-arg", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub(crate) exchange_args: Vec<Argument>,
    /// Routing key of all messages [default: the name of the publisher's queue]
    #[arg(long, short = 'k', value_name = "KEY")]
    pub(crate) routing_key: Option<String>,
    /// Publish with so many routing keys in turn, KEY-1 to KEY-N
    #[arg(long, value_name = "N", conflicts_with = "round_robin")]
    pub(crate) routing_keys: Option<usize>,
    /// Key to bind the queues with [default: the routing key; 1, a weight, with --type x-consistent-hash]
    #[arg(long, value_name = "KEY")]
    pub(crate) binding_key: Option<String>,
    /// Arguments of the bindings, with commas between them: x-match=any,kind=order
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    pub(crate) binding_args: Vec<Argument>,

    /// Check that every message arrives once and in order; costs time and a bit of memory for each message
    #[arg(long)]
    pub(crate) check: bool,
    /// Measure the broker's process: its id, or 'auto' for the one that listens on the port
    #[arg(long, value_name = "PID")]
    pub(crate) broker_pid: Option<BrokerPid>,
    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress
    #[arg(long)]
    pub(crate) quiet: bool,

    /// Send nothing: open so many connections and say what each costs the broker
    #[arg(long, value_name = "N", conflicts_with_all = ["publisher_only", "consumer_only", "drain", "fill"])]
    pub(crate) idle_connections: Option<usize>,
    /// Channels of each idle connection
    #[arg(long, value_name = "M", default_value_t = 1, requires = "idle_connections")]
    pub(crate) channels: u16,
    /// Send nothing: declare so many queues and say what each costs the broker
    #[arg(long, value_name = "N", conflicts_with_all = ["publisher_only", "consumer_only", "drain", "fill"])]
    pub(crate) idle_queues: Option<usize>,
}

/// How consumers acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckMode {
    /// The broker takes a delivery for acknowledged.
    Auto,
    /// An ack for each delivery.
    Each,
    /// An ack with `multiple` for so many deliveries.
    Multiple(u32),
}

impl FromStr for AckMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "each" => Ok(Self::Each),
            number => match number.parse() {
                Ok(every) if every > 0 => Ok(Self::Multiple(every)),
                _ => Err("it is 'auto', 'each' or a number above 0".into()),
            },
        }
    }
}

impl std::fmt::Display for AckMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Each => f.write_str("each"),
            Self::Multiple(every) => write!(f, "{every}"),
        }
    }
}

/// Which process is the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokerPid {
    /// The one that listens on the port of the URL.
    Auto,
    /// This one.
    Pid(u32),
}

impl FromStr for BrokerPid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Pid).map_err(|_| "it is a process id or 'auto'".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ack_modes_have_names_or_numbers() {
        for (text, mode) in [
            ("auto", Some(AckMode::Auto)),
            ("each", Some(AckMode::Each)),
            ("50", Some(AckMode::Multiple(50))),
            ("0", None),
            ("-1", None),
            ("some", None),
        ] {
            assert_eq!(text.parse().ok(), mode, "{text}");
            if let Some(mode) = mode {
                assert_eq!(mode.to_string(), text);
            }
        }
    }

    #[test]
    fn the_broker_is_a_process_id_or_found() {
        for (text, pid) in [("auto", Some(BrokerPid::Auto)), ("17", Some(BrokerPid::Pid(17))), ("rabbit", None)] {
            assert_eq!(text.parse().ok(), pid, "{text}");
        }
    }
}
