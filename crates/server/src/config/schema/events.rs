//! Settings of what is published of what happens.

use super::{Group, Remark, Setting, Takes};

const ONLY_0_9_1: &str = "events are messages of AMQP 0-9-1 here, so amqp_1_0 has no effect";

pub(super) const GROUP: Group = Group {
    title: "Events",
    settings: &[
        Setting {
            key: "event_exchange.vhost",
            takes: Takes::Name(|draft, _, vhost| draft.config.event_vhost = vhost),
            default: "/",
            help: "The vhost of the exchange `amq.rabbitmq.event`, to which the plugin rabbitmq_event_exchange publishes",
        },
        Setting {
            key: "event_exchange.protocol",
            takes: Takes::Word(&["amqp_0_9_1", "amqp_1_0"], |draft, at, protocol| {
                if protocol == "amqp_1_0" {
                    draft.warnings.push(Remark::new(at.place, format!("{}: {ONLY_0_9_1}", at.key())));
                }
            }),
            default: "amqp_0_9_1",
            help: "What kind of messages events are",
        },
    ],
};
