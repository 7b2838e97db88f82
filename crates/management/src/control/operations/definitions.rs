//! Definitions out of a node and into it.

use std::ops::ControlFlow;

use leveret_broker::topology::Change;
use serde_json::{Map, Value, json};

use super::{Call, Failure, Operation};
use crate::control::{self, Kind};
use crate::definitions::{self, Import, ImportError, Lines, Origin, Scope, Source};

pub(super) const OPERATIONS: [Operation; 2] = [
    Operation { name: "import_definitions", run: import_definitions },
    Operation { name: "export_definitions", run: export_definitions },
];

/// `definitions`, as an object or the text of a file, into all of the broker or into `vhost`. With `dry_run` nothing is changed,
/// and each change is a row. The result has counts by kind and warnings.
fn import_definitions(call: &Call<'_>) -> Result<Value, Failure> {
    let app = call.app()?;
    let read = match call.value("definitions") {
        Some(Value::String(text)) => definitions::read(text),
        Some(value @ Value::Object(_)) => definitions::read_value(value.clone()),
        Some(_) => return Err(Failure::new(Kind::Usage, "definitions has to be an object, or the text of a file")),
        None => return Err(Failure::new(Kind::Usage, "definitions is missing")),
    };
    let read = read.map_err(|error| Failure::data(error.to_string()))?;
    let is_dry_run = call.flag("dry_run")?;
    let source = Source { label: None, definitions: &read };
    let also: [Change; 0] = [];
    let import = Import {
        sources: &[source],
        scope: scope(call)?,
        hashing: app.hashing,
        also: &also,
        lines: if is_dry_run { Lines::Each } else { Lines::None },
    };
    let mut progress = |progress: definitions::Progress| {
        let definitions::Progress { what, done, of } = progress;
        match call.progress(control::Progress { what, done, of }) {
            Ok(()) => ControlFlow::Continue(()),
            // Nobody waits for it any more.
            Err(_) => ControlFlow::Break(()),
        }
    };
    let report = if is_dry_run {
        definitions::preview(&app.node, &import, &mut progress)?
    } else {
        definitions::import(&app.node, &import, &mut progress)?
    };
    for line in report.lines() {
        call.row(&Map::from_iter([("change".to_owned(), json!(line))]))?;
    }
    Ok(report.to_json())
}

/// The definitions of all of the broker or of `vhost`, as the text of a file.
fn export_definitions(call: &Call<'_>) -> Result<Value, Failure> {
    let (node, facts) = (call.node()?, call.host.facts());
    let origin = Origin {
        advertised_version: &facts.advertised_version,
        version: facts.version,
        node_name: &facts.node_name,
        cluster_id: definitions::ClusterId::LeftOut,
    };
    let mut text = Vec::new();
    let written = definitions::export(&node, &scope(call)?, origin, &mut text)?;
    written.map_err(|error| Failure::software(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|error| Failure::software(error.to_string()))?;
    Ok(json!({ "definitions": text }))
}

fn scope(call: &Call<'_>) -> Result<Scope, Failure> {
    Ok(call.optional_text("vhost")?.map_or(Scope::All, |vhost| Scope::Vhost(vhost.into())))
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let kind = match error {
            ImportError::Wrong(_) | ImportError::TooLarge => Kind::Data,
            ImportError::Stopped | ImportError::Hash(_) | ImportError::NotWritten => Kind::Software,
        };
        Self::new(kind, error.to_string())
    }
}
