//! Definitions: everything that is declared and set, out of the node and into it.

use std::ops::ControlFlow;

use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use leveret_broker::Name;
use leveret_broker::topology::Change;
use serde_json::Value;

use crate::api::answer::JSON;
use crate::api::listing::Wanted;
use crate::api::route::{Field, Gives, Kind, Param};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route, multipart};
use crate::definitions::{self, Import, ImportError, Lines, Origin, ReadError, Scope, Source};

pub(super) const GROUP: Group = Group {
    title: "Definitions",
    routes: &[
        Route { path: "/api/definitions", operations: ALL },
        Route { path: "/api/all-configuration", operations: ALL },
        Route {
            path: "/api/definitions/{vhost}",
            operations: &[
                Operation::get(Access::Administrator, export_vhost, "The definitions of a vhost")
                    .query(DOWNLOAD)
                    .gives(Gives::One("Definitions")),
                Operation::post(
                    Access::Administrator,
                    import_vhost,
                    "Imports definitions into a vhost, all of them or none; also from a file of a form, in its field file",
                )
                .body(DEFINITIONS),
            ],
        },
    ],
};

const ALL: &[Operation] = &[
    Operation::get(Access::Administrator, export_all, "The definitions of the whole broker")
        .query(DOWNLOAD)
        .gives(Gives::One("Definitions")),
    Operation::post(
        Access::Administrator,
        import_all,
        "Imports definitions, all of them or none; also from a file of a form, in its field file",
    )
    .body(DEFINITIONS),
];

const DOWNLOAD: &[Param] = &[Param { name: "download", help: "the name of the file that a browser keeps them in" }];

const DEFINITIONS: &[Field] = &[
    Field::optional("users", Kind::List, "users"),
    Field::optional("vhosts", Kind::List, "vhosts"),
    Field::optional("permissions", Kind::List, "what users may do"),
    Field::optional("topic_permissions", Kind::List, "with which routing keys"),
    Field::optional("parameters", Kind::List, "runtime parameters, operator policies among them"),
    Field::optional("global_parameters", Kind::List, "parameters of the whole broker"),
    Field::optional("policies", Kind::List, "policies"),
    Field::optional("queues", Kind::List, "queues"),
    Field::optional("exchanges", Kind::List, "exchanges"),
    Field::optional("bindings", Kind::List, "bindings"),
];

/// The field of a form that has the file.
const FILE: &str = "file";

fn export_all(ask: &Ask<'_>) -> Result<Answer, Failure> {
    export(ask, &Scope::All)
}

fn export_vhost(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhost = ask.vhost().map_err(|_| Failure::bad_request("vhost_not_found"))?;
    export(ask, &Scope::Vhost(vhost))
}

fn export(ask: &Ask<'_>, scope: &Scope) -> Result<Answer, Failure> {
    let facts = ask.host().facts();
    let origin = Origin {
        advertised_version: &facts.advertised_version,
        version: facts.version,
        node_name: &facts.node_name,
        cluster_id: definitions::ClusterId::Told,
    };
    let mut text = Vec::new();
    let written = definitions::export(ask.node(), scope, origin, &mut text)?;
    written.map_err(|error| Failure::failed(error.to_string()))?;
    let answer = match ask.query().get("columns") {
        None => Answer::text(JSON, text),
        columns => match serde_json::from_slice(&text) {
            Ok(Value::Object(sections)) => Answer::json(&Wanted::read(columns).cut(sections)),
            _ => return Err(Failure::failed("the definitions are not what they should be")),
        },
    };
    let answer = match ask.query().get("download") {
        Some(name) => answer.header(CONTENT_DISPOSITION, &attachment(name)),
        None => answer,
    };
    Ok(answer.tagged())
}

/// Has a browser keep it in a file of that name.
fn attachment(name: &str) -> String {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_' | b'@' | b'+');
    if !name.is_empty() && name.bytes().all(is_plain) {
        return format!("attachment; filename={name}");
    }
    let shown = |character: char| match character {
        '"' | '\\' | '/' => '_',
        character if character.is_ascii_graphic() || character == ' ' => character,
        _ => '_',
    };
    format!("attachment; filename=\"{}\"", name.chars().map(shown).collect::<String>())
}

fn import_all(ask: &Ask<'_>) -> Result<Answer, Failure> {
    import(ask, Scope::All)
}

fn import_vhost(ask: &Ask<'_>) -> Result<Answer, Failure> {
    import(ask, Scope::Vhost(ask.target_vhost()?))
}

fn import(ask: &Ask<'_>, scope: Scope) -> Result<Answer, Failure> {
    let text = std::str::from_utf8(file(ask)?).map_err(|_| no_json())?;
    let read = definitions::read(text).map_err(|error| match error {
        ReadError::Syntax { .. } => no_json(),
        // What is no object at all is found at its beginning.
        ReadError::Content { .. } if !text.trim_start().starts_with('{') => no_json(),
        ReadError::Content { text } => Failure::bad_request(text),
    })?;
    let user = Name::clone(&ask.user()?.name);
    // As with a vhost that is created by itself.
    let also: Vec<Change> = ask.node().read(|topology| match (&scope, topology.user(&user)) {
        (Scope::All, Ok(_)) => read.grants(&user, |vhost| topology.vhost(vhost).is_err()),
        (Scope::All, Err(_)) | (Scope::Vhost(_), _) => Vec::new(),
    });
    let import = Import {
        sources: &[Source { label: None, definitions: &read }],
        scope,
        hashing: ask.app().hashing,
        also: &also,
        lines: Lines::None,
    };
    let report = definitions::import(ask.node(), &import, &mut |_| ControlFlow::Continue(()))?;
    tracing::info!("user '{user}' imported definitions over HTTP");
    for warning in report.warnings() {
        tracing::warn!("imported definitions: {warning}");
    }
    Ok(Answer::done())
}

fn no_json() -> Failure {
    Failure::bad_request("failed_to_parse_json")
}

/// The body, or the file in the form that it is.
fn file<'a>(ask: &'a Ask<'_>) -> Result<&'a [u8], Failure> {
    match ask.header(&CONTENT_TYPE).and_then(multipart::boundary) {
        None => Ok(&ask.body),
        Some(boundary) => multipart::part(&ask.body, boundary, FILE)
            .ok_or_else(|| Failure::bad_request(format!("the form has no field '{FILE}'"))),
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Wrong(_) | ImportError::TooLarge => Self::bad_request(error.to_string()),
            ImportError::Stopped | ImportError::Hash(_) | ImportError::NotWritten => Self::failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_cannot_say_anything_else() {
        for (name, expected) in [
            ("rabbit_host_2026-1-31.json", "attachment; filename=rabbit_host_2026-1-31.json"),
            ("a b.json", "attachment; filename=\"a b.json\""),
            ("a\"; x=\"\r\nb/ü", "attachment; filename=\"a_; x=___b__\""),
            ("", "attachment; filename=\"\""),
        ] {
            assert_eq!(attachment(name), expected, "{name:?}");
        }
    }
}
