//! Connections that an operator closes.

use std::time::Duration;

use leveret_broker::node::ConnectionsOf;
use leveret_management::pid::Process;
use leveret_management::{CloseMany, close_connections};
use leveret_protocol::amqp091::ReplyCode;
use leveret_protocol::amqp091::method::BasicConsume;
use leveret_testkit::amqp091::{Connection, basic_consume};
use leveret_testkit::policy::own_vhost;
use leveret_testkit::unique;
use leveret_testkit::users::own_user_named;
use serde_json::json;

use super::{await_that, connections, in_vhost, node, pick, pids};

#[test]
fn the_client_is_told_the_reason() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let [one, two] = [(); 2].map(|()| Connection::builder().vhost(vhost.name()).open());
    let rows = connections(node, &in_vhost(&vhost));
    let Ok(Process::Connection(id)) = pids().parse(rows[0]["pid"].as_str().unwrap()) else { panic!("{rows:?}") };
    assert!(node.close_connection(id, &"bye now".into()));
    let close = one.expect_connection_error(ReplyCode::ConnectionForced, "bye now");
    assert_eq!((close.class_id, close.method_id), (0, 0));
    await_that("it is gone", || !node.close_connection(id, &"bye now".into()));
    two.channel();
}

#[test]
fn all_of_a_user_or_a_vhost_are_closed_at_a_time() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let user = own_user_named(&unique("user"));
    user.set_permissions(vhost.name(), leveret_testkit::users::Permissions::ALL);
    let open = || Connection::builder().vhost(vhost.name()).open();
    let (one, two, theirs) = (open(), open(), user.open(vhost.name()));
    let close = |whose, limit| {
        let close = CloseMany { whose, limit, delay: Duration::from_millis(1), reason: "enough".into() };
        close_connections(node, &close, |_, _| true)
    };
    assert_eq!(close(ConnectionsOf::User(user.name().into()), None), 1);
    theirs.expect_connection_error(ReplyCode::ConnectionForced, "enough");
    assert_eq!(close(in_vhost(&vhost), Some(1)), 1);
    one.expect_connection_error(ReplyCode::ConnectionForced, "enough");
    await_that("the first is gone", || connections(node, &in_vhost(&vhost)).len() == 1);
    assert_eq!(close(in_vhost(&vhost), None), 1);
    two.expect_connection_error(ReplyCode::ConnectionForced, "enough");
}

#[test]
fn a_client_that_reads_nothing_is_seen_and_closed_all_the_same() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let (deaf, publisher) =
        (Connection::builder().vhost(vhost.name()).open(), Connection::builder().vhost(vhost.name()).open());
    let (channel, publishing) = (deaf.channel(), publisher.channel());
    channel.declare_queue("q");
    channel.consume_with(&BasicConsume { no_ack: true, ..basic_consume("q") });
    let body = vec![0; 1024 * 1024];
    let first = || connections(node, &in_vhost(&vhost)).swap_remove(0);
    // The system takes some for the client; how much is its own affair.
    await_that("its socket is full", || {
        publishing.publish("", "q", &body);
        first()["send_pend"].as_u64() > Some(0)
    });
    // What comes now is left in the mailbox, and the questions are not.
    for _ in 0..8 {
        publishing.publish("", "q", &body);
    }
    publishing.round_trip();
    let row = first();
    assert_eq!(pick(std::slice::from_ref(&row), &["state", "channels"]), [json!(["running", 1])]);
    let Ok(Process::Connection(id)) = pids().parse(row["pid"].as_str().unwrap()) else { panic!("{row:?}") };
    assert!(node.close_connection(id, &"read on".into()));
    assert_eq!(connections(node, &in_vhost(&vhost)).len(), 1, "it is listed no more, though it is not gone yet");
    deaf.expect_connection_error(ReplyCode::ConnectionForced, "read on");
    publishing.delete_queue("q");
}
