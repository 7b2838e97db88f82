//! What operators do to connections and queues.

use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::Answer;
use crate::spec::{Command, Flag, Positional, Section, Takes};

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "close_connection",
        Section::Operations,
        "Instructs the broker to close the connection associated with the Erlang process id",
        close_connection,
    )
    .takes(
        "<connection pid> <explanation>",
        &[
            Positional::one("connection pid", "connection identifier (Erlang PID), see list_connections"),
            Positional::one("explanation", "reason for connection closure"),
        ],
        &[],
    )
    .banner(|it| {
        let (pid, reason) = (it.required("connection pid"), it.required("explanation"));
        Some(format!("Closing connection {pid}, reason: {reason}..."))
    }),
    Command::new(
        "close_all_connections",
        Section::Operations,
        "Instructs the broker to close all connections for the specified vhost or entire RabbitMQ node",
        close_all_connections,
    )
    .takes(
        "[--vhost <vhost> --limit <limit>] [-n <node> --global] [--per-connection-delay <delay>] <explanation>",
        &[Positional::one("explanation", "reason for connection closure")],
        &[
            Flag::switch("global", "consider connections across all virtual hosts"),
            Flag::with("limit", Takes::Number("number"), "close up to this many connections"),
            Flag::with("per-connection-delay", Takes::Number("milliseconds"), "inject a delay between closures"),
        ],
    )
    .banner(|it| {
        let reason = it.required("explanation");
        let whose = if it.is_set("global") {
            format!("to node {} (across all vhosts)", it.node())
        } else {
            format!("in vhost {}", it.vhost())
        };
        Some(format!("Closing all connections {whose}, reason: {reason}..."))
    }),
    Command::new(
        "close_all_user_connections",
        Section::Operations,
        "Instructs the broker to close all connections of the specified user",
        close_all_user_connections,
    )
    .takes(
        "<username> <explanation>",
        &[
            Positional::one("username", "Self-explanatory"),
            Positional::one("explanation", "reason for connection closure, will be logged and provided to clients"),
        ],
        &[],
    )
    .banner(|it| {
        let (user, reason) = (it.required("username"), it.required("explanation"));
        Some(format!("Closing connections of user {user}, reason: {reason}..."))
    }),
    Command::new(
        "clear_auth_backend_cache",
        Section::AccessControl,
        "Clears the cache of authorization decisions",
        |it| it.call("forget_logins", &json!({})).map(|_| Answer::Done),
    )
    .banner(|_| Some("Clearing the cache of authorization decisions...".to_owned())),
    Command::new("delete_queue", Section::Queues, "Deletes a queue", delete_queue)
        .takes(
            "<queue_name> [--if-empty|-e] [--if-unused|-u] [--timeout <timeout>]",
            &[Positional::one("queue_name", "name of the queue to delete")],
            &[
                Flag::switch("if-empty", "delete the queue if it is empty (has no messages ready for delivery)")
                    .short('e'),
                Flag::switch("if-unused", "delete the queue only if it has no consumers").short('u'),
                Flag::switch("force", "delete the queue even if its leader cannot be reached; here it always can"),
            ],
        )
        .banner(|it| {
            let conditions = match (it.is_set("if-empty"), it.is_set("if-unused")) {
                (false, false) => "",
                (true, false) => " if queue is empty",
                (false, true) => " if queue is unused",
                (true, true) => " if queue is empty and if queue is unused",
            };
            Some(format!("Deleting queue '{}' on vhost '{}'{conditions} ...", it.required("queue_name"), it.vhost()))
        }),
    Command::new("purge_queue", Section::Queues, "Purges a queue (removes all messages in it)", purge_queue)
        .takes("<queue> [--timeout <timeout>]", &[Positional::one("queue", "Name of the queue to purge")], &[])
        .banner(|it| Some(format!("Purging queue '{}' in vhost '{}' ...", it.required("queue"), it.vhost()))),
];

fn close_connection(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments =
        json!({ "pid": invocation.required("connection pid"), "reason": invocation.required("explanation") });
    invocation.call("close_connection", &arguments).map_err(|failure| failure.exiting(Exit::Unavailable))?;
    Ok(Answer::Done)
}

fn close_all_connections(invocation: &Invocation) -> Result<Answer, Failure> {
    let vhost = (!invocation.is_set("global")).then(|| invocation.vhost());
    let arguments = json!({
        "vhost": vhost,
        "limit": invocation.number("limit"),
        "delay_ms": invocation.number("per-connection-delay"),
        "reason": invocation.required("explanation"),
    });
    let reply = invocation.call("close_connections", &arguments)?;
    Ok(Answer::Text(format!("Closed {} connections", reply.result.get("closed").unwrap_or(&json!(0)))))
}

fn close_all_user_connections(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({ "user": invocation.required("username"), "reason": invocation.required("explanation") });
    invocation.call("close_connections", &arguments)?;
    Ok(Answer::Done)
}

fn delete_queue(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({
        "vhost": invocation.vhost(),
        "queue": invocation.required("queue_name"),
        "if_empty": invocation.is_set("if-empty"),
        "if_unused": invocation.is_set("if-unused"),
    });
    let reply = invocation.call("delete_queue", &arguments).map_err(|failure| failure.exiting(Exit::Usage))?;
    let messages = reply.result.get("messages").and_then(serde_json::Value::as_u64).unwrap_or_default();
    Ok(Answer::Text(format!("Queue was successfully deleted with {messages} ready messages")))
}

fn purge_queue(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({ "vhost": invocation.vhost(), "queue": invocation.required("queue") });
    invocation.call("purge_queue", &arguments).map_err(|failure| failure.exiting(Exit::Unavailable))?;
    Ok(Answer::Done)
}
