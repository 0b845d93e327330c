//! A pseudo-terminal of the container's own devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fstatfs, openat};
use rustix::io::Errno;
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{devices, mask, release, resolve};
use crate::sys::{During, Failure};

/// DEVPTS_SUPER_MAGIC.
const DEVPTS: u64 = 0x1cd1;

/// A new pseudo-terminal: master and slave, both close-on-exec. `size` is rows and columns; with
/// `console` the slave is mounted over /dev/console.
pub fn open(
    root: BorrowedFd<'_>,
    size: Option<(u16, u16)>,
    console: bool,
) -> Result<(OwnedFd, OwnedFd), Failure> {
    let master = open_master(root)?;
    unlockpt(&master).during("ioctl TIOCSPTLCK")?;
    // By the master, not by name: the name could be another's.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).during("ioctl TIOCGPTPEER")?;
    if let Some((rows, columns)) = size {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).during("ioctl TIOCSWINSZ")?;
    }
    if console {
        // Not what a link of the image says: the terminal would cover any file, of procfs too.
        let directory = resolve::parent(root, c"dev/console")?;
        let node = mask::clone_of(slave.as_fd(), false)?;
        devices::bind(directory.as_fd(), c"console", node.as_fd())?;
        release(directory);
        release(node);
    }
    Ok((master, slave))
}

/// Opens /dev/pts/ptmx, after making sure that /dev/pts is a devpts: an image's own file there is
/// no terminal.
fn open_master(root: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let directory = resolve::open_directory(root, c"/dev/pts")
        .map_err(|failure| Failure { operation: "open /dev/pts of the container", ..failure })?;
    if fstatfs(&directory).during("fstatfs")?.f_type as u64 != DEVPTS {
        return Err(Errno::NODEV).during("open a terminal (/dev/pts of the container is no devpts)");
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = openat(&directory, c"ptmx", flags, Mode::empty()).during("open /dev/pts/ptmx")?;
    release(directory);
    Ok(master)
}

/// Makes the slave the controlling terminal of this session and its standard streams.
pub fn make_controlling(slave: BorrowedFd<'_>) -> Result<(), Failure> {
    ioctl_tiocsctty(slave).during("ioctl TIOCSCTTY")?;
    dup2_stdin(slave).during("dup2")?;
    dup2_stdout(slave).during("dup2")?;
    dup2_stderr(slave).during("dup2")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    use rustix::io::{FdFlags, fcntl_getfd, read, write};
    use rustix::termios::{tcgetsid, tcgetwinsize};

    use super::super::playground::{new, perform_at, play};
    use super::*;

    fn with_devpts(body: impl FnOnce(BorrowedFd<'_>)) {
        play(|root| {
            let mut step = new(c"devpts", "/dev/pts");
            if let crate::plan::step::MountFrom::New { options, .. } = &mut step.from {
                let option = |key: &std::ffi::CStr, value: &std::ffi::CStr| {
                    crate::plan::step::FsOption::Value(key.to_owned(), value.to_owned())
                };
                options.push(option(c"ptmxmode", c"0666"));
                options.push(option(c"mode", c"0620"));
            }
            perform_at(root, &step, None).unwrap();
            body(root);
        });
    }

    #[test]
    fn a_terminal_is_the_containers_own() {
        with_devpts(|root| {
            let (master, slave) = open(root, Some((33, 111)), true).unwrap();
            let size = tcgetwinsize(&slave).unwrap();
            assert_eq!((size.ws_row, size.ws_col), (33, 111));
            for end in [&master, &slave] {
                assert!(fcntl_getfd(end).unwrap().contains(FdFlags::CLOEXEC));
            }
            let console = fs::metadata("/tmp/root/dev/console").unwrap();
            let first = fs::metadata("/tmp/root/dev/pts/0").unwrap();
            assert!(console.file_type().is_char_device());
            assert_eq!((console.dev(), console.ino()), (first.dev(), first.ino()));

            write(&slave, b"hello\n").unwrap();
            let mut bytes = [0; 16];
            let length = read(&master, &mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"hello\r\n");
        });
    }

    #[test]
    fn the_slave_becomes_the_controlling_terminal() {
        with_devpts(|root| {
            let (master, slave) = open(root, None, false).unwrap();
            let session = rustix::process::setsid().unwrap();
            make_controlling(slave.as_fd()).unwrap();
            assert_eq!(tcgetsid(rustix::stdio::stdout()).unwrap(), session);
            write(rustix::stdio::stderr(), b"!").unwrap();
            let mut bytes = [0; 4];
            assert_eq!(read(&master, &mut bytes).unwrap(), 1);
            // Closing it would hang up on this very session.
            std::mem::forget(master);
        });
    }

    #[test]
    fn an_images_file_is_no_terminal() {
        play(|root| {
            assert_eq!(open(root, None, false).unwrap_err().errno, Errno::NOENT);
            fs::create_dir_all("/tmp/root/dev/pts").unwrap();
            fs::write("/tmp/root/dev/pts/ptmx", "").unwrap();
            assert_eq!(open(root, None, false).unwrap_err().errno, Errno::NODEV);
            assert_eq!(fs::read("/tmp/root/dev/pts/ptmx").unwrap(), b"");
        });
    }

    #[test]
    fn a_console_that_is_a_link_is_refused() {
        with_devpts(|root| {
            std::os::unix::fs::symlink("../../outside", "/tmp/root/dev/console").unwrap();
            assert_eq!(open(root, None, true).unwrap_err().errno, Errno::LOOP);
        });
    }
}
