//! From options to who publishes where and who consumes what.

use std::time::Duration;

use crate::argument::{Argument, ArgumentValue, find};
use crate::clock::SECOND_NS;
use crate::error::Error;
use crate::figures::{count, float, seconds};
use crate::message;
use crate::options::{AckMode, Options};
use crate::order::{PUBLISHERS_MAX, Spread};

/// Seconds measured unless something else ends the run.
const DURATION_DEFAULT: f64 = 10.0;
/// Seconds before the measuring starts.
const WARM_UP_DEFAULT: f64 = 2.0;
/// Queues and exchange of runs that publish only or consume only, so that one finds what the other left.
const NAME: &str = "leveret-perf";

/// The types of exchanges that send each message to one of their queues.
const TYPES_OF_ONE: [&str; 4] = ["x-consistent-hash", "x-modulus-hash", "x-random", "x-local-random"];
/// Arguments that let messages of a queue die.
const DEADLY: [&str; 4] = ["x-message-ttl", "x-max-length", "x-max-length-bytes", "x-overflow"];

/// A run, its options checked and filled in.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The options it was made from.
    pub(crate) options: Options,
    /// Publishers.
    pub(crate) publishers: usize,
    /// Consumers.
    pub(crate) consumers: usize,
    /// Names of the queues.
    pub(crate) queues: Vec<String>,
    /// Exchange to publish to.
    pub(crate) exchange: String,
    /// Its type, if it is to be declared.
    pub(crate) declare_exchange: Option<String>,
    /// Whether the queues, and the exchange if it has no name given, are to be deleted at the end.
    pub(crate) cleanup: Cleanup,
    /// Which queues messages reach.
    pub(crate) spread: Spread,
    /// The longest that messages are delayed, in nanoseconds, if they are.
    pub(crate) delay_max_ns: Option<u64>,
    /// Nanoseconds before the measuring starts.
    pub(crate) warm_up_ns: u64,
    /// Nanoseconds to measure; `None` is until something else ends the run.
    pub(crate) duration_ns: Option<u64>,
}

/// A queue to declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its name.
    pub(crate) name: String,
    /// Its arguments.
    pub(crate) arguments: Vec<Argument>,
}

/// What happens to the queues at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cleanup {
    /// They stay.
    Keep,
    /// They go, and a declared exchange with them.
    Delete,
}

impl Plan {
    /// Checks the options and fills in what they leave open.
    pub(crate) fn new(mut options: Options) -> Result<Self, Error> {
        message::settle(&mut options).and_then(|()| check(&options)).map_err(Error::Options)?;
        let consume_only = options.consumer_only || options.drain;
        let publishers = if consume_only { 0 } else { options.publishers };
        let consumers = if options.publisher_only { 0 } else { options.consumers };
        let both = publishers > 0 && consumers > 0;
        let own_name = if both { format!("{NAME}-{}", std::process::id()) } else { NAME.to_owned() };
        let named = !options.queue.is_empty();
        let cleanup = if options.delete || (both && !named) { Cleanup::Delete } else { Cleanup::Keep };
        let (exchange, declare_exchange) = exchange(&options, &own_name);
        let limited = options.messages.is_some() || options.drain;
        let duration = options.duration.unwrap_or(if limited { 0.0 } else { DURATION_DEFAULT });
        let delay_max_ns = message::delay_max_ns(&options);
        let warm_up_default = WARM_UP_DEFAULT + seconds(delay_max_ns.unwrap_or_default());
        let warm_up = options.warm_up.unwrap_or(if limited { 0.0 } else { warm_up_default });
        Ok(Self {
            publishers,
            consumers,
            queues: queue_names(&options, own_name),
            spread: spread(&options, &exchange, declare_exchange.as_deref()),
            exchange,
            declare_exchange,
            cleanup,
            delay_max_ns,
            warm_up_ns: span_ns(warm_up),
            duration_ns: (duration > 0.0).then(|| span_ns(duration)),
            options,
        })
    }

    /// A run that fills queues, and one that drains them.
    pub(crate) fn fill_and_drain(mut options: Options, messages: u64) -> Result<(Self, Self), Error> {
        refuse(options.check, "--check needs publishers and consumers at the same time").map_err(Error::Options)?;
        refuse(options.publishers == 0 || options.consumers == 0, "--fill needs publishers and consumers")
            .map_err(Error::Options)?;
        if options.queue.is_empty() {
            options.queue.push(format!("{NAME}-{}", std::process::id()));
            options.delete = true;
        }
        options.fill = None;
        let fill = Options { messages: Some(messages), publisher_only: true, delete: false, ..options.clone() };
        let drain = Options { drain: true, rate: 0.0, ..options };
        Ok((Self::new(fill)?, Self::new(drain)?))
    }

    /// Whether a number of messages ends the run, not the clock.
    pub(crate) fn is_limited(&self) -> bool {
        self.options.messages.is_some() || self.options.drain
    }

    /// The number of the queue that publisher or consumer `index` belongs to.
    pub(crate) fn queue_of(&self, index: usize) -> usize {
        index % self.queues.len().max(1)
    }

    /// The name of queue number `queue`.
    pub(crate) fn queue(&self, queue: usize) -> &str {
        self.queues.get(queue).map_or("", String::as_str)
    }

    /// Queue number `queue` and those that its dead letters go through, in this order.
    pub(crate) fn links(&self, queue: usize) -> Vec<Link> {
        let last = self.options.dead_letter_chain.unwrap_or_default();
        let of_options = &self.options.queue_args;
        let deadly = |argument: &&Argument| DEADLY.contains(&argument.key.as_str());
        let link = |number| {
            let name = self.link_name(queue, number);
            let mut arguments = of_options.clone();
            if number < last {
                if !of_options.iter().any(|argument| deadly(&argument)) {
                    arguments.push(Argument::new("x-message-ttl", ArgumentValue::Integer(0)));
                }
                let next = ArgumentValue::Text(self.link_name(queue, number + 1));
                arguments.push(Argument::new("x-dead-letter-exchange", ArgumentValue::Text(String::new())));
                arguments.push(Argument::new("x-dead-letter-routing-key", next));
            } else if last > 0 {
                arguments.retain(|argument| !deadly(&argument));
            }
            Link { name, arguments }
        };
        (0..=last).map(link).collect()
    }

    fn link_name(&self, queue: usize, number: usize) -> String {
        let name = self.queue(queue);
        if number == 0 { name.to_owned() } else { format!("{name}-dead-{number}") }
    }

    /// The name of the queue that gets the messages of queue number `queue` in the end.
    pub(crate) fn consumed_queue(&self, queue: usize) -> String {
        self.link_name(queue, self.options.dead_letter_chain.unwrap_or_default())
    }

    /// The numbers of the queues that consumer `index` takes from.
    pub(crate) fn queues_of(&self, index: usize) -> Vec<usize> {
        if self.options.round_robin && self.consumers < self.queues.len() {
            return (index..self.queues.len()).step_by(self.consumers.max(1)).collect();
        }
        vec![self.queue_of(index)]
    }

    /// The routing keys of publisher `index`, which come in turn.
    pub(crate) fn routing_keys(&self, index: usize) -> Vec<String> {
        if self.options.round_robin {
            // Publishers begin at different queues, so that they do not all load the same one at the same time.
            let (before, from) = self.queues.split_at(self.queue_of(index));
            return from.iter().chain(before).cloned().collect();
        }
        let key = self.options.routing_key.as_deref().unwrap_or_else(|| self.queue(self.queue_of(index)));
        match self.options.routing_keys {
            Some(keys) => (1..=keys).map(|number| format!("{key}-{number}")).collect(),
            None => vec![key.to_owned()],
        }
    }

    /// The key that binds queue number `queue`.
    pub(crate) fn binding_key(&self, queue: usize) -> &str {
        let weight = (self.kind() == Some("x-consistent-hash")).then_some("1");
        let key = self.options.binding_key.as_deref().or(weight).or(self.options.routing_key.as_deref());
        key.unwrap_or_else(|| self.queue(queue))
    }

    /// The type of the exchange, if it is the run that declares it.
    fn kind(&self) -> Option<&str> {
        declared_kind(&self.options, self.declare_exchange.as_deref())
    }

    /// How many messages publisher `index` sends.
    pub(crate) fn quota(&self, index: usize) -> u64 {
        let Some(messages) = self.options.messages else { return u64::MAX };
        let publishers = self.publishers.max(1) as u64;
        messages / publishers + u64::from((index as u64) < messages % publishers)
    }

    /// Queues that have a consumer.
    pub(crate) fn queues_consumed(&self) -> usize {
        match (self.options.round_robin, self.consumers) {
            (true, 1..) => self.queues.len(),
            (_, consumers) => self.queues.len().min(consumers),
        }
    }

    /// How many deliveries follow from the messages the run publishes, if that can be told.
    pub(crate) fn deliveries(&self) -> Option<u64> {
        let messages = self.options.messages?;
        match self.spread {
            Spread::Unknown => None,
            Spread::Turns => Some(messages),
            Spread::One => (self.queues_consumed() == self.queues.len()).then_some(messages),
            Spread::Every => Some(messages.saturating_mul(self.queues_consumed() as u64)),
            Spread::Own => {
                let consumed = (0..self.publishers).filter(|index| self.queue_of(*index) < self.queues_consumed());
                Some(consumed.map(|index| self.quota(index)).sum())
            }
        }
    }
}

fn refuse(wrong: bool, text: &str) -> Result<(), String> {
    if wrong { Err(text.to_owned()) } else { Ok(()) }
}

fn check(options: &Options) -> Result<(), String> {
    let span = |seconds: Option<f64>| seconds.is_some_and(|seconds| Duration::try_from_secs_f64(seconds).is_err());
    let consume_only = options.consumer_only || options.drain;
    let publishers = if consume_only { 0 } else { options.publishers };
    let consumers = if options.publisher_only { 0 } else { options.consumers };
    refuse(!options.rate.is_finite() || options.rate < 0.0, "--rate is a number of messages from 0 on")?;
    refuse(
        span(options.duration) || span(options.warm_up),
        "--duration and --warm-up are numbers of seconds from 0 on",
    )?;
    refuse(publishers + consumers == 0, "there is neither a publisher nor a consumer")?;
    refuse(options.confirm == Some(0), "--confirm 0 would never publish")?;
    refuse(options.queues == Some(0), "--queues is at least 1")?;
    refuse(options.queue.iter().any(String::is_empty), "--queue has an empty name")?;
    refuse(options.queue.len() > 1 && options.queues.is_some(), "--queues goes with one name in --queue")?;
    refuse(
        matches!(options.ack, AckMode::Multiple(every) if options.prefetch > 0 && every > u32::from(options.prefetch)),
        "--ack N above --prefetch would wait for deliveries that never come",
    )?;
    refuse(options.check && (publishers == 0 || consumers == 0), "--check needs publishers and consumers in one run")?;
    refuse(options.check && options.size < 16, "--check needs a --size of 16 or more")?;
    refuse(options.check && publishers > PUBLISHERS_MAX, "--check takes 4,096 publishers at most")?;
    refuse(options.check && options.round_robin, "--check follows publishers to one queue, not --round-robin")?;
    refuse(
        options.round_robin && options.routing_key.is_some(),
        "--round-robin takes the names of the queues as routing keys, so there is no --routing-key to give",
    )?;
    refuse(options.fill == Some(0), "--fill is at least 1")?;
    refuse(options.routing_keys == Some(0), "--routing-keys is at least 1")?;
    refuse(
        options.delay_ms.is_some() && (options.drain || options.fill.is_some()),
        "--drain and --fill go by the messages that are in the queues, not by delayed ones",
    )?;
    refuse(options.unique_header.is_some() && publishers > PUBLISHERS_MAX, "--unique-header takes 4,096 publishers")?;
    let deaths = |argument: &Argument| argument.key.starts_with("x-dead-letter-");
    refuse(
        options.dead_letter_chain.is_some() && options.queue_args.iter().any(deaths),
        "--dead-letter-chain says where dead letters go, --queue-args cannot",
    )?;
    refuse(options.channels == 0, "--channels is at least 1")?;
    refuse(options.exclusive && consumers == 0, "--exclusive needs consumers: the queues are theirs")
}

fn queue_names(options: &Options, own_name: String) -> Vec<String> {
    let base = match options.queue.as_slice() {
        [] => own_name,
        [name] => name.clone(),
        names => return names.to_vec(),
    };
    match options.queues.unwrap_or(1) {
        1 => vec![base],
        queues => (1..=queues).map(|number| format!("{base}-{number}")).collect(),
    }
}

/// The exchange's name and, if it is to be declared, its type.
fn exchange(options: &Options, own_name: &str) -> (String, Option<String>) {
    let kind = options.exchange_type.clone();
    let name = match (&options.exchange, &kind) {
        (Some(name), _) => name.clone(),
        (None, Some(_)) => own_name.to_owned(),
        (None, None) => String::new(),
    };
    // The broker's own exchanges are always there.
    let declare = !(options.predeclared || name.is_empty() || name.starts_with("amq."));
    let kind = declare.then(|| kind.unwrap_or_else(|| "direct".to_owned()));
    (name, kind)
}

/// The type by which a declared exchange routes.
fn declared_kind<'a>(options: &'a Options, declared: Option<&'a str>) -> Option<&'a str> {
    match (declared, find(&options.exchange_args, "x-delayed-type")) {
        (Some("x-delayed-message"), Some(ArgumentValue::Text(kind))) => Some(kind),
        _ => declared,
    }
}

fn spread(options: &Options, exchange: &str, declared: Option<&str>) -> Spread {
    let kind = declared_kind(options, declared);
    let binding_key = options.binding_key.is_some();
    let routing_key = options.routing_key.is_some();
    match (exchange, kind) {
        (_, Some("fanout")) => Spread::Every,
        (_, Some(kind)) if TYPES_OF_ONE.contains(&kind) => Spread::One,
        // Nothing is bound with numbered keys.
        _ if options.routing_keys.is_some() => Spread::Unknown,
        ("", _) if options.round_robin => Spread::Turns,
        (_, Some("direct" | "topic")) if options.round_robin && !binding_key => Spread::Turns,
        ("", _) if !routing_key => Spread::Own,
        (_, Some("direct" | "topic")) => match (routing_key, binding_key) {
            (false, false) => Spread::Own,
            (true, false) => Spread::Every,
            _ => Spread::Unknown,
        },
        _ => Spread::Unknown,
    }
}

fn span_ns(seconds: f64) -> u64 {
    count(seconds * float(SECOND_NS))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("perf").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Plan::new(line.options).map_err(|error| error.to_string())
    }

    #[test]
    fn options_do_not_get_in_each_others_way() {
        Line::command().debug_assert();
    }

    #[test]
    fn options_become_queues_keys_and_shares() {
        let plan = plan("-x 3 -y 4 --queue q --queues 2 --messages 10").unwrap();
        assert_eq!(plan.queues, ["q-1", "q-2"]);
        assert_eq!([0, 1, 2].map(|index| plan.quota(index)), [4, 3, 3]);
        assert_eq!([0, 1, 2].map(|index| plan.routing_keys(index)), [["q-1"], ["q-2"], ["q-1"]]);
        assert_eq!((plan.exchange.as_str(), plan.deliveries(), plan.duration_ns), ("", Some(10), None));
        assert_eq!(plan.cleanup, Cleanup::Keep);
    }

    #[test]
    fn queues_in_turn_are_shared_out_among_consumers() {
        let queues = |line: &str, consumers: usize| -> Vec<_> {
            let plan = plan(line).unwrap();
            (0..consumers).map(|index| plan.queues_of(index)).collect()
        };
        assert_eq!(queues("--round-robin --queues 5 -y 2", 2), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(queues("--round-robin --queues 2 -y 3", 3), [[0], [1], [0]]);
        assert_eq!(queues("--queues 5 -y 2", 2), [[0], [1]]);
        let plan = plan("--round-robin --queue a,b,c -x 2 -y 1 --messages 10").unwrap();
        assert_eq!([0, 1].map(|index| plan.routing_keys(index)), [["a", "b", "c"], ["b", "c", "a"]]);
        assert_eq!((plan.queues_consumed(), plan.deliveries()), (3, Some(10)));
    }

    #[test]
    fn filling_and_draining_use_the_same_queues_and_leave_none_of_their_own() {
        for (line, queues, cleanup) in [
            ("--queues 2", [1, 2].map(|number| format!("{NAME}-{}-{number}", std::process::id())), Cleanup::Delete),
            ("--queue a,b", ["a".to_owned(), "b".to_owned()], Cleanup::Keep),
        ] {
            let words = std::iter::once("perf").chain(line.split_whitespace());
            let options = Line::try_parse_from(words).unwrap().options;
            let (fill, drain) = Plan::fill_and_drain(options, 10).unwrap();
            assert_eq!((fill.publishers, fill.consumers, drain.publishers, drain.consumers), (1, 0, 0, 1));
            assert_eq!((&fill.queues[..], &drain.queues[..]), (&queues[..], &queues[..]));
            assert_eq!((fill.cleanup, drain.cleanup), (Cleanup::Keep, cleanup));
            assert_eq!((fill.options.messages, drain.duration_ns), (Some(10), None));
        }
    }

    #[test]
    fn a_run_of_its_own_cleans_up_and_one_sided_runs_do_not() {
        for (line, cleanup, name) in [
            ("", Cleanup::Delete, format!("{NAME}-{}", std::process::id())),
            ("--publisher-only", Cleanup::Keep, NAME.to_owned()),
            ("--drain", Cleanup::Keep, NAME.to_owned()),
            ("--drain --delete", Cleanup::Delete, NAME.to_owned()),
            ("--queue q", Cleanup::Keep, "q".to_owned()),
        ] {
            let plan = plan(line).unwrap();
            assert_eq!((plan.cleanup, plan.queue(0)), (cleanup, name.as_str()), "{line}");
        }
    }

    #[test]
    fn deliveries_follow_from_exchange_and_keys() {
        for (line, spread, deliveries) in [
            ("--queues 4 -x 4 -y 2", Spread::Own, Some(50)),
            ("--queues 10 -y 10 -t fanout", Spread::Every, Some(1000)),
            ("--queues 10 -y 10 -t fanout -p", Spread::Unknown, None),
            ("--queues 2 -y 2 -e x -k key", Spread::Every, Some(200)),
            ("--queues 2 -y 2 -t topic -k a.b --binding-key #", Spread::Unknown, None),
            ("--queues 2 -y 2 -t headers", Spread::Unknown, None),
            ("-k elsewhere", Spread::Unknown, None),
            ("-e amq.fanout", Spread::Unknown, None),
            ("--round-robin --queues 4", Spread::Turns, Some(100)),
            ("--round-robin --queues 4 -t direct", Spread::Turns, Some(100)),
            ("--round-robin --queues 4 -t fanout", Spread::Every, Some(400)),
            ("--queues 4 -y 4 -t x-consistent-hash --routing-keys 9", Spread::One, Some(100)),
            ("--queues 4 -y 3 -t x-consistent-hash --routing-keys 9", Spread::One, None),
            ("-t direct --routing-keys 9", Spread::Unknown, None),
            ("--routing-keys 9", Spread::Unknown, None),
            ("-t x-delayed-message --exchange-args x-delayed-type=fanout", Spread::Every, Some(100)),
            ("-t x-delayed-message --exchange-args x-delayed-type=direct", Spread::Own, Some(100)),
            ("-t x-delayed-message", Spread::Unknown, None),
            ("--queues 2 -x 2 -y 2 --dead-letter-chain 3", Spread::Own, Some(100)),
        ] {
            let plan = plan(&format!("--messages 100 {line}")).unwrap();
            assert_eq!((plan.spread, plan.deliveries()), (spread, deliveries), "{line}");
        }
    }

    #[test]
    fn keys_are_numbered_and_a_hash_is_bound_with_a_weight() {
        for (line, routing_keys, binding_key) in [
            ("--queue q -t direct", vec!["q"], "q"),
            ("--queue q -t direct -k key", vec!["key"], "key"),
            ("--queue q -t direct --routing-keys 2 --binding-key b", vec!["q-1", "q-2"], "b"),
            ("--queue q -t x-consistent-hash -k key --routing-keys 3", vec!["key-1", "key-2", "key-3"], "1"),
            ("--queue q -t x-consistent-hash --binding-key 20", vec!["q"], "20"),
            ("--queue q -t x-delayed-message --exchange-args x-delayed-type=x-consistent-hash", vec!["q"], "1"),
        ] {
            let plan = plan(line).unwrap();
            assert_eq!(plan.routing_keys(0), routing_keys, "{line}");
            assert_eq!(plan.binding_key(0), binding_key, "{line}");
        }
    }

    #[test]
    fn dead_letters_go_from_queue_to_queue() {
        let next = |name: &str| vec!["x-dead-letter-exchange=".into(), format!("x-dead-letter-routing-key={name}")];
        let with = |first: &str, rest: Vec<String>| [vec![first.to_owned()], rest].concat();
        for (line, expected) in [
            ("", vec![("q", vec![])]),
            ("--queue-args x-max-length=5", vec![("q", vec!["x-max-length=5".to_owned()])]),
            (
                "--dead-letter-chain 2",
                vec![
                    ("q", with("x-message-ttl=0", next("q-dead-1"))),
                    ("q-dead-1", with("x-message-ttl=0", next("q-dead-2"))),
                    ("q-dead-2", vec![]),
                ],
            ),
            (
                "--dead-letter-chain 1 --queue-args x-max-length=5,x-queue-type=quorum",
                vec![
                    ("q", with("x-max-length=5", with("x-queue-type=quorum", next("q-dead-1")))),
                    ("q-dead-1", vec!["x-queue-type=quorum".to_owned()]),
                ],
            ),
        ] {
            let plan = plan(&format!("--queue q {line}")).unwrap();
            let links = plan.links(0);
            let texts = |link: &Link| link.arguments.iter().map(ToString::to_string).collect::<Vec<_>>();
            let found: Vec<_> = links.iter().map(|link| (link.name.as_str(), texts(link))).collect();
            assert_eq!(found, expected, "{line}");
            assert_eq!(Some(&plan.consumed_queue(0)), links.last().map(|link| &link.name));
        }
    }

    #[test]
    fn an_exchange_without_a_name_is_declared_and_the_brokers_own_are_not() {
        for (line, name, kind) in [
            ("--queue q", "", None),
            ("--publisher-only -t fanout", NAME, Some("fanout")),
            ("-e logs", "logs", Some("direct")),
            ("-e logs -t topic", "logs", Some("topic")),
            ("-e logs -p", "logs", None),
            ("-e amq.topic", "amq.topic", None),
        ] {
            let plan = plan(line).unwrap();
            assert_eq!((plan.exchange.as_str(), plan.declare_exchange.as_deref()), (name, kind), "{line}");
        }
    }

    #[test]
    fn times_have_defaults_unless_messages_end_the_run() {
        for (line, warm_up, duration) in [
            ("", 2, Some(10)),
            ("-z 3 --warm-up 0", 0, Some(3)),
            ("-z 0", 2, None),
            ("--messages 1", 0, None),
            ("--messages 1 -z 5", 0, Some(5)),
            ("--drain", 0, None),
            ("--delay-ms 1000..5000", 7, Some(10)),
            ("--delay-ms 5000 --warm-up 1", 1, Some(10)),
            ("--delay-ms 5000 --messages 1", 0, None),
        ] {
            let plan = plan(line).unwrap();
            let seconds = (plan.warm_up_ns / SECOND_NS, plan.duration_ns.map(|span| span / SECOND_NS));
            assert_eq!(seconds, (warm_up, duration), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--publisher-only --drain",
            "-x 0 -y 0",
            "-x 0 --publisher-only",
            "--confirm 0",
            "--rate -1",
            "--rate inf",
            "-z -1",
            "--ack 300 --prefetch 200",
            "--check --size 8",
            "--check --drain",
            "--queues 0",
            "--queue a,b --queues 2",
            "--url http://host",
            "--channels 5",
            "--exclusive --publisher-only",
            "--fill 0",
            "--fill 10 --messages 10",
            "--fill 10 --drain",
            "--round-robin --check",
            "--round-robin --routing-key key",
            "--round-robin --routing-keys 3",
            "--routing-keys 0",
            "--delay-ms 1000 --drain",
            "--delay-ms 1000 --fill 10",
            "--dead-letter-chain 2 --exclusive",
            "--dead-letter-chain 2 --predeclared",
            "--dead-letter-chain 2 --queue-args x-dead-letter-exchange=x",
        ] {
            assert!(plan(line).is_err(), "{line}");
        }
    }
}
