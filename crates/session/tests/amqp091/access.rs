//! What the user may do: who is asked, what happens until the answer comes, and what follows when it changes.

use std::sync::{Arc, Mutex};

use leveret_broker::access::{
    Answer, Authenticator, Authority, Identity, LoginAttempt, LoginFailure, Outcome, PasswordHash, Peer, Permissions,
    Question, Reason, RenewalFailure, Reply, Secret, TopicPermissions, tags,
};
use leveret_broker::clock::{Clock, ManualClock, Timestamp};
use leveret_broker::journal::Journal;
use leveret_broker::mailbox::CloseReason;
use leveret_broker::node::{Node, Surroundings};
use leveret_broker::topology::{Change, Existing};
use leveret_protocol::amqp091::frame::write_content;
use leveret_protocol::amqp091::method::{
    BasicGet, BasicPublish, ConfirmSelect, ConnectionClose, ConnectionOpen, ConnectionUpdateSecret, ExchangeDeclare,
    QueueBind, TxCommit, TxSelect,
};
use leveret_protocol::amqp091::{ProtocolHeader, Table, TableWriter, Value};
use leveret_session::amqp091::{Ending, Settings};

use super::client::{Client, FRAME_MAX, counts, drain, settings};
use super::parking::{Disk, declare};

/// Somebody who takes time to answer: questions lie here until they are answered.
#[derive(Debug)]
struct Slow {
    node: Arc<Node>,
    logins: Mutex<Vec<(LoginAttempt, Reply)>>,
    questions: Mutex<Vec<(Question, Reply)>>,
    secrets: Mutex<Vec<(Secret, Reply)>>,
    /// How long answers hold, in milliseconds.
    holds: Option<u64>,
    /// Until when credentials do.
    expires: Option<Timestamp>,
}

impl Slow {
    fn new(node: &Arc<Node>) -> Arc<Self> {
        Self::with(node, None, None)
    }

    fn with(node: &Arc<Node>, holds: Option<u64>, expires: Option<Timestamp>) -> Arc<Self> {
        let (logins, questions, secrets) = Default::default();
        Arc::new(Self { node: Arc::clone(node), logins, questions, secrets, holds, expires })
    }

    fn identity(self: &Arc<Self>, name: &str) -> Identity {
        Identity {
            name: name.into(),
            tags: Arc::new([]),
            expires: self.expires,
            authority: Arc::new(SlowAuthority(Arc::clone(self))),
        }
    }

    /// Answers everything that was asked and is about `about`; says how many questions that were.
    fn answer(&self, about: &str, answer: &Answer) -> usize {
        let mut questions = self.questions.lock().unwrap();
        let (now, later): (Vec<_>, Vec<_>) =
            questions.drain(..).partition(|(question, _)| format!("{question:?}").contains(about));
        *questions = later;
        drop(questions);
        let count = now.len();
        for (question, reply) in now {
            reply.send(Outcome::Answered(question, answer.clone()));
        }
        count
    }

    fn asked(&self) -> usize {
        self.questions.lock().unwrap().len()
    }
}

#[derive(Debug)]
struct SlowAuthority(Arc<Slow>);

impl Authority for SlowAuthority {
    fn ask(&self, question: &Question, reply: Reply) -> Option<Answer> {
        self.0.questions.lock().unwrap().push((question.clone(), reply));
        None
    }

    fn renew(&self, secret: Secret, reply: Reply) -> Option<Result<Identity, RenewalFailure>> {
        self.0.secrets.lock().unwrap().push((secret, reply));
        None
    }

    fn answers_expire_after_ms(&self) -> Option<u64> {
        self.0.holds
    }
}

/// Looks at nobody before it is told to.
#[derive(Debug)]
struct SlowDoor(Arc<Slow>);

impl Authenticator for SlowDoor {
    fn log_in(&self, attempt: LoginAttempt, reply: Reply) -> Option<Result<Identity, LoginFailure>> {
        self.0.logins.lock().unwrap().push((attempt, reply));
        None
    }
}

fn connect(slow: &Arc<Slow>) -> Client {
    let settings = Settings { authenticator: Arc::new(SlowDoor(Arc::clone(slow))), ..settings() };
    Client::connect_with(settings, &Peer::local(), &slow.node)
}

/// A client on channel 1 of whom nothing is known but that it may open the vhost.
fn open(slow: &Arc<Slow>) -> Client {
    let mut client = connect(slow);
    client.log_in("ann", "pw");
    client.tune_ok(10);
    client.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
    client.open_channel(1);
    assert_eq!(client.turn(), ["0: start"]);
    let (attempt, reply) = slow.logins.lock().unwrap().pop().unwrap();
    assert_eq!((&*attempt.name, attempt.secret), ("ann", Some(Secret::new(b"pw"))));
    reply.send(Outcome::LoggedIn(Ok(slow.identity("ann"))));
    assert_eq!(client.turn(), ["0: tune"]);
    assert_eq!(slow.answer("Vhost", &Answer::Allowed), 1);
    assert_eq!(client.turn(), ["0: open-ok", "1: open-ok"]);
    client
}

fn create_user(node: &Node, name: &str, tag: &str) {
    let (user, password, tags) = (name.into(), PasswordHash::none(), vec![tag.into()]);
    node.apply(Change::SetUser { user, password, tags, existing: Existing::Refuse }).unwrap();
}

fn set_permissions(node: &Node, user: &str, [configure, write, read]: [&str; 3]) {
    let permissions = Permissions::new(configure, write, read).unwrap();
    node.apply(Change::SetPermissions { user: user.into(), vhost: "/".into(), permissions }).unwrap();
}

/// A client of a user with these permissions, on channel 1.
fn open_as(node: &Arc<Node>, user: &str, tag: &str, permissions: [&str; 3]) -> Client {
    create_user(node, user, tag);
    set_permissions(node, user, permissions);
    let mut client = Client::connect(node);
    client.log_in(user, user);
    client.tune_ok(10);
    client.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
    client.open_channel(1);
    assert_eq!(client.turn(), ["0: start", "0: tune", "0: open-ok", "1: open-ok"]);
    client
}

fn consume_reply(consumer: &str) -> String {
    format!("1: cancel {consumer}")
}

#[test]
fn nothing_happens_before_it_is_known_who_the_client_is() {
    for (result, expected) in [
        (Ok("ann"), vec!["0: tune"]),
        (
            Err("invalid credentials"),
            vec![
                "0: close ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the \
                 broker logfile.",
            ],
        ),
    ] {
        let slow = Slow::new(&Arc::new(Node::new()));
        let mut client = connect(&slow);
        client.log_in("ann", "pw");
        client.tune_ok(10);
        assert_eq!(client.turn(), ["0: start"]);
        assert!(client.session.is_stuck() && client.session.is_held(), "what follows has to wait");
        client.quiet_turn();
        let (attempt, reply) = slow.logins.lock().unwrap().pop().unwrap();
        assert_eq!((attempt.mechanism, attempt.protocol), ("PLAIN", "amqp091"));
        let user = || attempt.name.clone();
        let refused = |reason: &str| LoginFailure::Refused { user: user(), reason: reason.into() };
        reply.send(Outcome::LoggedIn(result.map(|name| slow.identity(name)).map_err(refused)));
        assert_eq!(client.turn(), expected);
        assert!(!client.session.is_stuck());
    }
}

#[test]
fn input_with_a_secret_in_it_is_pointed_out_once() {
    let mut client = Client::connect(&Arc::new(Node::new()));
    client.turn();
    assert!(!client.session.take_saw_secret());
    client.log_in("guest", "guest");
    client.turn();
    assert!(client.session.take_saw_secret());
    assert!(!client.session.take_saw_secret());
}

#[test]
fn a_vhost_may_be_refused_later() {
    let reason = Reason { backend: "rabbit_auth_backend_http", text: "closed on Sundays".into() };
    for (answer, suffix) in [
        (Answer::REFUSED, ""),
        (Answer::Refused { reason: Some(reason.clone()) }, " by backend rabbit_auth_backend_http: closed on Sundays"),
        (Answer::Failed(reason), ", backend rabbit_auth_backend_http returned an error: closed on Sundays"),
    ] {
        let slow = Slow::new(&Arc::new(Node::new()));
        let mut client = connect(&slow);
        client.log_in("ann", "pw");
        client.tune_ok(10);
        client.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
        client.turn();
        slow.logins.lock().unwrap().pop().unwrap().1.send(Outcome::LoggedIn(Ok(slow.identity("ann"))));
        assert_eq!(client.turn(), ["0: tune"]);
        assert!(client.session.is_stuck() && !client.session.is_open());
        slow.answer("Vhost", &answer);
        let text = format!("0: close NOT_ALLOWED - access to vhost '/' refused for user 'ann'{suffix}");
        assert_eq!(client.turn(), [text]);
    }
}

#[test]
fn a_channel_waits_for_its_answer_and_others_go_on() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    client.open_channel(2);
    client.declare(1, "q");
    client.publish_to(1, "", "q", b"after", true);
    client.confirm_select(2);
    client.open_channel(3);
    assert_eq!(client.turn(), ["2: open-ok", "3: open-ok"]);
    client.send(2, &ConfirmSelect { no_wait: false });
    assert_eq!(client.turn(), ["2: ConfirmSelectOk"]);
    assert!(slow.node.queue("/", "q", client.session.id()).is_err(), "not before it may");
    assert_eq!(slow.answer("Configure", &Answer::Allowed), 1);
    client.quiet_turn();
    assert!(slow.node.queue("/", "q", client.session.id()).is_ok());
    assert_eq!(slow.answer("amq.default", &Answer::Allowed), 1);
    client.quiet_turn();
    assert_eq!(client.cell("q").counts().ready, 1);
}

#[test]
fn publishes_keep_their_order_and_their_numbers_while_they_wait() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    client.confirm_select(1);
    for number in 0..3 {
        client.publish_to(1, "amq.fanout", "key", format!("{number}").as_bytes(), true);
        client.quiet_turn();
    }
    assert_eq!(slow.answer("Write", &Answer::Allowed), 1, "one question for all of them");
    let returned = |number| format!("1: return NO_ROUTE '{number}'");
    assert_eq!(client.turn(), [returned(0), returned(1), returned(2), "1: ack to 3".into()]);
    client.publish_to(1, "amq.fanout", "key", b"3", false);
    client.publish_to(1, "amq.fanout", "other", b"4", false);
    assert_eq!(client.turn(), ["1: ack to 5"]);
    assert_eq!(slow.asked(), 0, "what is known is not asked");
}

#[test]
fn a_large_publish_waits_in_its_frames() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    let body = vec![b'x'; 100_000];
    client.publish_to(1, "amq.fanout", "key", &body, true);
    client.quiet_turn();
    slow.answer("Write", &Answer::Allowed);
    let shown = client.turn();
    assert_eq!(shown, [format!("1: return NO_ROUTE '{}'", "x".repeat(100_000))]);
}

#[test]
fn a_refusal_that_comes_later_closes_the_channel_and_is_asked_for_again() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    client.open_channel(2);
    assert_eq!(client.turn(), ["2: open-ok"]);
    for channel in [1, 2] {
        client.publish_to(channel, "amq.fanout", "key", b"m", false);
        client.declare(channel, "q");
        client.quiet_turn();
        assert_eq!(slow.answer("Write", &Answer::REFUSED), 1);
        let text = "close ACCESS_REFUSED - write access to exchange 'amq.fanout' in vhost '/' refused for user 'ann'";
        assert_eq!(client.turn(), [format!("{channel}: {text}")]);
    }
    assert_eq!(slow.asked(), 0, "what came behind it is ignored");
}

#[test]
fn a_close_waits_for_what_came_before_it() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    let cell = {
        let mut other = Client::open(&slow.node);
        other.declare(1, "q");
        other.turn();
        other.cell("q")
    };
    client.publish(1, "q", "not lost");
    client.publish_to(1, "amq.direct", "key", b"nor this", false);
    client.send(0, &ConnectionClose { reply_code: 200, reply_text: "bye", class_id: 0, method_id: 0 });
    client.quiet_turn();
    client.publish(1, "q", "too late");
    slow.answer("amq.default", &Answer::Allowed);
    client.quiet_turn();
    assert_eq!(cell.counts().ready, 1);
    slow.answer("amq.direct", &Answer::Allowed);
    assert_eq!(client.turn(), ["0: close-ok"]);
    assert_eq!(cell.counts().ready, 1);
    assert!(matches!(client.session.ending(), Some(Ending::Within(_))));
}

#[test]
fn an_answer_from_before_a_change_does_not_count() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    client.publish_to(1, "amq.fanout", "key", b"m", true);
    client.quiet_turn();
    create_user(&slow.node, "somebody", "else");
    client.open_channel(2);
    client.publish_to(2, "amq.fanout", "key", b"m", true);
    assert_eq!(client.turn(), ["2: open-ok"]);
    assert_eq!(slow.answer("Write", &Answer::Allowed), 2, "it was asked again");
    assert_eq!(client.turn().len(), 2, "and both got through");
    client.publish_to(1, "amq.fanout", "key", b"m", true);
    assert_eq!(client.turn().len(), 1);
}

#[test]
fn answers_that_hold_for_a_time_are_asked_for_again() {
    let clock = Arc::new(ManualClock::at(Timestamp(1000)));
    let surroundings = Surroundings { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Surroundings::default() };
    let slow = Slow::with(&Arc::new(Node::within(surroundings)), Some(500), None);
    let mut client = open(&slow);
    let mut publish = |asked: usize| {
        client.publish_to(1, "amq.fanout", "key", b"m", true);
        client.turn();
        assert_eq!(slow.answer("Write", &Answer::Allowed), asked);
        client.turn();
        client.session.deadline()
    };
    publish(1);
    assert_eq!(publish(0), Some(Timestamp(1500)));
    clock.advance(499);
    publish(0);
    clock.advance(1);
    // The turn that finds them old ends after what came in it.
    publish(0);
    publish(1);
    assert_eq!(publish(0), Some(Timestamp(2000)));
}

#[test]
fn a_connection_ends_when_its_credentials_do() {
    let clock = Arc::new(ManualClock::at(Timestamp(1000)));
    let surroundings = Surroundings { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Surroundings::default() };
    let slow = Slow::with(&Arc::new(Node::within(surroundings)), None, Some(Timestamp(2000)));
    let mut client = open(&slow);
    assert_eq!(client.session.deadline(), Some(Timestamp(2000)));
    clock.advance(999);
    client.quiet_turn();
    clock.advance(1);
    assert_eq!(client.turn(), ["0: close CONNECTION_FORCED - credential expired"]);
    assert_eq!(client.session.deadline(), None);
}

#[test]
fn a_new_secret_is_looked_at_while_the_connection_goes_on() {
    let update = ConnectionUpdateSecret { new_secret: b"fresh", reason: "old" };
    let refused = "0: close NOT_ALLOWED - New secret was refused by one of the backends";
    for (result, expected) in [
        (None, "0: ConnectionUpdateSecretOk"),
        (Some(RenewalFailure::Refused), refused),
        (Some(RenewalFailure::Failed), "0: close NOT_ALLOWED - Secret update failed"),
    ] {
        let slow = Slow::new(&Arc::new(Node::new()));
        let mut client = open(&slow);
        client.send(0, &update);
        client.send(1, &ConfirmSelect { no_wait: false });
        assert_eq!(client.turn(), ["1: ConfirmSelectOk"]);
        let (secret, reply) = slow.secrets.lock().unwrap().pop().unwrap();
        assert_eq!(secret, Secret::new(b"fresh"));
        assert!(client.session.take_saw_secret());
        reply.send(Outcome::Renewed(result.map_or_else(|| Ok(slow.identity("ann")), Err)));
        assert_eq!(client.turn(), [expected]);
    }
}

#[test]
fn only_one_new_secret_is_looked_at_at_a_time() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    for secret in [b"one", b"two"] {
        client.send(0, &ConnectionUpdateSecret { new_secret: secret, reason: "" });
    }
    assert_eq!(client.turn(), ["0: close COMMAND_INVALID - the secret before this one is still being looked at"]);
    assert_eq!(slow.secrets.lock().unwrap().len(), 1);
}

#[test]
fn a_user_of_the_node_needs_no_new_secret() {
    let mut client = Client::open(&Arc::new(Node::new()));
    client.send(0, &ConnectionUpdateSecret { new_secret: b"", reason: "" });
    assert_eq!(client.turn(), ["0: ConnectionUpdateSecretOk"]);
}

#[test]
fn a_new_secret_with_fewer_rights_cancels_consumers() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    client.declare(1, "a");
    client.declare(1, "b");
    client.consume(1, "a", true);
    client.consume(1, "b", true);
    for _ in 0..4 {
        client.turn();
        slow.answer("", &Answer::Allowed);
    }
    client.quiet_turn();
    assert_eq!(client.cell("a").counts().consumers + client.cell("b").counts().consumers, 2);
    client.send(0, &ConnectionUpdateSecret { new_secret: b"less", reason: "" });
    client.quiet_turn();
    slow.secrets.lock().unwrap().pop().unwrap().1.send(Outcome::Renewed(Ok(slow.identity("ann"))));
    assert_eq!(client.turn(), ["0: ConnectionUpdateSecretOk"]);
    slow.answer("\"a\"", &Answer::REFUSED);
    assert_eq!(client.turn(), [consume_reply("a")]);
    slow.answer("", &Answer::Allowed);
    client.quiet_turn();
    assert_eq!((client.cell("a").counts().consumers, client.cell("b").counts().consumers), (0, 1));
    assert_eq!(slow.asked(), 0);
}

#[test]
fn the_name_of_a_server_named_queue_is_asked_about_once() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    client.declare(1, "");
    client.quiet_turn();
    let asked = format!("{:?}", slow.questions.lock().unwrap()[0].0);
    assert!(asked.contains("amq.gen-"), "{asked}");
    slow.answer("amq.gen-", &Answer::Allowed);
    client.quiet_turn();
    assert_eq!(slow.asked(), 0);
    let names: Vec<_> = slow
        .node
        .read(|topology| topology.vhost("/").unwrap().queues().map(|queue| queue.name().to_string()).collect());
    assert!(names.len() == 1 && asked.contains(&names[0]), "{names:?}");
}

#[test]
fn what_is_taken_from_a_user_is_gone_at_once() {
    let node = Arc::new(Node::new());
    let mut client = open_as(&node, "ann", "", [".*"; 3]);
    client.declare(1, "kept");
    client.declare(1, "lost");
    client.consume(1, "kept", true);
    client.consume(1, "lost", true);
    client.publish_to(1, "amq.direct", "key", b"m", true);
    assert_eq!(client.turn(), ["1: return NO_ROUTE 'm'"]);
    set_permissions(&node, "ann", ["", "^amq.default$", "^kept$"]);
    assert_eq!(client.turn(), [consume_reply("lost")]);
    assert_eq!((client.cell("lost").counts().consumers, client.cell("kept").counts().consumers), (0, 1));
    client.publish(1, "kept", "still may");
    assert_eq!(client.turn(), ["1: deliver kept 1 'still may'"]);
    client.publish_to(1, "amq.direct", "key", b"m", true);
    let text = "1: close ACCESS_REFUSED - write access to exchange 'amq.direct' in vhost '/' refused for user 'ann'";
    assert_eq!(client.turn(), [text]);
}

#[test]
fn a_topic_may_be_refused_for_each_of_its_keys() {
    let node = Arc::new(Node::new());
    let mut client = open_as(&node, "ann", "", [".*"; 3]);
    let permissions = TopicPermissions::new("^ann\\.", "^{username}\\.").unwrap();
    let (user, vhost, exchange) = ("ann".into(), "/".into(), "amq.topic".into());
    node.apply(Change::SetTopicPermissions { user, vhost, exchange, permissions }).unwrap();
    let bind = |queue, routing_key| QueueBind {
        ticket: 0,
        queue,
        exchange: "amq.topic",
        routing_key,
        no_wait: true,
        arguments: Table::default(),
    };
    client.declare(1, "q");
    client.send(1, &bind("q", "ann.#"));
    client.publish_to(1, "amq.topic", "ann.1", b"m", true);
    client.publish_to(1, "amq.direct", "bob.1", b"m", true);
    assert_eq!(client.turn(), ["1: return NO_ROUTE 'm'"]);
    assert_eq!(client.cell("q").counts().ready, 1);
    client.open_channel(2);
    client.publish_to(1, "amq.topic", "bob.1", b"m", true);
    client.send(2, &bind("q", "#"));
    let refused = |access, key| {
        format!(
            "close ACCESS_REFUSED - {access} access to topic '{key}' in exchange 'amq.topic' in vhost '/' refused for user 'ann'"
        )
    };
    let expected =
        ["2: open-ok".to_owned(), format!("1: {}", refused("write", "bob.1")), format!("2: {}", refused("read", "#"))];
    assert_eq!(client.turn(), expected);
}

#[test]
fn connections_go_with_their_user_and_their_vhost() {
    for (change, text) in [
        (Change::DeleteUser { user: "ann".into() }, "user 'ann' is deleted"),
        (Change::DeleteVhost { vhost: "/".into() }, "vhost '/' is deleted"),
    ] {
        let node = Arc::new(Node::new());
        let mut client = open_as(&node, "ann", "", [".*"; 3]);
        client.declare(1, "q");
        client.consume(1, "q", true);
        client.quiet_turn();
        node.apply(change).unwrap();
        let shown = client.turn();
        assert_eq!(shown.last().unwrap(), &format!("0: close CONNECTION_FORCED - {text}"), "{shown:?}");
    }
}

#[test]
fn declaring_and_getting_need_rights_of_their_own() {
    let node = Arc::new(Node::new());
    let mut client = open_as(&node, "ann", "", ["", "", ""]);
    client.send(1, &BasicGet { ticket: 0, queue: "q", no_ack: true });
    let refused = |permission, resource| {
        format!("1: close ACCESS_REFUSED - {permission} access to {resource} in vhost '/' refused for user 'ann'")
    };
    assert_eq!(client.turn(), [refused("read", "queue 'q'")]);
    let mut client = open_as(&node, "bob", "", ["", "", ""]);
    let (internal, no_wait, arguments) = (false, false, Table::default());
    let (ticket, exchange, kind, durable, auto_delete) = (0, "x", "fanout", false, false);
    for passive in [false, true] {
        client.open_channel(2);
        client.send(
            2,
            &ExchangeDeclare { ticket, exchange, kind, passive, durable, auto_delete, internal, no_wait, arguments },
        );
        client.send(2, &leveret_protocol::amqp091::method::ChannelCloseOk {});
        let shown = client.turn();
        assert_eq!(shown[1], refused("configure", "exchange 'x'").replace("1: ", "2: ").replace("'ann'", "'bob'"));
    }
}

#[test]
fn only_an_impersonator_may_speak_for_others() {
    let node = Arc::new(Node::new());
    for (user, tag, expected) in [
        ("imp", tags::IMPERSONATOR, "1: return NO_ROUTE 'm'".to_owned()),
        (
            "adm",
            tags::ADMINISTRATOR,
            "1: close PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'adm'".to_owned(),
        ),
    ] {
        let mut client = open_as(&node, user, tag, [".*"; 3]);
        let (exchange, routing_key) = ("amq.direct", "key");
        let publish = BasicPublish { ticket: 0, exchange, routing_key, mandatory: true, immediate: false };
        // The property user-id alone.
        write_content(&mut client.to_server, 1, &publish, b"\x00\x10\x03bob", b"m", FRAME_MAX as usize);
        assert_eq!(client.turn(), [expected]);
    }
}

#[test]
fn many_publishes_that_wait_are_kept_while_others_get_their_answers() {
    const MANY: usize = 3000;
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    client.open_channel(2);
    client.confirm_select(1);
    for _ in 0..MANY {
        client.publish_to(1, "amq.fanout", "key", b"m", false);
    }
    client.publish_to(2, "amq.direct", "key", b"m", true);
    assert_eq!(client.turn(), ["2: open-ok"]);
    // Wakes channel 1 as well.
    assert_eq!(slow.answer("amq.direct", &Answer::Allowed), 1);
    assert_eq!(client.turn(), ["2: return NO_ROUTE 'm'"]);
    assert!(!client.session.is_due(), "there is nothing to go on with");
    assert_eq!(slow.answer("amq.fanout", &Answer::Allowed), 1);
    let mut last = None;
    while let Some(shown) = client.turn().pop() {
        last = Some(shown);
    }
    assert_eq!(last, Some(format!("1: ack to {MANY}")));
}

#[test]
fn what_needs_many_answers_at_once_gets_them() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    let digit = |number: u32| char::from_digit(number, 36).unwrap();
    let keys: Vec<String> = (0..1100).map(|number| [digit(number / 36), digit(number % 36)].iter().collect()).collect();
    let mut properties = vec![0x20, 0];
    let values: Vec<Value<'_>> = keys.iter().map(|key| Value::LongStr(key.as_bytes())).collect();
    let mut headers = Vec::new();
    TableWriter::new(&mut headers).array("CC", |array| {
        for value in values {
            array.value(value);
        }
    });
    properties.extend_from_slice(&u32::try_from(headers.len()).unwrap().to_be_bytes());
    properties.extend_from_slice(&headers);
    let (exchange, routing_key) = ("amq.topic", "key");
    let publish = BasicPublish { ticket: 0, exchange, routing_key, mandatory: true, immediate: false };
    write_content(&mut client.to_server, 1, &publish, &properties, b"m", FRAME_MAX as usize);
    let mut shown = client.turn();
    // One for the exchange, one for each key.
    for _ in 0..keys.len() + 2 {
        assert_eq!(shown, [""; 0]);
        assert_eq!(slow.answer("", &Answer::Allowed), 1);
        shown = client.turn();
    }
    assert_eq!(shown, ["1: return NO_ROUTE 'm'"]);
}

#[test]
fn asking_for_any_right_asks_for_each_once() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    let (internal, no_wait, arguments) = (false, false, Table::default());
    let (ticket, exchange, kind, durable, auto_delete, passive) = (0, "amq.fanout", "fanout", true, false, true);
    let declare =
        ExchangeDeclare { ticket, exchange, kind, passive, durable, auto_delete, internal, no_wait, arguments };
    client.send(1, &declare);
    client.quiet_turn();
    for permission in ["Configure", "Write"] {
        assert_eq!(slow.answer(permission, &Answer::REFUSED), 1);
        client.quiet_turn();
    }
    assert_eq!(slow.answer("Read", &Answer::Allowed), 1);
    assert_eq!(client.turn(), ["1: ExchangeDeclareOk"]);
}

#[test]
fn consumers_are_looked_at_however_many_there_are() {
    const MANY: usize = 1100;
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut other = Client::open(&slow.node);
    let mut client = open(&slow);
    for number in 0..MANY {
        other.declare(1, &format!("q{number}"));
        client.consume(1, &format!("q{number}"), true);
    }
    while other.turn().pop().is_some() {}
    client.turn();
    while slow.answer("", &Answer::Allowed) > 0 {
        client.turn();
    }
    client.send(0, &ConnectionUpdateSecret { new_secret: b"new", reason: "" });
    client.quiet_turn();
    slow.secrets.lock().unwrap().pop().unwrap().1.send(Outcome::Renewed(Ok(slow.identity("ann"))));
    assert_eq!(client.turn(), ["0: ConnectionUpdateSecretOk"]);
    assert_eq!(slow.asked(), MANY + 1, "and the vhost");
    assert_eq!(slow.answer("\"q7\"", &Answer::REFUSED), 1);
    assert_eq!(client.turn(), [consume_reply("q7")]);
    assert_eq!(slow.answer("", &Answer::Allowed), MANY);
    client.quiet_turn();
    assert_eq!(slow.asked(), 0, "nothing is asked again");
}

#[test]
fn what_waited_for_the_disk_is_asked_for_before_the_connection_closes() {
    // Which writes nothing.
    let journal: Arc<dyn Journal> = Arc::new(Disk::default());
    let surroundings = Surroundings { journal: Some(journal), ..Surroundings::default() };
    let slow = Slow::new(&Arc::new(Node::within(surroundings)));
    let mut client = open(&slow);
    client.send(1, &declare("q", true));
    client.publish(1, "q", "not lost");
    client.quiet_turn();
    assert_eq!(slow.answer("Configure", &Answer::Allowed), 1);
    client.quiet_turn();
    assert_eq!(slow.asked(), 0, "the publish waits for the disk");
    client.send(0, &ConnectionClose { reply_code: 200, reply_text: "bye", class_id: 0, method_id: 0 });
    client.quiet_turn();
    assert_eq!(slow.answer("Write", &Answer::Allowed), 1);
    assert_eq!(client.turn(), ["0: close-ok"], "and no answer without those before it");
    assert_eq!(counts(&slow.node, "q").ready, 1);
}

#[test]
fn what_relies_on_what_nobody_answered_is_not_done_for_a_client_that_is_gone() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut other = Client::open(&slow.node);
    other.declare(1, "q");
    other.publish(1, "q", "task");
    other.turn();
    let mut client = open(&slow);
    client.consume(1, "q", false);
    client.quiet_turn();
    slow.answer("Read", &Answer::Allowed);
    assert_eq!(client.turn(), ["1: deliver q 1 'task'"]);
    client.publish_to(1, "amq.direct", "key", b"result", false);
    client.ack(1, 1, false);
    client.quiet_turn();
    drop(client);
    assert_eq!(drain(&slow.node, "q"), ["task*"], "the result is not there, so the task is");
}

#[test]
fn rights_are_those_of_the_publish_and_not_of_the_commit() {
    let node = Arc::new(Node::new());
    let mut client = open_as(&node, "ann", "", [".*"; 3]);
    client.declare(1, "q");
    client.send(1, &TxSelect {});
    client.publish(1, "q", "before");
    assert_eq!(client.turn(), ["1: TxSelectOk"]);
    set_permissions(&node, "ann", ["", "", ""]);
    client.send(1, &TxCommit {});
    assert_eq!(client.turn(), ["1: TxCommitOk"]);
    assert_eq!(drain(&node, "q"), ["before"]);
    client.publish(1, "q", "after");
    let text = "1: close ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'ann'";
    assert_eq!(client.turn(), [text]);
}

#[test]
fn a_consumer_ends_with_its_right_though_its_client_cannot_be_told() {
    let node = Arc::new(Node::new());
    create_user(&node, "ann", "");
    set_permissions(&node, "ann", [".*"; 3]);
    let mut client = Client::connect(&node);
    client.to_server.extend_from_slice(&ProtocolHeader::AMQP_0_9_1.octets());
    client.start_ok("ann", "ann", &[]);
    client.tune_ok(10);
    client.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
    client.open_channel(1);
    client.declare(1, "q");
    client.consume(1, "q", true);
    client.turn();
    set_permissions(&node, "ann", [".*", ".*", ""]);
    client.quiet_turn();
    assert_eq!(client.cell("q").counts().consumers, 0);
    client.publish(1, "q", "stays");
    client.quiet_turn();
    assert_eq!(drain(&node, "q"), ["stays"]);
}

#[test]
fn nothing_is_due_any_more_while_a_connection_closes() {
    let clock = Arc::new(ManualClock::at(Timestamp(1000)));
    let surroundings = Surroundings { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Surroundings::default() };
    let node = Arc::new(Node::within(surroundings));
    let mut client = Client::open(&node);
    client.declare_with(1, "q", &[("x-consumer-timeout", Value::I32(5000))]);
    client.publish(1, "q", "m");
    client.consume(1, "q", false);
    assert_eq!(client.turn(), ["1: deliver q 1 'm'"]);
    assert!(client.session.deadline().is_some());
    node.close_connections(&CloseReason::Shutdown);
    client.turn();
    assert_eq!(client.session.deadline(), None);
}

#[test]
fn a_connection_is_closed_for_one_reason() {
    let slow = Slow::new(&Arc::new(Node::new()));
    let mut client = open(&slow);
    client.send(0, &ConnectionUpdateSecret { new_secret: b"fresh", reason: "" });
    client.quiet_turn();
    slow.secrets.lock().unwrap().pop().unwrap().1.send(Outcome::Renewed(Err(RenewalFailure::Refused)));
    // A heartbeat has no place on a channel. Nothing looks into the mailbox before that.
    client.session.receive(b"\x08\0\x01\0\0\0\0\xce", &mut client.to_client);
    let shown = client.read();
    assert!(shown.len() == 1 && shown[0].starts_with("0: close UNEXPECTED_FRAME"), "{shown:?}");
}
