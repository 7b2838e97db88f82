//! Bindings of queues, and the queue that is meant when none is named.

use leveret_protocol::amqp091::method::{
    ExchangeDeclare, ExchangeDeclareOk, ExchangeDelete, ExchangeDeleteOk, QueueBind, QueueBindOk, QueueDeleteOk,
    QueuePurgeOk, QueueUnbind, QueueUnbindOk,
};
use leveret_protocol::amqp091::{ReplyCode, Value};
use leveret_testkit::amqp091::{Connection, basic_consume, exchange_declare, queue_bind, queue_delete, table};
use leveret_testkit::unique;

use crate::queues::{assert_gone, declare, get, missing_text, passive, purge, unbind};
use crate::refusal::assert_channel_lost;
use crate::traffic::{drain, publish_surely};

#[test]
fn binding_is_idempotent_and_unbinding_too() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    for _ in 0..2 {
        channel.bind(&queue, "amq.direct", &queue);
    }
    channel.publish("amq.direct", &queue, b"once");
    assert_eq!(drain(&channel, &queue), ["once"]);
    for _ in 0..2 {
        let _: QueueUnbindOk = channel.call(&unbind(&queue, "amq.direct", &queue));
    }
    channel.publish("amq.direct", &queue, b"not routed");
    assert!(channel.get(&queue).is_none());
}

#[test]
fn binding_what_is_missing_is_404() {
    let connection = Connection::open();
    let queue = connection.channel().temporary_queue();
    let (exchange, other) = (unique("missing"), unique("missing"));
    let no_exchange = format!("no exchange '{exchange}' in vhost '/'");
    let code = ReplyCode::NotFound;
    assert_channel_lost(&connection.channel(), &queue_bind(&queue, &exchange, ""), code, &no_exchange);
    assert_channel_lost(&connection.channel(), &queue_bind(&other, "amq.direct", ""), code, &missing_text(&other));
    assert_channel_lost(&connection.channel(), &queue_bind(&other, &exchange, ""), code, &no_exchange);
}

#[test]
fn unbinding_what_is_missing_is_fine() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, missing) = (channel.temporary_queue(), unique("missing"));
    for (queue, exchange) in [(&*queue, &*missing), (&missing, "amq.direct"), (&missing, &missing)] {
        let _: QueueUnbindOk = channel.call(&unbind(queue, exchange, "key"));
    }
}

#[test]
fn unbinding_takes_the_arguments_of_the_binding() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let arguments = table(&[("x-testkit", Value::I32(1))]);
    let _: QueueBindOk = channel.call(&QueueBind { arguments, ..queue_bind(&queue, "amq.direct", &queue) });
    let _: QueueUnbindOk = channel.call(&unbind(&queue, "amq.direct", &queue));
    channel.publish("amq.direct", &queue, b"still bound");
    assert_eq!(drain(&channel, &queue), ["still bound"]);
    let _: QueueUnbindOk = channel.call(&QueueUnbind { arguments, ..unbind(&queue, "amq.direct", &queue) });
    channel.publish("amq.direct", &queue, b"not routed");
    assert!(channel.get(&queue).is_none());
}

#[test]
fn a_deleted_queue_takes_its_bindings_along() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.bind(&queue, "amq.direct", &queue);
    channel.delete_queue(&queue);
    channel.declare_queue(&queue);
    channel.publish("amq.direct", &queue, b"not routed");
    assert!(channel.get(&queue).is_none());
}

#[test]
fn no_name_means_the_queue_declared_last_on_the_channel() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (first, second) = (channel.temporary_queue(), channel.temporary_queue());
    // It is also the key if there is none.
    let _: QueueBindOk = channel.call(&queue_bind("", "amq.direct", ""));
    publish_surely(&connection, "amq.direct", &second, &["by key"]);
    assert_eq!(channel.get("").unwrap().body, b"by key");
    let _: QueueUnbindOk = channel.call(&unbind("", "amq.direct", ""));
    publish_surely(&connection, "amq.direct", &second, &["not routed"]);
    assert!(channel.get("").is_none());
    let _: QueueBindOk = channel.call(&queue_bind("", "amq.direct", &first));
    publish_surely(&connection, "amq.direct", &first, &["by another key"]);
    assert_eq!(drain(&channel, &second), ["by another key"]);
    // With a queue, no key is the empty key.
    let fanout = unique("exchange");
    channel.declare_exchange(&fanout, "direct");
    channel.bind(&first, &fanout, "");
    publish_surely(&connection, &fanout, "", &["by the empty key"]);
    assert_eq!(drain(&channel, &first), ["by the empty key"]);
    // A passive declaration counts, and so does one of what is there.
    declare(&channel, &passive(&first));
    publish_surely(&connection, "", &first, &["1", "2"]);
    assert_eq!(channel.call::<QueuePurgeOk>(&purge("")).message_count, 2);
    channel.declare_queue(&second);
    channel.consume("");
    publish_surely(&connection, "", &second, &["consumed"]);
    assert_eq!(channel.next_delivery().routing_key, second);
    assert_eq!(channel.call::<QueueDeleteOk>(&queue_delete("")).message_count, 0);
    assert_gone(&connection, &second);
}

#[test]
fn no_name_with_nothing_declared_on_the_channel_is_404() {
    let connection = Connection::open();
    connection.channel().temporary_queue();
    let text = "no previously declared queue";
    let code = ReplyCode::NotFound;
    assert_channel_lost(&connection.channel(), &get(""), code, text);
    assert_channel_lost(&connection.channel(), &basic_consume(""), code, text);
    assert_channel_lost(&connection.channel(), &purge(""), code, text);
    assert_channel_lost(&connection.channel(), &queue_delete(""), code, text);
    assert_channel_lost(&connection.channel(), &queue_bind("", "amq.direct", ""), code, text);
    assert_channel_lost(&connection.channel(), &queue_bind("", "amq.direct", "key"), code, text);
    assert_channel_lost(&connection.channel(), &unbind("", "amq.direct", ""), code, text);
}

#[test]
fn an_exchange_is_unused_once_its_queue_is_deleted() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, exchange) = (channel.temporary_queue(), unique("exchange"));
    let lasting = ExchangeDeclare { auto_delete: false, ..exchange_declare(&exchange, "direct") };
    let _: ExchangeDeclareOk = channel.call(&lasting);
    channel.bind(&queue, &exchange, "key");
    channel.delete_queue(&queue);
    let _: ExchangeDeleteOk =
        channel.call(&ExchangeDelete { ticket: 0, exchange: &exchange, if_unused: true, no_wait: false });
}
