//! What is declared, from the metadata log.

use std::collections::BTreeMap;

use leveret_broker::topology::{FormatError, Record, Topology};
use leveret_storage::metadata::OpenError;
use leveret_storage::metadata::inspect::{FileReport, Inspection};
use leveret_storage::metadata::{DamagedRange, TornTail};

use super::Failure;
use super::folder::Folder;

/// What is declared in a data folder, and in what state that is.
pub(super) struct Definitions {
    pub(super) topology: Topology,
    pub(super) files: Vec<FileReport>,
    pub(super) damaged: Vec<DamagedRange>,
    pub(super) torn_tail: Option<TornTail>,
    /// Why there are none, or not all: a sentence each.
    pub(super) problems: Vec<String>,
    /// Those that what was lost leaves without sense, which a broker skips: a sentence each.
    pub(super) skipped: Vec<String>,
    /// Whether a start would change the files.
    pub(super) wants_repair: bool,
    queues: BTreeMap<u64, QueueName>,
}

/// A queue as people know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueName {
    pub(super) vhost: String,
    pub(super) name: String,
}

impl Definitions {
    /// Reads the metadata log of a folder. What cannot be read is a problem, not a failure, unless somebody else can.
    pub(super) fn read(folder: &Folder) -> Result<Self, Failure> {
        let mut definitions = Self {
            topology: Topology::new(),
            files: Vec::new(),
            damaged: Vec::new(),
            torn_tail: None,
            problems: Vec::new(),
            skipped: Vec::new(),
            wants_repair: false,
            queues: BTreeMap::new(),
        };
        let Some(disk) = folder.metadata()? else { return Ok(definitions) };
        let inspection = Inspection::open(&disk).map_err(|error| folder.failure(&error))?;
        definitions.wants_repair = inspection.wants_repair();
        definitions.files = inspection.files;
        let recovered = match inspection.recovered {
            Ok(recovered) => recovered,
            Err(error @ (OpenError::Version { .. } | OpenError::Disk { .. })) => return Err(folder.failure(&error)),
            Err(error) => {
                definitions.problems.push(error.to_string());
                return Ok(definitions);
            }
        };
        definitions.damaged = recovered.report.damaged;
        definitions.torn_tail = recovered.report.torn_tail;
        for (number, octets) in recovered.records.iter().enumerate() {
            definitions.restore(number + 1, octets, folder)?;
        }
        let topology = &definitions.topology;
        let queues = topology.vhosts().flat_map(|vhost| vhost.queues().map(move |queue| (vhost.name(), queue)));
        let queues = queues.map(|(vhost, queue)| {
            (queue.id().0, QueueName { vhost: vhost.to_string(), name: queue.name().to_string() })
        });
        // What an exchange holds back is kept like a queue's messages.
        let delays = topology.delays().filter(|delay| delay.durable).map(|delay| {
            let (vhost, name) = (delay.vhost.to_string(), format!("{} (delayed)", delay.exchange));
            (delay.id.0, QueueName { vhost, name })
        });
        definitions.queues = queues.chain(delays).collect();
        Ok(definitions)
    }

    fn restore(&mut self, number: usize, octets: &[u8], folder: &Folder) -> Result<(), Failure> {
        match Record::decode_all(octets) {
            Ok(records) => {
                for record in records {
                    if let Err(error) = self.topology.restore(record) {
                        self.skipped.push(format!("definition {number} does not fit those before it: {error}"));
                    }
                }
            }
            Err(error @ FormatError::Version(_)) => return Err(folder.failure(&error)),
            Err(error @ FormatError::Malformed) => {
                self.problems.push(format!("definition {number} cannot be read, and no broker would start: {error}"));
            }
        }
        Ok(())
    }

    /// The name of a queue; `None` if no definition has it.
    pub(super) fn queue(&self, id: u64) -> Option<&QueueName> {
        self.queues.get(&id)
    }

    /// All queues, by number.
    pub(super) fn queues(&self) -> impl Iterator<Item = (u64, &QueueName)> {
        self.queues.iter().map(|(id, name)| (*id, name))
    }

    /// Whether nothing is damaged.
    pub(super) fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.problems.is_empty() && self.skipped.is_empty()
    }
}
