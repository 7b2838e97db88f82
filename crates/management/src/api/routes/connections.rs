//! Connections.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use leveret_broker::Name;
use leveret_broker::node::ConnectionsOf;
use leveret_broker::report::{Answered, KnownConnection, Subject};
use leveret_broker::topology::ConnectionId;
use serde_json::json;

use crate::api::listing::{self, Listing};
use crate::api::route::Gives;
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::views::{Columns, Row, gather};
use crate::{CloseMany, close_connections};

pub(super) const GROUP: Group = Group {
    title: "Connections",
    routes: &[
        Route {
            path: "/api/connections",
            operations: &[Operation::get(
                Access::Management,
                list,
                "All connections; users that may not monitor see their own",
            )
            .gives(Gives::Many("Connection"))],
        },
        Route {
            path: "/api/vhosts/{vhost}/connections",
            operations: &[Operation::get(Access::VisibleVhost, list_in, "The connections in a vhost")
                .gives(Gives::Many("Connection"))],
        },
        Route {
            path: "/api/connections/{connection}",
            operations: &[
                Operation::get(Access::Management, get, "A connection").gives(Gives::One("Connection")),
                Operation::delete(
                    Access::Management,
                    close,
                    "Closes a connection; its client is told the text of the header X-Reason",
                ),
            ],
        },
        Route {
            path: "/api/connections/{connection}/sessions",
            operations: &[Operation::get(Access::Management, sessions, "The sessions of a connection of AMQP 1.0")
                .gives(Gives::All("Session"))],
        },
        Route {
            path: "/api/connections/username/{user}",
            operations: &[
                Operation::get(Access::Management, list_of, "The connections of a user")
                    .gives(Gives::Many("TrackedConnection")),
                Operation::delete(
                    Access::Myself,
                    close_all,
                    "Closes all connections of a user; their clients are told the text of the header X-Reason",
                ),
            ],
        },
    ],
};

/// How long connections may take to say how they are.
const WAIT: Duration = Duration::from_secs(2);
/// What clients are told without a reason.
const REASON: &str = "Closed via management plugin";
/// What is known of a connection without asking it.
const KNOWN: [&str; 25] = [
    "channels",
    "connected_at",
    "host",
    "name",
    "node",
    "peer_cert_issuer",
    "peer_cert_subject",
    "peer_cert_validity",
    "peer_host",
    "peer_port",
    "port",
    "recv_cnt",
    "recv_oct",
    "send_cnt",
    "send_oct",
    "send_pend",
    "ssl",
    "ssl_cipher",
    "ssl_hash",
    "ssl_key_exchange",
    "ssl_protocol",
    "type",
    "user",
    "user_who_performed_action",
    "vhost",
];

/// Whether somebody has to be asked for these columns.
fn asks(columns: &Columns) -> bool {
    match columns {
        Columns::All => true,
        Columns::Some(names) => {
            names.iter().map(|name| name.strip_suffix("_details").unwrap_or(name)).any(|name| !KNOWN.contains(&name))
        }
    }
}

/// Whose connections a user sees, all in all or in a vhost. Some may be in other vhosts.
pub(super) fn visible(ask: &Ask<'_>, vhost: Option<&Name>) -> Result<ConnectionsOf, Failure> {
    Ok(match (ask.may_monitor(), vhost) {
        (true, Some(vhost)) => ConnectionsOf::Vhost(Name::clone(vhost)),
        (true, None) => ConnectionsOf::Everybody,
        (false, _) => ConnectionsOf::User(Name::clone(&ask.user()?.name)),
    })
}

/// Whether a connection is open, and in a vhost if one is given. Others are not shown, as in RabbitMQ.
pub(super) fn is_listed(known: &KnownConnection, vhost: Option<&Name>) -> bool {
    known.open.as_ref().is_some_and(|open| vhost.is_none_or(|vhost| open.vhost == *vhost))
}

/// The connection with a name, if it is there and the user may see it.
pub(super) fn find(ask: &Ask<'_>, name: &str) -> Result<KnownConnection, Failure> {
    let known = ask.node().known_connections(&ConnectionsOf::Everybody).into_iter();
    let mut found = known.filter(|known| is_listed(known, None) && known.peer.connection_name() == *name);
    let known = found.next().ok_or_else(Failure::not_found)?;
    if ask.may_monitor() || is_own(ask, &known) { Ok(known) } else { Err(no_object()) }
}

fn is_own(ask: &Ask<'_>, known: &KnownConnection) -> bool {
    matches!((&known.open, &ask.user), (Some(open), Some(user)) if open.user == user.name)
}

fn no_object() -> Failure {
    Failure::not_authorized("User not authorised to access object")
}

/// What connections say of themselves, and how long one waits for that.
struct Reports<'a> {
    ask: &'a Ask<'a>,
    until: Instant,
}

/// A connection that is listed.
struct Listed {
    known: KnownConnection,
    name: String,
    /// What it answered, once it was asked; none if it was gone by then.
    answered: OnceCell<Option<Answered>>,
}

impl Listed {
    fn new(known: KnownConnection) -> Self {
        Self { name: known.peer.connection_name(), known, answered: OnceCell::new() }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> (Option<&Name>, &str) {
        (self.known.open.as_ref().map(|open| &open.vhost), &self.name)
    }
}

impl Reports<'_> {
    fn row(&self, listed: &Listed, columns: &Columns) -> Option<Row> {
        let view = self.ask.view(columns);
        if !asks(columns) {
            let answered = Answered { known: listed.known.clone(), report: None };
            return Some(detailed(self.ask, &answered, view.connection_row(&answered)));
        }
        let answered = listed.answered.get_or_init(|| self.one(listed.known.id, Subject::Connection));
        answered.as_ref().map(|answered| detailed(self.ask, answered, view.connection_row(answered)))
    }

    /// Asks one.
    fn one(&self, id: ConnectionId, subject: Subject) -> Option<Answered> {
        let wait = self.until.saturating_duration_since(Instant::now());
        gather(self.ask.node().ask_one(id, subject)?, wait).into_iter().next()
    }
}

/// A connection's row with rates.
pub(super) fn detailed(ask: &Ask<'_>, answered: &Answered, mut row: Row) -> Row {
    ask.add_details(&crate::history::Subject::Connection(answered.known.id), &mut row);
    row
}

/// Asks one connection.
pub(super) fn ask_one(ask: &Ask<'_>, known: &KnownConnection, subject: Subject) -> Answered {
    let reports = Reports { ask, until: Instant::now() + WAIT };
    reports.one(known.id, subject).unwrap_or_else(|| Answered { known: known.clone(), report: None })
}

/// Asks many connections, and says which of them are listed.
pub(super) fn ask_many(ask: &Ask<'_>, whose: &ConnectionsOf, vhost: Option<&Name>, subject: Subject) -> Vec<Answered> {
    let mut answered = gather(ask.node().ask(whose, subject), WAIT);
    answered.retain(|answered| is_listed(&answered.known, vhost));
    answered
}

fn list_some(ask: &Ask<'_>, vhost: Option<&Name>) -> Result<Answer, Failure> {
    let whose = visible(ask, vhost)?;
    // Those of a page are asked one by one, when it is known which they are; all, and all at once, if that depends on what they say.
    let query = ask.query();
    let is_page = query.get("page").is_some();
    let root = query.get("sort").and_then(|column| column.split('.').next());
    let asks_all = root.is_some_and(|column| asks(&Columns::of([column])))
        || (!is_page && asks(listing::Wanted::read(query.get("columns")).roots()));
    let mut keys: Vec<Listed> = if asks_all {
        let answered = ask_many(ask, &whose, vhost, Subject::Connection);
        let listed = |answered: Answered| Listed {
            answered: OnceCell::from(Some(answered.clone())),
            ..Listed::new(answered.known)
        };
        answered.into_iter().map(listed).collect()
    } else {
        let known = ask.node().known_connections(&whose).into_iter();
        known.filter(|known| is_listed(known, vhost)).map(Listed::new).collect()
    };
    keys.sort_by(|one, other| one.place().cmp(&other.place()));
    let reports = Reports { ask, until: Instant::now() + WAIT };
    let row = |listed: &Listed, columns: &Columns| reports.row(listed, columns);
    Listing { keys, name: Listed::name, row }.answer(ask)
}

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    list_some(ask, None)
}

fn list_in(ask: &Ask<'_>) -> Result<Answer, Failure> {
    list_some(ask, Some(&ask.vhost()?))
}

/// Only what is known of them without asking, as RabbitMQ has it here.
fn list_of(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let user = ask.part("user");
    if !ask.may_monitor() && *ask.user()?.name != *user {
        return Err(no_object());
    }
    let known = ask.node().known_connections(&ConnectionsOf::User(user.into()));
    let row = |known: &KnownConnection| {
        let fields = [
            ("name", json!(known.peer.connection_name())),
            ("vhost", json!(known.open.as_ref().map(|open| &*open.vhost))),
            ("user", json!(user)),
            ("node", json!(&**ask.node().name())),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    listing::of_rows(ask, known.iter().map(row).collect())
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let known = find(ask, ask.part("connection"))?;
    let answered = ask_one(ask, &known, Subject::Connection);
    ask.one(|view| Ok::<_, Failure>(detailed(ask, &answered, view.connection_row(&answered))))
}

/// Connections of AMQP 0-9-1 have channels, and no sessions.
fn sessions(ask: &Ask<'_>) -> Result<Answer, Failure> {
    find(ask, ask.part("connection"))?;
    Err(Failure::bad_request("connection does not use AMQP 1.0"))
}

fn reason(ask: &Ask<'_>) -> Name {
    ask.reason().unwrap_or(REASON).into()
}

fn close(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let known = find(ask, ask.part("connection"))?;
    if !ask.is_administrator() && !is_own(ask, &known) {
        return Err(no_object());
    }
    ask.node().close_connection(known.id, &reason(ask));
    Ok(Answer::done())
}

fn close_all(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let close = CloseMany {
        whose: ConnectionsOf::User(ask.part("user").into()),
        limit: None,
        delay: Duration::ZERO,
        reason: reason(ask),
    };
    let closed = close_connections(ask.node(), &close, |_, _| true);
    tracing::info!("user '{}' closed {closed} connections of user '{}'", ask.user()?.name, ask.part("user"));
    Ok(Answer::done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_asked_only_for_what_is_not_known_of_them() {
        for (columns, expected) in [
            (Columns::All, true),
            (Columns::of(["name", "user", "ssl"]), false),
            (Columns::of(["name", "state"]), true),
            (Columns::of(["recv_oct"]), false),
            (Columns::of(["recv_oct_details"]), false),
            (Columns::of(["reductions_details"]), true),
        ] {
            assert_eq!(asks(&columns), expected, "{columns:?}");
        }
    }
}
