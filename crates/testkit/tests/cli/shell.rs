//! Running one command as a person's shell or a script would.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::script::Answer;

/// Far beyond what any command takes, also on a busy machine.
const SECONDS_MAX: &str = "300";
/// How `timeout` exits when it had to end the command.
const TIMED_OUT: i32 = 124;

/// Runs a shell command in `folder` with nothing but this environment, without a terminal and without standard input.
pub(crate) fn run(command: &str, folder: &Path, environment: &[(OsString, OsString)]) -> Answer {
    let mut process = Command::new("timeout");
    process.args([SECONDS_MAX, "sh", "-c", command]).current_dir(folder).env_clear();
    process.envs(environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
    let output = process.output().unwrap_or_else(|error| panic!("{command}: {error}"));
    let exit = output.status.code().unwrap_or_else(|| panic!("{command}: {}", output.status));
    assert_ne!(exit, TIMED_OUT, "{command} does not end within {SECONDS_MAX} seconds");
    Answer {
        exit: Some(exit),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
