//! Who looks on while messages come and go.
//!
//! Most of the time nobody does, and then nothing is asked of anybody: a connection finds out whether its vhost has taps when it
//! opens it, and anew when the topology's generation moves on. A message on its way past a tap may be slow.

use std::fmt;
use std::sync::Arc;

use crate::Name;
use crate::hash::Set;
use crate::message::Message;
use crate::node::Node;
use crate::queue::QueueCell;

/// A message that a connection takes or hands over.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// The message as its consumers get it.
    pub message: &'a Message,
    /// Which way it goes.
    pub way: Way<'a>,
    /// The vhost.
    pub vhost: &'a Name,
    /// Who is connected.
    pub user: &'a Name,
    /// What the connection is called.
    pub connection: &'a str,
    /// The channel.
    pub channel: u16,
}

/// The way of a message past a tap.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    /// From a publisher.
    Published {
        /// The queues that it is routed to.
        queues: &'a [Arc<QueueCell>],
        /// The consumers of direct replies that it goes to, by their tokens.
        replies: &'a [Name],
    },
    /// To somebody who consumes or gets it.
    Delivered {
        /// The queue that it comes from; the token of a direct reply.
        queue: &'a str,
        /// Whether it was handed out before.
        redelivered: bool,
    },
}

/// Somebody who looks on. It is called on the connection's thread, without a lock.
pub trait Tap: fmt::Debug + Send + Sync {
    /// A message comes by.
    fn pass(&self, node: &Node, passing: &Passing<'_>);
}

/// Names a tap, to take it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TapId(u64);

/// The taps of a node.
#[derive(Debug)]
pub(crate) struct Taps {
    /// The vhosts that have the firehose.
    traced: Set<Name>,
    firehose: Arc<dyn Tap>,
    others: Vec<Other>,
    next_id: u64,
}

#[derive(Debug)]
struct Other {
    id: TapId,
    /// The vhost; none is all of them.
    vhost: Option<Name>,
    tap: Arc<dyn Tap>,
}

impl Taps {
    pub(crate) fn new(firehose: Arc<dyn Tap>) -> Self {
        Self { traced: Set::default(), firehose, others: Vec::new(), next_id: 0 }
    }

    /// The taps of a vhost.
    pub(crate) fn of(&self, vhost: &str) -> Vec<Arc<dyn Tap>> {
        let firehose = self.is_traced(vhost).then(|| Arc::clone(&self.firehose));
        let others = self.others.iter().filter(|other| other.vhost.as_deref().is_none_or(|of| of == vhost));
        firehose.into_iter().chain(others.map(|other| Arc::clone(&other.tap))).collect()
    }

    pub(crate) fn is_traced(&self, vhost: &str) -> bool {
        self.traced.contains(vhost)
    }

    /// Says whether that is news.
    pub(crate) fn trace(&mut self, vhost: Name) -> bool {
        self.traced.insert(vhost)
    }

    /// Says whether that is news.
    pub(crate) fn stop_tracing(&mut self, vhost: &str) -> bool {
        self.traced.remove(vhost)
    }

    pub(crate) fn add(&mut self, vhost: Option<Name>, tap: Arc<dyn Tap>) -> TapId {
        let id = TapId(self.next_id);
        self.next_id += 1;
        self.others.push(Other { id, vhost, tap });
        id
    }

    pub(crate) fn remove(&mut self, id: TapId) {
        self.others.retain(|other| other.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str);

    impl fmt::Debug for Named {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Tap for Named {
        fn pass(&self, _: &Node, _: &Passing<'_>) {}
    }

    #[test]
    fn a_vhost_has_its_own_taps_and_those_of_all() {
        let mut taps = Taps::new(Arc::new(Named("firehose")));
        let of = |taps: &Taps, vhost: &str| taps.of(vhost).iter().map(|tap| format!("{tap:?}")).collect::<Vec<_>>();
        assert!(of(&taps, "/").is_empty());
        assert!(taps.trace("/".into()) && !taps.trace("/".into()));
        let own = taps.add(Some("/".into()), Arc::new(Named("own")));
        let all = taps.add(None, Arc::new(Named("all")));
        assert_eq!(of(&taps, "/"), ["firehose", "own", "all"]);
        assert_eq!(of(&taps, "other"), ["all"]);
        taps.remove(own);
        assert!(taps.stop_tracing("/") && !taps.stop_tracing("/"));
        assert_eq!(of(&taps, "/"), ["all"]);
        taps.remove(all);
        assert!(of(&taps, "/").is_empty());
    }
}
