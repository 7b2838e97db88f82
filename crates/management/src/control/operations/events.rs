//! What happens on the node, as it happens.

use std::time::{Duration, Instant};

use leveret_broker::regex::Pattern;
use serde_json::Value;

use super::{Call, Failure, Operation};
use crate::events::{self, Feed};

pub(super) const OPERATIONS: [Operation; 1] = [Operation { name: "event_stream", run: event_stream }];

/// Pause between looks for new events.
const LOOK: Duration = Duration::from_millis(100);

/// Gives events as they come, until the time is up or nobody waits for them any more.
fn event_stream(call: &Call<'_>) -> Result<Value, Failure> {
    let seconds = call.optional_number("seconds")?;
    let end = seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let pattern = call.optional_text("pattern")?.map(Pattern::ignoring_case).transpose();
    let pattern = pattern.map_err(|error| Failure::data(format!("the pattern is no regular expression: {error}")))?;
    let app = call.app()?;
    let (node, pids) = (std::sync::Arc::downgrade(&app.node), app.pids.clone());
    let feed = Feed::new(&app.node);
    // Nobody who waits keeps the broker from being stopped.
    drop(app);
    let mut result = Ok(());
    while result.is_ok() && !call.is_deserted() && end.is_none_or(|end| Instant::now() < end) {
        for event in feed.waiting() {
            if pattern.as_ref().is_none_or(|pattern| pattern.matches(event.name)) {
                result = result.and_then(|()| call.note(&events::line(&event, &pids)));
            }
        }
        if node.strong_count() == 0 {
            break;
        }
        std::thread::sleep(LOOK);
    }
    if let Some(node) = node.upgrade() {
        feed.end(&node);
    }
    result.map(|()| Value::Null)
}
