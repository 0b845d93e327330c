//! User namespaces: the ids of the host that a Pod's ids are.
//!
//! A Pod with `hostUsers: false` gets a range when it is first asked for. It is written to `STATE/pods/UID/users`, so that it stays
//! the Pod's over restarts of the agent, and goes with the Pod's directory.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;

use crate::cri::api::{IdMapping, NamespaceMode, UserNamespace};
use crate::objects::Typed as _;

/// Above what systemd and useradd give away, below what programs with signed ids take.
const FIRST: u32 = 0x7000_0000;
const RANGES: u32 = 4096;
const FILE: &str = "users";

/// 65,536 ids of the host, of which a Pod with `hostUsers: false` has ids 0 to 65,535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserRange {
    /// The host's id of the Pod's root.
    pub first: u32,
}

impl UserRange {
    /// Ids in a range.
    pub const LENGTH: u32 = 65_536;

    /// The mapping, for users and groups.
    pub fn mapping(self) -> IdMapping {
        IdMapping { host_id: self.first, container_id: 0, length: Self::LENGTH }
    }
}

/// The ranges of all Pods.
#[derive(Clone, Debug)]
pub struct UserRanges {
    pods: PathBuf,
    /// One is given at a time.
    giving: Arc<Mutex<()>>,
}

impl UserRanges {
    /// Kept in the Pods' directories below this one.
    pub fn below(pods: PathBuf) -> Self {
        Self { pods, giving: Arc::default() }
    }

    /// The range of a Pod, and None where it has the host's users. Errors are for people.
    pub fn of(&self, pod: &Pod) -> Result<Option<UserRange>, String> {
        if pod.spec.as_ref().and_then(|spec| spec.host_users) != Some(false) {
            return Ok(None);
        }
        let file = self.pods.join(pod.uid()).join(FILE);
        let _one = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        let failed =
            |error| format!("spec.hostUsers: cannot set user ids aside in {}: {error}", file.display());
        if let Some(range) = read(&file).map_err(failed)? {
            return Ok(Some(range));
        }
        let taken = self.taken().map_err(failed)?;
        let range = (0..RANGES).map(|index| UserRange { first: FIRST + index * UserRange::LENGTH });
        let Some(range) = range.into_iter().find(|range| !taken.contains(range)) else {
            return Err(format!("spec.hostUsers: all {RANGES} ranges of user ids are other Pods'"));
        };
        write(&file, range).map_err(failed)?;
        Ok(Some(range))
    }

    fn taken(&self) -> io::Result<BTreeSet<UserRange>> {
        let pods = match fs::read_dir(&self.pods) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            pods => pods?,
        };
        let ranges = pods.map(|pod| read(&pod?.path().join(FILE)));
        ranges.filter_map(Result::transpose).collect()
    }
}

fn read(file: &Path) -> io::Result<Option<UserRange>> {
    match fs::read_to_string(file) {
        Ok(text) => {
            let first = text.trim().parse().map_err(|_| io::Error::other("it is not a number"))?;
            Ok(Some(UserRange { first }))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whole: half a number would be another's range.
fn write(file: &Path, range: UserRange) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = file.with_extension("new");
    fs::write(&new, range.first.to_string())?;
    fs::rename(new, file)
}

/// The CRI's message; the host's users where there is no range.
pub(super) fn namespace(range: Option<UserRange>) -> UserNamespace {
    let (mode, mappings) = match range {
        Some(range) => (NamespaceMode::Pod, vec![range.mapping()]),
        None => (NamespaceMode::Node, Vec::new()),
    };
    UserNamespace { mode: mode.into(), uids: mappings.clone(), gids: mappings }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;

    use super::*;

    fn pod(uid: &str, host_users: Option<bool>) -> Pod {
        let mut pod = Pod { spec: Some(PodSpec { host_users, ..Default::default() }), ..Default::default() };
        pod.metadata.uid = Some(uid.into());
        pod
    }

    #[test]
    fn each_pod_has_a_range_of_its_own_that_stays() {
        let state = tempfile::tempdir().expect("a directory");
        let ranges = UserRanges::below(state.path().join("pods"));
        assert_eq!(ranges.of(&pod("host", None)), Ok(None));
        let first = ranges.of(&pod("a", Some(false))).expect("a range").expect("one");
        let second = ranges.of(&pod("b", Some(false))).expect("a range").expect("one");
        assert!(second.first >= first.first + UserRange::LENGTH);
        let again = UserRanges::below(state.path().join("pods"));
        assert_eq!(again.of(&pod("b", Some(false))), Ok(Some(second)));
        fs::remove_dir_all(state.path().join("pods/a")).expect("removed");
        assert_eq!(again.of(&pod("c", Some(false))), Ok(Some(first)));
        fs::write(state.path().join("pods/c/users"), "12x").expect("written");
        let error = again.of(&pod("c", Some(false))).expect_err("it is no number");
        assert!(error.contains("pods/c/users: it is not a number"), "{error}");
    }
}
