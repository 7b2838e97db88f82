//! Traces of messages in files, as the plugin `rabbitmq_tracing` has them. Without the plugin there are none of these paths.

use std::io;
use std::path::PathBuf;

use leveret_broker::Name;
use serde_json::{Value, json};

use super::nodes;
use crate::api::listing;
use crate::api::route::{Field, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::traces::{self, Format, Spec, TraceError};
use crate::views::Row;

/// The plugin that has them.
const PLUGIN: &str = "rabbitmq_tracing";
/// Octets of a file that are sent; of a larger one its end.
const FILE_MAX: u64 = 64 * 1024 * 1024;

pub(super) const GROUP: Group = Group {
    title: "Traces",
    routes: &[
        Route { path: "/api/traces", operations: &[LIST] },
        Route { path: "/api/traces/node/{node}", operations: &[LIST] },
        Route { path: "/api/traces/{vhost}", operations: &[LIST_VHOST] },
        Route { path: "/api/traces/node/{node}/{vhost}", operations: &[LIST_VHOST] },
        Route { path: "/api/traces/{vhost}/{name}", operations: &[GET, PUT, DELETE] },
        Route { path: "/api/traces/node/{node}/{vhost}/{name}", operations: &[GET, PUT, DELETE] },
        Route { path: "/api/trace-files", operations: &[FILES] },
        Route { path: "/api/trace-files/node/{node}", operations: &[FILES] },
        Route { path: "/api/trace-files/{name}", operations: &[READ, DELETE_FILE] },
        Route { path: "/api/trace-files/node/{node}/{name}", operations: &[READ, DELETE_FILE] },
    ],
};

const LIST: Operation = Operation::get(Access::Administrator, list, "All traces").gives(Gives::All("Trace"));
const LIST_VHOST: Operation =
    Operation::get(Access::Administrator, list_vhost, "The traces of a vhost").gives(Gives::All("Trace"));
const GET: Operation = Operation::get(Access::Administrator, get, "A trace").gives(Gives::One("Trace"));
const PUT: Operation = Operation::put(
    Access::Administrator,
    put,
    "Begins to write messages that come into and go out of the vhost to the file NAME.log",
)
.body(&[
    Field::needed("format", Kind::Text, "`text` for people, `json` for a line of JSON for each message"),
    Field::needed("pattern", Kind::Text, "which: `#` for all, `publish.EXCHANGE`, `deliver.QUEUE`, with `*` and `#`"),
    Field::optional("max_payload_bytes", Kind::Number, "how much of each body is written; all if it is not said"),
    Field::optional("tracer_connection_username", Kind::Text, "told again when it is listed, and needed for nothing"),
    Field::optional("tracer_connection_password", Kind::Text, "not needed"),
]);
const DELETE: Operation = Operation::delete(Access::Administrator, delete, "Ends a trace; its file stays");
const FILES: Operation =
    Operation::get(Access::Administrator, files, "The files of traces").gives(Gives::All("TraceFile"));
const READ: Operation =
    Operation::get(Access::Administrator, read, "A file, as plain text; of one beyond 64 MiB its end");
const DELETE_FILE: Operation = Operation::delete(Access::Administrator, delete_file, "Deletes a file");

/// The folder of the files, if the plugin is on and the path names this node or none.
fn folder(ask: &Ask<'_>) -> Result<PathBuf, Failure> {
    if !ask.host().plugins().iter().any(|plugin| plugin.name == PLUGIN && plugin.running) {
        return Err(Failure::not_found());
    }
    let facts = if ask.part("node").is_empty() { ask.host().facts() } else { nodes::known(ask)? };
    Ok(traces::folder(&facts.data_dir))
}

fn row(spec: Spec) -> Row {
    let Spec { vhost, name, format, pattern, max_payload, user } = spec;
    let mut row = Row::from_iter([
        ("vhost".to_owned(), json!(&*vhost)),
        ("name".to_owned(), json!(name)),
        ("format".to_owned(), json!(format.as_str())),
    ]);
    if let Some(octets) = max_payload {
        row.insert("max_payload_bytes".to_owned(), json!(octets));
    }
    row.insert("pattern".to_owned(), json!(pattern));
    if let Some(user) = user {
        row.insert("tracer_connection_username".to_owned(), json!(user));
    }
    row
}

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    folder(ask)?;
    listing::whole(ask, ask.traces().list(None).into_iter().map(row).collect())
}

fn list_vhost(ask: &Ask<'_>) -> Result<Answer, Failure> {
    folder(ask)?;
    let vhost = ask.vhost()?;
    listing::whole(ask, ask.traces().list(Some(&vhost)).into_iter().map(row).collect())
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    folder(ask)?;
    let mut known = ask.traces().list(Some(ask.part("vhost"))).into_iter();
    let spec = known.find(|spec| spec.name == ask.part("name")).ok_or_else(Failure::not_found)?;
    Ok(Answer::json(&Value::Object(row(spec))))
}

fn put(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let folder = folder(ask)?;
    let vhost: Name = ask.vhost()?;
    let members = ask.members()?;
    members.need(&["format", "pattern"])?;
    let format = members.needed_text("format")?;
    let format = Format::parse(format).ok_or_else(|| Failure::bad_request("format not json or text"))?;
    let not_whole = |_| Failure::bad_request("max_payload_bytes not integer");
    let max_payload = members.number("max_payload_bytes").map_err(not_whole)?;
    let max_payload = max_payload.map(|octets| usize::try_from(octets).unwrap_or_default());
    let spec = Spec {
        vhost,
        name: ask.part("name").to_owned(),
        format,
        pattern: members.needed_text("pattern")?.to_owned(),
        max_payload,
        user: members.text("tracer_connection_username")?.map(str::to_owned),
    };
    match ask.traces().start(ask.node(), &folder, spec) {
        Ok(()) => Ok(Answer::created()),
        Err(error @ TraceError::File(_)) => Err(Failure::failed(error.to_string())),
        Err(error) => Err(Failure::bad_request(error.to_string())),
    }
}

fn delete(ask: &Ask<'_>) -> Result<Answer, Failure> {
    folder(ask)?;
    let is_ended = ask.traces().stop(ask.node(), ask.part("vhost"), ask.part("name"));
    if is_ended { Ok(Answer::done()) } else { Err(Failure::not_found()) }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unreadable(error: io::Error) -> Failure {
    Failure::failed(error.to_string())
}

fn files(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let files = traces::files(&folder(ask)?).map_err(unreadable)?;
    let row = |file: traces::TraceFile| {
        Row::from_iter([("name".to_owned(), json!(file.name)), ("size".to_owned(), json!(file.size))])
    };
    listing::whole(ask, files.into_iter().map(row).collect())
}

fn read(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let octets = traces::read(&folder(ask)?, ask.part("name"), FILE_MAX).map_err(unreadable)?;
    octets.map(|octets| Answer::text("text/plain", octets)).ok_or_else(Failure::not_found)
}

fn delete_file(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let is_deleted = traces::delete(&folder(ask)?, ask.part("name")).map_err(unreadable)?;
    if is_deleted { Ok(Answer::done()) } else { Err(Failure::not_found()) }
}
