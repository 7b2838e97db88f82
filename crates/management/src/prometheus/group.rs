//! Groups of families, under RabbitMQ's names, by which `/metrics/detailed` is asked for them.

/// A group of families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    ConnectionChurn,
    NodeCoarse,
    Node,
    NodePersister,
    Raft,
    Logins,
    LoginSources,
    QueueCoarse,
    QueueConsumerCount,
    Queue,
    QueueDelivery,
    QueuePublishes,
    Exchange,
    Channel,
    ChannelPublishes,
    ChannelDelivery,
    ConnectionCoarse,
    Connection,
    VhostStatus,
    ExchangeBindings,
    ExchangeNames,
}

impl Group {
    /// All there are, in the order in which they are written.
    pub(super) const ALL: [Self; 21] = [
        Self::ConnectionChurn,
        Self::NodeCoarse,
        Self::Node,
        Self::NodePersister,
        Self::Raft,
        Self::Logins,
        Self::LoginSources,
        Self::QueueCoarse,
        Self::QueueConsumerCount,
        Self::Queue,
        Self::QueueDelivery,
        Self::QueuePublishes,
        Self::Exchange,
        Self::Channel,
        Self::ChannelPublishes,
        Self::ChannelDelivery,
        Self::ConnectionCoarse,
        Self::Connection,
        Self::VhostStatus,
        Self::ExchangeBindings,
        Self::ExchangeNames,
    ];

    /// RabbitMQ's name for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ConnectionChurn => "connection_churn_metrics",
            Self::NodeCoarse => "node_coarse_metrics",
            Self::Node => "node_metrics",
            Self::NodePersister => "node_persister_metrics",
            Self::Raft => "ra_metrics",
            Self::Logins => "auth_attempt_metrics",
            Self::LoginSources => "auth_attempt_detailed_metrics",
            Self::QueueCoarse => "queue_coarse_metrics",
            Self::QueueConsumerCount => "queue_consumer_count",
            Self::Queue => "queue_metrics",
            Self::QueueDelivery => "queue_delivery_metrics",
            Self::QueuePublishes => "channel_queue_exchange_metrics",
            Self::Exchange => "exchange_metrics",
            Self::Channel => "channel_metrics",
            Self::ChannelPublishes => "channel_exchange_metrics",
            Self::ChannelDelivery => "channel_queue_metrics",
            Self::ConnectionCoarse => "connection_coarse_metrics",
            Self::Connection => "connection_metrics",
            Self::VhostStatus => "vhost_status",
            Self::ExchangeBindings => "exchange_bindings",
            Self::ExchangeNames => "exchange_names",
        }
    }

    /// Whether it is only on `/metrics/detailed`, and its names begin otherwise there.
    pub(super) const fn is_of_cluster(self) -> bool {
        matches!(self, Self::VhostStatus | Self::ExchangeBindings | Self::ExchangeNames)
    }

    /// Whether queues have to be asked for it.
    pub(super) const fn is_of_queues(self) -> bool {
        matches!(
            self,
            Self::Raft
                | Self::QueueCoarse
                | Self::QueueConsumerCount
                | Self::Queue
                | Self::QueueDelivery
                | Self::QueuePublishes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_groups_have_the_same_name() {
        let mut names = Group::ALL.map(Group::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
