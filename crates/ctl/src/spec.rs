//! What a command is: its name, what it takes, and what does it.

use crate::failure::Failure;
use crate::invocation::Invocation;
use crate::output::{Answer, Formatter};
use crate::tool::Tool;

/// The sections of `help`, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Help,
    Nodes,
    Cluster,
    Replication,
    Users,
    AccessControl,
    Monitoring,
    Parameters,
    Policies,
    Vhosts,
    Configuration,
    Definitions,
    FeatureFlags,
    Operations,
    Queues,
    Plugins,
    Streams,
    Upgrade,
    Deprecated,
}

impl Section {
    /// Its heading.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Help => "Help",
            Self::Nodes => "Nodes",
            Self::Cluster => "Cluster",
            Self::Replication => "Replication",
            Self::Users => "Users",
            Self::AccessControl => "Access Control",
            Self::Monitoring => "Monitoring, observability and health checks",
            Self::Parameters => "Parameters",
            Self::Policies => "Policies",
            Self::Vhosts => "Virtual hosts",
            Self::Configuration => "Configuration and Environment",
            Self::Definitions => "Definitions",
            Self::FeatureFlags => "Feature flags",
            Self::Operations => "Operations",
            Self::Queues => "Queues",
            Self::Plugins => "Plugin Management",
            Self::Streams => "Streams",
            Self::Upgrade => "Upgrade",
            Self::Deprecated => "Deprecated",
        }
    }
}

/// What a command needs before it says or does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// No node: it sees to that by itself, if at all.
    Nothing,
    /// A node whose broker runs.
    Running,
    /// A node whose broker is stopped, while its process goes on.
    Stopped,
}

impl Needs {
    /// What most commands of a section need.
    const fn of(section: Section) -> Self {
        match section {
            Section::Help | Section::Nodes | Section::Plugins => Self::Nothing,
            _ => Self::Running,
        }
    }
}

/// Something that stands without a name in front of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Positional {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is, in one line.
    pub(crate) about: &'static str,
    /// How many there may be.
    pub(crate) count: Count,
    /// Whether it is shown when the command line is.
    pub(crate) shown: Shown,
}

/// Whether something is shown when the command line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// As it is.
    Plainly,
    /// As asterisks: it is a password.
    Masked,
}

/// How many there may be of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// One.
    One,
    /// One or none.
    Optional,
    /// Any number.
    Any,
    /// One or more.
    Many,
}

/// An option with two dashes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Its name, without the dashes.
    pub(crate) name: &'static str,
    /// Its letter, if it has one.
    pub(crate) short: Option<char>,
    /// What it is, in one line.
    pub(crate) about: &'static str,
    /// What comes behind it.
    pub(crate) takes: Takes,
}

/// What comes behind an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing.
    Nothing,
    /// Any text; this is what help calls it.
    Text(&'static str),
    /// A whole number, which may be negative.
    Integer(&'static str),
    /// A whole number of at least nought.
    Number(&'static str),
    /// `true` or `false`; alone, it means true.
    Bool,
}

/// Whether tables of a command begin with the names of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// They do, unless somebody does not want that.
    Names,
    /// They never do.
    None,
}

/// A command. The same one may be in several tools.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where help lists it.
    pub(crate) section: Section,
    /// What it does, in one line.
    pub(crate) about: &'static str,
    /// What follows the general options in the line that shows how to call it.
    pub(crate) usage: &'static str,
    /// The tools that have it.
    pub(crate) tools: &'static [Tool],
    pub(crate) positionals: &'static [Positional],
    pub(crate) flags: &'static [Flag],
    /// What to know beyond that: sentences for the end of its help.
    pub(crate) notes: &'static str,
    /// How long the node may take, in seconds, unless `--timeout` says something else; for ever, if not given.
    pub(crate) timeout: Option<u32>,
    /// Whether tables of it begin with the names of the columns.
    pub(crate) head: Head,
    pub(crate) needs: Needs,
    /// How its answer is written, unless `--formatter` says something else.
    pub(crate) formatter: Formatter,
    /// Looks at what was given before anything is said or done.
    pub(crate) validate: fn(&Invocation) -> Result<(), Failure>,
    /// What is said before it begins.
    pub(crate) banner: fn(&Invocation) -> Option<String>,
    /// Does it.
    pub(crate) run: fn(&Invocation) -> Result<Answer, Failure>,
}

impl Command {
    /// A command of `rabbitmqctl`.
    pub(crate) const fn new(
        name: &'static str,
        section: Section,
        about: &'static str,
        run: fn(&Invocation) -> Result<Answer, Failure>,
    ) -> Self {
        Self {
            name,
            section,
            about,
            usage: "",
            tools: &[Tool::Ctl],
            positionals: &[],
            flags: &[],
            notes: "",
            timeout: None,
            head: Head::Names,
            needs: Needs::of(section),
            formatter: Formatter::Table,
            validate: |_| Ok(()),
            banner: |_| None,
            run,
        }
    }

    /// The tools that have it.
    pub(crate) const fn tools(mut self, tools: &'static [Tool]) -> Self {
        self.tools = tools;
        self
    }

    /// What it takes, and how that is shown.
    pub(crate) const fn takes(
        mut self,
        usage: &'static str,
        positionals: &'static [Positional],
        flags: &'static [Flag],
    ) -> Self {
        self.usage = usage;
        self.positionals = positionals;
        self.flags = flags;
        self
    }

    /// What to know beyond that.
    pub(crate) const fn notes(mut self, notes: &'static str) -> Self {
        self.notes = notes;
        self
    }

    /// How long the node may take, in seconds.
    pub(crate) const fn timeout(mut self, seconds: u32) -> Self {
        self.timeout = Some(seconds);
        self
    }

    /// Tables without the names of the columns, as RabbitMQ's command has them.
    pub(crate) const fn headless(mut self) -> Self {
        self.head = Head::None;
        self
    }

    /// What it needs, if not what most of its section do.
    pub(crate) const fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    /// Writes its answer as a table with a frame.
    pub(crate) const fn pretty(mut self) -> Self {
        self.formatter = Formatter::PrettyTable;
        self
    }

    /// What is said before it begins.
    pub(crate) const fn banner(mut self, banner: fn(&Invocation) -> Option<String>) -> Self {
        self.banner = banner;
        self
    }

    /// What looks at what was given.
    pub(crate) const fn validate(mut self, validate: fn(&Invocation) -> Result<(), Failure>) -> Self {
        self.validate = validate;
        self
    }
}

impl Positional {
    /// One that has to be there.
    pub(crate) const fn one(name: &'static str, about: &'static str) -> Self {
        Self { name, about, count: Count::One, shown: Shown::Plainly }
    }

    /// One that may be missing.
    pub(crate) const fn optional(name: &'static str, about: &'static str) -> Self {
        Self { name, about, count: Count::Optional, shown: Shown::Plainly }
    }

    /// Any number.
    pub(crate) const fn any(name: &'static str, about: &'static str) -> Self {
        Self { name, about, count: Count::Any, shown: Shown::Plainly }
    }

    /// One or more.
    pub(crate) const fn many(name: &'static str, about: &'static str) -> Self {
        Self { name, about, count: Count::Many, shown: Shown::Plainly }
    }
}

impl Positional {
    /// Not to be shown, as it is a password.
    pub(crate) const fn secret(mut self) -> Self {
        self.shown = Shown::Masked;
        self
    }
}

impl Flag {
    /// One that is there or not.
    pub(crate) const fn switch(name: &'static str, about: &'static str) -> Self {
        Self { name, short: None, about, takes: Takes::Nothing }
    }

    /// One with something behind it.
    pub(crate) const fn with(name: &'static str, takes: Takes, about: &'static str) -> Self {
        Self { name, short: None, about, takes }
    }

    /// Its letter.
    pub(crate) const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }
}
