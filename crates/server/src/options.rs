//! The command line and the environment.

mod tls;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, RangedU64ValueParser};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, Parser, Subcommand, ValueEnum};
use leveret_ctl::Shell;
use leveret_server::logging::{Filter, Wishes};
use leveret_server::{
    AMQP_PORT, Environment, Given, LogStyle, MANAGEMENT_PORT, Origin, PROMETHEUS_PORT, Sources, SyncMode, everywhere,
};
use zeroize::Zeroizing;

use self::tls::TlsOptions;
use crate::{config_tool, storage_tool};

const THREADS_MAX: u64 = 1024;
const MESSAGE_SIZE_MAX: u64 = 512 * 1024 * 1024;
const SYNC_INTERVAL_MAX_MS: u64 = 60_000;
const FRAME_MAX_MIN: i64 = 8192;
const FRAME_MAX_MAX: i64 = 16 * 1024 * 1024;

const EXAMPLES: &str = "\
Examples:
  leveret                                       for programs on this machine, on port 5672
  leveret --listen all                          for programs on other machines, too
  leveret --listen 127.0.0.1:5673 --listen ::1  on two addresses
  leveret --data-dir /var/lib/leveret           keep the data there
  leveret ctl list_queues                       what rabbitmqctl does
  leveret config check                          see whether the configuration is right
  leveret perf --help                           measure this broker or another one
  leveret storage check /var/lib/leveret        see whether the data of a stopped broker is sound";

/// A message broker that any RabbitMQ client can use. Without a command it runs the broker.
#[derive(Debug, Parser)]
#[command(name = "leveret", version, args_conflicts_with_subcommands = true, next_line_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the broker; the same as no command
    #[command(next_line_help = true, after_help = EXAMPLES)]
    Server(Box<ServerOptions>),
    /// Operate a running broker: everything that rabbitmqctl and its family do
    #[command(disable_help_flag = true)]
    Ctl {
        /// A command and what it takes; `help` lists them
        #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Make links in a folder, through which this program is rabbitmqctl, rabbitmq-server and the others
    Links {
        /// The folder, such as /usr/local/bin
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Replace files of these names that are something else
        #[arg(long)]
        force: bool,
    },
    /// Print what a shell needs to complete command lines, of this program or of one of the links to it
    Completions {
        /// The shell
        shell: Shell,
        /// The program, such as rabbitmqctl
        #[arg(default_value = "leveret")]
        program: String,
    },
    /// Write the manual pages of this program and of the links to it
    Man {
        /// The folder, such as /usr/local/share/man
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Put load on a broker, this one or another, and measure it
    Perf(Box<leveret_perf::Options>),
    /// See whether a configuration is right, and what it comes to
    #[command(subcommand)]
    Config(config_tool::Command),
    /// Look at a data folder that no broker uses: check it, print what is in it, repair it
    #[command(subcommand)]
    Storage(storage_tool::Command),
}

#[derive(Debug, Args)]
pub(crate) struct ServerOptions {
    /// Read settings from this file, or the files of this folder, and from no other; may be given more than once. They have
    /// the format of RabbitMQ's rabbitmq.conf, and other options win over them [default: those in /etc/rabbitmq and
    /// /etc/leveret]
    #[arg(
        long,
        value_name = "FILE",
        value_delimiter = ',',
        env = "LEVERET_CONFIG_FILE",
        hide_env_values = true,
        help_heading = "Configuration"
    )]
    pub(crate) config: Vec<PathBuf>,

    /// Accept AMQP connections here; may be given more than once. `all` stands for every address of this machine,
    /// `none` for no connections without TLS [default: 127.0.0.1:5672]
    #[arg(
        long,
        value_name = "ADDR[:PORT]",
        env = "LEVERET_LISTEN",
        hide_env_values = true,
        help_heading = "Network",
        value_delimiter = ',',
        value_parser = listen_address,
    )]
    listen: Vec<Place>,

    /// Take connections only from a load balancer that begins each with a PROXY header, version 1 or 2
    #[arg(
        long,
        env = "LEVERET_PROXY_PROTOCOL",
        hide_env_values = true,
        help_heading = "Network",
        action = ArgAction::Set,
        num_args = 0,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    proxy_protocol: Option<bool>,

    #[command(flatten)]
    tls: TlsOptions,

    /// Let tools on other machines connect here, over HTTP; `all` stands for every address of this machine, `none` for no
    /// such connections [default: 127.0.0.1:15672]
    #[arg(
        long,
        value_name = "ADDR[:PORT]",
        env = "LEVERET_MANAGEMENT_LISTEN",
        hide_env_values = true,
        help_heading = "Network",
        value_parser = management_address,
    )]
    management_listen: Option<Place>,

    /// Have Prometheus fetch metrics here, over HTTP; `all` stands for every address of this machine, `none` for no
    /// metrics [default: 127.0.0.1:15692]
    #[arg(
        long,
        value_name = "ADDR[:PORT]",
        env = "LEVERET_PROMETHEUS_LISTEN",
        hide_env_values = true,
        help_heading = "Network",
        value_parser = prometheus_address,
    )]
    prometheus_listen: Option<Place>,

    /// Heartbeat interval offered to clients; 0 offers none [default: 60]
    #[arg(long, value_name = "SECONDS", env = "LEVERET_HEARTBEAT", hide_env_values = true, help_heading = "Network")]
    heartbeat: Option<u16>,

    /// Threads that serve connections [default: one per core]
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_THREADS",
        hide_env_values = true,
        help_heading = "Network",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=THREADS_MAX),
    )]
    threads: Option<usize>,

    /// Folder for the broker's data; made if it is not there [default: ./leveret-data]
    #[arg(long, value_name = "FOLDER", env = "LEVERET_DATA_DIR", hide_env_values = true, help_heading = "Data")]
    data_dir: Option<PathBuf>,

    /// When confirmed messages are synced to disk: `commit`, before the confirm; `interval:MS`, so often; `os`, when the
    /// system does it. With the last two, a power cut loses confirmed messages [default: commit]
    #[arg(
        long,
        value_name = "WHEN",
        env = "LEVERET_SYNC",
        hide_env_values = true,
        help_heading = "Data",
        value_parser = sync_mode,
    )]
    sync: Option<SyncMode>,

    /// Waiting messages that stay in memory, such as 536870912 or 512MiB; more go to disk [default: 40 % of memory]
    #[arg(
        long,
        value_name = "BYTES",
        env = "LEVERET_MEMORY_BUDGET",
        hide_env_values = true,
        help_heading = "Limits",
        value_parser = memory_budget,
    )]
    memory_budget: Option<u64>,

    /// Largest message body that a client may publish, such as 67108864 or 64MiB [default: 16777216]
    #[arg(
        long,
        value_name = "BYTES",
        env = "LEVERET_MAX_MESSAGE_SIZE",
        hide_env_values = true,
        help_heading = "Limits",
        value_parser = message_size,
    )]
    max_message_size: Option<u64>,

    /// Largest frame offered to clients [default: 131072]
    #[arg(
        long,
        value_name = "BYTES",
        env = "LEVERET_FRAME_MAX",
        hide_env_values = true,
        help_heading = "Limits",
        value_parser = clap::value_parser!(u32).range(FRAME_MAX_MIN..=FRAME_MAX_MAX),
    )]
    frame_max: Option<u32>,

    /// Channels that a connection may have open at once [default: 2047]
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_CHANNEL_MAX",
        hide_env_values = true,
        help_heading = "Limits",
        value_parser = clap::value_parser!(u16).range(1..),
    )]
    channel_max: Option<u16>,

    /// What to log: trace, debug, info, notice, warning, error, critical, alert, emergency or none, also by module as in
    /// `info,leveret_session=debug` [default: info]
    #[arg(
        long,
        value_name = "FILTER",
        env = "LEVERET_LOG",
        hide_env_values = true,
        help_heading = "Logging",
        value_parser = Filter::parse,
    )]
    log_level: Option<Filter>,

    /// How to write the log on the console, which is standard error unless the configuration file says otherwise; json
    /// leaves out the banner [default: text]
    #[arg(long, value_name = "FORMAT", env = "LEVERET_LOG_FORMAT", hide_env_values = true, help_heading = "Logging")]
    log_format: Option<LogFormat>,

    /// Name of the broker that clients are told; some switch features on it [default: RabbitMQ]
    #[arg(
        long,
        value_name = "NAME",
        env = "LEVERET_ADVERTISED_PRODUCT",
        hide_env_values = true,
        help_heading = "Compatibility"
    )]
    advertised_product: Option<String>,

    /// Version of the broker that clients are told; some switch features on it [default: 4.3.5]
    #[arg(
        long,
        value_name = "VERSION",
        env = "LEVERET_ADVERTISED_VERSION",
        hide_env_values = true,
        help_heading = "Compatibility"
    )]
    advertised_version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl ServerOptions {
    /// What they say about the log.
    pub(crate) fn log(&self) -> Wishes {
        let style = self.log_format.map(|format| match format {
            LogFormat::Text => LogStyle::Text,
            LogFormat::Json => LogStyle::Json,
        });
        Wishes { filter: self.log_level.clone().unwrap_or_default(), style }
    }

    /// Where settings come from, and what they are as far as options say; the error is a sentence for the person who gave them.
    /// `matches` is what they were read from.
    pub(crate) fn sources(self, matches: &ArgMatches) -> Result<Sources, String> {
        let mut given = Settings { matches, given: Vec::new() };
        given.listen(&self.listen);
        given.listen_for_management(self.management_listen);
        given.listen_for_prometheus(self.prometheus_listen);
        given.flag("proxy_protocol", "proxy_protocol", self.proxy_protocol);
        self.tls.add_to(&mut given)?;
        given.add("heartbeat", "heartbeat", self.heartbeat);
        given.add("threads", "leveret.threads", self.threads);
        given.path("data_dir", "leveret.data_dir", self.data_dir)?;
        given.add("sync", "leveret.sync", self.sync);
        given.add("memory_budget", "leveret.memory_budget", self.memory_budget);
        given.add("max_message_size", "max_message_size", self.max_message_size);
        given.add("frame_max", "frame_max", self.frame_max);
        given.add("channel_max", "channel_max", self.channel_max);
        given.add("advertised_product", "product.name", self.advertised_product);
        given.add("advertised_version", "product.version", self.advertised_version);
        Ok(Sources { files: self.config, environment: Environment::of_process(), options: given.given })
    }
}

/// Settings out of options.
struct Settings<'a> {
    matches: &'a ArgMatches,
    given: Vec<Given>,
}

impl Settings<'_> {
    /// The option with this name in `ServerOptions`, or the variable that stands for it.
    fn origin(&self, option: &str) -> Origin {
        match self.matches.value_source(option) {
            Some(ValueSource::EnvVariable) => Origin::Variable(format!("LEVERET_{}", option.to_uppercase())),
            _ => Origin::Option(format!("--{}", option.replace('_', "-"))),
        }
    }

    fn push(&mut self, origin: Origin, key: impl Into<String>, value: impl Into<String>) {
        let value = Zeroizing::new(value.into());
        self.given.push(Given { key: key.into(), value, origin, replaces: &[] });
    }

    /// Has what files say of these keys not count.
    fn replace(&mut self, keys: &'static [&'static str]) {
        if let Some(last) = self.given.last_mut() {
            last.replaces = keys;
        }
    }

    fn add(&mut self, option: &str, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.push(self.origin(option), key, value.to_string());
        }
    }

    fn flag(&mut self, option: &str, key: &str, on: Option<bool>) {
        self.add(option, key, on);
    }

    fn path(&mut self, option: &str, key: &str, path: Option<PathBuf>) -> Result<(), String> {
        let Some(path) = path else { return Ok(()) };
        let origin = self.origin(option);
        let text =
            path.into_os_string().into_string().map_err(|_| format!("{origin}: the name is no text in UTF-8"))?;
        self.push(origin, key, text);
        Ok(())
    }

    fn listen_for_management(&mut self, place: Option<Place>) {
        let Some(Place(address)) = place else { return };
        let origin = self.origin("management_listen");
        match address {
            None => self.push(origin, "management.tcp", "none"),
            Some(address) => {
                self.push(origin.clone(), "management.tcp.ip", address.ip().to_string());
                self.push(origin, "management.tcp.port", address.port().to_string());
            }
        }
        // How long connections stay is another matter.
        self.replace(&["management.tcp$", "management.tcp.ip", "management.tcp.port"]);
    }

    fn listen_for_prometheus(&mut self, place: Option<Place>) {
        let Some(Place(address)) = place else { return };
        let origin = self.origin("prometheus_listen");
        match address {
            None => self.push(origin, "prometheus.tcp.listener", "none"),
            Some(address) => {
                self.push(origin.clone(), "prometheus.tcp.ip", address.ip().to_string());
                self.push(origin, "prometheus.tcp.port", address.port().to_string());
            }
        }
        self.replace(&["prometheus.tcp"]);
    }

    fn listen(&mut self, places: &[Place]) {
        if places.is_empty() {
            return;
        }
        let origin = self.origin("listen");
        let addresses: Vec<_> = places.iter().filter_map(|place| place.0).collect();
        if addresses.is_empty() {
            self.push(origin.clone(), "listeners.tcp", "none");
        }
        for (number, address) in addresses.iter().enumerate() {
            self.push(origin.clone(), format!("listeners.tcp.{}", number + 1), address.to_string());
        }
        self.replace(&["listeners.tcp"]);
    }
}

/// Where to listen; `None` for nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(Option<SocketAddr>);

/// Reads where to listen without TLS.
fn listen_address(text: &str) -> Result<Place, String> {
    if text == "none" { Ok(Place(None)) } else { address(text, AMQP_PORT).map(|address| Place(Some(address))) }
}

/// Reads where to listen for management.
fn management_address(text: &str) -> Result<Place, String> {
    if text == "none" { Ok(Place(None)) } else { address(text, MANAGEMENT_PORT).map(|address| Place(Some(address))) }
}

/// Reads where to listen for metrics.
fn prometheus_address(text: &str) -> Result<Place, String> {
    if text == "none" { Ok(Place(None)) } else { address(text, PROMETHEUS_PORT).map(|address| Place(Some(address))) }
}

/// Reads `ADDR[:PORT]`: an IPv4 address, an IPv6 address with or without brackets, `localhost` or `all`.
fn address(text: &str, default_port: u16) -> Result<SocketAddr, String> {
    if let Some(host) = host(text) {
        return Ok(SocketAddr::new(host, default_port));
    }
    // The port may stand alone, which is a mistake worth a sentence of its own.
    let (before, port) =
        text.rsplit_once(':').unwrap_or(if text.parse::<u16>().is_ok() { ("", text) } else { (text, "") });
    if before.is_empty() && !port.is_empty() {
        return Err(format!("an address is missing before the port, such as 127.0.0.1:{port} or all:{port}"));
    }
    let host =
        host(before).ok_or("expected an IP address, localhost or all, and perhaps a port: 127.0.0.1, [::1]:5673")?;
    let port = port.parse().map_err(|_| format!("`{port}` is no port; ports are numbers from 0 to 65535"))?;
    Ok(SocketAddr::new(host, port))
}

/// A host without a port.
fn host(text: &str) -> Option<IpAddr> {
    match text {
        "all" => Some(everywhere()),
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        _ => text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok(),
    }
}

/// Reads when to sync.
fn sync_mode(text: &str) -> Result<SyncMode, String> {
    let explain = || "expected commit, os, or interval: and a number of milliseconds, such as interval:100".to_owned();
    match text {
        "commit" => Ok(SyncMode::Commit),
        "os" => Ok(SyncMode::Os),
        _ => {
            let digits = text.strip_prefix("interval:").ok_or_else(explain)?;
            let interval: u64 = digits.parse().map_err(|_| explain())?;
            if !(1..=SYNC_INTERVAL_MAX_MS).contains(&interval) {
                return Err(format!("an interval may have from 1 to {SYNC_INTERVAL_MAX_MS} milliseconds"));
            }
            Ok(SyncMode::Interval(Duration::from_millis(interval)))
        }
    }
}

/// Reads the largest size of a message.
fn message_size(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        size @ 1..=MESSAGE_SIZE_MAX => Ok(size),
        _ => Err(format!("a message may have from 1 to {MESSAGE_SIZE_MAX} bytes (512MiB)")),
    }
}

/// Reads how much memory waiting messages may take.
fn memory_budget(text: &str) -> Result<u64, String> {
    bytes(text)
}

/// Reads a number of bytes, with `KiB`, `MiB` or `GiB` behind it if need be.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match text.get(digits.len()..).unwrap_or_default().trim() {
        "" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        unit => return Err(format!("`{unit}` is no unit; use none for bytes, KiB, MiB or GiB")),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a number of bytes, such as 16777216 or 16MiB".to_owned())?;
    Ok(number.saturating_mul(unit))
}

#[cfg(test)]
pub(super) mod tests {
    use clap::{CommandFactory, FromArgMatches};
    use leveret_server::Config;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// What these arguments come to over a file with this text.
    pub(super) fn over(file: &str, arguments: &[&str]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leveret.conf");
        std::fs::write(&path, file).unwrap();
        let arguments = [&["leveret", "--config", path.to_str().unwrap()], arguments].concat();
        let matches = Cli::command().try_get_matches_from(arguments).map_err(|error| error.to_string())?;
        let options = Cli::from_arg_matches(&matches).unwrap().server;
        let sources = Sources { environment: Environment::default(), ..options.sources(&matches)? };
        sources.load().map(|loaded| loaded.config).map_err(|error| error.to_string())
    }

    #[test]
    fn no_argument_means_the_default_configuration() {
        assert_eq!(over("", &[]), Ok(Config::default()));
    }

    #[test]
    fn options_win_over_the_file() {
        let file = "heartbeat = 1\nframe_max = 9000\nchannel_max = 1\nmax_message_size = 1\nproduct.name = a\n\
                    leveret.threads = 1\nleveret.sync = os\nleveret.memory_budget = 1\nleveret.data_dir = a\n\
                    product.version = 1\nproxy_protocol = true\n";
        let arguments = [
            "--heartbeat=2",
            "--frame-max=9001",
            "--channel-max=2",
            "--max-message-size=2",
            "--advertised-product=b",
            "--threads=2",
            "--sync=interval:5",
            "--memory-budget=2",
            "--data-dir=b",
            "--advertised-version=2",
        ];
        let config = over(file, &arguments).unwrap();
        assert!(config.proxy_protocol);
        assert_eq!(
            (config.heartbeat_seconds, config.frame_max, config.channel_max, config.max_message_size, config.threads),
            (2, 9001, 2, 2, 2)
        );
        assert_eq!((config.sync, config.memory_budget), (SyncMode::Interval(Duration::from_millis(5)), 2));
        assert_eq!((&*config.product, &*config.version, config.data_dir), ("b", "2", PathBuf::from("b")));
    }

    #[test]
    fn an_address_has_port_5672_unless_it_says_so() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1:5672"),
            ("10.0.0.1:0", "10.0.0.1:0"),
            ("0.0.0.0:5673", "0.0.0.0:5673"),
            ("localhost", "127.0.0.1:5672"),
            ("localhost:99", "127.0.0.1:99"),
            ("::1", "[::1]:5672"),
            ("::", "[::]:5672"),
            ("[::]", "[::]:5672"),
            ("[::1]:5673", "[::1]:5673"),
        ] {
            assert_eq!(listen_address(text), Ok(Place(Some(address.parse().unwrap()))), "{text}");
        }
    }

    #[test]
    fn no_address_at_all_can_be_asked_for() {
        assert_eq!(over("listeners.tcp.1 = 127.0.0.1:1", &["--listen", "none"]).unwrap().listen, []);
    }

    #[test]
    fn tls_has_its_own_port_and_needs_a_certificate_with_a_key() {
        let files = ["--tls-cert", "Cargo.toml", "--tls-key", "src/lib.rs"];
        let config = over("", &[&files[..], &["--tls-listen", "::1", "--tls-min-version", "1.3"]].concat()).unwrap();
        assert_eq!(config.listen_tls, ["[::1]:5671".parse().unwrap()]);
        assert_eq!(config.tls.unwrap().versions, [leveret_server::TlsVersion::V1_3]);
        for (arguments, missing) in [
            (&["--tls-listen", "::1"][..], "--tls-cert"),
            (&["--tls-listen", "::1", "--tls-cert", "Cargo.toml"], "--tls-key"),
            (&["--tls-ca", "Cargo.toml"], "--tls-cert"),
        ] {
            let error = over("", arguments).unwrap_err();
            assert!(error.contains(missing), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn all_is_the_unspecified_address() {
        for (text, port) in [("all", 5672), ("all:5673", 5673)] {
            let address = listen_address(text).unwrap().0.unwrap();
            assert!(address.ip().is_unspecified() && address.port() == port, "{address}");
        }
    }

    #[test]
    fn a_wrong_address_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "expected an IP address"),
            ("5673", "such as 127.0.0.1:5673"),
            (":5673", "such as 127.0.0.1:5673"),
            ("broker.example", "expected an IP address"),
            ("broker.example:5672", "expected an IP address"),
            ("127.0.0.1.5", "expected an IP address"),
            ("[::1", "expected an IP address"),
            ("127.0.0.1:", "`` is no port"),
            ("127.0.0.1:amqp", "`amqp` is no port"),
            ("127.0.0.1:65536", "`65536` is no port"),
        ] {
            let error = listen_address(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn an_address_given_twice_is_listened_on_once() {
        let config = over("", &["--listen", "::1,127.0.0.1:0", "--listen", "127.0.0.1:0", "--listen", "::1"]).unwrap();
        let listen: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["[::1]:5672", "127.0.0.1:0", "127.0.0.1:0"]);
    }

    #[test]
    fn when_to_sync_is_one_of_three() {
        let interval = |ms| Some(SyncMode::Interval(Duration::from_millis(ms)));
        for (text, mode) in [
            ("commit", Some(SyncMode::Commit)),
            ("os", Some(SyncMode::Os)),
            ("interval:1", interval(1)),
            ("interval:60000", interval(60_000)),
        ]
        .into_iter()
        .chain(
            ["", "never", "interval", "interval:", "interval:0", "interval:60001", "interval:1s"]
                .map(|text| (text, None)),
        ) {
            assert_eq!(sync_mode(text).ok(), mode, "{text}");
            if let Some(mode) = mode {
                assert_eq!(mode.to_string(), text);
            }
        }
    }

    #[test]
    fn a_memory_budget_may_be_anything() {
        for (text, budget) in [("0", Some(0)), ("1GiB", Some(1 << 30)), ("64 MiB", Some(64 << 20)), ("much", None)] {
            assert_eq!(memory_budget(text).ok(), budget, "{text}");
        }
    }

    #[test]
    fn a_size_may_have_a_unit() {
        for (text, size) in
            [("1", Some(1)), ("16MiB", Some(16 << 20)), ("512 MiB", Some(512 << 20)), ("8KiB", Some(8192))]
                .into_iter()
                .chain(["", "0", "MiB", "16MB", "-1", "1GiB", "99999999999999999999"].map(|text| (text, None)))
        {
            assert_eq!(message_size(text).ok(), size, "{text}");
        }
    }
}
