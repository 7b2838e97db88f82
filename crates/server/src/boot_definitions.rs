//! Definitions that are imported when the node starts, before anybody can connect: all files or none.

use std::fmt::Write;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use leveret_auth::hash::Hashing;
use leveret_broker::node::Node;
use leveret_broker::topology::Change;
use leveret_broker::value::Value;
use leveret_management::definitions::{self, Definitions, Import, Lines, Report, Scope, Source};
use zeroize::Zeroizing;

use crate::config::definitions::{DefinitionsHash, DefinitionsSettings};
use crate::error::StartError;

/// The parameter that says which definitions were imported last, as in RabbitMQ.
const HASH_PARAMETER: &str = "imported_definition_hash_value";

/// A file that was read.
struct File {
    path: String,
    /// It may have passwords in it.
    text: Zeroizing<String>,
}

/// Imports the files that the settings name, if they name any.
pub(crate) fn import(settings: &DefinitionsSettings, node: &Node, hashing: Hashing) -> Result<(), StartError> {
    if settings.sources.is_empty() {
        return Ok(());
    }
    let files = files(&settings.sources)?;
    // A node with definitions of its own does without the user and vhost that others begin with.
    let mut also = vec![Change::WaiveDefaults];
    if settings.skip_if_unchanged {
        let hash = Value::text(&hash(settings.hash, &files));
        if node.read(|topology| topology.global_parameter(HASH_PARAMETER) == Ok(&hash)) {
            tracing::info!("definitions are the same as those that were imported last, and are left alone");
            return Ok(());
        }
        also.push(Change::SetGlobalParameter { name: HASH_PARAMETER.into(), value: hash });
    }
    let read = |file: &File| definitions::read(&file.text).map_err(|error| wrong(&format!("{}: {error}", file.path)));
    let read: Vec<Definitions> = files.iter().map(read).collect::<Result<_, _>>()?;
    let paths = files.iter().map(|file| file.path.as_str());
    let sources: Vec<Source<'_>> =
        paths.zip(&read).map(|(path, definitions)| Source { label: Some(path), definitions }).collect();
    let import = Import { sources: &sources, scope: Scope::All, hashing, also: &also, lines: Lines::None };
    let report = definitions::import(node, &import, &mut |_| ControlFlow::Continue(()));
    tell(&report.map_err(|error| wrong(&error))?, files.len());
    Ok(())
}

fn wrong(error: &dyn ToString) -> StartError {
    StartError::Definitions { reason: error.to_string() }
}

fn tell(report: &Report, files: usize) {
    for warning in report.warnings() {
        tracing::warn!("definitions: {warning}");
    }
    if report.warnings_dropped() > 0 {
        tracing::warn!("definitions: {} more warnings", report.warnings_dropped());
    }
    let mut counts = String::new();
    for (kind, counted) in report.counts() {
        // Writing to a text cannot fail.
        let _ = write!(counts, ", {kind}: {} new, {} changed", counted.created, counted.changed);
    }
    tracing::info!("definitions imported, files: {files}{counts}");
}

/// Reads files, and of folders those whose names end in `.json`, in the order of their names.
fn files(sources: &[PathBuf]) -> Result<Vec<File>, StartError> {
    let mut paths = Vec::new();
    for source in sources {
        if source.is_dir() {
            let mut within = json_files(source).map_err(|error| unreadable(source, &error))?;
            within.sort();
            paths.append(&mut within);
        } else {
            paths.push(source.clone());
        }
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        Ok(File { path: path.display().to_string(), text: Zeroizing::new(text) })
    };
    paths.into_iter().map(read).collect()
}

fn json_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json") && path.is_file();
    paths.filter(|path| path.as_ref().map_or(true, is_json)).collect()
}

fn unreadable(path: &Path, error: &io::Error) -> StartError {
    wrong(&format!("{}: {error}", path.display()))
}

/// What tells these files from others, in hexadecimal digits.
fn hash(algorithm: DefinitionsHash, files: &[File]) -> String {
    let mut context = digest::Context::new(match algorithm {
        DefinitionsHash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        DefinitionsHash::Sha224 => &digest::SHA224,
        DefinitionsHash::Sha256 => &digest::SHA256,
        DefinitionsHash::Sha384 => &digest::SHA384,
        DefinitionsHash::Sha512 => &digest::SHA512,
    });
    for File { text, .. } in files {
        // What is in one file must not count for the same in two.
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    }
    let mut digits = String::new();
    for octet in context.finish().as_ref() {
        let _ = write!(digits, "{octet:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use leveret_broker::node::Surroundings;
    use serde_json::{Value as Json, json};

    use super::*;

    fn node() -> Node {
        Node::within(Surroundings { defaults: None, ..Surroundings::default() })
    }

    fn write(folder: &Path, name: &str, definitions: &Json) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, definitions.to_string()).unwrap();
        path
    }

    fn run(settings: &DefinitionsSettings, node: &Node) -> Result<(), String> {
        import(settings, node, Hashing::default()).map_err(|error| error.to_string())
    }

    fn vhosts(node: &Node) -> Vec<String> {
        let mut names: Vec<String> =
            node.read(|topology| topology.vhosts().map(|vhost| vhost.name().to_string()).collect());
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_imported_in_the_order_of_its_names() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "2.json", &json!({"queues": [{"name": "q", "vhost": "v", "durable": true}]}));
        write(folder.path(), "1.json", &json!({"vhosts": [{"name": "v"}]}));
        fs::write(folder.path().join("0.txt"), "not for us").unwrap();
        let settings =
            DefinitionsSettings { sources: vec![folder.path().to_owned()], ..DefinitionsSettings::default() };
        let node = node();
        run(&settings, &node).unwrap();
        assert_eq!(vhosts(&node), ["v"], "and nothing that others begin with");
        assert!(node.read(|topology| topology.vhost("v").unwrap().any_queue("q").is_ok()));
        assert!(node.read(|topology| topology.global_parameter(HASH_PARAMETER).is_err()), "nobody asked for it");
    }

    #[test]
    fn a_wrong_file_keeps_the_node_from_starting_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let right = write(folder.path(), "a.json", &json!({"vhosts": [{"name": "v"}]}));
        let wrong = write(folder.path(), "b.json", &json!({"queues": [{"name": "q", "vhost": "w"}]}));
        let no_json = folder.path().join("c.json");
        fs::write(&no_json, "{\n\"queues\": [,]}").unwrap();
        for (file, expected) in [
            (wrong, "b.json: queues[0].vhost: vhost w not found"),
            (no_json, "c.json: line 2, column 12: expected value"),
            (folder.path().join("d.json"), "d.json: No such file or directory (os error 2)"),
        ] {
            let settings = DefinitionsSettings { sources: vec![right.clone(), file], ..DefinitionsSettings::default() };
            let node = node();
            let error = run(&settings, &node).unwrap_err();
            let expected = format!("cannot import definitions: {}/{expected}", folder.path().display());
            assert_eq!(error, expected);
            assert_eq!(vhosts(&node), [""; 0]);
            assert_eq!(node.durable_records().0, []);
        }
    }

    #[test]
    fn what_has_not_changed_is_left_alone_if_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = write(folder.path(), "a.json", &json!({"vhosts": [{"name": "v"}]}));
        for hash in DefinitionsHash::NAMES {
            let hash = DefinitionsHash::parse(hash).unwrap();
            let settings = DefinitionsSettings { sources: vec![file.clone()], skip_if_unchanged: true, hash };
            let node = node();
            run(&settings, &node).unwrap();
            node.apply(Change::DeleteVhost { vhost: "v".into() }).unwrap();
            run(&settings, &node).unwrap();
            assert_eq!(vhosts(&node), [""; 0], "{hash:?}");
            let other = write(folder.path(), "b.json", &json!({"vhosts": [{"name": "v"}, {"name": "w"}]}));
            run(&DefinitionsSettings { sources: vec![other], ..settings }, &node).unwrap();
            assert_eq!(vhosts(&node), ["v", "w"], "{hash:?}");
        }
    }

    #[test]
    fn hashes_are_the_usual_ones() {
        let file = |text: &str| File { path: String::new(), text: Zeroizing::new(text.to_owned()) };
        for (algorithm, digits) in [
            (DefinitionsHash::Sha1, 40),
            (DefinitionsHash::Sha224, 56),
            (DefinitionsHash::Sha256, 64),
            (DefinitionsHash::Sha384, 96),
            (DefinitionsHash::Sha512, 128),
        ] {
            assert_eq!(hash(algorithm, &[file("x")]).len(), digits, "{algorithm:?}");
        }
        let parted = hash(DefinitionsHash::Sha256, &[file("a"), file("b")]);
        assert_ne!(parted, hash(DefinitionsHash::Sha256, &[file("ab"), file("")]));
    }
}
