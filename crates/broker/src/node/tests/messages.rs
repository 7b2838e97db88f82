//! What callers without a connection do with messages.

use super::*;
use crate::node::{Caller, Settlement};
use crate::properties::Composed;
use crate::stats::MessageStats;
use crate::value::Value;

struct Bench {
    node: Node,
    mailbox: Arc<Mailbox>,
}

impl Bench {
    fn new(arguments: &[(&str, Value)]) -> Self {
        let bench = Self { node: Node::new(), mailbox: Arc::default() };
        let arguments = arguments.iter().map(|(name, value)| (Name::from(*name), value.clone())).collect();
        bench.declare("q", arguments);
        bench
    }

    fn declare(&self, name: &str, arguments: Table) {
        let (durable, exclusive, auto_delete, origin, id) = (true, None, false, Origin::Client, None);
        let (vhost, name) = (vhost(), name.into());
        let declare = Change::DeclareQueue { vhost, name, durable, exclusive, auto_delete, arguments, origin, id };
        self.node.apply(declare).unwrap();
    }

    fn publish(&self, exchange: &str, routing_key: &str, extra_keys: &[&str], body: &str) -> Result<Published, Error> {
        let mut draft = Draft::new(Vec::new(), exchange, routing_key);
        draft.body(body.as_bytes());
        let extra_keys = extra_keys.iter().map(|key| (*key).to_owned()).collect();
        let (vhost, user) = (vhost(), Name::from("u"));
        let caller = Caller { vhost: &vhost, user: &user, name: "test" };
        self.node.publish_for(&caller, &Composed { message: draft.message(), extra_keys }, &self.mailbox)
    }

    /// Takes messages and settles them; says what was taken: bodies, which were handed out before, how many wait behind.
    fn take(&self, count: usize, settlement: Settlement) -> Vec<(String, bool, usize)> {
        let (vhost, user) = (vhost(), Name::from("u"));
        let caller = Caller { vhost: &vhost, user: &user, name: "test" };
        let mut held = self.node.hold(&caller, "q", ONE).unwrap();
        let mut got = Vec::new();
        for _ in 0..count {
            let (taken, waiting) = self.node.take(&caller, &mut held, &self.mailbox).unwrap();
            let Taken::Message(_, message, redelivered) = taken else { break };
            got.push((String::from_utf8(message.body().to_vec()).unwrap(), redelivered, waiting));
        }
        self.node.settle(held, settlement);
        got
    }

    fn counts(&self) -> (usize, usize) {
        let counts = self.node.queue("/", "q", ONE).unwrap().counts();
        (counts.ready, counts.unsettled)
    }
}

fn got(all: &[(&str, bool, usize)]) -> Vec<(String, bool, usize)> {
    all.iter().map(|(body, redelivered, waiting)| ((*body).to_owned(), *redelivered, *waiting)).collect()
}

#[test]
fn messages_that_go_back_keep_their_order_and_were_handed_out_before() {
    let bench = Bench::new(&[]);
    for body in ["a", "b", "c"] {
        bench.publish("", "q", &[], body).unwrap();
    }
    let all = |first, rest| got(&[("a", first, 2), ("b", first, 1), ("c", rest, 0)]);
    assert_eq!(bench.take(2, Settlement::Requeue), all(false, false)[..2]);
    assert_eq!(bench.counts(), (3, 0));
    assert_eq!(bench.take(9, Settlement::Fail), all(true, false));
    assert_eq!(bench.take(1, Settlement::Done), all(true, true)[..1]);
    assert_eq!(bench.take(1, Settlement::Reject), got(&[("b", true, 1)]));
    assert_eq!(bench.counts(), (1, 0));
}

#[test]
fn what_a_caller_does_not_settle_goes_back() {
    let bench = Bench::new(&[]);
    bench.publish("", "q", &[], "a").unwrap();
    let (vhost, user) = (vhost(), Name::from("u"));
    let caller = Caller { vhost: &vhost, user: &user, name: "test" };
    let mut held = bench.node.hold(&caller, "q", ONE).unwrap();
    bench.node.take(&caller, &mut held, &bench.mailbox).unwrap();
    assert_eq!(bench.counts(), (0, 1));
    drop(held);
    assert_eq!(bench.counts(), (1, 0));
}

#[test]
fn a_message_is_routed_refused_or_lost() {
    let bench = Bench::new(&[("x-max-length", Value::I32(1)), ("x-overflow", Value::text("reject-publish"))]);
    bench.declare("other", Table::new());
    assert!(!bench.publish("", "none", &[], "a").unwrap().is_routed());
    let taken = bench.publish("", "q", &["other"], "b").unwrap();
    assert_eq!((taken.queues, taken.refused, taken.is_routed()), (2, 0, true));
    let refused = bench.publish("", "q", &["other"], "c").unwrap();
    assert_eq!((refused.queues, refused.refused, refused.is_routed()), (1, 1, true));
    assert!(matches!(bench.publish("none", "q", &[], "d"), Err(Error::NotFound { .. })));
    assert!(matches!(bench.publish("amq.rabbitmq.trace", "q", &[], "d"), Err(Error::InternalExchange { .. })));
}

#[test]
fn a_direct_reply_reaches_who_waits_for_it() {
    let bench = Bench::new(&[]);
    let token = Name::from("amq.rabbitmq.reply-to.t");
    let waiting: Arc<Mailbox> = Arc::default();
    bench.node.register_reply(Name::clone(&token), &waiting, 7);
    let published = bench.publish("", &token, &[], "reply").unwrap();
    assert!(published.is_routed() && published.queues == 0);
    let mut inbox = Inbox::default();
    waiting.take(&mut inbox);
    assert_eq!(inbox.deliveries.iter().map(|delivery| delivery.message.body()).collect::<Vec<_>>(), [b"reply"]);
}

#[test]
fn what_callers_do_is_counted_like_what_connections_do() {
    let bench = Bench::new(&[]);
    bench.publish("", "q", &[], "a").unwrap();
    bench.publish("", "none", &[], "b").unwrap();
    bench.take(1, Settlement::Requeue);
    bench.take(2, Settlement::Done);
    let in_vhost = bench.node.vhost_counters("/").unwrap().messages();
    assert_eq!(bench.node.counters().messages(), in_vhost);
    let MessageStats { publish, confirm, drop_unroutable, get, get_empty, redeliver, ack, .. } = in_vhost;
    assert_eq!((publish, confirm, drop_unroutable), (2, 2, 1));
    assert_eq!((get, get_empty, redeliver, ack), (2, 1, 1, 1));
}
