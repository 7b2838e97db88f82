//! Queries over a directory that is a list.

use super::*;
use crate::ldap::template::Variables;

/// Entries with their attributes. What is below `ou=broken` cannot be asked for.
struct Fake(&'static [(&'static str, &'static [(&'static str, &'static str)])]);

impl Directory for Fake {
    async fn search(&mut self, search: &Search) -> Result<Vec<Entry>, DirectoryError> {
        if search.base.ends_with("ou=broken") {
            return Err(DirectoryError::Unreachable("broken".into()));
        }
        let exists = |base: &str| self.0.iter().any(|(dn, _)| is_same_dn(dn, base));
        if !exists(&search.base) {
            return Err(DirectoryError::Answer { code: 32, text: "noSuchObject".into() });
        }
        let is_in_scope = |dn: &str| {
            let below = dn.strip_suffix(&format!(",{}", search.base));
            match search.depth {
                Depth::Entry => is_same_dn(dn, &search.base),
                Depth::OneLevel => below.is_some_and(|below| !below.contains(',')),
                Depth::Subtree => is_same_dn(dn, &search.base) || below.is_some(),
            }
        };
        let is_wanted = |attributes: &[(&str, &str)]| match &search.filter {
            Filter::Any => true,
            Filter::Has { attribute, value } => {
                attributes.iter().any(|(name, has)| name == attribute && (*has == value || is_same_dn(has, value)))
            }
        };
        let found = self.0.iter().filter(|(dn, attributes)| is_in_scope(dn) && is_wanted(attributes));
        Ok(found
            .map(|(dn, attributes)| Entry {
                dn: (*dn).into(),
                values: attributes
                    .iter()
                    .filter(|(name, _)| Some(*name) == search.attribute.as_deref())
                    .map(|(_, value)| (*value).into())
                    .collect(),
            })
            .collect())
    }
}

const ENTRIES: Fake = Fake(&[
    ("dc=x", &[]),
    (
        "cn=alice,dc=x",
        &[("description", "can-declare"), ("memberOf", "cn=a,ou=g,dc=x"), ("memberOf", "cn=b,ou=g,dc=x")],
    ),
    ("cn=bob,dc=x", &[("re", "^q[0-9]+$"), ("re2", "("), ("re2", "^v$"), ("sn", "x")]),
    ("ou=vhost\\2c1,dc=x", &[]),
    ("ou=g,dc=x", &[]),
    ("cn=a,ou=g,dc=x", &[("member", "cn=alice,dc=x")]),
    ("cn=b,ou=g,dc=x", &[("member", "cn=a,ou=g,dc=x"), ("member", "cn=c,ou=g,dc=x")]),
    ("cn=c,ou=g,dc=x", &[("member", "cn=b,ou=g,dc=x"), ("uniqueMember", "cn=alice,dc=x")]),
    ("cn=d,cn=a,ou=g,dc=x", &[("member", "cn=alice,dc=x")]),
]);

/// Polls a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

fn evaluate(query: &str) -> Result<bool, String> {
    let mut variables = Variables::of_user("alice");
    variables.set_user_dn("cn=alice,dc=x");
    variables.set("vhost", "vhost,1");
    variables.set("resource", "queue");
    variables.set("name", "q1");
    variables.set("permission", "write");
    let mut directory = ENTRIES;
    let mut evaluator = Evaluator {
        directory: &mut directory,
        variables: &variables,
        user_dn: "cn=alice,dc=x",
        group_base: Some("ou=g,dc=x"),
        log: &|_| {},
    };
    let condition = Condition::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    now(evaluator.holds(&condition)).map_err(|error| error.to_string())
}

#[test]
fn queries_hold_or_do_not() {
    for (query, expected) in [
        ("{constant, true}", true),
        ("{constant, false}", false),
        ("{'not', {constant, false}}", true),
        ("{'and', []}", true),
        ("{'or', []}", false),
        ("{'and', [{constant, true}, {constant, false}]}", false),
        ("{'or', [{constant, false}, {constant, true}]}", true),
        ("{exists, \"ou=${vhost},dc=x\"}", true),
        ("{exists, \"ou=${name},dc=x\"}", false),
        ("{'not', {exists, \"ou=${name},dc=x\"}}", true),
        ("{exists, \"${user_dn}\"}", true),
        ("{in_group, \"cn=a,ou=g,dc=x\"}", true),
        ("{in_group, \"cn=b,ou=g,dc=x\"}", false),
        ("{in_group, \"cn=none,ou=g,dc=x\"}", false),
        ("{in_group, \"cn=c,ou=g,dc=x\", \"uniqueMember\"}", true),
        ("{in_group_nested, \"cn=a,ou=g,dc=x\"}", true),
        ("{in_group_nested, \"CN=B, ou=g,dc=x\"}", true),
        ("{in_group_nested, \"cn=c,ou=g,dc=x\"}", true),
        ("{in_group_nested, \"cn=none,ou=g,dc=x\"}", false),
        ("{in_group_nested, \"cn=c,ou=g,dc=x\", \"uniqueMember\"}", true),
        ("{in_group_nested, \"cn=d,cn=a,ou=g,dc=x\", \"member\", subtree}", true),
        ("{in_group_nested, \"cn=d,cn=a,ou=g,dc=x\", \"member\", one_level}", false),
        ("{equals, \"${name}\", \"q1\"}", true),
        ("{equals, {string, \"${name}\"}, {string, \"q2\"}}", false),
        ("{equals, {attribute, \"${user_dn}\", \"memberOf\"}, \"cn=b,ou=g,dc=x\"}", true),
        ("{equals, \"cn=b,ou=g,dc=x\", {attribute, \"${user_dn}\", \"memberOf\"}}", true),
        ("{equals, {attribute, \"${user_dn}\", \"memberOf\"}, \"cn=c,ou=g,dc=x\"}", false),
        ("{equals, {attribute, \"${user_dn}\", \"memberOf\"}, {attribute, \"${user_dn}\", \"memberOf\"}}", true),
        ("{equals, {attribute, \"${user_dn}\", \"none\"}, \"\"}", false),
        ("{equals, {attribute, \"cn=none,dc=x\", \"sn\"}, \"\"}", false),
        ("{match, {attribute, \"${user_dn}\", \"description\"}, \"declare\"}", true),
        ("{match, {attribute, \"${user_dn}\", \"memberOf\"}, \"^cn=b\"}", true),
        ("{match, {attribute, \"${user_dn}\", \"memberOf\"}, \"^cn=c\"}", false),
        ("{match, \"${name}\", {attribute, \"cn=bob,dc=x\", \"re\"}}", true),
        ("{match, \"vhost\", {attribute, \"cn=bob,dc=x\", \"re\"}}", false),
        ("{match, \"v\", {attribute, \"cn=bob,dc=x\", \"re2\"}}", true),
        ("{match, {attribute, \"${user_dn}\", \"memberOf\"}, {attribute, \"cn=bob,dc=x\", \"re2\"}}", false),
        ("{match, \"${name}\", {attribute, \"cn=bob,dc=x\", \"none\"}}", false),
        ("{match, \"${name}-${username}\", \"^${name}-a\"}", true),
        ("{match, \"alicf\", \"^${username}$\"}", false),
        ("{for, [{resource, exchange, {constant, false}}, {resource, queue, {constant, true}}]}", true),
        ("{for, [{name, \"q1\", {constant, true}}]}", true),
        ("{for, [{permission, write, {for, [{vhost, <<\"vhost,1\">>, {constant, true}}]}}]}", true),
        ("{'or', [{exists, \"ou=broken\"}, {constant, true}]}", true),
    ] {
        assert_eq!(evaluate(query), Ok(expected), "{query}");
    }
}

#[test]
fn what_cannot_be_answered_is_an_error() {
    for (query, expected) in [
        ("{exists, \"ou=broken\"}", "broken"),
        ("{'not', {exists, \"ou=broken\"}}", "broken"),
        ("{'and', [{exists, \"ou=broken\"}, {constant, false}]}", "broken"),
        ("{'or', [{exists, \"ou=broken\"}, {constant, false}]}", "broken"),
        ("{equals, {attribute, \"ou=broken\", \"a\"}, \"a\"}", "broken"),
        (
            "{'not', {match, \"x\", {attribute, \"cn=bob,dc=x\", \"re2\"}}}",
            "a regular expression of a match query is none, or takes too many steps",
        ),
        ("{for, []}", "a for query has no cases"),
        ("{for, [{resource, exchange, {constant, true}}]}", "no case of a for query is for resource = 'queue'"),
        (
            "{for, [{routing_key, \"a\", {constant, true}}]}",
            "the query asks for the variable routing_key, which has no value here",
        ),
    ] {
        assert_eq!(evaluate(query), Err(expected.into()), "{query}");
    }
}
