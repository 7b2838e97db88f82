//! Vhosts.

use leveret_broker::topology::Change;

use crate::api::listing::{self, Wanted};
use crate::api::route::Gives;
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::views::Columns;

pub(super) const GROUP: Group = Group {
    title: "Vhosts",
    routes: &[
        Route {
            path: "/api/vhosts",
            operations: &[Operation::get(Access::Management, list, "All vhosts that the user can see")
                .gives(Gives::Many("Vhost"))],
        },
        Route {
            path: "/api/vhosts/{vhost}",
            operations: &[
                Operation::get(Access::VisibleVhost, get, "A vhost").gives(Gives::One("Vhost")),
                Operation::delete(Access::Administrator, delete, "Deletes a vhost with everything in it"),
            ],
        },
    ],
};

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhosts = ask.visible_vhosts();
    let view = ask.view(&Columns::All);
    let rows = vhosts.iter().filter_map(|vhost| view.vhost(vhost).ok()).collect();
    listing::of_rows(ask, rows)
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let wanted = Wanted::read(ask.query().get("columns"));
    Ok(Answer::json(&wanted.cut(ask.view(wanted.roots()).vhost(&ask.vhost()?)?)))
}

fn delete(ask: &Ask<'_>) -> Result<Answer, Failure> {
    ask.change(Change::DeleteVhost { vhost: ask.vhost()? })?;
    Ok(Answer::done())
}
