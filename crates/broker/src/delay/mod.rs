//! Delayed messages: what an exchange holds back until it is due.
//!
//! An exchange of the type `x-delayed-message` holds back each message whose headers ask for that, and routes it like the type
//! it is made with (`x-delayed-type`) when its time has come. What it holds back is in a [`DelayCell`].

mod asked;
mod cell;
mod index;
mod pending;

pub(crate) use asked::number;
pub use asked::{DELAY_HEADER, DELAY_MS_MAX, DELIVER_AT_HEADER, due};
pub use cell::{DelayCell, DelayInfo, Listed};

use crate::clock::Timestamp;
use crate::queue::Position;

/// A message that is held back: when it is due, and where it stands. Messages are routed in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// When it is due.
    pub due: Timestamp,
    /// Its position; counts up in the order in which messages came.
    pub position: Position,
}
