//! Users: logging in, limits, and what comes of connections whose user changes or goes.

use leveret_protocol::amqp091::ReplyCode;
use leveret_protocol::amqp091::method::{ChannelOpen, ConnectionUpdateSecret, ConnectionUpdateSecretOk};
use leveret_testkit::amqp091::{Connection, DEADLINE};
use leveret_testkit::policy::own_vhost;
use leveret_testkit::users::{OwnUser, Permissions, own_user, own_user_named};
use leveret_testkit::{broker, unique};

use crate::Blame as _;
use crate::access::is_rabbitmq_3;

const REFUSED: &str = "Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";

fn default_vhost() -> &'static str {
    &broker::url().vhost
}

/// A user that may do anything in the vhost of the tests.
fn user() -> OwnUser {
    own_user(default_vhost(), Permissions::ALL)
}

#[track_caller]
fn assert_refused(name: &str, password: &str) {
    let mut raw = Connection::builder().user(name, password).through_start_ok();
    let close = raw.expect_close(ReplyCode::AccessRefused, REFUSED);
    assert_eq!(close.blame(), (0, 0), "{name:?} {password:?}");
}

#[test]
fn a_user_logs_in_with_its_own_password_only() {
    let (one, other) = (user(), user());
    one.open(default_vhost()).channel().round_trip();
    let nobody = unique("nobody");
    for (name, password) in [
        (one.name(), other.password()),
        (one.name(), ""),
        (one.name(), &one.password()[1..]),
        (one.name(), &format!("{}x", one.password())),
        (one.name(), &one.password().to_uppercase()),
        (&one.name().to_uppercase(), one.password()),
        (&format!("{} ", one.name()), one.password()),
        (&nobody, one.password()),
        ("", one.password()),
        ("", ""),
    ] {
        assert_refused(name, password);
    }
}

#[test]
fn names_and_passwords_may_be_odd() {
    let longest = "x".repeat(150);
    for name in ["\u{fc}\u{1f407}", "with space", "a'b\"c", "a/b@c:d", "{username}", "a\nb", "<<\"x\">>", &longest] {
        let mut user = own_user_named(&format!("{name}{}", unique("")));
        user.set_permissions(default_vhost(), Permissions::ALL);
        for password in ["\u{fc} \u{1f407}", " ", "a:b\\c", &longest] {
            user.set_password(password);
            user.open(default_vhost()).channel().round_trip();
        }
    }
}

#[test]
fn nobody_logs_in_without_a_password() {
    let user = user();
    user.clear_password();
    assert_refused(user.name(), user.password());
    assert_refused(user.name(), "");
}

#[test]
fn a_refused_user_hears_nothing_if_the_client_can_not_take_it() {
    let user = user();
    let mut raw = Connection::builder()
        .user(user.name(), "wrong")
        .without_capability("authentication_failure_close")
        .deadline(DEADLINE)
        .through_start_ok();
    raw.expect_end();
}

#[test]
fn a_new_password_counts_at_the_next_login() {
    let mut user = user();
    let old = user.password().to_owned();
    let connection = user.open(default_vhost());
    user.set_password(&unique("new"));
    assert_refused(user.name(), &old);
    user.open(default_vhost()).channel().round_trip();
    connection.channel().round_trip();
    user.clear_password();
    connection.channel().round_trip();
}

#[test]
fn the_connections_of_a_user_end_with_it() {
    let vhost = own_vhost();
    let gone = user();
    gone.set_permissions(vhost.name(), Permissions::ALL);
    let other = user();
    let (name, password) = (gone.name().to_owned(), gone.password().to_owned());
    let connections = [gone.open(default_vhost()), gone.open(vhost.name())];
    let busy = connections[0].channel();
    let queue = busy.temporary_queue();
    busy.publish("", &queue, b"1");
    busy.consume(&queue);
    busy.next_delivery();
    let elsewhere = other.open(default_vhost());
    gone.delete();
    for connection in connections {
        let close =
            connection.expect_connection_error(ReplyCode::ConnectionForced, &format!("user '{name}' is deleted"));
        assert_eq!(close.blame(), (0, 0));
    }
    elsewhere.channel().round_trip();
    assert_refused(&name, &password);
}

#[test]
fn a_user_that_is_made_again_may_do_nothing() {
    let first = user();
    let name = first.name().to_owned();
    first.set_tags(&["impersonator"]);
    first.limit(&[("max-connections", 0.into())]);
    first.delete();
    let again = own_user_named(&name);
    let text = format!("access to vhost '{}' refused for user '{name}'", default_vhost());
    again.builder(default_vhost()).through_open().expect_close(ReplyCode::NotAllowed, &text);
    again.set_permissions(default_vhost(), Permissions::ALL);
    again.open(default_vhost()).channel().round_trip();
}

#[test]
fn a_user_has_as_many_connections_as_it_may() {
    let (vhost, user) = (own_vhost(), user());
    user.set_permissions(vhost.name(), Permissions::ALL);
    user.limit(&[("max-connections", 2.into())]);
    let first = user.open(default_vhost());
    let _second = user.open(vhost.name());
    let full = format!("connection refused for user '{}': user connection limit (2) is reached", user.name());
    let close = user.builder(default_vhost()).through_open().expect_close(ReplyCode::NotAllowed, &full);
    assert_eq!(close.blame(), (10, 40));
    Connection::open().channel().round_trip();
    first.close();
    user.open(default_vhost()).close();
    user.limit(&[("max-connections", 0.into())]);
    let none = full.replace("(2)", "(0)");
    user.builder(default_vhost()).through_open().expect_close(ReplyCode::NotAllowed, &none);
    user.limit(&[("max-connections", (-1).into())]);
    let many = [(); 4].map(|()| user.open(default_vhost()));
    many[3].channel().round_trip();
}

#[test]
fn a_user_has_as_many_channels_as_it_may() {
    let user = user();
    user.limit(&[("max-channels", 3.into())]);
    let connections = [user.open(default_vhost()), user.open(default_vhost())];
    let channels = [connections[0].channel(), connections[0].channel(), connections[1].channel()];
    let limit = if is_rabbitmq_3() { "(3)" } else { "3" };
    let text = format!(
        "number of channels opened for user '{}' has reached the maximum allowed user limit of {limit}",
        user.name()
    );
    let fourth = connections[1].unopened_channel(7);
    fourth.send(&ChannelOpen { out_of_band: "" });
    let close = fourth.expect_connection_error(ReplyCode::NotAllowed, &text);
    assert_eq!(close.blame(), (0, 0));
    channels[0].close();
    channels[1].round_trip();
    connections[0].channel().round_trip();
}

#[test]
fn a_user_of_the_broker_itself_may_send_any_new_secret() {
    let user = user();
    let connection = user.open(default_vhost());
    let channel = connection.channel();
    for new_secret in [user.password().as_bytes(), b"anything", b""] {
        connection.send(&ConnectionUpdateSecret { new_secret, reason: "time" });
        let _: ConnectionUpdateSecretOk = connection.expect();
    }
    channel.round_trip();
    user.open(default_vhost()).channel().round_trip();
}
