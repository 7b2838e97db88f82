//! Connections, whole and half.

use leveret_broker::node::ConnectionsOf;
use leveret_protocol::amqp091::Value;
use leveret_testkit::amqp091::{Connection, RawConnection};
use leveret_testkit::policy::own_vhost;
use leveret_testkit::users::own_user_named;
use leveret_testkit::{broker, unique};
use serde_json::{Value as Json, json};

use super::{Form, NO_WAIT, await_that, connections, in_vhost, node, pick, view};

#[test]
fn an_open_connection_shows_what_was_agreed_on_and_what_went_over_it() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let connection = Connection::builder()
        .vhost(vhost.name())
        .property("connection_name", Value::LongStr(b"mine"))
        .heartbeat(60)
        .frame_max(8192)
        .channel_max(7)
        .open();
    connection.channel();
    connection.channel();
    let rows = connections(node, &in_vhost(&vhost));
    let columns = [
        "state",
        "channels",
        "protocol",
        "auth_mechanism",
        "user",
        "vhost",
        "timeout",
        "frame_max",
        "channel_max",
        "user_provided_name",
        "ssl",
        "peer_cert_subject",
        "send_pend",
    ];
    assert_eq!(
        pick(&rows, &columns),
        [json!(["running", 2, [0, 9, 1], "PLAIN", "guest", vhost.name(), 60, 8192, 7, "mine", false, null, 0])]
    );
    let row = &rows[0];
    let (host, port) = broker::url().address.rsplit_once(':').unwrap();
    let name = format!("{host}:{} -> {host}:{port}", row["peer_port"]);
    assert_eq!((&row["name"], &row["host"], row["port"].to_string()), (&json!(name), &json!(host), port.to_owned()));
    let count = |column: &str| row[column].as_u64().unwrap();
    assert!(count("recv_oct") > 100 && count("send_oct") > 100, "{row:?}");
    assert!(count("recv_cnt") >= 4 && count("send_cnt") >= 4 && count("connected_at") > 0, "{row:?}");
    connection.channel();
    let later = &connections(node, &in_vhost(&vhost))[0];
    assert!(later["recv_oct"].as_u64() > row["recv_oct"].as_u64(), "{later:?}");
    let api = view(node, Form::Api).connections(&in_vhost(&vhost), super::DEADLINE);
    assert_eq!(api[0]["client_properties"]["connection_name"], json!("mine"));
    assert_eq!(pick(&api, &["protocol", "type"]), [json!(["AMQP 0-9-1", "network"])]);
}

#[test]
fn connections_are_there_before_they_are_open() {
    let Some(node) = node() else { return };
    let user = own_user_named(&unique("user"));
    let _silent = RawConnection::connect();
    let (_started, _) = RawConnection::start();
    let _tuned = user.builder("/").through_tune_ok();
    let states = || {
        let rows = connections(node, &ConnectionsOf::Everybody);
        let columns = ["state", "user", "vhost", "auth_mechanism"];
        let mut half = pick(&rows, &columns);
        half.retain(|row| row[2] == Json::Null && (row[1] == Json::Null || row[1] == json!(user.name())));
        half
    };
    for expected in [
        json!(["pre_init", null, null, null]),
        json!(["starting", null, null, null]),
        json!(["opening", user.name(), null, "PLAIN"]),
    ] {
        await_that(&expected.to_string(), || states().contains(&expected));
    }
}

#[test]
fn nobody_is_waited_for_longer_than_the_asker_likes() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let _connection = Connection::builder().vhost(vhost.name()).open();
    let rows = view(node, Form::Listing).connections(&in_vhost(&vhost), NO_WAIT);
    assert_eq!(pick(&rows, &["user", "vhost", "channels"]), [json!(["guest", vhost.name(), 0])]);
}
