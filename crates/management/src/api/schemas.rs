//! The kinds of objects that routes give, by the fields that are always there. There may be more: numbers of what has happened, and
//! whatever newer versions know.

/// A kind of object.
#[derive(Debug)]
pub(super) struct Schema {
    /// Its name.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) about: &'static str,
    /// What it has.
    pub(super) shape: Shape,
}

/// What an answer is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// An object with these fields, and perhaps more.
    Object(&'static [(&'static str, Type)]),
    /// A text.
    Text,
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Text.
    Text,
    /// True or false.
    Flag,
    /// A whole number.
    Whole,
    /// Any number.
    Number,
    /// An object.
    Object,
    /// An array.
    List,
    /// Texts.
    Texts,
    /// Whatever it is.
    Any,
}

use Shape::Object as Is;
use Type::{Any, Flag, List, Number, Object, Text, Texts, Whole};

const fn schema(name: &'static str, about: &'static str, fields: &'static [(&'static str, Type)]) -> Schema {
    Schema { name, about, shape: Is(fields) }
}

/// All kinds.
pub(super) const SCHEMAS: &[Schema] = &[
    schema("Trace", "A trace of messages.", &[("vhost", Text), ("name", Text), ("format", Text), ("pattern", Text)]),
    schema("TraceFile", "A file that a trace was written to.", &[("name", Text), ("size", Whole)]),
    schema(
        "Overview",
        "What there is on the node, in numbers. Users who may not see everything see their part.",
        &[
            ("management_version", Text),
            ("rates_mode", Text),
            ("sample_retention_policies", Object),
            ("exchange_types", List),
            ("product_version", Text),
            ("product_name", Text),
            ("rabbitmq_version", Text),
            ("leveret_version", Text),
            ("cluster_name", Text),
            ("cluster_tags", Object),
            ("node_tags", Object),
            ("erlang_version", Text),
            ("erlang_full_version", Text),
            ("crypto_lib_version", Text),
            ("release_series_support_status", Text),
            ("disable_stats", Flag),
            ("default_queue_type", Text),
            ("is_op_policy_updating_enabled", Flag),
            ("enable_queue_totals", Flag),
            ("object_totals", Object),
        ],
    ),
    schema("ClusterName", "The name of the cluster.", &[("name", Text)]),
    Schema { name: "Version", about: "The version of RabbitMQ that clients are told.", shape: Shape::Text },
    schema("Extension", "An extension of the pages in the browser.", &[]),
    schema("Whoami", "The user who asks.", &[("name", Text), ("tags", Texts)]),
    schema("Auth", "How a page in a browser can log in.", &[("oauth_enabled", Flag), ("disable_basic_auth", Flag)]),
    schema(
        "Node",
        "A node, and what it takes of its machine.",
        &[
            ("name", Text),
            ("type", Text),
            ("running", Flag),
            ("being_drained", Flag),
            ("os_pid", Text),
            ("uptime", Whole),
            ("run_queue", Whole),
            ("processors", Whole),
            ("fd_used", Whole),
            ("fd_total", Whole),
            ("sockets_used", Whole),
            ("sockets_total", Whole),
            ("proc_used", Whole),
            ("proc_total", Whole),
            ("mem_used", Whole),
            ("mem_limit", Whole),
            ("mem_alarm", Flag),
            ("mem_calculation_strategy", Text),
            ("disk_free", Whole),
            ("disk_free_limit", Whole),
            ("disk_free_alarm", Flag),
            ("partitions", List),
            ("rates_mode", Text),
            ("rabbitmq_version", Text),
            ("leveret_version", Text),
            ("exchange_types", List),
            ("auth_mechanisms", List),
            ("applications", List),
            ("contexts", List),
            ("log_files", Texts),
            ("db_dir", Text),
            ("config_files", Texts),
            ("net_ticktime", Whole),
            ("enabled_plugins", Texts),
            ("cluster_links", List),
        ],
    ),
    schema("NodeMemory", "What takes the memory of a node, in RabbitMQ's parts.", &[("memory", Object)]),
    schema("TablesMemory", "Tables of the Erlang machine, of which there are none.", &[("ets_tables_memory", Object)]),
    schema(
        "Setting",
        "A setting. The value of a secret is hidden.",
        &[("key", Text), ("value", Text), ("origin", Text)],
    ),
    schema("Health", "The result of a health check; `reason` and more if it failed.", &[("status", Text)]),
    schema(
        "FeatureFlag",
        "A feature flag.",
        &[
            ("name", Text),
            ("state", Text),
            ("stability", Text),
            ("provided_by", Text),
            ("desc", Text),
            ("doc_url", Text),
        ],
    ),
    schema(
        "DeprecatedFeature",
        "A feature that RabbitMQ is about to take away.",
        &[("name", Text), ("deprecation_phase", Text), ("provided_by", Text), ("desc", Text), ("doc_url", Text)],
    ),
    schema(
        "Vhost",
        "A vhost.",
        &[
            ("name", Text),
            ("description", Text),
            ("tags", Texts),
            ("default_queue_type", Text),
            ("protected_from_deletion", Flag),
            ("metadata", Object),
            ("tracing", Flag),
            ("cluster_state", Object),
        ],
    ),
    schema(
        "Exchange",
        "An exchange.",
        &[
            ("name", Text),
            ("vhost", Text),
            ("type", Text),
            ("durable", Flag),
            ("auto_delete", Flag),
            ("internal", Flag),
            ("arguments", Object),
        ],
    ),
    schema(
        "Queue",
        "A queue. What is counted is left out with `disable_stats`.",
        &[
            ("name", Text),
            ("vhost", Text),
            ("type", Text),
            ("durable", Flag),
            ("auto_delete", Flag),
            ("exclusive", Flag),
            ("arguments", Object),
            ("state", Text),
        ],
    ),
    schema(
        "Replica",
        "A member of a quorum queue.",
        &[
            ("Node Name", Text),
            ("Raft State", Text),
            ("Membership", Text),
            ("Last Log Index", Any),
            ("Last Written", Any),
            ("Last Applied", Any),
            ("Commit Index", Any),
            ("Snapshot Index", Any),
            ("Term", Any),
            ("Machine Version", Any),
        ],
    ),
    schema(
        "Binding",
        "A binding.",
        &[
            ("source", Text),
            ("vhost", Text),
            ("destination", Text),
            ("destination_type", Text),
            ("routing_key", Text),
            ("arguments", Object),
            ("properties_key", Text),
        ],
    ),
    schema(
        "Message",
        "A message that was taken out of a queue, or looked at.",
        &[
            ("payload_bytes", Whole),
            ("redelivered", Flag),
            ("exchange", Text),
            ("routing_key", Text),
            ("message_count", Whole),
            ("properties", Any),
            ("payload", Text),
            ("payload_encoding", Text),
        ],
    ),
    schema("Published", "What became of a message.", &[("routed", Flag)]),
    schema("Connection", "A connection.", &[("name", Text), ("node", Text), ("peer_host", Text), ("peer_port", Whole)]),
    schema(
        "TrackedConnection",
        "A connection of a user, as the node keeps it.",
        &[("name", Text), ("node", Text), ("vhost", Text)],
    ),
    schema(
        "Channel",
        "A channel.",
        &[("name", Text), ("number", Whole), ("node", Text), ("connection_details", Object)],
    ),
    schema(
        "Consumer",
        "A consumer.",
        &[
            ("consumer_tag", Text),
            ("queue", Object),
            ("ack_required", Flag),
            ("exclusive", Flag),
            ("prefetch_count", Number),
            ("arguments", Object),
            ("channel_details", Any),
        ],
    ),
    schema("Session", "A session of an AMQP 1.0 connection.", &[]),
    schema(
        "User",
        "A user that the node knows itself.",
        &[("name", Text), ("password_hash", Text), ("hashing_algorithm", Text), ("tags", Texts), ("limits", Object)],
    ),
    schema(
        "Permission",
        "What a user may do in a vhost: regular expressions for names.",
        &[("user", Text), ("vhost", Text), ("configure", Text), ("write", Text), ("read", Text)],
    ),
    schema(
        "TopicPermission",
        "Which routing keys a user may use at a topic exchange.",
        &[("user", Text), ("vhost", Text), ("exchange", Text), ("write", Text), ("read", Text)],
    ),
    schema(
        "Policy",
        "A policy, or one of an operator.",
        &[
            ("vhost", Text),
            ("name", Text),
            ("pattern", Text),
            ("apply-to", Text),
            ("definition", Object),
            ("priority", Whole),
        ],
    ),
    schema(
        "Parameter",
        "A parameter of a vhost.",
        &[("vhost", Text), ("component", Text), ("name", Text), ("value", Any)],
    ),
    schema("GlobalParameter", "A parameter of the whole broker.", &[("name", Text), ("value", Any)]),
    schema("VhostLimits", "How much there may be in a vhost.", &[("vhost", Text), ("value", Object)]),
    schema("UserLimits", "How much a user may have open.", &[("user", Text), ("value", Object)]),
    schema(
        "AuthAttempts",
        "How many tried to log in.",
        &[
            ("protocol", Text),
            ("auth_attempts", Whole),
            ("auth_attempts_failed", Whole),
            ("auth_attempts_succeeded", Whole),
        ],
    ),
    schema("PasswordHash", "The salted hash of a password.", &[("ok", Text)]),
    schema(
        "Definitions",
        "Everything that is declared and set, for export and import.",
        &[
            ("rabbit_version", Text),
            ("rabbitmq_version", Text),
            ("product_name", Text),
            ("product_version", Text),
            ("rabbitmq_definition_format", Text),
            ("parameters", List),
            ("policies", List),
            ("queues", List),
            ("exchanges", List),
            ("bindings", List),
        ],
    ),
    schema("OpenApi", "A description of this interface.", &[("openapi", Text), ("info", Object), ("paths", Object)]),
    schema(
        "Trace",
        "What is written to a trace file.",
        &[("name", Text), ("vhost", Text), ("pattern", Text), ("format", Text)],
    ),
    schema("TraceFile", "A trace file.", &[("name", Text), ("size", Whole)]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::route::Gives;
    use crate::api::routes::GROUPS;

    #[test]
    fn what_routes_give_is_known() {
        for route in GROUPS.iter().flat_map(|group| group.routes) {
            for operation in route.operations {
                if let Gives::One(name) | Gives::Many(name) | Gives::All(name) = operation.gives {
                    assert!(
                        SCHEMAS.iter().any(|schema| schema.name == name),
                        "{} gives {name}, which api/schemas.rs does not have",
                        route.path
                    );
                }
            }
        }
    }
}
