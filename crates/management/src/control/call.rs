//! One call of an operation: what it was given, and where its answers go.

use std::cell::RefCell;
use std::sync::Arc;

use hyper::body::Bytes;
use leveret_broker::node::Node;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::{Failure, Kind};
use crate::{App, Host};

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

/// A call of an operation. Runs on a thread that may wait.
#[derive(Debug)]
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

    /// Tells how far it is.
    pub fn progress(&self, Progress { what, done, of }: Progress<'_>) -> Result<(), Failure> {
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

fn missing(name: &str) -> Failure {
    Failure::new(Kind::Usage, format!("{name} is missing"))
}

fn wrong(name: &str, expected: &str) -> Failure {
    Failure::new(Kind::Usage, format!("{name} has to be {expected}"))
}
