//! Where the control socket of a node on this machine is.

use std::path::{Path, PathBuf};

/// The name of the socket in the data folder.
pub const SOCKET: &str = "control.sock";

/// The control socket of the node with that name, or whose data folder that is; the reason if there is none.
pub fn find_socket(_node: Option<&str>, data_dir: Option<&Path>) -> Result<PathBuf, String> {
    let variable = || std::env::var_os("LEVERET_DATA_DIR").map(PathBuf::from);
    let folder = data_dir.map(Path::to_owned).or_else(variable).unwrap_or_else(|| PathBuf::from("leveret-data"));
    let socket = folder.join(SOCKET);
    if socket.exists() { Ok(socket) } else { Err(format!("no node runs in {}", folder.display())) }
}
