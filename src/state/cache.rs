//! Files below `--root` that rcrun could make again: at most [`MOST`], the oldest goes first.
//!
//! Nothing here fails: what cannot be read, or is not rcrun's user's alone, is as good as not there, and
//! what cannot be written is left. Its directory is no container's, since its name is no id.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// No container's id has an `@`.
pub(super) const NAME: &str = "@seccomp";
/// So many files are kept.
const MOST: usize = 16;
/// Bytes of the largest file.
const LARGEST: usize = 64 << 10;
/// Bits of a mode that let others write.
const WRITABLE_FOR_OTHERS: u32 = 0o022;

/// The directory of such files, made with the first one.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
}

impl Cache {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// What a file holds.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let directory = self.open().ok()?;
        // NONBLOCK: whatever is there, it is not waited for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&directory, name, flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let size = usize::try_from(stat.st_size).ok().filter(|size| *size <= LARGEST)?;
        if !is_own(&stat, FileType::RegularFile) {
            return None;
        }
        let mut bytes = Vec::with_capacity(size + 1);
        std::fs::File::from(file).take(LARGEST as u64).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Keeps a file, in the place of what has its name; a large one is not kept.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        if bytes.len() <= LARGEST
            && let Ok(directory) = self.open_or_make()
            && replace(&directory, name, bytes).is_ok()
        {
            let _ = discard_oldest(&directory);
        }
    }

    fn open(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let directory = rustix::fs::open(&self.path, flags, Mode::empty())?;
        match is_own(&rustix::fs::fstat(&directory)?, FileType::Directory) {
            true => Ok(directory),
            false => Err(Errno::PERM),
        }
    }

    fn open_or_make(&self) -> Result<OwnedFd, Errno> {
        match self.open() {
            Err(Errno::NOENT) => {}
            opened => return opened,
        }
        match rustix::fs::mkdirat(CWD, &self.path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => self.open(),
            Err(error) => Err(error),
        }
    }
}

/// Can nobody but rcrun's user have written it?
fn is_own(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && stat.st_mode & WRITABLE_FOR_OTHERS == 0
}

/// Writes a file whole, under a name that nobody has, and gives it its own.
fn replace(directory: &OwnedFd, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let mut random = [0; 8];
    crate::sys::random(&mut random);
    let new = format!("{name}.{:016x}", u64::from_ne_bytes(random));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(directory, &new, flags, Mode::RUSR | Mode::WUSR)?;
    let written = write_all(&file, bytes).and_then(|()| {
        crate::fault::point("new file of a cache");
        rustix::fs::renameat(directory, &new, directory, name)
    });
    if written.is_err() {
        let _ = rustix::fs::unlinkat(directory, &new, AtFlags::empty());
    }
    written
}

fn write_all(file: &OwnedFd, mut rest: &[u8]) -> Result<(), Errno> {
    while !rest.is_empty() {
        let written = rustix::io::write(file, rest)?;
        rest = &rest[written..];
    }
    Ok(())
}

/// Counts whatever is there: also what somebody who was killed has left of a new file. One that is just
/// being written may go too; its writer then does without.
fn discard_oldest(directory: &OwnedFd) -> Result<(), Errno> {
    let mut files = Vec::new();
    for entry in Dir::read_from(directory.as_fd())? {
        let name = entry?.file_name().to_owned();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // Another one may have discarded it meanwhile.
        if let Ok(stat) = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            files.push((stat.st_mtime, stat.st_mtime_nsec, name));
        }
    }
    files.sort();
    for (.., name) in &files[..files.len().saturating_sub(MOST)] {
        let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path().join(NAME));
        (directory, cache)
    }

    fn names(cache: &Cache) -> Vec<String> {
        let entries = fs::read_dir(&cache.path).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &std::path::Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn set_mode(path: &std::path::Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_written_is_read_and_nobody_elses() {
        let (_root, cache) = cache();
        assert_eq!(cache.read("a"), None);
        assert!(!cache.path.exists());
        cache.write("a", b"one");
        assert_eq!(cache.read("a").unwrap(), b"one");
        cache.write("a", b"another");
        assert_eq!(cache.read("a").unwrap(), b"another");
        assert_eq!(cache.read("b"), None);
        assert_eq!(names(&cache), ["a"]);
        assert_eq!((mode(&cache.path), mode(&cache.path.join("a"))), (0o700, 0o600));
    }

    #[test]
    fn what_others_could_have_written_is_not_read() {
        let (_root, cache) = cache();
        cache.write("a", b"one");
        let path = cache.path.join("a");
        for mode in [0o620, 0o602] {
            set_mode(&path, mode);
            assert_eq!(cache.read("a"), None, "{mode:o}");
        }
        set_mode(&path, 0o644);
        assert!(cache.read("a").is_some());
        set_mode(&path, 0o666);
        // Replaced by the next one who compiles.
        cache.write("a", b"two");
        assert_eq!(cache.read("a").unwrap(), b"two");
        set_mode(&cache.path, 0o770);
        assert_eq!(cache.read("a"), None);
        cache.write("b", b"three");
        assert_eq!(names(&cache), ["a"]);
    }

    #[test]
    fn only_files_of_a_sane_size_are_read_and_written() {
        let (root, cache) = cache();
        cache.write("a", b"one");
        let elsewhere = root.path().join("elsewhere");
        fs::write(&elsewhere, "other").unwrap();
        symlink(&elsewhere, cache.path.join("link")).unwrap();
        fs::create_dir(cache.path.join("directory")).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(CWD, cache.path.join("fifo"), FileType::Fifo, mode, 0).unwrap();
        for name in ["link", "directory", "fifo"] {
            assert_eq!(cache.read(name), None, "{name}");
            cache.write(name, b"new");
        }
        assert_eq!(fs::read(&elsewhere).unwrap(), b"other");
        assert_eq!(cache.read("link").unwrap(), b"new");
        assert_eq!(names(&cache), ["a", "directory", "fifo", "link"]);

        cache.write("large", &[7; LARGEST]);
        assert_eq!(cache.read("large").unwrap(), [7; LARGEST]);
        fs::write(cache.path.join("larger"), [7; LARGEST + 1]).unwrap();
        assert_eq!(cache.read("larger"), None);
        cache.write("a", &[7; LARGEST + 1]);
        assert_eq!(cache.read("a").unwrap(), b"one");
    }

    #[test]
    fn a_directory_that_is_a_link_is_not_used() {
        let (root, cache) = cache();
        let elsewhere = root.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, &cache.path).unwrap();
        fs::write(elsewhere.join("a"), "one").unwrap();
        assert_eq!(cache.read("a"), None);
        cache.write("b", b"two");
        assert!(!elsewhere.join("b").exists());
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let (_root, cache) = cache();
        cache.write("left.1", b"of somebody who was killed");
        let age = |name: &str, seconds| {
            let file = fs::File::options().write(true).open(cache.path.join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(seconds))
                .unwrap();
        };
        age("left.1", 1000);
        for number in 0..MOST {
            let name = format!("{number:02}");
            cache.write(&name, b"one");
            age(&name, 900 - number as u64);
        }
        let expected = |range: std::ops::Range<usize>| -> Vec<String> {
            range.map(|number| format!("{number:02}")).collect()
        };
        assert_eq!(names(&cache), expected(0..MOST));
        cache.write("16", b"one");
        cache.write("17", b"one");
        assert_eq!(names(&cache), expected(2..MOST + 2));
    }

    #[test]
    fn many_write_at_once_and_each_reads_something_whole() {
        let (_root, cache) = cache();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let cache = &cache;
                scope.spawn(move || {
                    for round in 0..100_usize {
                        cache.write(&format!("{}", round % 20), &[thread; 9000]);
                        for name in 0..20 {
                            let Some(bytes) = cache.read(&name.to_string()) else { continue };
                            assert_eq!(bytes.len(), 9000);
                            assert!(bytes.iter().all(|byte| *byte == bytes[0]), "{name}");
                        }
                    }
                });
            }
        });
        let names = names(&cache);
        assert!((1..=MOST).contains(&names.len()), "{names:?}");
        assert!(names.iter().all(|name| !name.contains('.')), "{names:?}");
    }
}
