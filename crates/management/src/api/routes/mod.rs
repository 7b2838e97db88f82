//! The table of all routes, one file per group.

mod authentication;
mod definitions;
mod limits;
mod overview;
mod parameters;
mod permissions;
mod policies;
mod users;
mod vhosts;

use super::Group;

/// All routes.
pub(super) const GROUPS: &[&Group] = &[
    &overview::GROUP,
    &vhosts::GROUP,
    &users::GROUP,
    &permissions::GROUP,
    &limits::GROUP,
    &policies::GROUP,
    &parameters::GROUP,
    &definitions::GROUP,
    &authentication::GROUP,
];
