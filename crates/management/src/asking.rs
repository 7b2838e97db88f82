//! Questions about users, for threads that can wait for the answer.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use leveret_broker::access::{Answer, Authority, Outcome, Question, Reason, Reply};
use leveret_broker::mailbox::{Event, Inbox, Mailbox};

use crate::park;

/// How long a back end may take. They have limits of their own, which are shorter.
const PATIENCE: Duration = Duration::from_mins(1);

/// Asks, and waits for the answer.
pub(crate) fn ask(authority: &dyn Authority, question: &Question) -> Answer {
    let mailbox = Arc::new(Mailbox::default());
    if let Some(answer) = authority.ask(question, Reply::new(Arc::clone(&mailbox), 0)) {
        return answer;
    }
    let until = Instant::now() + PATIENCE;
    let waker = park::waker();
    let mut inbox = Inbox::default();
    loop {
        while mailbox.register(&waker) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Answer::Failed(Reason { backend: "", text: "there was no answer in time".into() });
            }
            thread::park_timeout(left);
        }
        mailbox.take(&mut inbox);
        for event in inbox.events.drain(..) {
            if let Event::Access { outcome, .. } = event
                && let Outcome::Answered(_, answer) = *outcome
            {
                return answer;
            }
        }
    }
}
