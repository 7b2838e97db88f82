//! What users may do: permissions, and topic permissions.

use serde_json::{Value, json};

use super::LISTING;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::output::Answer;
use crate::spec::{Command, Positional, Section};

const USERNAME: Positional = Positional::one("username", "the user");
const CONF: Positional = Positional::one("conf", "a pattern of what it may declare and delete");
const WRITE: Positional = Positional::one("write", "a pattern of what it may publish to and bind");
const READ: Positional = Positional::one("read", "a pattern of what it may consume from and bind to");
const PATTERNS: &str = "Patterns are regular expressions that match somewhere in a name; an empty one matches nothing.";

pub(super) const COMMANDS: &[Command] = &[
    Command::new("set_permissions", Section::AccessControl, "Sets user permissions for a vhost", set_permissions)
        .takes("[--vhost <vhost>] <username> <conf> <write> <read>", &[USERNAME, CONF, WRITE, READ], &[])
        .notes(PATTERNS)
        .banner(|invocation| {
            let (user, vhost) = (invocation.required("username"), invocation.vhost());
            Some(format!("Setting permissions for user \"{user}\" in vhost \"{vhost}\" ..."))
        }),
    Command::new(
        "set_permissions_globally",
        Section::AccessControl,
        "Sets user permissions for all virtual hosts.",
        set_permissions_globally,
    )
    .takes("<username> <conf> <write> <read>", &[USERNAME, CONF, WRITE, READ], &[])
    .notes(PATTERNS)
    .banner(|invocation| {
        Some(format!("Setting permissions for user \"{}\" in all virtual hosts ...", invocation.required("username")))
    }),
    Command::new(
        "clear_permissions",
        Section::AccessControl,
        "Revokes user permissions for a vhost",
        clear_permissions,
    )
    .takes("[--vhost <vhost>] <username>", &[USERNAME], &[])
    .banner(|invocation| {
        let (user, vhost) = (invocation.required("username"), invocation.vhost());
        Some(format!("Clearing permissions for user \"{user}\" in vhost \"{vhost}\" ..."))
    }),
    Command::new(
        "list_permissions",
        Section::AccessControl,
        "Lists user permissions in a virtual host",
        list_permissions,
    )
    .takes("[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", &[], &[])
    .tools(LISTING)
    .banner(|invocation| Some(format!("Listing permissions for vhost \"{}\" ...", invocation.vhost()))),
    Command::new(
        "list_user_permissions",
        Section::AccessControl,
        "Lists permissions of a user across all virtual hosts",
        list_user_permissions,
    )
    .takes("[--no-table-headers] <username> [--timeout <timeout>]", &[USERNAME], &[])
    .tools(LISTING)
    .banner(|invocation| Some(format!("Listing permissions for user \"{}\" ...", invocation.required("username")))),
    Command::new(
        "set_topic_permissions",
        Section::AccessControl,
        "Sets user topic permissions for an exchange",
        set_topic_permissions,
    )
    .takes(
        "[--vhost <vhost>] <username> <exchange> <write> <read>",
        &[
            USERNAME,
            Positional::one("exchange", "the topic exchange, which need not be there yet"),
            Positional::one("write", "a pattern of routing keys it may publish with"),
            Positional::one("read", "a pattern of routing keys it may bind with"),
        ],
        &[],
    )
    .notes("In patterns, {username} and {vhost} stand for the user's and the vhost's name.")
    .banner(|invocation| {
        let (user, vhost) = (invocation.required("username"), invocation.vhost());
        let exchange = invocation.required("exchange");
        Some(format!("Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."))
    }),
    Command::new(
        "clear_topic_permissions",
        Section::AccessControl,
        "Clears user topic permissions for a vhost or exchange",
        clear_topic_permissions,
    )
    .takes(
        "[--vhost <vhost>] <username> [<exchange>]",
        &[USERNAME, Positional::optional("exchange", "the exchange; without it, all of the vhost")],
        &[],
    )
    .banner(|invocation| {
        let (user, vhost) = (invocation.required("username"), invocation.vhost());
        Some(match invocation.argument("exchange") {
            None => format!("Clearing topic permissions for user \"{user}\" in vhost \"{vhost}\" ..."),
            Some(exchange) => {
                format!("Clearing topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ...")
            }
        })
    }),
    Command::new(
        "list_topic_permissions",
        Section::AccessControl,
        "Lists topic permissions in a virtual host",
        list_topic_permissions,
    )
    .takes("[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]", &[], &[])
    .tools(LISTING)
    .banner(|invocation| Some(format!("Listing topic permissions for vhost \"{}\" ...", invocation.vhost()))),
    Command::new(
        "list_user_topic_permissions",
        Section::AccessControl,
        "Lists user topic permissions",
        list_user_topic_permissions,
    )
    .takes("[--no-table-headers] <username> [--timeout <timeout>]", &[USERNAME], &[])
    .tools(LISTING)
    .headless()
    .banner(|invocation| {
        Some(format!("Listing topic permissions for user \"{}\" ...", invocation.required("username")))
    }),
];

fn in_vhost(invocation: &Invocation) -> Value {
    json!({ "vhost": invocation.vhost() })
}

fn of_user(invocation: &Invocation) -> Value {
    json!({ "user": invocation.required("username") })
}

fn of_user_in_vhost(invocation: &Invocation) -> Value {
    json!({ "user": invocation.required("username"), "vhost": invocation.vhost() })
}

fn set_permissions(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({
        "user": invocation.required("username"),
        "vhost": invocation.vhost(),
        "configure": invocation.required("conf"),
        "write": invocation.required("write"),
        "read": invocation.required("read"),
    });
    invocation.perform("set_permissions", &arguments)
}

fn set_permissions_globally(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({
        "user": invocation.required("username"),
        "configure": invocation.required("conf"),
        "write": invocation.required("write"),
        "read": invocation.required("read"),
    });
    invocation.perform("set_permissions_globally", &arguments)
}

fn clear_permissions(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.perform("clear_permissions", &of_user_in_vhost(invocation))
}

fn list_permissions(invocation: &Invocation) -> Result<Answer, Failure> {
    let columns = ["user", "configure", "write", "read"];
    invocation.list("list_permissions", &in_vhost(invocation), &columns).map(Answer::Rows)
}

fn list_user_permissions(invocation: &Invocation) -> Result<Answer, Failure> {
    let columns = ["vhost", "configure", "write", "read"];
    invocation.list("list_user_permissions", &of_user(invocation), &columns).map(Answer::Rows)
}

fn set_topic_permissions(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({
        "user": invocation.required("username"),
        "vhost": invocation.vhost(),
        "exchange": invocation.required("exchange"),
        "write": invocation.required("write"),
        "read": invocation.required("read"),
    });
    invocation.perform("set_topic_permissions", &arguments)
}

fn clear_topic_permissions(invocation: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({
        "user": invocation.required("username"),
        "vhost": invocation.vhost(),
        "exchange": invocation.argument("exchange"),
    });
    invocation.perform("clear_topic_permissions", &arguments)
}

fn list_topic_permissions(invocation: &Invocation) -> Result<Answer, Failure> {
    let columns = ["user", "exchange", "write", "read"];
    invocation.list("list_topic_permissions", &in_vhost(invocation), &columns).map(Answer::Rows)
}

fn list_user_topic_permissions(invocation: &Invocation) -> Result<Answer, Failure> {
    let columns = ["vhost", "exchange", "write", "read"];
    invocation.list("list_user_topic_permissions", &of_user(invocation), &columns).map(Answer::Rows)
}
