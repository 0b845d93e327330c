//! Making a container's cgroup, with the ancestors and controllers that it needs.
//!
//! A failed creation removes what it made. An ancestor that rcrun made carries a mark, so that removing
//! the last container below it removes it too: the sticky bit, which is there from its first moment,
//! whenever rcrun is killed, and means nothing else for a cgroup that only its owner changes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, fstat, mkdirat, unlinkat};
use rustix::io::Errno;

use crate::fault;

use super::{Cgroup, CgroupError, CgroupPath, Controllers, Hierarchy, Limits, files, tree};

/// The permissions of a container's cgroup.
const OWN: Mode = Mode::from_raw_mode(0o755);
/// The permissions of an ancestor that rcrun makes.
const MARKED: Mode = OWN.union(Mode::SVTX);

/// How often to begin anew when somebody removes an ancestor at the same time.
const ATTEMPTS: u32 = 16;

impl Cgroup {
    /// Makes the cgroup at `path`, and enables `controllers` in each ancestor. One that is there
    /// already is taken if nothing runs in it (podman makes it beforehand); without controllers
    /// nothing is asked or told about them.
    pub fn create(
        hierarchy: &Hierarchy,
        path: &CgroupPath,
        controllers: &Controllers,
    ) -> Result<Self, CgroupError> {
        let mut attempt = 1;
        loop {
            match Creation::new(hierarchy, path).run(controllers) {
                Err(error) if error.is_missing() && attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    /// Takes back [`Cgroup::create`] for a container that did not come to be: what it found there
    /// stays.
    pub fn undo_create(self) -> Result<(), CgroupError> {
        if self.made { self.remove() } else { Ok(()) }
    }
}

/// A creation under way; on drop, what it has made goes again unless it was finished.
struct Creation<'a> {
    hierarchy: &'a Hierarchy,
    path: &'a CgroupPath,
    made: Vec<CgroupPath>,
}

impl Drop for Creation<'_> {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // What others have begun to use meanwhile stays, and is theirs to remove: it is marked.
            let _ = unlinkat(self.hierarchy.directory(), path.relative(), AtFlags::REMOVEDIR);
        }
    }
}

impl<'a> Creation<'a> {
    fn new(hierarchy: &'a Hierarchy, path: &'a CgroupPath) -> Self {
        Self { hierarchy, path, made: Vec::new() }
    }

    fn run(mut self, controllers: &Controllers) -> Result<Cgroup, CgroupError> {
        let root = self.hierarchy.directory();
        let mut found = Err(Errno::NOENT);
        if controllers.is_empty() {
            // Mostly the ancestors are there: one call then makes it.
            found = mkdirat(root, self.path.relative(), OWN);
        }
        if found == Err(Errno::NOENT) {
            found = self.make_below_ancestors(controllers)?;
        }
        let made = match found {
            Ok(()) => {
                self.made.push(self.path.clone());
                fault::point("mkdir of the cgroup");
                true
            }
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(CgroupError::Create { cgroup: self.path.to_string(), errno }),
        };
        let cgroup = Cgroup { made, ..Cgroup::open(self.hierarchy, self.path)? };
        // A new child of the root is empty and thawed.
        if !made || !self.path.parent().is_root() {
            cgroup.check_usable()?;
        }
        self.made.clear();
        Ok(cgroup)
    }

    /// Goes down from the root, making what is missing and enabling controllers on the way; the
    /// result is that of the last mkdir(2).
    fn make_below_ancestors(&mut self, controllers: &Controllers) -> Result<Result<(), Errno>, CgroupError> {
        let root = self.hierarchy.directory();
        let mut opened: Option<OwnedFd> = None;
        let mut at = CgroupPath::root();
        let mut names = self.path.names().peekable();
        while let Some(name) = names.next() {
            let directory = opened.as_ref().map_or(root, AsFd::as_fd);
            enable(directory, &at, controllers)?;
            at = at.join(name.as_ref())?;
            if names.peek().is_none() {
                return Ok(mkdirat(directory, name, OWN));
            }
            opened = Some(self.ancestor(directory, name, &at)?);
        }
        Ok(Err(Errno::EXIST))
    }

    /// Enables `controllers` for a cgroup that is there.
    fn enable_above(&mut self, controllers: &Controllers) -> Result<(), CgroupError> {
        match self.make_below_ancestors(controllers)? {
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(CgroupError::Open { cgroup: self.path.to_string(), errno }),
            Ok(()) => {
                self.made.push(self.path.clone());
                Err(CgroupError::Open { cgroup: self.path.to_string(), errno: Errno::NOENT })
            }
        }
    }

    fn ancestor(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &str,
        path: &CgroupPath,
    ) -> Result<OwnedFd, CgroupError> {
        let failed = |errno| CgroupError::Create { cgroup: path.to_string(), errno };
        match tree::open_directory(parent, name) {
            Err(Errno::NOENT) => {}
            Ok(directory) => return Ok(directory),
            Err(errno) => return Err(CgroupError::Open { cgroup: path.to_string(), errno }),
        }
        match mkdirat(parent, name, MARKED) {
            Ok(()) => {
                self.made.push(path.clone());
                fault::point("mkdir of an ancestor");
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        tree::open_directory(parent, name).map_err(failed)
    }
}

impl Cgroup {
    /// Gives a running container's cgroup other limits: their controllers may not be enabled yet.
    pub fn update(&self, hierarchy: &Hierarchy, limits: &Limits) -> Result<(), CgroupError> {
        let controllers = limits.controllers();
        if !controllers.is_empty() {
            Creation::new(hierarchy, self.path()).enable_above(&controllers)?;
        }
        self.apply(limits)
    }

    /// A process born here must be alone and able to run.
    fn check_usable(&self) -> Result<(), CgroupError> {
        let events = self.read("cgroup.events")?;
        if files::value_of(&events, "populated") == Some(1) {
            return Err(CgroupError::Occupied { cgroup: self.name() });
        }
        if files::value_of(&events, "frozen") == Some(1) {
            return Err(CgroupError::FrozenAlready { cgroup: self.name() });
        }
        Ok(())
    }
}

/// Lets the children of the cgroup `at` have `controllers`.
fn enable(directory: BorrowedFd<'_>, at: &CgroupPath, controllers: &Controllers) -> Result<(), CgroupError> {
    const FILE: &str = "cgroup.subtree_control";
    if controllers.is_empty() {
        return Ok(());
    }
    let failed = |errno| CgroupError::Read { file: FILE.into(), cgroup: at.to_string(), errno };
    let enabled = Controllers::parse(&files::read(directory, FILE).map_err(failed)?);
    let missing: Vec<String> =
        controllers.names().filter(|name| !enabled.contains(name)).map(|name| format!("+{name}")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" ");
    files::write(directory, FILE, &missing).map_err(|errno| match files::read(directory, FILE) {
        // A directory that somebody has just removed says the same as a controller that is not to be had.
        Err(gone) => failed(gone),
        Ok(_) => CgroupError::Enable { controllers: missing, cgroup: at.to_string(), errno },
    })
}

/// Did rcrun make this ancestor?
pub(super) fn is_marked(directory: BorrowedFd<'_>) -> bool {
    fstat(directory).is_ok_and(|stat| Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX))
}

#[cfg(test)]
mod tests {
    use super::super::cgroup::tests::{Own, Shell};
    use super::*;

    fn exists(own: &Own, path: &CgroupPath) -> bool {
        Cgroup::open(&own.hierarchy, path).is_ok()
    }

    #[test]
    fn missing_ancestors_are_made_and_go_with_the_last_container() {
        let Some(own) = Own::or_skip("ancestors") else { return };
        let (one, two) = (own.below("a/b/one"), own.below("a/b/two"));
        let first = Cgroup::create(&own.hierarchy, &one, &Controllers::default()).unwrap();
        let second = Cgroup::create(&own.hierarchy, &two, &Controllers::default()).unwrap();
        first.remove().unwrap();
        assert!(!exists(&own, &one) && exists(&own, &two));
        second.remove().unwrap();
        assert!(!exists(&own, &own.below("a")), "the ancestors are gone");
        assert!(exists(&own, &own.path), "what rcrun did not make as an ancestor stays");
    }

    #[test]
    fn ancestors_that_were_there_stay() {
        let Some(own) = Own::or_skip("kept") else { return };
        let parent = own.below("parent");
        Cgroup::create(&own.hierarchy, &parent, &Controllers::default()).unwrap();
        let cgroup =
            Cgroup::create(&own.hierarchy, &own.below("parent/child"), &Controllers::default()).unwrap();
        cgroup.remove().unwrap();
        assert!(exists(&own, &parent));
    }

    #[test]
    fn an_empty_cgroup_is_taken_and_an_occupied_one_refused() {
        let Some(own) = Own::or_skip("occupied") else { return };
        let path = own.below("there");
        let first = Cgroup::create(&own.hierarchy, &path, &Controllers::default()).unwrap();
        let second = Cgroup::create(&own.hierarchy, &path, &Controllers::default()).unwrap();
        second.undo_create().unwrap();
        assert!(exists(&own, &path), "what creation found stays when it is taken back");
        let _shell = Shell::inside(&first, "read more");
        let error = Cgroup::create(&own.hierarchy, &path, &Controllers::default()).unwrap_err();
        assert!(matches!(error, CgroupError::Occupied { .. }), "{error}");
    }

    #[test]
    fn a_frozen_place_is_refused_and_nothing_stays() {
        let Some(own) = Own::or_skip("frozen") else { return };
        own.open().write("cgroup.freeze", "1").unwrap();
        let error = Cgroup::create(&own.hierarchy, &own.below("a/b"), &Controllers::default()).unwrap_err();
        assert!(matches!(error, CgroupError::FrozenAlready { .. }), "{error}");
        assert!(!exists(&own, &own.below("a")));
    }

    #[test]
    fn a_failed_creation_leaves_nothing() {
        let Some(own) = Own::or_skip("failed") else { return };
        let path = own.below("a/b/c");
        // A name of a controller that no kernel has.
        let error = Cgroup::create(&own.hierarchy, &path, &Controllers::parse("none-such")).unwrap_err();
        assert!(matches!(error, CgroupError::Enable { .. }), "{error}");
        let long = own.below(&format!("a/{}/c", "x".repeat(255)));
        own.open().write("cgroup.max.depth", "2").unwrap();
        let error = Cgroup::create(&own.hierarchy, &long, &Controllers::default()).unwrap_err();
        assert!(error.to_string().contains("cgroup.max.depth"), "{error}");
        assert!(!exists(&own, &own.below("a")));
    }

    #[test]
    fn creators_and_removers_at_the_same_time_get_on() {
        let Some(own) = Own::or_skip("race") else { return };
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let path = own.below(&format!("shared/deep/{worker}"));
                scope.spawn(move || {
                    let hierarchy = Hierarchy::find().unwrap();
                    for _ in 0..50 {
                        Cgroup::create(&hierarchy, &path, &Controllers::default()).unwrap().remove().unwrap();
                    }
                });
            }
        });
        assert!(!exists(&own, &own.below("shared")));
    }
}
