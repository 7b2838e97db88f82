//! Vhosts and their limits.

use leveret_broker::topology::{Protection, Vhost};
use leveret_broker::value::Value;
use leveret_broker::{Error, Name};
use serde_json::{Map, Value as Json, json};

use super::{Form, Row, View};
use crate::json;

/// The queue type of vhosts that name none.
const QUEUE_TYPE: &str = "classic";

impl View<'_> {
    /// All vhosts in the order of their names.
    pub fn vhosts(self) -> Vec<Row> {
        self.node.read(|topology| {
            let mut vhosts: Vec<&Vhost> = topology.vhosts().collect();
            vhosts.sort_unstable_by(|one, two| one.name().cmp(two.name()));
            vhosts.into_iter().map(|vhost| self.vhost_row(vhost)).collect()
        })
    }

    /// A vhost.
    pub fn vhost(self, name: &str) -> Result<Row, Error> {
        self.node.read(|topology| Ok(self.vhost_row(topology.vhost(name)?)))
    }

    fn vhost_row(self, vhost: &Vhost) -> Row {
        let metadata = vhost.metadata();
        let tags = || -> Json { metadata.tags.iter().map(|tag| json!(&**tag)).collect() };
        let queue_type = || metadata.default_queue_type.as_deref().unwrap_or(QUEUE_TYPE);
        let is_protected = metadata.protection == Protection::Deletion;
        let mut row = self.row();
        row.add("name", || vhost.name().to_string())
            .add("tracing", || self.node.is_traced(vhost.name()))
            .add("description", || metadata.description.to_string())
            .add("tags", tags)
            .add("default_queue_type", queue_type)
            .add("protected_from_deletion", || is_protected)
            .add("metadata", || {
                json!({
                    "description": &*metadata.description,
                    "tags": tags(),
                    "default_queue_type": queue_type(),
                    "protected_from_deletion": is_protected,
                })
            })
            .add("cluster_state", || Map::from_iter([(self.node.name().to_string(), json!("running"))]));
        row.row
    }

    /// The limits of one vhost, or of all that have some.
    pub fn vhost_limits(self, vhost: Option<&str>) -> Result<Vec<Row>, Error> {
        self.node.read(|topology| {
            let mut vhosts: Vec<&Vhost> = match vhost {
                Some(vhost) => vec![topology.vhost(vhost)?],
                None => topology.vhosts().collect(),
            };
            vhosts.sort_unstable_by(|one, two| one.name().cmp(two.name()));
            Ok(vhosts.into_iter().filter_map(|vhost| self.limits_row(vhost)).collect())
        })
    }

    fn limits_row(self, vhost: &Vhost) -> Option<Row> {
        match vhost.parameter("vhost-limits", "limits") {
            Ok(Value::Table(limits)) => Some(self.limited("vhost", vhost.name(), json::table(limits))),
            _ => None,
        }
    }

    /// Limits of a vhost or a user.
    pub(super) fn limited(self, of: &str, name: &Name, limits: Row) -> Row {
        let mut row = self.row();
        match self.form {
            Form::Listing => {
                row.add(of, || name.to_string()).add("limits", || json::in_order(Json::Object(limits)).to_string())
            }
            Form::Api => row.add(of, || name.to_string()).add("value", || Json::Object(limits)),
        };
        row.row
    }
}
