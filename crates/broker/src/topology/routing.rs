//! From an exchange and a message to the queues it goes to.

use super::{QueueId, Target, Vhost};
use crate::clock::Timestamp;
use crate::dedup::MessageId;
use crate::delay;
use crate::exchange::{Exchange, Headers, TopicScratch};
use crate::hash::Set;
use crate::message::Message;
use crate::properties::Properties;
use crate::{Error, Name};

/// What routing looks at.
#[derive(Clone, Copy, Debug)]
pub struct RoutingInput<'a> {
    /// The routing key, then those of the `CC` and `BCC` headers.
    pub routing_keys: &'a [&'a str],
    /// The message.
    pub message: &'a Message,
    /// Reads its properties, which few exchanges want to know: the headers at most once.
    pub properties: &'a dyn Properties,
    /// A random number, which decides where there is a choice.
    pub entropy: u64,
    /// The time.
    pub now: Timestamp,
}

/// The queues a message goes to. Reuse one over many messages: it keeps its memory.
#[derive(Debug, Default)]
pub struct Routes {
    /// Each queue once, in the order of their ids.
    pub queues: Vec<QueueId>,
    /// The exchanges on the way that hold the message back, by the numbers of what they hold.
    pub delays: Vec<QueueId>,
    /// When those let it go.
    pub due: Timestamp,
    /// Whether the message has been held back by now, so that no exchange does it again. Set by whoever routes.
    pub holds_nothing: bool,
    /// Whether the same exchange and routing keys always give this result, until the topology changes.
    pub cacheable: bool,
    /// Whether an exchange kept the message from everybody. Then it is not unroutable, if there are no queues.
    pub is_withheld: bool,
    /// Ids that exchanges saw for the first time and that they still know after a restart, with the time until which they do.
    pub newly_seen: Vec<(Name, MessageId, Option<Timestamp>)>,
    /// How many times queues were added, each time in the order of their ids.
    batches: usize,
    /// Exchanges that still have their turn, some of them maybe for the second time.
    waiting: Vec<Name>,
    /// Exchanges that had their turn, which they get once only.
    seen: Set<Name>,
    /// How many exchanges chose at random.
    draws: u64,
    pub(crate) topic: TopicScratch,
}

impl Vhost {
    /// Finds the queues a message that is published to `exchange` goes to, and puts them into `routes`.
    ///
    /// Whether clients may publish there is another question: see [`Exchange::check_publish`].
    pub fn route(&self, exchange: &str, message: &RoutingInput<'_>, routes: &mut Routes) -> Result<(), Error> {
        routes.start();
        if exchange.is_empty() {
            self.route_by_name(message.routing_keys, routes);
            return Ok(());
        }
        let first = self.exchange(exchange)?;
        let parse = || message.properties.headers(message.message);
        let headers = Headers::new(&parse);
        route_through(first, message, &headers, routes);
        // Most messages meet one exchange only; they pay nothing for finding cycles.
        if !routes.waiting.is_empty() {
            routes.seen.insert(Name::clone(first.name()));
            while let Some(name) = routes.waiting.pop() {
                if let Some(exchange) = self.exchanges.get(&name)
                    && routes.seen.insert(name)
                {
                    route_through(exchange, message, &headers, routes);
                }
            }
        }
        routes.finish();
        Ok(())
    }

    /// Every queue is bound to the default exchange by its name; nothing is stored for that.
    ///
    /// As in RabbitMQ this holds for what is published to it, not for what comes to it as an alternate exchange.
    fn route_by_name(&self, names: &[&str], routes: &mut Routes) {
        for name in names {
            if let Some(queue) = self.queues.get(*name) {
                routes.add_queues(std::iter::once(queue.id));
            }
        }
        routes.finish();
    }
}

fn route_through(exchange: &Exchange, message: &RoutingInput<'_>, headers: &Headers<'_>, routes: &mut Routes) {
    if exchange.wants_delay()
        && let Some(id) = exchange.delay()
    {
        // Another message with the same key may ask for something else.
        routes.cacheable = false;
        if !routes.holds_nothing
            && let Some(due) = delay::due(headers.table(), message.now)
        {
            routes.delays.push(id);
            routes.due = due;
            return;
        }
    }
    let found = exchange.route(message, headers, routes);
    if !found && let Some(alternate) = exchange.alternate() {
        routes.add_exchange(alternate);
    }
}

impl Routes {
    pub(crate) fn start(&mut self) {
        self.queues.clear();
        self.delays.clear();
        self.cacheable = true;
        self.is_withheld = false;
        self.newly_seen.clear();
        self.batches = 0;
        self.draws = 0;
        self.waiting.clear();
        if !self.seen.is_empty() {
            self.seen.clear();
        }
    }

    /// Adds queues, which come in the order of their ids.
    pub(crate) fn add_queues(&mut self, queues: impl Iterator<Item = QueueId>) {
        let before = self.queues.len();
        self.queues.extend(queues);
        self.batches += usize::from(self.queues.len() > before);
    }

    pub(crate) fn add_target(&mut self, target: &Target) {
        match target {
            Target::Queue(id) => self.add_queues(std::iter::once(*id)),
            Target::Exchange(name) => self.add_exchange(name),
        }
    }

    /// Which choice at random is the next one.
    pub(crate) fn next_draw(&mut self) -> u64 {
        self.draws += 1;
        self.draws
    }

    pub(crate) fn add_exchange(&mut self, name: &Name) {
        self.waiting.push(Name::clone(name));
    }

    /// Brings the queues of several batches into order and leaves each of them once.
    pub(crate) fn finish(&mut self) {
        if self.batches > 1 {
            self.queues.sort_unstable();
            self.queues.dedup();
        }
    }
}
