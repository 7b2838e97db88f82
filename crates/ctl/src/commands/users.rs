//! Users, their passwords, tags and limits.

use serde_json::json;

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::output::{Answer, Rows};
use crate::spec::{Command, Section};

pub(super) const COMMANDS: &[Command] =
    &[Command::new("list_users", Section::Users, "List user names and tags", list_users)
        .takes("[--no-table-headers] [--timeout <timeout>]", &[], &[])
        .banner(|_| Some("Listing users ...".to_owned()))];

fn list_users(invocation: &Invocation) -> Result<Answer, Failure> {
    let reply = invocation.call("list_users", &json!({}))?;
    Ok(Answer::Rows(Rows::new(["user", "tags"], reply.rows)))
}
