//! Channels and consumers.

use leveret_broker::Name;
use leveret_broker::report::{Answered, ChannelReport, ConnectionReport, Subject};
use serde_json::{Value, json};

use super::connections::{ask_many, ask_one, find, visible};
use crate::api::listing::{self, Listing};
use crate::api::route::Gives;
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::history;
use crate::views::{Columns, Row, channel_name};

pub(super) const GROUP: Group =
    Group {
        title: "Channels and consumers",
        routes: &[
            Route {
                path: "/api/channels",
                operations: &[Operation::get(
                    Access::Management,
                    list,
                    "All channels; users that may not monitor see their own",
                )
                .gives(Gives::Many("Channel"))],
            },
            Route {
                path: "/api/vhosts/{vhost}/channels",
                operations: &[Operation::get(Access::VisibleVhost, list_in, "The channels in a vhost")
                    .gives(Gives::Many("Channel"))],
            },
            Route {
                path: "/api/connections/{connection}/channels",
                operations: &[Operation::get(Access::Management, list_of, "The channels of a connection")
                    .gives(Gives::All("Channel"))],
            },
            Route {
                path: "/api/channels/{channel}",
                operations: &[Operation::get(Access::Management, get, "A channel, with its consumers")
                    .gives(Gives::One("Channel"))],
            },
            Route {
                path: "/api/consumers",
                operations: &[Operation::get(
                    Access::Management,
                    consumers,
                    "All consumers; users that may not monitor see their own",
                )
                .gives(Gives::All("Consumer"))],
            },
            Route {
                path: "/api/consumers/{vhost}",
                operations: &[Operation::get(Access::Management, consumers_in, "The consumers in a vhost")
                    .gives(Gives::All("Consumer"))],
            },
        ],
    };

/// A channel of a connection that answered.
struct Listed<'a> {
    answered: &'a Answered,
    report: &'a ConnectionReport,
    channel: &'a ChannelReport,
    name: String,
}

impl<'a> Listed<'a> {
    fn of(answered: &'a Answered) -> impl Iterator<Item = Self> {
        let report = answered.report.as_deref();
        let channels =
            report.into_iter().flat_map(|report| report.channels.iter().map(move |channel| (report, channel)));
        channels.map(move |(report, channel)| {
            let name = channel_name(&answered.known, channel.number);
            Self { answered, report, channel, name }
        })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> (Option<&Name>, String, u16) {
        (self.report.vhost.as_ref(), self.answered.known.peer.connection_name(), self.channel.number)
    }

    fn row(&self, ask: &Ask<'_>, columns: &Columns) -> Row {
        let known = &self.answered.known;
        let mut row = ask.view(columns).channel_row(known, self.report, self.channel);
        ask.add_details(&history::Subject::Channel(known.id, self.channel.number), &mut row);
        row
    }
}

/// They say nothing but how they are.
fn need_stats(ask: &Ask<'_>) -> Result<(), Failure> {
    if ask.disables_stats() {
        return Err(Failure::bad_request("Stats in management UI are disabled on this node"));
    }
    Ok(())
}

fn list_some(ask: &Ask<'_>, vhost: Option<&Name>) -> Result<Answer, Failure> {
    need_stats(ask)?;
    let answered = ask_many(ask, &visible(ask, vhost)?, vhost, Subject::Channels);
    let mut keys: Vec<Listed<'_>> = answered.iter().flat_map(Listed::of).collect();
    keys.sort_by_cached_key(|listed| {
        let (vhost, connection, number) = listed.place();
        (vhost.cloned(), connection, number)
    });
    let row = |listed: &Listed<'_>, columns: &Columns| Some(listed.row(ask, columns));
    Listing { keys, name: Listed::name, row }.answer(ask)
}

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    list_some(ask, None)
}

fn list_in(ask: &Ask<'_>) -> Result<Answer, Failure> {
    list_some(ask, Some(&ask.vhost()?))
}

fn list_of(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let known = find(ask, ask.part("connection"))?;
    need_stats(ask)?;
    let answered = ask_one(ask, &known, Subject::Channels);
    let rows = Listed::of(&answered).map(|listed| listed.row(ask, &Columns::All)).collect();
    listing::whole(ask, rows)
}

/// The connection that a channel's name begins with, and the channel's number.
fn parse(name: &str) -> Option<(&str, u16)> {
    let (connection, number) = name.strip_suffix(')')?.rsplit_once(" (")?;
    Some((connection, number.parse().ok()?))
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (connection, number) = parse(ask.part("channel")).ok_or_else(Failure::not_found)?;
    let known = find(ask, connection)?;
    need_stats(ask)?;
    let answered = ask_one(ask, &known, Subject::Channels);
    let listed = Listed::of(&answered).find(|listed| listed.channel.number == number);
    let listed = listed.ok_or_else(Failure::not_found)?;
    let vhost = listed.report.vhost.as_deref().unwrap_or_default();
    ask.one(|view| {
        let mut row = view.channel_row(&known, listed.report, listed.channel);
        ask.add_details(&history::Subject::Channel(known.id, number), &mut row);
        let consumers = if listed.channel.consumers == 0 {
            Vec::new()
        } else {
            // A vhost that was deleted meanwhile has none.
            ask.view(&Columns::All).consumers_on(vhost, known.id, number).unwrap_or_default()
        };
        let consumers: Vec<Value> = consumers.into_iter().map(Value::Object).collect();
        let details = [("consumer_details", json!(consumers)), ("publishes", json!([])), ("deliveries", json!([]))];
        row.extend(details.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Ok::<_, Failure>(row)
    })
}

fn consumers_of(ask: &Ask<'_>, vhosts: &[Name]) -> Result<Answer, Failure> {
    need_stats(ask)?;
    let view = ask.view(&Columns::All);
    // A vhost that was deleted meanwhile has none.
    let rows = vhosts.iter().filter_map(|vhost| view.consumers(vhost).ok()).flatten();
    let user = &ask.user()?.name;
    let is_own =
        |row: &Row| row.get("channel_details").and_then(|details| details.get("user")) == Some(&json!(&**user));
    listing::whole(ask, rows.filter(|row| ask.may_monitor() || is_own(row)).collect())
}

fn consumers(ask: &Ask<'_>) -> Result<Answer, Failure> {
    consumers_of(ask, &ask.visible_vhosts())
}

fn consumers_in(ask: &Ask<'_>) -> Result<Answer, Failure> {
    consumers_of(ask, &[ask.vhost()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_channels_are_taken_apart() {
        for (name, expected) in [
            ("127.0.0.1:1 -> 127.0.0.1:2 (3)", Some(("127.0.0.1:1 -> 127.0.0.1:2", 3))),
            ("a (1) (65535)", Some(("a (1)", 65535))),
            ("a (65536)", None),
            ("a (1", None),
            ("a", None),
        ] {
            assert_eq!(parse(name), expected, "{name}");
        }
    }
}
