//! Definitions in and out: those that RabbitMQ exported, random ones, and wrong ones.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports a failure"
)]

#[path = "definitions/random.rs"]
mod random;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use leveret_auth::hash::{self, Hashing};
use leveret_broker::access::Secret;
use leveret_broker::node::{Node, Surroundings};
use leveret_broker::topology::Change;
use leveret_management::definitions::{
    self, ClusterId, Definitions, Import, ImportError, Lines, Origin, Progress, Report, Scope, Source,
};
use serde_json::{Value, json};

const ORIGIN: Origin<'_> =
    Origin { advertised_version: "4.1.0", version: "0.1.0", node_name: "rabbit@here", cluster_id: ClusterId::Told };

/// A node with nothing at all on it.
fn empty() -> Node {
    Node::within(Surroundings { defaults: None, ..Surroundings::default() })
}

fn run(
    node: &Node,
    definitions: &Definitions,
    scope: Scope,
    lines: Lines,
    import: impl FnOnce(&Node, &Import<'_>, &mut definitions::OnProgress<'_>) -> Result<Report, ImportError>,
) -> Result<Report, ImportError> {
    let sources = [Source { label: None, definitions }];
    let request = Import { sources: &sources, scope, hashing: Hashing::default(), also: &[], lines };
    import(node, &request, &mut |_| ControlFlow::Continue(()))
}

fn import_text(node: &Node, text: &str, scope: Scope) -> Result<Report, String> {
    let definitions = definitions::read(text).map_err(|error| error.to_string())?;
    run(node, &definitions, scope, Lines::None, definitions::import).map_err(|error| error.to_string())
}

fn import(node: &Node, definitions: &Value) -> Result<Report, String> {
    import_text(node, &definitions.to_string(), Scope::All)
}

fn preview(node: &Node, definitions: &Value) -> Report {
    let definitions = definitions::read(&definitions.to_string()).unwrap();
    run(node, &definitions, Scope::All, Lines::Each, definitions::preview).unwrap()
}

fn export_text(node: &Node, scope: &Scope) -> String {
    let mut text = Vec::new();
    definitions::export(node, scope, ORIGIN, &mut text).unwrap().unwrap();
    String::from_utf8(text).unwrap()
}

fn export(node: &Node) -> Value {
    serde_json::from_str(&export_text(node, &Scope::All)).unwrap()
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/tests/exports").join(name);
    fs::read_to_string(path).unwrap()
}

/// The objects of a section in an order of their own.
fn section(definitions: &Value, name: &str) -> Vec<Value> {
    let mut objects = definitions[name].as_array().cloned().unwrap_or_default();
    objects.sort_by_key(Value::to_string);
    objects
}

/// A file as it should come out again: what both ways of RabbitMQ leave out is added, and what does not exist here goes.
fn expected(mut file: Value) -> Value {
    let is_stream = |queue: &Value| queue["arguments"]["x-queue-type"] == "stream";
    let streams: Vec<(Value, Value)> = list(&mut file, "queues")
        .extract_if(.., |queue| is_stream(queue))
        .map(|queue| (queue["vhost"].clone(), queue["name"].clone()))
        .collect();
    let exchanges: Vec<(Value, Value)> =
        list(&mut file, "exchanges").iter().map(|one| (one["vhost"].clone(), one["name"].clone())).collect();
    let is_exchange = |vhost: &Value, name: &Value| {
        name.as_str().unwrap().starts_with("amq.") || exchanges.contains(&(vhost.clone(), name.clone()))
    };
    list(&mut file, "bindings").retain(|binding| {
        let (vhost, to) = (&binding["vhost"], &binding["destination"]);
        let reaches = if binding["destination_type"] == "exchange" {
            is_exchange(vhost, to)
        } else {
            !streams.contains(&(vhost.clone(), to.clone()))
        };
        reaches && is_exchange(vhost, &binding["source"])
    });
    for queue in list(&mut file, "queues") {
        queue.as_object_mut().unwrap().remove("type");
    }
    for exchange in list(&mut file, "exchanges") {
        exchange.as_object_mut().unwrap().entry("internal").or_insert(json!(false));
    }
    list(&mut file, "policies").retain_mut(|policy| {
        let definition = policy["definition"].as_object_mut().unwrap();
        definition.retain(|key, _| !key.starts_with("federation-"));
        !definition.is_empty()
    });
    for parameter in list(&mut file, "parameters") {
        if parameter["component"] == "operator_policy" {
            parameter["value"]["definition"] = object(&parameter["value"]["definition"]);
        } else if parameter["component"] == "vhost-limits" {
            parameter["value"] = object(&parameter["value"]);
        }
    }
    for vhost in list(&mut file, "vhosts") {
        let metadata = vhost.get("metadata").cloned().unwrap_or(json!({"description": "", "tags": []}));
        let limits = vhost.get("limits").cloned().unwrap_or(json!([]));
        let (description, tags) = (metadata["description"].clone(), metadata["tags"].clone());
        *vhost = json!({
            "name": vhost["name"], "limits": limits, "metadata": metadata, "description": description, "tags": tags
        });
    }
    // HTTP does not say the limits of a vhost a second time.
    let limits: Vec<(Value, Value)> = list(&mut file, "parameters")
        .iter()
        .filter(|parameter| parameter["component"] == "vhost-limits")
        .map(|parameter| (parameter["vhost"].clone(), parameter["value"].clone()))
        .collect();
    for vhost in list(&mut file, "vhosts") {
        if let Some((_, limits)) = limits.iter().find(|(of, _)| *of == vhost["name"]) {
            vhost["limits"] = limits.as_object().unwrap().iter().map(|(key, value)| json!([key, value])).collect();
        }
    }
    file
}

/// The same with the limits of vhosts in the order of their names, which means nothing.
fn with_limits_in_order(mut file: Value) -> Value {
    for vhost in list(&mut file, "vhosts") {
        if let Some(limits) = vhost.get_mut("limits").and_then(Value::as_array_mut) {
            limits.sort_by_key(ToString::to_string);
        }
    }
    file
}

fn list<'a>(file: &'a mut Value, section: &str) -> &'a mut Vec<Value> {
    file.as_object_mut().unwrap().entry(section).or_insert_with(|| json!([])).as_array_mut().unwrap()
}

/// What is an object, or pairs.
fn object(value: &Value) -> Value {
    match value.as_array() {
        Some(pairs) => {
            Value::Object(pairs.iter().map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].clone())).collect())
        }
        None => value.clone(),
    }
}

const SECTIONS: [&str; 10] = [
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

#[test]
fn what_rabbitmq_exported_comes_out_as_it_went_in() {
    for name in ["cli_fresh.json", "http_fresh.json", "cli_rich.json", "http_rich.json"] {
        let (file, node) = (fixture(name), empty());
        let report = import_text(&node, &file, Scope::All).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = with_limits_in_order(expected(serde_json::from_str(&file).unwrap()));
        let came_out = with_limits_in_order(export(&node));
        for part in SECTIONS {
            let (out, wanted) = (section(&came_out, part), section(&expected, part));
            for one in &wanted {
                assert!(out.contains(one), "{name}, {part}: missing {one}\nthere is {}", json!(out));
            }
            assert_eq!(out.len(), wanted.len(), "{name}, {part}: {} and not {}", json!(out), json!(wanted));
        }
        let again = import_text(&node, &file, Scope::All).unwrap();
        assert!(again.is_unchanged(), "{name}: {:?}", again.to_json());
        assert_eq!(with_limits_in_order(export(&node)), came_out, "{name}");
        let left_out = |report: &Report| report.counts().map(|(_, counts)| counts.left_out).sum::<usize>();
        assert_eq!(left_out(&report), left_out(&again), "{name}");
        assert!(report.warnings().iter().all(|warning| !warning.is_empty()));
    }
}

#[test]
fn what_is_exported_can_be_imported_and_is_the_same() {
    let first = empty();
    import_text(&first, &fixture("http_rich.json"), Scope::All).unwrap();
    let second = empty();
    let report = import_text(&second, &export_text(&first, &Scope::All), Scope::All).unwrap();
    // What is not there yet was left out the first time.
    assert!(report.counts().all(|(_, counts)| counts.left_out + counts.kept + counts.changed == 0), "{report:?}");
    assert_eq!(export_text(&second, &Scope::All), export_text(&first, &Scope::All));
}

#[test]
fn one_vhost_goes_into_another_one() {
    let (node, scope) = (empty(), Scope::Vhost("copy".into()));
    let file = fixture("http_vhost_orders.json");
    let missing = import_text(&node, &file, scope.clone()).unwrap_err();
    assert_eq!(missing, "vhost copy not found");
    import(&node, &json!({"vhosts": [{"name": "copy"}, {"name": "other"}]})).unwrap();
    import_text(&node, &file, scope.clone()).unwrap();
    let (out, wanted): (Value, Value) =
        (serde_json::from_str(&export_text(&node, &scope)).unwrap(), serde_json::from_str(&file).unwrap());
    for part in ["queues", "exchanges"] {
        for one in wanted[part].as_array().unwrap() {
            let is_stream = one["arguments"]["x-queue-type"] == "stream";
            assert_eq!(section(&out, part).contains(one), !is_stream, "{part}: {one}");
        }
    }
    assert!(out.get("users").is_none() && out.get("vhosts").is_none() && out.get("permissions").is_none());
    assert_eq!(out["original_vhost_name"], "copy");
    assert!(import_text(&node, &file, scope).unwrap().is_unchanged());
    let whole = import_text(&node, &file, Scope::All).unwrap_err();
    assert!(whole.contains("definitions of a single vhost have to be imported into one that is named"), "{whole}");
    let users = json!({"users": [{"name": "u"}], "queues": [{"name": "q", "vhost": "other", "durable": true}]});
    let report = import_text(&node, &users.to_string(), Scope::Vhost("copy".into())).unwrap();
    assert_eq!(report.warnings(), ["users are not imported into a single vhost: 1 are left out"]);
    node.read(|topology| {
        assert!(topology.user("u").is_err());
        assert!(topology.vhost("copy").unwrap().any_queue("q").is_ok(), "wherever it was");
    });
}

#[test]
fn the_file_is_in_rabbitmqs_order() {
    let node = Node::new();
    import(&node, &json!({"queues": [{"name": "q", "vhost": "/", "durable": true, "arguments": {}}]})).unwrap();
    let text = export_text(&node, &Scope::All);
    let places: Vec<usize> = [
        "\"rabbit_version\":\"4.1.0\"",
        "\"rabbitmq_version\":\"4.1.0\"",
        "\"product_name\":\"Leveret\"",
        "\"product_version\":\"0.1.0\"",
        "\"rabbitmq_definition_format\":\"cluster\"",
        "\"original_cluster_name\":\"rabbit@here\"",
        "\"explanation\":",
        "\"users\":[{\"name\":\"guest\",\"password_hash\":\"\",\"hashing_algorithm\":\"rabbit_password_hashing_sha256\"",
        "\"vhosts\":[{\"name\":\"/\",\"description\":\"Default virtual host\",\"tags\":[],\"limits\":[],\"metadata\":{",
        "\"permissions\":[{\"user\":\"guest\",\"vhost\":\"/\",\"configure\":\".*\",\"write\":\".*\",\"read\":\".*\"}]",
        "\"topic_permissions\":[]",
        "\"parameters\":[]",
        "\"global_parameters\":[]",
        "\"policies\":[]",
        "\"queues\":[{\"name\":\"q\",\"vhost\":\"/\",\"durable\":true,\"auto_delete\":false,\"arguments\":{}}]",
        "\"exchanges\":[]",
        "\"bindings\":[]",
    ]
    .iter()
    .map(|member| text.find(member).unwrap_or_else(|| panic!("no {member} in {text}")))
    .collect();
    assert!(places.is_sorted(), "{text}");
}

/// A file with one object in one section.
fn one(section: &str, object: Value) -> Value {
    json!({ section: Value::Array(vec![object]) })
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_nothing_is_changed() {
    let arguments = |arguments: Value| json!({"name": "q", "vhost": "/", "durable": true, "arguments": arguments});
    let policy = |policy: Value| {
        let mut whole = json!({"name": "p", "vhost": "/", "pattern": "", "definition": {"max-length": 1}});
        whole.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
        one("policies", whole)
    };
    for (file, expected) in [
        (
            one("queues", arguments(json!({"x-max-length": "many"}))),
            "queues[0].arguments.x-max-length: invalid arg 'x-max-length' for queue 'q' in vhost '/': \"expected integer, \
             got longstr\"",
        ),
        (
            one("queues", arguments(json!({"x-queue-type": "quorum", "x-max-priority": 1}))),
            "queues[0].arguments.x-max-priority: invalid arg 'x-max-priority' for queue 'q' in vhost '/' of queue type \
             rabbit_quorum_queue",
        ),
        (
            one("queues", arguments(json!({"big": 18_446_744_073_709_551_615_u64}))),
            "queues[0].arguments.big: a number is out of range (queue 'q' in vhost '/'), at line 1, column ",
        ),
        (
            one("queues", json!({"name": "q", "vhost": "/", "durable": "yes"})),
            "queues[0].durable: expected true or false, found a string (queue 'q' in vhost '/'), at line 1, column ",
        ),
        (one("queues", json!({"name": "q", "vhost": "nope"})), "queues[0].vhost: vhost nope not found"),
        (one("queues", json!({"name": "q"})), "queues[0].vhost: is missing; definitions of a single vhost"),
        (one("queues", json!({"vhost": "/"})), "queues[0].name: is missing, at line 1, column "),
        (one("queues", json!({"name": "x".repeat(256), "vhost": "/"})), "queues[0].name: is longer than 255 bytes"),
        (one("queues", json!([1])), "queues[0]: expected an object, found an array"),
        (json!({"queues": {}}), "invalid type: map, expected an array of queues"),
        (json!([]), "invalid type: sequence, expected an object with the sections of definitions"),
        (
            one("exchanges", json!({"name": "x", "vhost": "/", "type": "topics"})),
            "exchanges[0].type: unknown exchange type 'topics'",
        ),
        (
            one("bindings", json!({"source": "amq.topic", "vhost": "/", "destination": "q", "destination_type": "q"})),
            "bindings[0].destination_type: expected 'queue' or 'exchange', found 'q' (binding from 'amq.topic' to 'q' \
             in vhost '/')",
        ),
        (
            one("users", json!({"name": "u", "password_hash": "?", "tags": ""})),
            "users[0].password_hash: the password hash is not in base64 (user 'u')",
        ),
        (
            one("users", json!({"name": "u", "hashing_algorithm": "rot13", "password_hash": ""})),
            "users[0].hashing_algorithm: unknown algorithm 'rot13'",
        ),
        (one("users", json!({"name": "u", "limits": {"max-connections": "x"}})), "users[0]: max-connections should be"),
        (
            one("permissions", json!({"user": "nobody", "vhost": "/", "configure": "", "write": "", "read": ""})),
            "permissions[0].user: ",
        ),
        (
            one("permissions", json!({"user": "guest", "vhost": "/", "configure": "(", "write": "", "read": ""})),
            "permissions[0]: invalid regular expression '('",
        ),
        (policy(json!({"pattern": "("})), "policies[0].pattern: pattern should be regular expression but is invalid"),
        (
            policy(json!({"definition": {"max-lenght": 1}})),
            "policies[0].definition: [{<<\"max-lenght\">>,1}] are not recognised policy settings (policy 'p' in vhost \
             '/')",
        ),
        (policy(json!({"apply-to": "cats"})), "policies[0].apply-to: apply-to 'cats' unrecognised"),
        (policy(json!({"priority": 1.5})), "policies[0].priority: expected a whole number, found a number"),
        (
            one(
                "parameters",
                json!({
                    "vhost": "/", "component": "operator_policy", "name": "o",
                    "value": {"pattern": "", "definition": {"max-length": -1}}
                }),
            ),
            "parameters[0].value.definition: -1 is not a valid maximum length (operator policy 'o' in vhost '/')",
        ),
        (
            one(
                "parameters",
                json!({"vhost": "/", "component": "vhost-limits", "name": "limits", "value": {"max": 1}}),
            ),
            "parameters[0]: Unrecognised terms",
        ),
    ] {
        let node = Node::new();
        let before = (node.durable_records().0, node.generation());
        let mut file = file;
        // What comes first is right.
        if let Some(sections) = file.as_object_mut() {
            sections.entry("vhosts").or_insert(json!([{"name": "new"}]));
        }
        let error = import(&node, &file).unwrap_err();
        assert!(error.starts_with(expected), "{error}\nexpected {expected}");
        assert_eq!((node.durable_records().0, node.generation()), before, "{error}");
    }
}

#[test]
fn what_is_no_json_is_said_with_line_and_column() {
    for (text, expected) in [
        ("{\n  \"queues\": [\n    {\"name\": }\n  ]\n}", "line 3, column 14: expected value"),
        ("{\"queues\": [", "line 1, column 12: EOF while parsing a list"),
        ("", "line 1, column 0: EOF while parsing a value"),
        ("{} x", "line 1, column 4: trailing characters"),
    ] {
        assert_eq!(definitions::read(text).unwrap_err().to_string(), expected, "{text}");
    }
    assert!(definitions::read("\u{feff}{}").is_ok());
}

#[test]
fn what_there_is_nothing_like_is_left_out_and_said() {
    let node = Node::new();
    let file = json!({
        "queues": [{"name": "s", "vhost": "/", "durable": true, "arguments": {"x-queue-type": "stream"}}],
        "exchanges": [{"name": "j", "vhost": "/", "type": "x-jms-topic", "durable": true, "arguments": {}}],
        "bindings": [
            {"source": "amq.topic", "vhost": "/", "destination": "s", "destination_type": "queue", "routing_key": "k"},
            {"source": "j", "vhost": "/", "destination": "j", "destination_type": "exchange", "routing_key": "k"},
        ],
        "policies": [
            {"name": "f", "vhost": "/", "pattern": "", "definition": {"federation-upstream-set": "all"}},
            {"name": "g", "vhost": "/", "pattern": "", "definition": {"federation-upstream": "u", "max-length": 1}},
        ],
        "parameters": [
            {"vhost": "/", "component": "shovel", "name": "s", "value": {"src-uri": "amqp://"}},
            {"vhost": "/", "component": "shovel", "name": "t", "value": {"src-uri": "amqp://"}},
            {"vhost": "/", "component": "cats", "name": "s", "value": 1},
        ],
        "vhosts": [{"name": "v", "default_queue_type": "stream"}, {"name": "w", "default_queue_type": "undefined"}],
        "dogs": [],
        "rabbit_version": "3.8.0",
    });
    let report = import(&node, &file).unwrap();
    assert_eq!(
        report.warnings(),
        [
            "'dogs' means nothing in definitions and is left out",
            "vhost 'v': streams are not there yet, so its default_queue_type is left out",
            "exchange 'j' in vhost '/' is left out: there are no exchanges of type x-jms-topic here",
            "policy 'f' in vhost '/' is left out: nothing here knows what federation-upstream-set is for",
            "policy 'g' in vhost '/' is imported without federation-upstream, which nothing here knows",
            "parameters of 'shovel' are kept, but nothing acts on them yet",
            "parameter 's' of 'cats' in vhost '/' is left out: there is nothing here that it is for",
            "queue 's' in vhost '/' is left out: streams are not there yet",
            "binding from exchange 'amq.topic' to queue 's' with key 'k' in vhost '/' is left out: there is no queue \
             's' in vhost '/'",
            "binding from exchange 'j' to exchange 'j' with key 'k' in vhost '/' is left out: there is no exchange 'j' \
             in vhost '/'",
        ]
    );
    assert_eq!(section(&export(&node), "parameters").len(), 2);
}

#[test]
fn a_preview_tells_each_change_and_makes_none() {
    let node = Node::new();
    let before = json!({
        "users": [{"name": "ann", "password_hash": "", "tags": "a", "limits": {"max-connections": 1}}],
        "policies": [{"name": "p", "vhost": "/", "pattern": "x", "definition": {"max-length": 1}}],
        "queues": [{"name": "q", "vhost": "/", "durable": true}],
    });
    import(&node, &before).unwrap();
    let after = json!({
        "users": [{"name": "ann", "password": "secret", "tags": ["a", "b"], "limits": {"max-channels": 5}}],
        "vhosts": [{"name": "v", "description": "new"}, {"name": "/", "tags": ["t"]}],
        "permissions": [{"user": "ann", "vhost": "v", "configure": "", "write": "", "read": ".*"}],
        "policies": [{"name": "p", "vhost": "/", "pattern": "x", "priority": 5, "definition": {"max-length": 2}}],
        "queues": [
            {"name": "q", "vhost": "/", "durable": false},
            {"name": "r", "vhost": "v", "durable": true},
        ],
        "bindings": [{
            "source": "amq.topic", "vhost": "v", "destination": "r", "destination_type": "queue", "routing_key": "k",
        }],
    });
    let state = (node.durable_records().0, node.generation());
    let report = preview(&node, &after);
    assert_eq!((node.durable_records().0, node.generation()), state);
    assert_eq!(
        report.lines(),
        [
            "~ user 'ann': password, tags [a] -> [a, b], limits.max-channels 5 is new",
            "+ vhost 'v'",
            "~ vhost '/': tags [] -> [t]",
            "+ permissions of user 'ann' in vhost 'v'",
            "~ policy 'p' in vhost '/': priority 0 -> 5, definition.max-length 1 -> 2",
            "+ queue 'r' in vhost 'v'",
            "+ binding from exchange 'amq.topic' to queue 'r' with key 'k' in vhost 'v'",
        ]
    );
    assert_eq!(report.warnings(), ["queue 'q' in vhost '/' is there with other properties and stays as it is"]);
    let made = import(&node, &after).unwrap();
    assert_eq!(made.to_json(), report.to_json());
    assert_eq!(
        made.to_json()["counts"]["queues"],
        json!({
            "created": 1, "changed": 0, "unchanged": 0, "kept": 1, "left_out": 0
        })
    );
    let again = import(&node, &after).unwrap();
    assert!(again.is_unchanged(), "a password is not hashed anew: {:?}", preview(&node, &after).lines());
}

#[test]
fn passwords_are_known_again_however_they_come() {
    let node = empty();
    let file = json!({"users": [
        // The example of RabbitMQ's documentation.
        {"name": "sha256", "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "tags": "administrator,x",
         "hashing_algorithm": "rabbit_password_hashing_sha256"},
        {"name": "plain", "password": "test12", "tags": ""},
        {"name": "none", "password_hash": "", "tags": []},
        {"name": "unsaid", "tags": ""},
        {"name": "blank", "password": "", "tags": ""},
    ]});
    import(&node, &file).unwrap();
    for (user, fits) in [("sha256", true), ("plain", true), ("none", false), ("unsaid", false), ("blank", false)] {
        let password = node.read(|topology| topology.user(user).unwrap().password().clone());
        assert_eq!(hash::verify(&password, &Secret::new(b"test12")), fits, "{user}");
        assert_eq!(password.is_none(), !fits, "{user}");
    }
    // Nothing said of it, it stays.
    import(&node, &json!({"users": [{"name": "plain", "tags": "management"}]})).unwrap();
    node.read(|topology| {
        let user = topology.user("plain").unwrap();
        assert!(hash::verify(user.password(), &Secret::new(b"test12")));
        assert_eq!(user.tags().len(), 1);
    });
}

#[test]
fn names_that_the_broker_gave_are_taken() {
    let node = Node::new();
    let file = json!({
        "queues": [{"name": "amq.gen-x", "vhost": "/", "durable": true}],
        "exchanges": [{"name": "amq.topic", "vhost": "/", "type": "topic", "durable": true}],
    });
    import(&node, &file).unwrap();
    assert!(node.read(|topology| topology.vhost("/").unwrap().any_queue("amq.gen-x").is_ok()));
}

#[test]
fn queues_keep_their_type_whatever_the_vhosts_default() {
    let node = Node::new();
    import(&node, &json!({"queues": [{"name": "old", "vhost": "/", "durable": true}]})).unwrap();
    import(
        &node,
        &json!({
            "vhosts": [{"name": "/", "default_queue_type": "quorum"}],
            "queues": [{"name": "new", "vhost": "/", "durable": true}],
        }),
    )
    .unwrap();
    let again = empty();
    let out = export(&node);
    import(&again, &out).unwrap();
    let types =
        |node: &Node, name: &str| node.read(|topology| topology.vhost("/").unwrap().any_queue(name).unwrap().kind());
    for name in ["old", "new"] {
        assert_eq!(types(&again, name), types(&node, name), "{name}");
    }
    assert_eq!(export(&again), out);
}

#[test]
fn who_stops_an_import_finds_nothing_changed() {
    let node = Node::new();
    let queues: Vec<Value> =
        (0..3000).map(|queue| json!({"name": format!("q{queue}"), "vhost": "/", "durable": true})).collect();
    let definitions = definitions::read(&json!({"queues": queues}).to_string()).unwrap();
    let sources = [Source { label: Some("file.json"), definitions: &definitions }];
    let request =
        Import { sources: &sources, scope: Scope::All, hashing: Hashing::default(), also: &[], lines: Lines::None };
    let mut told = Vec::new();
    let stopped = definitions::import(&node, &request, &mut |progress: Progress| {
        told.push((progress.what, progress.done, progress.of));
        if progress.done == 2000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stopped, Err(ImportError::Stopped));
    assert_eq!(told, [("queues", 0, 3000), ("queues", 1000, 3000), ("queues", 2000, 3000)]);
    assert_eq!(node.read(|topology| topology.vhost("/").unwrap().queue_count()), 0);
}

#[test]
fn several_files_are_one_import() {
    let node = Node::new();
    let one = definitions::read(&json!({"vhosts": [{"name": "v"}]}).to_string()).unwrap();
    let wrong = definitions::read(&json!({"queues": [{"name": "q", "vhost": "w"}]}).to_string()).unwrap();
    let right = definitions::read(&json!({"queues": [{"name": "q", "vhost": "v"}]}).to_string()).unwrap();
    let also = [Change::SetGlobalParameter { name: "h".into(), value: leveret_broker::value::Value::text("1") }];
    let all = |second: &Definitions| {
        let sources = [
            Source { label: Some("1.json"), definitions: &one },
            Source { label: Some("2.json"), definitions: second },
        ];
        let hashing = Hashing::default();
        let request = Import { sources: &sources, scope: Scope::All, hashing, also: &also, lines: Lines::None };
        definitions::import(&node, &request, &mut |_| ControlFlow::Continue(()))
    };
    let error = all(&wrong).unwrap_err().to_string();
    assert_eq!(error, "2.json: queues[0].vhost: vhost w not found");
    assert!(node.read(|topology| topology.vhost("v").is_err() && topology.global_parameter("h").is_err()));
    all(&right).unwrap();
    assert!(node.read(|topology| topology.vhost("v").unwrap().any_queue("q").is_ok()));
    assert!(node.read(|topology| topology.global_parameter("h").is_ok()));
}

#[test]
fn a_binding_is_not_made_twice_for_the_width_of_its_numbers() {
    use leveret_broker::topology::Destination;
    use leveret_broker::value::Value as Argument;
    let node = Node::new();
    import(&node, &json!({"queues": [{"name": "q", "vhost": "/", "durable": true}]})).unwrap();
    let arguments = [("n", Argument::I8(1)), ("x-match", Argument::text("all"))];
    let bind = Change::Bind {
        vhost: "/".into(),
        source: "amq.headers".into(),
        destination: Destination::Queue("q".into()),
        routing_key: "".into(),
        arguments: arguments.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        asking: None,
    };
    node.apply(bind).unwrap();
    let out = export(&node);
    assert!(import(&node, &out).unwrap().is_unchanged());
    assert_eq!(section(&export(&node), "bindings").len(), 1);
}
