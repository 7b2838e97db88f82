//! Settings of definitions that are read when the broker starts.

use super::{Group, Remark, Setting, Takes};
use crate::config::definitions::DefinitionsHash;

const NO_HTTPS: &str =
    "definitions cannot be fetched over HTTPS; put them into a file and name it with load_definitions";

pub(super) const GROUP: Group = Group {
    title: "Definitions",
    settings: &[
        Setting {
            key: "load_definitions",
            takes: Takes::FileOrFolder(|draft, _, path| draft.config.definitions.sources.push(path)),
            default: "",
            help: "A file with definitions, or a folder with such files, that is read when the broker starts",
        },
        Setting {
            key: "management.load_definitions",
            takes: Takes::FileOrFolder(|draft, _, path| draft.config.definitions.sources.push(path)),
            default: "",
            help: "The same under its old name",
        },
        Setting {
            key: "definitions.import_backend",
            takes: Takes::Word(
                &[
                    "local_filesystem",
                    "rabbit_definitions_import_local_filesystem",
                    "https",
                    "rabbit_definitions_import_https",
                ],
                |draft, at, name| {
                    if name.ends_with("https") {
                        draft.mistakes.push(Remark::new(at.place, format!("{}: {NO_HTTPS}", at.key())));
                    }
                },
            ),
            default: "local_filesystem",
            help: "Where definitions are: in files",
        },
        Setting {
            key: "definitions.local.path",
            takes: Takes::FileOrFolder(|draft, _, path| draft.config.definitions.sources.push(path)),
            default: "",
            help: "The same as `load_definitions`",
        },
        Setting {
            key: "definitions.skip_if_unchanged",
            takes: Takes::Flag(|draft, _, on| draft.config.definitions.skip_if_unchanged = on),
            default: "false",
            help: "Whether definitions are left alone if they are the same as those that were read last",
        },
        Setting {
            key: "definitions.hashing.algorithm",
            takes: Takes::Word(DefinitionsHash::NAMES, |draft, _, name| {
                draft.config.definitions.hash = DefinitionsHash::parse(name).unwrap_or_default();
            }),
            default: "sha256",
            help: "By what it is seen whether they are",
        },
    ],
};
