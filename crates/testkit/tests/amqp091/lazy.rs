//! Lazy queues do what others do.

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::Value;
use leveret_protocol::amqp091::method::QueueDeclare;
use leveret_testkit::amqp091::{Connection, queue_declare, table};
use leveret_testkit::unique;

use crate::queues::declare;
use crate::traffic::{await_acks, drain, next_bodies};

#[test]
fn a_lazy_queue_keeps_messages_in_order_and_gives_them_all() {
    let connection = Connection::open();
    for mode in ["lazy", "default"] {
        let (channel, publisher) = (connection.channel(), connection.channel());
        let queue = unique("queue");
        let arguments = table(&[("x-queue-mode", Value::LongStr(mode.as_bytes()))]);
        declare(&channel, &QueueDeclare { durable: true, exclusive: false, arguments, ..queue_declare(&queue) });
        publisher.confirm_select();
        let bodies: Vec<_> = (0..500).map(|number| format!("{number:04}")).collect();
        for (number, body) in bodies.iter().enumerate() {
            let properties =
                Properties { delivery_mode: Some(if number % 2 == 0 { 1 } else { 2 }), ..Properties::default() };
            publisher.publish_with("", &queue, &properties, body.as_bytes());
        }
        await_acks(&publisher, 500);
        assert_eq!(channel.message_count(&queue), 500, "{mode}");
        let got = channel.get(&queue).unwrap();
        channel.requeue(got.delivery_tag);
        channel.qos(10);
        let consumer = channel.consume(&queue);
        for (tag, body) in (got.delivery_tag + 1..).zip(&bodies[..100]) {
            let delivery = channel.next_delivery();
            assert_eq!((delivery.delivery_tag, delivery.body.as_slice()), (tag, body.as_bytes()), "{mode}");
            channel.ack(tag);
        }
        channel.cancel(consumer);
        channel.close();
        let channel = connection.channel();
        assert_eq!(drain(&channel, &queue), bodies[100..], "{mode}");
        channel.consume(&queue);
        publisher.publish("", &queue, b"last");
        assert_eq!(next_bodies(&channel, 1), ["last"], "{mode}");
        channel.delete_queue(&queue);
    }
}
