//! Definitions out of JSON.
//!
//! A file is read object by object, so that memory holds it once, and not as JSON as well.

use std::cell::RefCell;
use std::fmt;

use leveret_auth::hash;
use leveret_broker::Name;
use leveret_broker::access::{HashingAlgorithm, PasswordHash, Permissions, Secret, TopicPermissions};
use leveret_broker::topology::{ApplyTo, Destination, PolicyKind};
use leveret_broker::value::Value;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use super::item::{Flag, Item, Problem, kind};
use super::sections::{
    At, Binding, Definitions, Exchange, GlobalParameter, Parameter, Password, Permission, PolicyDefinition, Queue,
    TopicPermission, User, Vhost,
};

/// Why something is no definitions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is no JSON.
    #[error("line {line}, column {column}: {text}")]
    Syntax {
        /// Where, from 1 on.
        line: usize,
        /// Where in that line, from 1 on.
        column: usize,
        /// What is wrong.
        text: String,
    },
    /// Something in it is not what it should be; begins with the path to it.
    #[error("{text}")]
    Content {
        /// What is wrong, and with what.
        text: String,
    },
}

/// Reads a file.
pub fn read(text: &str) -> Result<Definitions, ReadError> {
    // Some editors begin a file with a mark of its encoding.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut source = serde_json::Deserializer::from_str(text);
    let definitions = Root::read(&mut source);
    definitions.and_then(|definitions| source.end().map(|()| definitions)).map_err(|error| explain(&error))
}

/// Reads what was in JSON already.
pub fn read_value(value: Json) -> Result<Definitions, ReadError> {
    Root::read(value).map_err(|error| explain(&error))
}

fn explain(error: &serde_json::Error) -> ReadError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let place = format!(" at line {line} column {column}");
    let text = text.strip_suffix(&place).unwrap_or(&text).to_owned();
    if error.is_data() {
        let text = if line == 0 { text } else { format!("{text}, at line {line}, column {column}") };
        return ReadError::Content { text };
    }
    ReadError::Syntax { line, column, text }
}

/// The whole of it.
struct Root<'a>(&'a RefCell<Definitions>);

impl Root<'_> {
    fn read<'de, D: Deserializer<'de>>(source: D) -> Result<Definitions, D::Error> {
        let definitions = RefCell::new(Definitions::default());
        source.deserialize_any(Root(&definitions))?;
        Ok(definitions.into_inner())
    }
}

impl<'de> Visitor<'de> for Root<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the sections of definitions")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if let Some((name, add)) = SECTIONS.iter().find(|(name, _)| *name == key) {
                map.next_value_seed(Section { name, add: *add, definitions: self.0 })?;
            } else {
                map.next_value::<IgnoredAny>()?;
                if !FACTS.contains(&key.as_str()) {
                    let remark = format!("'{key}' means nothing in definitions and is left out");
                    self.0.borrow_mut().remarks.push(remark);
                }
            }
        }
        Ok(())
    }
}

/// A section; gives what it read to the definitions.
struct Section<'a> {
    name: &'static str,
    add: Add,
    definitions: &'a RefCell<Definitions>,
}

impl<'de> DeserializeSeed<'de> for Section<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Section<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of {}", self.name)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<(), S::Error> {
        let mut at = At { section: self.name, index: 0 };
        while let Some(item) = items.next_element::<Json>()? {
            let Json::Object(members) = item else {
                return Err(S::Error::custom(format_args!("{at}: expected an object, found {}", kind(&item))));
            };
            let mut item = Item::new(at, members);
            (self.add)(&mut self.definitions.borrow_mut(), &mut item)
                .map_err(|problem| S::Error::custom(item.explain(&problem)))?;
            at.index += 1;
        }
        Ok(())
    }
}

/// Adds an object of a section to the definitions.
type Add = fn(&mut Definitions, &mut Item) -> Result<(), Problem>;

/// The sections that are read.
const SECTIONS: [(&str, Add); 10] = [
    ("users", user),
    ("vhosts", vhost),
    ("permissions", permission),
    ("topic_permissions", topic_permission),
    ("parameters", parameter),
    ("global_parameters", global_parameter),
    ("policies", policy),
    ("queues", queue),
    ("exchanges", exchange),
    ("bindings", binding),
];

/// What only says where a file comes from, or what is said of a vhost in definitions of one.
const FACTS: [&str; 14] = [
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
    "metadata",
    "description",
    "default_queue_type",
    "limits",
    "name",
    "tags",
];

fn user(definitions: &mut Definitions, item: &mut Item) -> Result<(), Problem> {
    let name = item.full_name("name")?;
    let algorithm = match item.optional_text("hashing_algorithm")? {
        None => None,
        Some(algorithm) => Some(
            HashingAlgorithm::parse(&algorithm)
                .ok_or_else(|| Problem::at("hashing_algorithm", format!("unknown algorithm '{algorithm}'")))?,
        ),
    };
    let plain = item.optional_text("password")?.map(|password| Secret::new(password.as_bytes()));
    let password = match (item.optional_text("password_hash")?, plain) {
        // As in RabbitMQ, the hash counts if there are both. Up to 3.5 there was one algorithm and no word for it.
        (Some(text), _) => {
            let algorithm = algorithm.unwrap_or_default();
            let hash = hash::from_text(algorithm, &text);
            Password::Hash(hash.map_err(|error| Problem::at("password_hash", error))?)
        }
        (None, Some(plain)) if plain.is_empty() => Password::Hash(PasswordHash::none()),
        (None, Some(plain)) => Password::Plain(plain),
        (None, None) => Password::Unsaid,
    };
    let tags = item.words("tags")?.unwrap_or_default();
    let limits = item.table("limits")?;
    definitions.users.push(User { name, password, tags, limits });
    Ok(())
}

fn vhost(definitions: &mut Definitions, item: &mut Item) -> Result<(), Problem> {
    let name = item.full_name("name")?;
    let mut metadata = item.within("metadata")?;
    let within = |problem: Problem| Problem { path: format!(".metadata{}", problem.path), ..problem };
    let description = item.optional_text("description")?.or(metadata.optional_text("description").map_err(within)?);
    let tags = item.words("tags")?.or(metadata.words("tags").map_err(within)?);
    let queue_type = item.optional_text("default_queue_type")?;
    let queue_type = queue_type.or(metadata.optional_text("default_queue_type").map_err(within)?);
    // RabbitMQ has several words for none.
    let queue_type = queue_type.filter(|queue_type| !matches!(queue_type.as_str(), "" | "undefined" | "null"));
    let is_protected = metadata.optional_flag("protected_from_deletion").map_err(within)?;
    let is_protected = item.optional_flag("protected_from_deletion")?.or(is_protected);
    definitions.vhosts.push(Vhost {
        name,
        description: description.map(Name::from),
        tags,
        default_queue_type: queue_type.map(Name::from),
        is_protected,
        limits: item.table("limits")?,
    });
    Ok(())
}

fn permission(definitions: &mut Definitions, item: &mut Item) -> Result<(), Problem> {
    let (user, vhost) = (item.full_name("user")?, item.full_name("vhost")?);
    let (configure, write, read) = (item.text("configure")?, item.text("write")?, item.text("read")?);
    let permissions = Permissions::new(&configure, &write, &read);
    let permissions = permissions.map_err(|error| Problem { path: String::new(), text: error.to_string() })?;
    definitions.permissions.push(Permission { user, vhost, permissions });
    Ok(())
}

fn topic_permission(definitions: &mut Definitions, item: &mut Item) -> Result<(), Problem> {
    let (user, vhost) = (item.full_name("user")?, item.full_name("vhost")?);
    let exchange = item.name("exchange")?;
    let permissions = TopicPermissions::new(&item.text("write")?, &item.text("read")?);
    let permissions = permissions.map_err(|error| Problem { path: String::new(), text: error.to_string() })?;
    definitions.topic_permissions.push(TopicPermission { user, vhost, exchange, permissions });
    Ok(())
}

fn parameter(definitions: &mut Definitions, item: &mut Item) -> Result<(), Problem> {
    let (vhost, component) = (item.place()?, item.text("component")?);
    let name: Name = item.text("name")?.into();
    let policy_kind = match component.as_str() {
        "policy" => Some(PolicyKind::User),
        "operator_policy" => Some(PolicyKind::Operator),
        _ => None,
    };
    let within = |problem: Problem| Problem { path: format!(".value{}", problem.path), ..problem };
    if let Some(kind) = policy_kind {
        let mut value = item.within("value")?;
        let policy = policy_of(&mut value, item.at, (vhost, kind, name)).map_err(within)?;
        definitions.policies.push(policy);
        return Ok(());
    }
    let value = if component == "vhost-limits" { Value::Table(item.table("value")?) } else { item.value("value")? };
    definitions.parameters.push(Parameter { at: item.at, vhost, component: component.into(), name, value });
    Ok(())
}

fn global_parameter(definitions: &mut Definitions, item: &mut Item) -> Result<(), Problem> {
    let (name, value) = (item.text("name")?.into(), item.value("value")?);
    definitions.global_parameters.push(GlobalParameter { name, value });
    Ok(())
}

fn policy(definitions: &mut Definitions, item: &mut Item) -> Result<(), Problem> {
    let (vhost, name) = (item.place()?, item.text("name")?.into());
    let policy = policy_of(item, item.at, (vhost, PolicyKind::User, name))?;
    definitions.policies.push(policy);
    Ok(())
}

fn policy_of(
    item: &mut Item,
    at: At,
    (vhost, kind, name): (Option<Name>, PolicyKind, Name),
) -> Result<PolicyDefinition, Problem> {
    let pattern = item.text("pattern")?.into();
    let apply_to = match item.optional_text("apply-to")? {
        None => ApplyTo::default(),
        Some(apply_to) => ApplyTo::parse(&apply_to).map_err(|error| Problem::at("apply-to", one_line(&error)))?,
    };
    let priority = item.integer("priority")?;
    let definition = item.table("definition")?;
    Ok(PolicyDefinition { at, vhost, kind, name, pattern, apply_to, priority, definition })
}

/// RabbitMQ's texts begin with a line that says nothing here.
pub(super) fn one_line(error: &leveret_broker::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("Validation failed\n\n").unwrap_or(&text).replace('\n', " ")
}

fn queue(definitions: &mut Definitions, item: &mut Item) -> Result<(), Problem> {
    let (vhost, name) = (item.place()?, item.full_name("name")?);
    let durable = item.flag("durable", Flag::Set)?;
    let auto_delete = item.flag("auto_delete", Flag::Clear)?;
    let mut arguments = item.table("arguments")?;
    // `rabbitmqctl` says it beside the arguments, mostly a second time.
    if let Some(queue_type) = item.optional_text("type")?
        && queue_type != "classic"
        && arguments.get("x-queue-type").is_none()
    {
        arguments.push("x-queue-type".into(), Value::text(&queue_type));
    }
    definitions.queues.push(Queue { vhost, name, durable, auto_delete, arguments });
    Ok(())
}

fn exchange(definitions: &mut Definitions, item: &mut Item) -> Result<(), Problem> {
    let (vhost, name, kind) = (item.place()?, item.name("name")?, item.text("type")?.into());
    let durable = item.flag("durable", Flag::Set)?;
    let auto_delete = item.flag("auto_delete", Flag::Clear)?;
    // `rabbitmqctl` does not say it, and leaves internal exchanges out.
    let internal = item.flag("internal", Flag::Clear)?;
    let arguments = item.table("arguments")?;
    definitions.exchanges.push(Exchange { vhost, name, kind, durable, auto_delete, internal, arguments });
    Ok(())
}

fn binding(definitions: &mut Definitions, item: &mut Item) -> Result<(), Problem> {
    let (vhost, source, destination) = (item.place()?, item.name("source")?, item.name("destination")?);
    let destination = match item.text("destination_type")?.as_str() {
        "queue" => Destination::Queue(destination),
        "exchange" => Destination::Exchange(destination),
        other => {
            return Err(Problem::at("destination_type", format!("expected 'queue' or 'exchange', found '{other}'")));
        }
    };
    let routing_key = item.name("routing_key")?;
    let arguments = item.table("arguments")?;
    definitions.bindings.push(Binding { vhost, source, destination, routing_key, arguments });
    Ok(())
}
