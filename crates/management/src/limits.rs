//! Limits of users and vhosts, which are set one by one, but kept together.

use std::sync::{Mutex, PoisonError};

use leveret_broker::Error;
use leveret_broker::node::Node;
use leveret_broker::topology::{Change, Topology};
use leveret_broker::value::{Table, Value};

use crate::{WriteError, apply};

/// The parameter that has the limits of a vhost.
pub(crate) const PARAMETER: (&str, &str) = ("vhost-limits", "limits");

/// Who changes one limit must not undo what somebody else does at the time.
static ALONE: Mutex<()> = Mutex::new(());

/// The limits with one of them set.
pub(crate) fn with(limits: &Table, name: &str, value: Value) -> Table {
    let mut changed = without(limits, name);
    changed.push(name.into(), value);
    changed
}

/// The limits without one of them.
pub(crate) fn without(limits: &Table, name: &str) -> Table {
    limits.iter().filter(|(known, _)| **known != *name).cloned().collect()
}

/// Changes the limits of a user.
pub(crate) fn change_user(node: &Node, user: &str, change: impl FnOnce(&Table) -> Table) -> Result<(), WriteError> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let limits = node.read(|topology| change(topology.limits_of(user).unwrap_or(&Table::new())));
    apply(node, Change::SetUserLimits { user: user.into(), limits }).map(|_| ())
}

/// Changes the limits of a vhost. One that has none left has no parameter for them either.
pub(crate) fn change_vhost(node: &Node, vhost: &str, change: impl FnOnce(&Table) -> Table) -> Result<(), WriteError> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let limits = node.read(|topology| Ok::<_, Error>(change(&of_vhost(topology, vhost)?)))?;
    let (vhost, component, name) = (vhost.into(), PARAMETER.0.into(), PARAMETER.1.into());
    let change = if limits.is_empty() {
        Change::ClearParameter { vhost, component, name }
    } else {
        Change::SetParameter { vhost, component, name, value: Value::Table(limits) }
    };
    match apply(node, change) {
        Ok(_) | Err(WriteError::Refused(Error::ParameterNotFound)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn of_vhost(topology: &Topology, vhost: &str) -> Result<Table, Error> {
    match topology.vhost(vhost)?.parameter(PARAMETER.0, PARAMETER.1) {
        Ok(Value::Table(limits)) => Ok(limits.clone()),
        _ => Ok(Table::new()),
    }
}
