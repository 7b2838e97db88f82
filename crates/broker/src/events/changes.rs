//! What a change of the topology means, as events.

use super::{Bus, Fact, Facts, wide};
use crate::Name;
use crate::clock::Timestamp;
use crate::topology::{Applied, Change, Destination, Policy, PolicyKind, Reconfigured, Removed, Topology, clean_name};
use crate::value::{Table, Value};

/// A component of parameters with an event of its own.
const VHOST_LIMITS: &str = "vhost-limits";
/// The component under which policies of operators are parameters.
const OPERATOR_POLICY: &str = "operator_policy";

/// Tells of changes; made for a change that was made, with the topology as it is now.
#[derive(Debug)]
pub(crate) struct Telling<'a> {
    pub(crate) bus: &'a Bus,
    pub(crate) topology: &'a Topology,
    /// What the node is called.
    pub(crate) node: &'a Name,
    pub(crate) now: Timestamp,
    /// Who did it.
    pub(crate) actor: &'a str,
}

/// What was there before a change, as far as that decides what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// What it sets was there.
    There,
    /// It was not.
    Missing,
}

impl Before {
    /// Whether the user of a change was there before it.
    pub(crate) fn of(change: &Change, topology: &Topology) -> Self {
        match change {
            Change::SetUser { user, .. } if topology.user(user).is_ok() => Self::There,
            _ => Self::Missing,
        }
    }
}

impl Telling<'_> {
    fn tell(&self, name: &'static str, facts: Facts) {
        self.bus.tell(name, self.now, facts);
    }

    /// Facts that begin with who did it.
    fn by(&self) -> Facts {
        Facts::new().text("user_who_performed_action", self.actor)
    }

    /// Tells of a change that was made.
    pub(crate) fn change(&self, change: &Change, before: Before, applied: &Applied) {
        if !applied.is_news() {
            return;
        }
        match change {
            Change::CreateVhost { vhost } | Change::SetVhost { vhost, .. } => {
                if matches!(applied, Applied::VhostCreated) {
                    self.vhost_created(vhost);
                }
            }
            Change::DeleteVhost { vhost } => {
                self.removed_from(vhost, applied, Order::ExchangesFirst);
                self.tell("vhost.deleted", self.by().text("name", vhost));
                let down = Facts::new().text("user_who_performed_action", super::INTERNAL).text("node", self.node);
                self.tell("vhost.down", down.text("name", vhost));
            }
            Change::DeclareExchange { vhost, name, .. } => self.exchange_created(vhost, &clean_name(name)),
            Change::DeclareQueue { vhost, name, .. } => self.queue_created(vhost, &clean_name(name)),
            Change::DeleteExchange { vhost, .. } => self.removed_from(vhost, applied, Order::ExchangesFirst),
            Change::DeleteQueue { vhost, .. } | Change::Unbind { vhost, .. } => {
                self.removed_from(vhost, applied, Order::BindingsFirst);
            }
            Change::Bind { vhost, source, destination, routing_key, arguments, .. } => {
                self.binding("binding.created", vhost, source, destination, routing_key, arguments);
            }
            Change::SetPolicy { .. }
            | Change::ClearPolicy { .. }
            | Change::SetParameter { .. }
            | Change::ClearParameter { .. }
            | Change::SetGlobalParameter { .. }
            | Change::ClearGlobalParameter { .. }
            | Change::SetUserLimits { .. } => self.setting(change, applied),
            Change::SetUser { .. }
            | Change::SetPassword { .. }
            | Change::SetTags { .. }
            | Change::DeleteUser { .. }
            | Change::SetPermissions { .. }
            | Change::ClearPermissions { .. }
            | Change::SetTopicPermissions { .. }
            | Change::ClearTopicPermissions { .. } => self.access(change, before),
            // RabbitMQ has no event for these.
            Change::UpdateVhost { .. }
            | Change::PauseQueue { .. }
            | Change::CreateDefaults(_)
            | Change::WaiveDefaults => {}
        }
    }

    fn setting(&self, change: &Change, applied: &Applied) {
        match change {
            Change::SetPolicy { vhost, kind, policy } => self.policy_set(vhost, *kind, policy, applied),
            Change::ClearPolicy { vhost, kind, name } => self.policy_cleared(vhost, *kind, name, applied),
            Change::SetParameter { vhost, component, name, value } => {
                self.parameter_set(component, name, value, Some(vhost));
                if let (VHOST_LIMITS, Value::Table(limits)) = (&**component, value) {
                    let facts = self.by().text("name", name).text("vhost", vhost).all(limits);
                    self.tell("vhost.limits.set", facts);
                }
            }
            Change::ClearParameter { vhost, component, name } => {
                self.parameter_cleared(component, name, Some(vhost));
                if &**component == VHOST_LIMITS {
                    self.tell("vhost.limits.cleared", self.by().text("name", name).text("vhost", vhost));
                }
            }
            Change::SetGlobalParameter { name, value } => self.parameter_set("global", name, value, None),
            Change::ClearGlobalParameter { name } => self.parameter_cleared("global", name, None),
            Change::SetUserLimits { user, limits } => {
                let facts = self.by().text("username", user).text("name", "limits").all(limits);
                self.tell(if limits.is_empty() { "user.limits.cleared" } else { "user.limits.set" }, facts);
            }
            _ => {}
        }
    }

    fn access(&self, change: &Change, before: Before) {
        let password = |password: &crate::access::PasswordHash| {
            if password.is_none() { "user.password.cleared" } else { "user.password.changed" }
        };
        match change {
            Change::SetUser { user, password: hash, tags, .. } => {
                let name = if before == Before::There { password(hash) } else { "user.created" };
                self.tell(name, self.by().text("name", user));
                if before == Before::There || !tags.is_empty() {
                    self.tags_set(user, tags);
                }
            }
            Change::SetPassword { user, password: hash } => self.tell(password(hash), self.by().text("name", user)),
            Change::SetTags { user, tags } => self.tags_set(user, tags),
            Change::DeleteUser { user } => self.tell("user.deleted", self.by().text("name", user)),
            Change::SetPermissions { user, vhost, permissions } => {
                let facts = self.by().text("read", permissions.read.text()).text("write", permissions.write.text());
                let facts = facts.text("configure", permissions.configure.text());
                self.tell("permission.created", facts.text("vhost", vhost).text("user", user));
            }
            Change::ClearPermissions { user, vhost } => {
                self.tell("permission.deleted", self.by().text("vhost", vhost).text("user", user));
            }
            Change::SetTopicPermissions { user, vhost, exchange, permissions } => {
                let facts = self.by().text("read", permissions.read.text()).text("write", permissions.write.text());
                let facts = facts.text("exchange", exchange).text("vhost", vhost).text("user", user);
                self.tell("topic.permission.created", facts);
            }
            Change::ClearTopicPermissions { user, vhost, exchange } => {
                let facts = self.by();
                let facts = if let Some(exchange) = exchange { facts.text("exchange", exchange) } else { facts };
                self.tell("topic.permission.deleted", facts.text("vhost", vhost).text("user", user));
            }
            _ => {}
        }
    }

    fn tags_set(&self, user: &Name, tags: &[Name]) {
        let tags = Value::Array(tags.iter().map(|tag| Value::text(tag)).collect());
        self.tell("user.tags.set", self.by().with("tags", Fact::Value(tags)).text("name", user));
    }

    fn vhost_created(&self, name: &Name) {
        let Ok(vhost) = self.topology.vhost(name) else { return };
        let mut exchanges: Vec<&Name> = vhost.exchanges().map(crate::exchange::Exchange::name).collect();
        exchanges.sort_unstable();
        for exchange in exchanges {
            self.exchange_created(name, exchange);
        }
        let metadata = vhost.metadata();
        let state = Table::from_iter([(Name::clone(self.node), Value::text("running"))]);
        let queue_type = metadata.default_queue_type.as_deref().unwrap_or("undefined");
        let facts = Facts::new().text("tags", &metadata.tags.join(",")).text("description", &metadata.description);
        let facts = facts.text("user_who_performed_action", self.actor);
        let facts = facts.with("cluster_state", Fact::Value(Value::Table(state))).flag("tracing", false);
        self.tell("vhost.created", facts.text("default_queue_type", queue_type).text("name", name));
    }

    fn exchange_created(&self, vhost: &Name, name: &str) {
        let Ok(exchange) = self.topology.vhost(vhost).and_then(|vhost| vhost.exchange(name)) else { return };
        let policy = exchange.policies().and_then(|policies| policies.policy());
        let facts = self.by().text("policy", policy.map(|name| &**name).unwrap_or_default());
        let facts = facts.arguments("arguments", exchange.arguments()).flag("internal", exchange.internal());
        let facts = facts.flag("auto_delete", exchange.auto_delete()).flag("durable", exchange.durable());
        let facts = facts.text("type", exchange.kind().as_str()).text("name", name).text("vhost", vhost);
        self.tell("exchange.created", facts);
    }

    fn queue_created(&self, vhost: &Name, name: &str) {
        let Ok(queue) = self.topology.vhost(vhost).and_then(|vhost| vhost.any_queue(name)) else { return };
        let facts = self.by().flag("exclusive", queue.exclusive().is_some());
        let facts = match queue.exclusive() {
            Some(owner) => facts.with("owner_pid", Fact::Connection(owner)),
            None => facts.text("owner_pid", ""),
        };
        let facts = facts.arguments("arguments", queue.arguments()).flag("auto_delete", queue.auto_delete());
        let facts = facts.flag("durable", queue.durable()).text("name", name).text("vhost", vhost);
        self.tell("queue.created", facts);
    }

    fn removed_from(&self, vhost: &Name, applied: &Applied, order: Order) {
        if let Applied::Deleted(removed) = applied {
            self.removed(vhost, removed, order);
        }
    }

    /// Tells of what went.
    pub(crate) fn removed(&self, vhost: &Name, removed: &Removed, order: Order) {
        let bindings = || {
            for binding in &removed.bindings {
                let (source, key, arguments) = (binding.source(), binding.routing_key(), binding.arguments());
                self.binding("binding.deleted", vhost, source, binding.destination(), key, arguments);
            }
        };
        if order == Order::BindingsFirst {
            bindings();
        }
        for exchange in &removed.exchanges {
            self.tell("exchange.deleted", self.by().text("name", exchange).text("vhost", vhost));
        }
        for (queue, _) in &removed.queues {
            self.tell("queue.deleted", self.by().text("name", queue).text("vhost", vhost));
        }
        if order == Order::ExchangesFirst {
            bindings();
        }
    }

    fn binding(
        &self,
        event: &'static str,
        vhost: &Name,
        source: &Name,
        destination: &Destination,
        routing_key: &Name,
        arguments: &Table,
    ) {
        let (kind, name) = match destination {
            Destination::Queue(name) => ("queue", name),
            Destination::Exchange(name) => ("exchange", name),
        };
        let facts = self.by().text("vhost", vhost).arguments("arguments", arguments).text("routing_key", routing_key);
        let facts = facts.text("destination_kind", kind).text("destination_name", &clean_name(name));
        self.tell(event, facts.text("source_kind", "exchange").text("source_name", &clean_name(source)));
    }

    fn policy_set(&self, vhost: &Name, kind: PolicyKind, policy: &Policy, applied: &Applied) {
        if kind == PolicyKind::Operator {
            let value: Table = settings(policy).into_iter().collect();
            self.parameter_set(OPERATOR_POLICY, &policy.name, &Value::Table(value), Some(vhost));
        }
        let settings: Table = settings(policy).into_iter().collect();
        let facts = Facts::new().all(&settings).text("user_who_performed_action", self.actor);
        self.queues_concerned(vhost, applied, |queue| {
            let facts = facts.clone().text("type", queue.kind().module()).text("vhost", vhost);
            self.tell("queue.policy.updated", facts.text("name", queue.name()));
        });
        self.tell("policy.set", facts.text("vhost", vhost).text("name", &policy.name));
    }

    fn policy_cleared(&self, vhost: &Name, kind: PolicyKind, name: &Name, applied: &Applied) {
        self.queues_concerned(vhost, applied, |queue| {
            let facts = self.by().text("type", queue.kind().module()).text("vhost", vhost);
            self.tell("queue.policy.cleared", facts.text("name", queue.name()));
        });
        let event = match kind {
            PolicyKind::User => "policy.cleared",
            PolicyKind::Operator => {
                self.parameter_cleared(OPERATOR_POLICY, name, Some(vhost));
                "operator.policy.cleared"
            }
        };
        self.tell(event, self.by().text("vhost", vhost).text("name", name));
    }

    /// The queues of a vhost that have other settings now.
    fn queues_concerned(&self, vhost: &Name, applied: &Applied, tell: impl Fn(&crate::topology::QueueRecord)) {
        let Applied::Reconfigured(Reconfigured { queues, .. }) = applied else { return };
        let Ok(vhost) = self.topology.vhost(vhost) else { return };
        let is_concerned = |id| queues.binary_search_by_key(&id, |(other, _)| *other).is_ok();
        vhost.queues().filter(|queue| is_concerned(queue.id())).for_each(tell);
    }

    fn parameter_set(&self, component: &str, name: &Name, value: &Value, vhost: Option<&Name>) {
        let facts = self.by().with("value", Fact::Value(wide(value))).text("name", name).text("component", component);
        self.tell("parameter.set", in_vhost(facts, vhost));
    }

    fn parameter_cleared(&self, component: &str, name: &Name, vhost: Option<&Name>) {
        let facts = self.by().text("name", name).text("component", component);
        self.tell("parameter.cleared", in_vhost(facts, vhost));
    }
}

fn in_vhost(facts: Facts, vhost: Option<&Name>) -> Facts {
    if let Some(vhost) = vhost { facts.text("vhost", vhost) } else { facts }
}

/// What a policy says.
fn settings(policy: &Policy) -> [(Name, Value); 4] {
    [
        ("apply-to".into(), Value::text(policy.apply_to.as_str())),
        ("priority".into(), Value::I64(policy.priority)),
        ("definition".into(), Value::Table(policy.definition.clone())),
        ("pattern".into(), Value::text(&policy.pattern)),
    ]
}

/// In which order it is told what went with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    BindingsFirst,
    ExchangesFirst,
}
