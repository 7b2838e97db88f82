//! The tools, each of which has commands of its own.

use std::path::Path;

/// A tool, by the name it is called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `leveret ctl`, which has the commands of all the others.
    Leveret,
    /// `rabbitmqctl`.
    Ctl,
    /// `rabbitmq-diagnostics`.
    Diagnostics,
    /// `rabbitmq-plugins`.
    Plugins,
    /// `rabbitmq-queues`.
    Queues,
    /// `rabbitmq-streams`.
    Streams,
    /// `rabbitmq-upgrade`.
    Upgrade,
}

impl Tool {
    /// Those that RabbitMQ has.
    pub const ALL: [Self; 6] =
        [Self::Ctl, Self::Diagnostics, Self::Plugins, Self::Queues, Self::Streams, Self::Upgrade];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leveret => "leveret ctl",
            Self::Ctl => "rabbitmqctl",
            Self::Diagnostics => "rabbitmq-diagnostics",
            Self::Plugins => "rabbitmq-plugins",
            Self::Queues => "rabbitmq-queues",
            Self::Streams => "rabbitmq-streams",
            Self::Upgrade => "rabbitmq-upgrade",
        }
    }

    /// The tool that a program called like this is.
    pub fn of_program(path: &Path) -> Option<Self> {
        let name = path.file_stem()?.to_str()?;
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_the_tool_it_is_called_like() {
        for (path, tool) in [
            ("/usr/sbin/rabbitmqctl", Some(Tool::Ctl)),
            ("rabbitmq-plugins", Some(Tool::Plugins)),
            ("./rabbitmq-diagnostics", Some(Tool::Diagnostics)),
            ("leveret", None),
            ("rabbitmq-server", None),
        ] {
            assert_eq!(Tool::of_program(Path::new(path)), tool, "{path}");
        }
    }
}
