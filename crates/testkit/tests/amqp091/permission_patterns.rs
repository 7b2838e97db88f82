//! Patterns of permissions: regular expressions of PCRE's kind, looked for anywhere in a name.

use leveret_protocol::amqp091::method::QueueDeclare;
use leveret_testkit::broker;
use leveret_testkit::policy::own_vhost;
use leveret_testkit::users::{Permissions, own_user, own_user_named};

use crate::access::Right::{Configure, Read, Write};
use crate::access::{Bench, outcome};
use crate::exchanges;
use crate::queues::{self, get, shared};

/// What a user with such a pattern may declare, and what not.
#[track_caller]
fn assert_matches(bench: &Bench, pattern: &str, allowed: &[&str], refused: &[&str]) {
    bench.user.set_permissions(bench.vhost.name(), Permissions { configure: pattern, ..Permissions::NONE });
    let connection = bench.user.open(bench.vhost.name());
    let check = |queue| {
        let channel = connection.channel();
        channel.send(&QueueDeclare { exclusive: true, ..shared(queue) });
        outcome(&channel)
    };
    for queue in allowed {
        check(queue).assert_allowed(&format!("{queue:?} by {pattern:?}"));
    }
    for queue in refused {
        let refusal = bench.no_queue_access(Configure, queue).blaming((50, 10));
        check(queue).assert_refused(&refusal, &format!("{queue:?} by {pattern:?}"));
    }
    connection.close();
}

#[test]
fn a_pattern_matches_anywhere_in_a_name() {
    let bench = Bench::new();
    assert_matches(&bench, "b", &["b", "abc", "ab", "bc"], &["a", "B"]);
    assert_matches(&bench, "^b", &["b", "bc"], &["ab", "a\u{fc}b"]);
    assert_matches(&bench, "b$", &["b", "ab"], &["bc"]);
    assert_matches(&bench, "^b$", &["b"], &["ab", "bc", "bb"]);
    assert_matches(&bench, ".*", &["b", "anything at all", "\u{fc} \u{1f407}"], &[]);
    assert_matches(&bench, ".", &["b"], &[]);
}

#[test]
fn an_empty_pattern_matches_the_empty_name_only() {
    let bench = Bench::new();
    for pattern in ["", "^$"] {
        assert_matches(&bench, pattern, &[], &["b", " ", "^$", "$"]);
    }
}

#[test]
fn anchors_belong_to_one_side_of_an_alternation() {
    let bench = Bench::new();
    assert_matches(&bench, "^a|b$", &["a", "ax", "b", "xb"], &["xax", "xbx", "x"]);
    assert_matches(&bench, "^(a|b)$", &["a", "b"], &["ax", "xb"]);
    assert_matches(&bench, "a|", &["a", "x"], &[]);
}

#[test]
fn patterns_have_what_pcre_has() {
    let bench = Bench::new();
    assert_matches(&bench, "(?i)^quEUE", &["queue", "QUEUE.1"], &["a queue"]);
    assert_matches(&bench, "^(?!secret)", &["public", "a secret"], &["secret", "secret.1"]);
    assert_matches(&bench, "^a(?=b)", &["ab"], &["a", "ac"]);
    assert_matches(&bench, "(?<=x)y", &["xy", "axyb"], &["y", "zy"]);
    assert_matches(&bench, "(?<!x)y", &["y", "zy"], &["xy"]);
    assert_matches(&bench, r"^(.)\1$", &["aa", "bb"], &["ab", "aaa"]);
    assert_matches(&bench, r"^\d{2,3}\z", &["12", "123"], &["1", "1234", "12a"]);
    assert_matches(&bench, "^[[:alpha:]]+$", &["abc"], &["a1"]);
    assert_matches(&bench, r"^amq\.gen", &[], &["amqXgen"]);
}

#[test]
fn each_right_has_its_own_pattern() {
    let bench = Bench::with(Permissions { configure: "^c$", write: "^w$", read: "^r$" });
    let owner = bench.owner.channel();
    for queue in ["c", "w", "r"] {
        queues::declare(&owner, &shared(queue));
    }
    for exchange in ["c", "w", "r"] {
        exchanges::declare(&owner, &exchanges::lasting(exchange, "fanout"));
    }
    for name in ["c", "w", "r"] {
        let got = bench.outcome(|channel| channel.send(&get(name)));
        match name {
            "r" => got.assert_allowed("get"),
            _ => got.assert_refused(&bench.no_queue_access(Read, name), "get"),
        }
        let published = bench.outcome(|channel| channel.publish(name, "", b""));
        match name {
            "w" => published.assert_allowed("publish"),
            _ => published.assert_refused(&bench.no_exchange_access(Write, name), "publish"),
        }
        let deleted = bench.outcome(|channel| channel.send(&exchanges::delete(name)));
        match name {
            "c" => deleted.assert_allowed("delete"),
            _ => deleted.assert_refused(&bench.no_exchange_access(Configure, name), "delete"),
        }
    }
}

#[test]
fn patterns_hold_for_one_vhost() {
    let (here, there) = (own_vhost(), own_vhost());
    let user = own_user(here.name(), Permissions::ALL);
    user.set_permissions(there.name(), Permissions { configure: "^there", ..Permissions::NONE });
    for (vhost, queue, allowed) in
        [(&here, "here", true), (&here, "there", true), (&there, "there", true), (&there, "here", false)]
    {
        let connection = user.open(vhost.name());
        let channel = connection.channel();
        channel.send(&shared(queue));
        let got = outcome(&channel).0.map_err(|refusal| refusal.code);
        assert_eq!(got, if allowed { Ok(()) } else { Err(403) }, "{queue} in {}", vhost.name());
    }
}

#[test]
fn variables_stand_for_the_user_and_the_vhost() {
    if broker::differs("only patterns of topics have variables") {
        return;
    }
    let vhost = own_vhost();
    for (name, pattern, queue, allowed) in [
        ("a.b", "^{username}-", "a.b-1", true),
        // What stands for the user is no pattern.
        ("a.b", "^{username}-", "axb-1", false),
        (".*", "^{username}$", "anything", false),
        (".*", "^{username}$", ".*", true),
        ("x|y", "^{username}$", "xz", false),
        (r"\E.*\Q", "^{username}$", "anything", false),
        ("plain", "^{vhost}/{username}$", "VHOST/plain", true),
        ("plain", "^{vhost}/{username}$", "other/plain", false),
        ("plain", "^{other}$", "{other}", true),
        ("{vhost}", "^{username}$", "{vhost}", true),
        ("{vhost}", "^{username}$", "VHOST", false),
    ] {
        let user = own_user_named(name);
        user.set_permissions(vhost.name(), Permissions { configure: pattern, ..Permissions::NONE });
        let connection = user.open(vhost.name());
        let channel = connection.channel();
        let queue = queue.replace("VHOST", vhost.name());
        channel.send(&shared(&queue));
        let got = outcome(&channel).0.map_err(|refusal| refusal.code);
        assert_eq!(got, if allowed { Ok(()) } else { Err(403) }, "{queue} of {name} by {pattern}");
    }
}
