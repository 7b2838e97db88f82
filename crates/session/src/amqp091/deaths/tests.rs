//! What a message tells of its deaths.

use super::*;
use leveret_broker::clock::Timestamp;
use leveret_broker::message::Draft;
use leveret_broker::properties::DeathReason;
use leveret_protocol::amqp091::Properties as Text;
use proptest::prelude::*;

/// A moment, in milliseconds; the headers say it in seconds.
const MOMENT: Timestamp = Timestamp(1_700_000_000_999);

fn message(properties: Text<'_>, fill: impl FnOnce(&mut TableWriter<'_>)) -> Message {
    let mut headers = Vec::new();
    fill(&mut TableWriter::new(&mut headers));
    let headers = (!headers.is_empty()).then(|| Table::parse(&headers).unwrap());
    let mut raw = Vec::new();
    Text { headers, ..properties }.encode(&mut raw);
    let mut draft = Draft::new(Vec::new(), "orders", "created");
    draft.properties(&raw);
    draft.body(b"body");
    draft.message()
}

fn plain() -> Message {
    message(Text::default(), |_| {})
}

fn death(queue: &'static str, reason: DeathReason) -> Death<'static> {
    Death { queue, reason, time: MOMENT, exchange: "dlx", routing_key: None }
}

fn die(message: &Message, death: &Death<'_>) -> Message {
    BasicProperties.after_death(message, death).message
}

fn header(message: &Message, name: &str) -> Option<value::Value> {
    BasicProperties.headers(message).get(name).cloned()
}

/// The entries of `x-death` as queue, reason and count.
fn counts(message: &Message) -> Vec<(String, String, i128)> {
    let Some(value::Value::Array(entries)) = header(message, DEATHS) else { return Vec::new() };
    let entry = |entry: &value::Value| {
        let value::Value::Table(entry) = entry else { panic!("{entry:?}") };
        let text = |name| entry.get(name).unwrap().as_str().unwrap().to_owned();
        (text("queue"), text("reason"), entry.get("count").unwrap().as_integer().unwrap())
    };
    entries.iter().map(entry).collect()
}

fn texts(texts: &[&str]) -> value::Value {
    value::Value::Array(texts.iter().map(|text| value::Value::text(text)).collect())
}

#[test]
fn a_first_death_writes_all_that_is_known_of_it() {
    let properties = Text {
        expiration: Some("60000"),
        delivery_mode: Some(2),
        priority: Some(3),
        message_id: Some("m1"),
        timestamp: Some(5),
        ..Text::default()
    };
    let dead = die(
        &message(properties, |headers| {
            headers.field("n", Value::U8(1)).array(COPIES, |keys| {
                keys.value(Value::LongStr(b"copied")).value(Value::I32(1));
            });
        }),
        &death("q", DeathReason::Expired),
    );
    let entry: value::Table = [
        ("count", value::Value::I64(1)),
        ("reason", value::Value::text("expired")),
        ("queue", value::Value::text("q")),
        ("time", value::Value::Timestamp(1_700_000_000)),
        ("exchange", value::Value::text("orders")),
        ("routing-keys", texts(&["created", "copied"])),
        ("original-expiration", value::Value::text("60000")),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value))
    .collect();
    assert_eq!(header(&dead, DEATHS), Some(value::Value::Array(vec![value::Value::Table(entry)])));
    for (name, value) in FIRST.into_iter().chain(LAST).zip(["q", "expired", "orders"].into_iter().cycle()) {
        assert_eq!(header(&dead, name), Some(value::Value::text(value)), "{name}");
    }
    assert_eq!(header(&dead, "n"), Some(value::Value::U8(1)));
    let left = Text::decode(dead.properties()).unwrap();
    assert_eq!(Text { headers: None, ..left }, Text { expiration: None, ..properties });
    assert_eq!((dead.exchange(), dead.routing_key(), dead.body()), ("dlx", "created", &b"body"[..]));
    assert_eq!((dead.has_died(), dead.published_at(), dead.ttl_ms()), (true, Some(MOMENT), None));
}

#[test]
fn a_death_without_an_expiration_has_none_to_keep() {
    let dead = die(&plain(), &death("q", DeathReason::MaxLen));
    let Some(value::Value::Array(entries)) = header(&dead, DEATHS) else { panic!("{dead:?}") };
    let [value::Value::Table(entry)] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry.len(), 6);
    assert_eq!(entry.get("routing-keys"), Some(&texts(&["created"])));
}

#[test]
fn deaths_are_counted_by_queue_and_reason_and_the_last_comes_first() {
    use DeathReason::{DeliveryLimit, Expired, Rejected};
    let mut dead = plain();
    for (queue, reason, expected) in [
        ("a", Rejected, &[("a", "rejected", 1)][..]),
        ("b", Expired, &[("b", "expired", 1), ("a", "rejected", 1)]),
        ("a", Rejected, &[("a", "rejected", 2), ("b", "expired", 1)]),
        ("a", Expired, &[("a", "expired", 1), ("a", "rejected", 2), ("b", "expired", 1)]),
        ("b", Expired, &[("b", "expired", 2), ("a", "expired", 1), ("a", "rejected", 2)]),
        (
            "",
            DeliveryLimit,
            &[("", "delivery_limit", 1), ("b", "expired", 2), ("a", "expired", 1), ("a", "rejected", 2)],
        ),
    ] {
        dead = die(&dead, &death(queue, reason));
        let expected: Vec<_> = expected.iter().map(|(q, r, n)| ((*q).to_owned(), (*r).to_owned(), *n)).collect();
        assert_eq!(counts(&dead), expected, "{queue} {reason:?}");
        let addresses: Vec<(Name, String)> = expected.into_iter().map(|(q, r, _)| (q.into(), r)).collect();
        assert_eq!(BasicProperties.deaths(&dead), addresses);
        assert_eq!(header(&dead, "x-first-death-queue"), Some(value::Value::text("a")));
        assert_eq!(header(&dead, "x-last-death-queue"), Some(value::Value::text(queue)));
        assert_eq!(header(&dead, "x-last-death-reason"), Some(value::Value::text(reason.as_str())));
    }
}

#[test]
fn a_further_death_changes_nothing_but_the_count_of_its_entry() {
    let first = message(Text { expiration: Some("5"), ..Text::default() }, |_| {});
    let dead = die(&first, &death("q", DeathReason::Rejected));
    let later = Death { time: Timestamp(MOMENT.0 + 9_000), ..death("q", DeathReason::Rejected) };
    let again = die(&dead, &later);
    let entry = |message: &Message| match header(message, DEATHS) {
        Some(value::Value::Array(entries)) => match entries.as_slice() {
            [value::Value::Table(entry)] => entry.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let fields = |table: value::Table| table.iter().skip(1).cloned().collect::<Vec<_>>();
    assert_eq!(fields(entry(&again)), fields(entry(&dead)), "all but the count");
    assert_eq!(header(&again, "x-first-death-exchange"), Some(value::Value::text("orders")));
    assert_eq!(header(&again, "x-last-death-exchange"), Some(value::Value::text("dlx")));
}

#[test]
fn what_a_client_writes_is_no_history() {
    for kind in [0, 1, 2] {
        let published = message(Text::default(), |headers| {
            match kind {
                0 => headers.field(DEATHS, Value::LongStr(b"none")),
                1 => headers.array(DEATHS, |entries| {
                    entries.value(Value::I32(1));
                }),
                _ => headers.array(DEATHS, |entries| {
                    entries.table_value(|entry| {
                        entry.field("queue", Value::LongStr(b"q")).field("reason", Value::LongStr(b"rejected"));
                        entry.field("count", Value::I64(7));
                    });
                }),
            };
            for name in FIRST.into_iter().chain(LAST) {
                headers.field(name, Value::LongStr(b"made up"));
            }
        });
        assert_eq!(BasicProperties.deaths(&published), []);
        let dead = die(&published, &death("q", DeathReason::Rejected));
        assert_eq!(counts(&dead), [("q".to_owned(), "rejected".to_owned(), 1)], "{kind}");
        assert_eq!(BasicProperties.headers(&dead).len(), 7, "each header once");
        assert_eq!(header(&dead, "x-first-death-queue"), Some(value::Value::text("q")));
    }
}

#[test]
fn a_dead_letter_goes_by_its_own_keys_or_by_the_queues() {
    let published = message(Text::default(), |headers| {
        headers.array(COPIES, |keys| {
            keys.value(Value::LongStr(b"copied")).value(Value::LongStr(b"\xff"));
        });
    });
    let published = published.with_hidden_keys(&["hidden".to_owned()]);
    for (routing_key, keys, copies, hidden) in
        [(None, &["created", "copied", "hidden"][..], true, &["hidden"][..]), (Some("key"), &["key"], false, &[])]
    {
        let afterlife =
            BasicProperties.after_death(&published, &Death { routing_key, ..death("q", DeathReason::Rejected) });
        assert_eq!(afterlife.routing_keys, keys);
        assert_eq!(afterlife.message.routing_key(), keys[0]);
        assert_eq!(header(&afterlife.message, COPIES).is_some(), copies, "{routing_key:?}");
        assert_eq!(afterlife.message.hidden_keys().collect::<Vec<_>>(), hidden);
        let Some(value::Value::Array(entries)) = header(&afterlife.message, DEATHS) else { panic!("no history") };
        let value::Value::Table(entry) = &entries[0] else { panic!("{entries:?}") };
        let died_with = value::Value::Array(vec![
            value::Value::text("created"),
            value::Value::text("copied"),
            value::Value::LongStr([0xff].into()),
        ]);
        assert_eq!(entry.get("routing-keys"), Some(&died_with), "{routing_key:?}");
    }
}

#[test]
fn octets_that_are_no_properties_stay_as_they_are() {
    let raws: [&[u8]; 3] = [b"\x20\0\0\0\0\x05\x01nI", b"\x20", b"\x01\0\x05"];
    for raw in raws {
        let mut draft = Draft::new(Vec::new(), "orders", "created");
        draft.properties(raw);
        draft.body(b"body");
        let damaged = draft.message();
        let dead = die(&damaged, &death("q", DeathReason::Rejected));
        assert_eq!((dead.properties(), dead.body(), dead.exchange()), (raw, &b"body"[..], "dlx"), "{raw:?}");
        assert_eq!(BasicProperties.deaths(&dead), []);
        assert_eq!(BasicProperties.with_header(&damaged, "n", &value::Value::I64(1)), damaged);
    }
}

#[test]
fn a_header_is_set_or_set_anew() {
    let values = [value::Value::I64(1), value::Value::text("two"), texts(&["a", "b"]), value::Value::Void];
    let mut changed = message(Text { priority: Some(5), ..Text::default() }, |headers| {
        headers.field("kept", Value::Bool(true)).field("n", Value::I32(1)).field("n", Value::I32(2));
    });
    for value in values {
        changed = BasicProperties.with_header(&changed, "n", &value);
        assert_eq!(header(&changed, "n").as_ref(), Some(&value));
        assert_eq!(header(&changed, "kept"), Some(value::Value::Bool(true)));
        assert_eq!(BasicProperties.headers(&changed).len(), 2);
        assert_eq!(Text::decode(changed.properties()).unwrap().priority, Some(5));
    }
    let first = BasicProperties.with_header(&plain(), "n", &value::Value::I64(1));
    assert_eq!(header(&first, "n"), Some(value::Value::I64(1)));
}

#[test]
fn one_header_is_what_all_headers_say() {
    let message = message(Text::default(), |headers| {
        headers.field("n", Value::I32(1)).field("n", Value::I32(2)).field("void", Value::Void);
    });
    for name in ["n", "void", "none"] {
        assert_eq!(BasicProperties.header(&message, name), header(&message, name), "{name}");
    }
    assert_eq!(BasicProperties.header(&plain(), "n"), None);
}

/// A field of a table as its octets: any type, any name.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![Just(b"CC".to_vec()), Just(b"x-death".to_vec()), prop::collection::vec(any::<u8>(), 0..8)];
    let value = prop_oneof![
        any::<i64>().prop_map(|v| [&b"l"[..], &v.to_be_bytes()].concat()),
        any::<u64>().prop_map(|v| [&b"L"[..], &v.to_be_bytes()].concat()),
        any::<u8>().prop_map(|v| vec![b't', v]),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|v| [
            &b"S"[..],
            &u32::try_from(v.len()).unwrap().to_be_bytes(),
            &v
        ]
        .concat()),
        Just(b"A\0\0\0\x06S\0\0\0\x01k".to_vec()),
        Just(b"F\0\0\0\x03\x01nV".to_vec()),
    ];
    (name, value).prop_map(|(name, value)| [&[u8::try_from(name.len()).unwrap()], &name[..], &value].concat())
}

proptest! {
    #[test]
    fn other_headers_survive_any_number_of_deaths(
        fields in prop::collection::vec(field(), 0..8),
        deaths in prop::collection::vec((0..3_usize, 0..3_usize), 1..8),
        expiration in any::<bool>(),
    ) {
        let octets = fields.concat();
        let headers = Table::parse(&octets).unwrap();
        let mut raw = Vec::new();
        let expiration = expiration.then_some("10");
        Text { headers: Some(headers), expiration, app_id: Some("a"), ..Text::default() }.encode(&mut raw);
        let mut draft = Draft::new(Vec::new(), "orders", "created");
        draft.properties(&raw);
        draft.body(b"body");
        let mut dead = draft.message();
        let reasons = [DeathReason::Rejected, DeathReason::Expired, DeathReason::MaxLen];
        for (queue, reason) in &deaths {
            dead = die(&dead, &death(["a", "b", "c"][*queue], reasons[*reason]));
        }
        let properties = Text::decode(dead.properties()).unwrap();
        prop_assert_eq!((properties.expiration, properties.app_id), (None, Some("a")));
        let is_other = |name: &[u8]| !name.starts_with(b"x-");
        let others = |table: Table<'_>| {
            let fields = table.field_octets().filter(|(name, _)| is_other(name));
            fields.map(|(_, field)| field.to_vec()).collect::<Vec<_>>()
        };
        prop_assert_eq!(others(properties.headers.unwrap()), others(headers));
        let counted: i128 = counts(&dead).iter().map(|(_, _, count)| count).sum();
        prop_assert_eq!(counted, deaths.len() as i128);
        let (queue, reason) = deaths[deaths.len() - 1];
        let history = BasicProperties.deaths(&dead);
        prop_assert_eq!(&*history[0].0, ["a", "b", "c"][queue]);
        prop_assert_eq!(&history[0].1, reasons[reason].as_str());
        prop_assert_eq!(dead.body(), b"body");
    }
}
