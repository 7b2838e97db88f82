//! The table of all routes, one file per group.

mod limits;
mod overview;
mod permissions;
mod users;
mod vhosts;

use super::Group;

/// All routes.
pub(super) const GROUPS: &[&Group] =
    &[&overview::GROUP, &vhosts::GROUP, &users::GROUP, &permissions::GROUP, &limits::GROUP];
