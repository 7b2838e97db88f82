//! A back end that knows nobody.

use std::sync::Arc;

use leveret_broker::Name;
use leveret_broker::access::LoginAttempt;

use crate::backend::{Backend, Denial, LoggedIn, Pending};

/// Lets nobody in, as RabbitMQ's of this name, which is for its own use.
#[derive(Debug, Clone, Copy)]
pub struct Dummy;

impl Backend for Dummy {
    fn name(&self) -> &'static str {
        "rabbit_auth_backend_dummy"
    }

    fn authenticate(&self, _attempt: &Arc<LoginAttempt>) -> Pending<Result<LoggedIn, Denial>> {
        Box::pin(async { Err(Denial::Refused("cannot log in conventionally as dummy user".into())) })
    }

    fn authorize(&self, attempt: &Arc<LoginAttempt>, _tags: &[Name]) -> Pending<Result<LoggedIn, Denial>> {
        self.authenticate(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::attempt;

    #[tokio::test]
    async fn nobody_gets_in() {
        for secret in [None, Some(""), Some("right")] {
            let attempt = Arc::new(attempt("guest", secret, "127.0.0.1:1"));
            assert!(Dummy.authenticate(&attempt).await.is_err(), "{secret:?}");
            assert!(Dummy.authorize(&attempt, &[]).await.is_err(), "{secret:?}");
        }
    }
}
