//! The unit that `linux.cgroupsPath` names: `slice:prefix:name`.

use std::path::Path;

use super::Manager;
use crate::cgroups::{CgroupError, CgroupPath};
use crate::id::ContainerId;

/// Where a container's scope is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitPath {
    /// `system.slice`.
    pub slice: String,
    /// `rcrun-web.scope`.
    pub scope: String,
}

/// Longest name of a unit, systemd.unit(5).
const MAX_NAME_LENGTH: usize = 255;

impl UnitPath {
    /// The unit of a container: without a path `system.slice:rcrun:ID`, as runc has it with its name, and
    /// `user.slice` of a user's manager.
    pub fn for_container(
        cgroups_path: Option<&Path>,
        id: &ContainerId,
        manager: Manager,
    ) -> Result<Self, CgroupError> {
        let given = cgroups_path.filter(|path| !path.as_os_str().is_empty());
        let invalid = |reason: &'static str| CgroupError::Path {
            path: given.unwrap_or(Path::new("")).to_owned(),
            reason,
        };
        let text = match given {
            None => format!(":rcrun:{id}"),
            Some(path) => path.to_str().ok_or_else(|| invalid("it is not UTF-8"))?.to_owned(),
        };
        let parts: Vec<&str> = text.split(':').collect();
        let [slice, prefix, name] = parts.as_slice() else {
            return Err(invalid("with --systemd-cgroup it has the form slice:prefix:name"));
        };
        let slice = match (*slice, manager) {
            ("", Manager::System) => "system.slice",
            ("", Manager::User) => "user.slice",
            (slice, _) => slice,
        };
        if name.ends_with(".slice") {
            return Err(invalid("a container's unit is a scope: its name may not end in .slice"));
        }
        if name.is_empty() {
            return Err(invalid("the name after the last colon is empty"));
        }
        let scope = match prefix.is_empty() {
            true => format!("{name}.scope"),
            false => format!("{prefix}-{name}.scope"),
        };
        if ![slice, &scope].into_iter().all(is_unit_name) {
            return Err(invalid("a unit's name has at most 255 letters, digits and :-_.\\@"));
        }
        slice_path(slice).ok_or_else(|| {
            invalid("the slice must end in .slice, without a dash at an end and without two in a row")
        })?;
        Ok(Self { slice: slice.into(), scope })
    }

    /// Its cgroup below that of its manager.
    pub fn cgroup(&self, manager: &CgroupPath) -> Result<CgroupPath, CgroupError> {
        let slice = slice_path(&self.slice).unwrap_or_default();
        manager.join(format!("{slice}/{}", self.scope).trim_start_matches('/').as_ref())
    }
}

fn is_unit_name(name: &str) -> bool {
    name.len() <= MAX_NAME_LENGTH
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
}

/// `/a.slice/a-b.slice` for `a-b.slice`, systemd.slice(5); None for what names no slice.
fn slice_path(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(String::new());
    }
    let mut path = String::new();
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return None;
        }
        prefix.push_str(part);
        path.push_str(&format!("/{prefix}.slice"));
        prefix.push('-');
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: Option<&str>) -> Result<String, String> {
        below(&CgroupPath::root(), Manager::System, path)
    }

    fn below(base: &CgroupPath, manager: Manager, path: Option<&str>) -> Result<String, String> {
        let id = ContainerId::parse("web").unwrap();
        let unit = UnitPath::for_container(path.map(Path::new), &id, manager);
        Ok(unit.map_err(|error| error.to_string())?.cgroup(base).unwrap().to_string())
    }

    #[test]
    fn a_users_unit_is_below_its_manager() {
        let manager = CgroupPath::parse("/user.slice/user@7.service".as_ref()).unwrap();
        let of = |path| below(&manager, Manager::User, path).unwrap();
        assert_eq!(of(None), "/user.slice/user@7.service/user.slice/rcrun-web.scope");
        assert_eq!(of(Some("-.slice:a:b")), "/user.slice/user@7.service/a-b.scope");
    }

    #[test]
    fn a_unit_is_a_cgroup_below_its_slices() {
        assert_eq!(of(None).unwrap(), "/system.slice/rcrun-web.scope");
        assert_eq!(of(Some("")).unwrap(), "/system.slice/rcrun-web.scope");
        assert_eq!(of(Some("user.slice:libpod:abc")).unwrap(), "/user.slice/libpod-abc.scope");
        assert_eq!(of(Some("a-b-c.slice::x")).unwrap(), "/a.slice/a-b.slice/a-b-c.slice/x.scope");
        assert_eq!(of(Some("-.slice:p:x")).unwrap(), "/p-x.scope");
    }

    #[test]
    fn what_names_no_scope_is_refused() {
        for (bad, why) in [
            ("/a/b", "slice:prefix:name"),
            ("a:b", "slice:prefix:name"),
            ("a.slice:b:c:d", "slice:prefix:name"),
            ("a:b:c", "must end in .slice"),
            ("a--b.slice:b:c", "two in a row"),
            ("-a.slice:b:c", "a dash at an end"),
            ("a.slice:b:", "empty"),
            ("a.slice:b:c.slice", "a scope"),
            ("a.slice:b:c/d", "letters"),
            ("a.slice:../b:c", "letters"),
        ] {
            let error = of(Some(bad)).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
