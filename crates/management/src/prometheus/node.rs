//! What there is on the node, what came and went, and what the process takes.

use std::io::{self, Write};
use std::time::UNIX_EPOCH;

use leveret_broker::node::Totals;
use leveret_broker::stats::Churn;

use super::{Column, Family, Group, Number, Text};
use crate::{Facts, LogFigures, StorageFigures};

const CHURN: &[Column<Churn>] = &[
    Column::counter("connections_opened_total", "Total number of connections opened", |churn| {
        churn.connections_opened.into()
    }),
    Column::counter("connections_closed_total", "Total number of connections closed or terminated", |churn| {
        churn.connections_closed.into()
    }),
    Column::counter("channels_opened_total", "Total number of channels opened", |churn| churn.channels_opened.into()),
    Column::counter("channels_closed_total", "Total number of channels closed", |churn| churn.channels_closed.into()),
    Column::counter("queues_declared_total", "Total number of queues declared", |churn| churn.queues_declared.into()),
    Column::counter("queues_created_total", "Total number of queues created", |churn| churn.queues_created.into()),
    Column::counter("queues_deleted_total", "Total number of queues deleted", |churn| churn.queues_deleted.into()),
];

const COARSE: &[Column<Facts>] = &[
    Column::gauge("process_open_fds", "Open file descriptors", |facts| facts.files.0.into()),
    Column::gauge("process_open_tcp_sockets", "Open TCP sockets", |facts| facts.sockets.into()),
    Column::gauge("process_resident_memory_bytes", "Memory used in bytes", |facts| facts.memory.into()),
    Column::gauge("disk_space_available_bytes", "Disk space available in bytes", |facts| facts.disk_free.into()),
    // What is most like it here: threads.
    Column::gauge("erlang_processes_used", "Erlang processes used", |facts| facts.tasks.0.into()),
    Column::counter(
        "erlang_scheduler_context_switches_total",
        "Total number of Erlang scheduler context switches",
        |facts| facts.context_switches.into(),
    ),
];

const LIMITS: &[Column<Facts>] = &[
    Column::gauge("process_max_fds", "Open file descriptors limit", |facts| facts.files.1.into()),
    Column::gauge("process_max_tcp_sockets", "Open TCP sockets limit", |facts| facts.files.1.into()),
    // Nobody is held up for want of memory, so it ends where that of the machine or the container does.
    Column::gauge("resident_memory_limit_bytes", "Memory high watermark in bytes", |facts| facts.memory_total.into()),
    // Publishers are held up when the disk is full, and not before.
    Column::gauge("disk_space_available_limit_bytes", "Free disk space low watermark in bytes", |_| Number::Whole(0)),
    Column::gauge("erlang_processes_limit", "Erlang processes limit", |facts| facts.tasks.1.into()),
    Column::gauge("erlang_scheduler_run_queue", "Erlang scheduler run queue", |facts| facts.run_queue.into()),
    Column::gauge("erlang_uptime_seconds", "Node uptime", |facts| Number::Real(facts.uptime.as_secs_f64())),
];

const DISK: &[Column<StorageFigures>] = &[
    Column::counter("io_read_ops_total", "Total number of I/O read operations", |storage| storage.reads.into()),
    Column::counter("io_read_bytes_total", "Total number of I/O bytes read", |storage| storage.read_bytes.into()),
    Column::counter("io_write_ops_total", "Total number of I/O write operations", |storage| {
        sum(storage, |log| log.groups.count())
    }),
    Column::counter("io_write_bytes_total", "Total number of I/O bytes written", |storage| {
        sum(storage, |log| log.written_bytes)
    }),
    Column::counter("io_sync_ops_total", "Total number of I/O sync operations", |storage| {
        sum(storage, |log| log.syncs.count())
    }),
    Column::counter("schema_db_disk_tx_total", "Total number of Schema DB disk transactions", |storage| {
        sum(storage, |log| if is_of_messages(log) { 0 } else { log.written })
    }),
    Column::counter("msg_store_read_total", "Total number of Message Store read operations", |storage| {
        storage.read_messages.into()
    }),
    Column::counter("msg_store_write_total", "Total number of Message Store write operations", |storage| {
        sum(storage, |log| if is_of_messages(log) { log.written } else { 0 })
    }),
    Column::counter("io_read_time_seconds_total", "Total I/O read time", |storage| {
        Number::Real(storage.read_time.as_secs_f64())
    }),
    Column::counter("io_write_time_seconds_total", "Total I/O write time", |storage| {
        Number::Real(storage.logs.iter().map(|log| log.write_time.as_secs_f64()).sum())
    }),
    Column::counter("io_sync_time_seconds_total", "Total I/O sync time", |storage| {
        Number::Real(storage.logs.iter().map(|log| micros(log.syncs.sum)).sum())
    }),
];

const TOTALS: &[Column<Totals>] = &[
    Column::gauge("connections", "Connections currently open", |totals| totals.connections.into()),
    Column::gauge("channels", "Channels currently open", |totals| totals.channels.into()),
    Column::gauge("consumers", "Consumers currently connected", |totals| totals.consumers.into()),
    Column::gauge("queues", "Queues available", |totals| totals.queues.into()),
    Column::gauge("unreachable_cluster_peers_count", "Nodes of the cluster that this one cannot reach", |_| {
        Number::Whole(0)
    }),
];

/// What stands in the way of normal work.
struct Alarms {
    has_all_files_open: bool,
    is_disk_full: bool,
}

const ALARMS: &[Column<Alarms>] = &[
    Column::untyped("alarms_file_descriptor_limit", "is 1 if file descriptor limit alarm is in effect", |alarms| {
        u64::from(alarms.has_all_files_open).into()
    }),
    Column::untyped(
        "alarms_free_disk_space_watermark",
        "is 1 if free disk space watermark alarm is in effect",
        |alarms| u64::from(alarms.is_disk_full).into(),
    ),
    // What does not fit into memory goes to disk, and nobody is held up for that.
    Column::untyped("alarms_memory_used_watermark", "is 1 if VM memory watermark alarm is in effect", |_| {
        Number::Whole(0)
    }),
];

const STARTED: Family =
    Family::gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.");

/// Writes a group that is of the node.
pub(super) fn write<W: Write>(
    text: &mut Text<W>,
    group: Group,
    churn: &Churn,
    facts: &Facts,
    storage: &StorageFigures,
) -> io::Result<()> {
    match group {
        Group::ConnectionChurn => columns(text, CHURN, churn),
        Group::NodeCoarse => columns(text, COARSE, facts),
        Group::Node => columns(text, LIMITS, facts),
        Group::NodePersister => columns(text, DISK, storage),
        _ => Ok(()),
    }
}

/// Writes how much there is.
pub(super) fn totals<W: Write>(text: &mut Text<W>, totals: &Totals) -> io::Result<()> {
    columns(text, TOTALS, totals)
}

/// Writes what stands in the way of normal work.
pub(super) fn alarms<W: Write>(text: &mut Text<W>, facts: &Facts, storage: &StorageFigures) -> io::Result<()> {
    let (open, most) = facts.files;
    columns(text, ALARMS, &Alarms { has_all_files_open: open >= most, is_disk_full: storage.is_full })
}

/// Writes since when the process runs. Its name has nothing before it.
pub(super) fn started<W: Write>(text: &mut Text<W>, facts: &Facts) -> io::Result<()> {
    let since = facts.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    text.single(&STARTED, Number::Whole(since))
}

fn columns<W: Write, T>(text: &mut Text<W>, columns: &[Column<T>], of: &T) -> io::Result<()> {
    columns.iter().try_for_each(|column| text.single(&column.family, (column.number)(of)))
}

fn sum(storage: &StorageFigures, number: impl Fn(&LogFigures) -> u64) -> Number {
    Number::Whole(storage.logs.iter().map(number).sum())
}

/// Whether messages are in it, rather than what is declared.
fn is_of_messages(log: &LogFigures) -> bool {
    log.space.is_some()
}

/// Microseconds in seconds.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
pub(super) fn micros(micros: u64) -> f64 {
    micros as f64 / 1e6
}
