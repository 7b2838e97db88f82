//! The past: samples of numbers, so that rates can be told and charts drawn.
//!
//! Nothing is sampled on the way of a message. Every five seconds one thread reads the counters there are ([`sampler`]). Two samples
//! of everything that ever moved are kept, for its rate; more, for charts, of the node and its vhosts, and of as many other things
//! as there is room for, those first that somebody looks at. What rests takes one sample however long it does ([`series`]).

mod ages;
mod details;
mod sampler;
mod series;
mod subject;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::Value as Json;

pub(crate) use self::ages::Ages;
use self::details::details;
use self::series::Series;
pub(crate) use self::subject::Subject;
use crate::views::Row;

/// How far apart samples are, in milliseconds.
const INTERVAL_MS: u64 = 5_000;
/// Things other than the node and vhosts of which more than two samples are kept. One that never rests takes some 20 KB.
const REMEMBERED_MAX: usize = 2_000;
/// As many again, of what somebody looks at.
const LOOKED_AT_MAX: usize = 2_000;
/// How long something is looked at since the last look, in milliseconds.
const LOOK_MS: u64 = 600_000;

/// The past of a node.
#[derive(Debug, Default)]
pub(crate) struct History {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Subject, Known>,
    /// How many of them are remembered.
    remembered: usize,
    /// When samples were taken last, in milliseconds since 1970; 0 for never.
    sampled_at: u64,
}

#[derive(Debug)]
struct Known {
    series: Series,
    looked_at: u64,
}

impl History {
    /// Forgets everything.
    pub(crate) fn reset(&self) {
        *self.state.lock() = State::default();
    }

    /// Adds the details of every number in a row that has a past: `messages_details` beside `messages`.
    pub(crate) fn add_details(&self, subject: &Subject, ages: &Ages, row: &mut Row) {
        let now = now_ms();
        let mut state = self.state.lock();
        if subject.is_seen_only() {
            state.see(subject, now, row);
        }
        if ages.is_some() || subject.is_seen_only() {
            state.look(subject, now);
        }
        let series = state.known.get(subject).map(|known| &known.series);
        let fields = subject.fields().iter().flat_map(|fields| fields.iter());
        for (index, field) in fields.enumerate() {
            let holder = match field.within {
                None => Some(&mut *row),
                Some(name) => row.get_mut(name).and_then(Json::as_object_mut),
            };
            let Some(holder) = holder.filter(|holder| holder.get(field.name).is_some_and(Json::is_number)) else {
                continue;
            };
            let details = details(series, index, field.kind, ages.of(field.kind), now);
            holder.insert(field.details.into(), details);
        }
    }
}

impl State {
    /// Takes a sample. What is new was all zero at the time of the sample before, unless there was none.
    fn sample(&mut self, subject: Subject, at: u64, values: &[u64]) {
        let is_kept = self.remembered < REMEMBERED_MAX || subject.retention().len() > 2;
        let before = if self.sampled_at == 0 { at } else { self.sampled_at };
        let known = self.known.entry(subject);
        let retention = known.key().retention();
        let known =
            known.or_insert_with(|| Known { series: Series::since(before.min(at), values.len()), looked_at: 0 });
        if known.series.last_at() == at {
            // It is the first of all: whatever it had before, that was not within this interval.
            known.series.push(at, values);
        }
        known.series.push(at, values);
        if is_kept && known.series.is_moving() && !known.series.remembers() {
            known.series.remember(retention);
            self.remembered += 1;
        }
    }

    /// Forgets what was not sampled at this time, and what nobody looks at any more; and makes room.
    fn tidy(&mut self, at: u64) {
        let is_full = self.remembered >= REMEMBERED_MAX;
        let mut remembered = 0;
        self.known.retain(|subject, known| {
            let is_looked_at = known.looked_at + LOOK_MS > at;
            if subject.is_seen_only() {
                return is_looked_at;
            }
            if is_full && !is_looked_at && known.series.is_resting() {
                known.series.forget();
            }
            remembered += usize::from(known.series.remembers());
            known.series.last_at() == at
        });
        self.remembered = remembered;
        self.sampled_at = at;
    }

    /// Somebody looks at its past.
    fn look(&mut self, subject: &Subject, now: u64) {
        let Some(known) = self.known.get_mut(subject) else { return };
        known.looked_at = now;
        if !known.series.remembers() && self.remembered < REMEMBERED_MAX + LOOKED_AT_MAX {
            known.series.remember(subject.retention());
            self.remembered += 1;
        }
    }

    /// Takes a sample out of a row, unless the last one is too young.
    fn see(&mut self, subject: &Subject, now: u64, row: &Row) {
        let known = self.known.get(subject);
        if known.is_some_and(|known| known.series.last_at() + INTERVAL_MS > now) {
            return;
        }
        if known.is_none() && self.known.len() > sampler::SUBJECTS_MAX {
            return;
        }
        let fields = subject.fields().iter().flat_map(|fields| fields.iter());
        let value = |field: &subject::Field| {
            let holder = match field.within {
                None => Some(row),
                Some(name) => row.get(name).and_then(Json::as_object),
            };
            holder.and_then(|holder| holder.get(field.name)).and_then(Json::as_u64).unwrap_or_default()
        };
        let values: Vec<u64> = fields.map(value).collect();
        let is_new = known.is_none();
        let known = self.known.entry(subject.clone());
        let known = known.or_insert_with(|| Known { series: Series::since(now, values.len()), looked_at: now });
        if is_new {
            known.series.push(now, &values);
        }
        known.series.push(now, &values);
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Keeps taking samples until nobody has the history any more.
pub(crate) fn start(host: Arc<dyn crate::Host>, runtime: &tokio::runtime::Handle) -> Arc<History> {
    let history = Arc::<History>::default();
    runtime.spawn(sampler::run(host, Arc::downgrade(&history)));
    history
}

#[cfg(test)]
mod tests {
    use leveret_broker::topology::{ConnectionId, QueueId};
    use serde_json::json;

    use super::*;

    fn row(value: Json) -> Row {
        match value {
            Json::Object(row) => row,
            other => panic!("{other} is no object"),
        }
    }

    fn rate_of(history: &History, queue: u64) -> Json {
        let mut row = row(json!({"messages": 1, "name": "q", "message_stats": {"publish": 5, "publish_in": 1}}));
        history.add_details(&Subject::Queue(QueueId(queue)), &Ages::default(), &mut row);
        json!([row["messages_details"]["rate"], row["message_stats"]["publish_details"]["rate"], row.len()])
    }

    fn values(messages: u64, published: u64) -> [u64; 12] {
        [messages, messages, 0, published, 0, 0, 0, 0, 0, 0, 0, 0]
    }

    #[test]
    fn numbers_get_details_where_they_stand() {
        let history = History::default();
        let mut state = history.state.lock();
        for (at, messages, published) in [(5_000, 10, 100), (10_000, 5, 150)] {
            state.sample(Subject::Queue(QueueId(1)), at, &values(messages, published));
            state.tidy(at);
        }
        state.sample(Subject::Queue(QueueId(2)), 10_000, &values(5, 5));
        drop(state);
        assert_eq!(rate_of(&history, 1), json!([-1.0, 10.0, 4]));
        assert_eq!(rate_of(&history, 2), json!([0.0, 0.0, 4]), "nothing was sampled between");
        assert_eq!(rate_of(&history, 3), json!([0.0, 0.0, 4]));
    }

    #[test]
    fn what_came_before_the_first_look_has_no_rate_and_what_comes_later_has() {
        let history = History::default();
        let mut state = history.state.lock();
        state.sample(Subject::Queue(QueueId(1)), 5_000, &values(10, 100));
        state.tidy(5_000);
        drop(state);
        assert_eq!(rate_of(&history, 1), json!([0.0, 0.0, 4]));
        let mut state = history.state.lock();
        state.sample(Subject::Queue(QueueId(2)), 10_000, &values(10, 100));
        state.tidy(10_000);
        drop(state);
        assert_eq!(rate_of(&history, 2), json!([2.0, 20.0, 4]));
        assert_eq!(rate_of(&history, 1), json!([0.0, 0.0, 4]), "it is gone");
        assert_eq!(history.state.lock().known.len(), 1);
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for_but_what_is_looked_at() {
        let history = History::default();
        let mut state = history.state.lock();
        let count = REMEMBERED_MAX as u64 + 10;
        for at in [5_000, 10_000] {
            for queue in 0..count {
                state.sample(Subject::Queue(QueueId(queue)), at, &values(at, queue));
            }
            state.sample(Subject::Vhost("/".into()), at, &[at]);
            state.tidy(at);
        }
        assert_eq!(state.remembered, REMEMBERED_MAX + 1);
        for queue in 0..count {
            state.look(&Subject::Queue(QueueId(queue)), 12_000);
        }
        assert_eq!(state.remembered, REMEMBERED_MAX + 11);
        state.tidy(15_000);
        assert!(state.known.is_empty(), "all are gone");
    }

    #[test]
    fn a_channel_is_sampled_when_it_is_seen() {
        let history = History::default();
        let subject = Subject::Channel(ConnectionId(1), 1);
        for _ in 0..2 {
            let mut row = row(json!({"message_stats": {"ack": 5}}));
            history.add_details(&subject, &Ages::default(), &mut row);
            assert_eq!(row["message_stats"]["ack_details"], json!({"rate": 0.0}));
        }
        let mut state = history.state.lock();
        assert_eq!(state.known.len(), 1);
        state.tidy(now_ms() + LOOK_MS + 1);
        assert!(state.known.is_empty());
    }
}
