//! What dead letters say of their deaths, and where circles of them end.

use std::time::{SystemTime, UNIX_EPOCH};

use leveret_protocol::amqp091::{Properties, Table, TableWriter, Value};
use leveret_testkit::amqp091::{Channel, Connection, Got, table};
use leveret_testkit::{broker, unique};

use crate::copies::{copies, with_headers};
use crate::dead_letter::{to_exchange, to_queue};
use crate::queues::queue_with;
use crate::traffic::{await_acks, await_count, drain, let_pass, publish_surely, text};

/// An entry of x-death.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Death {
    queue: String,
    reason: String,
    count: i64,
    exchange: String,
    routing_keys: Vec<String>,
    original_expiration: Option<String>,
}

/// A death in a queue that the message came to by the default exchange.
fn death(queue: &str, reason: &str, count: i64) -> Death {
    Death {
        queue: queue.to_owned(),
        reason: reason.to_owned(),
        count,
        exchange: String::new(),
        routing_keys: vec![queue.to_owned()],
        original_expiration: None,
    }
}

#[track_caller]
fn long_text(value: Option<Value<'_>>) -> String {
    let Some(Value::LongStr(octets)) = value else { panic!("not a long string: {value:?}") };
    text(octets)
}

/// What the headers of a message say of its deaths; types are those of RabbitMQ, the time of each is about now.
#[track_caller]
fn deaths(properties: &Properties<'_>) -> Vec<Death> {
    let headers = properties.headers.unwrap_or_default();
    let Some(Value::Array(entries)) = headers.get("x-death") else { panic!("no x-death: {headers:?}") };
    let mut deaths = Vec::new();
    for entry in entries.iter() {
        let Value::Table(entry) = entry else { panic!("not a table: {entry:?}") };
        let Some(Value::I64(count)) = entry.get("count") else { panic!("no count: {entry:?}") };
        let Some(Value::Timestamp(time)) = entry.get("time") else { panic!("no time: {entry:?}") };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(time <= now + 1 && time + 60 >= now, "died at {time}, now it is {now}");
        let Some(Value::Array(keys)) = entry.get("routing-keys") else { panic!("no routing keys: {entry:?}") };
        deaths.push(Death {
            queue: long_text(entry.get("queue")),
            reason: long_text(entry.get("reason")),
            count,
            exchange: long_text(entry.get("exchange")),
            routing_keys: keys.iter().map(|key| long_text(Some(key))).collect(),
            original_expiration: entry.get("original-expiration").map(|value| long_text(Some(value))),
        });
        let fields = entry.iter().count();
        assert_eq!(fields, 6 + entry.get("original-expiration").iter().count(), "fields of {entry:?}");
    }
    deaths
}

/// Queue, reason and exchange of the first or last death, as the headers beside x-death have them.
#[track_caller]
fn beside(properties: &Properties<'_>, which: &str) -> [String; 3] {
    let headers = properties.headers.unwrap_or_default();
    ["queue", "reason", "exchange"].map(|what| long_text(headers.get(&format!("x-{which}-death-{what}"))))
}

/// Awaits one message in a queue and takes it.
#[track_caller]
fn await_message(channel: &Channel, queue: &str) -> Got {
    await_count(channel, queue, 1);
    channel.get(queue).unwrap()
}

#[track_caller]
fn publish_with(connection: &Connection, exchange: &str, routing_key: &str, properties: &Properties<'_>) {
    let channel = connection.channel();
    channel.confirm_select();
    channel.publish_with(exchange, routing_key, properties, b"message");
    await_acks(&channel, 1);
    channel.close();
}

#[track_caller]
fn reject_one(channel: &Channel, queue: &str) -> Got {
    let got = await_message(channel, queue);
    channel.reject(got.delivery_tag);
    got
}

#[test]
fn a_death_is_written_into_the_headers() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, target) = (unique("exchange"), channel.temporary_queue());
    for (reason, argument) in [
        ("rejected", None),
        ("expired", Some(("x-message-ttl", Value::I32(5)))),
        ("maxlen", Some(("x-max-length", Value::I32(0)))),
        ("maxlen", Some(("x-max-length-bytes", Value::I32(0)))),
    ] {
        channel.declare_exchange(&exchange, "topic");
        let mut arguments = to_queue(&target).to_vec();
        arguments.extend(argument);
        let source = queue_with(&channel, &arguments);
        channel.bind(&source, &exchange, "#");
        publish_surely(&connection, &exchange, "some.key", &["message"]);
        if reason == "rejected" {
            reject_one(&channel, &source);
        }
        let got = await_message(&channel, &target);
        assert_eq!((got.exchange, got.routing_key), ("", target.as_str()), "{reason}");
        let expected = Death {
            exchange: exchange.clone(),
            routing_keys: vec!["some.key".to_owned()],
            ..death(&source, reason, 1)
        };
        assert_eq!(deaths(&got.properties), [expected], "{reason}");
        let [queue, why, from] = beside(&got.properties, "first");
        assert_eq!((queue.as_str(), why.as_str(), from.as_str()), (source.as_str(), reason, exchange.as_str()));
        let mut headers = 4;
        if !broker::differs("x-last-death headers are newer") {
            assert_eq!(beside(&got.properties, "last"), beside(&got.properties, "first"), "{reason}");
            headers = 7;
        }
        assert_eq!(got.properties.headers.unwrap().iter().count(), headers, "{reason}");
        assert_eq!(Properties { headers: None, ..got.properties }, Properties::default(), "{reason}");
        channel.delete_queue(&source);
    }
}

#[test]
fn a_refused_message_has_died_of_the_limit() {
    let connection = Connection::open();
    let channel = connection.channel();
    let target = channel.temporary_queue();
    let overflow = ("x-overflow", Value::LongStr(b"reject-publish-dlx"));
    let source = queue_with(&channel, &[&to_queue(&target)[..], &[("x-max-length", Value::I32(0)), overflow]].concat());
    channel.publish("", &source, b"message");
    assert_eq!(deaths(&await_message(&channel, &target).properties), [death(&source, "maxlen", 1)]);
}

#[test]
fn all_keys_but_blind_copies_are_written_down() {
    let connection = Connection::open();
    let channel = connection.channel();
    let target = channel.temporary_queue();
    let source = queue_with(&channel, &to_queue(&target));
    for (name, keys) in
        [("CC", vec![source.clone(), "one".to_owned(), "two".to_owned()]), ("BCC", vec![source.clone()])]
    {
        publish_with(&connection, "", &source, &with_headers(copies(name, &["one", "two"])));
        reject_one(&channel, &source);
        let expected = Death { routing_keys: keys, ..death(&source, "rejected", 1) };
        assert_eq!(deaths(&await_message(&channel, &target).properties), [expected], "{name}");
    }
}

#[test]
fn an_expiration_is_kept_with_the_death() {
    let connection = Connection::open();
    let channel = connection.channel();
    let target = channel.temporary_queue();
    for (expiration, reason) in [("5", "expired"), ("60000", "rejected"), ("0", "expired")] {
        let source = queue_with(&channel, &to_queue(&target));
        publish_with(&connection, "", &source, &Properties { expiration: Some(expiration), ..Properties::default() });
        if reason == "rejected" {
            reject_one(&channel, &source);
        }
        let got = await_message(&channel, &target);
        let expected = Death { original_expiration: Some(expiration.to_owned()), ..death(&source, reason, 1) };
        assert_eq!(deaths(&got.properties), [expected]);
        assert_eq!(got.properties.expiration, None);
    }
}

#[test]
fn the_newest_death_comes_first() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "direct");
    let last = channel.temporary_queue();
    let full = queue_with(&channel, &[&to_queue(&last)[..], &[("x-max-length", Value::I32(0))]].concat());
    let short = queue_with(&channel, &[&to_queue(&full)[..], &[("x-message-ttl", Value::I32(5))]].concat());
    let rejecting = queue_with(&channel, &[to_exchange(&exchange)]);
    channel.bind(&short, &exchange, &rejecting);
    publish_with(&connection, "", &rejecting, &Properties { expiration: Some("60000"), ..Properties::default() });
    reject_one(&channel, &rejecting);
    let got = await_message(&channel, &last);
    let first = Death { original_expiration: Some("60000".to_owned()), ..death(&rejecting, "rejected", 1) };
    let second =
        Death { exchange: exchange.clone(), routing_keys: vec![rejecting.clone()], ..death(&short, "expired", 1) };
    assert_eq!(beside(&got.properties, "first"), [rejecting.as_str(), "rejected", ""]);
    if broker::differs("it turns the older deaths round each time, and has no x-last-death headers") {
        return;
    }
    assert_eq!(deaths(&got.properties), [death(&full, "maxlen", 1), second, first]);
    assert_eq!(beside(&got.properties, "last"), [full.as_str(), "maxlen", ""]);
}

#[test]
fn deaths_in_one_queue_for_one_reason_are_counted() {
    let connection = Connection::open();
    let channel = connection.channel();
    // What is rejected waits in the one queue and comes back to the other.
    let (work, wait) = (unique("work"), unique("wait"));
    channel.declare_queue_with(&work, table(&to_queue(&wait)));
    channel.declare_queue_with(&wait, table(&[&to_queue(&work)[..], &[("x-message-ttl", Value::I32(5))]].concat()));
    publish_surely(&connection, "", &work, &["message"]);
    reject_one(&channel, &work);
    for count in 1..=4 {
        let got = reject_one(&channel, &work);
        let expected = [death(&wait, "expired", count), death(&work, "rejected", count)];
        assert_eq!(deaths(&got.properties), expected);
        assert_eq!(beside(&got.properties, "first"), [work.as_str(), "rejected", ""]);
    }
}

#[test]
fn deaths_in_one_queue_for_two_reasons_are_two() {
    let connection = Connection::open();
    let channel = connection.channel();
    // From the one queue to the other and back, for another reason each time.
    let (one, other) = (unique("one"), unique("other"));
    for (queue, next) in [(&one, &other), (&other, &one)] {
        channel.declare_queue_with(queue, table(&to_queue(next)));
    }
    publish_with(&connection, "", &one, &Properties { expiration: Some("5"), ..Properties::default() });
    reject_one(&channel, &other);
    let got = reject_one(&channel, &one);
    let expired = Death { original_expiration: Some("5".to_owned()), ..death(&one, "expired", 1) };
    assert_eq!(deaths(&got.properties), [death(&other, "rejected", 1), expired.clone()]);
    assert_eq!(beside(&got.properties, "first"), [one.as_str(), "expired", ""]);
    let got = reject_one(&channel, &other);
    if broker::differs("it turns the older deaths round each time") {
        return;
    }
    assert_eq!(deaths(&got.properties), [death(&one, "rejected", 1), death(&other, "rejected", 1), expired.clone()]);
    let got = await_message(&channel, &one);
    assert_eq!(deaths(&got.properties), [death(&other, "rejected", 2), death(&one, "rejected", 1), expired]);
}

#[test]
fn deaths_are_not_believed_when_clients_tell_of_them() {
    let connection = Connection::open();
    let channel = connection.channel();
    let target = channel.temporary_queue();
    let source = queue_with(&channel, &to_queue(&target));
    publish_surely(&connection, "", &source, &["message"]);
    reject_one(&channel, &source);
    let mut got = await_message(&channel, &target);
    for _ in 0..2 {
        // A client sends on what it got, with all headers.
        publish_with(&connection, "", &source, &got.properties);
        reject_one(&channel, &source);
        got = await_message(&channel, &target);
        if broker::differs("it goes on counting what clients send") {
            return;
        }
        assert_eq!(deaths(&got.properties), [death(&source, "rejected", 1)]);
    }
}

#[test]
fn headers_of_deaths_that_are_none_do_no_harm() {
    let connection = Connection::open();
    let channel = connection.channel();
    let target = channel.temporary_queue();
    let source = queue_with(&channel, &to_queue(&target));
    let mut array = Vec::new();
    TableWriter::new(&mut array).array("x-death", |array| {
        array.value(Value::I32(1)).value(Value::LongStr(b"text")).value(Value::Table(Table::default()));
    });
    let mut tables = Vec::new();
    TableWriter::new(&mut tables).array("x-death", |array| {
        array.table_value(|death| {
            death.field("queue", Value::LongStr(b"other")).field("reason", Value::I32(1));
        });
    });
    for headers in [
        table(&[("x-death", Value::LongStr(b"text"))]),
        table(&[("x-death", Value::Table(Table::default()))]),
        table(&[("x-first-death-queue", Value::I32(1)), ("x-first-death-reason", Value::Void)]),
        Table::parse(&array).unwrap(),
        Table::parse(&tables).unwrap(),
    ] {
        if broker::differs("it takes clients at their word") {
            return;
        }
        publish_with(&connection, "", &source, &with_headers(headers));
        reject_one(&channel, &source);
        let got = await_message(&channel, &target);
        assert_eq!(deaths(&got.properties), [death(&source, "rejected", 1)]);
    }
}

#[test]
fn a_circle_of_deaths_that_nobody_asked_for_ends() {
    let connection = Connection::open();
    let channel = connection.channel();
    for argument in [("x-message-ttl", Value::I32(5)), ("x-max-length", Value::I32(0))] {
        // To itself.
        let own = unique("own");
        channel.declare_queue_with(&own, table(&[&to_queue(&own)[..], &[argument]].concat()));
        // The same by the routing key it was published with.
        let same = queue_with(&channel, &[to_exchange(""), argument]);
        // Round by way of others.
        let circle = [unique("one"), unique("two"), unique("three")];
        for (queue, next) in [(0, 1), (1, 2), (2, 0)] {
            channel.declare_queue_with(
                &circle[queue],
                table(&[&to_queue(&circle[next])[..], &[("x-message-ttl", Value::I32(5))]].concat()),
            );
        }
        for queue in [&own, &same, &circle[0]] {
            publish_surely(&connection, "", queue, &["1", "2"]);
        }
        let_pass(&connection, 60);
        for queue in [&own, &same, &circle[0], &circle[1], &circle[2]] {
            await_count(&channel, queue, 0);
        }
    }
}

#[test]
fn a_circle_is_cut_only_where_it_closes() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, source, witness) = (unique("exchange"), unique("source"), channel.temporary_queue());
    channel.declare_exchange(&exchange, "fanout");
    let arguments = [to_exchange(&exchange), ("x-message-ttl", Value::I32(5))];
    channel.declare_queue_with(&source, table(&arguments));
    channel.bind(&source, &exchange, "");
    channel.bind(&witness, &exchange, "");
    publish_surely(&connection, "", &source, &["message"]);
    assert_eq!(deaths(&await_message(&channel, &witness).properties), [death(&source, "expired", 1)]);
    let_pass(&connection, 30);
    assert_eq!((channel.message_count(&source), channel.message_count(&witness)), (0, 0));
}

#[test]
fn a_circle_with_a_rejection_in_it_goes_on() {
    let connection = Connection::open();
    let channel = connection.channel();
    let own = unique("own");
    channel.declare_queue_with(&own, table(&to_queue(&own)));
    publish_surely(&connection, "", &own, &["message"]);
    for count in 0..5 {
        let got = reject_one(&channel, &own);
        let found = got.properties.headers.map(|_| deaths(&got.properties));
        assert_eq!(found, (count > 0).then(|| vec![death(&own, "rejected", count)]));
    }
    assert_eq!(await_message(&channel, &own).body, b"message");
}

#[test]
fn a_rejection_outside_of_the_circle_does_not_keep_it_going() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (one, two) = (unique("one"), unique("two"));
    for (queue, next) in [(&one, &two), (&two, &one)] {
        channel.declare_queue_with(queue, table(&[&to_queue(next)[..], &[("x-message-ttl", Value::I32(5))]].concat()));
    }
    let entry = queue_with(&channel, &to_queue(&one));
    publish_surely(&connection, "", &entry, &["message"]);
    reject_one(&channel, &entry);
    let_pass(&connection, 60);
    for queue in [&entry, &one, &two] {
        await_count(&channel, queue, 0);
    }
}

#[test]
fn deaths_of_other_messages_close_no_circle() {
    let connection = Connection::open();
    let channel = connection.channel();
    let target = channel.temporary_queue();
    let source = queue_with(&channel, &[&to_queue(&target)[..], &[("x-message-ttl", Value::I32(5))]].concat());
    for _ in 0..2 {
        publish_surely(&connection, "", &source, &["1", "2"]);
        await_count(&channel, &target, 2);
        assert_eq!(drain(&channel, &target), ["1", "2"]);
    }
}
