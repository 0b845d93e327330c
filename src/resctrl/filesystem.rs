//! The mounted resctrl file system: where it is, and what it offers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstatfs, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::plan::{Found, Wanted};
use super::{Group, ResctrlError};
use crate::cgroups::files;
use crate::text::mounts_in;

/// `f_type` of resctrl, linux/magic.h.
const RDTGROUP_SUPER_MAGIC: u64 = 0x0765_5821;
/// The kernel makes this directory where processor and kernel can do resource control.
const MOUNT_POINT: &str = "/sys/fs/resctrl";

/// The resctrl file system of this mount namespace.
#[derive(Clone, Debug)]
pub struct Resctrl {
    mount_point: PathBuf,
    directory: Arc<OwnedFd>,
}

impl Resctrl {
    /// Finds it in mountinfo; an error says what the host lacks.
    pub fn find() -> Result<Self, ResctrlError> {
        match Self::mounted()? {
            Some(found) => Ok(found),
            None if Path::new(MOUNT_POINT).is_dir() => Err(ResctrlError::NotMounted),
            None => Err(ResctrlError::NotThere),
        }
    }

    /// The same where a host without it is no error: no group has outlived its mount.
    pub fn mounted() -> Result<Option<Self>, ResctrlError> {
        let file = "/proc/self/mountinfo";
        let mountinfo = std::fs::read(file).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            ResctrlError::ReadProc { file, errno }
        })?;
        // A mount can be covered by a later one: only what the path leads to counts.
        let points = mounts_in(&mountinfo).filter(|mount| mount.fstype == b"resctrl" && mount.root == b"/");
        let open = |point: Vec<u8>| Self::open(std::ffi::OsString::from_vec(point).into());
        Ok(points.filter_map(|mount| open(mount.point)).find(|found| {
            fstatfs(found.directory()).is_ok_and(|is| is.f_type as u64 == RDTGROUP_SUPER_MAGIC)
        }))
    }

    /// The one at `mount_point`, whatever is there.
    pub(super) fn open(mount_point: PathBuf) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, &mount_point, flags, Mode::empty()).ok()?;
        Some(Self { mount_point, directory: Arc::new(directory) })
    }

    fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The path of a file below the mount point.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.mount_point.join(file)
    }

    /// Is there a file or directory of this name?
    pub(super) fn has(&self, file: &str) -> bool {
        statat(self.directory(), file, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The whole of a file.
    pub(super) fn read(&self, file: &str) -> Result<String, ResctrlError> {
        files::read(self.directory(), file)
            .map_err(|errno| ResctrlError::Read { path: self.path(file), errno })
    }

    /// A file that holds a number.
    pub(super) fn number(&self, file: &str) -> Result<u64, ResctrlError> {
        let text = self.read(file)?;
        let text = text.trim();
        text.parse().map_err(|_| ResctrlError::NoNumber { path: self.path(file), text: text.into() })
    }

    /// Writes in one write(2): the kernel takes all of it or nothing.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), ResctrlError> {
        files::write(self.directory(), file, value).map_err(|errno| ResctrlError::Write {
            path: self.path(file),
            value: value.trim_end().into(),
            errno,
            status: self.status(),
        })
    }

    pub(super) fn make(&self, group: &str) -> Result<(), ResctrlError> {
        mkdirat(self.directory(), group, Mode::from_raw_mode(0o755)).map_err(|errno| ResctrlError::Make {
            path: self.path(group),
            errno,
            status: self.status(),
        })?;
        #[cfg(test)]
        super::fake::fill(&self.path(group));
        Ok(())
    }

    /// Removes a group, if it is there.
    pub(super) fn remove(&self, group: &str) -> Result<(), ResctrlError> {
        #[cfg(test)]
        super::fake::empty(&self.path(group));
        match unlinkat(self.directory(), group, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(ResctrlError::Remove { path: self.path(group), errno, status: self.status() }),
        }
    }

    /// What it has of the group that is wanted.
    pub fn look(&self, wanted: &Wanted) -> Result<Found, ResctrlError> {
        let group = Group::of(wanted);
        let exists = self.has(&group.file("tasks"));
        Ok(Found {
            mount_point: self.mount_point.clone(),
            schemata: if exists { Some(self.read(&group.file("schemata"))?) } else { None },
            monitoring_group: group.monitoring_directory().is_some_and(|directory| self.has(&directory)),
            allocates_cache: self.has("info/L3"),
            allocates_bandwidth: self.has("info/MB"),
            monitors: self.has("mon_groups"),
            bandwidth_step: self.number("info/MB/bandwidth_gran").unwrap_or(1),
        })
    }

    /// The kernel's words on its last refusal, on one line; None where it has none.
    fn status(&self) -> Option<String> {
        let text = files::read(self.directory(), "info/last_cmd_status").ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        Some(lines.join("; ")).filter(|status| !status.is_empty() && status != "ok")
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn a_host_without_it_is_told_what_it_takes() {
        for error in [ResctrlError::NotMounted, ResctrlError::NotThere] {
            let error = error.to_string();
            assert!(error.starts_with("linux.intelRdt: ") && !error.contains('\n'), "{error}");
            assert!(error.contains("mount -t resctrl resctrl /sys/fs/resctrl"), "{error}");
        }
        assert!(ResctrlError::NotThere.to_string().contains("CONFIG_X86_CPU_RESCTRL"));
    }

    #[test]
    fn the_kernels_words_are_on_one_line_and_ok_is_none() {
        let fake = Fake::new();
        assert_eq!(fake.resctrl().status(), None);
        fake.write("info/last_cmd_status", "Mask 800 out of range\nparse error\n");
        assert_eq!(fake.resctrl().status().as_deref(), Some("Mask 800 out of range; parse error"));
    }

    #[test]
    fn a_refused_write_names_file_value_and_the_kernels_words() {
        let fake = Fake::new();
        fake.write("info/last_cmd_status", "No such domain 7\n");
        let error = fake.resctrl().write("nowhere/schemata", "L3:7=f\n").unwrap_err().to_string();
        let path = fake.path("nowhere/schemata");
        assert_eq!(
            error,
            format!(
                "linux.intelRdt: write \"L3:7=f\" to {path:?}: No such file or directory (os error 2): \
                 last_cmd_status: No such domain 7"
            )
        );
    }
}
