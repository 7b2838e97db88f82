//! Deleting and unbinding.

use super::*;

fn names(removed: &Removed) -> (Vec<&str>, Vec<&str>, usize) {
    let exchanges = removed.exchanges.iter().map(|name| &**name).collect();
    let queues = removed.queues.iter().map(|(name, _)| &**name).collect();
    (exchanges, queues, removed.bindings.len())
}

fn auto_delete(name: &str) -> Change {
    exchange_with(name, ExchangeKind::Direct, [true, true, false], Table::new())
}

#[test]
fn binding_needs_both_ends_and_names_the_first_that_is_missing() {
    let mut bench = Bench::new();
    bench.queue("q");
    for (source, destination, text) in [
        ("x", to_queue("q"), "no exchange 'x' in vhost '/'"),
        ("x", to_queue("r"), "no exchange 'x' in vhost '/'"),
        ("amq.direct", to_queue("r"), "no queue 'r' in vhost '/'"),
        ("amq.direct", to_exchange("y"), "no exchange 'y' in vhost '/'"),
    ] {
        assert_eq!(bench.refuse(bind(source, &destination, "k")), text);
        assert_eq!(bench.apply(unbind(source, &destination, "k")), Applied::Unchanged, "{source}");
    }
}

#[test]
fn binding_that_the_exchange_type_cannot_read_is_refused() {
    let mut bench = Bench::new();
    bench.queue("q");
    let text = "Topic binding key '#.#.#' uses 3 '#' wildcards, at most 2 are allowed";
    assert_eq!(bench.refuse(bind("amq.topic", &to_queue("q"), "#.#.#")), text);
    bench.bind("amq.direct", &to_queue("q"), "#.#.#");
    let arguments = table(&[("x-match", Value::text("some"))]);
    let text = "Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x";
    assert_eq!(bench.refuse(bind_with("amq.match", &to_queue("q"), "", arguments)), text);
}

#[test]
fn binding_is_the_same_whatever_the_order_of_its_arguments() {
    let (a, b) = (("a", Value::I32(1)), ("b", Value::I32(2)));
    let mut bench = Bench::new();
    bench.queue("q");
    let first = bind_with("amq.headers", &to_queue("q"), "", table(&[a.clone(), b.clone()]));
    assert_eq!(bench.apply(first), Applied::Bound);
    let second = bind_with("amq.headers", &to_queue("q"), "", table(&[b.clone(), a.clone()]));
    assert_eq!(bench.apply(second), Applied::Unchanged);
    let third = bind_with("amq.headers", &to_queue("q"), "", table(&[a]));
    assert_eq!(bench.apply(third), Applied::Bound);
    assert_eq!(bench.vhost().any_queue("q").unwrap().bindings().count(), 2);
}

#[test]
fn queue_goes_with_its_bindings_and_the_exchanges_they_leave_unused() {
    let mut bench = Bench::new();
    let id = bench.queue("q");
    bench.queue("r");
    for name in ["a", "b", "c"] {
        bench.apply(auto_delete(name));
    }
    bench.bind("a", &to_queue("q"), "1");
    bench.bind("a", &to_queue("q"), "2");
    bench.bind("b", &to_queue("q"), "1");
    bench.bind("b", &to_queue("r"), "1");
    bench.bind("amq.topic", &to_queue("q"), "#");
    let removed = bench.removed(delete_queue("q"));
    assert_eq!(names(&removed), (vec!["a"], vec!["q"], 4));
    assert_eq!(removed.queues, [("q".into(), id)]);
    assert!(bench.vhost().exchange("c").is_ok(), "an exchange that never had a binding stays");
}

#[test]
fn exchange_goes_with_bindings_at_both_ends_and_the_exchanges_that_led_to_it_alone() {
    let mut bench = Bench::new();
    bench.queue("q");
    for name in ["a", "b", "c"] {
        bench.apply(auto_delete(name));
    }
    bench.bind("a", &to_exchange("b"), "k");
    bench.bind("b", &to_exchange("c"), "k");
    bench.bind("c", &to_queue("q"), "k");
    let mut copy = Bench(bench.0.clone());
    let removed = bench.removed(unbind("c", &to_queue("q"), "k"));
    assert_eq!(names(&removed), (vec!["c", "b", "a"], vec![], 3));
    let removed = copy.removed(delete_exchange("b"));
    assert_eq!(names(&removed), (vec!["b", "a"], vec![], 2));
    assert!(copy.vhost().exchange("c").is_ok(), "c lost a binding to it, not one from it");
}

#[test]
fn cycles_of_bindings_can_be_deleted() {
    let mut bench = Bench::new();
    for name in ["a", "b"] {
        bench.apply(auto_delete(name));
    }
    bench.bind("a", &to_exchange("a"), "k");
    bench.bind("a", &to_exchange("b"), "k");
    bench.bind("b", &to_exchange("a"), "k");
    assert_eq!(names(&bench.removed(delete_exchange("a"))), (vec!["a", "b"], vec![], 3));
}

#[test]
fn exchange_in_use_is_not_deleted_if_unused() {
    let mut bench = Bench::new();
    bench.queue("q");
    bench.exchange("x", ExchangeKind::Direct);
    bench.bind("x", &to_queue("q"), "k");
    let if_unused = || Change::DeleteExchange { vhost: "/".into(), name: "x".into(), if_unused: true };
    assert_eq!(bench.refuse(if_unused()), "exchange 'x' in vhost '/' in use");
    bench.apply(unbind("x", &to_queue("q"), "k"));
    bench.bind("amq.direct", &to_exchange("x"), "k");
    assert_eq!(names(&bench.removed(if_unused())), (vec!["x"], vec![], 1), "bindings to it do not count");
}

#[test]
fn queue_is_deleted_by_id_only_while_it_is_that_queue() {
    let mut bench = Bench::new();
    let first = bench.queue("q");
    bench.apply(delete_queue("q"));
    let second = bench.queue("q");
    let delete = |id| Change::DeleteQueue { vhost: "/".into(), name: "q".into(), id: Some(id) };
    assert_eq!(bench.apply(delete(first)), Applied::Unchanged);
    assert_eq!(bench.removed(delete(second)).queues, [("q".into(), second)]);
    assert_eq!(bench.apply(delete_queue("q")), Applied::Unchanged);
}

#[test]
fn vhost_goes_with_all_that_is_in_it() {
    let mut bench = Bench::new();
    let ids = [bench.queue("q"), bench.queue("r")];
    bench.exchange("x", ExchangeKind::Topic);
    bench.bind("x", &to_queue("r"), "k");
    bench.bind("amq.topic", &to_exchange("x"), "k");
    let removed = bench.removed(Change::DeleteVhost { vhost: "/".into() });
    assert_eq!(removed.queues, [("q".into(), ids[0]), ("r".into(), ids[1])]);
    assert_eq!((removed.exchanges.len(), removed.bindings.len()), (8, 2));
    assert!(bench.0.vhost("/").is_err());
    bench.apply(Change::CreateVhost { vhost: "/".into() });
    assert_eq!(bench.queue("q"), QueueId(2), "ids are not used again");
}
