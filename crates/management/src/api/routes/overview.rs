//! The node as a whole, who is asking, and what this interface is.

use leveret_broker::Name;
use leveret_broker::exchange::ExchangeKind;
use leveret_broker::node::ConnectionsOf;
use leveret_broker::stats::Counters;
use leveret_broker::topology::Change;
use leveret_broker::value::Value as Field;
use serde_json::{Value, json};

use super::nodes::object;
use super::statistics;
use crate::api::listing::Wanted;
use crate::api::route::{Field as BodyField, Gives, Kind, Param};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route, login};
use crate::health::{self, CLUSTER_NAME};
use crate::history::Subject;
use crate::views::Row;
use crate::{Facts, Listener, ListenerKind};

pub(super) const GROUP: Group = Group {
    title: "Overview",
    routes: &[
        Route {
            path: "/api/overview",
            operations: &[Operation::get(Access::Management, overview, "What there is on the node, in numbers")
                .query(&[COLUMNS, DISABLE_STATS, QUEUE_TOTALS])
                .gives(Gives::One("Overview"))],
        },
        Route {
            path: "/api/cluster-name",
            operations: &[
                Operation::get(Access::Management, cluster_name, "The name of the cluster")
                    .gives(Gives::One("ClusterName")),
                Operation::put(Access::Administrator, set_cluster_name, "Names the cluster")
                    .body(&[BodyField::needed("name", Kind::Text, "Its name")]),
            ],
        },
        Route {
            path: "/api/version",
            operations: &[Operation::get(
                Access::Anybody,
                version,
                "The version of RabbitMQ that clients are told, as a text",
            )
            .gives(Gives::One("Version"))],
        },
        Route {
            path: "/api/extensions",
            operations: &[Operation::get(
                Access::Management,
                |_| Ok(Answer::json(&json!([]))),
                "Extensions of the pages in the browser: there are none",
            )
            .gives(Gives::All("Extension"))],
        },
        Route {
            path: "/api/whoami",
            operations: &[Operation::get(Access::Management, whoami, "The user who asks").gives(Gives::One("Whoami"))],
        },
        Route {
            path: "/api/auth",
            operations: &[
                Operation::get(Access::Anybody, auth, "How a page in a browser can log in").gives(Gives::One("Auth"))
            ],
        },
        Route {
            path: "/api/login",
            operations: &[Operation::post(
                Access::Anybody,
                login::log_in,
                "Whether a name and a password are right, as a form in the body; the answer is \"ok\"",
            )
            .body(&[
                BodyField::needed("username", Kind::Text, "The name"),
                BodyField::needed("password", Kind::Text, "The password"),
            ])
            .form()],
        },
    ],
};

/// Chooses columns of one object.
pub(super) const COLUMNS: Param =
    Param { name: "columns", help: "Only these fields, such as `name,message_stats.publish`" };
const DISABLE_STATS: Param = Param { name: "disable_stats", help: "`true` leaves out everything that is counted" };
const QUEUE_TOTALS: Param =
    Param { name: "enable_queue_totals", help: "What is said of it in the answer; totals come with the statistics" };

/// How closely rates are counted, in RabbitMQ's words.
pub(super) const RATES_MODE: &str = "basic";

fn overview(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let facts = ask.host().facts();
    let disable_stats = ask.disables_stats();
    let mut row = common(ask, &facts);
    row.insert("disable_stats".to_owned(), json!(disable_stats));
    row.insert("enable_queue_totals".to_owned(), json!(ask.enables_queue_totals()));
    let totals = totals(ask);
    let queues = json!({
        "messages": totals.ready + totals.unsettled,
        "messages_ready": totals.ready,
        "messages_unacknowledged": totals.unsettled,
    });
    let mut objects = object(json!({
        "queues": totals.queues,
        "exchanges": totals.exchanges,
        "connections": totals.connections,
    }));
    if !disable_stats {
        objects.insert("channels".to_owned(), json!(totals.channels));
        objects.insert("consumers".to_owned(), json!(totals.consumers));
        let counters = if ask.may_monitor() { ask.node().counters() } else { own_counters(ask) };
        row.insert("message_stats".to_owned(), statistics::messages(&counters));
        let churn = if ask.may_monitor() { statistics::churn(ask) } else { Row::new() };
        row.insert("churn_rates".to_owned(), Value::Object(churn));
        row.insert("queue_totals".to_owned(), queues);
        row.insert("statistics_db_event_queue".to_owned(), json!(0));
    }
    row.insert("object_totals".to_owned(), Value::Object(objects));
    if ask.may_monitor() {
        row.insert("node".to_owned(), json!(facts.node_name));
        if !disable_stats {
            row.insert("listeners".to_owned(), json!(listeners(ask, &facts.node_name)));
            row.insert("contexts".to_owned(), json!(contexts(ask, Some(&facts.node_name))));
        }
    }
    // What a user sees of it in part has no past of its own.
    if ask.may_monitor() {
        ask.add_details(&Subject::Overview, &mut row);
    }
    Ok(Answer::json(&Wanted::read(ask.query().get("columns")).cut(row)))
}

/// What happened in the vhosts that a user may open.
fn own_counters(ask: &Ask<'_>) -> Counters {
    let mut sum = Counters::default();
    for vhost in ask.open_vhosts() {
        // One that was deleted meanwhile has none.
        sum += ask.node().vhost_counters(&vhost).unwrap_or_default();
    }
    sum
}

/// What does not depend on who is asking.
fn common(ask: &Ask<'_>, facts: &Facts) -> Row {
    let version = &facts.advertised_version;
    let product = &facts.advertised_product;
    object(json!({
        "management_version": version,
        "rates_mode": RATES_MODE,
        "sample_retention_policies": { "global": [600, 3600, 28800, 86400], "basic": [600, 3600], "detailed": [600] },
        "exchange_types": exchange_types(ask),
        "product_version": version,
        "product_name": product,
        "rabbitmq_version": version,
        "leveret_version": facts.version,
        "cluster_name": health::cluster_name(ask.node()),
        "cluster_tags": {},
        "node_tags": {},
        // There is no Erlang; some clients cannot do without these two texts.
        "erlang_version": "none",
        "erlang_full_version": format!("none (Leveret {}, {})", facts.version, facts.system),
        "crypto_lib_version": "AWS-LC",
        "release_series_support_status": "supported",
        "default_queue_type": "classic",
        "is_op_policy_updating_enabled": true,
    }))
}

/// How much there is of what the user can see.
struct Totals {
    exchanges: usize,
    queues: usize,
    connections: usize,
    channels: u64,
    consumers: usize,
    ready: usize,
    unsettled: usize,
}

fn totals(ask: &Ask<'_>) -> Totals {
    if ask.may_monitor() {
        let all = ask.node().totals();
        return Totals {
            exchanges: all.exchanges,
            queues: all.queues,
            connections: all.connections,
            channels: all.channels,
            consumers: all.consumers,
            ready: all.ready,
            unsettled: all.unsettled,
        };
    }
    let vhosts = ask.open_vhosts();
    let exchanges = ask.node().read(|topology| {
        let counts = vhosts.iter().map(|name| topology.vhost(name).map_or(0, |vhost| vhost.exchanges().count()));
        counts.sum()
    });
    // Connections and channels are seen by those whose they are.
    let mine = ask.user.as_ref().map(|user| ConnectionsOf::User(Name::clone(&user.name)));
    let mine = mine.map(|mine| ask.node().known_connections(&mine)).unwrap_or_default();
    let channels = mine.iter().filter_map(|known| known.open.as_ref()).map(|open| open.channels).sum();
    let connections = mine.len();
    let mut totals = Totals { exchanges, queues: 0, connections, channels, consumers: 0, ready: 0, unsettled: 0 };
    for queue in vhosts.iter().filter_map(|vhost| ask.node().list_queues(vhost).ok()).flatten() {
        let counts = queue.cell.counts();
        totals.queues += 1;
        totals.consumers += counts.consumers;
        totals.ready += counts.ready;
        totals.unsettled += counts.unsettled;
    }
    totals
}

/// The types of exchanges that can be declared, or could.
pub(super) fn exchange_types(ask: &Ask<'_>) -> Vec<Value> {
    let row = |kind: &ExchangeKind| {
        let description = match kind {
            ExchangeKind::Direct => "AMQP direct exchange, as per the AMQP specification",
            ExchangeKind::Fanout => "AMQP fanout exchange, as per the AMQP specification",
            ExchangeKind::Topic => "AMQP topic exchange, as per the AMQP specification",
            ExchangeKind::Headers => "AMQP headers exchange, as per the AMQP specification",
            ExchangeKind::ConsistentHash => "Chooses one queue by a hash of the routing key, in proportion to weights",
            ExchangeKind::ModulusHash => "Chooses one queue by a hash of the routing key",
            ExchangeKind::Random => "Chooses one queue by chance",
            ExchangeKind::LocalRandom => "Chooses one queue of this node by chance",
            ExchangeKind::RecentHistory => "Fanout that gives a new queue what came last",
            ExchangeKind::Deduplication => "Drops messages that came before",
            ExchangeKind::Delayed => "Holds messages back for as long as they ask",
        };
        let enabled = ask.node().switches().exchange_kind(kind.as_str()).is_ok();
        json!({ "name": kind.as_str(), "description": description, "enabled": enabled })
    };
    ExchangeKind::ALL.iter().map(row).collect()
}

/// Where connections are taken.
fn listeners(ask: &Ask<'_>, node: &str) -> Vec<Value> {
    let row = |Listener { kind, address }| {
        json!({
            "node": node,
            "protocol": kind.name(),
            "ip_address": address.ip().to_string(),
            "port": address.port(),
            "socket_opts": {},
        })
    };
    ask.host().listeners().into_iter().map(row).collect()
}

/// What is served over HTTP, and where.
pub(super) fn contexts(ask: &Ask<'_>, node: Option<&str>) -> Vec<Value> {
    let path = format!("{}/", ask.settings().path_prefix);
    let http = ask.host().listeners().into_iter().filter_map(|Listener { kind, address }| {
        let management = ("RabbitMQ Management", path.as_str());
        let prometheus = ("RabbitMQ Prometheus", "/");
        let (is_tls, (description, path)) = match kind {
            ListenerKind::Http => (false, management),
            ListenerKind::Https => (true, management),
            ListenerKind::Prometheus => (false, prometheus),
            ListenerKind::PrometheusTls => (true, prometheus),
            ListenerKind::Amqp | ListenerKind::Amqps => return None,
        };
        let mut row = object(json!({
            "description": description,
            "path": path,
            "ip": address.ip().to_string(),
            "port": address.port().to_string(),
        }));
        if is_tls {
            row.insert("ssl".to_owned(), json!("true"));
        }
        if let Some(node) = node {
            row.insert("ssl_opts".to_owned(), json!([]));
            row.insert("node".to_owned(), json!(node));
        }
        Some(Value::Object(row))
    });
    http.collect()
}

fn cluster_name(ask: &Ask<'_>) -> Result<Answer, Failure> {
    Ok(Answer::json(&json!({ "name": health::cluster_name(ask.node()) })))
}

fn set_cluster_name(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let members = ask.members()?;
    members.need(&["name"])?;
    let name = members.needed_text("name")?;
    ask.change(Change::SetGlobalParameter { name: CLUSTER_NAME.into(), value: Field::text(name) })?;
    Ok(Answer::done())
}

fn version(ask: &Ask<'_>) -> Result<Answer, Failure> {
    Ok(Answer::json(&ask.host().facts().advertised_version))
}

fn whoami(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let user = ask.user()?;
    let tags: Vec<Value> = user.tags.iter().map(|tag| json!(&**tag)).collect();
    Ok(Answer::json(&json!({ "name": &*user.name, "tags": tags })))
}

fn auth(ask: &Ask<'_>) -> Result<Answer, Failure> {
    Ok(Answer::json(&json!({
        "oauth_enabled": false,
        "disable_basic_auth": !ask.settings().basic_auth,
        // As it was called before.
        "enable_uaa": false,
        "uaa_client_id": "",
        "uaa_location": "",
    })))
}
