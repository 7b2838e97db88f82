//! The options of `leveret perf`.

use std::str::FromStr;

use crate::url::Url;

/// Loads a broker with messages and measures what it does.
///
/// Publishers and consumers are spread over the queues in turn. Without --queue the queues are the run's own and are
/// deleted at its end.
///
/// What storing messages costs shows with, say, --durable --persistent --confirm 100 --broker-pid auto: the broker's CPU
/// time and memory, and the bytes it wrote to disks.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "the switches of a command line")]
pub struct Options {
    /// Where the broker is: amqp://user:password@host:port/vhost
    #[arg(long, value_name = "URL", default_value = "amqp://guest:guest@127.0.0.1:5672/")]
    pub(crate) url: Url,

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
    /// Argument of queue.declare, such as x-queue-type=quorum; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) queue_arg: Vec<Argument>,
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

    /// Exchange to publish to [default: the default exchange, or with --exchange-type one of the run's own]
    #[arg(long, short = 'e', value_name = "NAME")]
    pub(crate) exchange: Option<String>,
    /// Type of that exchange [default: direct]
    #[arg(long, short = 't', value_name = "TYPE")]
    pub(crate) exchange_type: Option<String>,
    /// Argument of exchange.declare; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) exchange_arg: Vec<Argument>,
    /// Routing key of all messages [default: the name of the publisher's queue]
    #[arg(long, short = 'k', value_name = "KEY")]
    pub(crate) routing_key: Option<String>,
    /// Key to bind the queues with [default: the routing key]
    #[arg(long, value_name = "KEY")]
    pub(crate) binding_key: Option<String>,

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

/// An argument of a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Argument {
    /// Its name.
    pub(crate) key: String,
    /// Its value.
    pub(crate) value: ArgumentValue,
}

/// The value of an argument: what reads as a number or truth value is one, unless it stands in double quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ArgumentValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Anything else.
    Text(String),
}

impl ArgumentValue {
    fn of(text: &str) -> Self {
        if let Some(quoted) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            return Self::Text(quoted.to_owned());
        }
        let truth = text.parse().map(Self::Bool).ok();
        truth.or_else(|| text.parse().map(Self::Integer).ok()).unwrap_or_else(|| Self::Text(text.to_owned()))
    }
}

impl FromStr for Argument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("it is KEY=VALUE")?;
        Ok(Self { key: key.to_owned(), value: ArgumentValue::of(value) })
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

    #[test]
    fn arguments_take_the_type_they_look_like() {
        let text = |text: &str| ArgumentValue::Text(text.into());
        for (argument, key, value) in [
            ("x-queue-type=quorum", "x-queue-type", text("quorum")),
            ("x-max-length=1000", "x-max-length", ArgumentValue::Integer(1000)),
            ("x-single-active-consumer=true", "x-single-active-consumer", ArgumentValue::Bool(true)),
            ("version=\"1\"", "version", text("1")),
            ("a=b=c", "a", text("b=c")),
            ("empty=", "empty", text("")),
        ] {
            let expected = Argument { key: key.into(), value };
            assert_eq!(argument.parse(), Ok(expected), "{argument}");
        }
        assert!("x-queue-type".parse::<Argument>().is_err());
        assert!("=quorum".parse::<Argument>().is_err());
    }
}
