//! Rules of the consistent hash exchange.

use super::*;
use crate::clock::Timestamp;
use crate::exchange::testing::{binding, routed};
use crate::message::Message;
use crate::properties::NoProperties;
use crate::properties::testing::Fixed;

/// Keys that shares are counted over.
const KEYS: usize = 10_000;

fn bound(bindings: &[(u64, &str)]) -> ConsistentHash {
    let mut exchange = ConsistentHash::new(&Table::new());
    for (queue, weight) in bindings {
        exchange.insert(&Arc::new(binding(*queue, weight, Table::new())));
    }
    exchange
}

fn unbind(exchange: &mut ConsistentHash, queue: u64, weight: &str) {
    exchange.remove(&binding(queue, weight, Table::new()));
}

/// The queue that a message without headers goes to.
fn queue(exchange: &ConsistentHash, routing_keys: &[&str]) -> Option<u64> {
    let message = Message::bare("x", "");
    let now = Timestamp::default();
    let input = RoutingInput { routing_keys, message: &message, properties: &NoProperties, entropy: 0, now };
    let found = routed(|routes| exchange.route(&input, routes));
    assert!(found.len() <= 1, "{found:?}");
    found.first().copied()
}

/// The queue of each key.
fn queues(exchange: &ConsistentHash) -> Vec<u64> {
    (0..KEYS).map(|n| queue(exchange, &[&format!("key.{n}")]).unwrap()).collect()
}

/// The share of a queue in per cent.
fn share(queues: &[u64], queue: u64) -> usize {
    queues.iter().filter(|found| **found == queue).count() * 100 / KEYS
}

#[test]
fn shares_are_by_weight() {
    for (bindings, shares) in [
        (&[(1, "1"), (2, "3")][..], &[25, 75][..]),
        (&[(1, "1"), (2, "1"), (3, "2")], &[25, 25, 50]),
        (&[(1, "10"), (2, "10")], &[50, 50]),
        (&[(1, "1"), (2, "9"), (3, "90")], &[1, 9, 90]),
        (&[(1, "1"), (2, "10000")], &[0, 100]),
    ] {
        let found = queues(&bound(bindings));
        for ((queue, weight), expected) in bindings.iter().zip(shares) {
            let share = share(&found, *queue);
            assert!(share.abs_diff(*expected) <= 2, "{queue} of weight {weight} in {bindings:?}: {share} per cent");
        }
    }
}

#[test]
fn where_keys_go_never_changes() {
    let exchange = bound(&[(1, "1"), (2, "2"), (3, "2"), (4, "7")]);
    let found: Vec<u64> = ["", "a", "b", "key.1", "key.2", "ключ"].map(|key| queue(&exchange, &[key]).unwrap()).into();
    assert_eq!(found, [4, 1, 4, 3, 2, 4]);
}

#[test]
fn the_order_of_bindings_does_not_matter() {
    let bindings = [(1, "1"), (2, "3"), (3, "3"), (4, "5")];
    let expected = queues(&bound(&bindings));
    for order in [[3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]] {
        assert_eq!(queues(&bound(&order.map(|index| bindings[index]))), expected, "{order:?}");
    }
}

#[test]
fn a_destination_that_comes_or_goes_moves_its_own_share_only() {
    let mut exchange = bound(&[(1, "1"), (2, "3"), (3, "3"), (4, "1")]);
    let before = queues(&exchange);
    unbind(&mut exchange, 3, "3");
    let after = queues(&exchange);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || *before == 3, "from {before} to {after}");
    }
    assert_eq!(share(&after, 3), 0);
    exchange.insert(&Arc::new(binding(3, "3", Table::new())));
    assert_eq!(queues(&exchange), before);
}

#[test]
fn a_heavier_weight_only_takes() {
    let (before, after) = (queues(&bound(&[(1, "2"), (2, "2")])), queues(&bound(&[(1, "2"), (2, "4")])));
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || *after == 2));
    assert!(share(&after, 2).abs_diff(66) <= 2);
}

#[test]
fn the_first_binding_of_a_destination_gives_its_weight() {
    let once = queues(&bound(&[(1, "1"), (2, "3")]));
    let mut exchange = bound(&[(1, "1"), (2, "3"), (2, "100"), (1, "50"), (1, "60")]);
    assert_eq!(queues(&exchange), once);
    unbind(&mut exchange, 2, "100");
    assert_eq!(queues(&exchange), once);
    assert!(exchange.counts(&binding(1, "1", Table::new())) && !exchange.counts(&binding(1, "50", Table::new())));
    unbind(&mut exchange, 1, "1");
    assert_eq!(queues(&exchange), queues(&bound(&[(1, "50"), (2, "3")])));
    for (queue, weight) in [(1, "60"), (2, "3"), (1, "50")] {
        assert!(!exchange.is_empty());
        unbind(&mut exchange, queue, weight);
    }
    assert!(exchange.is_empty() && exchange.bindings.is_empty());
    assert_eq!(queue(&exchange, &["k"]), None);
}

#[test]
fn extra_keys_do_not_count() {
    let exchange = bound(&[(1, "1"), (2, "1"), (3, "1")]);
    for n in 0..100 {
        assert_eq!(queue(&exchange, &["key"]), queue(&exchange, &["key", &n.to_string()]));
    }
}

#[test]
fn binding_keys_are_weights() {
    for (key, expected) in [
        ("1", Ok(1)),
        ("10000", Ok(10_000)),
        ("+5", Ok(5)),
        ("007", Ok(7)),
        ("", Err("The binding key must be an integer: <<>>")),
        ("k", Err("The binding key must be an integer: <<\"k\">>")),
        ("1.5", Err("The binding key must be an integer: <<\"1.5\">>")),
        (" 1", Err("The binding key must be an integer: <<\" 1\">>")),
        ("+", Err("The binding key must be an integer: <<\"+\">>")),
        ("0", Err("The binding key must be greater than 0")),
        ("-0", Err("The binding key must be greater than 0")),
        ("-3", Err("The binding key must be greater than 0")),
        ("10001", Err("The binding key must not exceed 10000")),
        ("99999999999999999999999999", Err("The binding key must not exceed 10000")),
    ] {
        let found = weight(key).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{key}");
    }
}

#[test]
fn one_thing_is_hashed() {
    let table = |values: &[(&str, &str)]| -> Table {
        values.iter().map(|(name, value)| ((*name).into(), Value::text(value))).collect()
    };
    for (arguments, refusal) in [
        (&[][..], None),
        (&[("hash-header", "h")], None),
        (&[("hash-property", "correlation_id")], None),
        (&[("hash-property", "message_id")], None),
        (&[("hash-property", "timestamp")], None),
        (&[("hash-property", "app_id")], Some("Unsupported property: app_id")),
        (
            &[("hash-property", "app_id"), ("hash-header", "h")],
            Some("hash-header and hash-property are mutually exclusive"),
        ),
    ] {
        let found = check_arguments(&table(arguments)).err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), refusal, "{arguments:?}");
    }
}

#[test]
fn headers_and_properties_are_hashed_instead_of_the_key() {
    let message = Message::bare("x", "");
    let header = |value: &str| [("h".into(), Value::text(value))].into_iter().collect::<Table>();
    let property = |value| Some((Property::MessageId, value));
    for (argument, value, one, other, none) in [
        (
            "hash-header",
            "h",
            Fixed { headers: header("a"), property: None },
            Fixed { headers: header("b"), property: None },
            Fixed { headers: Table::new(), property: property("a") },
        ),
        (
            "hash-property",
            "message_id",
            Fixed { headers: Table::new(), property: property("a") },
            Fixed { headers: Table::new(), property: property("b") },
            Fixed { headers: header("a"), property: Some((Property::CorrelationId, "a")) },
        ),
    ] {
        let mut exchange = ConsistentHash::new(&[(argument.into(), Value::text(value))].into_iter().collect());
        for queue in 0..50 {
            exchange.insert(&Arc::new(binding(queue, "1", Table::new())));
        }
        let queue = |properties: &Fixed, key: &str| {
            let now = Timestamp::default();
            let input = RoutingInput { routing_keys: &[key], message: &message, properties, entropy: 0, now };
            let mut routes = Routes::default();
            routes.start();
            assert!(exchange.route(&input, &mut routes));
            assert!(!routes.cacheable, "it depends on more than the key");
            routes.queues.clone()
        };
        let found = queue(&one, "k");
        assert_eq!(found, queue(&one, "l"));
        assert_ne!(found, queue(&other, "k"));
        assert_eq!(queue(&none, "k"), queue(&none, "l"), "what has nothing to hash stays together");
    }
}

#[test]
fn costs_are_logarithms() {
    for (score, logarithm) in
        [(u64::MAX, 0.0), (1 << 63, 1.0), (1 << 62, 2.0), (3 << 62, 0.415_037_499), (1 << 40, 24.0), (0, 64.0)]
    {
        #[expect(clippy::cast_precision_loss, reason = "a few digits are enough")]
        let found = cost(score) as f64 / 2_f64.powi(32);
        assert!((found - logarithm).abs() < 1e-6, "{score}: {found}");
        assert!(cost(score) > 0);
    }
}
