//! tx.select, tx.commit, tx.rollback (§1.9): publishes and settlements wait for the commit.

use leveret_protocol::amqp091::method::{TxCommitOk, TxRollbackOk, TxSelectOk};
use leveret_protocol::amqp091::{ReplyCode, frame};

use super::channel::{Mode, Settlement, Transaction};
use super::fault::Fault;
use super::parking::Wait;
use super::{Handled, Session};

impl Session {
    pub(super) fn tx_select(&mut self, number: u16, out: &mut Vec<u8>) -> Handled {
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        match channel.mode {
            Mode::Plain => channel.mode = Mode::Transaction(Transaction::default()),
            Mode::Transaction(_) => {}
            Mode::Confirm(_) => {
                return Err(Fault::new(ReplyCode::PreconditionFailed, "cannot switch from confirm to tx mode"));
            }
        }
        frame::write_method(out, number, &TxSelectOk {});
        Ok(())
    }

    pub(super) fn tx_commit(&mut self, number: u16, out: &mut Vec<u8>) -> Handled {
        let transaction = self.take_transaction(number)?;
        let publishes = transaction.published.len();
        for (mut message, held, mandatory) in transaction.published {
            if message.published_at().is_some() {
                // It comes into its queues now.
                message = message.stamped(self.node.now());
            }
            if let Some(channel) = self.channels.get_mut(number) {
                channel.stats.publish += 1;
            }
            self.publish_held(number, &message, &held, mandatory, Some((number, 0)), out);
        }
        for (settlement, delivered) in transaction.settled {
            if settlement == Settlement::Done
                && let Some(channel) = self.channels.get_mut(number)
            {
                channel.stats.ack += delivered.len() as u64;
            }
            for delivered in delivered {
                self.settle_one(number, settlement, delivered);
            }
        }
        if publishes > 0 {
            self.count_clients();
        }
        self.flush(out);
        if self.take_transaction(number)?.is_refused {
            return Err(Fault::new(ReplyCode::PreconditionFailed, "partial tx completion"));
        }
        self.answer_once_written(number, self.log.flushed.map(Wait::Log), Some(&TxCommitOk {}), out)
    }

    pub(super) fn tx_rollback(&mut self, number: u16, out: &mut Vec<u8>) -> Handled {
        let transaction = self.take_transaction(number)?;
        if let Some(channel) = self.channels.get_mut(number) {
            let delivered = transaction.settled.into_iter().flat_map(|(_, delivered)| delivered).collect();
            channel.unsettled.put_back(delivered);
        }
        frame::write_method(out, number, &TxRollbackOk {});
        Ok(())
    }

    fn take_transaction(&mut self, number: u16) -> Result<Transaction, Fault> {
        match self.channels.get_mut(number).map(|channel| &mut channel.mode) {
            Some(Mode::Transaction(transaction)) => Ok(std::mem::take(transaction)),
            _ => Err(Fault::new(ReplyCode::PreconditionFailed, "channel is not transactional")),
        }
    }
}
