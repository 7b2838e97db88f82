//! What the API says of a queue besides what the listings of the tools say, and what it does not say.

use leveret_broker::queue::{QueueKind, QueueReport};
use serde_json::json;

use super::{Row, RowBuilder};

/// What only listings have.
const LISTED_ONLY: [&str; 8] = [
    "pid",
    "owner_pid",
    "exclusive_consumer_pid",
    "single_active_consumer_pid",
    "slave_pids",
    "synchronised_slave_pids",
    "disk_reads",
    "disk_writes",
];
/// What only classic queues have.
const CLASSIC_ONLY: [&str; 8] = [
    "exclusive_consumer_tag",
    "single_active_consumer_tag",
    "head_message_timestamp",
    "messages_paged_out",
    "message_bytes_paged_out",
    "messages_ready_ram",
    "messages_unacknowledged_ram",
    "owner_pid_details",
];
/// What is there even if there is nothing to say.
const NULLABLE: [&str; 6] = [
    "policy",
    "operator_policy",
    "exclusive_consumer_tag",
    "single_active_consumer_tag",
    "head_message_timestamp",
    "recoverable_slaves",
];

/// Adds what only the API has.
pub(super) fn add(row: &mut RowBuilder<'_>, kind: QueueKind, report: &QueueReport, node: &str) {
    row.add("reductions", || 0).add("garbage_collection", || {
        json!({
            "fullsweep_after": -1,
            "max_heap_size": -1,
            "min_bin_vheap_size": -1,
            "min_heap_size": -1,
            "minor_gcs": -1,
        })
    });
    match kind {
        QueueKind::Classic => {
            row.add("recoverable_slaves", || serde_json::Value::Null)
                .add("backing_queue_status", || json!({ "version": 2, "mode": "default", "len": report.ready }));
        }
        QueueKind::Quorum => {
            row.add("open_files", || json!({ node: 0 }))
                .add("messages_dlx", || 0)
                .add("message_bytes_dlx", || 0)
                .add("single_active_consumer_ctag", || {
                    report.single_active_consumer.as_ref().map(|consumer| consumer.tag.to_string())
                });
        }
    }
}

/// A row as it is with what the API does not have left out. Clients take a missing number better than none.
pub(super) fn cut(mut row: Row, kind: QueueKind) -> Row {
    row.retain(|name, value| {
        let name = name.as_str();
        let is_of_other_kind = kind != QueueKind::Classic && CLASSIC_ONLY.contains(&name);
        let is_nothing = value.is_null() && !NULLABLE.contains(&name) && name != "single_active_consumer_ctag";
        !(LISTED_ONLY.contains(&name) || is_of_other_kind || is_nothing)
    });
    row
}
