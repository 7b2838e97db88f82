//! What operators do to queues: look at messages, take some away, move them elsewhere.

use std::sync::Arc;

use super::{Deleted, Node};
use crate::events::TOOLS;
use crate::message::Message;
use crate::queue::{Browsed, CloseCondition, Fanout, Position, QueueCell, push_position};
use crate::store::StorePosition;
use crate::{Error, Name};

/// Messages looked at in one go.
const PIECE: usize = 1024;

/// Where messages are moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveTo {
    /// To the queue of that name, in the same vhost.
    Queue(Name),
    /// Back to the queue in which each of them died last. Those that did not die stay.
    WhereTheyDied,
}

/// What became of messages that were to be moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Messages that are in the other queue now.
    pub moved: usize,
    /// Messages that stayed: they died nowhere, their queue is gone, or it refused them.
    pub stayed: usize,
}

/// A message that is in another queue as well.
struct Copied {
    /// The position of the log with which the copy is on disk, if it has to be there.
    stored: Option<StorePosition>,
}

impl Node {
    /// The messages that wait in a queue behind a position, or all, in the order in which they would be handed out; so many at most.
    /// They stay as they are. May wait for the disk.
    pub fn browse(
        &self,
        vhost: &str,
        queue: &str,
        after: Option<Position>,
        count: usize,
    ) -> Result<Vec<Browsed>, Error> {
        self.any_queue(vhost, queue)?.browse(after, count)
    }

    /// Deletes those of the messages that still wait; says how many that were. May wait for the disk.
    pub fn delete_messages(&self, vhost: &str, queue: &str, positions: &[Position]) -> Result<usize, Error> {
        delete(&*self.any_queue(vhost, queue)?, positions)
    }

    /// Deletes all messages of a queue that wait; says how many that were.
    pub fn purge(&self, vhost: &str, queue: &str) -> Result<usize, Error> {
        self.any_queue(vhost, queue)?.purge().map(|(purged, _)| purged)
    }

    /// Deletes a queue if the condition holds, whomever it belongs to.
    pub fn delete_any_queue(&self, vhost: &Name, queue: &str, condition: CloseCondition) -> Result<Deleted, Error> {
        let mut state = self.state.write();
        let record = state.topology.vhost(vhost)?.any_queue(queue)?;
        let (id, durable) = (record.id(), record.durable());
        if durable {
            self.check_journal()?;
        }
        self.remove(&mut state, vhost, (queue, id), condition, TOOLS)
    }

    /// Deletes the first messages of a queue, so many at most; says how many that were. May wait for the disk.
    pub fn purge_first(&self, vhost: &str, queue: &str, count: usize) -> Result<usize, Error> {
        let cell = self.any_queue(vhost, queue)?;
        let mut purged = 0;
        while purged < count {
            let first = cell.browse(None, PIECE.min(count - purged))?;
            let positions: Vec<Position> = first.iter().map(|browsed| browsed.position).collect();
            let deleted = delete(&cell, &positions)?;
            purged += deleted;
            // Nothing waits, or somebody else takes all of it away.
            if deleted == 0 {
                break;
            }
        }
        Ok(purged)
    }

    /// Moves those of the messages that still wait to other queues, to their end. One that is not taken there stays where it is. May
    /// wait for the disk.
    pub fn move_messages(&self, vhost: &str, queue: &str, positions: &[Position], to: &MoveTo) -> Result<Moved, Error> {
        let source = self.any_queue(vhost, queue)?;
        if let MoveTo::Queue(target) = to {
            self.any_queue(vhost, target)?;
        }
        let mut result = Moved::default();
        for position in positions {
            let Some(taken) = source.take_at(*position)? else { continue };
            match self.move_one(vhost, &source, &taken.message, to) {
                None => {
                    result.stayed += 1;
                    source.put_in_place(taken);
                }
                Some(Copied { stored }) => {
                    result.moved += 1;
                    let range = position.0..position.0 + 1;
                    self.let_go(Arc::clone(&source), vec![range], stored);
                }
            }
        }
        self.deliver_dead_letters();
        Ok(result)
    }

    /// Copies a message to where it is to go; none if it has to stay.
    fn move_one(&self, vhost: &str, source: &Arc<QueueCell>, message: &Message, to: &MoveTo) -> Option<Copied> {
        let target = match to {
            MoveTo::Queue(name) => Name::clone(name),
            MoveTo::WhereTheyDied => self.properties.deaths(message).into_iter().next()?.0,
        };
        let target = self.any_queue(vhost, &target).ok().filter(|target| !Arc::ptr_eq(target, source))?;
        let message = if target.wants_time() { message.stamped(self.now()) } else { message.clone() };
        let enqueued = target.accept(&mut vec![message], Fanout::One);
        enqueued.refused.is_empty().then_some(Copied { stored: enqueued.stored })
    }

    /// The queue of that name, whomever it belongs to.
    fn any_queue(&self, vhost: &str, name: &str) -> Result<Arc<QueueCell>, Error> {
        let state = self.state.read();
        let id = state.topology.vhost(vhost)?.any_queue(name)?.id();
        let not_found = || Error::NotFound { resource: crate::error::Resource::queue(&vhost.into(), name) };
        state.cells.get(&id).map(Arc::clone).ok_or_else(not_found)
    }
}

fn delete(cell: &QueueCell, positions: &[Position]) -> Result<usize, Error> {
    let mut deleted = Vec::new();
    for position in positions {
        if cell.take_at(*position)?.is_some() {
            push_position(&mut deleted, *position);
        }
    }
    cell.discard(&deleted);
    Ok(deleted.iter().map(|range| usize::try_from(range.end - range.start).unwrap_or(usize::MAX)).sum())
}
