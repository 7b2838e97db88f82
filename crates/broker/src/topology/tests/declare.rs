//! Declaring and re-declaring.

use super::*;

#[test]
fn new_vhost_has_the_standard_exchanges() {
    let bench = Bench::new();
    let mut exchanges: Vec<(&str, ExchangeKind, bool)> =
        bench.vhost().exchanges().map(|exchange| (&**exchange.name(), exchange.kind(), exchange.internal())).collect();
    exchanges.sort_by_key(|(name, ..)| *name);
    let expected = [
        ("", ExchangeKind::Direct, false),
        ("amq.direct", ExchangeKind::Direct, false),
        ("amq.fanout", ExchangeKind::Fanout, false),
        ("amq.headers", ExchangeKind::Headers, false),
        ("amq.match", ExchangeKind::Headers, false),
        ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
        ("amq.topic", ExchangeKind::Topic, false),
    ];
    assert_eq!(exchanges, expected);
    assert!(bench.vhost().exchanges().all(|exchange| exchange.durable() && !exchange.auto_delete()));
}

#[test]
fn vhost_is_created_once_and_must_exist_to_be_used_or_deleted() {
    let mut bench = Bench::new();
    assert_eq!(bench.apply(Change::CreateVhost { vhost: "/".into() }), Applied::Unchanged);
    assert_eq!(bench.0.generation(), 1);
    assert_eq!(bench.refuse(Change::DeleteVhost { vhost: "v".into() }), "vhost v not found");
    let elsewhere = Change::DeleteQueue { vhost: "v".into(), name: "q".into(), id: None };
    assert_eq!(bench.refuse(elsewhere), "vhost v not found");
}

#[test]
fn only_effective_changes_count_as_a_generation() {
    let mut bench = Bench::new();
    bench.queue("q");
    bench.exchange("x", ExchangeKind::Direct);
    bench.bind("x", &to_queue("q"), "k");
    let generation = bench.0.generation();
    assert_eq!(generation, 4);
    for change in [
        declare_queue("q"),
        declare_exchange("x", ExchangeKind::Direct),
        bind("x", &to_queue("q"), "k"),
        unbind("x", &to_queue("q"), "l"),
        delete_queue("r"),
        delete_exchange("y"),
    ] {
        bench.apply(change);
    }
    assert_eq!(bench.0.generation(), generation);
}

#[test]
fn names_lose_their_line_breaks() {
    let mut bench = Bench::new();
    bench.queue("q\r\n");
    bench.exchange("x\n", ExchangeKind::Fanout);
    bench.bind("\nx", &to_queue("\rq"), "k\n");
    assert!(bench.vhost().any_queue("q").is_ok());
    let removed = bench.removed(delete_exchange("x\r\n"));
    assert_eq!(&**removed.bindings[0].routing_key(), "k\n", "keys stay as they are");
    assert_eq!(bench.removed(delete_queue("q\n")).queues.len(), 1);
}

#[test]
fn nothing_may_be_done_with_the_default_exchange() {
    let mut bench = Bench::new();
    bench.queue("q");
    for change in [
        declare_exchange("", ExchangeKind::Direct),
        declare_exchange("\n", ExchangeKind::Direct),
        delete_exchange(""),
        bind("", &to_queue("q"), "q"),
        unbind("", &to_queue("q"), "q"),
        bind("amq.direct", &to_exchange(""), "k"),
        unbind("amq.direct", &to_exchange(""), "k"),
    ] {
        assert_eq!(bench.refuse(change), "operation not permitted on the default exchange");
    }
}

#[test]
fn clients_may_not_create_reserved_names_but_may_declare_them_again() {
    let mut bench = Bench::new();
    for (change, text) in [
        (declare_queue("amq.foo"), "queue name 'amq.foo' contains reserved prefix 'amq.*'"),
        (declare_exchange("amq.foo", ExchangeKind::Direct), "exchange name 'amq.foo' contains reserved prefix 'amq.*'"),
        (delete_exchange("amq.topic"), "deletion of system exchange 'amq.topic' in vhost '/' not allowed"),
    ] {
        assert_eq!(bench.refuse(change), text);
    }
    assert_eq!(bench.apply(declare_exchange("amq.topic", ExchangeKind::Topic)), Applied::Unchanged);
    let mut generated = declare_queue("amq.gen-1");
    if let Change::DeclareQueue { origin, .. } = &mut generated {
        *origin = Origin::Broker;
    }
    assert_eq!(bench.apply(generated), Applied::QueueDeclared { id: QueueId(0) });
    assert_eq!(bench.apply(declare_queue("amq.gen-1")), Applied::QueueExists { id: QueueId(0) });
}

#[test]
fn exchange_declared_differently_is_refused_by_the_first_difference() {
    let alternate = |name: &str| table(&[("alternate-exchange", Value::text(name))]);
    let mut bench = Bench::new();
    bench.apply(exchange_with("x", ExchangeKind::Topic, [true, false, false], alternate("a")));
    for (change, difference) in [
        (
            exchange_with("x", ExchangeKind::Direct, [false, true, true], alternate("b")),
            "'type' for exchange 'x' in vhost '/': received 'direct' but current is 'topic'",
        ),
        (
            exchange_with("x", ExchangeKind::Topic, [false, true, true], alternate("b")),
            "'durable' for exchange 'x' in vhost '/': received 'false' but current is 'true'",
        ),
        (
            exchange_with("x", ExchangeKind::Topic, [true, true, true], alternate("b")),
            "'auto_delete' for exchange 'x' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            exchange_with("x", ExchangeKind::Topic, [true, false, true], alternate("b")),
            "'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            exchange_with("x", ExchangeKind::Topic, [true, false, false], alternate("b")),
            "'alternate-exchange' for exchange 'x' in vhost '/': received 'b' but current is 'a'",
        ),
        (
            declare_exchange("x", ExchangeKind::Topic),
            "'alternate-exchange' for exchange 'x' in vhost '/': \
             received none but current is the value 'a' of type 'longstr'",
        ),
    ] {
        assert_eq!(bench.refuse(change), format!("inequivalent arg {difference}"));
    }
    let mut arguments = alternate("a");
    arguments.push("other".into(), Value::I32(1));
    let equivalent = exchange_with("x", ExchangeKind::Topic, [true, false, false], arguments);
    assert_eq!(bench.apply(equivalent), Applied::Unchanged);
}

#[test]
fn queue_declared_differently_is_refused_by_the_first_difference() {
    let ttl = |value| table(&[("x-message-ttl", value)]);
    let mut bench = Bench::new();
    bench.apply(queue_with("q", true, None, false, ttl(Value::I32(1000))));
    for (change, difference) in [
        (
            queue_with("q", false, None, true, ttl(Value::I32(2000))),
            "'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
        ),
        (
            queue_with("q", true, None, true, ttl(Value::I32(2000))),
            "'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'",
        ),
        (
            queue_with("q", true, None, false, ttl(Value::I32(2000))),
            "'x-message-ttl' for queue 'q' in vhost '/': received '2000' but current is '1000'",
        ),
        (
            declare_queue("q"),
            "'x-message-ttl' for queue 'q' in vhost '/': received none \
             but current is the value '1000' of type 'signedint'",
        ),
        (
            queue_with("q", true, None, false, table(&[("x-expires", Value::I64(5))])),
            "'x-expires' for queue 'q' in vhost '/': received the value '5' of type 'long' but current is none",
        ),
    ] {
        assert_eq!(bench.refuse(change), format!("inequivalent arg {difference}"));
    }
}

#[test]
fn queue_arguments_are_equivalent_by_meaning() {
    let mut bench = Bench::new();
    bench.apply(queue_with("q", true, None, false, table(&[("x-message-ttl", Value::I32(1000))])));
    for arguments in [
        table(&[("x-message-ttl", Value::I64(1000))]),
        table(&[("x-message-ttl", Value::I32(1000)), ("x-queue-type", Value::text("classic"))]),
        table(&[("x-unknown", Value::I32(1)), ("x-message-ttl", Value::U16(1000))]),
    ] {
        let change = queue_with("q", true, None, false, arguments);
        assert_eq!(bench.apply(change), Applied::QueueExists { id: QueueId(0) });
    }
    let quorum = table(&[("x-message-ttl", Value::I32(1000)), ("x-queue-type", Value::text("quorum"))]);
    let expected = "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': \
                    received the value 'quorum' of type 'longstr' but current is none";
    assert_eq!(bench.refuse(queue_with("q", true, None, false, quorum)), expected);
}

#[test]
fn exclusive_queue_is_its_connections_alone() {
    let locked = "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on \
                  another connection or the exclusive property value does not match that of the original declaration.";
    let mut bench = Bench::new();
    bench.apply(queue_with("q", true, Some(ONE), false, Table::new()));
    let queue = bench.vhost().any_queue("q").unwrap();
    assert!(!queue.durable(), "an exclusive queue never survives a restart");
    assert!(bench.vhost().queue("q", ONE).is_ok());
    assert_eq!(bench.vhost().queue("q", TWO).unwrap_err().to_string(), locked);

    let again = queue_with("q", true, Some(ONE), false, Table::new());
    assert_eq!(bench.apply(again), Applied::QueueExists { id: QueueId(0) });
    assert_eq!(bench.refuse(queue_with("q", true, Some(TWO), false, Table::new())), locked);
    assert_eq!(bench.refuse(declare_queue("q")), locked);

    bench.bind("amq.direct", &to_queue("q"), "k");
    for mut change in [bind("amq.direct", &to_queue("q"), "l"), unbind("amq.direct", &to_queue("q"), "k")] {
        if let Change::Bind { asking, .. } | Change::Unbind { asking, .. } = &mut change {
            *asking = Some(TWO);
        }
        assert_eq!(bench.refuse(change), locked);
    }
}

#[test]
fn connection_knows_its_exclusive_queues() {
    let mut bench = Bench::new();
    for (name, owner) in [("a", Some(ONE)), ("b", Some(TWO)), ("c", Some(ONE)), ("d", None)] {
        bench.apply(queue_with(name, false, owner, false, Table::new()));
    }
    let owned = |bench: &Bench, connection| {
        let mut names: Vec<String> =
            bench.vhost().queues_owned_by(connection).map(|queue| queue.name().to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(owned(&bench, ONE), ["a", "c"]);
    bench.apply(delete_queue("a"));
    assert_eq!(owned(&bench, ONE), ["c"]);
    bench.apply(delete_queue("c"));
    assert_eq!(owned(&bench, ONE), Vec::<String>::new());
    assert_eq!(owned(&bench, TWO), ["b"]);
}

#[test]
fn restored_queue_keeps_its_id_and_later_ones_come_after_it() {
    let mut bench = Bench::new();
    let mut restored = declare_queue("a");
    if let Change::DeclareQueue { id, .. } = &mut restored {
        *id = Some(QueueId(7));
    }
    assert_eq!(bench.apply(restored), Applied::QueueDeclared { id: QueueId(7) });
    assert_eq!(bench.queue("b"), QueueId(8));
    bench.apply(delete_queue("b"));
    assert_eq!(bench.queue("b"), QueueId(9), "an id stands for one queue only");
}

#[test]
fn missing_names_are_reported_with_their_vhost() {
    let bench = Bench::new();
    for (error, text) in [
        (bench.vhost().exchange("x").unwrap_err(), "no exchange 'x' in vhost '/'"),
        (bench.vhost().queue("q", ONE).unwrap_err(), "no queue 'q' in vhost '/'"),
        (bench.vhost().any_queue("q").unwrap_err(), "no queue 'q' in vhost '/'"),
        (bench.0.vhost("v").unwrap_err(), "vhost v not found"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn clients_cannot_publish_to_internal_exchanges() {
    let mut bench = Bench::new();
    bench.apply(exchange_with("x", ExchangeKind::Fanout, [true, false, true], Table::new()));
    let check = |name| bench.vhost().exchange(name).unwrap().check_publish(bench.vhost().name());
    assert_eq!(check("amq.fanout"), Ok(()));
    assert_eq!(check("x").unwrap_err().to_string(), "cannot publish to internal exchange 'x' in vhost '/'");
}
