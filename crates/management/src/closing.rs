//! Connections that an operator closes, many at a time.

use std::thread;
use std::time::Duration;

use leveret_broker::Name;
use leveret_broker::node::{ConnectionsOf, Node};

/// Which connections an operator closes, and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseMany {
    /// Whose.
    pub whose: ConnectionsOf,
    /// How many at most; `None` is all.
    pub limit: Option<usize>,
    /// How long to wait after each.
    pub delay: Duration,
    /// What their clients are told.
    pub reason: Name,
}

/// Closes the connections that are open now, the oldest first. `go_on` is told how many are closed, of how many, and may end it.
/// Says how many were closed. Waits in between if it was asked to.
pub fn close_connections(node: &Node, close: &CloseMany, mut go_on: impl FnMut(usize, usize) -> bool) -> usize {
    let CloseMany { whose, limit, delay, reason } = close;
    let mut open = node.known_connections(whose);
    open.retain(|known| known.open.is_some());
    open.truncate(limit.unwrap_or(usize::MAX));
    let mut closed = 0;
    for (index, known) in open.iter().enumerate() {
        if index > 0 && !delay.is_zero() {
            thread::sleep(*delay);
        }
        closed += usize::from(node.close_connection(known.id, reason));
        if !go_on(closed, open.len()) {
            break;
        }
    }
    closed
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leveret_broker::access::Peer;
    use leveret_broker::mailbox::{CloseReason, Event, Inbox, Mailbox};
    use leveret_broker::node::Opening;

    use super::*;

    #[test]
    fn the_oldest_of_those_that_are_meant_are_closed_up_to_the_limit() {
        let told = |close: &CloseMany, most: usize| {
            let node = Node::new();
            let mailboxes: Vec<Arc<Mailbox>> = (0..4).map(|_| Arc::default()).collect();
            let (guest, peer) = (Name::from("guest"), Arc::new(Peer::local()));
            let ids: Vec<_> = mailboxes.iter().map(|mailbox| node.connect(mailbox, &peer, &Arc::default())).collect();
            // The last one is still on its way.
            for id in &ids[..3] {
                let opening = node.open_connection(*id, "/", &guest, node.access_generation()).unwrap();
                assert!(matches!(opening, Opening::Open(_)));
            }
            let count = close_connections(&node, close, |done, _| done < most);
            let told = mailboxes.iter().map(|mailbox| {
                let mut inbox = Inbox::default();
                mailbox.take(&mut inbox);
                let operator = CloseReason::Operator { reason: "because".into() };
                inbox.events.iter().filter(|event| matches!(event, Event::Close(reason) if *reason == operator)).count()
            });
            (count, told.collect::<Vec<_>>())
        };
        let close = |whose, limit| CloseMany { whose, limit, delay: Duration::ZERO, reason: "because".into() };
        for (whose, limit, most, expected) in [
            (ConnectionsOf::Everybody, None, 9, (3, vec![1, 1, 1, 0])),
            (ConnectionsOf::Vhost("/".into()), Some(2), 9, (2, vec![1, 1, 0, 0])),
            (ConnectionsOf::Vhost("other".into()), None, 9, (0, vec![0; 4])),
            (ConnectionsOf::User("guest".into()), None, 1, (1, vec![1, 0, 0, 0])),
            (ConnectionsOf::User("bob".into()), None, 9, (0, vec![0; 4])),
        ] {
            assert_eq!(told(&close(whose.clone(), limit), most), expected, "{whose:?}");
        }
        let (node, mailbox) = (Node::new(), Arc::default());
        let id = node.connect(&mailbox, &Arc::new(Peer::local()), &Arc::default());
        assert!(node.close_connection(id, &"x".into()));
        assert!(!node.close_connection(id, &"x".into()), "it is being closed already");
        assert!(!node.close_connection(leveret_broker::topology::ConnectionId(99), &"x".into()));
    }
}
