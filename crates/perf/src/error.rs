//! Why a run could not be made or finished.

use std::io;

use leveret_protocol::amqp091::{DecodeError, FrameError};
use thiserror::Error;

/// Why a run could not be made or finished; each reads as one sentence.
#[derive(Debug, Error)]
pub enum Error {
    /// The options contradict each other or make no sense.
    #[error("{0}")]
    Options(String),
    /// There is no TCP connection to be had.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is no TLS to be had.
    #[error("cannot speak TLS with {address}: {source}")]
    Tls {
        /// Host and port.
        address: String,
        /// What TLS said.
        source: io::Error,
    },
    /// The other side is no AMQP 0-9-1 broker.
    #[error("{address} does not speak AMQP 0-9-1: {found}")]
    NotAmqp {
        /// Host and port.
        address: String,
        /// What came instead.
        found: String,
    },
    /// Name, password or mechanism were refused.
    #[error("the broker refused user '{user}': {text}")]
    Refused {
        /// Who tried to log in.
        user: String,
        /// The broker's reply text.
        text: String,
    },
    /// The broker closed the connection or a channel with a reply code.
    #[error("the broker closed the {what}: {code} {text}")]
    Closed {
        /// "connection" or "channel".
        what: &'static str,
        /// Reply code (§1.1).
        code: u16,
        /// Reply text.
        text: String,
    },
    /// The broker took away a consumer.
    #[error("the broker cancelled the consumer of queue '{0}' (was the queue deleted?)")]
    Cancelled(String),
    /// The connection ended without a word.
    #[error("the broker went away: {0}")]
    Lost(io::Error),
    /// The broker does not answer.
    #[error("the broker did not answer {0} within 30 seconds")]
    Timeout(&'static str),
    /// The broker sent what the protocol does not allow.
    #[error("the broker sent what AMQP does not allow: {0}")]
    Malformed(String),
    /// Not as many connections or queues as asked for could be made.
    #[error("stopped after {made} {what}: {source}")]
    Short {
        /// How many there were.
        made: usize,
        /// "connections" or "queues".
        what: &'static str,
        /// Why the next could not be made.
        source: Box<Error>,
    },
    /// The broker's process cannot be found or watched.
    #[error("cannot measure the broker's process: {0}")]
    Process(String),
    /// The machine refused something else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The result could not be printed.
    #[error("cannot print the result: {0}")]
    Print(#[from] io::Error),
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        Self::Malformed(match error {
            FrameError::TooLarge { size, max, .. } => format!("a frame of {size} bytes where {max} were agreed on"),
            FrameError::InvalidEnd { end, .. } => format!("a frame that ends in {end:#04x}"),
            FrameError::UnknownKind { kind, .. } => format!("a frame of type {kind}"),
        })
    }
}
