//! Cases of RabbitMQ's documentation, and of its behaviour, for what tokens say.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::settings::{OAuth2Settings, ResourceServerSettings};
use super::*;

fn server(change: impl FnOnce(&mut ResourceServerSettings)) -> ResourceServer {
    let mut settings = OAuth2Settings::default();
    settings.resource_server.id = Some("rabbitmq".into());
    change(&mut settings.resource_server);
    ResourceServer::all(&settings).remove(0)
}

fn scopes_of(server: &ResourceServer, claims: &Value) -> Vec<String> {
    scopes(server, claims.as_object().unwrap()).unwrap().into_iter().collect()
}

#[test]
fn scopes_lose_their_prefix_and_others_are_passed_over() {
    let default = server(|_| ());
    let empty = server(|set| set.scope_prefix = Some(String::new()));
    let other = server(|set| set.scope_prefix = Some("api://".into()));
    for (server, scope, expected) in [
        (&default, json!("rabbitmq.read:*/* openid  rabbitmq.tag:x"), vec!["read:*/*", "tag:x"]),
        (&default, json!(["rabbitmq.read:*/*", "rabbitmq.read:*/*"]), vec!["read:*/*"]),
        (&default, json!(["rabbitmq", "rabbitmqread:*/*", "x.rabbitmq.read:*/*", "read:*/*"]), vec![]),
        (&default, json!(["rabbitmq.read:a/b rabbitmq.read:c/d"]), vec!["read:a/b rabbitmq.read:c/d"]),
        (&default, json!([1, null, ["rabbitmq.tag:a"], "rabbitmq.tag:b"]), vec!["tag:a", "tag:b"]),
        (&default, json!(""), vec![]),
        (&default, json!(7), vec![]),
        (&default, json!(null), vec![]),
        (&empty, json!("read:*/* tag:x"), vec!["read:*/*", "tag:x"]),
        (&other, json!("api://read:*/* rabbitmq.read:*/*"), vec!["read:*/*"]),
    ] {
        assert_eq!(scopes_of(server, &json!({ "scope": scope })), expected, "{scope}");
    }
    assert!(scopes_of(&default, &json!({})).is_empty());
}

#[test]
fn other_claims_may_have_scopes() {
    let read = vec!["read:*/*"];
    for (path, claims, expected) in [
        ("roles", json!({"roles": "rabbitmq.read:*/* x"}), read.clone()),
        ("roles", json!({"roles": ["rabbitmq.read:*/*", "x"]}), read.clone()),
        ("roles", json!({"roles": {"rabbitmq": "read:*/*", "other": "write:*/*"}}), read.clone()),
        ("roles", json!({"roles": {"rabbitmq": ["read:*/*"]}}), read.clone()),
        ("roles", json!({"roles": {"rabbitmq": {}}}), vec![]),
        ("roles", json!({"roles": 1}), vec![]),
        ("roles", json!({"scope": "rabbitmq.tag:a", "roles": "rabbitmq.read:*/*"}), vec!["read:*/*", "tag:a"]),
        (
            "roles groups",
            json!({"roles": "rabbitmq.read:*/*", "groups": ["rabbitmq.tag:a"]}),
            vec!["read:*/*", "tag:a"],
        ),
        ("a.b.roles", json!({"a": {"b": {"roles": ["rabbitmq.read:*/*"]}}}), read.clone()),
        ("a.b.roles", json!({"a": [{"b": {"roles": "rabbitmq.read:*/*"}}, {"c": 1}, 5]}), read.clone()),
        ("a.b", json!({"a": {"b": {"rabbitmq": ["read:*/*"]}}}), read.clone()),
        ("a.b.roles", json!({"a": "rabbitmq.read:*/*"}), vec![]),
        ("https://example.com/roles", json!({"https://example.com/roles": ["rabbitmq.read:*/*"]}), read.clone()),
        ("missing", json!({"roles": "rabbitmq.read:*/*"}), vec![]),
    ] {
        let server = server(|set| set.additional_scopes_key = Some(path.into()));
        assert_eq!(scopes_of(&server, &claims), expected, "{path} {claims}");
    }
}

#[test]
fn requesting_party_tokens_have_scopes_in_their_permissions() {
    let server = server(|_| ());
    for (authorization, expected) in [
        (
            json!({"permissions": [
                {"rsname": "allvhost", "scopes": ["rabbitmq.read:*/*"]},
                {"rsname": "vhost1", "scopes": ["rabbitmq.write:vhost1/*"]},
                {"rsname": "Default Resource", "scopes": ["unknown.write:vhost1/*"]},
            ]}),
            vec!["read:*/*", "write:vhost1/*"],
        ),
        (
            json!({"permissions": [{"scopes": "rabbitmq.read:*/*"}, {"scopes": ["unknown"]}, {"rsid": "x"}]}),
            vec!["read:*/*"],
        ),
        (json!({"permissions": [{"rsid": "x"}]}), vec![]),
        (json!({"permissions": []}), vec![]),
        (json!({}), vec![]),
        (json!("permissions"), vec![]),
    ] {
        assert_eq!(scopes_of(&server, &json!({ "authorization": authorization })), expected, "{authorization}");
    }
}

#[test]
fn aliases_stand_for_scopes() {
    let server = server(|set| {
        set.additional_scopes_key = Some("roles".into());
        set.scope_aliases = BTreeMap::from([
            ("admin".into(), vec!["rabbitmq.tag:administrator".into(), "rabbitmq.read:*/*".into()]),
            ("rabbitmq.dev".into(), vec!["rabbitmq.tag:management".into(), "read:*/*".into()]),
            ("twice".into(), vec!["admin".into()]),
        ]);
    });
    for (claims, expected) in [
        (json!({"scope": "admin"}), vec!["read:*/*", "tag:administrator"]),
        (json!({"roles": ["admin", "x"]}), vec!["read:*/*", "tag:administrator"]),
        (json!({"scope": ["rabbitmq.dev"]}), vec!["dev", "tag:management"]),
        (json!({"scope": "twice"}), vec![]),
        (json!({"scope": "Admin"}), vec![]),
    ] {
        assert_eq!(scopes_of(&server, &claims), expected, "{claims}");
    }
}

#[test]
fn a_token_with_too_many_scopes_is_refused() {
    let server = server(|set| set.resource_server_type = Some("rabbitmq".into()));
    let numbered = |count: usize, prefix: &str| (0..count).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    for (claims, expected) in [
        (json!({"scope": numbered(2048, "rabbitmq.tag:")}), Ok(2048)),
        (json!({"scope": numbered(2049, "rabbitmq.tag:")}), Err(TooManyScopes)),
        (json!({"scope": numbered(5000, "other.")}), Ok(0)),
        (
            json!({"authorization_details": [{
                "type": "rabbitmq", "actions": ["read", "write", "configure"],
                "locations": numbered(1000, "cluster:rabbitmq/queue:"),
            }]}),
            Err(TooManyScopes),
        ),
        (
            json!({"authorization_details": [{
                "type": "rabbitmq", "actions": vec!["read"; 5000], "locations": vec!["cluster:*"; 5000],
            }]}),
            Err(TooManyScopes),
        ),
    ] {
        let found = scopes(&server, claims.as_object().unwrap()).map(|scopes| scopes.len());
        assert_eq!(found, expected);
    }
}

#[test]
fn a_token_holds_from_its_begin_to_its_end() {
    use Expiry::{Optional, Required};
    for (claims, expiry, expected) in [
        (json!({"exp": 1001}), Required, Ok(Some(1001))),
        (json!({"exp": 1001.9}), Required, Ok(Some(1001))),
        (json!({"exp": 1000}), Required, Err(OutOfTime::Expired { expired: 1000, now: 1000 })),
        (json!({"exp": 1000.9}), Required, Err(OutOfTime::Expired { expired: 1000, now: 1000 })),
        (json!({"exp": -5}), Required, Err(OutOfTime::Expired { expired: -5, now: 1000 })),
        (json!({"exp": 1e300}), Required, Ok(Some(i64::MAX))),
        (json!({"exp": "2000"}), Required, Err(OutOfTime::NotANumber("exp"))),
        (json!({"exp": null}), Optional, Err(OutOfTime::NotANumber("exp"))),
        (json!({}), Required, Err(OutOfTime::NoEnd)),
        (json!({}), Optional, Ok(None)),
        (json!({"exp": 999}), Optional, Err(OutOfTime::Expired { expired: 999, now: 1000 })),
        (json!({"exp": 2000, "nbf": 1000}), Required, Ok(Some(2000))),
        (json!({"exp": 2000, "nbf": 1060}), Required, Ok(Some(2000))),
        (json!({"exp": 2000, "nbf": 1061}), Required, Err(OutOfTime::NotYet { from: 1061, now: 1000 })),
        (json!({"exp": 2000, "nbf": "soon"}), Required, Err(OutOfTime::NotANumber("nbf"))),
    ] {
        assert_eq!(valid_until(claims.as_object().unwrap(), expiry, 1000), expected, "{claims}");
    }
}

#[test]
fn the_user_is_named_by_the_first_claim_that_is_text() {
    for (preferred, claims, expected) in [
        (vec![], json!({"sub": "s", "client_id": "c"}), "s"),
        (vec![], json!({"client_id": "c"}), "c"),
        (vec![], json!({"email": "e"}), "unknown"),
        (vec!["user_name", "email"], json!({"user_name": "u", "email": "e", "sub": "s"}), "u"),
        (vec!["user_name", "email"], json!({"email": "e", "sub": "s"}), "e"),
        (vec!["user_name"], json!({"user_name": ["u"], "sub": "s"}), "s"),
        (vec!["user_name"], json!({"email": "e", "client_id": "c"}), "c"),
    ] {
        let server =
            server(|set| set.preferred_username_claims = preferred.iter().map(|name| (*name).to_owned()).collect());
        let claims = claims.as_object().unwrap();
        let name = user_name(&server.user_name_claims, |name| text(claims, name));
        assert_eq!(name, expected, "{preferred:?} {claims:?}");
    }
}
