//! One cgroup: its directory, its path, and its files.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::{CgroupError, CgroupPath, Controllers, Hierarchy, files, tree};

/// A cgroup, open. Dropping it closes its directory and changes nothing.
#[derive(Debug)]
pub struct Cgroup {
    pub(super) root: Arc<OwnedFd>,
    pub(super) directory: OwnedFd,
    pub(super) path: CgroupPath,
    /// Whether [`Cgroup::create`] made it, or found it there.
    pub(super) made: bool,
}

impl Cgroup {
    /// Opens a cgroup that is there; [`CgroupError::is_missing`] tells if it is not.
    pub fn open(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Self, CgroupError> {
        let directory = tree::open_directory(hierarchy.directory(), path.relative())
            .map_err(|errno| CgroupError::Open { cgroup: path.to_string(), errno })?;
        Ok(Self { root: hierarchy.shared_directory(), directory, path: path.clone(), made: false })
    }

    /// Its directory, open for reading: what clone3(2) takes with CLONE_INTO_CGROUP.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Its path inside the hierarchy.
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Moves a process here: for kernels and places where CLONE_INTO_CGROUP is refused.
    pub fn add_process(&self, pid: i32) -> Result<(), CgroupError> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// The controllers that are enabled here.
    pub fn controllers(&self) -> Result<Controllers, CgroupError> {
        Ok(Controllers::parse(&self.read("cgroup.controllers")?))
    }

    pub(super) fn name(&self) -> String {
        self.path.to_string()
    }

    pub(super) fn read(&self, file: &str) -> Result<String, CgroupError> {
        files::read(self.directory(), file).map_err(|errno| self.read_error(file, errno))
    }

    /// A file of a controller or of a newer kernel: None where it is not there.
    pub(super) fn read_if_there(&self, file: &str) -> Result<Option<String>, CgroupError> {
        match files::read(self.directory(), file) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(self.read_error(file, errno)),
        }
    }

    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        files::write(self.directory(), file, value).map_err(|errno| CgroupError::Write {
            file: file.into(),
            value: value.into(),
            cgroup: self.name(),
            errno,
        })
    }

    pub(super) fn read_error(&self, file: &str, errno: Errno) -> CgroupError {
        CgroupError::Read { file: file.into(), cgroup: self.name(), errno }
    }
}

#[cfg(test)]
pub(super) mod tests {
    //! A cgroup of a test's own on the real hierarchy, removed at the end, whatever happens.

    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Says on the real stderr, in one piece, that a test could not run.
    pub fn skip(test: &str, reason: &str) {
        let _ = std::io::stderr().write_all(format!("SKIP {test}: {reason}\n").as_bytes());
    }

    /// The hierarchy, or a line that says why the test cannot run.
    pub fn hierarchy_or_skip(test: &str) -> Option<Hierarchy> {
        let reason = if !rustix::process::geteuid().is_root() {
            "not root".to_owned()
        } else {
            match Hierarchy::find() {
                Ok(hierarchy) => return Some(hierarchy),
                Err(error) => error.to_string(),
            }
        };
        skip(test, &reason);
        None
    }

    impl Cgroup {
        /// A directory with files of a cgroup's names.
        pub fn fake(directory: &std::path::Path) -> Self {
            let open = || OwnedFd::from(std::fs::File::open(directory).unwrap());
            let path = CgroupPath::parse("/fake".as_ref()).unwrap();
            Self { root: Arc::new(open()), directory: open(), path, made: false }
        }
    }

    /// A cgroup with a name of its own.
    pub struct Own {
        pub hierarchy: Hierarchy,
        pub path: CgroupPath,
    }

    impl Own {
        pub fn or_skip(test: &str) -> Option<Self> {
            let hierarchy = hierarchy_or_skip(test)?;
            let path =
                CgroupPath::parse(format!("rcrun-test-{}-{test}", std::process::id()).as_ref()).unwrap();
            match Cgroup::create(&hierarchy, &path, &Default::default()) {
                Ok(_) => Some(Self { hierarchy, path }),
                Err(error) => {
                    skip(test, &error.to_string());
                    None
                }
            }
        }

        pub fn open(&self) -> Cgroup {
            Cgroup::open(&self.hierarchy, &self.path).unwrap()
        }

        /// A path below this cgroup.
        pub fn below(&self, name: &str) -> CgroupPath {
            self.path.join(name.as_ref()).unwrap()
        }
    }

    impl Drop for Own {
        fn drop(&mut self) {
            if let Ok(cgroup) = Cgroup::open(&self.hierarchy, &self.path) {
                let _ = cgroup.thaw();
                let _ = cgroup.kill();
                let _ = cgroup.remove();
            }
        }
    }

    /// A shell that has moved into a cgroup and then runs a script; killed on drop.
    pub struct Shell(pub Child);

    impl Shell {
        pub fn inside(cgroup: &Cgroup, script: &str) -> Self {
            let mut child = Command::new("/bin/sh")
                .args(["-c", &format!("echo ready; read go; {script}")])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut ready = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
            let shell = Self(child);
            cgroup.add_process(shell.pid()).unwrap();
            shell
        }

        pub fn go(&mut self) {
            self.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        }

        pub fn pid(&self) -> i32 {
            self.0.id() as i32
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_cgroup_that_is_not_there_is_missing() {
        let Some(hierarchy) = hierarchy_or_skip("missing") else { return };
        let path = CgroupPath::parse("/rcrun-test-never-made".as_ref()).unwrap();
        let error = Cgroup::open(&hierarchy, &path).unwrap_err();
        assert!(error.is_missing(), "{error}");
    }
}
