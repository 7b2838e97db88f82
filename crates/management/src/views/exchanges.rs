//! Exchanges.

use leveret_broker::Error;
use leveret_broker::exchange::Exchange;
use leveret_broker::topology::Vhost;

use super::{Form, Row, StatsOf, View, message_stats};

impl View<'_> {
    /// The exchanges of a vhost in the order of their names.
    pub fn exchanges(self, vhost: &str) -> Result<Vec<Row>, Error> {
        self.node.read(|topology| {
            let vhost = topology.vhost(vhost)?;
            let mut exchanges: Vec<&Exchange> = vhost.exchanges().collect();
            exchanges.sort_unstable_by(|one, two| one.name().cmp(two.name()));
            Ok(exchanges.into_iter().map(|exchange| self.exchange_row(vhost, exchange)).collect())
        })
    }

    /// An exchange.
    pub fn exchange(self, vhost: &str, name: &str) -> Result<Row, Error> {
        self.node.read(|topology| {
            let vhost = topology.vhost(vhost)?;
            Ok(self.exchange_row(vhost, vhost.exchange(name)?))
        })
    }

    fn exchange_row(self, vhost: &Vhost, exchange: &Exchange) -> Row {
        let mut row = self.row();
        row.add("name", || exchange.name().to_string())
            .add("vhost", || vhost.name().to_string())
            .add("type", || exchange.kind().as_str())
            .add("durable", || exchange.durable())
            .add("auto_delete", || exchange.auto_delete())
            .add("internal", || exchange.internal())
            .add("arguments", || self.table(exchange.arguments()));
        let policy = exchange.policies().and_then(|policies| policies.policy());
        if self.form == Form::Listing || policy.is_some() {
            row.name("policy", policy);
        }
        if self.form == Form::Api
            && let Some(stats) = message_stats(&exchange.stats(), StatsOf::Exchange)
        {
            row.add("message_stats", || stats);
        }
        row.row
    }
}
