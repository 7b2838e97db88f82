//! AMQP 0-9-1 with RabbitMQ's extensions.
//!
//! A connection's bytes are a [`frame::ProtocolHeader`] and then [`frame::Frame`]s. A method frame's payload decodes to a
//! [`Method`], a header frame's to a [`ContentHeader`], a body frame's is body.

pub mod content;
pub mod error;
pub mod frame;
pub mod method;
mod reader;
pub mod table;
mod writer;

pub use content::{BasicProperties, ContentHeader, Properties, RawProperties};
pub use error::{DecodeError, FrameError, ReplyCode};
pub use frame::{Frame, FrameKind, ProtocolHeader};
pub use method::{Decode, Encode, Method};
pub use table::{Array, Table, TableWriter, Value};
pub use writer::{Writer, clip_shortstr};

/// Octets a frame adds to its payload: type, channel, size and the end marker (§2.3.5).
pub const FRAME_OVERHEAD: usize = 8;
/// Largest frame a peer may send before tuning is over (§4.2.2: frame-min-size), in octets.
pub const FRAME_MIN_SIZE: u32 = 4096;
/// Class id of basic, the only class whose methods carry content.
pub const CLASS_BASIC: u16 = 60;
