//! A request as its handler sees it.

use std::cell::{RefCell, RefMut};
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName};
use leveret_broker::access::{Answer as Verdict, Identity, Peer, Question};
use leveret_broker::events::INTERNAL;
use leveret_broker::node::Node;
use leveret_broker::topology::{Applied, Change};
use leveret_broker::{Error, Name};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::access::{self, tags};
use super::body::{self, Members};
use super::listing::Wanted;
use super::query::Query;
use super::reply::Reply;
use super::router::Parts;
use super::{Access, Answer, ApiSettings, Failure, Operation, media};
use crate::asking::ask;
use crate::history::{Ages, History, Subject};
use crate::traces::Traces;
use crate::views::{Columns, Form, Row, View};
use crate::{App, Host, write};

/// What RabbitMQ says of a body that is a text.
const TWICE: &str = "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?";
/// Why a change is made.
const REASON: HeaderName = HeaderName::from_static("x-reason");

/// A request as its handler sees it.
pub(super) struct Ask<'a> {
    pub(super) host: &'a dyn Host,
    pub(super) app: App,
    pub(super) settings: &'a ApiSettings,
    /// Where the request comes from.
    pub(super) peer: Peer,
    pub(super) headers: HeaderMap,
    /// Who is asking; none where everybody may.
    pub(super) user: Option<Identity>,
    pub(super) parts: Parts,
    pub(super) query: Query,
    /// Wiped when it is done with: there may be passwords in it.
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) history: &'a History,
    pub(super) traces: &'a Traces,
    /// How far back the client wants to look.
    pub(super) ages: Ages,
    pub(super) reply: RefCell<Reply>,
}

impl Debug for Ask<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // The body may have passwords, and so may the path.
        f.debug_struct("Ask").field("query", &self.query).finish_non_exhaustive()
    }
}

impl Ask<'_> {
    /// The process around the broker.
    pub(super) fn host(&self) -> &dyn Host {
        self.host
    }

    /// The broker, its logins and names.
    pub(super) const fn app(&self) -> &App {
        &self.app
    }

    /// The broker.
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.app.node
    }

    /// What the interface was told.
    pub(super) const fn settings(&self) -> &ApiSettings {
        self.settings
    }

    /// The text of a header.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Why the change is made, if the client says so (`X-Reason`).
    pub(super) fn reason(&self) -> Option<&str> {
        self.header(&REASON)
    }

    /// Whether the answer is to have nothing that is counted.
    pub(super) fn disables_stats(&self) -> bool {
        self.settings.disable_stats || self.query.is_true("disable_stats")
    }

    /// Whether queues have their numbers of messages though nothing else is counted.
    pub(super) fn enables_queue_totals(&self) -> bool {
        self.settings.enable_queue_totals || self.query.is_true("enable_queue_totals")
    }

    /// Who is asking. Only operations for [`Access::Anybody`] are without.
    pub(super) fn user(&self) -> Result<&Identity, Failure> {
        self.user.as_ref().ok_or_else(|| Failure::not_authorized("Not_Authorized"))
    }

    /// Whether the user may see all vhosts.
    pub(super) fn may_monitor(&self) -> bool {
        self.user.as_ref().is_some_and(access::may_monitor)
    }

    /// Whether the user may do everything.
    pub(super) fn is_administrator(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.has_tag(tags::ADMINISTRATOR))
    }

    /// A named part of the path.
    pub(super) fn part(&self, name: &str) -> &str {
        self.parts.iter().find(|(known, _)| known == name).map_or("", |(_, text)| text)
    }

    /// The vhost of the path, in which something is to be made.
    pub(super) fn target_vhost(&self) -> Result<Name, Failure> {
        self.vhost().map_err(|_| Failure::new(StatusCode::NOT_FOUND, "not_found", "vhost_not_found"))
    }

    /// The vhost of the path, which has to be there.
    pub(super) fn vhost(&self) -> Result<Name, Failure> {
        let name = self.part("vhost");
        let known = self.node().read(|topology| topology.vhost(name).map(|vhost| Name::clone(vhost.name())));
        known.map_err(|_| Failure::not_found())
    }

    /// Adds the rates of all numbers in a row that has a past, and samples if the client wants to look back.
    pub(super) fn add_details(&self, subject: &Subject, row: &mut Row) {
        self.history.add_details(subject, &self.ages, row);
    }

    /// The traces of messages.
    pub(super) const fn traces(&self) -> &Traces {
        self.traces
    }

    /// The past.
    pub(super) const fn history(&self) -> &History {
        self.history
    }

    /// What stands behind the `?`.
    pub(super) const fn query(&self) -> &Query {
        &self.query
    }

    /// The body, which has to be JSON.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| Failure::bad_request("not_json"))
    }

    /// The body, which has to be an object; an empty one if there is none.
    pub(super) fn object(&self) -> Result<Map<String, Value>, Failure> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        match self.json()? {
            Value::Object(object) => Ok(object),
            Value::Null => Ok(Map::new()),
            mut other => {
                body::wipe(&mut other);
                Err(Failure::bad_request(match other {
                    Value::String(_) => TWICE,
                    _ => "not_json",
                }))
            }
        }
    }

    /// The same, read member by member, and wiped.
    pub(super) fn members(&self) -> Result<Members, Failure> {
        self.object().map(Members::new)
    }

    /// A look at the node with these columns.
    pub(super) fn view<'b>(&'b self, columns: &'b Columns) -> View<'b> {
        View { node: &self.app.node, pids: &self.app.pids, form: Form::Api, columns }
    }

    /// The answer to a request for one row, with the columns that are asked for.
    pub(super) fn one<E: Into<Failure>>(
        &self,
        row: impl FnOnce(View<'_>) -> Result<Row, E>,
    ) -> Result<Answer, Failure> {
        let wanted = Wanted::read(self.query.get("columns"));
        let row = row(self.view(wanted.roots())).map_err(Into::into)?;
        Ok(Answer::json(&wanted.cut(row)))
    }

    /// Makes a change and waits until it is on disk.
    pub(super) fn change(&self, change: Change) -> Result<Applied, Failure> {
        let actor = self.user.as_ref().map_or(INTERNAL, |user| &*user.name);
        Ok(write::apply_as(self.node(), change, actor)?)
    }

    /// Whether the user may do what a question asks about; back ends may be asked, and waited for.
    pub(super) fn may(&self, question: &Question) -> bool {
        self.verdict(question).is_some_and(|verdict| verdict == Verdict::Allowed)
    }

    fn verdict(&self, question: &Question) -> Option<Verdict> {
        self.user.as_ref().map(|user| ask(&*user.authority, question))
    }

    /// Whether the user may open a vhost.
    pub(super) fn may_open(&self, vhost: &Name) -> bool {
        self.may(&Question::Vhost { vhost: Name::clone(vhost) })
    }

    /// Fails with the broker's refusal unless the user may do what a question asks about.
    pub(super) fn permit(&self, question: Question) -> Result<(), Error> {
        let verdict = self.verdict(&question).unwrap_or(Verdict::REFUSED);
        if verdict.is_allowed() {
            return Ok(());
        }
        let user = self.user.as_ref().map_or_else(|| Name::from(""), |user| Name::clone(&user.name));
        Err(Error::Refused { user, question: Box::new(question), answer: Box::new(verdict) })
    }

    /// The vhosts whose contents the user may see, in order.
    pub(super) fn visible_vhosts(&self) -> Vec<Name> {
        let mut vhosts: Vec<Name> =
            self.node().read(|topology| topology.vhosts().map(|vhost| Name::clone(vhost.name())).collect());
        vhosts.sort_unstable();
        if !self.may_monitor() {
            vhosts.retain(|vhost| self.may_open(vhost));
        }
        vhosts
    }

    /// The vhosts that the user may open, in order.
    pub(super) fn open_vhosts(&self) -> Vec<Name> {
        let mut vhosts: Vec<Name> =
            self.node().read(|topology| topology.vhosts().map(|vhost| Name::clone(vhost.name())).collect());
        vhosts.sort_unstable();
        vhosts.retain(|vhost| self.may_open(vhost));
        vhosts
    }

    /// Fails unless the user may use the operation on what the path names.
    pub(super) fn admit(&self, operation: &Operation) -> Result<(), Failure> {
        let refused = || Failure::not_authorized("User not authorised to access virtual host");
        let vhost = match operation.access {
            Access::VisibleVhost if self.may_monitor() => return Ok(()),
            Access::Vhost | Access::Policymaker | Access::VisibleVhost => self.vhost(),
            Access::Myself => {
                let is_me = self.user.as_ref().is_some_and(|user| *user.name == *self.part("user"));
                return if is_me || self.is_administrator() {
                    Ok(())
                } else {
                    Err(Failure::not_authorized("User not authorised to access object"))
                };
            }
            Access::Anybody | Access::Reader | Access::Management | Access::Monitoring | Access::Administrator => {
                return Ok(());
            }
        };
        match vhost {
            Ok(vhost) if !self.may_open(&vhost) => Err(refused()),
            // One without a vhost in its path has none to be kept out of; one that is not there is found out later.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Fails if the client does not take what the operation gives, or calls its body what the operation does not take. A vhost that
    /// is not there is worse.
    pub(super) fn check_media(&self, operation: &Operation) -> Result<(), Failure> {
        let is_missing = || self.parts.iter().any(|(name, _)| name == "vhost") && self.vhost().is_err();
        let checked = media::check(operation, &self.headers);
        checked.map_err(|failure| if is_missing() { Failure::not_found() } else { failure })
    }

    /// The way of the answer, for those that come piece by piece.
    pub(super) fn reply(&self) -> RefMut<'_, Reply> {
        self.reply.borrow_mut()
    }
}
