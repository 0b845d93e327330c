//! The `rcrun-shim` program: holds one container. `rcrun` and `rcrun-cri` start it through [`rcrun::monitor`]; nobody does by hand.
//!
//! ```text
//! rcrun-shim run BUNDLE       makes the container of BUNDLE/shim.json and holds it
//! rcrun-shim adopt BUNDLE     holds a container whose shim was killed
//! rcrun-shim discard BUNDLE   removes what such a container has
//! rcrun-shim init             is the first process of a Pod's shared PID namespace
//! ```
//!
//! One thread, one loop ([`shim`]), no async runtime. Descriptor 3 is where its caller hears how the start went, 4 the root
//! file system's mount, if there is one.
#![cfg_attr(not(test), no_main)]

mod adopt;
mod attach;
mod ending;
mod error;
mod exec;
mod init;
mod lines;
mod log;
mod program;
mod requests;
mod shim;
mod start;
mod streams;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rcrun::monitor::wire;
use rcrun::monitor::{Launched, Settings};
use rcrun::{sealed, text};
use rustix::net::SendFlags;

use crate::adopt::Adopted;
use crate::error::ShimError;
use crate::shim::Shim;
use crate::start::Started;

/// Where the caller listens, and where it has put the root's mount.
const CALLER: i32 = 3;
const ROOT: i32 = 4;

#[cfg(not(test))]
rcrun::start!(run);

/// Does what the arguments say; the result is the exit status.
#[cfg_attr(test, allow(dead_code))]
fn run() -> u8 {
    let args: Vec<OsString> = std::env::args_os().collect();
    let mode = args.get(1).and_then(|mode| mode.to_str()).unwrap_or_default();
    match (mode, args.get(2)) {
        ("--version", None) => {
            let _ = rustix::io::write(
                rustix::stdio::stdout(),
                concat!(env!("CARGO_PKG_VERSION"), "\n").as_bytes(),
            );
            0
        }
        ("init", None) => init::run(),
        ("run", Some(bundle)) => with_caller(&args, |caller| run_container(bundle.as_ref(), caller)),
        ("adopt", Some(bundle)) => with_caller(&args, |caller| adopt_container(bundle.as_ref(), caller)),
        ("discard", Some(bundle)) => with_caller(&args, |caller| {
            ending::discard(&Settings::read(bundle.as_ref())?)?;
            tell(&caller, &Launched::Over);
            Ok(())
        }),
        _ => {
            let usage = b"rcrun-shim is started by rcrun and rcrun-cri: nothing for a person to call\n";
            let _ = rustix::io::write(rustix::stdio::stderr(), usage);
            2
        }
    }
}

/// Runs `body` in the sealed program; its error goes to the caller.
fn with_caller(args: &[OsString], body: impl FnOnce(OwnedFd) -> Result<(), ShimError>) -> u8 {
    let sealed = sealed::seal(args);
    let Ok(caller) = rcrun::sys::process::take_passed(CALLER) else { return 2 };
    let Ok(words) = rustix::io::fcntl_dupfd_cloexec(&caller, 5) else { return 2 };
    // Whatever directory the caller was in may be unmounted.
    let _ = rustix::process::chdir("/");
    match sealed.map_err(ShimError::from).and_then(|()| body(caller)) {
        Ok(()) => 0,
        Err(error) => {
            tell(&words, &Launched::Failed { message: text::error_line(&error) });
            1
        }
    }
}

/// A caller that is gone meanwhile hears nothing, and the container goes on.
fn tell(caller: &OwnedFd, launched: &Launched) {
    let _ = wire::send(caller.as_fd(), launched, &[], SendFlags::DONTWAIT);
}

fn run_container(bundle: &Path, caller: OwnedFd) -> Result<(), ShimError> {
    let settings = Settings::read(bundle)?;
    let root = match settings.root {
        Some(_) => Some(rcrun::sys::process::take_passed(ROOT).map_err(ShimError::call("root mount"))?),
        None => None,
    };
    let started = start::start(settings, root)?;
    hold(started, caller)
}

fn adopt_container(bundle: &Path, caller: OwnedFd) -> Result<(), ShimError> {
    match adopt::adopt(Settings::read(bundle)?)? {
        Adopted::Running(started) => hold(*started, caller),
        Adopted::Over => {
            tell(&caller, &Launched::Over);
            Ok(())
        }
    }
}

fn hold(started: Started, caller: OwnedFd) -> Result<(), ShimError> {
    tell(&caller, &Launched::Running { pid: started.init.pid, at: started.init.started });
    drop(caller);
    Shim::hold(started)
}
