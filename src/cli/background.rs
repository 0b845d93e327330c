//! What the commands about containers in the background have in common.

use std::os::fd::OwnedFd;

use anyhow::Context as _;
use rcrun::background::{BackgroundError, Containers, Record};
use rcrun::id::ContainerId;
use rcrun::image::container::users;
use rcrun::image::store::Store;
use rcrun::lifecycle;
use rustix::fs::{Mode, OFlags};

use super::{Command, Context, log, output};

/// Of the directory beside that of all containers' state: `/run/rcrun-shims`.
const SHIMS: &str = "shims";

/// The containers; the store is made where there is none.
pub fn open(context: &Context) -> anyhow::Result<Containers> {
    Ok(of(context, Store::open(&context.storage()?)?))
}

/// The containers; None where there is no store.
pub fn existing(context: &Context) -> anyhow::Result<Option<Containers>> {
    Ok(Store::existing(&context.storage()?)?.map(|store| of(context, store)))
}

/// The containers of a store.
pub fn of(context: &Context, store: Store) -> Containers {
    Containers::new(store, context.store(), context.beside_root(SHIMS))
}

/// The id of the container in the background that `word` means: None where it means none, or one that is the caller's own.
pub fn id_of(context: &Context, word: &str) -> anyhow::Result<Option<String>> {
    let own = ContainerId::parse(word).is_ok_and(|id| context.store().open(&id).is_ok());
    let Ok(Some(containers)) = existing(context) else { return Ok(None) };
    if own {
        return Ok(containers.has(word).then(|| word.to_owned()));
    }
    match containers.find(word) {
        Ok(record) => Ok(Some(record.id)),
        Err(BackgroundError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `USER[:GROUP]` as numbers, by the files of a running container, and the user's further groups.
pub fn user_of(context: &Context, id: &str, user: &str) -> anyhow::Result<(String, Vec<u32>)> {
    let pid = lifecycle::state(&context.store(), &ContainerId::parse(id)?)?.pid;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty());
    let root: OwnedFd = root.context("open the container's root")?;
    let found = users::resolve(&root, user, &[]).with_context(|| format!("--user {user}"))?;
    Ok((format!("{}:{}", found.uid, found.gid), found.groups))
}

/// Does `work` with each of the containers that `words` mean, says those that it was done with, and goes on past an error.
pub fn each(
    context: &Context,
    words: &[String],
    work: impl Fn(&Containers, &Record) -> Result<(), BackgroundError>,
) -> anyhow::Result<u8> {
    let containers = existing(context)?;
    let mut failed = false;
    for word in words {
        let not_found = || BackgroundError::NotFound { word: word.clone() };
        let done = containers.as_ref().ok_or_else(not_found).and_then(|containers| {
            let record = containers.find(word)?;
            work(containers, &record)
        });
        match done {
            Ok(()) => output::print(&format!("{word}\n"))?,
            Err(error) => {
                failed = true;
                log::error(&error.to_string());
            }
        }
    }
    Ok(u8::from(failed))
}

/// Flags of `container-ended`.
#[derive(clap::Args)]
pub struct Ended {
    /// The container's id
    id: String,
}

impl Command for Ended {
    const NAME: &'static str = "container-ended";
    const ABOUT: &'static str =
        "Give back what an ended container in the background held: its shim calls this";
    const HIDDEN: bool = true;

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        if let Some(containers) = existing(context)? {
            containers.ended(&self.id)?;
        }
        Ok(0)
    }
}
