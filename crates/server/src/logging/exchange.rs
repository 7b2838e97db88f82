//! The log's way to the exchange `amq.rabbitmq.log`: a message for each record, with its level as the routing key.

use std::cell::Cell;
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use leveret_broker::exchange::ExchangeKind;
use leveret_broker::message::Draft;
use leveret_broker::node::Node;
use leveret_broker::properties::NewProperties;
use leveret_broker::topology::{Change, Origin};
use leveret_broker::value::{Table, Value};
use leveret_broker::{Error, Name};
use parking_lot::Mutex;

use super::format::Formatter;
use super::record::Record;
use crate::config::log::LogStyle;

/// The exchange.
const EXCHANGE: &str = "amq.rabbitmq.log";

thread_local! {
    /// Whether this thread publishes what was logged: what that logs is not published in turn.
    static IS_PUBLISHING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread publishes what was logged.
pub(super) fn is_publishing() -> bool {
    IS_PUBLISHING.get()
}

/// The exchange, while a broker runs. Records from before and after go elsewhere only.
#[derive(Debug, Default)]
pub(super) struct LogExchange(Mutex<Option<(Weak<Node>, Name)>>);

impl LogExchange {
    /// Makes the exchange in a vhost and publishes to it for as long as the node is there.
    pub(super) fn serve(&self, node: &Arc<Node>, vhost: &str) -> Result<(), Error> {
        let vhost = Name::from(vhost);
        node.apply(Change::DeclareExchange {
            vhost: Name::clone(&vhost),
            name: EXCHANGE.into(),
            kind: ExchangeKind::Topic,
            durable: true,
            auto_delete: false,
            internal: true,
            arguments: Table::new(),
            origin: Origin::Broker,
        })?;
        *self.0.lock() = Some((Arc::downgrade(node), vhost));
        Ok(())
    }

    /// Publishes a record.
    pub(super) fn publish(&self, record: &Record, formatter: &Formatter) {
        let served = self.0.lock().as_ref().and_then(|(node, vhost)| Some((node.upgrade()?, Name::clone(vhost))));
        let Some((node, vhost)) = served else { return };
        let mut text = String::new();
        formatter.write(record, &mut text);
        let headers = Table::from_iter([("node".into(), Value::text(node.name()))]);
        let properties = NewProperties {
            content_type: Some(match formatter.style() {
                LogStyle::Text => "text/plain",
                LogStyle::Json => "application/json",
            }),
            headers: &headers,
            timestamp_s: Some(seconds(record.time)),
            ..NewProperties::default()
        };
        let mut draft = Draft::new(Vec::new(), EXCHANGE, record.severity.as_str());
        draft.properties(&node.properties().encode(&properties));
        draft.body(text.as_bytes());
        IS_PUBLISHING.set(true);
        // Somebody may have deleted the exchange or the vhost; then nobody is bound to it.
        let _ = node.publish(&vhost, &draft.message());
        IS_PUBLISHING.set(false);
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
