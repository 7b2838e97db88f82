//! Random definitions come out as they went in.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{Scope, empty, export, export_text, import, import_text, preview};

fn name() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c", "ü/%", "d e"]).prop_map(str::to_owned)
}

fn vhost() -> impl Strategy<Value = String> {
    select(vec!["/", "v", "w"]).prop_map(str::to_owned)
}

fn argument() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| json!(number)),
        (-1.0e9..1.0e9).prop_map(|number: f64| json!(number)),
        "[a-zäöü]{0,5}".prop_map(|text| json!(text)),
        any::<bool>().prop_map(|flag| json!(flag)),
        Just(Value::Null),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::Array),
            vec(("[a-c]", inner), 0..3).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn arguments() -> impl Strategy<Value = Value> {
    vec(("[k-m]", argument()), 0..3).prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn queue() -> impl Strategy<Value = Value> {
    let known = prop_oneof![
        Just(json!({})),
        (0..1000_i64).prop_map(|length| json!({"x-max-length": length})),
        Just(json!({"x-queue-type": "quorum", "x-delivery-limit": 3})),
        Just(json!({"x-queue-type": "classic", "x-max-priority": 5})),
    ];
    (name(), vhost(), any::<bool>(), any::<bool>(), known, arguments()).prop_map(
        |(name, vhost, durable, auto_delete, known, more)| {
            let mut arguments = known.as_object().unwrap().clone();
            let is_quorum = arguments.contains_key("x-delivery-limit");
            arguments.extend(more.as_object().unwrap().clone());
            let (durable, auto_delete) = if is_quorum { (true, false) } else { (durable, auto_delete) };
            json!({"name": name, "vhost": vhost, "durable": durable, "auto_delete": auto_delete, "arguments": arguments})
        },
    )
}

fn exchange() -> impl Strategy<Value = Value> {
    let kind =
        select(vec!["direct", "fanout", "topic", "headers", "x-random", "x-consistent-hash", "x-recent-history"]);
    (name(), vhost(), kind, any::<[bool; 3]>(), arguments()).prop_map(
        |(name, vhost, kind, [durable, auto_delete, internal], arguments)| {
            json!({
                "name": name, "vhost": vhost, "type": kind, "durable": durable, "auto_delete": auto_delete,
                "internal": internal, "arguments": arguments
            })
        },
    )
}

fn binding() -> impl Strategy<Value = Value> {
    let to = prop_oneof![Just("queue"), Just("exchange")];
    let source = prop_oneof![name(), Just("amq.topic".to_owned()), Just("amq.fanout".to_owned())];
    (source, vhost(), name(), to, "[1-9]", arguments()).prop_map(|(source, vhost, destination, to, key, arguments)| {
        json!({
            "source": source, "vhost": vhost, "destination": destination, "destination_type": to, "routing_key": key,
            "arguments": arguments
        })
    })
}

fn user() -> impl Strategy<Value = Value> {
    let tags = vec(select(vec!["administrator", "management", "own"]), 0..3);
    let hash = prop_oneof![Just(""), Just("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR")];
    (name(), tags, hash, 0..5_i64).prop_map(|(name, tags, hash, channels)| {
        let limits = if channels == 0 { json!({}) } else { json!({"max-channels": channels}) };
        json!({
            "name": name, "tags": tags, "password_hash": hash, "hashing_algorithm": "rabbit_password_hashing_sha256",
            "limits": limits
        })
    })
}

fn policy() -> impl Strategy<Value = Value> {
    let apply_to = select(vec!["all", "queues", "exchanges", "quorum_queues"]);
    (name(), vhost(), "[a-d]?", apply_to, -3..3_i64, 0..100_i64).prop_map(
        |(name, vhost, pattern, apply_to, priority, length)| {
            json!({
                "name": name, "vhost": vhost, "pattern": pattern, "apply-to": apply_to, "priority": priority,
                "definition": {"max-length": length}
            })
        },
    )
}

fn parameter() -> impl Strategy<Value = Value> {
    prop_oneof![
        (vhost(), 0..100_i64).prop_map(|(vhost, queues)| {
            json!({"vhost": vhost, "component": "vhost-limits", "name": "limits", "value": {"max-connections": queues}})
        }),
        (vhost(), name(), argument()).prop_map(|(vhost, name, value)| {
            json!({"vhost": vhost, "component": "shovel", "name": name, "value": value})
        }),
        policy().prop_map(|mut policy| {
            let value = policy.as_object_mut().unwrap();
            let (vhost, name) = (value.remove("vhost").unwrap(), value.remove("name").unwrap());
            json!({"vhost": vhost, "component": "operator_policy", "name": name, "value": policy})
        }),
    ]
}

fn file() -> impl Strategy<Value = Value> {
    let global = (name(), argument()).prop_map(|(name, value)| json!({"name": name, "value": value}));
    let sections = (vec(user(), 0..4), vec(exchange(), 0..6), vec(queue(), 0..8), vec(binding(), 0..10));
    let settings = (vec(policy(), 0..4), vec(parameter(), 0..4), vec(global, 0..3), any::<[bool; 2]>());
    (sections, settings).prop_map(|((users, exchanges, queues, bindings), (policies, parameters, globals, flags))| {
        let permissions: Vec<Value> = users
            .iter()
            .map(|user| json!({"user": user["name"], "vhost": "v", "configure": "^a", "write": "", "read": ".*"}))
            .collect();
        let mut topics = permissions.clone();
        for topic in &mut topics {
            let topic = topic.as_object_mut().unwrap();
            topic.remove("configure");
            topic.insert("exchange".to_owned(), json!("amq.topic"));
        }
        let protected = json!({"name": "w", "description": "d", "tags": ["t"], "protected_from_deletion": flags[0]});
        json!({
            "users": users,
            "vhosts": [{"name": "/"}, {"name": "v", "metadata": {"description": "", "tags": []}}, protected],
            "permissions": permissions,
            "topic_permissions": topics,
            "global_parameters": globals,
            "policies": policies,
            "parameters": parameters,
            "exchanges": exchanges,
            "queues": queues,
            "bindings": bindings,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn random_definitions_come_out_as_they_went_in(file in file(), more in file()) {
        let first = empty();
        import(&first, &file).unwrap();
        let out = export_text(&first, &Scope::All);
        prop_assert!(import_text(&first, &out, Scope::All).unwrap().is_unchanged(), "{:?}", preview(&first, &export(&first)).lines());
        let second = empty();
        let report = import_text(&second, &out, Scope::All).unwrap();
        prop_assert_eq!(report.warnings().iter().filter(|warning| !warning.contains("'shovel'")).count(), 0);
        prop_assert_eq!(export_text(&second, &Scope::All), out);
        let previewed = preview(&second, &more);
        let imported = import(&second, &more).unwrap();
        prop_assert_eq!(previewed.to_json(), imported.to_json());
        prop_assert!(import(&second, &more).is_ok());
    }
}
