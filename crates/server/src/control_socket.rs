//! The socket in the data folder that tools on this machine speak to, and the link by which they find it.
//!
//! Who may open its file may do everything, so nobody else ever can: it is made in a folder that only its user may enter, and
//! moved to its place once its permissions are what they should be. That also takes the place of one that a dead node left;
//! that no other node lives, the lock of the data folder says.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leveret_ctl::locate::{self, SOCKET};
use leveret_management::control::{self, Control, Gate};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::StartError;

/// The folder that the socket is made in.
const CRADLE: &str = "control.new";
/// Only its user may use it.
const SOCKET_MODE: u32 = 0o600;
/// Only its user may enter it.
const FOLDER_MODE: u32 = 0o700;
/// Connections at once, beyond which others wait.
const CONNECTIONS_MAX: usize = 256;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Pause between looks whether the link is still there: what tidies up in /tmp takes it away after days.
const LINK_CARE: Duration = Duration::from_mins(10);
/// How long those who were answered last may take to read it when the node stops.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The socket, at which somebody answers until it is closed.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
    link: Link,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl ControlSocket {
    /// Opens the socket in a data folder that is locked.
    pub(crate) fn open(
        data_dir: &Path,
        node: &str,
        control: Arc<Control>,
        runtime: &Handle,
    ) -> Result<Self, StartError> {
        let path = data_dir.join(SOCKET);
        let failed = |source| StartError::ControlSocket { path: path.clone(), source };
        let listener = bind(data_dir).map_err(failed)?;
        let listener = {
            let _entered = runtime.enter();
            UnixListener::from_std(listener).map_err(failed)?
        };
        let link = Link { node: node.to_owned(), socket: path.clone() };
        link.keep();
        let (stop, stopped) = watch::channel(false);
        let task = runtime.spawn(accept(listener, control, link.clone(), stopped));
        Ok(Self { path, link, stop, task })
    }

    /// Lets those who were answered read it, and takes the socket away.
    pub(crate) fn close(self, runtime: &Handle) {
        let _ = self.stop.send(true);
        self.link.remove();
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!("cannot remove {}: {error}", self.path.display());
        }
        let _ = runtime.block_on(async { tokio::time::timeout(LAST_ANSWERS, self.task).await });
    }
}

/// Makes the socket, and puts it where it belongs.
fn bind(data_dir: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let cradle = data_dir.join(CRADLE);
    match fs::remove_dir_all(&cradle) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(FOLDER_MODE).create(&cradle)?;
    let new = cradle.join(SOCKET);
    let listener = locate::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(SOCKET_MODE))?;
    fs::rename(&new, data_dir.join(SOCKET))?;
    fs::remove_dir(&cradle)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers those who connect, until told to stop.
async fn accept(listener: UnixListener, control: Arc<Control>, link: Link, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut care = tokio::time::interval(LINK_CARE);
    loop {
        while connections.try_join_next().is_some() {}
        let has_room = connections.len() < CONNECTIONS_MAX;
        tokio::select! {
            _ = stop.changed() => break,
            _ = care.tick() => link.keep(),
            _ = connections.join_next(), if !has_room => {}
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&control), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection to the control socket: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: UnixStream, control: Arc<Control>, mut stop: watch::Receiver<bool>) {
    let end = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    control::serve(stream, Gate::Local, control, end).await;
}

/// The link under the node's name that leads to its socket.
#[derive(Debug, Clone)]
struct Link {
    node: String,
    socket: PathBuf,
}

impl Link {
    /// Makes it if it is not there. A node is found without it, too, so that it is not worth failing for.
    fn keep(&self) {
        if let Err(error) = self.make() {
            tracing::debug!("tools find this node by its data folder only: {error}");
        }
    }

    fn make(&self) -> io::Result<()> {
        let own = locate::own_link_folder();
        if fs::symlink_metadata(&own).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            match DirBuilder::new().mode(FOLDER_MODE).create(&own) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let mut result = Err(io::Error::other(format!("{} belongs to somebody else", own.display())));
        for folder in locate::link_folders() {
            result = self.make_in(&folder);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn make_in(&self, folder: &Path) -> io::Result<()> {
        let link = folder.join(locate::link_name(&self.node));
        match fs::read_link(&link) {
            Ok(target) if target == self.socket => return Ok(()),
            // Another one of this name, with its data elsewhere, was first.
            Ok(_) if locate::leads(&link) && locate::connect(&link).is_ok() => {
                return Err(io::Error::other(format!("another node {} runs on this machine", self.node)));
            }
            Ok(_) | Err(_) => {}
        }
        let new = folder.join(format!(".{}.{}", locate::link_name(&self.node), std::process::id()));
        let _ = fs::remove_file(&new);
        symlink(&self.socket, &new)?;
        fs::rename(&new, &link).inspect_err(|_| {
            let _ = fs::remove_file(&new);
        })
    }

    /// Takes it away, unless it leads elsewhere.
    fn remove(&self) {
        for folder in locate::link_folders() {
            let link = folder.join(locate::link_name(&self.node));
            if fs::read_link(&link).is_ok_and(|target| target == self.socket) {
                let _ = fs::remove_file(&link);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt;

    use super::*;

    #[test]
    fn the_socket_is_its_users_alone_and_takes_the_place_of_a_dead_ones() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..3 {
            // Each is left behind as by a process that was killed.
            let listener = bind(folder.path()).unwrap();
            let found = fs::symlink_metadata(folder.path().join(SOCKET)).unwrap();
            assert!(found.file_type().is_socket(), "round {round}");
            assert_eq!(found.permissions().mode() & 0o777, SOCKET_MODE, "round {round}");
            locate::connect(&folder.path().join(SOCKET)).unwrap();
            listener.accept().unwrap();
            fs::create_dir_all(folder.path().join(CRADLE)).unwrap();
        }
    }

    #[test]
    fn the_link_of_a_live_node_stays_and_that_of_a_dead_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, links] = ["one", "two", "links"].map(|name| folder.path().join(name));
        for folder in [&one, &two, &links] {
            fs::create_dir(folder).unwrap();
        }
        let link = |data: &Path| Link { node: "rabbit@here".into(), socket: data.join(SOCKET) };
        let leads_to = || fs::read_link(links.join("rabbit@here")).unwrap();
        let listener = bind(&one).unwrap();
        for _ in 0..2 {
            link(&one).make_in(&links).unwrap();
        }
        assert!(link(&two).make_in(&links).is_err(), "the first one lives");
        assert_eq!(leads_to(), one.join(SOCKET));
        drop(listener);
        link(&two).make_in(&links).unwrap();
        assert_eq!(leads_to(), two.join(SOCKET));
        assert_eq!(fs::read_dir(&links).unwrap().count(), 1);
    }
}
