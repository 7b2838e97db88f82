//! The changes a topology takes and what they did.

use std::sync::Arc;

use super::{Binding, ConnectionId, Policy, PolicyKind, QueueId, Reconfigured, VhostMetadata, VhostUpdate};
use super::{Defaults, Existing};
use crate::Name;
use crate::access::{PasswordHash, Permissions, TopicPermissions};
use crate::exchange::ExchangeKind;
use crate::value::{Table, Value};

/// One change to the topology: the unit that is applied, persisted and replicated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Creates a vhost with its pre-declared exchanges; one that exists stays as it is.
    CreateVhost {
        /// Its name.
        vhost: Name,
    },
    /// Creates a vhost if it is not there yet, and says this of it.
    SetVhost {
        /// Its name.
        vhost: Name,
        /// What is said of it.
        metadata: VhostMetadata,
    },
    /// Says something else of a vhost, which has to be there.
    UpdateVhost {
        /// Its name.
        vhost: Name,
        /// What is said anew.
        update: VhostUpdate,
    },
    /// Deletes a vhost and everything in it.
    DeleteVhost {
        /// Its name.
        vhost: Name,
    },
    /// Declares an exchange.
    DeclareExchange {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Its type.
        kind: ExchangeKind,
        /// Whether it survives a restart.
        durable: bool,
        /// Whether it goes with the last binding from it.
        auto_delete: bool,
        /// Whether only other exchanges may publish to it.
        internal: bool,
        /// `alternate-exchange` and whatever else came.
        arguments: Table,
        /// Who asks, which decides about reserved names.
        origin: Origin,
    },
    /// Deletes an exchange; one that is missing is no error.
    DeleteExchange {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Whether bindings from it forbid this.
        if_unused: bool,
    },
    /// Declares a queue.
    DeclareQueue {
        /// Where.
        vhost: Name,
        /// Its name; the caller has replaced an empty one by a generated one.
        name: Name,
        /// Whether it survives a restart; ignored for an exclusive queue, which never does.
        durable: bool,
        /// The connection it belongs to, if it is exclusive.
        exclusive: Option<ConnectionId>,
        /// Whether it goes with its last consumer.
        auto_delete: bool,
        /// `x-queue-type`, limits, dead-lettering and whatever else came.
        arguments: Table,
        /// Who asks, which decides about reserved names.
        origin: Origin,
        /// The id of a queue that is restored, which no other one may have; `None` takes the next one.
        id: Option<QueueId>,
    },
    /// Deletes a queue; one that is missing is no error. Whether it is empty, unused and unlocked is the caller's to check.
    DeleteQueue {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// If given, only if the name still stands for this queue.
        id: Option<QueueId>,
    },
    /// Stops a queue from handing out messages, or lets it go on.
    PauseQueue {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Whether it hands out nothing from now on.
        paused: bool,
    },
    /// Binds a queue or an exchange to an exchange.
    Bind {
        /// Where.
        vhost: Name,
        /// The exchange messages come from.
        source: Name,
        /// What they go to.
        destination: Destination,
        /// The binding key.
        routing_key: Name,
        /// What a headers exchange matches.
        arguments: Table,
        /// The connection that asks; `None` skips the check of exclusive queues (restore).
        asking: Option<ConnectionId>,
    },
    /// Removes a binding; one that is missing is no error, nor are missing ends.
    Unbind {
        /// Where.
        vhost: Name,
        /// The exchange messages come from.
        source: Name,
        /// What they go to.
        destination: Destination,
        /// The binding key.
        routing_key: Name,
        /// The arguments of the binding.
        arguments: Table,
        /// The connection that asks; `None` skips the check of exclusive queues.
        asking: Option<ConnectionId>,
    },
    /// Sets a policy, in the place of the one with its name if there is one.
    SetPolicy {
        /// Where.
        vhost: Name,
        /// Whose policy it is.
        kind: PolicyKind,
        /// The policy.
        policy: Policy,
    },
    /// Takes a policy away; one that is missing is an error.
    ClearPolicy {
        /// Where.
        vhost: Name,
        /// Whose policy it is.
        kind: PolicyKind,
        /// Its name.
        name: Name,
    },
    /// Sets a parameter of a vhost.
    SetParameter {
        /// Where.
        vhost: Name,
        /// What it is for.
        component: Name,
        /// Its name.
        name: Name,
        /// What it is set to.
        value: Value,
    },
    /// Takes a parameter of a vhost away; one that is missing is an error.
    ClearParameter {
        /// Where.
        vhost: Name,
        /// What it is for.
        component: Name,
        /// Its name.
        name: Name,
    },
    /// Sets a parameter of all of the broker.
    SetGlobalParameter {
        /// Its name.
        name: Name,
        /// What it is set to.
        value: Value,
    },
    /// Takes a parameter of all of the broker away; one that is missing is an error.
    ClearGlobalParameter {
        /// Its name.
        name: Name,
    },
    /// Sets how much a user may have open: `max-connections`, `max-channels`. These are all of its limits then.
    SetUserLimits {
        /// Its name.
        user: Name,
        /// The limits.
        limits: Table,
    },
    /// Creates what a fresh broker begins with, unless it has, or had, that.
    CreateDefaults(Box<Defaults>),
    /// Says that a fresh broker begins with something else, so that it never creates what it would begin with.
    WaiveDefaults,
    /// Creates a user who may do nothing, or replaces the password and tags of the one with its name.
    SetUser {
        /// Its name.
        user: Name,
        /// The hash of its password.
        password: PasswordHash,
        /// All of its tags.
        tags: Vec<Name>,
        /// What becomes of one that is there already.
        existing: Existing,
    },
    /// Gives a user another password, or takes it away. Its connections stay.
    SetPassword {
        /// Its name.
        user: Name,
        /// The hash of its password.
        password: PasswordHash,
    },
    /// Gives a user other tags.
    SetTags {
        /// Its name.
        user: Name,
        /// All of its tags.
        tags: Vec<Name>,
    },
    /// Deletes a user, with all that it may do.
    DeleteUser {
        /// Its name.
        user: Name,
    },
    /// Says what a user may do in a vhost.
    SetPermissions {
        /// The user.
        user: Name,
        /// Where.
        vhost: Name,
        /// All that it may do there.
        permissions: Permissions,
    },
    /// Takes away what a user may do in a vhost; having had none is no error.
    ClearPermissions {
        /// The user.
        user: Name,
        /// Where.
        vhost: Name,
    },
    /// Says which routing keys a user may use with a topic exchange, which need not be there yet.
    SetTopicPermissions {
        /// The user.
        user: Name,
        /// Where.
        vhost: Name,
        /// The exchange.
        exchange: Name,
        /// Which keys.
        permissions: TopicPermissions,
    },
    /// Lets a user use all routing keys again; having had no topic permissions is no error.
    ClearTopicPermissions {
        /// The user.
        user: Name,
        /// Where.
        vhost: Name,
        /// With which exchange; `None` with all of them.
        exchange: Option<Name>,
    },
}

impl Change {
    /// The vhost it concerns, if it is one only.
    pub fn vhost(&self) -> Option<&Name> {
        match self {
            Self::CreateVhost { vhost }
            | Self::SetVhost { vhost, .. }
            | Self::UpdateVhost { vhost, .. }
            | Self::DeleteVhost { vhost }
            | Self::DeclareExchange { vhost, .. }
            | Self::DeleteExchange { vhost, .. }
            | Self::DeclareQueue { vhost, .. }
            | Self::DeleteQueue { vhost, .. }
            | Self::PauseQueue { vhost, .. }
            | Self::Bind { vhost, .. }
            | Self::Unbind { vhost, .. }
            | Self::SetPolicy { vhost, .. }
            | Self::ClearPolicy { vhost, .. }
            | Self::SetParameter { vhost, .. }
            | Self::ClearParameter { vhost, .. } => Some(vhost),
            Self::SetGlobalParameter { .. }
            | Self::ClearGlobalParameter { .. }
            | Self::SetUserLimits { .. }
            | Self::CreateDefaults(_)
            | Self::WaiveDefaults
            | Self::SetUser { .. }
            | Self::SetPassword { .. }
            | Self::SetTags { .. }
            | Self::DeleteUser { .. }
            | Self::SetPermissions { .. }
            | Self::ClearPermissions { .. }
            | Self::SetTopicPermissions { .. }
            | Self::ClearTopicPermissions { .. } => None,
        }
    }
}

/// Who asks for a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A client, who may not create names under `amq.`.
    Client,
    /// The broker itself: generated names, pre-declared exchanges, restore.
    Broker,
}

/// The end of a binding that messages go to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// The queue of that name.
    Queue(Name),
    /// The exchange of that name.
    Exchange(Name),
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Nothing: it was so already.
    Unchanged,
    /// A vhost was created.
    VhostCreated,
    /// An exchange was created.
    ExchangeDeclared,
    /// A queue was created.
    QueueDeclared {
        /// Its id.
        id: QueueId,
    },
    /// An equivalent queue was there.
    QueueExists {
        /// Its id.
        id: QueueId,
    },
    /// A binding was created.
    Bound,
    /// Something was deleted or unbound, and this is all that went.
    Deleted(Removed),
    /// Something was set or cleared that concerns nothing that is there: a parameter, limits, what is said of a vhost.
    Set,
    /// What a user may do, its password or its tags are others now.
    AccessChanged {
        /// The user.
        user: Name,
    },
    /// A user is gone.
    UserDeleted {
        /// Its name.
        user: Name,
    },
    /// Policies changed, and this is what follows from it.
    Reconfigured(Reconfigured),
}

impl Applied {
    /// Whether something is other than before.
    pub const fn is_news(&self) -> bool {
        !matches!(self, Self::Unchanged | Self::QueueExists { .. })
    }

    /// Whether messages may go other ways than before.
    pub const fn moves_routes(&self) -> bool {
        match self {
            Self::Unchanged | Self::QueueExists { .. } | Self::Set => false,
            Self::VhostCreated
            | Self::ExchangeDeclared
            | Self::QueueDeclared { .. }
            | Self::Bound
            | Self::Deleted(_)
            // Routes were checked when they were found.
            | Self::AccessChanged { .. }
            | Self::UserDeleted { .. } => true,
            Self::Reconfigured(reconfigured) => reconfigured.routes,
        }
    }
}

/// All that went with a deletion, including what was asked for, in the order it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Exchanges: the deleted one and auto-delete exchanges that lost their last binding.
    pub exchanges: Vec<Name>,
    /// Queues.
    pub queues: Vec<(Name, QueueId)>,
    /// Numbers of what exchanges held back.
    pub delays: Vec<QueueId>,
    /// Bindings.
    pub bindings: Vec<Arc<Binding>>,
}
