//! Policies, as clients see what they come to.

use leveret_broker::topology::{ApplyTo, PolicyKind};
use leveret_testkit::amqp091::Connection;
use leveret_testkit::{policy, unique};

use crate::traffic::drain;

#[test]
fn a_policy_gives_exchanges_an_alternate_exchange_and_takes_it_away() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, alternate) = (unique("exchange"), unique("alternate"));
    channel.declare_exchange(&exchange, "direct");
    channel.declare_exchange(&alternate, "fanout");
    let spare = channel.temporary_queue();
    channel.bind(&spare, &alternate, "");
    let pattern = format!("^{}$", exchange.replace('.', "\\."));
    // The channel knows the way of this before the policy is there.
    channel.publish(&exchange, "nowhere", b"before");
    assert!(drain(&channel, &spare).is_empty());
    let name = unique("policy");
    let set = policy::set(&name, &pattern, &[("alternate-exchange", alternate.as_str().into())]);
    channel.publish(&exchange, "nowhere", b"while");
    assert_eq!(drain(&channel, &spare), ["while"]);
    // A policy with a higher priority applies alone.
    let higher = policy::set_with(
        PolicyKind::User,
        &unique("policy"),
        &pattern,
        ApplyTo::Exchanges,
        1,
        &[("alternate-exchange", "nowhere".into())],
    );
    channel.publish(&exchange, "nowhere", b"higher");
    assert!(drain(&channel, &spare).is_empty());
    higher.clear();
    channel.publish(&exchange, "nowhere", b"again");
    assert_eq!(drain(&channel, &spare), ["again"]);
    set.clear();
    channel.publish(&exchange, "nowhere", b"after");
    assert!(drain(&channel, &spare).is_empty());
    channel.delete_exchange(&exchange);
    channel.delete_exchange(&alternate);
}
