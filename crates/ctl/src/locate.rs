//! Where the control socket of a node on this machine is.
//!
//! The socket is a file in the data folder of its node. So that a node is found by its name, wherever its folder is, each
//! keeps a link to its socket under its name in a folder for all: `/run/leveret` if there is one that it may write to, else
//! `/tmp/leveret-UID`, which is its user's alone. Tools believe what is in `/run/leveret`, as only the system can make that
//! folder, and in the folder of their own user.

use std::env;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// The name of the socket in the data folder.
pub const SOCKET: &str = "control.sock";
/// The folder of links that the system makes.
const SYSTEM_FOLDER: &str = "/run/leveret";
/// Octets that the path of a socket may have.
const PATH_MAX: usize = 107;
/// Where a node keeps its data if nobody says otherwise, and where packages have it.
const USUAL_FOLDERS: [&str; 2] = ["leveret-data", "/var/lib/leveret"];

/// The control socket of the node with that name, or whose data folder that is; the reason if there is none.
pub fn find_socket(node: Option<&str>, data_dir: Option<&Path>) -> Result<PathBuf, String> {
    find(node, data_dir, &link_folders(), |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn find(
    node: Option<&str>,
    data_dir: Option<&Path>,
    link_folders: &[PathBuf],
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Result<PathBuf, String> {
    if let Some(folder) = data_dir {
        return in_folder(folder).ok_or_else(|| format!("no node runs in {}", folder.display()));
    }
    let named = variable("RABBITMQ_NODENAME").map(|name| name.to_string_lossy().into_owned());
    let usual = full_name(named.as_deref().unwrap_or("rabbit"));
    let name = node.map_or_else(|| usual.clone(), full_name);
    let below_base = variable("RABBITMQ_MNESIA_BASE").map(|base| base.join(&name));
    // They are the usual node's. Who names another one must not stop this one.
    let folders = [variable("LEVERET_DATA_DIR"), variable("RABBITMQ_MNESIA_DIR")];
    let set: Vec<PathBuf> = folders.into_iter().flatten().filter(|_| name == usual).chain(below_base).collect();
    let in_set = || set.iter().find_map(|folder| in_folder(folder));
    // Who names a node means that one, whatever is set for the one that is meant otherwise. Who names none, and says where its data
    // are, means the one there and no other.
    let found = match node {
        Some(_) => link_folders.iter().find_map(|folder| linked(folder, &name)).or_else(in_set),
        None if set.is_empty() => link_folders.iter().find_map(|folder| linked(folder, &name)),
        None => {
            let folders: Vec<_> = set.iter().map(|folder| folder.display().to_string()).collect();
            return in_set().ok_or_else(|| format!("no node runs in {}", folders.join(", nor in ")));
        }
    };
    let links: Vec<_> = link_folders.iter().flat_map(|folder| links(folder)).collect();
    if let Some(found) = found {
        return Ok(found);
    }
    // Who names a node, be it in the environment, never means another one: the command may be to reset it.
    if node.is_none() && named.is_none() {
        // In whatever folder the caller happens to be, anybody may have put one there, to be told passwords.
        let own =
            |folder: &&Path| folder.is_absolute() || fs::symlink_metadata(folder).is_ok_and(|found| is_safe(&found));
        if let Some(found) = USUAL_FOLDERS.iter().map(Path::new).filter(own).find_map(in_folder) {
            return Ok(found);
        }
    }
    let others: Vec<_> = links.iter().map(|(name, _)| name.as_str()).collect();
    let others = if others.is_empty() { "none was found".to_owned() } else { others.join(", ") };
    Err(format!(
        "no node {name} was found on this machine (nodes here: {others}; --data-dir says where one has its data)"
    ))
}

/// Folders of links that can be believed.
pub fn link_folders() -> Vec<PathBuf> {
    let system = PathBuf::from(SYSTEM_FOLDER);
    let own = own_link_folder();
    let mut folders = Vec::new();
    if fs::symlink_metadata(&system).is_ok_and(|found| found.is_dir() && found.mode() & 0o002 == 0) {
        folders.push(system);
    }
    if fs::symlink_metadata(&own).is_ok_and(|found| is_own(&found)) {
        folders.push(own);
    }
    folders
}

/// The folder of links that belongs to this process's user; it need not be there.
pub fn own_link_folder() -> PathBuf {
    PathBuf::from(format!("/tmp/leveret-{}", rustix::process::geteuid().as_raw()))
}

/// Whether a folder belongs to this process's user, and to nobody else.
pub fn is_own(folder: &Metadata) -> bool {
    folder.is_dir() && folder.uid() == rustix::process::geteuid().as_raw() && folder.mode() & 0o777 == 0o700
}

/// Whether a folder is this process's user's, and not everybody may put something into it.
fn is_safe(folder: &Metadata) -> bool {
    folder.is_dir() && folder.uid() == rustix::process::geteuid().as_raw() && folder.mode() & 0o002 == 0
}

/// The name of the link to a node's socket.
pub fn link_name(node: &str) -> String {
    // A name must not lead out of the folder, and no two names to the same link.
    let mut name = String::with_capacity(node.len());
    for letter in node.chars() {
        match letter {
            '/' => name.push_str("%2F"),
            '%' => name.push_str("%25"),
            letter if letter.is_control() => name.push('?'),
            letter => name.push(letter),
        }
    }
    name.strip_prefix('.').map(|rest| format!("%2E{rest}")).unwrap_or(name)
}

/// Connects to a socket, wherever it is.
pub fn connect(socket: &Path) -> io::Result<UnixStream> {
    at(socket, |path| UnixStream::connect(path))
}

/// Binds a socket, wherever it is to be.
pub fn bind(socket: &Path) -> io::Result<UnixListener> {
    at(socket, |path| UnixListener::bind(path))
}

/// Does something with a path to `socket` that is short enough for the system.
fn at<T>(socket: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if socket.as_os_str().len() <= PATH_MAX {
        return act(socket);
    }
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else { return act(socket) };
    let folder =
        File::from(rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    act(&short).map_err(|error| {
        let text = format!("the path has more than {PATH_MAX} bytes, and there is no way around over /proc: {error}");
        io::Error::new(error.kind(), text)
    })
}

/// The node's whole name, with this machine's if it has none.
pub(crate) fn full_name(node: &str) -> String {
    if node.contains('@') {
        return node.to_owned();
    }
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let short = host.split('.').next().filter(|short| !short.is_empty()).unwrap_or("localhost");
    format!("{node}@{short}")
}

fn in_folder(folder: &Path) -> Option<PathBuf> {
    let socket = folder.join(SOCKET);
    is_socket(&socket).then_some(socket)
}

/// The socket that a node's link leads to.
fn linked(folder: &Path, node: &str) -> Option<PathBuf> {
    let link = folder.join(link_name(node));
    leads(&link).then_some(link)
}

/// All links that lead to a socket, with the names of their nodes.
fn links(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let links = entries.flatten().map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    let mut links: Vec<_> = links.filter(|(_, path)| leads(path)).collect();
    links.sort();
    links
}

/// Whether a link leads to a socket of the node that made it. One that was killed leaves its link behind; if its data was in a
/// folder like /tmp, somebody else may have put a socket there since.
pub fn leads(link: &Path) -> bool {
    let owner = |found: io::Result<Metadata>| found.map(|found| found.uid()).ok();
    is_socket(link) && owner(fs::symlink_metadata(link)) == owner(fs::metadata(link))
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn nothing_set(_: &str) -> Option<PathBuf> {
        None
    }

    #[test]
    fn a_node_is_found_by_its_folder_its_name_or_the_environment() {
        let temporary = tempfile::tempdir().unwrap();
        let (one, two, links) =
            (temporary.path().join("one"), temporary.path().join("two"), temporary.path().join("links"));
        for folder in [&one, &two, &links] {
            fs::create_dir(folder).unwrap();
        }
        let sockets = [one.join(SOCKET), two.join(SOCKET)];
        let _bound: Vec<_> = sockets.iter().map(|socket| bind(socket).unwrap()).collect();
        symlink(&sockets[0], links.join("one@here")).unwrap();
        let folders = [links.clone()];
        let in_two = |name: &str| (name == "LEVERET_DATA_DIR").then(|| two.clone());
        let below = |name: &str| (name == "RABBITMQ_MNESIA_BASE").then(|| temporary.path().to_owned());
        let link = links.join("one@here");

        assert_eq!(find(Some("x@y"), Some(&one), &folders, in_two), Ok(sockets[0].clone()), "the folder wins");
        assert_eq!(find(Some("one@here"), None, &folders, in_two), Ok(link.clone()), "then the name");
        assert_eq!(find(None, None, &folders, in_two), Ok(sockets[1].clone()), "then the environment");
        let nowhere = |name: &str| (name == "LEVERET_DATA_DIR").then(|| links.clone());
        let missing = find(None, None, &folders, nowhere).unwrap_err();
        assert!(missing.starts_with("no node runs in "), "no other one is meant: {missing}");
        let other = find(Some("three"), None, &folders, in_two).unwrap_err();
        assert!(other.contains("three@"), "the environment means another one: {other}");
        let missing = find(Some("two"), None, &folders, below).unwrap_err();
        assert!(missing.contains("one@here"), "{missing}");
        fs::rename(&two, temporary.path().join(full_name("two"))).unwrap();
        let moved = temporary.path().join(full_name("two")).join(SOCKET);
        assert_eq!(find(Some("two"), None, &folders, below), Ok(moved), "a folder below the base");
        let other = find(None, None, &folders, nothing_set).unwrap_err();
        assert!(other.contains("nodes here: one@here"), "who names none means the usual one: {other}");
        let named = |name: &str| (name == "RABBITMQ_NODENAME").then(|| PathBuf::from("three@here"));
        let missing = find(None, None, &folders, named).unwrap_err();
        assert!(missing.starts_with("no node three@here was found"), "another one is named: {missing}");
        let missing = find(None, Some(&links), &folders, nothing_set).unwrap_err();
        assert!(missing.starts_with("no node runs in "), "{missing}");
    }

    #[test]
    fn a_link_to_the_socket_of_somebody_else_is_not_believed() {
        let temporary = tempfile::tempdir().unwrap();
        let (socket, link) = (temporary.path().join(SOCKET), temporary.path().join("one@here"));
        symlink(&socket, &link).unwrap();
        assert!(!leads(&link), "there is none");
        let _listener = bind(&socket).unwrap();
        assert!(leads(&link));
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can give a socket away");
            return;
        }
        std::os::unix::fs::chown(&socket, Some(65534), None).unwrap();
        assert!(!leads(&link));
        assert_eq!(linked(temporary.path(), "one@here"), None);
    }

    #[test]
    fn a_path_may_be_long() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("x".repeat(200));
        fs::create_dir(&folder).unwrap();
        let socket = folder.join(SOCKET);
        let _listener = bind(&socket).unwrap();
        assert!(is_socket(&socket));
        connect(&socket).unwrap();
    }

    #[test]
    fn no_name_of_a_node_leads_out_of_the_folder() {
        for (node, link) in [
            ("rabbit@host", "rabbit@host"),
            ("../../etc/x", "%2E.%2F..%2Fetc%2Fx"),
            ("a%2Fb", "a%252Fb"),
            ("..", "%2E."),
        ] {
            assert_eq!(link_name(node), link);
        }
    }

    #[test]
    fn only_a_folder_of_ones_own_is_believed() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().unwrap();
        for (mode, believed) in [(0o700, true), (0o755, false), (0o777, false)] {
            fs::set_permissions(temporary.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_own(&fs::symlink_metadata(temporary.path()).unwrap()), believed, "{mode:o}");
        }
        for (mode, safe) in [(0o700, true), (0o775, true), (0o757, false)] {
            fs::set_permissions(temporary.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_safe(&fs::symlink_metadata(temporary.path()).unwrap()), safe, "{mode:o}");
        }
        let link = temporary.path().join("link");
        symlink(temporary.path(), &link).unwrap();
        assert!(!is_safe(&fs::symlink_metadata(&link).unwrap()), "it may lead anywhere");
    }
}
