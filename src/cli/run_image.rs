//! `run IMAGE`: the image's half of `run`.

use std::path::Path;

use anyhow::{Context as _, bail};
use rcrun::background::{Containers, Lock};
use rcrun::id::ContainerId;
use rcrun::image::container::mounts::Places;
use rcrun::image::container::options::Network;
use rcrun::image::container::{self, Base, Life, Options, Prepared};
use rcrun::launch::LaunchError;
use rcrun::lifecycle::{self, RunOptions};
use rcrun::network::PortMapping;
use rcrun::state::Store;
use rustix::fs::{Mode, OFlags};

use super::create::CreateFlags;
use super::image_flags::ImageFlags;
use super::{Context, WithStatus, background, base, log, output};

/// docker's exit status for its own errors.
pub(super) const OWN_ERROR: u8 = 125;
/// Of volumes with names, in the store's directory.
pub(super) const VOLUMES: &str = "volumes";
pub(super) const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// What is to be run.
pub struct Wanted {
    pub name: String,
    pub args: Vec<String>,
    pub id: ContainerId,
    /// The name as it was given.
    pub called: Option<String>,
    pub image: ImageFlags,
    pub flags: CreateFlags,
    pub run: RunOptions,
    pub print_id: bool,
}

/// Runs it; errors have docker's exit statuses.
pub fn run(wanted: Wanted, context: &Context) -> anyhow::Result<u8> {
    run_within(wanted, context).map_err(|error| {
        let status = error.downcast_ref::<lifecycle::Error>().map_or(OWN_ERROR, status_of);
        WithStatus { error, status }.into()
    })
}

fn run_within(wanted: Wanted, context: &Context) -> anyhow::Result<u8> {
    let Wanted { name, args, id, image, flags, run, print_id, .. } = wanted;
    check_terminal(&image)?;
    let ports = image.ports()?;
    let here = std::env::current_dir().context("the working directory")?;
    let (platform, pull) = (image.platform.clone(), image.pull.unwrap_or_default());
    let (interactive, registry) = (image.interactive, image.registry.clone());
    let storage = context.storage()?;
    let places = Places { here: &here, volumes: &storage.join(VOLUMES) };
    let mut options = image.options(args, places, false)?;
    let create = flags.options(id, ".".into(), context)?;
    // Before this process has a second thread, and before it opens anything of the store.
    super::enter_user_namespace()?;
    let found = base::find(&storage, &name, (platform.as_ref(), pull), &registry)?;
    let store = context.store();
    let plugged = Plugged::plug(context, &create.id, &mut options, &ports)?;
    let prepared = prepare(&name, found, &options, (&create.id, &store, !run.keep))?;
    let plugged = plugged.map(Plugged::unlocked);
    for note in &prepared.notes {
        log::debug(|| note.clone());
    }
    if !interactive {
        without_input()?;
    }
    if print_id {
        output::print(&format!("{}\n", create.id))?;
    }
    let Prepared { bundle, mut directory, .. } = prepared;
    let ran = lifecycle::run_bundle(&store, bundle, &create, &run);
    // The directory goes with the container: what is left of both is known by the container's record.
    if ran.is_ok() || store.open(&create.id).is_ok() {
        directory.keep();
    }
    drop(plugged);
    Ok(ran?)
}

/// The container's place on the bridge, given back on drop.
struct Plugged {
    containers: Containers,
    id: ContainerId,
    /// Until the container has a directory.
    lock: Option<Lock>,
}

impl Plugged {
    /// Where the options say so.
    fn plug(
        context: &Context,
        id: &ContainerId,
        options: &mut Options,
        ports: &[PortMapping],
    ) -> anyhow::Result<Option<Self>> {
        if options.network != Network::Bridge {
            return Ok(None);
        }
        if rcrun::host::in_user_namespace() {
            bail!("--network bridge needs root: choose --network none or host");
        }
        let containers = background::open(context)?;
        let lock = containers.lock()?;
        let network = containers.plug(&lock, id, ports)?;
        options.plugged = network.plugged();
        Ok(Some(Self { containers, id: id.clone(), lock: Some(lock) }))
    }

    fn unlocked(mut self) -> Self {
        self.lock = None;
        self
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        if let Err(error) = self.containers.unplug_id(&self.id) {
            log::warning(&format!("the network of container {}: {error}", self.id));
        }
    }
}

fn prepare(
    name: &str,
    found: base::Found,
    options: &Options,
    (id, store, removed): (&ContainerId, &Store, bool),
) -> anyhow::Result<Prepared> {
    let base = Base { store: &found.store, image: &found.image, name };
    let state: &Path = store.root();
    // Nobody else's container has this name, or the directory would be its.
    if store.open(id).is_ok() {
        bail!("container id {id} is in use (in {:?}): delete that container, or choose another id", state);
    }
    Ok(container::prepare(base, found.in_use, options, Life { id, state, removed, keeper: None })?)
}

pub(super) fn check_terminal(image: &ImageFlags) -> anyhow::Result<()> {
    let is_terminal = rustix::termios::isatty(rustix::stdio::stdin());
    if image.tty && image.interactive && !is_terminal {
        bail!("--interactive with --tty: standard input is no terminal: leave --tty out");
    }
    Ok(())
}

/// The process reads nothing, whatever standard input is.
pub(super) fn without_input() -> anyhow::Result<()> {
    let null = rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let null = null.context("open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).context("replace standard input")
}

pub(super) fn status_of(error: &lifecycle::Error) -> u8 {
    match error {
        lifecycle::Error::Launch(LaunchError::Child(child)) => status_of_words(&child.text),
        _ => OWN_ERROR,
    }
}

/// The child's own words tell what of the program failed: `src/launch/child.rs`.
pub(super) fn status_of_words(text: &str) -> u8 {
    if !text.starts_with("exec \"") {
        return OWN_ERROR;
    }
    match text.ends_with("not found in $PATH") || text.ends_with("no such file or directory") {
        true => NOT_FOUND,
        false => NOT_EXECUTABLE,
    }
}
