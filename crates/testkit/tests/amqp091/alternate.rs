//! Alternate exchanges.

use leveret_protocol::amqp091::Value;
use leveret_protocol::amqp091::method::{ExchangeDeclare, ExchangeDeclareOk};
use leveret_testkit::amqp091::{Channel, Connection, exchange_declare, table};
use leveret_testkit::unique;

use crate::routing::bind_exchange;
use crate::traffic::drain;

fn declare_with_alternate(channel: &Channel, exchange: &str, kind: &str, alternate: &str) {
    let arguments = table(&[("alternate-exchange", Value::LongStr(alternate.as_bytes()))]);
    let _: ExchangeDeclareOk =
        channel.call(&ExchangeDeclare { auto_delete: false, arguments, ..exchange_declare(exchange, kind) });
}

#[test]
fn the_alternate_exchange_takes_what_is_routed_nowhere() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, alternate) = (unique("exchange"), unique("alternate"));
    let (bound, spare) = (channel.temporary_queue(), channel.temporary_queue());
    declare_with_alternate(&channel, &exchange, "direct", &alternate);
    channel.declare_exchange(&alternate, "topic");
    channel.bind(&bound, &exchange, "bound");
    channel.bind(&spare, &alternate, "#");
    channel.publish_mandatory(&exchange, "bound", b"routed");
    channel.publish_mandatory(&exchange, "spare", b"not routed");
    assert_eq!(drain(&channel, &bound), ["routed"]);
    let got = channel.get(&spare).unwrap();
    assert_eq!((got.exchange, got.routing_key, got.message_count), (exchange.as_str(), "spare", 0));
    // What the alternate exchange routed is not returned.
    channel.expect_nothing();
    channel.delete_exchange(&exchange);
}

#[test]
fn alternate_exchanges_form_a_chain() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchanges = [unique("one"), unique("two"), unique("three")];
    let [one, two, three] = &exchanges;
    declare_with_alternate(&channel, one, "direct", two);
    declare_with_alternate(&channel, two, "direct", three);
    channel.declare_exchange(three, "fanout");
    let queue = channel.temporary_queue();
    channel.bind(&queue, three, "");
    channel.publish(one, "key", b"to the end");
    assert_eq!(drain(&channel, &queue), ["to the end"]);
    channel.delete_exchange(one);
    channel.delete_exchange(two);
}

#[test]
fn a_circle_of_alternate_exchanges_routes_nowhere() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (one, two) = (unique("one"), unique("two"));
    declare_with_alternate(&channel, &one, "direct", &two);
    declare_with_alternate(&channel, &two, "direct", &one);
    channel.publish_mandatory(&one, "key", b"round and round");
    assert_eq!(channel.next_return().body, b"round and round");
    channel.delete_exchange(&one);
    channel.delete_exchange(&two);
}

#[test]
fn a_missing_alternate_exchange_routes_nowhere() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, alternate) = (unique("exchange"), unique("alternate"));
    declare_with_alternate(&channel, &exchange, "direct", &alternate);
    channel.publish_mandatory(&exchange, "key", b"back");
    assert_eq!(channel.next_return().exchange, exchange);
    // Once it is there it is used.
    channel.declare_exchange(&alternate, "fanout");
    let queue = channel.temporary_queue();
    channel.bind(&queue, &alternate, "");
    channel.publish_mandatory(&exchange, "key", b"routed");
    assert_eq!(drain(&channel, &queue), ["routed"]);
    channel.expect_nothing();
    channel.delete_exchange(&exchange);
}

#[test]
fn the_alternate_of_a_bound_exchange_counts_for_that_exchange() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, inner, alternate) = (unique("source"), unique("inner"), unique("alternate"));
    let (routed, spare) = (channel.temporary_queue(), channel.temporary_queue());
    channel.declare_exchange(&source, "fanout");
    channel.declare_exchange(&alternate, "fanout");
    declare_with_alternate(&channel, &inner, "direct", &alternate);
    bind_exchange(&channel, &inner, &source, "");
    channel.bind(&routed, &source, "");
    channel.bind(&spare, &alternate, "");
    channel.publish(&source, "key", b"both");
    assert_eq!(drain(&channel, &routed), ["both"]);
    assert_eq!(drain(&channel, &spare), ["both"]);
    channel.delete_exchange(&inner);
}
