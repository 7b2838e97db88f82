//! Cases of RabbitMQ's documentation, and of its behaviour, for rich authorization requests.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::settings::OAuth2Settings;
use super::*;

fn scopes(id: &str, kind: &str, details: &Value) -> Vec<String> {
    let mut settings = OAuth2Settings::default();
    settings.resource_server.id = Some(id.into());
    settings.resource_server.resource_server_type = Some(kind.into());
    let server = ResourceServer::all(&settings).remove(0);
    let mut scopes = BTreeSet::new();
    let claims = json!({ "authorization_details": details });
    each_scope(&server, claims.as_object().unwrap(), |scope| {
        scopes.insert(scope.strip_prefix(&format!("{id}.")).unwrap().to_owned());
        Ok(())
    })
    .unwrap();
    scopes.into_iter().collect()
}

fn entry(locations: &Value, actions: &Value) -> Value {
    json!([{"type": "rabbitmq-type", "locations": locations, "actions": actions}])
}

#[test]
fn locations_become_patterns() {
    for (locations, expected) in [
        (json!(["cluster:rabbitmq"]), vec!["read:*/*/*"]),
        (json!("cluster:rabbitmq"), vec!["read:*/*/*"]),
        (json!(["cluster:*"]), vec!["read:*/*/*"]),
        (json!(["cluster:rabbit*"]), vec!["read:*/*/*"]),
        (json!(["cluster:rabbitmq-other"]), vec![]),
        (json!(["cluster:^rabbitmq$"]), vec![]),
        (json!(["vhost:a"]), vec![]),
        (json!(["cluster:rabbitmq", "cluster:unknown"]), vec!["read:*/*/*"]),
        (json!(["cluster:rabbitmq/vhost:a", "cluster:rabbitmq/vhost:b"]), vec!["read:a/*/*", "read:b/*/*"]),
        (json!(["cluster:rabbitmq/queue:b"]), vec!["read:*/b/*"]),
        (json!(["cluster:rabbitmq/exchange:b"]), vec!["read:*/b/*"]),
        (json!(["cluster:rabbitmq/queue:b/exchange:c"]), vec![]),
        (json!(["cluster:rabbitmq/queue:*/exchange:*"]), vec!["read:*/*/*"]),
        (json!(["cluster:rabbitmq/routing-key:b"]), vec!["read:*/*/b"]),
        (
            json!(["cluster:rabbitmq/vhost:finance-*/queue:*-invoice/routing-key:r-*"]),
            vec!["read:finance-*/*-invoice/r-*"],
        ),
        (json!(["cluster:rabbitmq/unknown:finance-*/queue:*-invoice/routing-key:r-*"]), vec!["read:*/*-invoice/r-*"]),
        (json!(["cluster:rabbitmq/queue:invoices/vhost:finance/routing-key:r-*"]), vec!["read:finance/invoices/r-*"]),
        (json!(["cluster:rabbitmq//routing-key:r-*"]), vec!["read:*/*/r-*"]),
        (json!(["cluster:rabbitmq/queue:/vhost:/routing-key:r-*"]), vec!["read:*/*/r-*"]),
        (json!(["prefix/cluster:rabbitmq/vhost:finance-*"]), vec!["read:finance-*/*/*"]),
        (json!(["cluster:rabbitmq/vhost:^finance-*"]), vec!["read:^finance-*/*/*"]),
        (json!([1, null]), vec![]),
        (json!(null), vec![]),
    ] {
        let details = entry(&locations, &json!(["read"]));
        assert_eq!(scopes("rabbitmq", "rabbitmq-type", &details), expected, "{locations}");
    }
}

#[test]
fn actions_become_permissions_or_tags() {
    let locations = json!(["cluster:rabbitmq/vhost:a", "cluster:rabbitmq/vhost:b", "cluster:other"]);
    for (actions, expected) in [
        (json!(["read"]), vec!["read:a/*/*", "read:b/*/*"]),
        (json!("write"), vec!["write:a/*/*", "write:b/*/*"]),
        (json!(["read", "write"]), vec!["read:a/*/*", "read:b/*/*", "write:a/*/*", "write:b/*/*"]),
        (json!(["read2", "configure"]), vec!["configure:a/*/*", "configure:b/*/*"]),
        (
            json!(["management", "policymaker", "management", "monitoring", "administrator"]),
            vec!["tag:administrator", "tag:management", "tag:monitoring", "tag:policymaker"],
        ),
        (json!(["impersonator"]), vec![]),
        (json!(""), vec![]),
        (json!(null), vec![]),
    ] {
        let details = entry(&locations, &actions);
        assert_eq!(scopes("rabbitmq", "rabbitmq-type", &details), expected, "{actions}");
    }
    let elsewhere = entry(&json!(["cluster:other"]), &json!(["administrator"]));
    assert!(scopes("rabbitmq", "rabbitmq-type", &elsewhere).is_empty());
}

#[test]
fn entries_of_another_type_are_passed_over() {
    let here = json!({"type": "rabbitmq-type", "locations": ["cluster:rabbitmq"], "actions": ["read"]});
    let other = json!({"type": "unknown", "locations": ["cluster:rabbitmq"], "actions": ["write"]});
    for (kind, details, expected) in [
        ("rabbitmq-type", json!([here, other]), vec!["read:*/*/*"]),
        ("other", json!([here, other]), vec![]),
        ("", json!([{"type": "", "locations": ["cluster:rabbitmq"], "actions": ["read"]}]), vec![]),
        ("rabbitmq-type", json!([{"locations": ["cluster:rabbitmq"], "actions": ["read"]}]), vec![]),
        ("rabbitmq-type", json!([{"type": "rabbitmq-type", "actions": ["read"]}]), vec![]),
        ("rabbitmq-type", json!([{"type": "rabbitmq-type", "locations": ["cluster:*"]}]), vec![]),
        ("rabbitmq-type", json!([]), vec![]),
        ("rabbitmq-type", json!(here), vec![]),
        ("rabbitmq-type", json!(["x"]), vec![]),
    ] {
        assert_eq!(scopes("rabbitmq", kind, &details), expected, "{kind} {details}");
    }
}
