//! Virtual hosts: each is a broker of its own.

use leveret_protocol::amqp091::ReplyCode;
use leveret_protocol::amqp091::method::{ExchangeDeclare, QueueDeclare};
use leveret_testkit::amqp091::{Connection, basic_consume};
use leveret_testkit::policy::{own_vhost, own_vhost_named};
use leveret_testkit::unique;
use leveret_testkit::users::{Permissions, own_user, own_user_named};

use crate::Blame as _;
use crate::exchanges::{self, lasting, passive as passive_exchange};
use crate::queues::{self, passive, shared};
use crate::refusal::assert_channel_lost;
use crate::traffic::drain;

#[test]
fn the_same_names_stand_for_other_things_in_another_vhost() {
    let vhosts = [own_vhost(), own_vhost()];
    let connections = vhosts.each_ref().map(|vhost| Connection::builder().vhost(vhost.name()).open());
    let channels = connections.each_ref().map(Connection::channel);
    for (channel, kind) in channels.iter().zip(["direct", "fanout"]) {
        queues::declare(channel, &shared("queue"));
        exchanges::declare(channel, &lasting("exchange", kind));
        channel.bind("queue", "exchange", kind);
    }
    for (channel, body) in channels.iter().zip(["one", "two"]) {
        channel.publish("exchange", "direct", body.as_bytes());
        channel.publish("", "queue", body.as_bytes());
        channel.publish("amq.direct", "queue", b"bound nowhere");
    }
    assert_eq!(channels.each_ref().map(|channel| drain(channel, "queue")), [["one"; 2], ["two"; 2]]);
    channels[0].delete_queue("queue");
    channels[0].delete_exchange("exchange");
    assert_eq!(channels[1].message_count("queue"), 0);
}

#[test]
fn a_fresh_vhost_has_the_pre_declared_exchanges() {
    let vhost = own_vhost();
    let connection = Connection::builder().vhost(vhost.name()).open();
    let channel = connection.channel();
    for (exchange, kind) in [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ] {
        exchanges::declare(&channel, &ExchangeDeclare { durable: true, ..lasting(exchange, kind) });
    }
}

#[test]
fn an_unknown_vhost_is_told_to_those_who_logged_in() {
    let user = own_user_named(&unique("user"));
    let vhost = unique("vhost");
    let close =
        user.builder(&vhost).through_open().expect_close(ReplyCode::NotAllowed, &format!("vhost {vhost} not found"));
    assert_eq!(close.blame(), (10, 40));
}

#[test]
fn a_vhost_is_closed_to_users_without_permissions_there() {
    let (open, closed) = (own_vhost(), own_vhost());
    // The right to nothing is one to open the vhost.
    let user = own_user(open.name(), Permissions::NONE);
    user.open(open.name()).channel().round_trip();
    let refused = |vhost: &str| {
        let text = format!("access to vhost '{vhost}' refused for user '{}'", user.name());
        let close = user.builder(vhost).through_open().expect_close(ReplyCode::NotAllowed, &text);
        assert_eq!(close.blame(), (10, 40));
    };
    refused(closed.name());
    user.set_permissions(closed.name(), Permissions::NONE);
    user.open(closed.name()).channel().round_trip();
    user.clear_permissions(closed.name());
    refused(closed.name());
    user.open(open.name()).channel().round_trip();
}

#[test]
fn tags_open_no_vhost() {
    let vhost = own_vhost();
    let user = own_user_named(&unique("user"));
    user.set_tags(&["administrator"]);
    let text = format!("access to vhost '{}' refused for user '{}'", vhost.name(), user.name());
    user.builder(vhost.name()).through_open().expect_close(ReplyCode::NotAllowed, &text);
}

#[test]
fn names_of_vhosts_may_be_odd() {
    for name in ["a/b", "with space", "\u{fc}\u{1f407}", "%2f", "'quoted'", "{username}"] {
        let vhost = own_vhost_named(&format!("{name} {}", unique("vhost")));
        let connection = Connection::builder().vhost(vhost.name()).open();
        let channel = connection.channel();
        channel.declare_queue("q");
        channel.publish("", "q", name.as_bytes());
        assert_eq!(drain(&channel, "q"), [name]);
        let text = format!("no queue 'none' in vhost '{}'", vhost.name());
        assert_channel_lost(&channel, &passive("none"), ReplyCode::NotFound, &text);
    }
}

#[test]
fn the_connections_of_a_vhost_end_with_it() {
    let (vhost, other) = (own_vhost(), own_vhost());
    let name = vhost.name().to_owned();
    let user = own_user(&name, Permissions::ALL);
    let connections = [Connection::builder().vhost(&name).open(), user.open(&name)];
    let busy = connections[0].channel();
    queues::declare(&busy, &QueueDeclare { durable: true, ..shared("queue") });
    busy.publish("", "queue", b"1");
    busy.consume_with(&basic_consume("queue"));
    busy.next_delivery();
    let elsewhere = Connection::builder().vhost(other.name()).open();
    vhost.delete();
    for connection in connections {
        let close =
            connection.expect_connection_error(ReplyCode::ConnectionForced, &format!("vhost '{name}' is deleted"));
        assert_eq!(close.blame(), (0, 0));
    }
    elsewhere.channel().round_trip();
    let mut late = Connection::builder().vhost(&name).through_open();
    late.expect_close(ReplyCode::NotAllowed, &format!("vhost {name} not found"));
}

#[test]
fn a_vhost_that_is_made_again_is_empty_and_closed_to_its_users() {
    let vhost = own_vhost();
    let name = vhost.name().to_owned();
    let user = own_user(&name, Permissions::ALL);
    user.set_topic_permissions(&name, "amq.topic", "", "");
    let connection = user.open(&name);
    let channel = connection.channel();
    queues::declare(&channel, &QueueDeclare { durable: true, ..shared("queue") });
    exchanges::declare(&channel, &ExchangeDeclare { durable: true, ..lasting("exchange", "topic") });
    channel.bind("queue", "amq.fanout", "");
    vhost.delete();
    connection.expect_connection_error(ReplyCode::ConnectionForced, &format!("vhost '{name}' is deleted"));

    let again = own_vhost_named(&name);
    let mut refused = user.builder(again.name()).through_open();
    let text = format!("access to vhost '{name}' refused for user '{}'", user.name());
    refused.expect_close(ReplyCode::NotAllowed, &text);
    user.set_permissions(&name, Permissions::ALL);
    let connection = user.open(&name);
    let lost = |what: &str| format!("no {what} in vhost '{name}'");
    assert_channel_lost(&connection.channel(), &passive("queue"), ReplyCode::NotFound, &lost("queue 'queue'"));
    let missing = lost("exchange 'exchange'");
    assert_channel_lost(&connection.channel(), &passive_exchange("exchange"), ReplyCode::NotFound, &missing);
    // What was said of topics is forgotten too.
    let channel = connection.channel();
    channel.publish("amq.topic", "key", b"");
    channel.round_trip();
}

#[test]
fn a_limit_of_no_connections_lets_nobody_in() {
    let vhost = own_vhost();
    vhost.limit(&[("max-connections", 0.into())]);
    let text = format!("access to vhost '{}' refused for user 'guest': connection limit (0) is reached", vhost.name());
    Connection::builder().vhost(vhost.name()).through_open().expect_close(ReplyCode::NotAllowed, &text);
    // The limit is looked at before the right.
    let user = own_user_named(&unique("user"));
    let text = text.replace("'guest'", &format!("'{}'", user.name()));
    user.builder(vhost.name()).through_open().expect_close(ReplyCode::NotAllowed, &text);
}
