//! Definitions as a file, in the order that RabbitMQ's have.

use std::io::{self, Write};

use leveret_auth::hash;
use leveret_broker::Name;
use leveret_broker::exchange::Exchange;
use leveret_broker::node::Node;
use leveret_broker::topology::{
    Binding, Destination, Parameter, Policy, PolicyKind, Protection, Topology, User, Vhost,
};
use leveret_broker::value::{Table, Value};
use leveret_broker::{Error, topology::QueueRecord};
use serde_json::{Map, Value as Json, json};

use super::import::Scope;
use crate::json;

/// The parameter that has the name of the cluster.
const CLUSTER_NAME: &str = "cluster_name";
/// The parameter that tells a cluster from all others, whatever they are called.
pub(crate) const CLUSTER_ID: &str = "internal_cluster_id";

/// Whose definitions they are.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The version of RabbitMQ that clients are told.
    pub advertised_version: &'a str,
    /// Our own version.
    pub version: &'a str,
    /// The name of the node, if the cluster has none.
    pub node_name: &'a str,
    /// Whether the id of the cluster is in them.
    pub cluster_id: ClusterId,
}

/// Whether the id of the cluster is in its definitions. RabbitMQ's HTTP API puts it there, its tool does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterId {
    /// It is.
    Told,
    /// It is not, so that another cluster may have them.
    LeftOut,
}

/// Writes the definitions of a node or of one vhost as JSON. Nobody waits for that: they are copied first.
pub fn export(node: &Node, scope: &Scope, origin: Origin<'_>, to: &mut dyn Write) -> Result<io::Result<()>, Error> {
    let draft = node.draft();
    let topology = draft.topology();
    let mut vhosts: Vec<&Vhost> = match scope {
        Scope::All => topology.vhosts().collect(),
        Scope::Vhost(vhost) => vec![topology.vhost(vhost)?],
    };
    vhosts.sort_unstable_by_key(|vhost| vhost.name());
    Ok(File { to, is_first: true }.write(topology, &vhosts, scope, origin))
}

/// The file, member by member.
struct File<'a> {
    to: &'a mut dyn Write,
    is_first: bool,
}

/// An object whose members stay in their order.
type Members = Vec<(&'static str, Json)>;

impl File<'_> {
    fn write(&mut self, topology: &Topology, vhosts: &[&Vhost], scope: &Scope, origin: Origin<'_>) -> io::Result<()> {
        self.to.write_all(b"{")?;
        self.member("rabbit_version", &json!(origin.advertised_version))?;
        self.member("rabbitmq_version", &json!(origin.advertised_version))?;
        self.member("product_name", &json!("Leveret"))?;
        self.member("product_version", &json!(origin.version))?;
        let whole = match scope {
            Scope::All => {
                self.whole(topology, vhosts, origin)?;
                Place::Named
            }
            Scope::Vhost(vhost) => {
                self.member("rabbitmq_definition_format", &json!("single_virtual_host"))?;
                self.member("original_vhost_name", &json!(&**vhost))?;
                self.member("explanation", &json!(format!("Definitions of virtual host '{vhost}'")))?;
                Place::Left
            }
        };
        self.list("parameters", vhosts.iter().flat_map(|vhost| parameters(vhost)))?;
        if whole == Place::Named {
            let is_told = |name: &Name| origin.cluster_id == ClusterId::Told || **name != *CLUSTER_ID;
            let global = topology.global_parameters().filter(|(name, _)| is_told(name));
            self.list(
                "global_parameters",
                global.map(|(name, value)| vec![("name", json!(&**name)), ("value", json::value(value))]),
            )?;
        }
        self.list("policies", vhosts.iter().flat_map(|vhost| policies(vhost)))?;
        self.list("queues", vhosts.iter().flat_map(|vhost| queues(vhost, whole)))?;
        self.list("exchanges", vhosts.iter().flat_map(|vhost| exchanges(vhost, whole)))?;
        self.list("bindings", vhosts.iter().flat_map(|vhost| bindings(vhost, whole)))?;
        self.to.write_all(b"}")
    }

    /// What is not in a vhost.
    fn whole(&mut self, topology: &Topology, vhosts: &[&Vhost], origin: Origin<'_>) -> io::Result<()> {
        let cluster = match topology.global_parameter(CLUSTER_NAME) {
            Ok(name) => name.as_str().unwrap_or(origin.node_name),
            Err(_) => origin.node_name,
        };
        self.member("rabbitmq_definition_format", &json!("cluster"))?;
        self.member("original_cluster_name", &json!(cluster))?;
        self.member("explanation", &json!(format!("Definitions of cluster '{cluster}'")))?;
        self.list("users", topology.users().map(|user| self::user(topology, user)))?;
        self.list("vhosts", vhosts.iter().map(|vhost| described(vhost)))?;
        self.list("permissions", topology.users().flat_map(permissions))?;
        self.list("topic_permissions", topology.users().flat_map(topic_permissions))
    }

    fn member(&mut self, name: &str, value: &Json) -> io::Result<()> {
        self.name(name)?;
        serde_json::to_writer(&mut *self.to, value).map_err(io::Error::from)
    }

    fn name(&mut self, name: &str) -> io::Result<()> {
        let comma = if std::mem::take(&mut self.is_first) { "" } else { "," };
        write!(self.to, "{comma}\"{name}\":")
    }

    fn list(&mut self, name: &str, items: impl Iterator<Item = Members>) -> io::Result<()> {
        self.name(name)?;
        let mut before = "[";
        for members in items {
            self.to.write_all(before.as_bytes())?;
            let mut within = "{";
            for (name, value) in members {
                write!(self.to, "{within}\"{name}\":")?;
                serde_json::to_writer(&mut *self.to, &value).map_err(io::Error::from)?;
                within = ",";
            }
            self.to.write_all(b"}")?;
            before = ",";
        }
        self.to.write_all(if before == "[" { b"[]" } else { b"]" })
    }
}

/// Whether it is said of what is in a vhost in which one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Named,
    Left,
}

impl Place {
    fn add(self, members: &mut Members, vhost: &Vhost) {
        if self == Self::Named {
            members.push(("vhost", json!(&**vhost.name())));
        }
    }
}

fn names(names: &[Name]) -> Json {
    names.iter().map(|name| json!(&**name)).collect()
}

fn object(table: &Table) -> Json {
    Json::Object(json::table(table))
}

fn user(topology: &Topology, user: &User) -> Members {
    let limits = topology.limits_of(user.name());
    vec![
        ("name", json!(&**user.name())),
        ("password_hash", json!(hash::to_text(user.password()))),
        ("hashing_algorithm", json!(user.password().algorithm.as_str())),
        ("tags", names(user.tags())),
        ("limits", limits.map_or_else(|| json!({}), object)),
    ]
}

fn described(vhost: &Vhost) -> Members {
    let metadata = vhost.metadata();
    let mut about = Map::new();
    about.insert("description".to_owned(), json!(&*metadata.description));
    about.insert("tags".to_owned(), names(&metadata.tags));
    let mut members = vec![
        ("name", json!(&**vhost.name())),
        ("description", json!(&*metadata.description)),
        ("tags", names(&metadata.tags)),
    ];
    if let Some(queue_type) = &metadata.default_queue_type {
        about.insert("default_queue_type".to_owned(), json!(&**queue_type));
        members.push(("default_queue_type", json!(&**queue_type)));
    }
    if metadata.protection == Protection::Deletion {
        about.insert("protected_from_deletion".to_owned(), json!(true));
    }
    let limits: Vec<Json> = match vhost.parameter("vhost-limits", "limits") {
        Ok(Value::Table(limits)) => limits.iter().map(|(name, limit)| json!([&**name, json::value(limit)])).collect(),
        _ => Vec::new(),
    };
    members.push(("limits", json!(limits)));
    members.push(("metadata", Json::Object(about)));
    members
}

fn permissions(user: &User) -> impl Iterator<Item = Members> {
    user.permissions().map(|(vhost, permissions)| {
        vec![
            ("user", json!(&**user.name())),
            ("vhost", json!(&**vhost)),
            ("configure", json!(&**permissions.configure.text())),
            ("write", json!(&**permissions.write.text())),
            ("read", json!(&**permissions.read.text())),
        ]
    })
}

fn topic_permissions(user: &User) -> impl Iterator<Item = Members> {
    user.topic_permissions().map(|(vhost, exchange, permissions)| {
        vec![
            ("user", json!(&**user.name())),
            ("vhost", json!(&**vhost)),
            ("exchange", json!(&**exchange)),
            ("write", json!(&**permissions.write.text())),
            ("read", json!(&**permissions.read.text())),
        ]
    })
}

/// As in RabbitMQ, operator policies are among the parameters, and both say in which vhost they are also in definitions of one.
fn parameters(vhost: &Vhost) -> impl Iterator<Item = Members> {
    let of = |component: &str, name: &Name, value: Json| {
        let (vhost, component, name) = (json!(&**vhost.name()), json!(component), json!(&**name));
        vec![("value", value), ("vhost", vhost), ("component", component), ("name", name)]
    };
    let parameters =
        vhost.parameters().map(move |Parameter { component, name, value }| of(component, name, json::value(value)));
    let policies = vhost.policies(PolicyKind::Operator).map(move |policy| {
        let Policy { name, pattern, apply_to, priority, definition } = policy;
        let value = json!({
            "pattern": &**pattern,
            "definition": object(definition),
            "priority": priority,
            "apply-to": apply_to.as_str(),
        });
        of("operator_policy", name, value)
    });
    parameters.chain(policies)
}

fn policies(vhost: &Vhost) -> impl Iterator<Item = Members> {
    vhost.policies(PolicyKind::User).map(|policy| {
        let Policy { name, pattern, apply_to, priority, definition } = policy;
        vec![
            ("vhost", json!(&**vhost.name())),
            ("name", json!(&**name)),
            ("pattern", json!(&**pattern)),
            ("apply-to", json!(apply_to.as_str())),
            ("definition", object(definition)),
            ("priority", json!(priority)),
        ]
    })
}

/// Exclusive queues go with their connections.
fn queues(vhost: &Vhost, place: Place) -> impl Iterator<Item = Members> {
    let mut queues: Vec<&QueueRecord> = vhost.queues().filter(|queue| queue.exclusive().is_none()).collect();
    queues.sort_unstable_by_key(|queue| queue.name());
    queues.into_iter().map(move |queue| {
        let mut arguments = json::table(queue.arguments());
        // A queue from before the vhost had a default must not become one of that type.
        if vhost.metadata().default_queue_type.is_some() {
            arguments.entry("x-queue-type").or_insert_with(|| json!("classic"));
        }
        let mut members = vec![("name", json!(&**queue.name()))];
        place.add(&mut members, vhost);
        members.push(("durable", json!(queue.durable())));
        members.push(("auto_delete", json!(queue.auto_delete())));
        members.push(("arguments", Json::Object(arguments)));
        members
    })
}

/// Those that every vhost has are not declared.
fn exchanges(vhost: &Vhost, place: Place) -> impl Iterator<Item = Members> {
    let is_own = |exchange: &&Exchange| !exchange.name().is_empty() && !exchange.name().starts_with("amq.");
    let mut exchanges: Vec<&Exchange> = vhost.exchanges().filter(is_own).collect();
    exchanges.sort_unstable_by_key(|exchange| exchange.name());
    exchanges.into_iter().map(move |exchange| {
        let mut members = vec![("name", json!(&**exchange.name()))];
        place.add(&mut members, vhost);
        members.push(("type", json!(exchange.kind().as_str())));
        members.push(("durable", json!(exchange.durable())));
        members.push(("auto_delete", json!(exchange.auto_delete())));
        members.push(("internal", json!(exchange.internal())));
        members.push(("arguments", object(exchange.arguments())));
        members
    })
}

fn bindings(vhost: &Vhost, place: Place) -> impl Iterator<Item = Members> {
    let is_lasting = |binding: &&Binding| match binding.destination() {
        Destination::Queue(name) => vhost.any_queue(name).is_ok_and(|queue| queue.exclusive().is_none()),
        Destination::Exchange(_) => true,
    };
    let all = vhost.exchanges().flat_map(Exchange::bindings).map(|binding| &**binding);
    let mut bindings: Vec<&Binding> = all.filter(is_lasting).collect();
    let order = |binding: &&Binding| {
        let (source, destination, key) = (binding.source(), binding.destination(), binding.routing_key());
        (
            Name::clone(source),
            destination.clone(),
            Name::clone(key),
            json::value(&Value::Table(binding.arguments().clone())).to_string(),
        )
    };
    bindings.sort_by_cached_key(order);
    bindings.into_iter().map(move |binding| {
        let (destination, kind) = match binding.destination() {
            Destination::Queue(name) => (name, "queue"),
            Destination::Exchange(name) => (name, "exchange"),
        };
        let mut members = vec![("source", json!(&**binding.source()))];
        place.add(&mut members, vhost);
        members.push(("destination", json!(&**destination)));
        members.push(("destination_type", json!(kind)));
        members.push(("routing_key", json!(&**binding.routing_key())));
        members.push(("arguments", object(binding.arguments())));
        members
    })
}
