//! Which policies apply, what they come to, and who is told.

use super::*;
use crate::queue::{DeadLetterTo, Overflow, QueueSettings};

const BOTH: [PolicyKind; 2] = [PolicyKind::User, PolicyKind::Operator];

fn policy(name: &str, pattern: &str, priority: i64, definition: &[(&str, Value)]) -> Policy {
    let (name, pattern, apply_to, definition) = (name.into(), pattern.into(), ApplyTo::All, table(definition));
    Policy { name, pattern, apply_to, priority, definition }
}

fn set(kind: PolicyKind, policy: Policy) -> Change {
    Change::SetPolicy { vhost: "/".into(), kind, policy }
}

fn clear(kind: PolicyKind, name: &str) -> Change {
    Change::ClearPolicy { vhost: "/".into(), kind, name: name.into() }
}

fn limit(max_length: i64) -> [(&'static str, Value); 1] {
    [("max-length", Value::I64(max_length))]
}

impl Bench {
    /// Makes a change of policies; gives the limits of length of the queues it changes, and whether routes did.
    fn reconfigure(&mut self, change: Change) -> (Vec<(u64, Option<u64>)>, bool) {
        match self.apply(change) {
            Applied::Reconfigured(Reconfigured { queues, routes }) => {
                (queues.into_iter().map(|(id, settings)| (id.0, settings.max_length)).collect(), routes)
            }
            other => panic!("{other:?}"),
        }
    }

    fn settings(&self, queue: &str) -> QueueSettings {
        self.vhost().any_queue(queue).unwrap().settings()
    }

    /// The names of the policy and of the operator policy of a queue.
    fn policies_of(&self, queue: &str) -> [Option<&str>; 2] {
        let applied = self.vhost().any_queue(queue).unwrap().policies();
        [applied.and_then(|one| one.policy()), applied.and_then(|one| one.operator_policy())]
            .map(|name| name.map(|n| &**n))
    }
}

#[test]
fn all_policies_that_match_are_listed_and_the_first_applies() {
    let mut bench = Bench::new();
    bench.queue("q");
    for (name, pattern, priority) in [("low", "q", -1), ("high", "^q$", 7), ("other", "x", 9), ("all", "", 0)] {
        bench.apply(set(PolicyKind::User, policy(name, pattern, priority, &limit(1))));
    }
    let matching = |object: Destination| {
        let policies = bench.vhost().policies_that_match(PolicyKind::User, &object);
        policies.map(|all| all.into_iter().map(|policy| policy.name.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(matching(Destination::Queue("q".into())).unwrap(), ["high", "all", "low"]);
    assert_eq!(bench.policies_of("q"), [Some("high"), None]);
    assert_eq!(matching(Destination::Exchange("amq.topic".into())).unwrap(), ["all", "low"]);
    assert!(matching(Destination::Queue("none".into())).is_err());
}

#[test]
fn the_matching_policy_with_the_highest_priority_applies_alone() {
    for kind in BOTH {
        let mut bench = Bench::new();
        let q = bench.queue("q").0;
        let r = bench.queue("r").0;
        assert_eq!(bench.reconfigure(set(kind, policy("b", "q", 1, &limit(10)))), (vec![(q, Some(10))], false));
        // Lower, equal but later by name, equal but earlier by name, higher.
        assert_eq!(bench.reconfigure(set(kind, policy("a", "", 0, &limit(20)))), (vec![(r, Some(20))], false));
        assert_eq!(bench.reconfigure(set(kind, policy("c", "q", 1, &limit(30)))), (vec![], false));
        assert_eq!(bench.reconfigure(set(kind, policy("aa", "q", 1, &limit(40)))), (vec![(q, Some(40))], false));
        assert_eq!(bench.reconfigure(set(kind, policy("z", "q", 2, &limit(50)))), (vec![(q, Some(50))], false));
        // What falls back falls back to the next one.
        assert_eq!(bench.reconfigure(clear(kind, "z")), (vec![(q, Some(40))], false));
        assert_eq!(bench.reconfigure(set(kind, policy("aa", "q", -1, &limit(40)))), (vec![(q, Some(10))], false));
        assert_eq!(bench.reconfigure(set(kind, policy("b", "x", 1, &limit(10)))), (vec![(q, Some(30))], false));
        assert_eq!(bench.reconfigure(clear(kind, "c")), (vec![(q, Some(20))], false));
        assert_eq!(bench.reconfigure(clear(kind, "a")), (vec![(q, Some(40)), (r, None)], false));
        let names: Vec<&str> = bench.vhost().policies(kind).map(|policy| &*policy.name).collect();
        assert_eq!(names, ["b", "aa"]);
    }
}

#[test]
fn what_is_declared_later_has_the_policies_too() {
    let mut bench = Bench::new();
    bench.apply(set(PolicyKind::User, policy("user", "^q", 0, &limit(10))));
    bench.apply(set(PolicyKind::Operator, policy("operator", "q$", 0, &limit(5))));
    for (queue, names, max_length) in [
        ("q", [Some("user"), Some("operator")], Some(5)),
        ("qa", [Some("user"), None], Some(10)),
        ("aq", [None, Some("operator")], Some(5)),
        ("a", [None, None], None),
    ] {
        bench.queue(queue);
        assert_eq!((bench.policies_of(queue), bench.settings(queue).max_length), (names, max_length), "{queue}");
    }
    let definition = bench.vhost().any_queue("q").unwrap().policies().unwrap().definition();
    assert_eq!(definition, &table(&limit(5)));
}

#[test]
fn policies_apply_to_what_they_say() {
    for (apply_to, queue, exchange) in [
        (ApplyTo::All, true, true),
        (ApplyTo::Queues, true, false),
        (ApplyTo::Exchanges, false, true),
        (ApplyTo::ClassicQueues, true, false),
        (ApplyTo::QuorumQueues, false, false),
        (ApplyTo::Streams, false, false),
    ] {
        let mut bench = Bench::new();
        bench.queue("a");
        bench.apply(set(PolicyKind::User, Policy { apply_to, ..policy("p", "^[ab]$", 0, &limit(1)) }));
        bench.exchange("b", ExchangeKind::Direct);
        assert_eq!(bench.policies_of("a")[0].is_some(), queue, "{apply_to:?}");
        assert_eq!(bench.vhost().exchange("b").unwrap().policies().is_some(), exchange, "{apply_to:?}");
    }
}

#[test]
fn a_policy_with_a_key_of_another_type_makes_way_for_the_next() {
    let mut bench = Bench::new();
    bench.queue("q");
    let quorum = [("delivery-limit", Value::I64(3)), ("max-length", Value::I64(1))];
    assert_eq!(bench.reconfigure(set(PolicyKind::User, policy("quorum", "q", 5, &quorum))), (vec![], false));
    bench.apply(set(PolicyKind::User, policy("any", "q", 0, &limit(2))));
    assert_eq!(bench.policies_of("q"), [Some("any"), None]);
}

#[test]
fn arguments_and_policies_come_to_settings_key_by_key() {
    let plain = QueueSettings::default();
    let to = |exchange: &str, routing_key: Option<&str>| {
        Some(DeadLetterTo {
            exchange: exchange.into(),
            routing_key: routing_key.map(Name::from),
            strategy: crate::queue::DeadLetterStrategy::AtMostOnce,
        })
    };
    let (five, nine) = (Value::I64(5), Value::I64(9));
    let ttl = |message_ttl_ms| QueueSettings { message_ttl_ms, ..QueueSettings::default() };
    let expires = |expires_ms| QueueSettings { expires_ms, ..QueueSettings::default() };
    let length = |max_length| QueueSettings { max_length, ..QueueSettings::default() };
    let octets = |max_length_bytes| QueueSettings { max_length_bytes, ..QueueSettings::default() };
    let overflow = |overflow| QueueSettings { overflow, ..QueueSettings::default() };
    let timeout = |consumer_timeout_ms| QueueSettings { consumer_timeout_ms, ..QueueSettings::default() };
    let lazy = |lazy| QueueSettings { lazy, ..QueueSettings::default() };
    let dead_letter = |dead_letter| QueueSettings { dead_letter, ..QueueSettings::default() };
    let (drop, reject) = (Value::text("drop-head"), Value::text("reject-publish"));
    let (x, y, k) = (Value::text("x"), Value::text("y"), Value::text("k"));
    let (x_exchange, x_key) = ("x-dead-letter-exchange", "x-dead-letter-routing-key");
    let (p_exchange, p_key) = ("dead-letter-exchange", "dead-letter-routing-key");
    for (arguments, definition, expected) in [
        // The smaller limit.
        (vec![("x-message-ttl", &five)], vec![("message-ttl", &nine)], ttl(Some(5))),
        (vec![("x-message-ttl", &nine)], vec![("message-ttl", &five)], ttl(Some(5))),
        (vec![], vec![("message-ttl", &nine)], ttl(Some(9))),
        (vec![("x-expires", &nine)], vec![("expires", &five)], expires(Some(5))),
        (vec![("x-max-length", &five)], vec![("max-length", &nine)], length(Some(5))),
        (vec![("x-max-length-bytes", &nine)], vec![("max-length-bytes", &five)], octets(Some(5))),
        (vec![("x-consumer-timeout", &nine)], vec![("consumer-timeout", &five)], timeout(Some(5))),
        // The argument.
        (vec![("x-overflow", &drop)], vec![("overflow", &reject)], plain.clone()),
        (vec![], vec![("overflow", &reject)], overflow(Overflow::RejectPublish)),
        (vec![("x-queue-mode", &Value::text("default"))], vec![("queue-mode", &Value::text("lazy"))], plain.clone()),
        (vec![], vec![("queue-mode", &Value::text("lazy"))], lazy(true)),
        (vec![(x_exchange, &x)], vec![(p_exchange, &y)], dead_letter(to("x", None))),
        (vec![(x_exchange, &x)], vec![(p_exchange, &y), (p_key, &k)], dead_letter(to("x", Some("k")))),
        (vec![], vec![(p_exchange, &y), (p_key, &k)], dead_letter(to("y", Some("k")))),
        (vec![(x_exchange, &x), (x_key, &y)], vec![(p_key, &k)], dead_letter(to("x", Some("y")))),
        // A routing key alone means nothing.
        (vec![], vec![(p_key, &k)], plain.clone()),
        // Without effect.
        (vec![], vec![("ha-mode", &Value::text("all")), ("queue-version", &Value::I64(2))], plain.clone()),
    ] {
        let given = |list: &[(&str, &Value)]| -> Vec<(String, Value)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())).collect()
        };
        let to_table =
            |list: Vec<(String, Value)>| list.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let mut bench = Bench::new();
        bench.apply(queue_with("q", true, None, false, to_table(given(&arguments))));
        let definition: Table = to_table(given(&definition));
        bench.apply(set(PolicyKind::User, Policy { definition, ..policy("p", "q", 0, &[]) }));
        assert_eq!(bench.settings("q"), expected, "{arguments:?}");
    }
}

#[test]
fn only_queues_whose_settings_change_are_told() {
    let mut bench = Bench::new();
    let q = bench.queue("q").0;
    bench.apply(queue_with("narrow", true, None, false, table(&[("x-max-length", Value::I64(1))])));
    assert_eq!(bench.reconfigure(set(PolicyKind::User, policy("p", "", 0, &limit(10)))), (vec![(q, Some(10))], false));
    assert_eq!(bench.apply(set(PolicyKind::User, policy("p", "", 0, &limit(10)))), Applied::Unchanged);
    assert_eq!(bench.reconfigure(set(PolicyKind::Operator, policy("p", "", 0, &limit(99)))), (vec![], false));
    assert_eq!(bench.policies_of("narrow"), [Some("p"), Some("p")]);
    assert_eq!(
        bench.reconfigure(set(PolicyKind::Operator, policy("p", "", 0, &limit(7)))),
        (vec![(q, Some(7))], false)
    );
    assert_eq!(bench.reconfigure(clear(PolicyKind::User, "p")), (vec![], false));
    assert_eq!(bench.reconfigure(clear(PolicyKind::Operator, "p")), (vec![(q, None)], false));
    assert_eq!(bench.policies_of("q"), [None, None]);
}

#[test]
fn exchanges_have_the_alternate_exchange_of_their_policy_unless_their_own() {
    let mut bench = Bench::new();
    let own = table(&[("alternate-exchange", Value::text("own"))]);
    bench.apply(exchange_with("own", ExchangeKind::Direct, [true, false, false], own));
    let by_policy = [("alternate-exchange", Value::text("other"))];
    assert_eq!(bench.reconfigure(set(PolicyKind::User, policy("p", "^(own|x)$", 0, &by_policy))), (vec![], false));
    bench.exchange("x", ExchangeKind::Direct);
    let alternate = |bench: &Bench, name| bench.vhost().exchange(name).unwrap().alternate().map(ToString::to_string);
    assert_eq!(alternate(&bench, "own").as_deref(), Some("own"));
    assert_eq!(alternate(&bench, "x").as_deref(), Some("other"));
    let generation = bench.0.generation();
    assert_eq!(bench.reconfigure(clear(PolicyKind::User, "p")), (vec![], true));
    assert_eq!(bench.0.generation(), generation + 1);
    assert_eq!(alternate(&bench, "x"), None);
    let delayed = [("delayed-message", Value::Bool(true))];
    assert_eq!(bench.reconfigure(set(PolicyKind::User, policy("p", "^x$", 0, &delayed))), (vec![], true));
    assert!(bench.vhost().exchange("x").unwrap().is_delayed_by_policy());
    assert!(!bench.vhost().exchange("own").unwrap().is_delayed_by_policy());
    // An operator policy is for queues.
    bench.apply(set(PolicyKind::Operator, policy("p", "", 9, &limit(1))));
    let applied = bench.vhost().exchange("x").unwrap().policies().unwrap();
    assert_eq!((applied.policy().map(|name| &**name), applied.operator_policy()), (Some("p"), None));
}

#[test]
fn routes_are_as_old_as_before_when_only_queues_change() {
    let mut bench = Bench::new();
    bench.queue("q");
    let generation = bench.0.generation();
    bench.apply(set(PolicyKind::User, policy("p", "", 0, &limit(1))));
    bench.apply(clear(PolicyKind::User, "p"));
    assert_eq!(bench.0.generation(), generation);
}

#[test]
fn bad_policies_are_refused_and_leave_the_old_one() {
    let mut bench = Bench::new();
    bench.queue("q");
    for kind in BOTH {
        bench.apply(set(kind, policy("p", "q", 0, &limit(1))));
        let failed = "Validation failed\n\n";
        assert_eq!(bench.refuse(set(kind, policy("p", "q", 0, &[]))), format!("{failed}no policy provided"));
        let nope = [("nope", Value::I64(1))];
        let text = format!("{failed}[{{<<\"nope\">>,1}}] are not recognised policy settings");
        assert_eq!(bench.refuse(set(kind, policy("p", "q", 0, &nope))), text);
        let text = bench.refuse(set(kind, policy("p", "(q", 0, &limit(1))));
        assert!(text.starts_with(&format!("{failed}pattern should be regular expression but is invalid: ")), "{text}");
        assert_eq!(bench.refuse(clear(kind, "other")), "Parameter does not exist");
        assert_eq!(bench.vhost().policy(kind, "p"), Ok(&policy("p", "q", 0, &limit(1))));
    }
    assert_eq!(bench.settings("q").max_length, Some(1));
    let elsewhere = Change::ClearPolicy { vhost: "v".into(), kind: PolicyKind::User, name: "p".into() };
    assert_eq!(bench.refuse(elsewhere), "vhost v not found");
}
