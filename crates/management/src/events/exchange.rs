//! The exchange `amq.rabbitmq.event`, to which events are published: the name of the event is the routing key, its facts are the
//! headers, and there is no body.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use leveret_broker::events::Event;
use leveret_broker::exchange::ExchangeKind;
use leveret_broker::message::{Draft, Message};
use leveret_broker::node::Node;
use leveret_broker::properties::{NewProperties, Persistence};
use leveret_broker::topology::{Change, Origin};
use leveret_broker::value::Table;
use leveret_broker::{Error, Name};

use super::feed::{Feed, Hush};
use super::headers;
use crate::pid::Pids;

/// Its name.
pub const EXCHANGE: &str = "amq.rabbitmq.event";

/// Events on their way to the exchange.
#[derive(Debug)]
pub struct EventExchange {
    hush: Option<Hush>,
    thread: Option<JoinHandle<()>>,
    node: Arc<Node>,
}

/// Why events cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum EventExchangeError {
    /// The exchange cannot be made.
    #[error("events are not published: {0} (event_exchange.vhost says in which vhost they are to be)")]
    Declare(#[from] Error),
    /// There is no thread for it.
    #[error("cannot start a thread that publishes events: {0}")]
    Thread(#[from] io::Error),
}

impl EventExchange {
    /// Makes the exchange in a vhost and publishes to it from now on, until it is dropped.
    pub fn start(node: &Arc<Node>, pids: &Arc<Pids>, vhost: &str) -> Result<Self, EventExchangeError> {
        let vhost = Name::from(vhost);
        declare(node, &vhost, EXCHANGE)?;
        let (hush, mut next) = Feed::new(node).split();
        let (publisher, pids) = (Arc::clone(node), Arc::clone(pids));
        let run = move || {
            while let Some((event, lost)) = next() {
                if lost > 0 {
                    tracing::warn!("{lost} events were not published to {EXCHANGE}, as they came too fast");
                }
                // Somebody may have deleted it; then nobody is bound to it.
                let _ = publisher.publish(&vhost, &message(&event, &pids, &publisher));
            }
        };
        let thread = std::thread::Builder::new().name("leveret-events".into()).spawn(run);
        match thread {
            Ok(thread) => Ok(Self { hush: Some(hush), thread: Some(thread), node: Arc::clone(node) }),
            Err(error) => {
                hush.end(node);
                Err(error.into())
            }
        }
    }
}

impl Drop for EventExchange {
    fn drop(&mut self) {
        if let Some(hush) = self.hush.take() {
            hush.end(&self.node);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Declares an exchange that the broker itself publishes to.
pub(crate) fn declare(node: &Node, vhost: &Name, name: &str) -> Result<(), Error> {
    node.apply(Change::DeclareExchange {
        vhost: Name::clone(vhost),
        name: name.into(),
        kind: ExchangeKind::Topic,
        durable: true,
        auto_delete: false,
        internal: true,
        arguments: Table::new(),
        origin: Origin::Broker,
    })?;
    Ok(())
}

fn message(event: &Event, pids: &Pids, node: &Node) -> Message {
    let properties = NewProperties {
        headers: &headers(event, pids),
        persistence: Some(Persistence::Persistent),
        timestamp_s: Some(event.time.0 / 1000),
        ..NewProperties::default()
    };
    let mut draft = Draft::new(Vec::new(), EXCHANGE, event.name);
    draft.properties(&node.properties().encode(&properties));
    draft.set_persistent();
    draft.message()
}
