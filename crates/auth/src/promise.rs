//! An answer that comes whatever happens.

use std::fmt;

use leveret_broker::access::{Outcome, Reply};

/// Owes a session an answer. Dropped without one, as by a panic of a back end or the end of the runtime, it gives what it was made
/// with: nobody waits for ever.
pub(crate) struct Promise {
    state: Option<(Reply, Box<dyn FnOnce() -> Outcome + Send>)>,
}

impl Promise {
    /// Owes this reply, and gives `otherwise` if there is nothing else.
    pub(crate) fn new(reply: Reply, otherwise: impl FnOnce() -> Outcome + Send + 'static) -> Self {
        Self { state: Some((reply, Box::new(otherwise))) }
    }

    /// Owes nothing any more: who asked has the answer.
    pub(crate) fn withdraw(mut self) {
        self.state = None;
    }

    /// Answers.
    pub(crate) fn keep(mut self, outcome: Outcome) {
        if let Some((reply, _)) = self.state.take() {
            reply.send(outcome);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some((reply, otherwise)) = self.state.take() {
            reply.send(otherwise());
        }
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}
