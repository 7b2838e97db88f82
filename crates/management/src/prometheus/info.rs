//! What the node is: the labels that dashboards join others to.

use std::io::{self, Write};

use leveret_broker::node::Node;
use leveret_broker::value::Value;

use super::{Family, Labels, Number, Page, Text};
use crate::Facts;
use crate::definitions::CLUSTER_ID;

/// The global parameter that names the cluster.
const CLUSTER_NAME: &str = "cluster_name";

const BUILD: Family = Family::untyped("build_info", "RabbitMQ & Erlang/OTP version info");
const IDENTITY: Family = Family::untyped("identity_info", "RabbitMQ node & cluster identity info");

/// Writes it.
pub(super) fn write<W: Write>(text: &mut Text<W>, node: &Node, facts: &Facts, page: &Page) -> io::Result<()> {
    let labels = Labels::of(&[
        ("rabbitmq_version", &facts.advertised_version),
        ("prometheus_plugin_version", facts.version),
        ("prometheus_client_version", facts.version),
        ("erlang_version", "none"),
        ("product_name", "Leveret"),
        ("product_version", facts.version),
    ]);
    text.begin(&BUILD)?;
    text.number(&BUILD, &labels, Number::Whole(1))?;
    let cluster = parameter(node, CLUSTER_NAME).unwrap_or_else(|| facts.node_name.clone());
    let id = parameter(node, CLUSTER_ID).unwrap_or_default();
    let labels = Labels::of(&[
        ("rabbitmq_node", &facts.node_name),
        ("rabbitmq_cluster", &cluster),
        ("rabbitmq_cluster_permanent_id", &id),
        ("rabbitmq_endpoint", page.endpoint()),
    ]);
    text.begin(&IDENTITY)?;
    text.number(&IDENTITY, &labels, Number::Whole(1))
}

fn parameter(node: &Node, name: &str) -> Option<String> {
    node.read(|topology| match topology.global_parameter(name) {
        Ok(Value::LongStr(octets)) => Some(String::from_utf8_lossy(octets).into_owned()),
        Ok(_) | Err(_) => None,
    })
}
