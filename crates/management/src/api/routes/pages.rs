//! What describes this interface.

use crate::api::answer::HTML;
use crate::api::route::Gives;
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route, index, openapi};

pub(super) const GROUP: Group = Group {
    title: "This interface",
    routes: &[
        Route { path: "/api/index.html", operations: &[Operation::get(Access::Reader, page, "This page").media(HTML)] },
        Route {
            path: "/api/openapi.json",
            operations: &[Operation::get(
                Access::Reader,
                document,
                "The same for programs, in the form of OpenAPI 3.1",
            )
            .gives(Gives::One("OpenApi"))],
        },
    ],
};

fn page(ask: &Ask<'_>) -> Result<Answer, Failure> {
    Ok(Answer::text(HTML, index::page(ask.host().facts().version, &ask.settings().path_prefix)).tagged())
}

fn document(ask: &Ask<'_>) -> Result<Answer, Failure> {
    Ok(Answer::json(&openapi::document(ask.host().facts().version, &ask.settings().path_prefix)).tagged())
}
