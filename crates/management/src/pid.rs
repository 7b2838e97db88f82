//! Process ids as RabbitMQ's tools print them: `<rabbit@host.1700000000.17.0>`.
//!
//! Operators see them in listings and hand them back, to close a connection or a channel. Here they name connections, channels and
//! queues: node, start of the node in seconds since 1970, and two numbers.

use std::fmt;

use leveret_broker::Name;
use leveret_broker::topology::{ConnectionId, QueueId};

/// The last number of a queue's pid; no channel has it.
const QUEUE_SERIAL: u64 = 1_000_000;

/// What a pid is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// A connection.
    Connection(ConnectionId),
    /// A channel of a connection.
    Channel(ConnectionId, u16),
    /// A queue.
    Queue(QueueId),
}

/// What one start of a node makes pids of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pids {
    node: Name,
    creation: u64,
}

/// Text that is no pid of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PidError {
    /// It does not look like one.
    #[error("not a process id; expected <node.number.number.number>")]
    Malformed,
    /// It was given by another node, or before this one was started.
    #[error("the process id belongs to another node, or to an earlier start of this one")]
    Foreign,
}

impl Pids {
    /// The pids of a node that was started so many seconds after 1970.
    pub const fn new(node: Name, creation: u64) -> Self {
        Self { node, creation }
    }

    /// The node's name.
    pub const fn node(&self) -> &Name {
        &self.node
    }

    /// A pid.
    pub fn text(&self, process: Process) -> String {
        Pid { pids: self, process }.to_string()
    }

    /// A connection's pid.
    pub fn connection(&self, id: ConnectionId) -> String {
        self.text(Process::Connection(id))
    }

    /// A channel's pid.
    pub fn channel(&self, id: ConnectionId, number: u16) -> String {
        self.text(Process::Channel(id, number))
    }

    /// A queue's pid.
    pub fn queue(&self, id: QueueId) -> String {
        self.text(Process::Queue(id))
    }

    /// What a pid stands for.
    pub fn parse(&self, text: &str) -> Result<Process, PidError> {
        let inner = text.trim().strip_prefix('<').and_then(|text| text.strip_suffix('>')).ok_or(PidError::Malformed)?;
        // The node's name may have dots of its own.
        let mut parts = inner.rsplitn(4, '.');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (Some(serial), Some(id), Some(creation)) = (number(), number(), number()) else {
            return Err(PidError::Malformed);
        };
        let node = parts.next().filter(|node| !node.is_empty()).ok_or(PidError::Malformed)?;
        if node != &*self.node || creation != self.creation {
            return Err(PidError::Foreign);
        }
        match serial {
            0 => Ok(Process::Connection(ConnectionId(id))),
            QUEUE_SERIAL => Ok(Process::Queue(QueueId(id))),
            channel => match u16::try_from(channel) {
                Ok(channel) => Ok(Process::Channel(ConnectionId(id), channel)),
                Err(_) => Err(PidError::Malformed),
            },
        }
    }
}

struct Pid<'a> {
    pids: &'a Pids,
    process: Process,
}

impl fmt::Display for Pid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, serial) = match self.process {
            Process::Connection(ConnectionId(id)) => (id, 0),
            Process::Channel(ConnectionId(id), number) => (id, u64::from(number)),
            Process::Queue(QueueId(id)) => (id, QUEUE_SERIAL),
        };
        write!(f, "<{}.{}.{id}.{serial}>", self.pids.node, self.pids.creation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_stands_for_what_it_was_made_of() {
        let pids = Pids::new("rabbit@a.example.com".into(), 1_700_000_000);
        for (process, text) in [
            (Process::Connection(ConnectionId(17)), "<rabbit@a.example.com.1700000000.17.0>"),
            (Process::Channel(ConnectionId(17), 65535), "<rabbit@a.example.com.1700000000.17.65535>"),
            (Process::Queue(QueueId(3)), "<rabbit@a.example.com.1700000000.3.1000000>"),
        ] {
            assert_eq!(pids.text(process), text);
            assert_eq!(pids.parse(text), Ok(process));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let pids = Pids::new("rabbit@a".into(), 5);
        for (text, error) in [
            ("", PidError::Malformed),
            ("<rabbit@a.5.1.0", PidError::Malformed),
            ("<5.1.0>", PidError::Malformed),
            ("<.5.1.0>", PidError::Malformed),
            ("<rabbit@a.5.x.0>", PidError::Malformed),
            ("<rabbit@a.5.1.70000>", PidError::Malformed),
            ("#PID<0.1.0>", PidError::Malformed),
            ("<rabbit@a.6.1.0>", PidError::Foreign),
            ("<rabbit@b.5.1.0>", PidError::Foreign),
        ] {
            assert_eq!(pids.parse(text), Err(error), "{text}");
        }
    }
}
