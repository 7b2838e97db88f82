//! The table of all routes, one file per group.

#![allow(clippy::unnecessary_wraps, reason = "handlers have one signature")]

mod authentication;
mod bindings;
mod channels;
mod connections;
mod definitions;
mod exchanges;
mod flags;
mod health;
mod limits;
mod messages;
mod nodes;
mod overview;
mod pages;
mod parameters;
mod permissions;
mod policies;
mod queues;
mod replicas;
mod statistics;
mod traces;
mod users;
mod vhosts;

use super::Group;

/// All routes.
pub(super) const GROUPS: &[&Group] = &[
    &overview::GROUP,
    &nodes::GROUP,
    &exchanges::GROUP,
    &queues::GROUP,
    &messages::GROUP,
    &replicas::GROUP,
    &bindings::GROUP,
    &vhosts::GROUP,
    &users::GROUP,
    &permissions::GROUP,
    &limits::GROUP,
    &policies::GROUP,
    &parameters::GROUP,
    &definitions::GROUP,
    &authentication::GROUP,
    &health::GROUP,
    &flags::GROUP,
    &statistics::GROUP,
    &traces::GROUP,
    &connections::GROUP,
    &channels::GROUP,
    &pages::GROUP,
];
