//! How many tried to log in.

use leveret_auth::{Counts, SourceTracking};
use serde_json::{Map, Value, json};

use super::{Call, Failure, Operation};

pub(super) const OPERATIONS: [Operation; 4] = [
    Operation { name: "forget_logins", run: forget },
    Operation { name: "list_auth_attempts", run: list_auth_attempts },
    Operation { name: "reset_auth_attempts", run: reset_auth_attempts },
    Operation { name: "track_auth_attempts", run: track_auth_attempts },
];

fn list_auth_attempts(call: &Call<'_>) -> Result<Value, Failure> {
    let app = call.app()?;
    let attempts = app.logins.attempts();
    let row = |mut row: Map<String, Value>, counts: Counts| {
        row.insert("auth_attempts".to_owned(), json!(counts.attempts));
        row.insert("auth_attempts_failed".to_owned(), json!(counts.failed));
        row.insert("auth_attempts_succeeded".to_owned(), json!(counts.succeeded));
        call.row(&row)
    };
    if call.flag("by_source")? {
        for (source, counts) in attempts.by_source() {
            let address = source.address.map(|address| address.to_string()).unwrap_or_default();
            let fields = [
                ("remote_address".to_owned(), json!(address)),
                ("username".to_owned(), json!(&*source.user)),
                ("protocol".to_owned(), json!(source.protocol)),
            ];
            row(Map::from_iter(fields), counts)?;
        }
    } else {
        for (protocol, counts) in attempts.by_protocol() {
            row(Map::from_iter([("protocol".to_owned(), json!(protocol))]), counts)?;
        }
    }
    Ok(Value::Null)
}

fn reset_auth_attempts(call: &Call<'_>) -> Result<Value, Failure> {
    call.app()?.logins.attempts().reset();
    Ok(Value::Null)
}

fn track_auth_attempts(call: &Call<'_>) -> Result<Value, Failure> {
    let tracking = if call.flag("on")? { SourceTracking::On } else { SourceTracking::Off };
    call.app()?.logins.attempts().track(tracking);
    Ok(Value::Null)
}

/// Makes back ends forget the answers they remember.
fn forget(call: &Call<'_>) -> Result<Value, Failure> {
    call.app()?.logins.forget();
    Ok(Value::Null)
}
