//! Unmounting in a container that runs: what a path there leads to, by descriptor.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::fchdir;

use super::resolve;
use crate::sys::{During, Failure};

/// Takes away what is mounted at `path` below `root`, with everything mounted below it. umount2(2)
/// takes a path only: `descriptors` is this process's /proc/self/fd in a procfs that can be trusted.
pub fn at(root: BorrowedFd<'_>, descriptors: BorrowedFd<'_>, path: &CStr) -> Result<(), Failure> {
    let found = resolve::open(root, path)?;
    let mut digits = [0; 11];
    fchdir(descriptors).during("fchdir")?;
    let result = unmount(decimal(&mut digits, found.as_raw_fd()), UnmountFlags::DETACH);
    fchdir(root).during("fchdir")?;
    match result {
        Err(Errno::INVAL) => Err(Errno::INVAL).during("umount2 (nothing is mounted there)"),
        result => result.during("umount2"),
    }
}

fn decimal(digits: &mut [u8; 11], number: i32) -> &CStr {
    let mut rest = number.unsigned_abs();
    let mut start = digits.len() - 1;
    loop {
        start -= 1;
        if let Some(digit) = digits.get_mut(start) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 || start == 0 {
            break;
        }
    }
    digits.get(start..).and_then(|text| CStr::from_bytes_until_nul(text).ok()).unwrap_or(c"-")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::super::playground::*;
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 1023, i32::MAX] {
            assert_eq!(decimal(&mut [0; 11], number).to_str().unwrap(), number.to_string());
        }
    }

    #[test]
    fn what_is_mounted_inside_the_root_goes_away_and_nothing_else() {
        play(|root| {
            let descriptors = path_fd("/proc/self/fd");
            fs::create_dir("/tmp/root/mnt").unwrap();
            tmpfs_on(path_fd("/tmp/root/mnt").as_fd());
            fs::write("/tmp/root/file", "").unwrap();
            let file = tree("/proc/version");
            super::super::mount::attach(file.as_fd(), path_fd("/tmp/root/file").as_fd()).unwrap();
            for (path, point) in [(c"/mnt", "/tmp/root/mnt"), (c"/file", "/tmp/root/file")] {
                at(root, descriptors.as_fd(), path).unwrap();
                assert_eq!(mountinfo(point), None);
                let failure = at(root, descriptors.as_fd(), path).unwrap_err();
                assert_eq!(failure.operation, "umount2 (nothing is mounted there)");
            }
            tmpfs_on(path_fd("/tmp/outside").as_fd());
            symlink("../outside", "/tmp/root/out").unwrap();
            assert_eq!(at(root, descriptors.as_fd(), c"/out").unwrap_err().operation, resolve::LEAVES_ROOT);
            assert!(mountinfo("/tmp/outside").is_some());
        });
    }
}
