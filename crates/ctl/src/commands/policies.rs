//! Policies, and those of operators.

use serde_json::{Value, json};

use super::LISTING;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::{Answer, Rows};
use crate::spec::{Command, Flag, Positional, Section, Takes};
use crate::tool::Tool;

const NAME: Positional = Positional::one("name", "the policy");
const COLUMNS: [&str; 6] = ["vhost", "name", "pattern", "apply-to", "definition", "priority"];
const LIST: &str = "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]";
const SET: &str = "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>";
const SET_PLACES: &[Positional] = &[
    NAME,
    Positional::one("pattern", "a regular expression that matches somewhere in the names it applies to"),
    Positional::one("definition", "the settings, as JSON: {\"max-length\": 1000}"),
];
const SET_FLAGS: &[Flag] = &[
    Flag::with(
        "priority",
        Takes::Integer("priority"),
        "of several that match, the one with the highest applies [default: 0]",
    ),
    Flag::with(
        "apply-to",
        Takes::Text("apply-to"),
        "queues, classic_queues, quorum_queues, streams, exchanges or all [default: all]",
    ),
];

pub(super) const COMMANDS: &[Command] = &[
    Command::new("set_policy", Section::Policies, "Sets or updates a policy", |invocation| {
        set(invocation, "set_policy")
    })
    .takes(SET, SET_PLACES, SET_FLAGS)
    .banner(|invocation| Some(setting(invocation, "policy"))),
    Command::new("clear_policy", Section::Policies, "Clears (removes) a policy", |invocation| {
        clear(invocation, "clear_policy")
    })
    .takes("[--vhost <vhost>] <name>", &[NAME], &[])
    .banner(|invocation| Some(clearing(invocation, "policy"))),
    Command::new("list_policies", Section::Policies, "Lists all policies in a virtual host", |invocation| {
        list(invocation, "list_policies")
    })
    .takes(LIST, &[], &[])
    .tools(LISTING)
    .banner(|invocation| Some(format!("Listing policies for vhost \"{}\" ...", invocation.vhost()))),
    Command::new(
        "set_operator_policy",
        Section::Policies,
        "Sets an operator policy that overrides a subset of arguments in user policies",
        |invocation| set(invocation, "set_operator_policy"),
    )
    .takes(SET, SET_PLACES, SET_FLAGS)
    .banner(|invocation| Some(setting(invocation, "operator policy override"))),
    Command::new("clear_operator_policy", Section::Policies, "Clears an operator policy", |invocation| {
        clear(invocation, "clear_operator_policy")
    })
    .takes("[--vhost <vhost>] <name>", &[NAME], &[])
    .banner(|invocation| Some(clearing(invocation, "operator policy"))),
    Command::new(
        "list_operator_policies",
        Section::Policies,
        "Lists operator policy overrides for a virtual host",
        |invocation| list(invocation, "list_operator_policies"),
    )
    .takes(LIST, &[], &[])
    .tools(LISTING)
    .banner(|invocation| Some(format!("Listing operator policy overrides for vhost \"{}\" ...", invocation.vhost()))),
    Command::new(
        "list_policies_that_match",
        Section::Policies,
        "Lists all policies matching a queue/exchange (only the highest priority policy is active)",
        list_policies_that_match,
    )
    .takes(
        "[--object-type <type>] <name>",
        &[Positional::one("name", "the queue or exchange")],
        &[Flag::with("object-type", Takes::Text("type"), "queue or exchange [default: queue]")],
    )
    .tools(&[Tool::Diagnostics])
    .validate(validate_object_type)
    .banner(|invocation| {
        let (kind, name, vhost) = (object_type(invocation), invocation.required("name"), invocation.vhost());
        Some(format!("Listing policies that match {kind} '{name}' in vhost '{vhost}' ..."))
    }),
];

fn priority(invocation: &Invocation) -> i64 {
    invocation.integer("priority").unwrap_or_default()
}

fn setting(invocation: &Invocation, what: &str) -> String {
    let [name, pattern, definition] = ["name", "pattern", "definition"].map(|place| invocation.required(place));
    let (priority, vhost) = (priority(invocation), invocation.vhost());
    format!(
        "Setting {what} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{priority}\" for vhost \"{vhost}\" ..."
    )
}

fn clearing(invocation: &Invocation, what: &str) -> String {
    format!("Clearing {what} \"{}\" on vhost \"{}\" ...", invocation.required("name"), invocation.vhost())
}

fn set(invocation: &Invocation, operation: &str) -> Result<Answer, Failure> {
    let arguments = json!({
        "vhost": invocation.vhost(),
        "name": invocation.required("name"),
        "pattern": invocation.required("pattern"),
        "definition": invocation.required("definition"),
        "priority": priority(invocation),
        "apply_to": invocation.value("apply-to"),
    });
    invocation.perform(operation, &arguments)
}

fn named(invocation: &Invocation) -> Value {
    json!({ "vhost": invocation.vhost(), "name": invocation.required("name") })
}

fn clear(invocation: &Invocation, operation: &str) -> Result<Answer, Failure> {
    invocation.perform(operation, &named(invocation))
}

fn list(invocation: &Invocation, operation: &str) -> Result<Answer, Failure> {
    invocation.list(operation, &json!({ "vhost": invocation.vhost() }), &COLUMNS).map(Answer::Rows)
}

fn object_type(invocation: &Invocation) -> &str {
    invocation.value("object-type").unwrap_or("queue")
}

fn validate_object_type(invocation: &Invocation) -> Result<(), Failure> {
    match object_type(invocation) {
        "queue" | "exchange" => Ok(()),
        other => Err(invocation.invalid(Exit::Usage, &format!("--object-type is queue or exchange, not {other}"))),
    }
}

fn list_policies_that_match(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({
        "vhost": invocation.vhost(),
        "name": invocation.required("name"),
        "object_type": object_type(invocation),
    });
    let reply = invocation.call("list_policies_that_match", &arguments)?;
    // The one that applies comes first.
    Ok(Answer::Rows(Rows::new(COLUMNS, reply.rows).or_line()))
}
