//! The broker as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A broker that runs.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts the broker on a folder and waits until it says where it listens.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut child = spawn(folder);
        let stdout = child.stdout.take().unwrap();
        let line = BufReader::new(stdout).lines().map_while(Result::ok).find(|line| line.contains("AMQP"));
        let address = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
        Self { child, address: address.expect("the broker did not start") }
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, as an operator does, and waits until it has.
    pub(crate) fn terminate(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the broker stopped with {status}");
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the broker without waiting for anything.
pub(crate) fn spawn(folder: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_leveret"))
        .env("LEVERET_MANAGEMENT_LISTEN", "none")
        .env("LEVERET_PROMETHEUS_LISTEN", "none")
        .args(["--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"])
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
