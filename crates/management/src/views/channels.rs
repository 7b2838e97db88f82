//! Channels.

use std::time::Duration;

use leveret_broker::Name;
use leveret_broker::node::ConnectionsOf;
use leveret_broker::report::{Answered, ChannelReport, ConnectionReport, KnownConnection, Subject};

use super::queues::connection_details;
use super::{Form, Row, StatsOf, View, gather, message_stats};

impl View<'_> {
    /// The channels of connections, in the order of these and of their numbers. Those of a connection that does not answer within
    /// `wait` are not known.
    pub fn channels(self, whose: &ConnectionsOf, wait: Duration) -> Vec<Row> {
        let answered = gather(self.node.ask(whose, Subject::Channels), wait);
        answered.iter().flat_map(|answered| self.channel_rows(answered)).collect()
    }

    /// The channels of a connection as it answered.
    pub fn channel_rows(self, answered: &Answered) -> Vec<Row> {
        let Some(report) = &answered.report else { return Vec::new() };
        report.channels.iter().map(|channel| self.channel_row(&answered.known, report, channel)).collect()
    }

    /// A channel of a connection.
    pub fn channel_row(self, known: &KnownConnection, connection: &ConnectionReport, channel: &ChannelReport) -> Row {
        let mut row = self.row();
        if self.form == Form::Listing {
            row.add("pid", || self.pids.channel(known.id, channel.number))
                .add("connection", || self.pids.connection(known.id));
        }
        row.add("name", || channel_name(known, channel.number))
            .add("number", || channel.number)
            .name("user", connection.user.as_ref())
            .name("vhost", connection.vhost.as_ref())
            .add("transactional", || channel.is_transactional)
            .add("confirm", || channel.is_confirming)
            .add("consumer_count", || channel.consumers)
            .add("messages_unacknowledged", || channel.unsettled)
            .add("messages_uncommitted", || channel.uncommitted)
            .add("acks_uncommitted", || channel.uncommitted_settlements)
            .add("messages_unconfirmed", || channel.unconfirmed)
            .add("prefetch_count", || channel.prefetch)
            .add("global_prefetch_count", || channel.shared_prefetch)
            .add("state", || channel.state.as_str());
        if self.form == Form::Api {
            row.add("node", || self.node.name().to_string())
                .add("connection_details", || connection_details(known))
                .name("user_who_performed_action", connection.user.as_ref());
            if let Some(stats) = message_stats(&channel.stats, StatsOf::Publishers) {
                row.add("message_stats", || stats);
            }
        }
        row.row
    }
}

/// What a channel is called.
pub(crate) fn channel_name(known: &KnownConnection, number: u16) -> String {
    format!("{} ({number})", known.peer.connection_name())
}

/// A user's name, if the connection is open.
pub(super) fn user_of(known: &KnownConnection) -> Option<&Name> {
    known.open.as_ref().map(|open| &open.user)
}
