//! Clients that do what no client should, and events that cross: nobody hangs, and nobody pays for another.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use std::io::{Read as _, Write as _};

use leveret_broker::mailbox::{Inbox, Mailbox};
use leveret_broker::message::Draft;
use leveret_broker::node::Node;
use leveret_protocol::amqp091::frame::write_method;
use leveret_protocol::amqp091::method::{
    BasicGet, BasicNack, ChannelClose, ChannelCloseOk, Method, QueueDeclare, QueueDeclareOk,
};
use leveret_protocol::amqp091::{ProtocolHeader, ReplyCode};
use leveret_server::Config;
use leveret_testkit::amqp091::{Connection, RawConnection, basic_consume, queue_declare};
use leveret_testkit::{broker, unique};

/// How long what is awaited over several attempts may take.
const DEADLINE: Duration = Duration::from_secs(30);

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "awaited that {what}");
        std::thread::yield_now();
    }
}

/// `count` times basic.get of one message and its return to the queue.
fn gets(queue: &str, channel: u16, count: u64) -> Vec<u8> {
    let mut octets = Vec::new();
    for delivery_tag in 1..=count {
        write_method(&mut octets, channel, &BasicGet { ticket: 0, queue, no_ack: false });
        write_method(&mut octets, channel, &BasicNack { delivery_tag, multiple: false, requeue: true });
    }
    octets
}

#[test]
fn a_client_that_asks_for_much_and_reads_late_gets_all_of_it() {
    const COUNT: u64 = 3000;
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.publish("", &queue, &vec![b'x'; 20_000]);
    channel.send_octets(&gets(&queue, channel.number(), COUNT));
    // Others are served meanwhile.
    Connection::open().channel().round_trip();
    for delivery_tag in 1..=COUNT {
        let got = channel.next_got();
        assert_eq!((got.delivery_tag, got.body.len()), (delivery_tag, 20_000));
    }
    channel.round_trip();
}

#[test]
fn a_client_that_neither_reads_nor_sends_is_dropped_with_what_waits_for_it() {
    let connection = Connection::builder().heartbeat(1).open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.publish("", &queue, &vec![b'x'; 1024 * 1024]);
    // More than the system buffers, so that much of it waits in the server.
    channel.send_octets(&gets(&queue, channel.number(), 40));
    let other = Connection::open();
    until("the exclusive queue of a dead client is gone", || {
        let channel = other.channel_numbered(1);
        channel.send(&QueueDeclare { passive: true, ..queue_declare(&queue) });
        let close = channel.expect::<ChannelClose<'static>>();
        channel.send(&ChannelCloseOk {});
        close.reply_code == ReplyCode::NotFound.code()
    });
}

#[test]
fn thousands_of_connections_come_and_go_at_any_stage() {
    let open_files = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let before = open_files();
    for number in 0..2000 {
        match number % 4 {
            0 => drop(TcpStream::connect(&broker::url().address).unwrap()),
            1 => RawConnection::connect().send(b"AMQ"),
            2 => RawConnection::connect().send(&ProtocolHeader::AMQP_0_9_1.octets()),
            _ => drop(Connection::builder().through_open()),
        }
    }
    // Others of this process open some meanwhile.
    until("the server lets go of them", || open_files() < before + 200);
    Connection::open().close();
}

#[test]
fn a_queue_that_is_deleted_under_its_consumers_ends_each_of_them_once() {
    for _ in 0..50 {
        let connection = Connection::open();
        let consumer = connection.channel();
        let queue = unique("deleted");
        let _: QueueDeclareOk<'_> = consumer.call(&QueueDeclare { exclusive: false, ..queue_declare(&queue) });
        let deleter = std::thread::spawn({
            let queue = queue.clone();
            move || Connection::open().channel().delete_queue(&queue)
        });
        consumer.send(&basic_consume(&queue));
        match consumer.next_answer() {
            Method::BasicConsumeOk(ok) => assert_eq!(consumer.next_cancel(), ok.consumer_tag),
            Method::ChannelClose(close) => assert_eq!(close.reply_code, ReplyCode::NotFound.code()),
            method => panic!("{method:?}"),
        }
        deleter.join().unwrap();
        // Nothing of it is left for a queue of the same name.
        let check = connection.channel();
        check.declare_queue(&queue);
        check.publish("", &queue, b"for nobody");
        assert_eq!(check.message_count(&queue), 1);
    }
}

#[test]
fn a_consumer_that_got_in_keeps_an_auto_delete_queue() {
    let queue = unique("auto-delete");
    let work = |number: u32| {
        let connection = Connection::open();
        let declare = QueueDeclare { exclusive: false, auto_delete: true, ..queue_declare(&queue) };
        for round in 0..100 {
            let channel = connection.channel();
            channel.send(&declare);
            match channel.next_answer() {
                Method::QueueDeclareOk(_) => {}
                // Deleted between its declaration and the answer.
                Method::ChannelClose(close) => {
                    assert_eq!(close.reply_code, ReplyCode::NotFound.code());
                    channel.send(&ChannelCloseOk {});
                    continue;
                }
                method => panic!("{method:?}"),
            }
            channel.send(&basic_consume(&queue));
            let ok = match channel.next_answer() {
                Method::BasicConsumeOk(ok) => ok,
                // The other's cancel was faster.
                Method::ChannelClose(close) => {
                    assert_eq!(close.reply_code, ReplyCode::NotFound.code());
                    channel.send(&ChannelCloseOk {});
                    continue;
                }
                method => panic!("{method:?}"),
            };
            channel.confirm_select();
            channel.publish_mandatory("", &queue, format!("{number} {round}").as_bytes());
            // A return would come first, and is refused here.
            channel.next_confirm();
            channel.cancel(ok.consumer_tag);
            channel.close();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(1));
        scope.spawn(|| work(2));
    });
}

#[test]
fn a_node_stops_while_clients_connect() {
    let folder = tempfile::tempdir().unwrap();
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let config = Config { listen, data_dir: folder.path().join("data"), ..Config::default() };
    let running = leveret_server::start(&config).unwrap();
    let address = *running.addresses().first().unwrap();
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stopped.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(address) else { continue };
                    let _ = stream.write_all(&ProtocolHeader::AMQP_0_9_1.octets());
                    let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
                    let _ = stream.read(&mut [0; 1024]);
                }
            });
        }
        until("some are connected", || TcpStream::connect(address).is_ok());
        let start = Instant::now();
        running.stop();
        stopped.store(true, Ordering::Relaxed);
        assert!(start.elapsed() < DEADLINE, "stopping took {:?}", start.elapsed());
    });
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn no_reply_comes_under_a_token_that_ended() {
    let node = Node::new();
    let mailbox = Arc::new(Mailbox::default());
    let message = Draft::new(Vec::new(), "", "token").message();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                (0..16).for_each(|_| node.reply("token", &message));
                // The lock is not a fair one.
                std::thread::yield_now();
            }
        });
        let mut inbox = Inbox::default();
        let mut late = 0;
        for key in 0..3000 {
            node.register_reply("token".into(), &mailbox, key);
            while inbox.deliveries.is_empty() {
                mailbox.take(&mut inbox);
            }
            node.unregister_reply("token");
            late += inbox.deliveries.drain(..).filter(|delivery| delivery.key != key).count();
            // What came by now is taken; then the key may be another's, and what comes later would be that one's.
            mailbox.take(&mut inbox);
            inbox.deliveries.clear();
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(late, 0, "replies under keys that were free");
    });
}
