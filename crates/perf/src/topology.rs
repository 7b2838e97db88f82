//! Declares what a run needs and removes it.

use leveret_protocol::amqp091::method::{ExchangeDeclare, ExchangeDelete, QueueBind, QueueDeclare, QueueDelete};
use leveret_protocol::amqp091::{Method, Table};

use crate::argument::{Argument, table};
use crate::connection::Connection;
use crate::error::Error;
use crate::options::Options;
use crate::plan::{Cleanup, Plan};

/// Declares exchange, queues and bindings; exclusive queues are left to their consumers.
pub(crate) fn prepare(connection: &mut Connection, plan: &Plan) -> Result<(), Error> {
    if let Some(kind) = &plan.declare_exchange {
        let arguments = table(&plan.options.exchange_args);
        let declare = ExchangeDeclare {
            ticket: 0,
            exchange: &plan.exchange,
            kind,
            passive: false,
            durable: plan.options.durable,
            auto_delete: false,
            internal: false,
            no_wait: false,
            arguments: Table::parse(&arguments)?,
        };
        connection.call(1, "exchange.declare", &declare, |method| {
            matches!(method, Method::ExchangeDeclareOk(_)).then_some(())
        })?;
    }
    if !plan.options.exclusive {
        for queue in 0..plan.queues.len() {
            declare_and_bind(connection, plan, queue)?;
        }
    }
    Ok(())
}

/// Declares queue number `queue` of the plan and binds it, unless it is predeclared.
pub(crate) fn declare_and_bind(connection: &mut Connection, plan: &Plan, queue: usize) -> Result<(), Error> {
    if plan.options.predeclared {
        return Ok(());
    }
    // From the last one on, so that nothing that dies is dropped because its way is not there yet.
    for link in plan.links(queue).iter().rev() {
        declare_queue(connection, &plan.options, &link.name, &link.arguments)?;
    }
    if plan.exchange.is_empty() {
        return Ok(());
    }
    let arguments = table(&plan.options.binding_args);
    let bind = QueueBind {
        ticket: 0,
        queue: plan.queue(queue),
        exchange: &plan.exchange,
        routing_key: plan.binding_key(queue),
        no_wait: false,
        arguments: Table::parse(&arguments)?,
    };
    connection.call(1, "queue.bind", &bind, |method| matches!(method, Method::QueueBindOk(_)).then_some(()))
}

/// Declares a queue with these arguments, and else as the options say.
pub(crate) fn declare_queue(
    connection: &mut Connection,
    options: &Options,
    name: &str,
    arguments: &[Argument],
) -> Result<(), Error> {
    let arguments = table(arguments);
    let declare = QueueDeclare {
        ticket: 0,
        queue: name,
        passive: false,
        durable: options.durable,
        exclusive: options.exclusive,
        auto_delete: options.auto_delete,
        no_wait: false,
        arguments: Table::parse(&arguments)?,
    };
    connection.call(1, "queue.declare", &declare, |method| matches!(method, Method::QueueDeclareOk(_)).then_some(()))
}

/// How many messages are ready in a queue.
pub(crate) fn backlog(connection: &mut Connection, name: &str) -> Result<u64, Error> {
    let declare = QueueDeclare {
        ticket: 0,
        queue: name,
        passive: true,
        durable: false,
        exclusive: false,
        auto_delete: false,
        no_wait: false,
        arguments: Table::default(),
    };
    connection.call(1, "queue.declare", &declare, |method| match method {
        Method::QueueDeclareOk(ok) => Some(u64::from(ok.message_count)),
        _ => None,
    })
}

/// Deletes a queue.
pub(crate) fn delete_queue(connection: &mut Connection, name: &str) -> Result<(), Error> {
    let delete = QueueDelete { ticket: 0, queue: name, if_unused: false, if_empty: false, no_wait: false };
    connection.call(1, "queue.delete", &delete, |method| matches!(method, Method::QueueDeleteOk(_)).then_some(()))
}

/// Deletes the queues and the exchange if the plan says so.
pub(crate) fn remove(connection: &mut Connection, plan: &Plan) -> Result<(), Error> {
    if plan.cleanup == Cleanup::Keep {
        return Ok(());
    }
    // Deleting what is gone already, as exclusive and auto-delete queues are, is no error.
    for link in (0..plan.queues.len()).flat_map(|queue| plan.links(queue)) {
        delete_queue(connection, &link.name)?;
    }
    if plan.declare_exchange.is_some() && plan.options.exchange.is_none() {
        let delete = ExchangeDelete { ticket: 0, exchange: &plan.exchange, if_unused: false, no_wait: false };
        connection.call(1, "exchange.delete", &delete, |method| {
            matches!(method, Method::ExchangeDeleteOk(_)).then_some(())
        })?;
    }
    Ok(())
}
