//! What is counted, as a whole.

use super::nodes;
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};

pub(super) const GROUP: Group = Group {
    title: "Statistics",
    routes: &[
        Route {
            path: "/api/reset",
            operations: &[Operation::delete(
                Access::Administrator,
                |ask| Ok(reset(ask)),
                "Forgets the past: samples and rates begin anew, counts go on",
            )],
        },
        Route {
            path: "/api/reset/{node}",
            operations: &[Operation::delete(Access::Administrator, reset_node, "The same for one node")],
        },
    ],
};

fn reset(_: &Ask<'_>) -> Answer {
    // There is no past yet.
    Answer::done()
}

fn reset_node(ask: &Ask<'_>) -> Result<Answer, Failure> {
    nodes::known(ask)?;
    Ok(reset(ask))
}
