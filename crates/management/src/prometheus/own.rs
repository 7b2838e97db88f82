//! What RabbitMQ has no names for: what is on disk, memory and threads.

use std::io::{self, Write};

use super::text::Scale;
use super::{Column, Family, Labels, Number, Text};
use crate::{Facts, Figures, LogFigures, LogSpace, MemoryUse};

const SYNC_SECONDS: Family = Family::histogram("log_sync_seconds", "How long it took to sync a log to disk");
const GROUP_BYTES: Family = Family::histogram("log_group_bytes", "Bytes that were written to a log in one go");

const LOG: &[Column<LogFigures>] = &[
    Column::counter(
        "log_given_bytes_total",
        "Bytes of messages, in each of their queues, or of records that a log was given",
        |log| log.given_bytes.into(),
    ),
    Column::counter("log_written_bytes_total", "Bytes written to a log, copies that make room included", |log| {
        log.written_bytes.into()
    }),
    Column::counter("log_write_seconds_total", "Time it took to write to a log, without syncing", |log| {
        Number::Real(log.write_time.as_secs_f64())
    }),
    Column::counter("log_written_total", "Messages or records written to a log", |log| log.written.into()),
    Column::counter(
        "log_elided_total",
        "Messages that were settled before they were written, so that they never were",
        |log| log.elided.into(),
    ),
    Column::counter("log_copied_total", "Messages copied within a log to make room", |log| log.copied.into()),
];

const SPACE: &[Column<LogSpace>] = &[
    Column::gauge("log_files", "Files of a log that have something in them", |space| space.files.into()),
    Column::gauge("log_used_bytes", "Bytes of the files of a log, up to where they are written", |space| {
        space.used_bytes.into()
    }),
    Column::gauge("log_live_bytes", "About how many of these belong to messages that are still wanted", |space| {
        space.live_bytes.into()
    }),
    Column::gauge("log_live_messages", "Messages in a log that are still wanted, in each of their queues", |space| {
        space.live.into()
    }),
    Column::counter("log_damaged_total", "How often a message in a log was found damaged", |space| {
        space.damaged.into()
    }),
];

const READ: Family = Family::counter("read_messages_total", "Messages read back from disk");
const MEMORY: Family = Family::gauge("message_memory_bytes", "Bytes of messages in memory");
const BUDGET: Family =
    Family::gauge("message_memory_limit_bytes", "Bytes of messages beyond which they leave memory for the disk");
const THREAD: Family = Family::counter("thread_cpu_seconds_total", "Time that threads of this name have worked");
const ALARMS: Family =
    Family::gauge("alarms", "How many things stand in the way of normal work; see rabbitmqctl status");

/// What takes memory, under the names that RabbitMQ has for what is most like it.
const BREAKDOWN: [(&str, Family); 3] = [
    ("program", Family::gauge("memory_code_module_bytes", "Memory that the program takes, in bytes")),
    ("messages", Family::gauge("memory_binary_heap_bytes", "Memory that messages take, in bytes")),
    ("other", Family::gauge("memory_other_system_bytes", "Memory that everything else takes, in bytes")),
];

/// Writes all of it.
pub(super) fn write<W: Write>(text: &mut Text<W>, figures: &Figures, facts: &Facts) -> io::Result<()> {
    if let Some(storage) = &figures.storage {
        let logs: Vec<(Labels, &LogFigures)> =
            storage.logs.iter().map(|log| (Labels::of(&[("log", log.name)]), log)).collect();
        text.begin(&SYNC_SECONDS)?;
        // What nobody syncs has no times.
        for (labels, log) in logs.iter().filter(|(_, log)| log.name != "page_out") {
            text.histogram(&SYNC_SECONDS, labels, &log.syncs, Scale::Micro)?;
        }
        text.begin(&GROUP_BYTES)?;
        for (labels, log) in &logs {
            text.histogram(&GROUP_BYTES, labels, &log.groups, Scale::One)?;
        }
        for Column { family, number } in LOG {
            text.begin(family)?;
            for (labels, log) in &logs {
                text.number(family, labels, number(log))?;
            }
        }
        for Column { family, number } in SPACE {
            text.begin(family)?;
            for (labels, log) in &logs {
                text.number(family, labels, log.space.as_ref().map_or(Number::Unknown, number))?;
            }
        }
        text.single(&READ, storage.read_messages.into())?;
        text.single(&MEMORY, storage.memory.into())?;
    }
    text.single(&BUDGET, facts.memory_budget.into())?;
    text.single(&ALARMS, facts.alarms.len().into())?;
    text.begin(&THREAD)?;
    for (name, worked) in &figures.threads {
        text.number(&THREAD, &Labels::of(&[("thread", name)]), Number::Real(worked.as_secs_f64()))?;
    }
    Ok(())
}

/// Writes what takes memory.
pub(super) fn breakdown<W: Write>(text: &mut Text<W>, memory: &[MemoryUse]) -> io::Result<()> {
    for (what, family) in &BREAKDOWN {
        let bytes = memory.iter().find(|part| part.what == *what).map(|part| part.bytes);
        text.single(family, Number::maybe(bytes))?;
    }
    Ok(())
}
