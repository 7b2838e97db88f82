//! What happened to messages, as the HTTP API gives it.

use leveret_broker::stats::MessageStats;
use serde_json::{Map, Value as Json};

/// What numbers are of. RabbitMQ counts some of them together: if one of those is there, all are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsOf {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
    /// A channel, a vhost or the node.
    Publishers,
}

/// The object `message_stats`; none if nothing happened.
pub fn message_stats(stats: &MessageStats, of: StatsOf) -> Option<Json> {
    let mut object = Map::new();
    let mut add = |group: &[(&str, u64)]| {
        if group.iter().any(|(_, count)| *count > 0) {
            object.extend(group.iter().map(|(name, count)| ((*name).to_owned(), Json::from(*count))));
        }
    };
    match of {
        StatsOf::Queue => add(&[("publish", stats.publish)]),
        StatsOf::Exchange => {
            add(&[("publish_in", stats.publish_in)]);
            add(&[("publish_out", stats.publish_out)]);
        }
        StatsOf::Publishers => add(&[
            ("confirm", stats.confirm),
            ("drop_unroutable", stats.drop_unroutable),
            ("publish", stats.publish),
            ("return_unroutable", stats.return_unroutable),
        ]),
    }
    add(&[
        ("ack", stats.ack),
        ("deliver", stats.deliver),
        ("deliver_get", stats.deliver_get()),
        ("deliver_no_ack", stats.deliver_no_ack),
        ("get", stats.get),
        ("get_empty", stats.get_empty),
        ("get_no_ack", stats.get_no_ack),
        ("redeliver", stats.redeliver),
    ]);
    (!object.is_empty()).then_some(Json::Object(object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_belong_together_come_together_and_others_are_left_out() {
        let none = MessageStats::default();
        let published = MessageStats { publish: 2, ..none };
        let taken = json!({
            "ack": 1, "deliver": 0, "deliver_get": 3, "deliver_no_ack": 0, "get": 0, "get_empty": 0, "get_no_ack": 3,
            "redeliver": 0,
        });
        for (stats, of, expected) in [
            (none, StatsOf::Queue, None),
            (published, StatsOf::Queue, Some(json!({"publish": 2}))),
            (
                published,
                StatsOf::Publishers,
                Some(json!({"confirm": 0, "drop_unroutable": 0, "publish": 2, "return_unroutable": 0})),
            ),
            (MessageStats { ack: 1, get_no_ack: 3, ..none }, StatsOf::Queue, Some(taken)),
            (MessageStats { publish_in: 1, ..none }, StatsOf::Exchange, Some(json!({"publish_in": 1}))),
        ] {
            assert_eq!(message_stats(&stats, of), expected, "{stats:?} {of:?}");
        }
    }
}
