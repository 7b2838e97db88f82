//! Settings of the node itself: its name, its folder, what it offers clients.

use std::time::Duration;

use super::{Group, Setting, Takes};
use crate::config::SyncMode;

/// The largest body that can be allowed, in octets.
const MESSAGE_SIZE_MAX: u64 = 512 * 1024 * 1024;
/// The smallest frame that every client has to take, in octets.
const FRAME_MIN: u64 = 8192;
const FRAME_MAX: u64 = 16 * 1024 * 1024;
const THREADS_MAX: u64 = 1024;
/// The longest wait for a login, in milliseconds.
const HANDSHAKE_MAX_MS: u64 = 60 * 60 * 1000;
const SYNC_INTERVAL_MAX_MS: u64 = 60_000;

pub(super) const CLIENTS: Group = Group {
    title: "What clients are offered",
    settings: &[
        Setting {
            key: "heartbeat",
            takes: Takes::Number(0, u16::MAX as u64, |draft, _, seconds| {
                draft.config.heartbeat_seconds = u16::try_from(seconds).unwrap_or(u16::MAX);
            }),
            default: "60",
            help: "Heartbeat interval offered to clients, in seconds; 0 offers none",
        },
        Setting {
            key: "frame_max",
            takes: Takes::Size(FRAME_MIN, FRAME_MAX, |draft, _, size| {
                draft.config.frame_max = u32::try_from(size).unwrap_or(u32::MAX);
            }),
            default: "131072",
            help: "Largest frame offered to clients, in bytes",
        },
        Setting {
            key: "channel_max",
            takes: Takes::Number(0, u16::MAX as u64, |draft, _, channels| {
                draft.config.channel_max = u16::try_from(channels).unwrap_or(u16::MAX);
            }),
            default: "2047",
            help: "Channels that a connection may have open at once; 0 is as many as there can be",
        },
        Setting {
            key: "max_channels_per_connection",
            takes: Takes::Number(0, u16::MAX as u64, |draft, _, channels| {
                draft.config.channel_max = u16::try_from(channels).unwrap_or(u16::MAX);
            }),
            default: "2047",
            help: "The same under its new name",
        },
        Setting {
            key: "max_message_size",
            takes: Takes::Size(1, MESSAGE_SIZE_MAX, |draft, _, size| draft.config.max_message_size = size),
            default: "16777216",
            help: "Largest message body that a client may publish, in bytes",
        },
        Setting {
            key: "handshake_timeout",
            takes: Takes::Number(1, HANDSHAKE_MAX_MS, |draft, _, ms| {
                draft.config.handshake_timeout = Duration::from_millis(ms);
            }),
            default: "10000",
            help: "How long clients may take to log in, in milliseconds",
        },
        Setting {
            key: "product.name",
            takes: Takes::Name(|draft, _, name| draft.config.product = name),
            default: "RabbitMQ",
            help: "Name of the broker that clients are told; some switch features on it",
        },
        Setting {
            key: "product.version",
            takes: Takes::Name(|draft, _, version| draft.config.version = version),
            default: leveret_ctl::RABBITMQ_VERSION,
            help: "Version of the broker that clients are told; some switch features on it",
        },
        Setting {
            key: "cluster_name",
            takes: Takes::Name(|draft, _, name| draft.cluster_name = Some(name)),
            default: "",
            help: "Name of the cluster that clients are told; the node's if it is not set",
        },
    ],
};

pub(super) const SOCKETS: Group = Group {
    title: "Sockets of clients",
    settings: &[
        Setting {
            key: "tcp_listen_options.backlog",
            takes: Takes::Number(1, i32::MAX as u64, |draft, _, backlog| {
                draft.config.sockets.backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
            }),
            default: "4096",
            help: "Connections that the system keeps until they are accepted",
        },
        Setting {
            key: "tcp_listen_options.nodelay",
            takes: Takes::Flag(|draft, _, on| draft.config.sockets.nodelay = on),
            default: "true",
            help: "Whether small writes go out at once (`TCP_NODELAY`)",
        },
        Setting {
            key: "tcp_listen_options.keepalive",
            takes: Takes::Flag(|draft, _, on| draft.config.sockets.keepalive = on),
            default: "false",
            help: "Whether the system looks after silent connections (`SO_KEEPALIVE`)",
        },
        Setting {
            key: "tcp_listen_options.sndbuf",
            takes: Takes::Size(1, i32::MAX as u64, |draft, _, size| {
                draft.config.sockets.send_buffer = size.try_into().ok();
            }),
            default: "",
            help: "Room that the system has for what is written to a connection, in bytes; as much as it sees fit if not set",
        },
        Setting {
            key: "tcp_listen_options.recbuf",
            takes: Takes::Size(1, i32::MAX as u64, |draft, _, size| {
                draft.config.sockets.receive_buffer = size.try_into().ok();
            }),
            default: "",
            help: "The same for what has come and is yet to be read",
        },
        Setting {
            key: "tcp_listen_options.linger.on",
            takes: Takes::Flag(|draft, _, on| draft.config.sockets.linger.0 = on),
            default: "false",
            help: "Whether a connection that is closed drops what the client has not taken within `linger.timeout`",
        },
        Setting {
            key: "tcp_listen_options.linger.timeout",
            takes: Takes::Number(0, u16::MAX as u64, |draft, _, seconds| {
                draft.config.sockets.linger.1 = Duration::from_secs(seconds);
            }),
            default: "0",
            help: "How long that is, in seconds",
        },
    ],
};

pub(super) const OWN: Group = Group {
    title: "Settings that RabbitMQ does not have",
    settings: &[
        Setting {
            key: "leveret.node_name",
            takes: Takes::Name(|draft, at, name| {
                if name.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()) {
                    draft.config.node_name = name;
                } else {
                    let text = format!("{}: expected a name, an @ and a host, such as rabbit@localhost", at.key());
                    draft.mistakes.push(super::Remark::new(at.place, text));
                }
            }),
            default: "",
            help: "Name of the node; `rabbit@` and the name of this machine if it is not set",
        },
        Setting {
            key: "leveret.data_dir",
            takes: Takes::Name(|draft, _, folder| draft.config.data_dir = folder.into()),
            default: "./leveret-data",
            help: "Folder for the broker's data; made if it is not there",
        },
        Setting {
            key: "leveret.sync",
            takes: Takes::Sync(|draft, _, mode| draft.config.sync = mode),
            default: "commit",
            help: "When confirmed messages are synced to disk; with `interval` and `os`, a power cut loses some",
        },
        Setting {
            key: "leveret.memory_budget",
            takes: Takes::Size(0, u64::MAX, |draft, _, size| draft.config.memory_budget = size),
            default: "",
            help: "Waiting messages that stay in memory, in bytes; 40 % of memory if it is not set. More go to disk",
        },
        Setting {
            key: "leveret.threads",
            takes: Takes::Number(1, THREADS_MAX, |draft, _, threads| {
                draft.config.threads = usize::try_from(threads).unwrap_or(usize::MAX);
            }),
            default: "",
            help: "Threads that serve connections; one per core if it is not set",
        },
        Setting {
            key: "leveret.tls.more_certificates",
            takes: Takes::FileOrFolder(|draft, at, folder| {
                draft.tls.set(at, |tls| tls.more_certificates = Some(folder));
            }),
            default: "",
            help: "Folder with more certificates, x.crt or x.pem with x.key, for clients that ask for one of their names",
        },
        Setting {
            key: "leveret.enabled_plugins_file",
            takes: Takes::Name(|draft, _, file| draft.config.plugins.file = Some(file.into())),
            default: "",
            help: "File with the names of the plugins that are enabled",
        },
        Setting {
            key: "leveret.enabled_plugins",
            takes: Takes::Text(|draft, _, names| {
                let names = names.split([',', ' ']).filter(|name| !name.is_empty()).map(ToOwned::to_owned);
                draft.config.plugins.enabled = Some(names.collect());
            }),
            default: "",
            help: "Names of plugins, with commas between them, that take the place of those in that file",
        },
        Setting {
            key: "leveret.pid_file",
            takes: Takes::Name(|draft, _, file| draft.config.pid_file = Some(file.into())),
            default: "",
            help: "File that has the number of the process while it runs",
        },
    ],
};

pub(super) const DECODER: Group = Group {
    title: "Values that are encrypted",
    settings: &[
        Setting {
            key: "config_entry_decoder.passphrase",
            takes: Takes::Secret(|_, _, _| {}),
            default: "",
            help: "Opens values that begin with `encrypted:`; `file:` and a name takes it from the first line of a file",
        },
        Setting {
            key: "config_entry_decoder.cipher",
            takes: Takes::Word(leveret_auth::sealed::Cipher::NAMES, |_, _, _| {}),
            default: "",
            help: "By what they are encrypted; without cipher, hash and iterations, what RabbitMQ and Leveret do by themselves is tried",
        },
        Setting {
            key: "config_entry_decoder.hash",
            takes: Takes::Word(leveret_auth::sealed::Hash::NAMES, |_, _, _| {}),
            default: "",
            help: "By what the passphrase becomes a key",
        },
        Setting {
            key: "config_entry_decoder.iterations",
            takes: Takes::Number(1, 10_000_000, |_, _, _| {}),
            default: "",
            help: "In how many rounds",
        },
    ],
};

/// Reads when to sync.
pub(super) fn sync_mode(text: &str) -> Option<SyncMode> {
    match text {
        "commit" => Some(SyncMode::Commit),
        "os" => Some(SyncMode::Os),
        _ => {
            let interval: u64 = text.strip_prefix("interval:")?.parse().ok()?;
            (1..=SYNC_INTERVAL_MAX_MS).contains(&interval).then(|| SyncMode::Interval(Duration::from_millis(interval)))
        }
    }
}
