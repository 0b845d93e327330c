//! The path of a cgroup inside the hierarchy: parsed once, valid ever after.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::CgroupError;
use crate::id::ContainerId;

/// Longest name of one cgroup in bytes, NAME_MAX of path_resolution(7).
pub const MAX_NAME_LENGTH: usize = 255;

/// An absolute path below the root of the cgroup2 file system: `/rcrun-web`. Without `.`, `..`,
/// double or trailing slashes; the root is `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath(String);

impl CgroupPath {
    /// The root of the hierarchy.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Checks `path` and takes it, as if below the root where it is relative.
    pub fn parse(path: &Path) -> Result<Self, CgroupError> {
        Self::root().join(path)
    }

    /// `path` below this one, whether it starts with a slash or not.
    pub fn join(&self, path: &Path) -> Result<Self, CgroupError> {
        let invalid = |reason| CgroupError::Path { path: path.to_owned(), reason };
        let text =
            std::str::from_utf8(path.as_os_str().as_bytes()).map_err(|_| invalid("it is not UTF-8"))?;
        let mut joined = if self.is_root() { String::new() } else { self.0.clone() };
        for name in text.split('/').filter(|name| !matches!(*name, "" | ".")) {
            if name == ".." {
                return Err(invalid("it may not contain .."));
            }
            if name.len() > MAX_NAME_LENGTH {
                return Err(invalid("a name in it is longer than 255 bytes"));
            }
            if name.bytes().any(|byte| matches!(byte, b'\0' | b'\n')) {
                return Err(invalid("it may not contain NUL or a line feed"));
            }
            joined.push('/');
            joined.push_str(name);
        }
        if joined.len() >= 4096 {
            return Err(invalid("it is longer than 4095 bytes"));
        }
        if joined.is_empty() { Ok(Self::root()) } else { Ok(Self(joined)) }
    }

    /// The cgroup of a container: `linux.cgroupsPath` where given, below the parent of our `own`
    /// cgroup where it is relative (our own has processes, and so no limits below it), else
    /// `rcrun-ID` below what was `delegated` to us, or below the root.
    pub fn for_container(
        cgroups_path: Option<&Path>,
        id: &ContainerId,
        own: impl FnOnce() -> Result<CgroupPath, CgroupError>,
        delegated: impl FnOnce() -> Option<CgroupPath>,
    ) -> Result<Self, CgroupError> {
        let Some(path) = cgroups_path.filter(|path| !path.as_os_str().is_empty()) else {
            return delegated().unwrap_or_else(Self::root).join(format!("rcrun-{id}").as_ref());
        };
        let invalid = |reason| Err(CgroupError::Path { path: path.to_owned(), reason });
        let bytes = path.as_os_str().as_bytes();
        if !bytes.contains(&b'/') && bytes.iter().filter(|byte| **byte == b':').count() == 2 {
            return invalid("slice:prefix:name is for the systemd driver (--systemd-cgroup); give a path");
        }
        let below = if path.is_absolute() { Self::root() } else { own()?.parent() };
        let cgroup = below.join(path)?;
        if cgroup == below {
            return invalid("it names no cgroup of the container's own");
        }
        Ok(cgroup)
    }

    /// The path as text, with its slash in front.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it the root of the hierarchy?
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// The cgroup above; the root's is the root.
    pub fn parent(&self) -> Self {
        match self.0.rfind('/') {
            None | Some(0) => Self::root(),
            Some(end) => Self(self.0[..end].into()),
        }
    }

    /// Its names, outermost first.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The path for a call relative to the root's descriptor.
    pub(super) fn relative(&self) -> &str {
        if self.is_root() { "." } else { &self.0[1..] }
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> CgroupPath {
        CgroupPath::parse(Path::new(text)).unwrap()
    }

    fn of(cgroups_path: Option<&str>, own: &str) -> Result<String, String> {
        let id = ContainerId::parse("web").unwrap();
        CgroupPath::for_container(cgroups_path.map(Path::new), &id, || Ok(path(own)), || None)
            .map(|path| path.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_container_gets_the_cgroup_that_it_asks_for() {
        assert_eq!(of(None, "/user/session").unwrap(), "/rcrun-web");
        assert_eq!(of(Some(""), "/user/session").unwrap(), "/rcrun-web");
        assert_eq!(of(Some("/a//b/./c/"), "/user/session").unwrap(), "/a/b/c");
        assert_eq!(of(Some("a/b"), "/user/session").unwrap(), "/user/a/b");
        assert_eq!(of(Some("a"), "/").unwrap(), "/a");
        assert_eq!(of(Some("a:b"), "/").unwrap(), "/a:b");
    }

    #[test]
    fn without_a_wish_it_is_below_what_was_delegated() {
        let id = ContainerId::parse("web").unwrap();
        let own = || panic!("not needed");
        let found = CgroupPath::for_container(None, &id, own, || Some(path("/user/app")));
        assert_eq!(found.unwrap().to_string(), "/user/app/rcrun-web");
    }

    #[test]
    fn our_own_cgroup_is_not_asked_for_without_need() {
        let id = ContainerId::parse("web").unwrap();
        let own = || panic!("not needed");
        assert!(CgroupPath::for_container(None, &id, own, || None).is_ok());
        assert!(CgroupPath::for_container(Some(Path::new("/a")), &id, own, || panic!("not needed")).is_ok());
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let long = "x".repeat(256);
        for (bad, why) in [
            ("/a/../b", ".."),
            ("..", ".."),
            ("/", "no cgroup of the container's own"),
            (".", "no cgroup of the container's own"),
            (&long, "255"),
            ("a\nb", "line feed"),
            ("system.slice:docker:1", "--systemd-cgroup"),
            (":rcrun:web", "--systemd-cgroup"),
        ] {
            let error = of(Some(bad), "/user/session").unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert!(of(Some(&"x/".repeat(2100)), "/").unwrap_err().contains("4095"));
    }

    #[test]
    fn parents_end_at_the_root() {
        assert_eq!(path("/a/b").parent(), path("/a"));
        assert_eq!(path("/a").parent(), CgroupPath::root());
        assert_eq!(CgroupPath::root().parent(), CgroupPath::root());
        assert_eq!(path("/a/b").names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(path("/a/b").relative(), "a/b");
    }
}
