//! Interpreters with client libraries, which are installed once into the target directory, and scripts that they run.
//!
//! The machine has to bring `python3` with its venv module.

use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// The sessions take under ten seconds; the rest is for a busy machine.
const SESSION_TIMEOUT: Duration = Duration::from_mins(2);
/// Some of it is built, on a machine that may be slow.
const INSTALL_TIMEOUT: Duration = Duration::from_mins(10);

/// The oldest Node.js that the pinned amqplib runs on.
const NODE_MAJOR_MIN: u32 = 18;

/// Whether what the command prints says that all is well; the error is what a person needs to see.
pub(crate) fn passes(command: Command, what: &str) -> Result<(), String> {
    let run = run(command, SESSION_TIMEOUT).map_err(|error| format!("{what}: {error}"))?;
    let summary = run.output.lines().rfind(|line| line.ends_with(" failed")).unwrap_or_default();
    let passed = summary.strip_suffix(" passed, 0 failed").and_then(|count| count.parse::<u32>().ok());
    // A script that runs nothing would pass too, if nobody counted.
    if run.ended_well && passed.is_some_and(|passed| passed > 0) {
        return Ok(());
    }
    Err(format!("{what}:\n{}\n{}", run.output, run.ending))
}

/// The Python interpreter that has the client libraries.
pub(crate) fn python() -> Result<Command, String> {
    Ok(Command::new(python_environment("python", "requirements.txt")?.join("python")))
}

/// The Python interpreter of an environment of that name, with what a requirements file names.
#[allow(dead_code, reason = "not every test program needs one of its own")]
pub(crate) fn python_with(name: &str, requirements: &str) -> Result<Command, String> {
    Ok(Command::new(python_environment(name, requirements)?.join("python")))
}

/// The Node.js interpreter, set up to find the client library.
pub(crate) fn node() -> Result<Command, String> {
    let bin = if node_on_path() { None } else { Some(python_environment("node-runtime", "requirements-node.txt")?) };
    let modules = node_modules(bin.as_deref())?;
    let mut command = program(bin.as_deref(), "node")?;
    command.env("NODE_PATH", modules);
    Ok(command)
}

/// Creates the virtual environment `name` from a requirements file and returns its `bin` folder.
fn python_environment(name: &str, requirements: &str) -> Result<PathBuf, String> {
    let requirements = clients().join(requirements);
    let folder = cache().join(name);
    let bin = folder.join("bin");
    install_once(&folder, &[&requirements], || {
        let mut check = Command::new("python3");
        check.args(["-c", "import ensurepip, venv"]);
        match run(check, INSTALL_TIMEOUT) {
            Ok(checked) if checked.ended_well => {}
            Ok(_) => return Err("python3 has no venv module: install python3-venv".to_owned()),
            Err(_) => return Err("python3 does not run: install python3 and python3-venv".to_owned()),
        }
        let mut create = Command::new("python3");
        create.args(["-m", "venv"]).arg(&folder);
        must_succeed(create)?;
        let mut install = Command::new(bin.join("python"));
        install.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&requirements);
        must_succeed(install)
    })?;
    Ok(bin)
}

/// Installs what `package.json` names and returns the `node_modules` folder.
fn node_modules(bin: Option<&Path>) -> Result<PathBuf, String> {
    let folder = cache().join("node");
    let package = clients().join("package.json");
    install_once(&folder, &[&package], || {
        let copy = folder.join("package.json");
        fs::copy(&package, &copy).map_err(at(&copy))?;
        let mut install = program(bin, "npm")?;
        install.args(["install", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(&folder);
        must_succeed(install)
    })?;
    Ok(folder.join("node_modules"))
}

/// Fills `folder` unless an earlier run has done so from the same `sources`.
///
/// Tests run as threads and as processes at the same time, so a lock on a file orders them. The note of what was
/// installed is written last: an installation that was cut short starts over.
pub(crate) fn install_once(
    folder: &Path,
    sources: &[&Path],
    install: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let mut wanted = String::new();
    for source in sources {
        wanted += &fs::read_to_string(source).map_err(at(source))?;
    }
    fs::create_dir_all(cache()).map_err(at(&cache()))?;
    let lock_path = folder.with_extension("lock");
    let lock = File::create(&lock_path).map_err(at(&lock_path))?;
    lock.lock().map_err(at(&lock_path))?;
    let note = folder.join("installed-from");
    if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(folder)(error)),
        _ => {}
    }
    fs::create_dir_all(folder).map_err(at(folder))?;
    install()?;
    fs::write(&note, wanted).map_err(at(&note))
}

/// Whether the machine has a Node.js that is new enough, and npm.
fn node_on_path() -> bool {
    let version = |program| {
        let mut command = Command::new(program);
        command.arg("--version");
        run(command, INSTALL_TIMEOUT).ok().filter(|run| run.ended_well)
    };
    let major = |node: Finished| node.output.strip_prefix('v')?.split('.').next()?.parse::<u32>().ok();
    version("node").and_then(major).is_some_and(|major| major >= NODE_MAJOR_MIN) && version("npm").is_some()
}

/// A program from `bin`, which then also comes first where the program looks for others.
fn program(bin: Option<&Path>, name: &str) -> Result<Command, String> {
    let Some(bin) = bin else {
        return Ok(Command::new(name));
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(bin.to_owned()).chain(env::split_paths(&path)))
        .map_err(|error| format!("{}: {error}", bin.display()))?;
    let mut command = Command::new(bin.join(name));
    command.env("PATH", path);
    Ok(command)
}

pub(crate) fn must_succeed(command: Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let run = run(command, INSTALL_TIMEOUT)?;
    if run.ended_well { Ok(()) } else { Err(format!("{shown}:\n{}\n{}", run.output, run.ending)) }
}

/// A program that ended, or was ended.
struct Finished {
    output: String,
    ended_well: bool,
    /// How it ended, for people.
    ending: String,
}

/// Runs the command, its two outputs joined as they come, and kills it when it is not done in time.
fn run(mut command: Command, timeout: Duration) -> Result<Finished, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| format!("{name}: {error}");
    let (mut reader, writer) = io::pipe().map_err(failed)?;
    command.stdin(std::process::Stdio::null());
    command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let mut child = command.spawn().map_err(failed)?;
    // The command holds our copies of the pipe's writing end; the reader sees the end only when they are gone.
    drop(command);

    let (sender, chunks) = mpsc::channel();
    thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(count @ 1..) = reader.read(&mut chunk) {
            if chunk.get(..count).is_none_or(|read| sender.send(read.to_vec()).is_err()) {
                return;
            }
        }
    });
    let deadline = Instant::now() + timeout;
    let mut output = Vec::new();
    let in_time = loop {
        match chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(chunk) => output.extend(chunk),
            Err(RecvTimeoutError::Disconnected) => break true,
            Err(RecvTimeoutError::Timeout) => break false,
        }
    };
    if !in_time {
        child.kill().map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    Ok(Finished {
        output: String::from_utf8_lossy(&output).into_owned(),
        ended_well: in_time && status.success(),
        ending: if in_time { status.to_string() } else { format!("killed after {} s", timeout.as_secs()) },
    })
}

fn at(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// The folder of the scripts, and of what they need. Tests of other crates than the test kit find it, too.
pub(crate) fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/clients")
}

pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("test-clients")
}
