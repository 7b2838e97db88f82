//! The exchange class: declare, delete, bind, unbind.

use leveret_broker::exchange::ExchangeKind;
use leveret_broker::topology::{Change, Destination, Origin, clean_name};
use leveret_broker::{Error, Name};
use leveret_protocol::amqp091::frame;
use leveret_protocol::amqp091::method::{
    ExchangeBind, ExchangeBindOk, ExchangeDeclare, ExchangeDeclareOk, ExchangeDelete, ExchangeDeleteOk, ExchangeUnbind,
    ExchangeUnbindOk,
};

use super::{Handled, Session, table};

impl Session {
    pub(super) fn exchange_declare(
        &mut self,
        number: u16,
        declare: &ExchangeDeclare<'_>,
        out: &mut Vec<u8>,
    ) -> Handled {
        let name: Name = clean_name(declare.exchange).into();
        if name.is_empty() {
            return Err(Error::DefaultExchange.into());
        }
        if declare.passive {
            self.node.read(|topology| topology.vhost(&self.vhost)?.exchange(&name).map(|_| ()))?;
        } else {
            self.node.apply(Change::DeclareExchange {
                vhost: Name::clone(&self.vhost),
                name,
                kind: ExchangeKind::parse(declare.kind)?,
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                internal: declare.internal,
                arguments: table::to_broker(declare.arguments),
                origin: Origin::Client,
            })?;
        }
        if !declare.no_wait {
            frame::write_method(out, number, &ExchangeDeclareOk {});
        }
        Ok(())
    }

    pub(super) fn exchange_delete(&mut self, number: u16, delete: &ExchangeDelete<'_>, out: &mut Vec<u8>) -> Handled {
        self.node.apply(Change::DeleteExchange {
            vhost: Name::clone(&self.vhost),
            name: clean_name(delete.exchange).into(),
            if_unused: delete.if_unused,
        })?;
        if !delete.no_wait {
            frame::write_method(out, number, &ExchangeDeleteOk {});
        }
        Ok(())
    }

    pub(super) fn exchange_bind(&mut self, number: u16, bind: &ExchangeBind<'_>, out: &mut Vec<u8>) -> Handled {
        self.node.apply(Change::Bind {
            vhost: Name::clone(&self.vhost),
            source: clean_name(bind.source).into(),
            destination: Destination::Exchange(clean_name(bind.destination).into()),
            routing_key: bind.routing_key.into(),
            arguments: table::to_broker(bind.arguments),
            asking: Some(self.id),
        })?;
        if !bind.no_wait {
            frame::write_method(out, number, &ExchangeBindOk {});
        }
        Ok(())
    }

    pub(super) fn exchange_unbind(&mut self, number: u16, unbind: &ExchangeUnbind<'_>, out: &mut Vec<u8>) -> Handled {
        self.node.apply(Change::Unbind {
            vhost: Name::clone(&self.vhost),
            source: clean_name(unbind.source).into(),
            destination: Destination::Exchange(clean_name(unbind.destination).into()),
            routing_key: unbind.routing_key.into(),
            arguments: table::to_broker(unbind.arguments),
            asking: Some(self.id),
        })?;
        if !unbind.no_wait {
            frame::write_method(out, number, &ExchangeUnbindOk {});
        }
        Ok(())
    }
}
