//! The table of all routes, one file per group.

mod authentication;
mod bindings;
mod definitions;
mod exchanges;
mod limits;
mod overview;
mod parameters;
mod permissions;
mod policies;
mod queues;
mod replicas;
mod users;
mod vhosts;

use super::Group;

/// All routes.
pub(super) const GROUPS: &[&Group] = &[
    &overview::GROUP,
    &exchanges::GROUP,
    &queues::GROUP,
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
];
