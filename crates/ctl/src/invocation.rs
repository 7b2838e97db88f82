//! A command with everything it was given.

use std::cell::OnceCell;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::{Value, json};

use crate::client::{self, Line, Reply};
use crate::failure::{Exit, Failure};
use crate::output::{self, Answer, Formatter, Rows};
use crate::spec::{Command, Head, Needs};
use crate::tool::Tool;
use crate::{locate, parse};

/// What every command can be told.
#[derive(Debug, Clone)]
pub(crate) struct General {
    pub(crate) target: Target,
    pub(crate) timeout: Option<Timeout>,
    /// Whether nothing but the answer is to be said: `--quiet` or `--silent`.
    pub(crate) quiet: bool,
    pub(crate) vhost: Option<String>,
    pub(crate) formatter: Option<Formatter>,
    /// Whether tables have a line with the names of their columns.
    pub(crate) headers: bool,
    pub(crate) dry_run: bool,
}

/// The node that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// One on this machine.
    Local {
        /// Its name, if it was given.
        node: Option<String>,
        /// Its data folder, if it was given.
        data_dir: Option<PathBuf>,
    },
    /// One whose management listener is there.
    Remote { url: String, user: String, password_file: Option<PathBuf>, ca_file: Option<PathBuf> },
}

impl Target {
    /// What to call it before it was asked.
    pub(crate) fn usual_name(&self) -> String {
        match self {
            Self::Remote { url, .. } => url.clone(),
            Self::Local { node: Some(node), .. } => locate::full_name(node),
            Self::Local { node: None, .. } => {
                let set = std::env::var("RABBITMQ_NODENAME").ok().filter(|name| !name.is_empty());
                locate::full_name(set.as_deref().unwrap_or("rabbit"))
            }
        }
    }
}

/// How long the node may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// As long as it wants.
    Infinity,
    /// So long.
    After(Duration),
}

impl Timeout {
    /// Reads a number of seconds, or `infinity`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "infinity" => Some(Self::Infinity),
            _ => text.parse::<u32>().ok().map(|seconds| Self::After(Duration::from_secs(seconds.into()))),
        }
    }

    /// The time, if there is an end.
    pub(crate) const fn limit(self) -> Option<Duration> {
        match self {
            Self::Infinity => None,
            Self::After(limit) => Some(limit),
        }
    }
}

/// A command with everything it was given. Not to be shown as a whole: there may be passwords in it.
pub(crate) struct Invocation {
    pub(crate) tool: Tool,
    command: &'static Command,
    arguments: Vec<String>,
    pub(crate) general: General,
    matches: ArgMatches,
    /// What the node calls itself, once it was asked.
    node: OnceCell<String>,
}

/// How long the node may take to say whether its broker runs, where nobody says how long a command may take.
const PHASE_TIMEOUT: Duration = Duration::from_mins(1);

impl Invocation {
    pub(crate) const fn new(
        tool: Tool,
        command: &'static Command,
        arguments: Vec<String>,
        general: General,
        matches: ArgMatches,
    ) -> Self {
        Self { tool, command, arguments, general, matches, node: OnceCell::new() }
    }

    /// Does it all: looks at what was given, says what begins, does it, writes what came of it.
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        (self.command.validate)(self)?;
        self.check_needs()?;
        if !self.is_hushed()
            && let Some(banner) = (self.command.banner)(self)
        {
            output::write(out, &banner)?;
            // It is there before the node is asked, which may take a while.
            output::flush(out)?;
        }
        if self.general.dry_run && !self.command.flags.iter().any(|flag| flag.name == "dry-run") {
            return Ok(());
        }
        let answer = (self.command.run)(self)?;
        let headers = self.general.headers && self.command.head == Head::Names;
        output::print(out, answer, Some(self.formatter()), headers)
    }

    /// Refuses to begin if the node is not as the command needs it.
    fn check_needs(&self) -> Result<(), Failure> {
        let (is_met, text) = match self.command.needs {
            Needs::Nothing => return Ok(()),
            Needs::Running => (
                self.phase()? == "running",
                "this command requires the 'rabbit' app to be running on the target node. Start it with 'rabbitmqctl start_app'.",
            ),
            Needs::Stopped => (
                self.phase()? == "stopped",
                "this command requires the 'rabbit' app to be stopped on the target node. Stop it with 'rabbitmqctl stop_app'.",
            ),
        };
        if is_met { Ok(()) } else { Err(parse::unmet(self.tool, self.command, &self.arguments, text)) }
    }

    /// What the node's broker is at: `starting`, `running`, `stopping` or `stopped`.
    pub(crate) fn phase(&self) -> Result<String, Failure> {
        let limit = self.timeout().or(self.general.timeout.is_none().then_some(PHASE_TIMEOUT));
        let result = self.ask("phase", &json!({}), limit, &mut |_| Ok(()))?;
        let text = |key: &str| result.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        // The first answer counts: a node does not change its name.
        let _ = self.node.set(text("node"));
        Ok(text("phase"))
    }

    /// What to call the node: as it was given, else as it calls itself, else as one on this machine is called.
    pub(crate) fn node(&self) -> String {
        match &self.general.target {
            Target::Local { node: Some(node), .. } => locate::full_name(node),
            Target::Remote { .. } | Target::Local { node: None, .. } => {
                self.node.get().cloned().unwrap_or_else(|| self.general.target.usual_name())
            }
        }
    }

    /// Whether the node is asked over the network.
    pub(crate) const fn is_remote(&self) -> bool {
        matches!(self.general.target, Target::Remote { .. })
    }

    /// Says something while the command is at work, unless nothing but the answer is to be said.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.is_hushed() {
            return Ok(());
        }
        let mut out = std::io::stdout();
        output::write(&mut out, text)?;
        output::flush(&mut out)
    }

    /// Another command for the same node, with these arguments.
    pub(crate) fn another(&self, arguments: &[&str]) -> Result<Option<Self>, Failure> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Ok(match parse::parse(Tool::Leveret, &arguments)? {
            parse::Parsed::Help(_) => None,
            parse::Parsed::Command(mut command) => {
                command.general.target.clone_from(&self.general.target);
                command.general.timeout = self.general.timeout;
                Some(*command)
            }
        })
    }

    /// The formatter that was asked for, or the command's own.
    pub(crate) fn formatter(&self) -> Formatter {
        self.general.formatter.unwrap_or(self.command.formatter)
    }

    /// Whether only the answer itself is to be written.
    pub(crate) fn is_hushed(&self) -> bool {
        self.general.quiet || self.general.formatter.is_some_and(Formatter::is_for_machines)
    }

    /// The vhost, `/` unless another one was named.
    pub(crate) fn vhost(&self) -> &str {
        self.general.vhost.as_deref().unwrap_or("/")
    }

    /// How long the node may take.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let default = self.command.timeout.map(|seconds| Duration::from_secs(seconds.into()));
        self.general.timeout.map_or(default, Timeout::limit)
    }

    /// What stands at this place.
    pub(crate) fn argument(&self, name: &str) -> Option<&str> {
        self.given::<String>(name).map(String::as_str)
    }

    /// What stands at a place that cannot be empty.
    pub(crate) fn required(&self, name: &str) -> &str {
        self.argument(name).unwrap_or_default()
    }

    /// Everything that stands from this place on.
    pub(crate) fn arguments(&self, name: &str) -> Vec<&str> {
        let given = self.matches.try_get_many::<String>(name).ok().flatten();
        given.map(|all| all.map(String::as_str).collect()).unwrap_or_default()
    }

    /// What an option with a text was given.
    pub(crate) fn value(&self, flag: &str) -> Option<&str> {
        self.argument(flag)
    }

    /// What an option with a whole number was given.
    pub(crate) fn integer(&self, flag: &str) -> Option<i64> {
        self.given(flag).copied()
    }

    /// What an option with a number was given.
    pub(crate) fn number(&self, flag: &str) -> Option<u64> {
        self.given(flag).copied()
    }

    /// Whether a switch is there.
    pub(crate) fn is_set(&self, flag: &str) -> bool {
        self.given(flag).copied().unwrap_or_default()
    }

    /// What was given under a name; nothing if the command knows no such name.
    fn given<T: Clone + Send + Sync + 'static>(&self, name: &str) -> Option<&T> {
        self.matches.try_get_one(name).ok().flatten()
    }

    /// Asks the node for an operation and waits for the whole answer.
    pub(crate) fn call(&self, operation: &str, arguments: &Value) -> Result<Reply, Failure> {
        let mut reply = Reply::default();
        let result = self.call_each(operation, arguments, &mut |line| {
            match line {
                Line::Row(row) => reply.rows.push(row),
                Line::Note(note) => reply.notes.push(note),
                Line::Progress { .. } => {}
            }
            Ok(())
        })?;
        reply.result = result;
        Ok(reply)
    }

    /// Asks the node to do something that gives nothing but that it is done.
    pub(crate) fn perform(&self, operation: &str, arguments: &Value) -> Result<Answer, Failure> {
        self.call(operation, arguments).map(|_| Answer::Done)
    }

    /// Asks the node for rows of these columns, all of which are there before the first is written.
    pub(crate) fn list(&self, operation: &str, arguments: &Value, columns: &[&str]) -> Result<Rows, Failure> {
        let reply = self.call(operation, arguments)?;
        Ok(Rows::new(columns.iter().copied(), reply.rows).or_line())
    }

    /// Asks the node for an operation, and takes each line of the answer as it comes; gives its result.
    pub(crate) fn call_each(
        &self,
        operation: &str,
        arguments: &Value,
        take: &mut dyn FnMut(Line) -> Result<(), Failure>,
    ) -> Result<Value, Failure> {
        self.ask(operation, arguments, self.timeout(), take)
    }

    /// The same with a limit of its own.
    pub(crate) fn call_within(
        &self,
        operation: &str,
        arguments: &Value,
        limit: Option<Duration>,
        take: &mut dyn FnMut(Line) -> Result<(), Failure>,
    ) -> Result<Value, Failure> {
        self.ask(operation, arguments, limit, take)
    }

    fn ask(
        &self,
        operation: &str,
        arguments: &Value,
        limit: Option<Duration>,
        take: &mut dyn FnMut(Line) -> Result<(), Failure>,
    ) -> Result<Value, Failure> {
        client::call(&self.general.target, operation, arguments, limit, take).map_err(|error| match error {
            client::Error::TimedOut => self.timed_out(limit.unwrap_or_default()),
            client::Error::Failed(failure) => failure,
        })
    }

    /// What is said when something took too long.
    pub(crate) fn timed_out(&self, limit: Duration) -> Failure {
        let (name, node, limit) = (self.command.name, self.node(), limit.as_millis());
        let text = format!("Error: operation {name} on node {node} timed out. Timeout value used: {limit}");
        Failure::plain(Exit::Temporary, text)
    }

    /// A fault of what was given, found while looking at it: with what was given and how to call the command.
    pub(crate) fn invalid(&self, exit: Exit, reason: &str) -> Failure {
        Failure { exit, ..parse::invalid(self.tool, self.command, &self.arguments, reason) }
    }

    /// The same with `Bad argument: ` before the reason.
    pub(crate) fn bad_argument(&self, reason: &str) -> Failure {
        self.invalid(Exit::Data, &format!("Bad argument: {reason}"))
    }
}
