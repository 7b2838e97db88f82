//! Connections.

use std::time::Duration;

use leveret_broker::node::ConnectionsOf;
use leveret_broker::report::{Answered, ConnectionReport, KnownConnection, Subject};
use leveret_broker::stats::TrafficCounts;
use leveret_broker::value::Value;
use serde_json::{Value as Json, json};

use super::{Form, Row, RowBuilder, View, gather, tls};

impl View<'_> {
    /// Connections in the order in which they came. Those that do not answer within `wait` have only what the node knows of them.
    pub fn connections(self, whose: &ConnectionsOf, wait: Duration) -> Vec<Row> {
        let answered = gather(self.node.ask(whose, Subject::Connection), wait);
        answered.iter().map(|answered| self.connection_row(answered)).collect()
    }

    /// A connection as it answered.
    pub fn connection_row(self, answered: &Answered) -> Row {
        let Answered { known, report } = answered;
        let report = report.as_deref();
        let mut row = self.row();
        self.ends(&mut row, known);
        tls::add(&mut row, known.peer.tls.as_ref());
        self.state(&mut row, known, report);
        agreed(&mut row, self.form, report);
        row.add("client_properties", || report.map(|report| self.table(&report.client_properties)))
            .add("user_provided_name", || report.and_then(provided_name));
        traffic(&mut row, &known.counters.traffic.read());
        row.row
    }

    fn ends(self, row: &mut RowBuilder<'_>, known: &KnownConnection) {
        let (peer, local) = (known.peer.address, known.peer.local);
        if self.form == Form::Listing {
            row.add("pid", || self.pids.connection(known.id));
        }
        row.add("name", || known.peer.connection_name())
            .add("port", || local.port())
            .add("host", || local.ip().to_string())
            .add("peer_port", || peer.port())
            .add("peer_host", || peer.ip().to_string())
            .add("connected_at", || known.since.0);
        if self.form == Form::Api {
            row.add("node", || self.node.name().to_string()).add("type", || "network");
        }
    }

    fn state(self, row: &mut RowBuilder<'_>, known: &KnownConnection, report: Option<&ConnectionReport>) {
        let open = known.open.as_ref();
        let channels = || match (report, open) {
            (Some(report), _) => json!(report.channel_count),
            (None, Some(open)) => json!(open.channels),
            (None, None) => json!(0),
        };
        let user = open.map(|open| &open.user).or_else(|| report.and_then(|report| report.user.as_ref()));
        let vhost = open.map(|open| &open.vhost).or_else(|| report.and_then(|report| report.vhost.as_ref()));
        row.add("state", || report.map(|report| report.state.as_str()))
            .add("channels", channels)
            .name("user", user)
            .name("vhost", vhost);
        if self.form == Form::Api {
            row.name("user_who_performed_action", user);
        }
    }
}

fn agreed(row: &mut RowBuilder<'_>, form: Form, report: Option<&ConnectionReport>) {
    let protocol = |report: &ConnectionReport| {
        let (major, minor, revision) = report.protocol;
        match form {
            Form::Listing => json!([major, minor, revision]),
            Form::Api if (major, minor) == (1, 0) => json!("AMQP 1-0"),
            Form::Api => json!(format!("AMQP {major}-{minor}-{revision}")),
        }
    };
    row.add("protocol", || report.map(protocol))
        .name("auth_mechanism", report.and_then(|report| report.mechanism.as_ref()))
        .add("timeout", || report.map(|report| report.heartbeat_seconds))
        .add("frame_max", || report.map(|report| report.frame_max))
        .add("channel_max", || report.map(|report| report.channel_max));
}

fn traffic(row: &mut RowBuilder<'_>, traffic: &TrafficCounts) {
    row.add("recv_oct", || traffic.received)
        .add("recv_cnt", || traffic.reads)
        .add("send_oct", || traffic.sent)
        .add("send_cnt", || traffic.writes)
        .add("send_pend", || traffic.pending);
}

/// What the client calls its connection.
fn provided_name(report: &ConnectionReport) -> Option<Json> {
    report.client_properties.get("connection_name").and_then(Value::as_str).map(Json::from)
}
