//! Exchanges bound to exchanges.

use leveret_protocol::amqp091::ReplyCode;
use leveret_protocol::amqp091::method::{
    ExchangeBindOk, ExchangeDeclare, ExchangeDelete, ExchangeDeleteOk, ExchangeUnbindOk,
};
use leveret_testkit::amqp091::{Connection, exchange_declare};
use leveret_testkit::unique;

use crate::exchanges::{assert_gone, assert_there, bind, declare, delete, lasting, unbind};
use crate::refusal::assert_channel_lost;
use crate::traffic::drain;

#[test]
fn an_exchange_that_is_only_bound_to_another_is_not_in_use() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, destination) = (unique("source"), unique("destination"));
    declare(&channel, &lasting(&source, "direct"));
    declare(&channel, &lasting(&destination, "direct"));
    let _: ExchangeBindOk = channel.call(&bind(&destination, &source, "key"));
    let if_unused = |exchange| ExchangeDelete { if_unused: true, ..delete(exchange) };
    let text = format!("exchange '{source}' in vhost '/' in use");
    assert_channel_lost(&connection.channel(), &if_unused(&source), ReplyCode::PreconditionFailed, &text);
    let _: ExchangeDeleteOk = channel.call(&if_unused(&destination));
    let _: ExchangeDeleteOk = channel.call(&if_unused(&source));
}

#[test]
fn a_bound_exchange_routes_on() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, destination, queue) = (unique("source"), unique("destination"), channel.temporary_queue());
    channel.declare_exchange(&source, "topic");
    declare(&channel, &lasting(&destination, "direct"));
    channel.bind(&queue, &destination, "a.b");
    for _ in 0..2 {
        let _: ExchangeBindOk = channel.call(&bind(&destination, &source, "a.*"));
    }
    channel.publish(&source, "a.b", b"routed");
    channel.publish(&source, "a.c", b"not by the second");
    channel.publish(&source, "b.b", b"not by the first");
    let got = channel.get(&queue).unwrap();
    assert_eq!((got.exchange, got.routing_key, got.message_count), (source.as_str(), "a.b", 0));
    // That it was bound twice does not make it two bindings.
    let _: ExchangeUnbindOk = channel.call(&unbind(&destination, &source, "a.*"));
    channel.publish(&destination, "a.b", b"still there");
    assert_eq!(channel.get(&queue).unwrap().body, b"still there");
    assert_gone(&connection, &source);
    channel.delete_exchange(&destination);
}

#[test]
fn exchanges_bound_in_a_circle_route_once() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchanges = [unique("one"), unique("two"), unique("three")];
    let queues: Vec<_> = exchanges.iter().map(|_| channel.temporary_queue()).collect();
    for (exchange, queue) in exchanges.iter().zip(&queues) {
        declare(&channel, &lasting(exchange, "fanout"));
        channel.bind(queue, exchange, "");
    }
    let [one, two, three] = &exchanges;
    for (destination, source) in [(two, one), (three, two), (one, three), (one, one)] {
        let _: ExchangeBindOk = channel.call(&bind(destination, source, ""));
    }
    for exchange in &exchanges {
        channel.publish(exchange, "", b"round");
    }
    for queue in &queues {
        assert_eq!(drain(&channel, queue), ["round"; 3], "one copy of each message");
    }
    for exchange in &exchanges {
        channel.delete_exchange(exchange);
    }
}

#[test]
fn binding_a_missing_exchange_is_404() {
    let connection = Connection::open();
    let lasts = connection.channel();
    let (there, missing, other) = (unique("exchange"), unique("missing"), unique("missing"));
    declare(&lasts, &lasting(&there, "direct"));
    for (destination, source, blamed) in
        [(&there, &missing, &missing), (&missing, &there, &missing), (&missing, &other, &other)]
    {
        let text = format!("no exchange '{blamed}' in vhost '/'");
        let bind = bind(destination, source, "key");
        assert_channel_lost(&connection.channel(), &bind, ReplyCode::NotFound, &text);
    }
    lasts.delete_exchange(&there);
}

#[test]
fn unbinding_what_is_not_bound_is_fine() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, destination) = (unique("source"), unique("destination"));
    channel.declare_exchange(&source, "direct");
    channel.declare_exchange(&destination, "direct");
    let missing = unique("missing");
    for (destination, source) in [(&destination, &source), (&missing, &source), (&destination, &missing)] {
        let _: ExchangeUnbindOk = channel.call(&unbind(destination, source, "key"));
    }
    assert_there(&channel, &source);
    channel.delete_exchange(&source);
    channel.delete_exchange(&destination);
}

#[test]
fn an_internal_exchange_takes_messages_from_others() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, destination, queue) = (unique("source"), unique("internal"), channel.temporary_queue());
    channel.declare_exchange(&source, "fanout");
    declare(&channel, &ExchangeDeclare { internal: true, ..exchange_declare(&destination, "fanout") });
    let _: ExchangeBindOk = channel.call(&bind(&destination, &source, ""));
    channel.bind(&queue, &destination, "");
    channel.publish(&source, "key", b"inside");
    assert_eq!(channel.get(&queue).unwrap().exchange, source);
}
