//! The log: where records go, how they are written, and what operators do to it while the node runs.
//!
//! Whoever logs uses `tracing`. A record whose target is the name of a category, as in `target: "connection"`, is in that
//! category and is in RabbitMQ's words: its text says all that it has to say, and its fields are for JSON alone. All other
//! records show their fields in text, too.

mod calendar;
mod exchange;
mod file;
mod format;
mod layer;
mod level;
mod output;
mod panics;
mod recent;
mod record;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use leveret_broker::node::Node;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry;

use self::exchange::LogExchange;
use self::file::RotatingFile;
use self::format::Formatter;
use self::layer::Distributor;
use self::level::{CATEGORIES, Levels};
pub use self::level::{Filter, Severity};
use self::output::{Output, Place, Sink};
pub use self::recent::Follower;
use self::recent::Recent;
use crate::config::log::{ConsoleStream, FileName, LogCategory, LogSettings, LogStyle, Rotation};

/// Longest wait for what was logged to be written when the program ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What the command line says about the log; it wins over the configuration file.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Which records are kept.
    pub filter: Filter,
    /// How the console's are written.
    pub style: Option<LogStyle>,
}

/// Why records cannot go where they are to go.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file cannot be opened.
    #[error("cannot write to the log file {}: {source} (choose another with log.file, or log.dir)", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start a thread that writes the log: {0}")]
    Thread(io::Error),
    /// Something in this process takes records already.
    #[error("there is a log in this process already")]
    Taken(#[from] SetGlobalDefaultError),
}

/// The log of this process.
#[derive(Debug, Clone)]
pub struct Logs {
    hub: Arc<Hub>,
}

/// What all parts of the log share.
#[derive(Debug)]
struct Hub {
    wishes: Wishes,
    plan: ArcSwap<Plan>,
    recent: Recent,
    exchange: Arc<LogExchange>,
}

/// Who takes which records.
#[derive(Debug)]
struct Plan {
    levels: Levels,
    outputs: Vec<Output>,
    /// Whether any of them shows fields of records in RabbitMQ's words.
    has_fields: bool,
    /// For records that go from memory to operators.
    formatter: Formatter,
}

impl Logs {
    /// Takes what this process logs from here on, panics among it, to the console. [`Logs::configure`] says where else.
    pub fn start(wishes: Wishes) -> Result<Self, LogError> {
        let logs = Self::new(wishes)?;
        tracing::subscriber::set_global_default(registry().with(Distributor(Arc::clone(&logs.hub))))?;
        panics::hook(logs.clone());
        Ok(logs)
    }

    fn new(wishes: Wishes) -> Result<Self, LogError> {
        let exchange = Arc::default();
        let plan = Plan::new(&wishes, &LogSettings::default(), ("", Path::new("")), &exchange)?;
        let (plan, recent) = (ArcSwap::from_pointee(plan), Recent::default());
        Ok(Self { hub: Arc::new(Hub { wishes, plan, recent, exchange }) })
    }

    /// Does as settings say from here on. Files have the node's name if they have none of their own, and are in the data folder
    /// if nothing says where. Nothing changes if a file cannot be opened.
    pub fn configure(&self, settings: &LogSettings, node_name: &str, data_dir: &Path) -> Result<(), LogError> {
        let plan = Plan::new(&self.hub.wishes, settings, (node_name, data_dir), &self.hub.exchange)?;
        let before = self.hub.plan.swap(Arc::new(plan));
        before.stop();
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Publishes to the exchange `amq.rabbitmq.log` in this vhost, if settings say so, as long as the node is there.
    pub fn serve(&self, node: &Arc<Node>, vhost: &str) {
        let is_wanted = self.hub.plan.load().outputs.iter().any(|output| output.place == Place::Exchange);
        if is_wanted && let Err(error) = self.hub.exchange.serve(node, vhost) {
            tracing::error!("the log does not go to an exchange: {error}");
        }
    }

    /// Leaves out what is below this level from now on, everywhere or in one category.
    pub fn set_level(&self, category: Option<LogCategory>, level: Severity) {
        let plan = self.hub.plan.load();
        match category {
            Some(category) => plan.levels.of_category(category).set(Some(level)),
            None => plan.outputs.iter().for_each(|output| output.threshold.set(Some(level))),
        }
        tracing::callsite::rebuild_interest_cache();
    }

    /// Begins new files.
    pub fn rotate(&self) {
        self.hub.plan.load().outputs.iter().for_each(Output::rotate);
    }

    /// Where records go: files, and `<stdout>` or `<stderr>`.
    pub fn locations(&self) -> Vec<String> {
        let plan = self.hub.plan.load();
        let places = plan.outputs.iter().filter_map(|output| match &output.place {
            Place::Stdout => Some("<stdout>".to_owned()),
            Place::Stderr => Some("<stderr>".to_owned()),
            Place::File(path) => Some(path.display().to_string()),
            Place::Exchange => None,
        });
        places.collect()
    }

    /// The last lines of the log file, or, without one, of what is in memory for that.
    pub fn tail(&self, lines: usize) -> io::Result<Vec<String>> {
        let plan = self.hub.plan.load_full();
        self.flush();
        match plan.main_file() {
            Some(path) => file::tail(path, lines),
            None => Ok(self.hub.recent.tail(lines, &plan.formatter)),
        }
    }

    /// Every record from now on.
    pub fn follow(&self) -> Follower {
        let formatter = self.hub.plan.load().formatter.clone();
        self.hub.recent.follow(formatter)
    }

    /// How records on the console are written, if there is one.
    pub fn console(&self) -> Option<LogStyle> {
        let plan = self.hub.plan.load();
        let output = plan.outputs.iter().find(|output| matches!(output.place, Place::Stdout | Place::Stderr));
        output.map(|output| output.formatter.style())
    }

    /// Waits until all that was logged is written, but not for long.
    pub fn flush(&self) {
        self.hub.plan.load().outputs.iter().for_each(|output| output.flush(STOP_TIMEOUT));
    }
}

impl Plan {
    fn new(
        wishes: &Wishes,
        settings: &LogSettings,
        (node_name, data_dir): (&str, &Path),
        exchange: &Arc<LogExchange>,
    ) -> Result<Self, LogError> {
        let folder = settings.folder.clone().unwrap_or_else(|| data_dir.join("log"));
        let level = |own: Option<_>| wishes.filter.level().or(own.map(Severity::from)).unwrap_or(Severity::Info);
        let now = SystemTime::now();
        let mut outputs = Vec::new();
        let main = match (&settings.file.name, &settings.folder) {
            (FileName::Off, _) | (FileName::Unset, None) => None,
            (FileName::Named(name), _) => Some(folder.join(name)),
            (FileName::Unset, Some(_)) => Some(folder.join(format!("{node_name}.log"))),
        };
        let is_to_console = settings.console.enabled.unwrap_or(main.is_none());
        // Categories whose files are one get one output, or each would rotate it.
        let mut files: BTreeMap<PathBuf, (&Rotation, Vec<LogCategory>)> = BTreeMap::new();
        for category in CATEGORIES {
            let own = settings.categories.get(&category).and_then(|own| Some((own.file.as_ref()?, &own.rotation)));
            let (path, rotation) = match (own, &main) {
                (Some((name, rotation)), _) => (folder.join(name), rotation),
                (None, Some(path)) => (path.clone(), &settings.file.rotation),
                (None, None) => continue,
            };
            files.entry(path).or_insert((rotation, Vec::new())).1.push(category);
        }
        let formatter = Formatter::new(&settings.file.formatter);
        for (path, (rotation, categories)) in files {
            let rotation = if main.as_ref() == Some(&path) { &settings.file.rotation } else { rotation };
            let file = RotatingFile::open(&path, rotation, now);
            let file = file.map_err(|source| LogError::File { path: path.clone(), source })?;
            // By its whole name, or who asks where it is would have to know where the broker was started.
            let place = Place::File(path.canonicalize().unwrap_or(path));
            let sink = Sink::File(Box::new(file));
            let output = Output::start(place, sink, level(settings.file.level), categories, formatter.clone());
            outputs.push(output.map_err(LogError::Thread)?);
        }
        let mut console = settings.console.formatter.clone();
        console.style = wishes.style.unwrap_or(console.style);
        let (place, sink) = console_stream(settings);
        let plain = Formatter::new(&console);
        if is_to_console {
            let has_colours = settings.console.colours.unwrap_or_else(|| is_terminal(&place));
            let formatter = plain.clone();
            let formatter = if has_colours { formatter.with_colours(&settings.console) } else { formatter };
            let output = Output::start(place, sink, level(settings.console.level), CATEGORIES.to_vec(), formatter);
            outputs.push(output.map_err(LogError::Thread)?);
        }
        if settings.exchange.enabled {
            let (sink, formatter) =
                (Sink::Exchange(Arc::clone(exchange)), Formatter::new(&settings.exchange.formatter));
            let level = level(settings.exchange.level);
            let output = Output::start(Place::Exchange, sink, level, CATEGORIES.to_vec(), formatter);
            outputs.push(output.map_err(LogError::Thread)?);
        }
        let levels = Levels::new(wishes.filter.clone(), |category| settings.categories.get(&category)?.level);
        let has_fields = plain.has_fields() || outputs.iter().any(|output| output.formatter.has_fields());
        Ok(Self { levels, outputs, has_fields, formatter: plain })
    }

    /// The file that takes all that has no file of its own.
    fn main_file(&self) -> Option<&Path> {
        self.outputs.iter().find_map(|output| match &output.place {
            Place::File(path) if output.categories.contains(&LogCategory::Default) => Some(path.as_path()),
            Place::File(_) | Place::Stdout | Place::Stderr | Place::Exchange => None,
        })
    }

    fn stop(&self) {
        self.outputs.iter().for_each(|output| output.stop(STOP_TIMEOUT));
    }
}

/// Standard error, unless settings say that there is to be a console, or which.
fn console_stream(settings: &LogSettings) -> (Place, Sink) {
    match (settings.console.stream, settings.console.enabled) {
        (ConsoleStream::Output, _) | (ConsoleStream::Unset, Some(true)) => (Place::Stdout, Sink::Stdout),
        (ConsoleStream::Error | ConsoleStream::Unset, _) => (Place::Stderr, Sink::Stderr),
    }
}

fn is_terminal(place: &Place) -> bool {
    use std::io::IsTerminal as _;
    let is_terminal = match place {
        Place::Stdout => io::stdout().is_terminal(),
        Place::Stderr => io::stderr().is_terminal(),
        Place::File(_) | Place::Exchange => false,
    };
    is_terminal && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
pub(crate) mod tests;
