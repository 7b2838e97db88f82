//! Cases of RabbitMQ's documentation, and of its behaviour, for scopes.

use leveret_broker::error::{Resource, ResourceKind};
use serde_json::json;

use super::*;

fn rights(scopes: &[&str]) -> Rights {
    let claims = json!({"sub": "bob", "sneaky": "*"});
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    Rights::parse(&scopes, claims.as_object().unwrap())
}

fn resource(vhost: &str, name: &str) -> Resource {
    Resource { kind: ResourceKind::Exchange, name: name.into(), vhost: vhost.into() }
}

fn may(scopes: &[&str], permission: Permission, vhost: &str, name: &str) -> bool {
    let resource = resource(vhost, name);
    let queue = Resource { kind: ResourceKind::Queue, ..resource.clone() };
    let rights = rights(scopes);
    let allowed = rights.allow(&Question::Resource { resource, permission });
    assert_eq!(allowed, rights.allow(&Question::Resource { resource: queue, permission }));
    allowed
}

fn may_open(scopes: &[&str], vhost: &str) -> bool {
    rights(scopes).allow(&Question::Vhost { vhost: vhost.into() })
}

fn may_route(scopes: &[&str], vhost: &str, exchange: &str, routing_key: &str) -> bool {
    rights(scopes).allow(&Question::Topic {
        exchange: resource(vhost, exchange),
        routing_key: routing_key.into(),
        permission: Permission::Read,
    })
}

#[test]
fn any_scope_for_a_vhost_opens_it() {
    for (scopes, vhost, expected) in [
        (vec!["read:*/*"], "/", true),
        (vec!["write:*/*/*"], "foo/bar", true),
        (vec!["configure:*/*"], "юникод", true),
        (vec!["read:foo/*"], "foo", true),
        (vec!["read:foo/*"], "/", false),
        (vec!["read:foo/nothing"], "foo", true),
        (vec!["read:%2F/*"], "/", true),
        (vec!["read:%2f/*"], "/", true),
        (vec!["read:foo%2Fbar%2F%2A%2F/*"], "foo/bar/*/", true),
        (vec!["read:/*"], "/", false),
        (vec!["read://*"], "/", false),
        (vec!["read:%zz/*"], "%zz", false),
        (vec!["read:foo/%zz"], "foo", true),
        (vec!["tag:administrator"], "/", false),
        (vec!["read:*"], "/", false),
        (vec!["read:*/*/*/*"], "/", false),
        (vec!["READ:*/*"], "/", false),
        (vec!["delete:*/*"], "/", false),
        (vec!["read"], "/", false),
        (vec!["read:{vhost}/*"], "/", true),
        (vec!["read:{vhost}/*"], "foo", true),
        (vec!["read:{sub}/*"], "bob", true),
        (vec!["read:{sub}/*"], "eve", false),
        (vec!["read:{sneaky}/*"], "bob", false),
        (vec!["read:{team}/*"], "team", false),
        (vec!["read:{team}/*", "write:foo/*"], "foo", true),
        (vec![], "/", false),
    ] {
        assert_eq!(may_open(&scopes, vhost), expected, "{scopes:?} {vhost}");
    }
}

#[test]
fn a_scope_allows_its_permission_on_what_it_names() {
    use Permission::{Configure, Read, Write};
    for (scopes, permission, vhost, name, expected) in [
        (vec!["read:*/*"], Read, "/", "foo", true),
        (vec!["read:*/*"], Write, "/", "foo", false),
        (vec!["read:*/*"], Configure, "/", "foo", false),
        (vec!["write:*/*/*"], Write, "foo/bar", "*/*", true),
        (vec!["configure:foo/*", "tag:management"], Configure, "foo", "x", true),
        (vec!["configure:foo/*", "tag:management"], Configure, "bar", "x", false),
        (vec!["read:*/bar%2A%2Fbaz"], Read, "foo", "bar*/baz", true),
        (vec!["read:*/bar%2A%2Fbaz/*"], Read, "foo", "bar*/baz", true),
        (vec!["read:*/bar%2A%2Fbaz"], Read, "foo", "bar", false),
        (vec!["read:a/x", "write:b/x"], Write, "a", "x", false),
        (vec!["read:vhost1/some*"], Read, "vhost1", "something", true),
        (vec!["read:vhost1/some*"], Read, "vhost1", "thing", false),
        (vec!["write:*/x-{vhost}-*"], Write, "prod", "x-prod-1", true),
        (vec!["write:*/x-{vhost}-*"], Write, "prod", "x-test-1", false),
        (vec!["write:*/q-{sub}"], Write, "prod", "q-bob", true),
        (vec!["read:*/amq.default"], Read, "/", "amq.default", true),
    ] {
        assert_eq!(may(&scopes, permission, vhost, name), expected, "{scopes:?} {permission} {vhost} {name}");
    }
}

#[test]
fn only_scopes_with_a_routing_key_speak_of_topics() {
    for (scopes, vhost, exchange, routing_key, expected) in [
        (vec!["read:*/*/*"], "foo/bar", "foo", "rout", true),
        (vec!["read:*/*"], "foo", "foo", "rout", false),
        (vec!["write:*/*/*"], "foo", "foo", "rout", false),
        (vec!["read:vhost/*/*"], "vhost", "foo", "rout", true),
        (vec!["read:vhost/*/*"], "/", "foo", "rout", false),
        (vec!["read:*/exchange/*"], "/", "exchange", "rout", true),
        (vec!["read:*/exchange/*"], "/", "foo", "rout", false),
        (vec!["read:*/*/rout"], "/", "foo", "rout", true),
        (vec!["read:*/*/rout"], "/", "foo", "norout", false),
        (vec!["read:*/*/*rout"], "/", "foo", "sprout", true),
        (vec!["read:*/*/*rout"], "/", "foo", "rout2", false),
        (vec!["read:*/*/%23%2Ffoo"], "/", "foo", "#/foo", true),
        (vec!["read:{vhost}/*/{sub}"], "my-vhost", "bar", "bob", true),
        (vec!["read:{vhost}/*/{sub}"], "my-vhost", "bar", "eve", false),
        (vec!["read:*/x-{vhost}-*/u-{sub}-*"], "prod", "x-prod-1", "u-bob-1", true),
        (vec!["read:*/x-{vhost}-*/u-{sub}-*"], "prod", "x-prod-1", "u-eve-1", false),
    ] {
        assert_eq!(
            may_route(&scopes, vhost, exchange, routing_key),
            expected,
            "{scopes:?} {vhost} {exchange} {routing_key}"
        );
    }
}

#[test]
fn scopes_that_begin_with_tag_are_tags() {
    let tags: Vec<Name> = rights(&["read:*/*", "tag:administrator", "tag:", "tag:my own", "Tag:x"]).tags;
    assert_eq!(tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["administrator", "my own"]);
}

#[test]
fn nothing_is_allowed_once_the_token_has_expired() {
    let tokens =
        Tokens { servers: Vec::new(), providers: BTreeMap::new(), expiry: super::super::claims::Expiry::Required };
    let grant = TokenGrant {
        tokens: Arc::new(tokens),
        rights: rights(&["read:*/*"]),
        names: BTreeMap::new(),
        expires: Some(1000),
    };
    let question = Question::Vhost { vhost: "/".into() };
    assert_eq!(grant.check_at(&question, 999), Answer::Allowed);
    let text = "Provided JWT token has expired at timestamp 1000 (validated at 1001)".into();
    assert_eq!(grant.check_at(&question, 1001), Answer::Failed(Reason { backend: NAME, text }));
}
