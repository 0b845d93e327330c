//! The socket itself: made for its owner alone, and who may come in.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use tokio::net::{UnixListener, UnixStream};

/// Listens, with mode 0600, in a directory that is made with mode 0700 if it is not there. A socket that nobody listens on is
/// replaced; one that somebody does is an error, and so is anything that is no socket.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.with_context(|| format!("cannot make {} for the socket", directory.display()))?;
    }
    clear(path)?;
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    // Who comes in between is asked for its credentials as everybody is.
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    Ok(listener)
}

fn clear(path: &Path) -> anyhow::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.with_context(|| format!("cannot look at {}", path.display()))?,
    };
    anyhow::ensure!(
        metadata.file_type().is_socket(),
        "{} is there and is no socket: give another --socket, or remove it",
        path.display()
    );
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => anyhow::bail!("another agent runs: it listens on {}", path.display()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("cannot remove the old {}", path.display()))
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot tell whether anybody listens on {}", path.display()))
        }
    }
}

/// Whether a client is root, or who the agent itself is.
pub fn may_enter(stream: &UnixStream, owner: u32) -> bool {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == owner => true,
        Ok(peer) => {
            tracing::warn!("uid {} was turned away from the socket", peer.uid());
            false
        }
        Err(error) => {
            tracing::warn!("a client without credentials was turned away from the socket: {error}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_old_socket_is_replaced_and_a_live_one_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/agent.sock");
        drop(bind(&path).unwrap());
        assert!(path.exists());
        // A program that another test starts has the old one, too, until its execve(2).
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let listener = loop {
            match bind(&path) {
                Ok(listener) => break listener,
                Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let error = bind(&path).unwrap_err().to_string();
        assert!(error.contains("another agent runs"), "{error}");
        drop(listener);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(bind(&path).unwrap_err().to_string().contains("no socket"));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn owner_and_root_may_enter() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let me = rustix::process::geteuid().as_raw();
        assert!(may_enter(&ours, me));
        assert_eq!(may_enter(&ours, me + 1), me == 0);
    }
}
