//! Rules of topic patterns, and the trie against a naive matcher.

use proptest::prelude::*;

use super::*;
use crate::exchange::testing::routed;
use crate::topology::QueueId;

fn target(queue: usize) -> Target {
    Target::Queue(QueueId(queue as u64))
}

fn topic<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Topic {
    let mut topic = Topic::default();
    for (queue, pattern) in patterns.into_iter().enumerate() {
        topic.insert_pattern(pattern, &target(queue));
    }
    topic
}

fn matches(pattern: &str, key: &str) -> bool {
    let topic = topic([pattern]);
    !routed(|routes| topic.route(key, routes)).is_empty()
}

/// The rules as one would explain them, whatever they cost.
fn matches_naively(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (Some((&ANY_WORDS, rest)), None) => matches_naively(rest, key),
        (Some((&ANY_WORDS, rest)), Some((_, later))) => matches_naively(rest, key) || matches_naively(pattern, later),
        (Some((&ONE_WORD, rest)), Some((_, later))) => matches_naively(rest, later),
        (Some((word, rest)), Some((first, later))) => word == first && matches_naively(rest, later),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[test]
fn topic_matches_word_by_word() {
    for (pattern, key, expected) in [
        ("a.b", "a.b", true),
        ("a.b", "a.b.c", false),
        ("a.b.c", "a.b", false),
        ("a.b", "A.b", false),
        ("", "", true),
        ("", "a", false),
        (".", ".", true),
        ("a", "a.", false),
        ("a.", "a.", true),
        ("*", "a", true),
        ("*", "a.b", false),
        ("*", "", false),
        ("*.*", ".", true),
        ("a.*", "a.", true),
        ("a.*", "a", false),
        ("a.*.c", "a.b.c", true),
        ("a.*.c", "a..c", true),
        ("*.b", "a.b", true),
        ("a*", "ab", false),
        ("a*", "a*", true),
        ("*", "*", true),
        ("#", "", true),
        ("#", "a", true),
        ("#", "a.b.c", true),
        ("#", ".", true),
        ("a.#", "a", true),
        ("a.#", "a.b", true),
        ("a.#", "a.b.c.d", true),
        ("a.#", "b", false),
        ("a.#", "", false),
        ("#.a", "a", true),
        ("#.a", "b.c.a", true),
        ("#.a", "a.b", false),
        ("a.#.b", "a.b", true),
        ("a.#.b", "a.x.y.b", true),
        ("a.#.b", "a.b.b", true),
        ("a.#.b", "a.b.c", false),
        ("#.a.#", "x.a.y", true),
        ("#.a.#", "a", true),
        ("#.a.#", "x.y", false),
        ("#.#", "", true),
        ("*.#", "", false),
        ("*.#", "a", true),
        ("#.*", "", false),
        ("#.*", "a.b", true),
        ("a#", "ab", false),
    ] {
        assert_eq!(matches(pattern, key), expected, "{pattern:?} {key:?}");
    }
}

#[test]
fn queue_is_found_once_however_many_patterns_match() {
    let mut topic = Topic::default();
    for pattern in ["a.b", "a.*", "*.b", "#", "#.b", "a.#", "#.a.#"] {
        topic.insert_pattern(pattern, &target(1));
    }
    topic.insert_pattern("a.b", &target(0));
    assert_eq!(routed(|routes| topic.route("a.b", routes)), [0, 1]);
}

#[test]
fn at_most_two_wildcards_for_any_words_are_allowed() {
    for (pattern, wildcards) in
        [("#.a.#", None), ("#.#", None), ("a#.b#.c#", None), ("#.#.#", Some(3)), ("#.a.#.b.#.#", Some(4))]
    {
        let expected =
            wildcards.map(|n| format!("Topic binding key '{pattern}' uses {n} '#' wildcards, at most 2 are allowed"));
        assert_eq!(check_binding(&pattern.into()).err().map(|error| error.to_string()), expected);
    }
}

#[test]
fn removed_patterns_leave_no_nodes() {
    let patterns = ["a.b.c", "a.b", "a.*.c", "a.#", "#", "", "x.y.z"];
    let mut topic = topic(patterns);
    let nodes = topic.nodes.len();
    topic.remove_pattern("a.b.c", &target(0));
    assert_eq!(routed(|routes| topic.route("a.b", routes)), [1, 3, 4]);
    topic.insert_pattern("a.b.d", &target(0));
    assert_eq!(topic.nodes.len(), nodes, "nodes are used again");
    topic.remove_pattern("a.b.d", &target(0));
    for (queue, pattern) in patterns.iter().enumerate() {
        topic.remove_pattern(pattern, &target(queue));
    }
    assert!(topic.is_empty());
    assert_eq!((topic.nodes.len(), topic.free.len(), topic.children.len()), (1, 0, 0));
}

#[test]
fn removing_what_was_never_bound_changes_nothing() {
    let mut topic = topic(["a.b"]);
    for (pattern, queue) in [("a", 0), ("a.b", 7), ("a.b.c", 0), ("#", 0), ("b", 0)] {
        topic.remove_pattern(pattern, &target(queue));
    }
    assert_eq!(routed(|routes| topic.route("a.b", routes)), [0]);
}

#[test]
fn cost_of_wildcards_does_not_multiply() {
    // With every way of matching tried on its own this would take longer than the universe has.
    let pattern = ["#.a"; 40].join(".");
    let topic = topic([&*pattern]);
    let key = ["a"; 127].join(".");
    assert_eq!(routed(|routes| topic.route(&key, routes)), [0]);
    let key = format!("{key}.b");
    assert_eq!(routed(|routes| topic.route(&key, routes)), []);
}

fn key(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(words), 0..7).prop_map(|words| words.join("."))
}

proptest! {
    #[test]
    fn trie_agrees_with_the_rules(
        patterns in prop::collection::vec(key(&["a", "b", "*", "#", "#", ""]), 1..20),
        gone in prop::collection::vec(any::<bool>(), 20),
        keys in prop::collection::vec(key(&["a", "b", "c", ""]), 1..10),
    ) {
        let mut topic = topic(patterns.iter().map(|pattern| &**pattern));
        for (queue, pattern) in patterns.iter().enumerate().filter(|(queue, _)| gone[*queue]) {
            topic.remove_pattern(pattern, &target(queue));
        }
        for key in &keys {
            let expected: Vec<u64> = patterns
                .iter()
                .enumerate()
                .filter(|(queue, _)| !gone[*queue])
                .filter(|(_, pattern)| {
                    matches_naively(&words(pattern).collect::<Vec<_>>(), &words(key).collect::<Vec<_>>())
                })
                .map(|(queue, _)| queue as u64)
                .collect();
            prop_assert_eq!(routed(|routes| topic.route(key, routes)), expected, "{:?} {:?}", patterns, key);
        }
    }
}
