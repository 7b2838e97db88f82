//! What operators see of connections, channels and consumers on the wire, and the connections that they close.
//!
//! These look into the node of this process, so with `BROKER_URL` there is nothing to look into.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]
#![allow(clippy::indexing_slicing, reason = "an index out of bounds fails the test, as it should")]

mod closing;
mod connections;
mod holdings;
mod stats;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use leveret_broker::Name;
use leveret_broker::node::{ConnectionsOf, Node};
use leveret_management::pid::Pids;
use leveret_management::views::{Columns, Form, Row, View};
use leveret_testkit::amqp091::DEADLINE;
use leveret_testkit::broker;
use leveret_testkit::policy::OwnVhost;
use serde_json::{Value as Json, json};

static ALL: Columns = Columns::All;

/// The node under test; none if it is somebody else's.
fn node() -> Option<&'static Node> {
    if broker::is_foreign() {
        eprintln!("skipped: the broker that BROKER_URL names cannot be looked into");
        return None;
    }
    Some(broker::shared_node())
}

fn pids() -> &'static Pids {
    static PIDS: OnceLock<Pids> = OnceLock::new();
    PIDS.get_or_init(|| Pids::new(Name::clone(broker::shared_node().name()), 7))
}

fn view(node: &'static Node, form: Form) -> View<'static> {
    View { node, pids: pids(), form, columns: &ALL }
}

fn in_vhost(vhost: &OwnVhost) -> ConnectionsOf {
    ConnectionsOf::Vhost(vhost.name().into())
}

fn connections(node: &'static Node, whose: &ConnectionsOf) -> Vec<Row> {
    view(node, Form::Listing).connections(whose, DEADLINE)
}

fn channels(node: &'static Node, whose: &ConnectionsOf) -> Vec<Row> {
    view(node, Form::Listing).channels(whose, DEADLINE)
}

/// The values of some columns.
fn pick(rows: &[Row], columns: &[&str]) -> Vec<Json> {
    let pick = |row: &Row| columns.iter().map(|column| row.get(*column).cloned().unwrap_or(json!("MISSING"))).collect();
    rows.iter().map(pick).collect()
}

/// Looks until something is so.
#[track_caller]
fn await_that(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::yield_now();
    }
}

const NO_WAIT: Duration = Duration::ZERO;
