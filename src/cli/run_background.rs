//! `run --detach IMAGE`: a container in the background.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use rcrun::background::{self as library, BackgroundError};
use rcrun::image::container::mounts::Places;
use rcrun::monitor::MonitorError;

use super::run_image::{self, OWN_ERROR, VOLUMES, Wanted};
use super::{Command as _, Context, WithStatus, background, base, log, output};

/// Runs it and prints its id; errors have docker's exit statuses.
pub fn run(wanted: Wanted, context: &Context) -> anyhow::Result<u8> {
    run_within(wanted, context).map_err(|error| {
        let status = match error.downcast_ref::<BackgroundError>() {
            Some(BackgroundError::Monitor(MonitorError::Refused(words))) => run_image::status_of_words(words),
            _ => OWN_ERROR,
        };
        WithStatus { error, status }.into()
    })
}

fn run_within(wanted: Wanted, context: &Context) -> anyhow::Result<u8> {
    let Wanted { name, args, id, called, image, flags, .. } = wanted;
    let here = std::env::current_dir().context("the working directory")?;
    let (platform, pull) = (image.platform.clone(), image.pull.unwrap_or_default());
    let (registry, ports) = (image.registry.clone(), image.ports()?);
    let (remove, stdin, stop_timeout) = (image.rm, image.interactive, image.stop_timeout);
    let storage = context.storage()?;
    let places = Places { here: &here, volumes: &storage.join(VOLUMES) };
    let options = image.options(args, places, true)?;
    let create = flags.options(id, ".".into(), context)?;
    for (flag, given) in [
        ("--console-socket", create.console_socket.is_some()),
        ("--pidfd-socket", create.pidfd_socket.is_some()),
        ("--pid-file", create.pid_file.is_some()),
        ("--preserve-fds", create.preserve_fds > 0),
        ("--cgroup-manager disabled", create.no_cgroup),
    ] {
        if given {
            bail!("{flag} is for a container in the foreground: leave --detach out");
        }
    }
    let base::Found { store, image, in_use } =
        base::find(&storage, &name, (platform.as_ref(), pull), &registry)?;
    let containers = background::of(context, store);
    let wanted = library::Wanted {
        name: called,
        image: name,
        options,
        ports,
        remove,
        stdin,
        stop_timeout,
        missing_controllers: create.missing_controllers,
        systemd_cgroup: create.systemd_cgroup,
        ended: (own_program()?, called_back(context)?),
    };
    let made = containers.run(&image, in_use, wanted)?;
    for note in &made.notes {
        log::debug(|| note.clone());
    }
    output::print(&format!("{}\n", made.record.id))?;
    Ok(0)
}

/// How the shim calls this program when the container has ended.
fn called_back(context: &Context) -> anyhow::Result<Vec<String>> {
    let text = |path: PathBuf| match path.into_os_string().into_string() {
        Ok(text) => Ok(text),
        Err(path) => bail!("{path:?} is no UTF-8: choose another directory"),
    };
    let root = text(context.store().root().to_owned())?;
    let storage = text(context.storage()?)?;
    let name = background::Ended::NAME.to_owned();
    Ok(vec!["--root".into(), root, "--storage".into(), storage, name])
}

/// This program's file. It runs from a mount of its own, where it has no path ([`rcrun::sealed`]).
fn own_program() -> anyhow::Result<PathBuf> {
    rcrun::host::own_program().context("find the program rcrun on this machine")
}
