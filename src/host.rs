//! Facts about the host and about rcrun's own process, each read once and only where needed.

use std::path::Path;

use rustix::io::Errno;

/// rcrun's own permitted capabilities as a bit mask, capget(2).
pub fn permitted_capabilities() -> u64 {
    rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits())
}

/// Is rcrun in a user namespace below the initial one? That one's inode number is fixed
/// (PROC_USER_INIT_INO of linux/proc_ns.h).
pub fn in_user_namespace() -> bool {
    const INITIAL: u64 = 0xEFFF_FFFD;
    rustix::fs::stat("/proc/self/ns/user").is_ok_and(|stat| stat.st_ino != INITIAL)
}

/// Does `path` lead to a directory?
pub fn is_directory(path: &Path) -> Result<bool, Errno> {
    let mode = rustix::fs::stat(path)?.st_mode;
    Ok(rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Directory)
}

/// The number of descriptors passed by socket activation: LISTEN_FDS, sd_listen_fds(3).
pub fn listen_fds() -> u32 {
    std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Rows and columns of the terminal on standard input, if that is one.
pub fn window_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdin()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
