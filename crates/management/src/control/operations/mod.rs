//! What can be asked for. One file per group, each with its table.

mod access;
mod connections;
mod definitions;
mod events;
mod flags;
mod health;
mod listings;
mod logins;
mod logs;
mod machine;
mod maintenance;
mod node;
mod parameters;
mod plugins;
mod policies;
mod queues;
mod status;
mod users;
mod vhosts;

use serde_json::Value;

use super::{Call, Failure, Kind};

/// Something that can be asked for.
#[derive(Debug)]
pub struct Operation {
    /// Its name, as in the path.
    pub name: &'static str,
    /// Does it; what it gives is the end of the answer.
    pub run: fn(&Call<'_>) -> Result<Value, Failure>,
}

/// Those that take as long as their callers like, and do nothing meanwhile.
const WAITING: [&str; 4] = ["await_startup", "event_stream", "log_stream", "thread_stats"];

impl Operation {
    /// Whether it only waits for something.
    pub(super) fn waits(&self) -> bool {
        WAITING.contains(&self.name)
    }
}

/// All groups.
const GROUPS: &[&[Operation]] = &[
    &access::OPERATIONS,
    &connections::OPERATIONS,
    &definitions::OPERATIONS,
    &events::OPERATIONS,
    &flags::OPERATIONS,
    &health::OPERATIONS,
    &listings::OPERATIONS,
    &logins::OPERATIONS,
    &logs::OPERATIONS,
    &machine::OPERATIONS,
    &maintenance::OPERATIONS,
    &node::OPERATIONS,
    &parameters::OPERATIONS,
    &plugins::OPERATIONS,
    &policies::OPERATIONS,
    &queues::OPERATIONS,
    &status::OPERATIONS,
    &users::OPERATIONS,
    &vhosts::OPERATIONS,
];

/// The operation of that name.
pub(super) fn find(name: &str) -> Option<&'static Operation> {
    GROUPS.iter().flat_map(|group| group.iter()).find(|operation| operation.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_wait_are_there() {
        for name in WAITING {
            assert!(find(name).is_some_and(Operation::waits), "{name}");
        }
        assert!(find("stop").is_some_and(|stop| !stop.waits()));
    }
}
