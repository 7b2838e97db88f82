//! One call of an operation: what it was given, and where its answers go.

use std::cell::RefCell;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;

use hyper::body::Bytes;
use leveret_broker::Error;
use leveret_broker::node::Node;
use leveret_broker::topology::Change;
use leveret_broker::value::{Table, Value as Field};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use zeroize::Zeroize;

use super::{Failure, Kind};
use crate::views::{Columns, Form, Row, View};
use crate::{App, Host, apply, json};

/// Octets of answer that are sent in one go.
const CHUNK: usize = 32 * 1024;

/// How far something is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// What is being done, such as `queues`.
    pub what: &'a str,
    /// So many are done,
    pub done: usize,
    /// of so many.
    pub of: usize,
}

/// A call of an operation. Runs on a thread that may wait. What it was given is not shown, and is wiped: there may be passwords.
pub struct Call<'a> {
    /// The process.
    pub host: &'a dyn Host,
    arguments: Map<String, Value>,
    answer: RefCell<Vec<u8>>,
    to: mpsc::Sender<Bytes>,
}

impl<'a> Call<'a> {
    pub(super) fn new(host: &'a dyn Host, arguments: Map<String, Value>, to: mpsc::Sender<Bytes>) -> Self {
        Self { host, arguments, answer: RefCell::default(), to }
    }

    /// The broker, which has to run.
    pub fn app(&self) -> Result<App, Failure> {
        let stopped = || {
            Failure::new(
                Kind::Unavailable,
                "this command requires the 'rabbit' app to be running on the target node. Start it with 'rabbitmqctl start_app'.",
            )
        };
        self.host.app().ok_or_else(stopped)
    }

    /// The broker's own state, which has to run.
    pub fn node(&self) -> Result<Arc<Node>, Failure> {
        Ok(self.app()?.node)
    }

    /// An argument, if it was given.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.arguments.get(name).filter(|value| !value.is_null())
    }

    /// An argument that has to be text.
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        self.optional_text(name)?.ok_or_else(|| missing(name))
    }

    /// A text, if it was given.
    pub fn optional_text(&self, name: &str) -> Result<Option<&str>, Failure> {
        self.value(name).map(|value| value.as_str().ok_or_else(|| wrong(name, "a text"))).transpose()
    }

    /// A number, if it was given.
    pub fn optional_number(&self, name: &str) -> Result<Option<u64>, Failure> {
        self.value(name).map(|value| value.as_u64().ok_or_else(|| wrong(name, "a number"))).transpose()
    }

    /// A whole number, which may be negative, if it was given.
    pub fn optional_integer(&self, name: &str) -> Result<Option<i64>, Failure> {
        self.value(name).map(|value| value.as_i64().ok_or_else(|| wrong(name, "a whole number"))).transpose()
    }

    /// What the text of an argument says, which has to be JSON: somebody typed it.
    pub fn field(&self, name: &str) -> Result<Field, Failure> {
        json::to_value(&typed(self.text(name)?)?).map_err(|error| no_json(&error))
    }

    /// The same, where only an object makes sense.
    pub fn definition(&self, name: &str) -> Result<Table, Failure> {
        json::to_table(&typed(self.text(name)?)?).map_err(|error| no_json(&error))
    }

    /// Makes a change and waits until it is on disk.
    pub fn change(&self, change: Change) -> Result<Value, Failure> {
        apply(&*self.node()?, change)?;
        Ok(Value::Null)
    }

    /// Gives rows of what there is on the node, as listings have them. Columns may have been chosen.
    pub fn list(&self, rows: impl FnOnce(View<'_>) -> Result<Vec<Row>, Error>) -> Result<Value, Failure> {
        let app = self.app()?;
        let columns = match self.value("columns") {
            Some(_) => Columns::of(self.texts("columns")?),
            None => Columns::All,
        };
        let view = View { node: &app.node, pids: &app.pids, form: Form::Listing, columns: &columns };
        for row in rows(view)? {
            self.row(&row)?;
        }
        Ok(Value::Null)
    }

    /// Whether something was said; not, if nothing was.
    pub fn flag(&self, name: &str) -> Result<bool, Failure> {
        self.value(name).map_or(Ok(false), |value| value.as_bool().ok_or_else(|| wrong(name, "true or false")))
    }

    /// A list of texts; empty, if none was given.
    pub fn texts(&self, name: &str) -> Result<Vec<&str>, Failure> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let texts = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        texts.ok_or_else(|| wrong(name, "a list of texts"))
    }

    /// Gives a row of the answer. Fails once nobody waits for it any more.
    pub fn row(&self, row: &Map<String, Value>) -> Result<(), Failure> {
        self.line(&json!({ "row": row }), false)
    }

    /// Tells something to the person who waits.
    pub fn note(&self, text: &str) -> Result<(), Failure> {
        self.line(&json!({ "note": text }), true)
    }

    /// Tells how far it is, unless who asked is behind with reading: what is being done may keep others waiting, and is not to wait
    /// for a reader. Fails once nobody waits for it any more.
    pub fn progress(&self, Progress { what, done, of }: Progress<'_>) -> Result<(), Failure> {
        // Nobody else sends, so that a free place stays free.
        if is_behind(&self.to) {
            return Ok(());
        }
        self.line(&json!({ "progress": { "what": what, "done": done, "of": of } }), true)
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_deserted(&self) -> bool {
        self.to.is_closed()
    }

    /// Ends the answer.
    pub(super) fn finish(self, result: Result<Value, Failure>) {
        let last = match result {
            Ok(result) => json!({ "result": result }),
            Err(Failure { kind, text }) => json!({ "error": { "kind": kind.name(), "text": text } }),
        };
        // If nobody is left to read it, nobody misses it.
        let _ = self.line(&last, true);
    }

    fn line(&self, line: &Value, at_once: bool) -> Result<(), Failure> {
        let mut answer = self.answer.borrow_mut();
        answer.extend_from_slice(line.to_string().as_bytes());
        answer.push(b'\n');
        if at_once || answer.len() >= CHUNK {
            let chunk = Bytes::from(std::mem::take(&mut *answer));
            self.to.blocking_send(chunk).map_err(|_| Failure::new(Kind::Temporary, "nobody waits for the answer"))?;
        }
        Ok(())
    }
}

impl Debug for Call<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        for (_, value) in &mut self.arguments {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

/// Whether somebody has not read so much that no more can be sent without waiting.
fn is_behind(to: &mpsc::Sender<Bytes>) -> bool {
    to.capacity() == 0 && !to.is_closed()
}

/// Reads JSON that somebody typed.
fn typed(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| no_json(&error))
}

fn no_json(reason: &dyn Display) -> Failure {
    Failure::new(Kind::Unavailable, format!("JSON decoding error. Reason: {reason}"))
}

fn missing(name: &str) -> Failure {
    Failure::new(Kind::Usage, format!("{name} is missing"))
}

fn wrong(name: &str, expected: &str) -> Failure {
    Failure::new(Kind::Usage, format!("{name} has to be {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_behind_while_nothing_more_fits_and_it_is_there() {
        let (to, mut answers) = mpsc::channel(2);
        for behind in [false, false, true] {
            assert_eq!(is_behind(&to), behind);
            let _ = to.try_send(Bytes::new());
        }
        answers.try_recv().unwrap();
        assert!(!is_behind(&to));
        to.try_send(Bytes::new()).unwrap();
        drop(answers);
        assert!(!is_behind(&to), "it is gone, which is to be noticed");
    }
}
