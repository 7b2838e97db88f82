//! The file `enabled_plugins`: an Erlang list of names, such as `[rabbitmq_management,rabbitmq_sharding].`
//!
//! A node reads it when it starts; tools change it through the node, or by themselves while the node is stopped.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Chars;

/// Its name in the data folder.
pub const FILE: &str = "enabled_plugins";
/// Where it is on machines that were set up for `RabbitMQ`.
const SYSTEM_FILE: &str = "/etc/rabbitmq/enabled_plugins";
/// The variable that says where it is.
const VARIABLE: &str = "RABBITMQ_ENABLED_PLUGINS_FILE";

/// Why the file is not used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no list of names.
    #[error("{}:{line}: expected {expected}, as in [rabbitmq_management].", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What should be there.
        expected: &'static str,
    },
}

/// Where the file is, or would be: where the environment says, else in the data folder, unless only the system has one.
pub fn path(data_dir: &Path, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    if let Some(path) = variable(VARIABLE).filter(|path| !path.is_empty()) {
        return path.into();
    }
    let path = data_dir.join(FILE);
    let system = Path::new(SYSTEM_FILE);
    if !path.exists() && system.exists() { system.to_owned() } else { path }
}

/// Reads the names in it; `None` if there is no file.
pub fn read(path: &Path) -> Result<Option<BTreeSet<String>>, FileError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FileError::Read { path: path.to_owned(), source }),
    };
    parse(&text).map(Some).map_err(|(line, expected)| FileError::Wrong { path: path.to_owned(), line, expected })
}

/// Writes these names into it.
pub fn write(path: &Path, names: &BTreeSet<String>) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let text = render(names);
    let replaced = fs::write(&beside, &text).and_then(|()| fs::rename(&beside, path));
    if replaced.is_ok() {
        return Ok(());
    }
    // Where the folder is another's, or the file was mounted by itself, it can be changed only in place.
    let _ = fs::remove_file(&beside);
    fs::write(path, text).map_err(failed)
}

/// As the file has them.
fn render(names: &BTreeSet<String>) -> String {
    let names: Vec<_> = names.iter().map(|name| atom(name)).collect();
    format!("[{}].\n", names.join(","))
}

/// A name as Erlang writes it.
fn atom(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(is_atom);
    if is_plain { name.to_owned() } else { format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'")) }
}

const fn is_atom(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '@')
}

/// Reads the list; if it is none, says in which line what was expected.
fn parse(text: &str) -> Result<BTreeSet<String>, (usize, &'static str)> {
    let mut reader = Reader { letters: text.chars().peekable(), line: 1 };
    reader.skip();
    // Without a term there is no plugin.
    if reader.letters.peek().is_none() {
        return Ok(BTreeSet::new());
    }
    reader.list().map_err(|expected| (reader.line, expected))
}

struct Reader<'a> {
    letters: Peekable<Chars<'a>>,
    line: usize,
}

impl Reader<'_> {
    fn list(&mut self) -> Result<BTreeSet<String>, &'static str> {
        let mut names = BTreeSet::new();
        self.expect('[', "a list, which begins with [")?;
        if !self.takes(']') {
            loop {
                names.insert(self.name()?);
                if self.takes(']') {
                    break;
                }
                self.expect(',', "a comma or ] behind a name")?;
            }
        }
        self.expect('.', "a full stop behind the list")?;
        self.skip();
        if self.letters.peek().is_some() { Err("nothing behind the list") } else { Ok(names) }
    }

    fn name(&mut self) -> Result<String, &'static str> {
        const EXPECTED: &str = "the name of a plugin";
        self.skip();
        let mut name = String::new();
        match self.next() {
            Some('\'') => loop {
                match self.next().ok_or(EXPECTED)? {
                    '\'' => return if name.is_empty() { Err(EXPECTED) } else { Ok(name) },
                    '\\' => name.push(self.next().ok_or(EXPECTED)?),
                    letter => name.push(letter),
                }
            },
            Some(first) if first.is_ascii_lowercase() => name.push(first),
            Some(_) | None => return Err(EXPECTED),
        }
        while let Some(letter) = self.letters.next_if(|letter| is_atom(*letter)) {
            name.push(letter);
        }
        Ok(name)
    }

    fn expect(&mut self, letter: char, expected: &'static str) -> Result<(), &'static str> {
        if self.takes(letter) { Ok(()) } else { Err(expected) }
    }

    /// Takes this letter, if it is the next one behind white space.
    fn takes(&mut self, letter: char) -> bool {
        self.skip();
        self.letters.next_if_eq(&letter).is_some()
    }

    /// Skips white space and comments.
    fn skip(&mut self) {
        while let Some(&letter) = self.letters.peek() {
            if letter == '%' {
                while self.letters.next_if(|letter| *letter != '\n').is_some() {}
            } else if letter.is_whitespace() {
                self.next();
            } else {
                return;
            }
        }
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.letters.next();
        if letter == Some('\n') {
            self.line += 1;
        }
        letter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn lists_of_names_are_read() {
        for (text, expected) in [
            ("[rabbitmq_management].", &["rabbitmq_management"][..]),
            ("[a,b,\n c]. % the last\n", &["a", "b", "c"]),
            ("% none\n[ ] .\n", &[]),
            ("", &[]),
            ("% nothing\n\n", &[]),
            (r"['a-b','it\'s',c@d_1].", &["a-b", "it's", "c@d_1"]),
            ("[a,a].", &["a"]),
        ] {
            assert_eq!(parse(text), Ok(names(expected)), "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_names_is_told_with_its_line() {
        for (text, line, expected) in [
            ("rabbitmq_management", 1, "["),
            ("[a,\nB].", 2, "name"),
            ("[a\nb].", 2, "comma"),
            ("[a]", 1, "full stop"),
            ("[a].\n[b].", 2, "nothing"),
            ("[a,].", 1, "name"),
            ("['a].", 1, "name"),
            ("[\"a\"].", 1, "name"),
        ] {
            let (at, told) = parse(text).unwrap_err();
            assert_eq!(at, line, "{text}");
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(read(&path).unwrap(), None);
        for list in [&[][..], &["rabbitmq_management"], &["Odd one", "it's", "plain"]] {
            write(&path, &names(list)).unwrap();
            assert_eq!(read(&path).unwrap(), Some(names(list)), "{}", fs::read_to_string(&path).unwrap());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        write(&path, &names(&["b", "a"])).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[a,b].\n");
    }

    #[test]
    fn the_environment_says_where_it_is_before_the_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path_with =
            |value: Option<&str>| path(folder.path(), |name| value.filter(|_| name == VARIABLE).map(Into::into));
        fs::write(folder.path().join(FILE), "[].").unwrap();
        assert_eq!(path_with(Some("/elsewhere")), Path::new("/elsewhere"));
        assert_eq!(path_with(Some("")), folder.path().join(FILE));
        assert_eq!(path_with(None), folder.path().join(FILE));
    }
}
