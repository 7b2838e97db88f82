//! Who says what the clients may do: at once, or later, a part of what was asked at a time.

use std::sync::{Arc, Mutex};

use leveret_broker::access::{
    Answer, Authenticator, Authority, Identity, LoginAttempt, LoginFailure, Outcome, Question, RenewalFailure, Reply,
    Secret,
};
use leveret_broker::node::Node;

use crate::random::Random;

/// The only user there is.
const USER: &str = "guest";
/// How long answers that came later hold, in milliseconds.
const HOLD_MS: u64 = 50;

#[derive(Debug)]
pub(crate) struct Access {
    node: Arc<Node>,
    is_late: bool,
    asked: Mutex<Vec<(Question, Reply)>>,
}

impl Access {
    pub(crate) fn new(node: &Arc<Node>, is_late: bool) -> Arc<Self> {
        Arc::new(Self { node: Arc::clone(node), is_late, asked: Mutex::default() })
    }

    fn known(&self, question: &Question) -> Answer {
        self.node.read(|topology| topology.answer(USER, question))
    }

    /// Answers some of what was asked, if anything was; says whether it did.
    pub(crate) fn answer(&self, random: &mut Random) -> bool {
        let mut asked = self.asked.lock().unwrap();
        if asked.is_empty() {
            return false;
        }
        for _ in 0..=random.below(asked.len()) {
            let index = random.below(asked.len());
            let (question, reply) = asked.swap_remove(index);
            let answer = self.known(&question);
            reply.send(Outcome::Answered(question, answer));
        }
        true
    }
}

/// Lets the user in.
#[derive(Debug)]
pub(crate) struct Door(pub(crate) Arc<Access>);

impl Authenticator for Door {
    fn log_in(&self, attempt: LoginAttempt, _reply: Reply) -> Option<Result<Identity, LoginFailure>> {
        let name = attempt.name;
        if &*name != USER {
            return Some(Err(LoginFailure::Refused { user: name, reason: "no such user".into() }));
        }
        let authority = Arc::new(Rights(Arc::clone(&self.0)));
        Some(Ok(Identity { name, tags: Arc::new([]), expires: None, authority }))
    }
}

#[derive(Debug)]
struct Rights(Arc<Access>);

impl Authority for Rights {
    fn ask(&self, question: &Question, reply: Reply) -> Option<Answer> {
        // A client begins with its vhost open.
        if !self.0.is_late || matches!(question, Question::Vhost { .. }) {
            return Some(self.0.known(question));
        }
        self.0.asked.lock().unwrap().push((question.clone(), reply));
        None
    }

    fn renew(&self, _secret: Secret, _reply: Reply) -> Option<Result<Identity, RenewalFailure>> {
        Some(Err(RenewalFailure::Refused))
    }

    fn answers_expire_after_ms(&self) -> Option<u64> {
        self.0.is_late.then_some(HOLD_MS)
    }
}
