//! Who tried to log in.

use std::io::{self, Write};

use leveret_auth::{Chain, Counts, Source};

use super::{Column, Group, Labels, Text};

const BY_PROTOCOL: &[Column<Counts>] = &[
    Column::counter("auth_attempts_total", "Total number of authorization attempts", |counts| counts.attempts.into()),
    Column::counter("auth_attempts_succeeded_total", "Total number of successful authentication attempts", |counts| {
        counts.succeeded.into()
    }),
    Column::counter("auth_attempts_failed_total", "Total number of failed authentication attempts", |counts| {
        counts.failed.into()
    }),
];

const BY_SOURCE: &[Column<Counts>] = &[
    Column::counter(
        "auth_attempts_detailed_total",
        "Total number of authorization attempts with source info",
        |counts| counts.attempts.into(),
    ),
    Column::counter(
        "auth_attempts_detailed_succeeded_total",
        "Total number of successful authorization attempts with source info",
        |counts| counts.succeeded.into(),
    ),
    Column::counter(
        "auth_attempts_detailed_failed_total",
        "Total number of failed authorization attempts with source info",
        |counts| counts.failed.into(),
    ),
];

/// Writes a group.
pub(super) fn write<W: Write>(text: &mut Text<W>, group: Group, logins: &Chain) -> io::Result<()> {
    let attempts = logins.attempts();
    let (columns, counted): (_, Vec<(Labels, Counts)>) = match group {
        Group::Logins => {
            let by_protocol = attempts.by_protocol().into_iter();
            (
                BY_PROTOCOL,
                by_protocol.map(|(protocol, counts)| (Labels::of(&[("protocol", protocol)]), counts)).collect(),
            )
        }
        Group::LoginSources => {
            let by_source = attempts.by_source().into_iter();
            (BY_SOURCE, by_source.map(|(source, counts)| (labels(&source), counts)).collect())
        }
        _ => return Ok(()),
    };
    for Column { family, number } in columns {
        text.begin(family)?;
        for (labels, counts) in &counted {
            text.number(family, labels, number(counts))?;
        }
    }
    Ok(())
}

/// What is known of a source; the rest has no label, as in RabbitMQ.
fn labels(source: &Source) -> Labels {
    let mut labels = Labels::none();
    if let Some(address) = source.address {
        labels.add("remote_address", &address.to_string());
    }
    if !source.user.is_empty() {
        labels.add("username", &source.user);
    }
    labels.add("protocol", source.protocol);
    labels
}
