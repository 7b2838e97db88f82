//! The program as a person or a service manager meets it: arguments, exit status, what it prints, signals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test reports a failure")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Far beyond what any step takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// Every option of the broker with its variable.
const OPTIONS: [(&str, &str); 26] = [
    ("--config", "LEVERET_CONFIG_FILE"),
    ("--listen", "LEVERET_LISTEN"),
    ("--proxy-protocol", "LEVERET_PROXY_PROTOCOL"),
    ("--tls-listen", "LEVERET_TLS_LISTEN"),
    ("--tls-cert", "LEVERET_TLS_CERT"),
    ("--tls-key", "LEVERET_TLS_KEY"),
    ("--tls-key-password-file", "LEVERET_TLS_KEY_PASSWORD_FILE"),
    ("--tls-sni", "LEVERET_TLS_SNI"),
    ("--tls-ca", "LEVERET_TLS_CA"),
    ("--tls-verify", "LEVERET_TLS_VERIFY"),
    ("--tls-fail-if-no-peer-cert", "LEVERET_TLS_FAIL_IF_NO_PEER_CERT"),
    ("--tls-min-version", "LEVERET_TLS_MIN_VERSION"),
    ("--management-listen", "LEVERET_MANAGEMENT_LISTEN"),
    ("--prometheus-listen", "LEVERET_PROMETHEUS_LISTEN"),
    ("--heartbeat", "LEVERET_HEARTBEAT"),
    ("--threads", "LEVERET_THREADS"),
    ("--data-dir", "LEVERET_DATA_DIR"),
    ("--sync", "LEVERET_SYNC"),
    ("--memory-budget", "LEVERET_MEMORY_BUDGET"),
    ("--max-message-size", "LEVERET_MAX_MESSAGE_SIZE"),
    ("--frame-max", "LEVERET_FRAME_MAX"),
    ("--channel-max", "LEVERET_CHANNEL_MAX"),
    ("--log-level", "LEVERET_LOG"),
    ("--log-format", "LEVERET_LOG_FORMAT"),
    ("--advertised-product", "LEVERET_ADVERTISED_PRODUCT"),
    ("--advertised-version", "LEVERET_ADVERTISED_VERSION"),
];

/// A started program; it is killed when the test ends before it.
struct Program {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

/// How a program ended, and what it had printed that was not read before.
struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Program {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        for (_, variable) in OPTIONS {
            command.env_remove(variable);
        }
        // Brokers of several tests run at the same time.
        if arguments.first() != Some(&"config") {
            command.env("LEVERET_MANAGEMENT_LISTEN", "none").env("LEVERET_PROMETHEUS_LISTEN", "none");
        }
        command.args(arguments).envs(variables.iter().copied());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// A broker on a port that the system chooses, with its data in `data_dir`.
    fn broker(data_dir: &Path, more: &[&str]) -> Self {
        let fixed = ["--listen", "127.0.0.1:0", "--data-dir", data_dir.to_str().unwrap()];
        Self::start(&[&fixed, more].concat(), &[])
    }

    /// Reads the banner as far as the address.
    fn address(&self) -> SocketAddr {
        let line = until(&self.stdout, "AMQP");
        line.split_whitespace().last().unwrap().parse().unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> Ended {
        let stdout = rest(&self.stdout);
        let stderr = rest(&self.stderr);
        Ended { status: self.child.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The only line of an error that ended the program.
    fn error(&self) -> &str {
        assert_eq!(self.status.code(), Some(1), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        let mut lines = self.stderr.lines();
        let line = lines.next().unwrap_or_default();
        assert_eq!(lines.next(), None, "one line is enough: {}", self.stderr);
        line.strip_prefix("leveret: ").unwrap_or_else(|| panic!("who says so? {line}"))
    }
}

fn run(arguments: &[&str]) -> Ended {
    Program::start(arguments, &[]).end()
}

/// Reads lines on a thread of their own, so that waiting for one has a deadline.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let _ = sender.send(line.expect("output is UTF-8"));
        }
    });
    lines
}

/// The first line that contains `text`.
fn until(lines: &Receiver<String>, text: &str) -> String {
    loop {
        let line = lines.recv_timeout(DEADLINE).unwrap_or_else(|error| panic!("no line with {text}: {error}"));
        if line.contains(text) {
            return line;
        }
    }
}

/// What comes until the program closes its output.
fn rest(lines: &Receiver<String>) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) => text.extend([line.as_str(), "\n"]),
            Err(RecvTimeoutError::Disconnected) => return text,
            Err(RecvTimeoutError::Timeout) => panic!("the program does not end; it printed: {text}"),
        }
    }
}

/// The text without its line breaks and indents.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn help_names_every_option_with_its_variable() {
    for arguments in [&["--help"] as &[_], &["-h"], &["server", "--help"]] {
        let help = run(arguments);
        assert!(help.status.success(), "{}", help.stderr);
        let words = words(&help.stdout);
        for (option, variable) in OPTIONS {
            assert!(words.contains(&format!(" {option} ")), "{option} in {arguments:?}:\n{}", help.stdout);
            assert!(words.contains(&format!("[env: {variable}]")), "{variable} in {arguments:?}:\n{}", help.stdout);
        }
        let (_, examples) = help.stdout.split_once("\nExamples:\n").expect("examples");
        assert!(!examples.trim_end().contains("\n\n"), "examples are the end:\n{}", help.stdout);
    }
}

#[test]
fn help_has_no_option_without_a_variable() {
    let help = run(&["--help"]).stdout;
    let mut options: Vec<_> = help.lines().filter(|line| line.trim_start().starts_with("--")).collect();
    options.retain(|line| !OPTIONS.iter().any(|(option, _)| line.trim_start().starts_with(option)));
    assert_eq!(options, [""; 0], "not in the list of these tests");
}

#[test]
fn help_lists_the_commands() {
    let help = words(&run(&["--help"]).stdout);
    for command in ["server Run the broker", "perf Put load", "storage Look at a data folder"] {
        assert!(help.contains(command), "{help}");
    }
    assert!(run(&["perf", "--help"]).status.success());
}

#[test]
fn version_is_the_name_and_the_number() {
    let version = run(&["--version"]);
    assert!(version.status.success());
    assert_eq!(version.stdout, concat!("leveret ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_banner_shows_where_the_broker_listens_and_keeps_its_data() {
    let temporary = tempfile::tempdir().unwrap();
    let data_dir = temporary.path().join("made/on/the/way");
    let broker = Program::broker(&data_dir, &[]);
    let address = broker.address();
    TcpStream::connect(address).unwrap();
    let line = until(&broker.stdout, "Data");
    assert!(line.ends_with(data_dir.canonicalize().unwrap().to_str().unwrap()), "{line}");
    broker.signal(Signal::TERM);
    assert!(broker.end().status.success());
}

#[test]
fn the_banner_shows_every_address() {
    let temporary = tempfile::tempdir().unwrap();
    let broker = Program::broker(temporary.path(), &["--listen", "127.0.0.1:0,127.0.0.1:0"]);
    let addresses = [broker.address(), broker.address(), broker.address()];
    for address in addresses {
        TcpStream::connect(address).unwrap();
    }
}

#[test]
fn the_server_command_is_the_same_as_none() {
    let temporary = tempfile::tempdir().unwrap();
    let broker =
        Program::start(&["server", "--listen", "127.0.0.1:0", "--data-dir", temporary.path().to_str().unwrap()], &[]);
    TcpStream::connect(broker.address()).unwrap();
}

#[test]
fn variables_stand_in_for_options() {
    let temporary = tempfile::tempdir().unwrap();
    let variables = [("LEVERET_LISTEN", "127.0.0.1:0"), ("LEVERET_DATA_DIR", temporary.path().to_str().unwrap())];
    let broker = Program::start(&[], &variables);
    TcpStream::connect(broker.address()).unwrap();
    let line = until(&broker.stdout, "Data");
    assert!(line.ends_with(temporary.path().canonicalize().unwrap().to_str().unwrap()), "{line}");
}

#[test]
fn options_and_variables_win_over_the_file() {
    let temporary = tempfile::tempdir().unwrap();
    let [file, data_dir] = ["leveret.conf", "data"].map(|name| temporary.path().join(name).display().to_string());
    // 192.0.2.0/24 is kept for documentation: no machine has it, and no broker starts there.
    fs::write(&file, "listeners.tcp.default = 192.0.2.1:5672\n").unwrap();
    let ended = run(&["--config", &file, "--data-dir", &data_dir]);
    assert!(ended.error().contains("192.0.2.1:5672"), "{}", ended.stderr);
    let by_variable = [("LEVERET_CONFIG_FILE", file.as_str()), ("LEVERET_LISTEN", "127.0.0.1:0")];
    for (arguments, variables) in [
        (&["--config", &file, "--data-dir", &data_dir, "--listen", "127.0.0.1:0"] as &[_], &[] as &[_]),
        (&["--data-dir", &data_dir], &by_variable),
    ] {
        let broker = Program::start(arguments, variables);
        assert_eq!(broker.address().ip().to_string(), "127.0.0.1");
    }
}

#[test]
fn a_file_says_where_the_broker_listens_and_is_warned_about() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("leveret.conf");
    fs::write(&file, "listeners.tcp.1 = 127.0.0.1:1\nlisteners.tcp.1 = 127.0.0.1:0\n").unwrap();
    let data_dir = temporary.path().join("data");
    let arguments = ["--config", file.to_str().unwrap(), "--data-dir", data_dir.to_str().unwrap()];
    let broker = Program::start(&arguments, &[]);
    TcpStream::connect(broker.address()).unwrap();
    let warning = until(&broker.stderr, "[warning]");
    assert!(warning.contains("leveret.conf:2: listeners.tcp.1 was set on line 1 already"), "{warning}");
}

#[test]
fn a_file_with_a_mistake_is_one_line_and_status_one() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("leveret.conf");
    fs::write(&file, "listeners.tcp.1 = hare\n").unwrap();
    let ended = run(&["--config", file.to_str().unwrap(), "--data-dir", temporary.path().to_str().unwrap()]);
    let expected = format!("{}:1: listeners.tcp.1: `hare` is wrong, expected a port, or", file.display());
    assert!(ended.error().starts_with(&expected), "{}", ended.stderr);
}

#[test]
fn a_configuration_is_checked_and_shown_without_a_start() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("leveret.conf");
    let path = file.to_str().unwrap();
    fs::write(&file, "heartbeat = 7\ndefault_pass = swordfish\nhartbeat = 8\nstream.frame_max = 1\n").unwrap();
    let ended = run(&["config", "check", path]);
    assert!(ended.status.success(), "{}", ended.stdout);
    for part in
        ["leveret.conf:3: there is no setting hartbeat", "as there are no streams yet", "The configuration is right."]
    {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    let ended = run(&["config", "show", "--changed", "--config", path]);
    let expected = format!("heartbeat    = 7  # {path}:1\ndefault_pass = [hidden]  # {path}:2\n");
    assert_eq!(ended.stdout, expected);
    let ended = run(&["config", "show", "--json", path]);
    let rows: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let row = |key: &str| rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap().clone();
    assert_eq!((row("heartbeat")["value"].as_str(), row("heartbeat")["line"].as_u64()), (Some("7"), Some(1)));
    assert_eq!(row("frame_max")["origin"], "default");
    assert!(!ended.stdout.contains("swordfish"));
    fs::write(&file, "heartbeat = often\nframe_max = 1\n").unwrap();
    let ended = run(&["config", "check", path]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stdout.contains("leveret.conf:1: heartbeat: `often`") && ended.stdout.contains("leveret.conf:2: "));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1, "nothing else was made");
}

#[test]
fn files_are_read_again_when_a_signal_asks_for_it() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("leveret.conf");
    let data_dir = temporary.path().join("data");
    fs::write(&file, "listeners.tcp.1 = 127.0.0.1:0\nheartbeat = 1\n").unwrap();
    let arguments = ["--config", file.to_str().unwrap(), "--data-dir", data_dir.to_str().unwrap()];
    let broker = Program::start(&arguments, &[]);
    broker.address();
    fs::write(&file, "listeners.tcp.1 = 127.0.0.1:0\nheartbeat = often\n").unwrap();
    broker.signal(Signal::HUP);
    let line = until(&broker.stderr, "the configuration stays as it was");
    assert!(line.contains("leveret.conf:2: heartbeat: `often`"), "{line}");
    fs::write(&file, "listeners.tcp.1 = 127.0.0.1:1\nheartbeat = 2\nmax_connections = 5\n").unwrap();
    broker.signal(Signal::HUP);
    let line = until(&broker.stderr, "was read again");
    assert!(line.contains("changed: heartbeat, max_connections"), "{line}");
    let line = until(&broker.stderr, "needs a restart");
    assert!(line.contains("needs a restart: listeners.tcp.1"), "{line}");
}

#[test]
fn a_detached_server_runs_behind_the_terminal() {
    let temporary = tempfile::tempdir().unwrap();
    let program = temporary.path().join("rabbitmq-server");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_leveret"), &program).unwrap();
    let (data_dir, pid_file) = (temporary.path().join("data"), temporary.path().join("pid"));
    let start = |listen: &str| {
        let mut command = Command::new(&program);
        command.args(["-detached", "-kernel", "a"]).env("LEVERET_LISTEN", listen).env("SYS_PREFIX", temporary.path());
        command.env("LEVERET_DATA_DIR", &data_dir).env("RABBITMQ_PID_FILE", &pid_file).output().unwrap()
    };
    let output = start("127.0.0.1:0");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(stderr.lines().count() == 1 && stderr.contains("no Erlang to take these arguments: -kernel a"), "{stderr}");
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let second = start("127.0.0.1:0");
    assert!(!second.status.success() && String::from_utf8_lossy(&second.stderr).contains("is in use by"), "{second:?}");
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    let end = std::time::Instant::now() + DEADLINE;
    while pid_file.exists() {
        assert!(std::time::Instant::now() < end, "the broker does not stop");
        thread::yield_now();
    }
}

#[test]
fn variables_of_the_broker_do_not_trouble_other_commands() {
    let perf = Program::start(&["perf", "--help"], &[("LEVERET_LISTEN", "127.0.0.1:0")]).end();
    assert!(perf.status.success(), "{}", perf.stderr);
}

#[test]
fn a_signal_stops_the_broker_with_status_zero() {
    for signal in [Signal::TERM, Signal::INT] {
        let temporary = tempfile::tempdir().unwrap();
        let broker = Program::broker(temporary.path(), &[]);
        let address = broker.address();
        broker.signal(signal);
        let ended = broker.end();
        assert_eq!(ended.status.code(), Some(0), "{signal:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("stopped"), "{signal:?}: {}", ended.stderr);
        TcpStream::connect(address).unwrap_err();
    }
}

#[test]
fn a_taken_port_is_one_line_and_status_one() {
    let temporary = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(&["--listen", &address, "--data-dir", temporary.path().to_str().unwrap()]);
    let expected = format!("cannot listen on {address}: the port is taken by another program");
    assert!(ended.error().starts_with(&expected), "{}", ended.stderr);
}

#[test]
fn an_address_of_another_machine_is_one_line_and_status_one() {
    let temporary = tempfile::tempdir().unwrap();
    // 192.0.2.0/24 is kept for documentation: no machine has it.
    let ended = run(&["--listen", "192.0.2.1", "--data-dir", temporary.path().to_str().unwrap()]);
    let expected = "cannot listen on 192.0.2.1:5672: this machine has no such address";
    assert!(ended.error().starts_with(expected), "{}", ended.stderr);
}

#[test]
fn a_data_folder_that_cannot_be_made_is_one_line_and_status_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("data");
    let ended = run(&["--listen", "127.0.0.1:0", "--data-dir", folder.to_str().unwrap()]);
    let expected = format!("cannot make the data folder {}: ", folder.display());
    assert!(ended.error().starts_with(&expected), "{}", ended.stderr);
}

#[test]
fn a_data_folder_serves_one_broker_at_a_time() {
    let temporary = tempfile::tempdir().unwrap();
    let first = Program::broker(temporary.path(), &[]);
    first.address();
    let second = Program::broker(temporary.path(), &[]).end();
    let holder = format!("is in use by another broker, process {} ", first.child.id());
    assert!(second.error().contains(&holder), "{}", second.stderr);
    // A broker that was killed leaves nothing behind that the next one minds.
    first.signal(Signal::KILL);
    first.end();
    Program::broker(temporary.path(), &[]).address();
}

#[test]
fn wrong_arguments_are_refused_with_a_reason() {
    for (arguments, reason) in [
        (["--listen", "5673"], "such as 127.0.0.1:5673"),
        (["--listen", "broker:5672"], "expected an IP address, localhost or all"),
        (["--listen", "127.0.0.1:99999"], "`99999` is no port"),
        (["--threads", "0"], "0 is not in 1..=1024"),
        (["--frame-max", "1"], "1 is not in 8192..="),
        (["--max-message-size", "16MB"], "`MB` is no unit"),
        (["--log-level", "inof"], "`inof` is no level"),
        (["--log-format", "xml"], "[possible values: text, json]"),
    ] {
        let ended = run(&arguments);
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(reason), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(arguments[0]), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn json_logs_are_one_object_per_line_without_a_banner() {
    let temporary = tempfile::tempdir().unwrap();
    let broker = Program::broker(temporary.path(), &["--log-format", "json"]);
    let started = until(&broker.stderr, "started");
    broker.signal(Signal::TERM);
    let ended = broker.end();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "no banner");
    for line in [started.as_str()].into_iter().chain(ended.stderr.lines()) {
        let record: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["time", "level", "msg"] {
            assert!(record.get(key).is_some_and(serde_json::Value::is_string), "{key}: {line}");
        }
    }
}

#[test]
fn json_logs_hold_the_error_that_ended_the_program() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let ended = run(&["--data-dir", file.path().join("data").to_str().unwrap(), "--log-format", "json"]);
    assert_eq!(ended.status.code(), Some(1));
    let record: serde_json::Value = serde_json::from_str(ended.stderr.trim_end()).expect("one record");
    assert_eq!(record["level"], "error");
    assert!(record["msg"].as_str().unwrap().starts_with("cannot make the data folder"), "{record}");
}

#[test]
fn the_log_level_rules_what_is_logged() {
    let temporary = tempfile::tempdir().unwrap();
    let broker = Program::broker(temporary.path(), &["--log-level", "off"]);
    broker.address();
    broker.signal(Signal::TERM);
    let ended = broker.end();
    assert!(ended.status.success());
    assert_eq!(ended.stderr, "");
}

#[test]
fn the_readme_names_every_option_with_its_variable() {
    let readme = include_str!("../../../README.md");
    for (option, variable) in OPTIONS {
        let row = readme.lines().find(|line| {
            line.strip_prefix("| `")
                .and_then(|line| line.strip_prefix(option))
                .is_some_and(|rest| rest.starts_with([' ', '`']))
        });
        assert!(row.is_some_and(|row| row.contains(&format!("| `{variable}` |"))), "{option}: {row:?}");
    }
}
