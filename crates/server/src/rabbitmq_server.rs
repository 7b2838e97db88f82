//! The program under the name `rabbitmq-server`: the broker, in the foreground or, with `-detached`, in the background.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::process::setsid;
use rustix::stdio::{dup2_stderr, dup2_stdout};

/// Has the broker run in the background.
const DETACHED: &str = "-detached";
/// Says that a broker is to be in the background. It is set by this program alone.
const BACKGROUND: &str = "LEVERET_BACKGROUND";
/// What a broker in the background writes to its standard output when it runs.
const RUNNING: u8 = b'+';

/// What `rabbitmq-server` was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    detached: bool,
    /// What is for the server, behind the name of the program.
    arguments: Vec<OsString>,
    /// What is for Erlang.
    ignored: Vec<OsString>,
}

/// Reads arguments. Those of Erlang have one dash and perhaps values; ours have two.
fn read(arguments: impl IntoIterator<Item = OsString>) -> Asked {
    let mut asked = Asked { detached: false, arguments: Vec::new(), ignored: Vec::new() };
    let mut is_ours = false;
    for argument in arguments {
        let octets = argument.as_encoded_bytes();
        if argument == DETACHED {
            asked.detached = true;
        } else if octets.starts_with(b"--") {
            is_ours = true;
            asked.arguments.push(argument);
        } else if !is_ours || octets.starts_with(b"-") || octets.starts_with(b"+") {
            is_ours = false;
            asked.ignored.push(argument);
        } else {
            asked.arguments.push(argument);
        }
    }
    asked
}

/// Runs the broker as `rabbitmq-server` with these arguments, without the name of the program, would. `serve` runs it in the
/// foreground, with arguments that have a name before them.
pub(crate) fn rabbitmq_server(
    arguments: impl IntoIterator<Item = OsString>,
    serve: impl FnOnce(Vec<OsString>) -> ExitCode,
) -> ExitCode {
    let Asked { detached, arguments, ignored } = read(arguments);
    if !ignored.is_empty() {
        let ignored = ignored.join(OsStr::new(" "));
        eprintln!("rabbitmq-server: there is no Erlang to take these arguments: {}", ignored.display());
    }
    if !detached {
        return serve([vec![OsString::from("rabbitmq-server")], arguments].concat());
    }
    match start_detached(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("rabbitmq-server: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the broker in the background and waits until it runs.
fn start_detached(arguments: &[OsString]) -> Result<(), String> {
    let explain = |error: io::Error| format!("cannot start the broker in the background: {error}");
    let mut command = Command::new(env::current_exe().map_err(explain)?);
    command.arg0("leveret").arg("server").args(arguments).env(BACKGROUND, "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(explain)?;
    let mut said = [0];
    let running =
        child.stdout.take().is_some_and(|mut output| matches!(output.read(&mut said), Ok(1)) && said == [RUNNING]);
    if running { Ok(()) } else { Err(last_words(child)) }
}

/// Why a broker ended.
fn last_words(mut child: Child) -> String {
    let mut text = String::new();
    if let Some(errors) = &mut child.stderr {
        let _ = errors.read_to_string(&mut text);
    }
    let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.map_or(status, |line| line.strip_prefix("leveret: ").unwrap_or(line).to_owned())
}

/// Whether this process is a broker in the background.
pub(crate) fn is_in_background() -> bool {
    env::var_os(BACKGROUND).is_some()
}

/// Leaves the terminal to whoever started the broker in the background.
pub(crate) fn leave_terminal() {
    if is_in_background() {
        // It fails for the first process of a group, which then has a session of its own already or is no child of ours.
        let _ = setsid();
    }
}

/// Says that the broker runs, which the process in the foreground waits for. From here on nobody reads what it prints.
pub(crate) fn announce() -> io::Result<()> {
    let nowhere = File::options().read(true).write(true).open("/dev/null")?;
    let mut output = io::stdout().lock();
    output.write_all(&[RUNNING])?;
    output.flush()?;
    dup2_stdout(&nowhere)?;
    dup2_stderr(&nowhere)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_erlang_is_told_from_what_is_for_us() {
        for (arguments, detached, ours, ignored) in [
            ("", false, "", ""),
            ("-detached", true, "", ""),
            ("-detached --config a --heartbeat 5", true, "--config a --heartbeat 5", ""),
            ("-kernel net_ticktime 5 -detached +P 1000", true, "", "-kernel net_ticktime 5 +P 1000"),
            ("--config a -noinput b --listen c", false, "--config a --listen c", "-noinput b"),
        ] {
            let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
            let expected = Asked { detached, arguments: words(ours), ignored: words(ignored) };
            assert_eq!(read(words(arguments)), expected, "{arguments}");
        }
    }
}
