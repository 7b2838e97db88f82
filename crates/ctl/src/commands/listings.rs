//! Queues, exchanges, bindings, connections, channels and consumers, in rows of which one chooses the columns.

use serde_json::{Value, json};

use crate::columns;
use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::output::{Answer, Column, Rows, Style};
use crate::spec::{Command, Flag, Positional, Section, Takes};

const VHOST_USAGE: &str = "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]";
const USAGE: &str = "[--no-table-headers] [<column> ...] [--timeout <timeout>]";

pub(super) const COMMANDS: &[Command] = &[
    Command::new("list_queues", Section::Monitoring, "Lists queues and their properties", |it| QUEUES.list(it))
        .takes(
            "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...] [--timeout <timeout>]",
            QUEUES.positionals,
            &[
                Flag::switch("online", "lists only queues on online (reachable) nodes"),
                Flag::switch("offline", "lists only queues on offline (unreachable) nodes"),
                Flag::switch("local", "only return queues hosted on the target node"),
            ],
        )
        .timeout(60)
        .validate(|it| QUEUES.validate(it))
        .banner(|it| {
            let timeout = it.timeout().map_or("infinity".to_owned(), |limit| format!("{}.0 seconds", limit.as_secs()));
            Some(format!("Timeout: {timeout} ...\nListing queues for vhost {} ...", it.vhost()))
        }),
    Command::new(
        "list_unresponsive_queues",
        Section::Monitoring,
        "Tests queues to respond within timeout. Lists those which did not respond",
        list_unresponsive_queues,
    )
    .takes(
        "[--local] [--queue-timeout <milliseconds>] [<column> ...] [--no-table-headers] [--timeout <timeout>]",
        UNRESPONSIVE.positionals,
        &[
            Flag::switch("local", "only return queues hosted on the target node"),
            Flag::with(
                "queue-timeout",
                Takes::Number("milliseconds"),
                "accepted for RabbitMQ's sake: all queues are asked in one go, for which --timeout counts",
            ),
        ],
    )
    .validate(|it| UNRESPONSIVE.validate(it))
    .banner(|it| Some(format!("Listing unresponsive queues for vhost {} ...", it.vhost()))),
    Command::new("list_exchanges", Section::Monitoring, "Lists exchanges", |it| EXCHANGES.list(it))
        .takes(VHOST_USAGE, EXCHANGES.positionals, &[])
        .validate(|it| EXCHANGES.validate(it))
        .banner(|it| Some(format!("Listing exchanges for vhost {} ...", it.vhost()))),
    Command::new("list_bindings", Section::Monitoring, "Lists all bindings on a vhost", |it| BINDINGS.list(it))
        .takes(VHOST_USAGE, BINDINGS.positionals, &[])
        .validate(|it| BINDINGS.validate(it))
        .banner(|it| Some(format!("Listing bindings for vhost {}...", it.vhost()))),
    Command::new("list_connections", Section::Monitoring, "Lists AMQP 0.9.1 connections for the node", |it| {
        CONNECTIONS.list(it)
    })
    .takes(USAGE, CONNECTIONS.positionals, &[])
    .validate(|it| CONNECTIONS.validate(it))
    .banner(|_| Some("Listing connections ...".to_owned())),
    Command::new("list_channels", Section::Monitoring, "Lists all channels in the node", |it| CHANNELS.list(it))
        .takes("[--no-table-headers] [<column> ...]", CHANNELS.positionals, &[])
        .validate(|it| CHANNELS.validate(it))
        .banner(|_| Some("Listing channels ...".to_owned())),
    Command::new("list_consumers", Section::Monitoring, "Lists all consumers for a vhost", |it| CONSUMERS.list(it))
        .takes(VHOST_USAGE, CONSUMERS.positionals, &[])
        .validate(|it| CONSUMERS.validate(it))
        .banner(|it| Some(format!("Listing consumers in vhost {} ...", it.vhost()))),
];

/// What a listing can show, and does.
struct Listing {
    operation: &'static str,
    positionals: &'static [Positional],
    columns: &'static [&'static str],
    default: &'static [&'static str],
    /// Whether columns come in the order in which they are listed here, and not in which they were asked for.
    in_order: bool,
}

const QUEUES: Listing = Listing {
    operation: "list_queues",
    positionals: &[Positional::any(
        "column",
        "must be one of arguments, auto_delete, consumer_capacity, consumer_utilisation, consumers, disk_reads, disk_writes, \
         durable, effective_policy_definition, exclusive, exclusive_consumer_pid, exclusive_consumer_tag, \
         head_message_timestamp, leader, members, memory, message_bytes, message_bytes_persistent, message_bytes_ram, \
         message_bytes_ready, message_bytes_unacknowledged, messages, messages_persistent, messages_ram, messages_ready, \
         messages_ready_ram, messages_unacknowledged, messages_unacknowledged_ram, name, online, operator_policy, owner_pid, \
         pid, policy, single_active_consumer_pid, single_active_consumer_tag, slave_pids, state, synchronised_slave_pids, type",
    )],
    columns: &[
        "name",
        "durable",
        "auto_delete",
        "arguments",
        "policy",
        "operator_policy",
        "effective_policy_definition",
        "pid",
        "owner_pid",
        "exclusive",
        "exclusive_consumer_pid",
        "exclusive_consumer_tag",
        "single_active_consumer_pid",
        "single_active_consumer_tag",
        "messages_ready",
        "messages_unacknowledged",
        "messages",
        "messages_ready_ram",
        "messages_unacknowledged_ram",
        "messages_ram",
        "messages_persistent",
        "message_bytes",
        "message_bytes_ready",
        "message_bytes_unacknowledged",
        "message_bytes_ram",
        "message_bytes_persistent",
        "head_message_timestamp",
        "disk_reads",
        "disk_writes",
        "consumers",
        "consumer_utilisation",
        "consumer_capacity",
        "memory",
        "slave_pids",
        "synchronised_slave_pids",
        "state",
        "type",
        "leader",
        "members",
        "online",
    ],
    default: &["name", "messages"],
    in_order: false,
};

const UNRESPONSIVE: Listing = Listing {
    operation: "list_queues",
    positionals: &[Positional::any(
        "column",
        "must be one of arguments, auto_delete, durable, name, pid, recoverable_slaves",
    )],
    columns: &["name", "durable", "auto_delete", "arguments", "pid", "recoverable_slaves"],
    default: &["name"],
    in_order: false,
};

const EXCHANGES: Listing = Listing {
    operation: "list_exchanges",
    positionals: &[Positional::any(
        "column",
        "must be one of arguments, auto_delete, durable, internal, name, policy, type",
    )],
    columns: &["name", "type", "durable", "auto_delete", "internal", "arguments", "policy"],
    default: &["name", "type"],
    in_order: false,
};

const BINDINGS: Listing = Listing {
    operation: "list_bindings",
    positionals: &[Positional::any(
        "column",
        "must be one of arguments, destination_kind, destination_name, routing_key, source_kind, source_name",
    )],
    columns: &["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"],
    default: &["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"],
    in_order: false,
};

const CONNECTIONS: Listing = Listing {
    operation: "list_connections",
    positionals: &[Positional::any(
        "column",
        "must be one of auth_mechanism, channel_max, channels, client_properties, connected_at, frame_max, host, name, \
         peer_cert_issuer, peer_cert_subject, peer_cert_validity, peer_host, peer_port, pid, port, protocol, recv_cnt, recv_oct, \
         send_cnt, send_oct, send_pend, ssl, ssl_cipher, ssl_hash, ssl_key_exchange, ssl_protocol, state, timeout, user, \
         user_provided_name, vhost",
    )],
    columns: &[
        "pid",
        "name",
        "port",
        "host",
        "peer_port",
        "peer_host",
        "ssl",
        "ssl_protocol",
        "ssl_key_exchange",
        "ssl_cipher",
        "ssl_hash",
        "peer_cert_subject",
        "peer_cert_issuer",
        "peer_cert_validity",
        "state",
        "channels",
        "protocol",
        "auth_mechanism",
        "user",
        "vhost",
        "timeout",
        "frame_max",
        "channel_max",
        "client_properties",
        "user_provided_name",
        "connected_at",
        "recv_oct",
        "recv_cnt",
        "send_oct",
        "send_cnt",
        "send_pend",
    ],
    default: &["user", "peer_host", "peer_port", "state"],
    in_order: false,
};

const CHANNELS: Listing = Listing {
    operation: "list_channels",
    positionals: &[Positional::any(
        "column",
        "must be one of acks_uncommitted, confirm, connection, consumer_count, global_prefetch_count, messages_unacknowledged, \
         messages_uncommitted, messages_unconfirmed, name, number, pid, prefetch_count, transactional, user, vhost",
    )],
    columns: &[
        "pid",
        "connection",
        "name",
        "number",
        "user",
        "vhost",
        "transactional",
        "confirm",
        "consumer_count",
        "messages_unacknowledged",
        "messages_uncommitted",
        "acks_uncommitted",
        "messages_unconfirmed",
        "prefetch_count",
        "global_prefetch_count",
    ],
    default: &["pid", "user", "consumer_count", "messages_unacknowledged"],
    in_order: false,
};

const CONSUMERS: Listing = Listing {
    operation: "list_consumers",
    positionals: &[Positional::any(
        "column",
        "must be one of ack_required, active, activity_status, arguments, channel_pid, consumer_tag, prefetch_count, queue_name",
    )],
    columns: &[
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "activity_status",
        "arguments",
    ],
    default: &["queue_name", "channel_pid", "consumer_tag", "ack_required", "prefetch_count", "active", "arguments"],
    in_order: true,
};

impl Listing {
    fn validate(&self, invocation: &Invocation) -> Result<(), Failure> {
        columns::validate(invocation, "column", self.columns)
    }

    fn list(&self, invocation: &Invocation) -> Result<Answer, Failure> {
        let mut columns = columns::chosen(invocation, "column", self.default);
        if self.in_order {
            columns = self.columns.iter().copied().filter(|column| columns.contains(column)).collect();
        }
        // A node of which nothing is wanted has no queue that is elsewhere.
        let nothing = invocation.is_set("offline") && !invocation.is_set("online");
        let mut rows = Vec::new();
        if !nothing {
            let wait = invocation.timeout().map(|limit| u64::try_from(limit.as_millis() / 2).unwrap_or(u64::MAX));
            let arguments = json!({ "vhost": invocation.vhost(), "columns": columns, "wait_ms": wait });
            rows = invocation.call(self.operation, &arguments)?.rows;
        }
        for row in &mut rows {
            // What is not known, or does not apply, is nothing in every format.
            row.values_mut().filter(|value| value.is_null()).for_each(|value| *value = Value::from(""));
        }
        let style = |name: &str| match name {
            "arguments" | "client_properties" => Column::table(name),
            "protocol" => Column { style: Style::Tuple, ..Column::plain(name) },
            _ => Column::plain(name),
        };
        Ok(Answer::Rows(Rows { columns: columns.into_iter().map(style).collect(), rows, ..Rows::default() }))
    }
}

/// A queue's lock is held for microseconds and nothing waits inside: who lists them all has found that all of them answer.
fn list_unresponsive_queues(invocation: &Invocation) -> Result<Answer, Failure> {
    invocation.call("list_queues", &json!({ "vhost": invocation.vhost(), "columns": ["name", "messages"] }))?;
    Ok(Answer::Rows(Rows::default()))
}
