//! What `RabbitMQ` 3.10 does not have, or not in that way, so that there is no recording of it.

use leveret_testkit::broker::Url;
use serde_json::{Value, json};

use crate::client::Clients;
use crate::http::{self, Reply};
use crate::node::{Broker, Node};
use crate::run;
use crate::script::{Action, steps};

#[test]
fn what_rabbitmq_3_10_does_not_have_is_there() {
    let node = match Broker::of_environment() {
        Broker::RabbitMq { .. } => {
            eprintln!("RabbitMQ 3.10 does not have it");
            return;
        }
        broker @ Broker::Leveret { .. } => Node::start(broker, "beyond"),
    };
    for rule in [
        users_are_deleted_together_or_not_at_all,
        a_vhost_can_be_protected_from_deletion,
        who_creates_a_vhost_may_do_everything_in_it,
        passwords_are_hashed_without_standing_in_a_path,
        definitions_have_a_tag_and_are_not_sent_to_who_has_them,
        a_connection_of_amqp_0_9_1_has_no_sessions,
    ] {
        rule(&node);
    }
}

/// Asks as a line of a scenario says.
fn ask(node: &Node, line: &str) -> Reply {
    let steps = steps(&format!("> {line}\n")).unwrap();
    let Some(Action::Ask { request, .. }) = steps.first().map(|step| &step.action) else {
        panic!("no request: {line}")
    };
    http::ask(&node.address(), &run::complete(request, node)).unwrap()
}

/// Asks line by line, and compares status and body; null is no body.
fn all_are(node: &Node, expected: &[(&str, u16, Value)]) {
    for (line, status, body) in expected {
        let reply = ask(node, line);
        let found: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        assert_eq!((reply.status, &found), (*status, body), "{line}");
    }
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn bad_request(reason: impl Into<Value>) -> Value {
    json!({"error": "bad_request", "reason": reason.into()})
}

fn a_vhost_can_be_protected_from_deletion(node: &Node) {
    let reason = "Refusing to delete virtual host 'p' because it is protected from deletion";
    let refusal = || json!({"error": "precondition_failed", "reason": reason});
    all_are(
        node,
        &[
            ("guest PUT /api/vhosts/p {\"protected_from_deletion\":true}", 201, Value::Null),
            ("guest DELETE /api/vhosts/p", 412, refusal()),
            // What is said of something else does not end it.
            ("guest PUT /api/vhosts/p {\"description\":\"d\"}", 204, Value::Null),
            ("guest DELETE /api/vhosts/p", 412, refusal()),
            ("guest DELETE /api/vhosts/p/deletion/protection", 204, Value::Null),
            ("guest GET /api/vhosts/p?columns=protected_from_deletion", 200, json!({"protected_from_deletion": false})),
            ("guest POST /api/vhosts/p/deletion/protection", 204, Value::Null),
            ("guest DELETE /api/vhosts/p", 412, refusal()),
            ("guest PUT /api/vhosts/p {\"protected_from_deletion\":\"false\"}", 204, Value::Null),
            ("guest DELETE /api/vhosts/p", 204, Value::Null),
            (
                "guest POST /api/vhosts/p/deletion/protection",
                404,
                json!({"error": "Object Not Found", "reason": "Not Found"}),
            ),
        ],
    );
}

fn who_creates_a_vhost_may_do_everything_in_it(node: &Node) {
    let all =
        |user: &str, vhost: &str| json!({"user": user, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"});
    all_are(
        node,
        &[
            ("guest PUT /api/users/root {\"password\":\"root\",\"tags\":\"administrator\"}", 201, Value::Null),
            ("root PUT /api/vhosts/one", 201, Value::Null),
            ("guest GET /api/permissions/one/root", 200, all("root", "one")),
            ("guest DELETE /api/permissions/one/root", 204, Value::Null),
            ("root PUT /api/vhosts/one {\"description\":\"again\"}", 204, Value::Null),
            ("guest GET /api/users/root/permissions", 200, json!([])),
            (
                "root POST /api/definitions {\"vhosts\":[{\"name\":\"one\"},{\"name\":\"two\"},{\"name\":\"three\"}],\
                 \"permissions\":[{\"user\":\"root\",\"vhost\":\"three\",\"configure\":\"\",\"write\":\"\",\"read\":\"\"}]}",
                204,
                Value::Null,
            ),
            (
                "guest GET /api/users/root/permissions?sort=vhost",
                200,
                json!([
                    {"user": "root", "vhost": "three", "configure": "", "write": "", "read": ""},
                    all("root", "two"),
                ]),
            ),
        ],
    );
}

fn users_are_deleted_together_or_not_at_all(node: &Node) {
    all_are(
        node,
        &[
            ("guest PUT /api/users/a {\"tags\":\"\",\"limits\":{\"max-channels\":3}}", 201, Value::Null),
            ("guest GET /api/user-limits/a", 200, json!([{"user": "a", "value": {"max-channels": 3}}])),
            (
                "guest POST /api/users/bulk-delete {\"users\":[\"a\",\"nobody\"]}",
                400,
                bad_request(json!(["no_such_user", "nobody"])),
            ),
            ("guest GET /api/users/a?columns=name", 200, json!({"name": "a"})),
            ("guest POST /api/users/bulk-delete {\"users\":[\"a\",\"a\"]}", 204, Value::Null),
            ("guest GET /api/users?columns=name", 200, json!([{"name": "guest"}])),
        ],
    );
}

fn passwords_are_hashed_without_standing_in_a_path(node: &Node) {
    let reply = ask(node, "guest POST /api/auth/hash_password {\"password\":\"swordfish\"}");
    let hash: Value = serde_json::from_slice(&reply.body).unwrap();
    let user = json!({"tags": "management", "password_hash": hash["ok"]});
    all_are(
        node,
        &[
            (&format!("guest PUT /api/users/h {user}"), 201, Value::Null),
            ("h:swordfish GET /api/whoami", 200, json!({"name": "h", "tags": ["management"]})),
            ("guest POST /api/auth/hash_password {}", 400, bad_request("[{key_missing,password}]")),
        ],
    );
}

fn definitions_have_a_tag_and_are_not_sent_to_who_has_them(node: &Node) {
    let first = ask(node, "guest GET /api/definitions");
    let tag = header(&first, "etag").unwrap();
    let again = ask(node, &format!("guest GET /api/definitions [If-None-Match: {tag}]"));
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(ask(node, "guest PUT /api/vhosts/new").status, 201);
    let changed = ask(node, &format!("guest GET /api/definitions [If-None-Match: {tag}]"));
    assert_eq!(changed.status, 200);
    assert_ne!(header(&changed, "etag"), Some(tag));
}

fn a_connection_of_amqp_0_9_1_has_no_sessions(node: &Node) {
    let url = Url { address: format!("127.0.0.1:{}", node.port), ..Url::parse("amqp://") };
    let mut clients = Clients::default();
    clients.act("connect c {\"name\":\"first\"}", &url);
    all_are(
        node,
        &[(
            "guest GET /api/connections/{connection first}/sessions",
            400,
            bad_request("connection does not use AMQP 1.0"),
        )],
    );
}
