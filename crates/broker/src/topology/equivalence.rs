//! Whether a declaration agrees with what exists.

use super::QueueRecord;
use super::arguments::{QUEUE_TYPE_ARGUMENT, queue_type, repeated_arguments};
use crate::error::{Error, Resource};
use crate::exchange::{ALTERNATE_ARGUMENT, Declaration, Exchange};
use crate::value::{Table, Value};

/// Compares in RabbitMQ's order, because the first difference is what the client reads.
pub(super) fn check_exchange(vhost: &crate::Name, existing: &Exchange, declared: &Declaration) -> Result<(), Error> {
    let resource = Resource::exchange(vhost, existing.name());
    check_property(&resource, "type", existing.kind().as_str(), declared.kind.as_str())?;
    check_property(&resource, "durable", flag(existing.durable()), flag(declared.durable))?;
    check_property(&resource, "auto_delete", flag(existing.auto_delete()), flag(declared.auto_delete))?;
    check_property(&resource, "internal", flag(existing.internal()), flag(declared.internal))?;
    check_argument(&resource, ALTERNATE_ARGUMENT, existing.arguments(), &declared.arguments)
}

/// Compares in RabbitMQ's order; `declared` has been normalised as the existing record was.
pub(super) fn check_queue(vhost: &crate::Name, existing: &QueueRecord, declared: &QueueRecord) -> Result<(), Error> {
    let resource = Resource::queue(vhost, &existing.name);
    if existing.exclusive != declared.exclusive {
        return Err(Error::Locked { queue: resource });
    }
    check_property(&resource, "durable", flag(existing.durable), flag(declared.durable))?;
    check_property(&resource, "auto_delete", flag(existing.auto_delete), flag(declared.auto_delete))?;
    for name in repeated_arguments(existing.kind()) {
        // No type and the classic type are the same declaration.
        if *name == QUEUE_TYPE_ARGUMENT && queue_type(&existing.arguments) == queue_type(&declared.arguments) {
            continue;
        }
        check_argument(&resource, name, &existing.arguments, &declared.arguments)?;
    }
    Ok(())
}

const fn flag(set: bool) -> &'static str {
    if set { "true" } else { "false" }
}

fn check_property(resource: &Resource, name: &str, current: &str, received: &str) -> Result<(), Error> {
    if current == received {
        return Ok(());
    }
    Err(Error::Inequivalent {
        resource: resource.clone(),
        argument: name.into(),
        received: format!("'{received}'"),
        current: format!("'{current}'"),
    })
}

fn check_argument(resource: &Resource, name: &str, current: &Table, received: &Table) -> Result<(), Error> {
    let (current, received) = (current.get(name), received.get(name));
    let equivalent = match (current, received) {
        (Some(current), Some(received)) => current.equivalent(received),
        (None, None) => true,
        _ => false,
    };
    if equivalent {
        return Ok(());
    }
    let (received, current) = match (received, current) {
        (Some(received), Some(current)) => (format!("'{received}'"), format!("'{current}'")),
        _ => (with_type(received), with_type(current)),
    };
    Err(Error::Inequivalent { resource: resource.clone(), argument: name.into(), received, current })
}

/// RabbitMQ names the type of a value only where there is none on the other side.
fn with_type(value: Option<&Value>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| format!("the value '{value}' of type '{}'", value.type_name()))
}
