//! What a client may send to log in with each mechanism.

use leveret_protocol::amqp091::method::{ConnectionClose, ConnectionTune};
use leveret_protocol::amqp091::{Properties, ReplyCode, Value};
use leveret_testkit::amqp091::{Connection, RawConnection, plain, table};
use leveret_testkit::{broker, unique};

/// What comes of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    /// It goes on with connection.tune.
    In,
    /// It is refused by connection.close.
    Refused,
    /// It ends without a word, after a while.
    Silent,
    /// It ends with a word or without.
    NotIn,
}

/// Checks logins with a mechanism, all at a time as those that are not answered take a while.
#[track_caller]
fn assert_logins(mechanism: &str, logins: &[(&str, Vec<u8>, Login)]) {
    let connections: Vec<_> = logins
        .iter()
        .map(|(_, response, _)| Connection::builder().mechanism(mechanism, response).through_start_ok())
        .collect();
    for (mut raw, (case, _, expected)) in connections.into_iter().zip(logins) {
        eprintln!("{mechanism}, {case}");
        match expected {
            Login::In => {
                let _: ConnectionTune = raw.expect();
            }
            Login::Refused => {
                let text = format!(
                    "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
                );
                raw.expect_close(ReplyCode::AccessRefused, &text);
            }
            Login::Silent => raw.expect_end(),
            Login::NotIn => assert_not_in(raw),
        }
    }
}

#[track_caller]
fn assert_not_in(mut raw: RawConnection) {
    if let Some(close) = raw.expect_or_end::<ConnectionClose<'_>>() {
        assert_eq!(close.reply_code, ReplyCode::AccessRefused.code());
    }
}

fn text(text: &str) -> Value<'_> {
    Value::LongStr(text.as_bytes())
}

#[test]
fn plain_takes_a_name_and_a_password_and_nothing_else() {
    let url = broker::url();
    let (user, password) = (url.user.as_str(), url.password.as_str());
    assert_logins(
        "PLAIN",
        &[
            ("right", plain(user, password), Login::In),
            ("for another user", format!("{}\0{user}\0{password}", unique("nobody")).into(), Login::Silent),
            ("without its first octet", format!("{user}\0{password}").into(), Login::Silent),
            ("with a third part", format!("\0{user}\0{password}\0").into(), Login::Silent),
            ("one part", format!("\0{user}").into(), Login::Silent),
            ("one octet", b"\0".to_vec(), Login::Silent),
            ("empty", Vec::new(), Login::Silent),
            ("two empty parts", b"\0\0".to_vec(), Login::Refused),
            ("no name", plain("", password), Login::Refused),
            ("no UTF-8 in the name", b"\0\xff\0x".to_vec(), Login::NotIn),
            ("no UTF-8 in the password", [b"\0", user.as_bytes(), b"\0\xff"].concat(), Login::Refused),
            ("another case", plain(&user.to_uppercase(), password), Login::Refused),
            ("unknown", plain(&unique("nobody"), password), Login::Refused),
        ],
    );
}

#[test]
fn amqplain_takes_a_table_with_a_name_and_a_password() {
    let url = broker::url();
    let (login, password) = (("LOGIN", text(&url.user)), ("PASSWORD", text(&url.password)));
    let of = |fields: &[(&str, Value<'_>)]| table(fields).octets().to_vec();
    let right = of(&[login, password]);
    let length = u32::try_from(right.len()).unwrap().to_be_bytes();
    assert_logins(
        "AMQPLAIN",
        &[
            ("right", right.clone(), Login::In),
            ("the other way round", of(&[password, login]), Login::In),
            ("with more", of(&[("LOCALE", text("x")), password, ("N", Value::Void), login]), Login::In),
            ("with the name twice", of(&[login, ("LOGIN", text("nobody")), password]), Login::In),
            ("with another name before", of(&[("LOGIN", text("nobody")), login, password]), Login::Refused),
            ("wrong", of(&[login, ("PASSWORD", text("wrong"))]), Login::Refused),
            ("empty password", of(&[login, ("PASSWORD", text(""))]), Login::Refused),
            ("a number as password", of(&[login, ("PASSWORD", Value::I32(1))]), Login::NotIn),
            ("a number as name", of(&[("LOGIN", Value::I32(1)), password]), Login::Silent),
            ("no name", of(&[password]), Login::Silent),
            ("no password", of(&[login]), Login::Silent),
            ("lower case", of(&[("login", text(&url.user)), ("password", text(&url.password))]), Login::Silent),
            ("empty", Vec::new(), Login::Silent),
            ("cut short", right[..right.len() - 1].to_vec(), Login::Silent),
            ("with an octet too many", [&right[..], b"x"].concat(), Login::Silent),
            ("with its length", [&length[..], &right].concat(), Login::Silent),
            ("as of PLAIN", plain(&url.user, &url.password), Login::Silent),
        ],
    );
}

#[test]
fn names_of_mechanisms_count_to_the_letter() {
    let url = broker::url();
    let response = plain(&url.user, &url.password);
    let connections = ["plain", "PLAIN ", "", "AMQPLAIN PLAIN", "CRAM-MD5", "RABBIT-CR-DEMO"]
        .map(|mechanism| Connection::builder().mechanism(mechanism, &response).through_start_ok());
    for mut raw in connections {
        raw.expect_end();
    }
}

#[test]
fn who_gives_no_name_is_guest_and_comes_from_this_machine_only() {
    let (_, start) = RawConnection::start();
    if !String::from_utf8_lossy(start.mechanisms).split(' ').any(|name| name == "ANONYMOUS") {
        eprintln!("skipped: this broker does not offer ANONYMOUS");
        return;
    }
    assert_logins("ANONYMOUS", &[("empty", Vec::new(), Login::In), ("a trace", b"x@example.org".to_vec(), Login::In)]);
    let anonymous = Connection::builder().mechanism("ANONYMOUS", b"");
    let connection = anonymous.open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    for user_id in ["guest", "anonymous"] {
        let properties = Properties { user_id: Some(user_id), ..Properties::default() };
        channel.publish_with("", &queue, &properties, b"");
    }
    let text = "user_id property set to 'anonymous' but authenticated user was 'guest'";
    channel.expect_channel_error(ReplyCode::PreconditionFailed, text);
    if let Some(address) = broker::network_address() {
        let mut raw = anonymous.address(address).through_start_ok();
        let text = "Login was refused using authentication mechanism ANONYMOUS. For details see the broker logfile.";
        raw.expect_close(ReplyCode::AccessRefused, text);
    }
}

#[test]
fn guest_comes_from_this_machine_only() {
    let Some(address) = broker::network_address() else {
        eprintln!("skipped: this machine has no address but its own");
        return;
    };
    let guest = Connection::builder().user("guest", "guest");
    guest.open().channel().round_trip();
    let mut raw = guest.address(address).through_start_ok();
    let text = "Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";
    raw.expect_close(ReplyCode::AccessRefused, text);
}
