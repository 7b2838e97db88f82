//! Feature flags, and features that RabbitMQ is about to take away.

use serde_json::{Value, json};

use crate::api::listing;
use crate::api::route::{Field, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::flags;
use crate::views::Row;

pub(super) const GROUP: Group = Group {
    title: "Feature flags",
    routes: &[
        Route {
            path: "/api/feature-flags",
            operations: &[Operation::get(Access::Administrator, list, "All feature flags; all are enabled")
                .gives(Gives::All("FeatureFlag"))],
        },
        Route {
            path: "/api/feature-flags/{name}/enable",
            operations: &[Operation::put(
                Access::Administrator,
                enable,
                "Enables a feature flag, which it is already; 400 for one that is not known",
            )
            .body(&[Field::optional("name", Kind::Text, "Its name once more")])
            .json_only()],
        },
        Route {
            path: "/api/deprecated-features",
            operations: &[Operation::get(
                Access::Administrator,
                |ask| deprecated(ask, false),
                "What RabbitMQ is about to take away, as far as it is here",
            )
            .gives(Gives::All("DeprecatedFeature"))],
        },
        Route {
            path: "/api/deprecated-features/used",
            operations: &[Operation::get(
                Access::Administrator,
                |ask| deprecated(ask, true),
                "What of it is in use on this node",
            )
            .gives(Gives::All("DeprecatedFeature"))],
        },
    ],
};

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    rows(ask, flags::rows())
}

fn deprecated(ask: &Ask<'_>, is_in_use_only: bool) -> Result<Answer, Failure> {
    rows(ask, flags::deprecated(ask.node(), is_in_use_only))
}

fn rows(ask: &Ask<'_>, rows: Vec<Value>) -> Result<Answer, Failure> {
    let row = |value| match value {
        Value::Object(row) => Some(row),
        _ => None,
    };
    listing::whole(ask, rows.into_iter().filter_map(row).collect::<Vec<Row>>())
}

fn enable(ask: &Ask<'_>) -> Result<Answer, Failure> {
    ask.object()?;
    let name = ask.part("name");
    if flags::is_known(name) { Ok(Answer::done()) } else { Err(Failure::bad_request(json!("unsupported"))) }
}
