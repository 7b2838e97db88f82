//! Virtual hosts: what is said of them, and their limits.

use std::io::Write as _;

use serde_json::{Value, json};

use super::LISTING;
use crate::columns;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::{Answer, Style};
use crate::spec::{Command, Flag, Positional, Section, Takes};

const VHOST: Positional = Positional::one("name", "the virtual host");
const QUEUE_TYPES: [&str; 3] = ["quorum", "stream", "classic"];
const DESCRIPTION: Flag = Flag::with("description", Takes::Text("description"), "what it is for");
const TAGS: Flag = Flag::with("tags", Takes::Text("tags"), "words to find it by, with commas between them");
const DEFAULT_QUEUE_TYPE: Flag = Flag::with(
    "default-queue-type",
    Takes::Text("type"),
    "the type of queues whose declaration names none: quorum, classic or stream",
);

/// The columns of `list_vhosts`.
const COLUMNS: [&str; 7] =
    ["name", "description", "tags", "default_queue_type", "protected_from_deletion", "tracing", "cluster_state"];

pub(super) const COMMANDS: &[Command] = &[
    Command::new("add_vhost", Section::Vhosts, "Creates a virtual host", add_vhost)
        .takes(
            "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" --default-queue-type <quorum|classic|stream>]",
            &[VHOST],
            &[DESCRIPTION.short('d'), TAGS, DEFAULT_QUEUE_TYPE],
        )
        .notes("A virtual host that is there already stays as it is.")
        .banner(|invocation| Some(format!("Adding vhost \"{}\" ...", invocation.required("name")))),
    Command::new("delete_vhost", Section::Vhosts, "Deletes a virtual host", delete_vhost)
        .takes("<vhost>", &[VHOST], &[])
        .notes("Everything in it goes with it: queues with their messages, exchanges, permissions. Its connections are closed.")
        .banner(|invocation| Some(format!("Deleting vhost \"{}\" ...", invocation.required("name")))),
    Command::new("list_vhosts", Section::AccessControl, "Lists virtual hosts", list_vhosts)
        .takes(
            "[--no-table-headers] [<column> ...] [--timeout <timeout>]",
            &[Positional::any(
                "column",
                "name, description, tags, default_queue_type, protected_from_deletion, tracing or cluster_state [default: name]",
            )],
            &[],
        )
        .tools(LISTING)
        .validate(|invocation| columns::validate(invocation, "column", &COLUMNS))
        .banner(|_| Some("Listing vhosts ...".to_owned())),
    Command::new(
        "update_vhost_metadata",
        Section::Vhosts,
        "Updates metadata (tags, description, default queue type) of a virtual host",
        update_vhost_metadata,
    )
    .takes(
        "<vhost> [--description <description>] [--tags \"<tag1>,<tag2>,<...>\"] [--default-queue-type <quorum|classic|stream>]",
        &[VHOST],
        &[DESCRIPTION.short('d'), TAGS, DEFAULT_QUEUE_TYPE],
    )
    .validate(validate_metadata)
    .banner(|invocation| Some(format!("Updating metadata of vhost \"{}\" ...", invocation.required("name")))),
    Command::new("set_vhost_tags", Section::Vhosts, "Sets virtual host tags", set_vhost_tags)
        .takes("<vhost> <tag> [...]", &[VHOST, Positional::any("tag", "all of its tags")], &[])
        .banner(|invocation| {
            let (vhost, tags) = (invocation.required("name"), invocation.arguments("tag").join(", "));
            Some(format!("Setting tags for virtual host \"{vhost}\" to [{tags}] ..."))
        }),
    Command::new(
        "enable_vhost_deletion_protection",
        Section::Vhosts,
        "Protects a virtual host from deletion (until the protection is removed)",
        |invocation| protect(invocation, true),
    )
    .takes("<vhost>", &[VHOST], &[])
    .banner(|invocation| {
        let vhost = invocation.required("name");
        Some(format!("Protecting virtual host \"{vhost}\" from removal by updating its metadata..."))
    }),
    Command::new(
        "disable_vhost_deletion_protection",
        Section::Vhosts,
        "Removes deletion protection from a virtual host (so that it can be deleted)",
        |invocation| protect(invocation, false),
    )
    .takes("<vhost>", &[VHOST], &[])
    .banner(|invocation| {
        let vhost = invocation.required("name");
        Some(format!("Removing deletion protection from virtual host \"{vhost}\" by updating its metadata..."))
    }),
    Command::new("set_vhost_limits", Section::Vhosts, "Sets virtual host limits", set_vhost_limits)
        .takes(
            "[--vhost <vhost>] <definition>",
            &[Positional::one("definition", "all limits, as JSON: {\"max-connections\": 256, \"max-queues\": 1024}")],
            &[],
        )
        .notes("A negative number is no limit.")
        .banner(|invocation| {
            let (definition, vhost) = (invocation.required("definition"), invocation.vhost());
            Some(format!("Setting vhost limits to \"{definition}\" for vhost \"{vhost}\" ..."))
        }),
    Command::new("clear_vhost_limits", Section::Vhosts, "Clears virtual host limits", clear_vhost_limits)
        .takes("[--vhost <vhost>]", &[], &[])
        .banner(|invocation| Some(format!("Clearing vhost \"{}\" limits ...", invocation.vhost()))),
    Command::new("list_vhost_limits", Section::Vhosts, "Displays configured virtual host limits", list_vhost_limits)
        .takes(
            "[--vhost <vhost>] [--global] [--no-table-headers]",
            &[],
            &[Flag::switch("global", "list the limits of all virtual hosts")],
        )
        .tools(LISTING)
        .banner(|invocation| {
            Some(if invocation.is_set("global") {
                "Listing limits for all vhosts ...".to_owned()
            } else {
                format!("Listing limits for vhost \"{}\" ...", invocation.vhost())
            })
        }),
    Command::new(
        "restart_vhost",
        Section::Vhosts,
        "Restarts a failed vhost data stores and queues",
        restart_vhost,
    )
    .takes("[--vhost <vhost>] [--timeout <timeout>]", &[], &[])
    .notes("A virtual host fails with its node and never alone, so there is nothing to restart while the node runs."),
    Command::new(
        "reconcile_vhosts",
        Section::Vhosts,
        "Makes sure all virtual hosts were initialized on all reachable cluster nodes",
        reconcile_vhosts,
    )
    .notes("A virtual host is there as soon as it is created, so there is nothing to reconcile.")
    .banner(|_| Some("Will try to initiate virtual host reconciliation on all reachable cluster nodes...".to_owned())),
    Command::new("trace_on", Section::Vhosts, "Copies all messages of a virtual host to its exchange amq.rabbitmq.trace", trace_on)
        .takes("[--vhost <vhost>]", &[], &[])
        .banner(|invocation| Some(format!("Starting tracing for vhost \"{}\" ...", invocation.vhost()))),
    Command::new("trace_off", Section::Vhosts, "Ends what trace_on began", trace_off)
        .takes("[--vhost <vhost>]", &[], &[])
        .banner(|invocation| Some(format!("Stopping tracing for vhost \"{}\" ...", invocation.vhost()))),
];

/// The vhost that is named without an option, and what the options say of it.
fn described(invocation: &Invocation) -> Value {
    json!({
        "vhost": invocation.required("name"),
        "description": invocation.value("description"),
        "tags": invocation.value("tags").map(tags),
        "default_queue_type": invocation.value("default-queue-type"),
    })
}

/// Tags with commas between them.
fn tags(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect()
}

fn validate_metadata(invocation: &Invocation) -> Result<(), Failure> {
    let queue_type = invocation.value("default-queue-type");
    if queue_type.is_none() && invocation.value("description").is_none() && invocation.value("tags").is_none() {
        return Err(invocation.invalid(Exit::Usage, "not enough arguments."));
    }
    match queue_type {
        Some(other) if !QUEUE_TYPES.contains(&other) => {
            let known = QUEUE_TYPES.join(", ");
            Err(invocation.bad_argument(&format!("Default queue type must be one of: {known}. Provided: {other}")))
        }
        _ => Ok(()),
    }
}

fn add_vhost(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.perform("add_vhost", &described(invocation))
}

fn delete_vhost(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.perform("delete_vhost", &json!({ "vhost": invocation.required("name") }))
}

fn list_vhosts(invocation: &Invocation) -> Result<Answer, Failure> {
    let columns = columns::chosen(invocation, "column", &["name"]);
    let rows = invocation.list("list_vhosts", &json!({}), &columns)?;
    Ok(Answer::Rows(rows.styled("cluster_state", Style::Atoms)))
}

fn update_vhost_metadata(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.perform("update_vhost_metadata", &described(invocation))
}

fn set_vhost_tags(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({ "vhost": invocation.required("name"), "tags": invocation.arguments("tag") });
    invocation.perform("set_vhost_tags", &arguments)
}

fn protect(invocation: &Invocation, protected: bool) -> Result<Answer, Failure> {
    let arguments = json!({ "vhost": invocation.required("name"), "protected_from_deletion": protected });
    invocation.perform("update_vhost_metadata", &arguments)
}

fn in_vhost(invocation: &Invocation) -> Value {
    json!({ "vhost": invocation.vhost() })
}

fn set_vhost_limits(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({ "vhost": invocation.vhost(), "definition": invocation.required("definition") });
    invocation.perform("set_vhost_limits", &arguments)
}

fn clear_vhost_limits(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.perform("clear_vhost_limits", &in_vhost(invocation))
}

fn list_vhost_limits(invocation: &Invocation) -> Result<Answer, Failure> {
    let is_global = invocation.is_set("global");
    let vhost = (!is_global).then(|| invocation.vhost());
    let rows = invocation.list("list_vhost_limits", &json!({ "vhost": vhost }), &["vhost", "limits"])?;
    Ok(if is_global { Answer::Rows(rows) } else { super::limits_alone(rows) })
}

fn restart_vhost(invocation: &Invocation) -> Result<Answer, Failure> {
    let vhost = invocation.vhost();
    let result = invocation.call("find_vhost", &in_vhost(invocation))?.result;
    let node = result.get("node").and_then(Value::as_str).unwrap_or_default();
    if !invocation.is_hushed() {
        // Who has closed standard output reads nothing of it.
        let _ = writeln!(std::io::stdout(), "Trying to restart vhost '{vhost}' on node '{node}' ...");
    }
    if result.get("is_there") == Some(&Value::Bool(true)) {
        return Ok(Answer::Text(format!("Vhost '{vhost}' is already running on node '{node}'")));
    }
    let text = format!("Failed to start vhost '{vhost}' on node '{node}': there is no such virtual host");
    Err(Failure::new(Exit::Software, text))
}

/// There is nothing to do, but a node that does not run cannot say so.
fn reconcile_vhosts(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.call("list_vhosts", &json!({}))?;
    let text = "Will reconcile all virtual hosts in the cluster. This operation is asynchronous.";
    Ok(Answer::Text(text.to_owned()))
}

fn trace_on(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.perform("trace_on", &in_vhost(invocation))?;
    Ok(Answer::Text(format!("Trace enabled for vhost {}", invocation.vhost())))
}

fn trace_off(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.perform("trace_off", &in_vhost(invocation))?;
    Ok(Answer::Text(format!("Trace disabled for vhost {}", invocation.vhost())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_separated_by_commas() {
        for (text, expected) in [("a,b", &["a", "b"][..]), (" a , b-1,", &["a", "b-1"]), ("", &[])] {
            assert_eq!(tags(text), expected, "{text}");
        }
    }
}
