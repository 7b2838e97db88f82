//! Commands of clusters, which there are none of yet: each says so.

use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::Answer;
use crate::spec::{Command, Flag, Needs, Positional, Section};

/// A command that is refused.
const fn refused(
    name: &'static str,
    about: &'static str,
    usage: &'static str,
    places: &'static [Positional],
    flags: &'static [Flag],
) -> Command {
    Command::new(name, Section::Cluster, about, refuse).takes(usage, places, flags).notes(
        "This version of Leveret forms no clusters: a node is always on its own, and the command fails with exit code 69.",
    )
}

pub(super) const COMMANDS: &[Command] = &[
    refused(
        "join_cluster",
        "Fails: there are no clusters",
        "[--disc|--ram] <existing_cluster_member>",
        &[Positional::one("member", "a member of the cluster")],
        &[Flag::switch("disc", "as a node with a disk"), Flag::switch("ram", "as a node without one")],
    )
    .needs(Needs::Stopped),
    refused(
        "forget_cluster_node",
        "Fails: there are no clusters",
        "[--offline] <existing_cluster_member_node>",
        &[Positional::one("member", "the member to remove")],
        &[Flag::switch("offline", "while this node is stopped")],
    )
    .banner(|call| Some(format!("Removing node {} from the cluster", call.required("member")))),
    refused(
        "change_cluster_node_type",
        "Fails: there are no clusters",
        "<disc | ram>",
        &[Positional::one("type", "disc or ram")],
        &[],
    )
    .needs(Needs::Stopped),
    refused(
        "rename_cluster_node",
        "Fails: there are no clusters",
        "<oldnode1> <newnode1> [oldnode2] [newnode2] ...",
        &[Positional::many("nodes", "old and new names in turn")],
        &[],
    )
    .needs(Needs::Nothing),
    refused(
        "update_cluster_nodes",
        "Fails: there are no clusters",
        "<seed_node>",
        &[Positional::one("member", "a member of the cluster")],
        &[],
    )
    .needs(Needs::Stopped),
    Command::new("force_boot", Section::Cluster, "Does nothing: a node starts without waiting for others", |_| {
        Ok(Answer::Done)
    })
    .needs(Needs::Stopped),
];

fn refuse(_: &Invocation) -> Result<Answer, Failure> {
    Err(Failure::new(Exit::Unavailable, "this version of Leveret forms no clusters: a node is always on its own"))
}
