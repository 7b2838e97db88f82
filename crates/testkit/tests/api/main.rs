//! The HTTP API against a broker: what it answers is what `RabbitMQ`'s management plugin does.
//!
//! A group is a file in `scenarios`: requests that are made in order to a fresh node of its own. `recorded` has what
//! `RabbitMQ` 3.10 answered to them, `differences` where the answer here is meant to be another one, and why: whole
//! answers, or fields. A listed difference that is none any more fails, too.
//!
//! * `cargo test -p leveret-testkit --test api users` compares one group.
//! * `RABBITMQ_TOOLS=/usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8/sbin cargo test ...` does it with the `RabbitMQ` that
//!   has its tools there, which must not differ at all.
//! * `LEVERET_RECORD=1` together with it writes `recorded` anew.
//! * `LEVERET_API_ALL=1` also compares the groups that are not complete.
//!
//! The answers that were not as expected are left in the target directory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test reports a failure")]
#![allow(clippy::indexing_slicing, reason = "an index out of bounds fails the test, as it should")]

mod answer;
mod beyond;
#[path = "../cli/client.rs"]
mod client;
mod compare;
mod diff;
mod http;
mod node;
mod normal;
mod rules;
mod run;
mod script;

use compare::Ready;

/// A test per group. Only the groups that are ready run against the broker of this project.
macro_rules! groups {
    ($($group:ident: $ready:ident,)*) => {
        $(
            #[test]
            fn $group() {
                compare::group(stringify!($group), Ready::$ready);
            }
        )*

        /// Every group there is.
        const GROUPS: &[&str] = &[$(stringify!($group)),*];
    };
}

groups! {
    asking: Yes,
    bindings: Yes,
    connections: Yes,
    counts: Yes,
    definitions: Yes,
    exchanges: Yes,
    health: Yes,
    messages: Yes,
    node: No,
    paging: Yes,
    parameters: Yes,
    permissions: Yes,
    policies: Yes,
    queues: No,
    tracing: No,
    users: Yes,
    vhosts: Yes,
    visibility: Yes,
}

#[test]
fn every_file_belongs_to_a_group_and_every_group_is_recorded() {
    let mut wrong = Vec::new();
    for folder in [compare::SCENARIOS, compare::RECORDED, compare::DIFFERENCES] {
        for name in compare::names(folder) {
            if !GROUPS.contains(&name.as_str()) && name != compare::EVERYWHERE {
                wrong.push(format!("{folder}/{name}.txt belongs to no group"));
            }
        }
    }
    for group in GROUPS {
        if let Err(error) = compare::recording(group) {
            wrong.push(error);
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
