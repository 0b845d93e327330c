//! nfs: a file system of a server, mounted by the kernel without mount.nfs.
//!
//! A server that takes connections and says nothing keeps a mount in the kernel for ever, and so does one that is gone with the end of
//! a mount, which gives back what the client holds; nothing but a signal ends that. So both are done by a process of its own, this program
//! once more, which is killed when it takes too long: [`child`] starts it, and what it does is [`kernel`] and [`super::mount`].

mod child;
mod kernel;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mount::{self, is_mounted};
use child::End;

pub use child::VERB;

/// For the server's name, its answers and the mount.
const LONGEST_MOUNT: Duration = Duration::from_secs(30);
/// For what a server is told that is not used any more. By then the mounts are gone from their places.
const LONGEST_DETACH: Duration = Duration::from_secs(10);

/// What the process is to do; as JSON its argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Request {
    Mount(Mount),
    Detach(Vec<PathBuf>),
}

/// What is to be mounted where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mount {
    server: String,
    path: String,
    options: Vec<String>,
    read_only: bool,
    target: PathBuf,
}

/// Mounts `server:path`, unless something is mounted there already.
pub(super) fn mount(
    server: &str,
    path: &str,
    options: &[String],
    read_only: bool,
    target: &Path,
) -> Result<(), String> {
    if is_mounted(target).map_err(|error| error.to_string())? {
        return Ok(());
    }
    let request = Request::Mount(Mount {
        server: server.to_owned(),
        path: path.to_owned(),
        options: options.to_vec(),
        read_only,
        target: target.to_owned(),
    });
    let silent =
        || format!("the server takes connections, but did not answer within {} s", LONGEST_MOUNT.as_secs());
    let mounted = match done(&request, LONGEST_MOUNT) {
        Ok(End::Itself) => Ok(()),
        Ok(End::Killed) => Err(silent()),
        Ok(End::Held) => Err(format!("{}, and the kernel still waits for it", silent())),
        Err(why) => Err(why),
    };
    mounted.map_err(|why| format!("nfs {server}:{path}: {why}"))
}

/// Unmounts what is mounted on these paths. Whether it is done is to be seen there: the server may have been asked in vain.
pub(super) fn detach(paths: Vec<PathBuf>) -> Result<(), String> {
    done(&Request::Detach(paths), LONGEST_DETACH).map(drop)
}

fn done(request: &Request, longest: Duration) -> Result<End, String> {
    // Unit tests are no program that could be started again, and have mounts of one thread alone.
    if cfg!(test) { perform(request).map(|()| End::Itself) } else { child::run(request, longest) }
}

/// What the process does with its argument. What it says is for its standard output.
pub fn serve(request: &str) -> Result<(), String> {
    child::end_with_parent()?;
    perform(&serde_json::from_str(request).map_err(|error| format!("{VERB}: {error}"))?)
}

fn perform(request: &Request) -> Result<(), String> {
    match request {
        Request::Mount(request) => kernel::mount(request),
        // At once: with the last mount of a file system its server is asked, and the others would wait for that.
        Request::Detach(paths) => std::thread::scope(|scope| {
            let threads: Vec<_> = paths.iter().map(|path| scope.spawn(|| mount::detach(path))).collect();
            let ended = threads.into_iter().map(|thread| thread.join().map_err(|_| "it panicked".to_owned()));
            ended.map(|done| done?.map_err(|error| error.to_string())).fold(Ok(()), Result::and)
        }),
    }
}
