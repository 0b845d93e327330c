//! A container that exists: its directory, its record, its cgroup.

use super::Error;
use crate::cgroups::{Cgroup, CgroupError, CgroupPath, Hierarchy};
use crate::id::ContainerId;
use crate::spec::{self, Spec};
use crate::state::{Directory, ProcessId, Record, Status, Store};

/// A stored container, open.
#[derive(Debug)]
pub(super) struct Container {
    pub directory: Directory,
    pub record: Option<Record>,
}

impl Container {
    pub fn open(store: &Store, id: &ContainerId) -> Result<Self, Error> {
        let directory = store.open(id)?;
        let record = directory.read_record()?;
        Ok(Self { directory, record })
    }

    pub fn id(&self) -> &ContainerId {
        self.directory.id()
    }

    /// Reads the record again: under the lock it may be another.
    pub fn reload(&mut self) -> Result<(), Error> {
        self.record = self.directory.read_record()?;
        Ok(())
    }

    pub fn status(&self) -> Status {
        let is_frozen = || matches!(self.cgroup(), Ok(Some(cgroup)) if cgroup.is_frozen().unwrap_or(false));
        Status::of(&self.directory, self.record.as_ref(), is_frozen)
    }

    pub fn init(&self) -> Option<ProcessId> {
        self.record.as_ref()?.init
    }

    /// Its cgroup; None where it has none, or where that is gone.
    pub fn cgroup(&self) -> Result<Option<Cgroup>, CgroupError> {
        let Some(path) = self.record.as_ref().and_then(|record| record.cgroup.as_deref()) else {
            return Ok(None);
        };
        let path = CgroupPath::parse(path.as_ref())?;
        match Cgroup::open(&Hierarchy::find()?, &path) {
            Ok(cgroup) => Ok(Some(cgroup)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Its cgroup, for a command that cannot do without.
    pub fn needed_cgroup(&self) -> Result<Cgroup, Error> {
        self.cgroup()?.ok_or_else(|| Error::NoCgroup { id: self.id().clone() })
    }

    /// The configuration that it was made from.
    pub fn spec(&self) -> Result<Spec, Error> {
        Ok(spec::parse(&self.directory.read_config()?)?)
    }

    /// Is its status one of `allowed`? Else the error says so, with `cure`.
    pub fn expect(&self, allowed: &[Status], cure: &'static str) -> Result<Status, Error> {
        let status = self.status();
        match allowed.contains(&status) {
            true => Ok(status),
            false => Err(Error::Status { id: self.id().clone(), status, cure }),
        }
    }
}
