//! The log as operators see it.

use std::thread;

use leveret_management::{HostError, LogLevel};
use tokio::sync::mpsc;

use crate::config::log::LogCategory;
use crate::logging::{Logs, Severity};

/// Lines that wait for who follows the log.
const LINES_MAX: usize = 256;

impl leveret_management::Logs for Logs {
    fn set_level(&self, category: Option<&str>, level: LogLevel) -> Result<(), HostError> {
        let unknown = |name: &str| HostError::UnknownCategory { name: name.to_owned() };
        let category = category.map(|name| LogCategory::parse(name).ok_or_else(|| unknown(name))).transpose()?;
        self.set_level(category, severity(level));
        Ok(())
    }

    fn rotate(&self) -> Result<(), HostError> {
        self.rotate();
        Ok(())
    }

    fn locations(&self) -> Vec<String> {
        self.locations()
    }

    fn tail(&self, lines: usize) -> Result<Vec<String>, HostError> {
        self.tail(lines).map_err(|error| HostError::Failed(format!("cannot read the log: {error}")))
    }

    fn follow(&self) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel(LINES_MAX);
        let mut follower = self.follow();
        let pass_on = move || {
            while let Some(text) = follower.blocking_next() {
                for line in text.lines() {
                    if sender.blocking_send(line.to_owned()).is_err() {
                        return;
                    }
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("leveret-follow".into()).spawn(pass_on) {
            tracing::error!("nobody can follow the log: {error}");
        }
        receiver
    }
}

const fn severity(level: LogLevel) -> Severity {
    match level {
        LogLevel::Debug => Severity::Debug,
        LogLevel::Info => Severity::Info,
        LogLevel::Notice => Severity::Notice,
        LogLevel::Warning => Severity::Warning,
        LogLevel::Error => Severity::Error,
        LogLevel::Critical => Severity::Critical,
        LogLevel::None => Severity::None,
    }
}
