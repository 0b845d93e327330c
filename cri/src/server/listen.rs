//! The socket that requests come through: systemd's, or one of our own.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, sockopt};

/// The first descriptor of socket activation, sd_listen_fds(3).
const FIRST_PASSED: i32 = 3;

/// The socket of systemd's socket unit where there is one, else a new one at `path`: for root and its group.
///
/// # Errors
/// Somebody serves there already; something else than a socket is there; systemd's is one that nobody can connect to so.
pub fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(listener) = passed()? {
        return Ok(listener);
    }
    let what = || format!("listen on {}", path.display());
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).with_context(what)?;
    }
    remove_stale(path)?;
    let listener = UnixListener::bind(path).with_context(what)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).with_context(what)?;
    Ok(listener)
}

fn passed() -> anyhow::Result<Option<UnixListener>> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(None);
    }
    match number("LISTEN_FDS") {
        None | Some(0) => Ok(None),
        Some(1) => {
            let socket = rcrun::sys::process::take_passed(FIRST_PASSED).context("take systemd's socket")?;
            // Else it would look like a server that nobody reaches.
            ensure!(
                is_listener(&socket).context("look at systemd's socket")?,
                "systemd's socket is not a unix stream socket that listens; the socket unit must have a path as its ListenStream"
            );
            Ok(Some(UnixListener::from(socket)))
        }
        Some(more) => bail!("systemd passes {more} sockets; the socket unit may have one ListenStream"),
    }
}

fn is_listener(socket: &OwnedFd) -> Result<bool, Errno> {
    Ok(sockopt::socket_domain(socket)? == AddressFamily::UNIX
        && sockopt::socket_type(socket)? == SocketType::STREAM
        && sockopt::socket_acceptconn(socket)?)
}

/// A socket outlives a process that was killed. One that somebody answers on is not touched.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        there => there.with_context(|| format!("look at {}", path.display()))?,
    };
    if !there.file_type().is_socket() {
        bail!(
            "listen on {}: something else than a socket is there; remove it, or give another path",
            path.display()
        );
    }
    match UnixStream::connect(path) {
        Ok(_) => {
            bail!("listen on {}: another process serves there; stop it, or give another path", path.display())
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("remove the stale socket {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("try the socket {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new").join("cri.sock");
        let first = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let error = listen(&path).unwrap_err().to_string();
        assert!(error.contains("another process serves there"), "{error}");
        drop(first);
        crate::testing::at_last(|| listen(&path));
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "x").unwrap();
        let error = listen(&path).unwrap_err().to_string();
        assert!(error.contains("something else than a socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
    }

    #[test]
    fn only_a_unix_stream_socket_that_listens_will_do() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("stream")).unwrap();
        assert_eq!(is_listener(&listener.into()), Ok(true));
        let datagrams = std::os::unix::net::UnixDatagram::bind(directory.path().join("datagrams")).unwrap();
        assert_eq!(is_listener(&datagrams.into()), Ok(false));
        let (connected, _) = UnixStream::pair().unwrap();
        assert_eq!(is_listener(&connected.into()), Ok(false));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(is_listener(&tcp.into()), Ok(false));
        assert_eq!(is_listener(&tempfile::tempfile().unwrap().into()), Err(Errno::NOTSOCK));
    }
}
