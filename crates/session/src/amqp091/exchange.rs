//! The exchange class: declare, delete, bind, unbind.

use leveret_broker::topology::{Change, Destination, Origin, clean_name};
use leveret_broker::{Error, Name};
use leveret_protocol::amqp091::method::{
    ExchangeBind, ExchangeBindOk, ExchangeDeclare, ExchangeDeclareOk, ExchangeDelete, ExchangeDeleteOk, ExchangeUnbind,
    ExchangeUnbindOk,
};

use super::parking::Wait;
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
        let mut written = None;
        if declare.passive {
            self.node.read(|topology| topology.vhost(&self.vhost)?.exchange(&name).map(|_| ()))?;
        } else {
            let declared = self.node.apply_as(
                Change::DeclareExchange {
                    vhost: Name::clone(&self.vhost),
                    name,
                    kind: self.node.switches().exchange_kind(declare.kind)?,
                    durable: declare.durable,
                    auto_delete: declare.auto_delete,
                    internal: declare.internal,
                    arguments: table::to_broker(declare.arguments),
                    origin: Origin::Client,
                },
                &self.user,
            )?;
            written = declared.written;
        }
        self.answer_once_written(
            number,
            written.map(Wait::Journal),
            (!declare.no_wait).then_some(&ExchangeDeclareOk {}),
            out,
        )
    }

    pub(super) fn exchange_delete(&mut self, number: u16, delete: &ExchangeDelete<'_>, out: &mut Vec<u8>) -> Handled {
        let deleted = self.node.apply_as(
            Change::DeleteExchange {
                vhost: Name::clone(&self.vhost),
                name: clean_name(delete.exchange).into(),
                if_unused: delete.if_unused,
            },
            &self.user,
        )?;
        self.answer_once_written(
            number,
            deleted.written.map(Wait::Journal),
            (!delete.no_wait).then_some(&ExchangeDeleteOk {}),
            out,
        )
    }

    pub(super) fn exchange_bind(&mut self, number: u16, bind: &ExchangeBind<'_>, out: &mut Vec<u8>) -> Handled {
        let bound = self.node.apply_as(
            Change::Bind {
                vhost: Name::clone(&self.vhost),
                source: clean_name(bind.source).into(),
                destination: Destination::Exchange(clean_name(bind.destination).into()),
                routing_key: bind.routing_key.into(),
                arguments: table::to_broker(bind.arguments),
                asking: Some(self.id),
            },
            &self.user,
        )?;
        self.answer_once_written(
            number,
            bound.written.map(Wait::Journal),
            (!bind.no_wait).then_some(&ExchangeBindOk {}),
            out,
        )
    }

    pub(super) fn exchange_unbind(&mut self, number: u16, unbind: &ExchangeUnbind<'_>, out: &mut Vec<u8>) -> Handled {
        let unbound = self.node.apply_as(
            Change::Unbind {
                vhost: Name::clone(&self.vhost),
                source: clean_name(unbind.source).into(),
                destination: Destination::Exchange(clean_name(unbind.destination).into()),
                routing_key: unbind.routing_key.into(),
                arguments: table::to_broker(unbind.arguments),
                asking: Some(self.id),
            },
            &self.user,
        )?;
        self.answer_once_written(
            number,
            unbound.written.map(Wait::Journal),
            (!unbind.no_wait).then_some(&ExchangeUnbindOk {}),
            out,
        )
    }
}
