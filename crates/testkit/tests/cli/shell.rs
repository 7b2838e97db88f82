//! Running one command as a person's shell or a script would.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::script::Answer;

/// Far beyond what any command takes, also on a busy machine. `timeout` exits with 124 then.
const SECONDS_MAX: &str = "120";

/// Runs a shell command in `folder` with nothing but this environment, without a terminal and without standard input.
pub(crate) fn run(command: &str, folder: &Path, environment: &[(OsString, OsString)]) -> Answer {
    let mut process = Command::new("timeout");
    process.args([SECONDS_MAX, "sh", "-c", command]).current_dir(folder).env_clear();
    process.envs(environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
    let output = process.output().unwrap_or_else(|error| panic!("{command}: {error}"));
    Answer {
        exit: Some(output.status.code().unwrap_or_else(|| panic!("{command}: {}", output.status))),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
