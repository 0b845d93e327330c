//! Seccomp filters that are kept between runs, so that the filter of the same profile is compiled once.

use std::cell::Cell;

use oci_spec::runtime::LinuxSeccomp;

use crate::host;
use crate::plan::step::Step;
use crate::seccomp::{Filter, Key};
use crate::state::{Cache, Store};

/// The filters that one command asks for and, later, adds.
pub(super) struct Filters {
    cache: Cache,
    /// What was asked for last and not there.
    missed: Cell<Option<Key>>,
}

impl Filters {
    pub fn of(store: &Store) -> Self {
        Self { cache: store.filters(), missed: Cell::new(None) }
    }

    /// A filter that this rcrun has compiled from this profile before.
    pub fn find(&self, seccomp: &LinuxSeccomp) -> Option<Filter> {
        let key = Key::new(seccomp, &host::program_identity()?)?;
        let found = self.cache.read(&key.name()).and_then(|file| key.filter(&file, seccomp));
        self.missed.set(Some(key).filter(|_| found.is_none()));
        found
    }

    /// Keeps the filter among `steps` if it was not there. For when nobody waits: a process that has this
    /// filter is made already.
    pub fn keep(&self, steps: &[Step]) {
        let filter = steps.iter().find_map(|step| match step {
            Step::Seccomp(step) => Some(&step.filter),
            _ => None,
        });
        if let (Some(key), Some(filter)) = (self.missed.take(), filter) {
            self.cache.write(&key.name(), &key.file(filter));
        }
    }
}
