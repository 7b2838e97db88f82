//! Settings of how much there may be on the node.

use super::{Group, Setting, Takes};

pub(super) const GROUP: Group = Group {
    title: "Limits",
    settings: &[
        Setting {
            key: "max_connections",
            takes: Takes::Count(|draft, _, count| draft.config.limits.max_connections = count),
            default: "infinity",
            help: "Connections that may be open on the node; others are refused with 530",
        },
        Setting {
            key: "connection_max",
            takes: Takes::Count(|draft, _, count| draft.config.limits.max_connections = count),
            default: "infinity",
            help: "The same under its old name",
        },
        Setting {
            key: "channel_max_per_node",
            takes: Takes::Count(|draft, _, count| draft.config.limits.max_channels = count),
            default: "infinity",
            help: "Channels that may be open on the node, over all connections",
        },
        Setting {
            key: "consumer_max_per_channel",
            takes: Takes::Count(|draft, _, count| draft.config.max_consumers_per_channel = count),
            default: "infinity",
            help: "Consumers that a channel may have",
        },
        Setting {
            key: "vhost_max",
            takes: Takes::Count(|draft, _, count| draft.config.limits.max_vhosts = count),
            default: "infinity",
            help: "Vhosts that may be created",
        },
        Setting {
            key: "cluster_queue_limit",
            takes: Takes::Count(|draft, _, count| draft.config.limits.max_queues = count),
            default: "infinity",
            help: "Queues that may be declared, over all vhosts",
        },
        Setting {
            key: "cluster_exchange_limit",
            takes: Takes::Count(|draft, _, count| draft.config.limits.max_exchanges = count),
            default: "infinity",
            help: "Exchanges that may be declared, over all vhosts, with the seven that every vhost has",
        },
    ],
};
