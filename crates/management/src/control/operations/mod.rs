//! What can be asked for. One file per group, each with its table.

mod connections;
mod listings;
mod queues;
mod users;

use serde_json::Value;

use super::{Call, Failure};

/// Something that can be asked for.
#[derive(Debug)]
pub struct Operation {
    /// Its name, as in the path.
    pub name: &'static str,
    /// Does it; what it gives is the end of the answer.
    pub run: fn(&Call<'_>) -> Result<Value, Failure>,
}

/// All groups.
const GROUPS: [&[Operation]; 4] =
    [&connections::OPERATIONS, &listings::OPERATIONS, &queues::OPERATIONS, &users::OPERATIONS];

/// The operation of that name.
pub(super) fn find(name: &str) -> Option<&'static Operation> {
    GROUPS.iter().flat_map(|group| group.iter()).find(|operation| operation.name == name)
}
