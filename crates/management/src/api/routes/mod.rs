//! The table of all routes, one file per group.

mod overview;
mod vhosts;

use super::Group;

/// All routes.
pub(super) const GROUPS: &[&Group] = &[&overview::GROUP, &vhosts::GROUP];
