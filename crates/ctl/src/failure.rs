//! Why a command failed, and what the shell is told.

use std::fmt::Write as _;
use std::process::ExitCode;

/// Exit codes, as `sysexits.h` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command line is wrong.
    Usage = 64,
    /// What was given does not fit, or what it names is not there.
    Data = 65,
    /// There is no such user, or it may not.
    NoUser = 67,
    /// The node does not run, or a check failed.
    Unavailable = 69,
    /// It was understood, and failed.
    Software = 70,
    /// A file cannot be written.
    CannotCreate = 73,
    /// A file cannot be read.
    Io = 74,
    /// It took too long; it may work later.
    Temporary = 75,
    /// The caller may not do this.
    NoPermission = 77,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the shell is told.
    pub(crate) exit: Exit,
    /// What a person reads on standard error; nothing if empty.
    pub(crate) text: String,
}

impl Failure {
    /// A failure while a command ran: `Error:` and the text.
    pub(crate) fn new(exit: Exit, text: impl AsRef<str>) -> Self {
        Self { exit, text: format!("Error:\n{}", text.as_ref()) }
    }

    /// A failure that is told in exactly these words.
    pub(crate) fn plain(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }

    /// A failure of which only the exit code tells: all there is to say has been said.
    pub(crate) const fn silent(exit: Exit) -> Self {
        Self { exit, text: String::new() }
    }

    /// The same with another exit code, for commands where RabbitMQ's is another one. A node that does not answer stays what it is.
    pub(crate) fn exiting(self, exit: Exit) -> Self {
        match self.exit {
            Exit::Unavailable | Exit::Temporary | Exit::NoPermission => self,
            _ => Self { exit, ..self },
        }
    }

    /// The kind of failure that the node names.
    pub(crate) fn of_node(kind: &str, text: &str) -> Self {
        let exit = match kind {
            "usage" => Exit::Usage,
            "data" => Exit::Data,
            // RabbitMQ's tools say this without a heading, and scripts look for it at the beginning of a line.
            "no_vhost" => return Self::plain(Exit::Data, text),
            "no_user" => Exit::NoUser,
            "unavailable" => Exit::Unavailable,
            "temporary" => Exit::Temporary,
            "denied" => Exit::NoPermission,
            _ => Exit::Software,
        };
        Self::new(exit, text)
    }

    /// Writes it to standard error.
    pub(crate) fn report(&self) {
        if !self.text.is_empty() {
            let mut text = String::with_capacity(self.text.len() + 1);
            let _ = writeln!(text, "{}", self.text);
            // With standard error closed there is nobody to tell.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        }
    }
}
