//! Records as octets, for the metadata log. Hand-written: what is stored does not follow from how a type is written down
//! in the code, and old octets stay readable.
//!
//! ```text
//! record   version u8 = 1 | kind u8 | fields
//! name     length u16 | octets of UTF-8
//! flags    u8
//! table    count u32 | count × (name | value)
//! value    type u8 | octets by type
//! ```
//! All numbers are little-endian. Kinds and types keep their number for ever.

use super::durable::{BindingRecord, Record};
use super::{ApplyTo, Destination, Policy, PolicyKind, Protection, QueueId, VhostMetadata};
use crate::Name;
use crate::access::{HashingAlgorithm, PasswordHash, Pattern, Permissions, TopicPermissions};
use crate::exchange::ExchangeKind;
use crate::value::{Table, Value};

const VERSION: u8 = 1;
/// Deepest nesting of tables and arrays that is read.
const DEPTH_MAX: usize = 128;

/// Why octets are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A later version of the program wrote it.
    #[error("the record has version {0}, and this program knows 1")]
    Version(u8),
    /// They end too early, go on too long, or hold a number that means nothing.
    #[error("the record is malformed")]
    Malformed,
}

impl Record {
    /// Appends the record's octets.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind, and each is short")]
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Self::VhostCreated { vhost } => {
                out.push(1);
                name(out, vhost);
            }
            Self::VhostDeleted { vhost } => {
                out.push(2);
                name(out, vhost);
            }
            Self::ExchangeDeclared { vhost, name: exchange, kind, auto_delete, internal, arguments } => {
                out.push(3);
                name(out, vhost);
                name(out, exchange);
                out.push(kind_number(*kind));
                out.push(u8::from(*auto_delete) | u8::from(*internal) << 1);
                table(out, arguments);
            }
            Self::ExchangeDeleted { vhost, name: exchange } => {
                out.push(4);
                name(out, vhost);
                name(out, exchange);
            }
            Self::QueueDeclared { vhost, name: queue, id, auto_delete, arguments } => {
                out.push(5);
                name(out, vhost);
                name(out, queue);
                out.extend_from_slice(&id.0.to_le_bytes());
                out.push(u8::from(*auto_delete));
                table(out, arguments);
            }
            Self::QueueDeleted { vhost, name: queue, id } => {
                out.push(6);
                numbered(out, vhost, queue, *id);
            }
            Self::Bound(record) => {
                out.push(7);
                binding(out, record);
            }
            Self::Unbound(record) => {
                out.push(8);
                binding(out, record);
            }
            Self::PolicySet { vhost, kind, policy: set } => {
                out.push(9);
                name(out, vhost);
                out.push(policy_kind_number(*kind));
                policy(out, set);
            }
            Self::QueuePaused { vhost, name: queue, paused } => {
                out.push(20);
                name(out, vhost);
                name(out, queue);
                out.push(u8::from(*paused));
            }
            Self::PolicyCleared { vhost, kind, name: policy } => {
                out.push(10);
                name(out, vhost);
                out.push(policy_kind_number(*kind));
                name(out, policy);
            }
            Self::VhostDescribed { vhost, metadata: described } => {
                out.push(11);
                name(out, vhost);
                metadata(out, described);
            }
            Self::ParameterSet { vhost, component, name: parameter, value: set } => {
                out.push(12);
                name(out, vhost);
                name(out, component);
                name(out, parameter);
                value(out, set);
            }
            Self::ParameterCleared { vhost, component, name: parameter } => {
                out.push(13);
                name(out, vhost);
                name(out, component);
                name(out, parameter);
            }
            Self::GlobalParameterSet { name: parameter, value: set } => {
                out.push(14);
                name(out, parameter);
                value(out, set);
            }
            Self::GlobalParameterCleared { name: parameter } => {
                out.push(15);
                name(out, parameter);
            }
            Self::UserLimitsSet { user, limits } => {
                out.push(16);
                name(out, user);
                table(out, limits);
            }
            Self::DelayNumbered { vhost, exchange, id } => {
                out.push(17);
                numbered(out, vhost, exchange, *id);
            }
            Self::DefaultsCreated => out.push(21),
            Self::UserSet { user, password, tags } => {
                out.push(22);
                name(out, user);
                out.push(algorithm_number(password.algorithm));
                octets(out, &password.octets);
                names(out, tags);
            }
            Self::UserDeleted { user } => {
                out.push(23);
                name(out, user);
            }
            Self::PermissionsSet { user, vhost, permissions: Permissions { configure, write, read } } => {
                out.push(24);
                for text in [user, vhost, configure.text(), write.text(), read.text()] {
                    name(out, text);
                }
            }
            Self::PermissionsCleared { user, vhost } => {
                out.push(25);
                name(out, user);
                name(out, vhost);
            }
            Self::TopicPermissionsSet { user, vhost, exchange, permissions: TopicPermissions { write, read } } => {
                out.push(26);
                for text in [user, vhost, exchange, write.text(), read.text()] {
                    name(out, text);
                }
            }
            Self::TopicPermissionsCleared { user, vhost, exchange } => {
                out.push(27);
                for text in [user, vhost, exchange] {
                    name(out, text);
                }
            }
        }
    }

    /// Reads a record from all of `octets`.
    pub fn decode(octets: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader { rest: octets };
        let version = reader.u8()?;
        if version != VERSION {
            return Err(FormatError::Version(version));
        }
        let record = match reader.u8()? {
            1 => Self::VhostCreated { vhost: reader.name()? },
            2 => Self::VhostDeleted { vhost: reader.name()? },
            3 => {
                let (vhost, name, kind, flags) = (reader.name()?, reader.name()?, reader.kind()?, reader.u8()?);
                let (auto_delete, internal) = (flags & 1 != 0, flags & 2 != 0);
                Self::ExchangeDeclared { vhost, name, kind, auto_delete, internal, arguments: reader.table(0)? }
            }
            4 => Self::ExchangeDeleted { vhost: reader.name()?, name: reader.name()? },
            5 => Self::QueueDeclared {
                vhost: reader.name()?,
                name: reader.name()?,
                id: QueueId(reader.u64()?),
                auto_delete: reader.u8()? & 1 != 0,
                arguments: reader.table(0)?,
            },
            6 => Self::QueueDeleted { vhost: reader.name()?, name: reader.name()?, id: QueueId(reader.u64()?) },
            7 => Self::Bound(reader.binding()?),
            8 => Self::Unbound(reader.binding()?),
            9 => Self::PolicySet { vhost: reader.name()?, kind: reader.policy_kind()?, policy: reader.policy()? },
            10 => Self::PolicyCleared { vhost: reader.name()?, kind: reader.policy_kind()?, name: reader.name()? },
            11 => Self::VhostDescribed { vhost: reader.name()?, metadata: reader.metadata()? },
            12 => Self::ParameterSet {
                vhost: reader.name()?,
                component: reader.name()?,
                name: reader.name()?,
                value: reader.value(0)?,
            },
            13 => Self::ParameterCleared { vhost: reader.name()?, component: reader.name()?, name: reader.name()? },
            14 => Self::GlobalParameterSet { name: reader.name()?, value: reader.value(0)? },
            15 => Self::GlobalParameterCleared { name: reader.name()? },
            16 => Self::UserLimitsSet { user: reader.name()?, limits: reader.table(0)? },
            20 => Self::QueuePaused { vhost: reader.name()?, name: reader.name()?, paused: reader.u8()? & 1 != 0 },
            17 => Self::DelayNumbered { vhost: reader.name()?, exchange: reader.name()?, id: QueueId(reader.u64()?) },
            21 => Self::DefaultsCreated,
            22 => {
                let (user, algorithm) = (reader.name()?, reader.algorithm()?);
                let password = PasswordHash { algorithm, octets: reader.octets()? };
                Self::UserSet { user, password, tags: reader.names()? }
            }
            23 => Self::UserDeleted { user: reader.name()? },
            24 => {
                let (user, vhost) = (reader.name()?, reader.name()?);
                let (configure, write, read) = (reader.pattern()?, reader.pattern()?, reader.pattern()?);
                Self::PermissionsSet { user, vhost, permissions: Permissions { configure, write, read } }
            }
            25 => Self::PermissionsCleared { user: reader.name()?, vhost: reader.name()? },
            26 => {
                let (user, vhost, exchange) = (reader.name()?, reader.name()?, reader.name()?);
                let permissions = TopicPermissions { write: reader.pattern()?, read: reader.pattern()? };
                Self::TopicPermissionsSet { user, vhost, exchange, permissions }
            }
            27 => {
                Self::TopicPermissionsCleared { user: reader.name()?, vhost: reader.name()?, exchange: reader.name()? }
            }
            _ => return Err(FormatError::Malformed),
        };
        if reader.rest.is_empty() { Ok(record) } else { Err(FormatError::Malformed) }
    }
}

fn kind_number(kind: ExchangeKind) -> u8 {
    match kind {
        ExchangeKind::Direct => 1,
        ExchangeKind::Fanout => 2,
        ExchangeKind::Topic => 3,
        ExchangeKind::Headers => 4,
        ExchangeKind::Deduplication => 24,
        ExchangeKind::ConsistentHash => 5,
        ExchangeKind::ModulusHash => 6,
        ExchangeKind::Random => 7,
        ExchangeKind::LocalRandom => 8,
        ExchangeKind::RecentHistory => 9,
        ExchangeKind::Delayed => 16,
    }
}

fn policy_kind_number(kind: PolicyKind) -> u8 {
    match kind {
        PolicyKind::User => 1,
        PolicyKind::Operator => 2,
    }
}

fn apply_to_number(apply_to: ApplyTo) -> u8 {
    match apply_to {
        ApplyTo::All => 1,
        ApplyTo::Queues => 2,
        ApplyTo::Exchanges => 3,
        ApplyTo::ClassicQueues => 4,
        ApplyTo::QuorumQueues => 5,
        ApplyTo::Streams => 6,
    }
}

fn algorithm_number(algorithm: HashingAlgorithm) -> u8 {
    match algorithm {
        HashingAlgorithm::Sha256 => 1,
        HashingAlgorithm::Sha512 => 2,
        HashingAlgorithm::Md5 => 3,
        HashingAlgorithm::Argon2id => 4,
    }
}

fn policy(out: &mut Vec<u8>, policy: &Policy) {
    name(out, &policy.name);
    name(out, &policy.pattern);
    out.push(apply_to_number(policy.apply_to));
    out.extend_from_slice(&policy.priority.to_le_bytes());
    table(out, &policy.definition);
}

fn metadata(out: &mut Vec<u8>, metadata: &VhostMetadata) {
    let VhostMetadata { description, tags, default_queue_type, protection } = metadata;
    name(out, description);
    names(out, tags);
    // No type has an empty name.
    name(out, default_queue_type.as_deref().unwrap_or_default());
    out.push(match protection {
        Protection::None => 0,
        Protection::Deletion => 1,
    });
}

/// Names are cut to 65,535 octets, far above what any protocol allows them.
fn name(out: &mut Vec<u8>, name: &str) {
    let name = name.get(..name.floor_char_boundary(usize::from(u16::MAX))).unwrap_or_default();
    out.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(name.as_bytes());
}

fn names(out: &mut Vec<u8>, names: &[Name]) {
    length(out, names.len());
    for one in names {
        name(out, one);
    }
}

/// What something in a vhost is called, and its number.
fn numbered(out: &mut Vec<u8>, vhost: &str, called: &str, id: QueueId) {
    name(out, vhost);
    name(out, called);
    out.extend_from_slice(&id.0.to_le_bytes());
}

fn length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn octets(out: &mut Vec<u8>, octets: &[u8]) {
    length(out, octets.len());
    out.extend_from_slice(octets);
}

fn binding(out: &mut Vec<u8>, record: &BindingRecord) {
    name(out, &record.vhost);
    name(out, &record.source);
    match &record.destination {
        Destination::Queue(queue) => {
            out.push(1);
            name(out, queue);
        }
        Destination::Exchange(exchange) => {
            out.push(2);
            name(out, exchange);
        }
    }
    name(out, &record.routing_key);
    table(out, &record.arguments);
}

fn table(out: &mut Vec<u8>, table: &Table) {
    length(out, table.len());
    for (key, field) in table.iter() {
        name(out, key);
        value(out, field);
    }
}

fn value(out: &mut Vec<u8>, field: &Value) {
    let mut fixed = |kind: u8, bytes: &[u8]| {
        out.push(kind);
        out.extend_from_slice(bytes);
    };
    match field {
        Value::Bool(v) => fixed(1, &[u8::from(*v)]),
        Value::I8(v) => fixed(2, &v.to_le_bytes()),
        Value::U8(v) => fixed(3, &[*v]),
        Value::I16(v) => fixed(4, &v.to_le_bytes()),
        Value::U16(v) => fixed(5, &v.to_le_bytes()),
        Value::I32(v) => fixed(6, &v.to_le_bytes()),
        Value::U32(v) => fixed(7, &v.to_le_bytes()),
        Value::I64(v) => fixed(8, &v.to_le_bytes()),
        Value::U64(v) => fixed(9, &v.to_le_bytes()),
        Value::F32(v) => fixed(10, &v.to_le_bytes()),
        Value::F64(v) => fixed(11, &v.to_le_bytes()),
        Value::Decimal { scale, value } => {
            fixed(12, &[*scale]);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::LongStr(v) => {
            out.push(13);
            octets(out, v);
        }
        Value::Array(values) => {
            out.push(14);
            length(out, values.len());
            for element in values {
                value(out, element);
            }
        }
        Value::Timestamp(v) => fixed(15, &v.to_le_bytes()),
        Value::Table(v) => {
            out.push(16);
            table(out, v);
        }
        Value::Bytes(v) => {
            out.push(17);
            octets(out, v);
        }
        Value::Void => out.push(18),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(FormatError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(FormatError::Malformed)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn name(&mut self) -> Result<Name, FormatError> {
        let len = u16::from_le_bytes(self.array()?);
        let octets = self.take(usize::from(len))?;
        std::str::from_utf8(octets).map(Name::from).map_err(|_| FormatError::Malformed)
    }

    fn octets(&mut self) -> Result<Box<[u8]>, FormatError> {
        let len = self.u32()?;
        self.take(len as usize).map(Box::from)
    }

    fn kind(&mut self) -> Result<ExchangeKind, FormatError> {
        match self.u8()? {
            1 => Ok(ExchangeKind::Direct),
            2 => Ok(ExchangeKind::Fanout),
            3 => Ok(ExchangeKind::Topic),
            4 => Ok(ExchangeKind::Headers),
            24 => Ok(ExchangeKind::Deduplication),
            5 => Ok(ExchangeKind::ConsistentHash),
            6 => Ok(ExchangeKind::ModulusHash),
            7 => Ok(ExchangeKind::Random),
            8 => Ok(ExchangeKind::LocalRandom),
            9 => Ok(ExchangeKind::RecentHistory),
            16 => Ok(ExchangeKind::Delayed),
            _ => Err(FormatError::Malformed),
        }
    }

    fn policy_kind(&mut self) -> Result<PolicyKind, FormatError> {
        match self.u8()? {
            1 => Ok(PolicyKind::User),
            2 => Ok(PolicyKind::Operator),
            _ => Err(FormatError::Malformed),
        }
    }

    fn policy(&mut self) -> Result<Policy, FormatError> {
        let (name, pattern) = (self.name()?, self.name()?);
        let number = self.u8()?;
        let apply_to = ApplyTo::ALL.into_iter().find(|apply_to| apply_to_number(*apply_to) == number);
        let apply_to = apply_to.ok_or(FormatError::Malformed)?;
        let priority = i64::from_le_bytes(self.array()?);
        Ok(Policy { name, pattern, apply_to, priority, definition: self.table(0)? })
    }

    fn metadata(&mut self) -> Result<VhostMetadata, FormatError> {
        let description = self.name()?;
        let tags = self.names()?;
        let default_queue_type = Some(self.name()?).filter(|name| !name.is_empty());
        let protection = match self.u8()? {
            0 => Protection::None,
            1 => Protection::Deletion,
            _ => return Err(FormatError::Malformed),
        };
        Ok(VhostMetadata { description, tags, default_queue_type, protection })
    }

    fn names(&mut self) -> Result<Vec<Name>, FormatError> {
        let count = self.u32()?;
        (0..count).map(|_| self.name()).collect()
    }

    fn algorithm(&mut self) -> Result<HashingAlgorithm, FormatError> {
        let number = self.u8()?;
        let found = HashingAlgorithm::ALL.into_iter().find(|algorithm| algorithm_number(*algorithm) == number);
        found.ok_or(FormatError::Malformed)
    }

    /// It was a pattern when it was set. No broker is kept from starting because another version of it thinks otherwise.
    fn pattern(&mut self) -> Result<Pattern, FormatError> {
        self.name().map(Pattern::kept)
    }

    fn binding(&mut self) -> Result<BindingRecord, FormatError> {
        let (vhost, source) = (self.name()?, self.name()?);
        let destination = match self.u8()? {
            1 => Destination::Queue(self.name()?),
            2 => Destination::Exchange(self.name()?),
            _ => return Err(FormatError::Malformed),
        };
        Ok(BindingRecord { vhost, source, destination, routing_key: self.name()?, arguments: self.table(0)? })
    }

    fn table(&mut self, depth: usize) -> Result<Table, FormatError> {
        let count = self.u32()?;
        (0..count).map(|_| Ok((self.name()?, self.value(depth)?))).collect()
    }

    fn value(&mut self, depth: usize) -> Result<Value, FormatError> {
        if depth > DEPTH_MAX {
            return Err(FormatError::Malformed);
        }
        Ok(match self.u8()? {
            1 => Value::Bool(self.u8()? != 0),
            2 => Value::I8(i8::from_le_bytes(self.array()?)),
            3 => Value::U8(self.u8()?),
            4 => Value::I16(i16::from_le_bytes(self.array()?)),
            5 => Value::U16(u16::from_le_bytes(self.array()?)),
            6 => Value::I32(i32::from_le_bytes(self.array()?)),
            7 => Value::U32(self.u32()?),
            8 => Value::I64(i64::from_le_bytes(self.array()?)),
            9 => Value::U64(self.u64()?),
            10 => Value::F32(f32::from_le_bytes(self.array()?)),
            11 => Value::F64(f64::from_le_bytes(self.array()?)),
            12 => Value::Decimal { scale: self.u8()?, value: self.u32()? },
            13 => Value::LongStr(self.octets()?),
            14 => {
                let count = self.u32()?;
                Value::Array((0..count).map(|_| self.value(depth + 1)).collect::<Result<_, _>>()?)
            }
            15 => Value::Timestamp(self.u64()?),
            16 => Value::Table(self.table(depth + 1)?),
            17 => Value::Bytes(self.octets()?),
            18 => Value::Void,
            _ => return Err(FormatError::Malformed),
        })
    }
}
