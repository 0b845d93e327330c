//! Reading and writing the files of a cgroup, or of what is like one, relative to its directory.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::host;

/// Writes `value` in one write(2): the kernel takes a cgroup's value whole or not at all.
pub(crate) fn write(directory: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Errno> {
    let fd = openat(directory, file, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    loop {
        match rustix::io::write(&fd, value.as_bytes()) {
            Err(Errno::INTR) => {}
            result => return result.map(drop),
        }
    }
}

/// The whole of a file.
pub(crate) fn read(directory: BorrowedFd<'_>, file: &str) -> Result<String, Errno> {
    let fd = openat(directory, file, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    read_all(&fd)
}

/// The whole of an open file, from its start.
pub(super) fn read_all(fd: impl std::os::fd::AsFd) -> Result<String, Errno> {
    // The kernel's own words are ASCII; the names in rdma.max are a driver's.
    Ok(String::from_utf8_lossy(&host::read_all(fd)?).into_owned())
}

/// The number after `key ` in a file of lines `key number`.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_key() {
        let text = "low 1\noom 2\noom_kill 3\noom_group_kill 4\n";
        assert_eq!(value_of(text, "oom"), Some(2));
        assert_eq!(value_of(text, "oom_kill"), Some(3));
        assert_eq!(value_of(text, "high"), None);
    }
}
