//! What is said about containers: `state`, `list`, `ps`, `events`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Error;
use super::container::Container;
use crate::cgroups::{Cgroup, Stats};
use crate::id::ContainerId;
use crate::resctrl::{Group, Resctrl};
use crate::state::{Record, StateError, Status, Store};

/// A container's state: the specification's, and what runc adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerReport {
    /// ociVersion of its configuration.
    pub oci_version: String,
    /// Its name.
    pub id: ContainerId,
    /// The pid of its first process; 0 where there is none.
    pub pid: i32,
    /// Its status.
    pub status: Status,
    /// Its bundle's directory.
    pub bundle: PathBuf,
    /// Its root file system's directory.
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Who made it: a user's name, or `#` and a uid.
    pub owner: String,
}

/// One container's state.
pub fn state(store: &Store, id: &ContainerId) -> Result<ContainerReport, Error> {
    Ok(report(&Container::open(store, id)?))
}

/// Every container's state, by name. What is deleted meanwhile is left out.
pub fn list(store: &Store) -> Result<Vec<ContainerReport>, Error> {
    let mut reports = Vec::new();
    for id in store.ids()? {
        match Container::open(store, &id) {
            Ok(container) => reports.push(report(&container)),
            Err(Error::State(StateError::NotFound { .. })) => {}
            Err(error) => store.warn(&format!("container {id}: {error}")),
        }
    }
    Ok(reports)
}

/// The pids of a container's processes, in this PID namespace.
pub fn processes(store: &Store, id: &ContainerId) -> Result<Vec<i32>, Error> {
    let container = Container::open(store, id)?;
    match container.cgroup()? {
        Some(cgroup) => Ok(cgroup.pids()?),
        None if container.record.as_ref().is_some_and(|record| record.cgroup.is_some()) => Ok(vec![]),
        None => Err(Error::NoCgroup { id: id.clone() }),
    }
}

/// What statistics are read from: a running container's cgroup and, where it has one, its resctrl
/// group.
pub struct Statistics {
    /// The cgroup.
    pub cgroup: Cgroup,
    group: Option<(Resctrl, Group)>,
}

impl Statistics {
    /// What the container has used.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = self.cgroup.stats()?;
        if let Some((resctrl, group)) = &self.group {
            stats.intel_rdt = group.stats(resctrl)?;
        }
        Ok(stats)
    }

    /// The same; None where its processes have ended, the cgroup being removed perhaps: what is not there any more reads as if
    /// nothing had been used.
    pub fn stats_if_running(&self) -> Result<Option<Stats>, Error> {
        let stats = self.stats();
        // After the reading, so that it cannot have ended within that.
        match self.cgroup.is_populated()? {
            true => stats.map(Some),
            false => Ok(None),
        }
    }
}

/// A running container's statistics.
pub fn statistics(store: &Store, id: &ContainerId) -> Result<Statistics, Error> {
    let container = Container::open(store, id)?;
    container.expect(
        &[Status::Created, Status::Running, Status::Paused],
        "a container without processes has no statistics",
    )?;
    let cgroup = container.needed_cgroup()?;
    let group = container.record.as_ref().and_then(|record| record.resctrl.clone());
    let group = match group {
        Some(group) => Resctrl::mounted()?.map(|resctrl| (resctrl, group)),
        None => None,
    };
    Ok(Statistics { cgroup, group })
}

fn report(container: &Container) -> ContainerReport {
    let status = container.status();
    let pid = match status {
        Status::Stopped | Status::Creating => 0,
        _ => container.init().map_or(0, |init| init.pid),
    };
    let id = container.id().clone();
    match &container.record {
        Some(record) => of_record(id, pid, status, record),
        None => ContainerReport {
            oci_version: crate::spec::OCI_VERSION.into(),
            id,
            pid,
            status,
            bundle: PathBuf::new(),
            rootfs: PathBuf::new(),
            created: String::new(),
            annotations: BTreeMap::new(),
            owner: String::new(),
        },
    }
}

fn of_record(id: ContainerId, pid: i32, status: Status, record: &Record) -> ContainerReport {
    ContainerReport {
        oci_version: record.oci_version.clone(),
        id,
        pid,
        status,
        bundle: record.bundle.clone(),
        rootfs: record.rootfs.clone(),
        created: record.created.clone(),
        annotations: record.annotations.clone(),
        owner: user_name(record.owner),
    }
}

/// The name of a user in /etc/passwd. A static binary has no NSS, so users of other sources are
/// numbers.
fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    passwd.lines().find_map(named).unwrap_or_else(|| format!("#{uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_has_ended_has_no_statistics() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("cgroup");
        std::fs::create_dir(&directory).unwrap();
        let populated = |value: &str| {
            std::fs::write(directory.join("cgroup.events"), format!("populated {value}\n")).unwrap();
        };
        populated("1");
        std::fs::write(directory.join("pids.current"), "7").unwrap();
        let sources = Statistics { cgroup: Cgroup::fake(&directory), group: None };
        let stats = || sources.stats_if_running().map(|stats| stats.map(|stats| stats.pids.current));
        assert_eq!(stats().unwrap(), Some(7));
        // What cannot be read is an error of one that runs alone.
        std::fs::create_dir(directory.join("cpu.stat")).unwrap();
        assert!(stats().unwrap_err().to_string().contains("cannot read cpu.stat of cgroup /fake"));
        populated("0");
        assert_eq!(stats().unwrap(), None);
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(stats().unwrap(), None);
    }
}
