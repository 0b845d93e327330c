//! The options that every command has, and what follows from them.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use rcrun::cgroups::MissingControllers;
use rcrun::state::Store;

use super::log::{self, Format, Level, Log};

/// `--missing-controllers` for callers that pass no flags of ours.
const MISSING_CONTROLLERS: &str = "RCRUN_MISSING_CONTROLLERS";

/// Options of `rcrun` itself; all but `--rootless` are also taken after the command.
#[derive(clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Directory of the containers' state [default: /run/rcrun; not as root: $XDG_RUNTIME_DIR/rcrun]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Directory of images and their layers
    /// [default: $RCRUN_STORAGE, or /var/lib/rcrun; not as root: $XDG_DATA_HOME/rcrun or ~/.local/share/rcrun]
    #[arg(long, global = true, value_name = "DIR")]
    storage: Option<PathBuf>,
    /// File to append errors and warnings to; errors go to stderr as well
    #[arg(long, global = true, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Format of log entries
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: Format,
    /// Least severe entries to log [default: info in --log's file, else warning]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<Level>,
    /// Log everything, the same as --log-level debug
    #[arg(long, global = true)]
    debug: bool,
    /// Let systemd make the cgroups, each as a scope; linux.cgroupsPath is slice:prefix:name
    #[arg(long, global = true)]
    systemd_cgroup: bool,
    /// Who makes the cgroups; crun's way of saying --systemd-cgroup
    #[arg(long, global = true, value_name = "NAME", default_value = "cgroupfs")]
    cgroup_manager: CgroupManager,
    /// What to do about a limit whose cgroup controller the host lacks
    /// [default: $RCRUN_MISSING_CONTROLLERS, or refuse]
    #[arg(long, global = true, value_name = "ACTION")]
    missing_controllers: Option<Missing>,
    /// Do without a cgroup where making one is not permitted and no limits are asked for: true, false,
    /// or auto, which is true for all but the host's root
    #[arg(long, value_name = "BOOL", default_value = "auto", value_parser = parsed_rootless)]
    rootless: Rootless,
}

/// `--rootless`; None is auto.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rootless(Option<bool>);

/// `--cgroup-manager`, crun's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    /// The cgroup file system itself
    Cgroupfs,
    /// systemd over D-Bus: --systemd-cgroup
    Systemd,
    /// No cgroup at all: the container stays in the caller's
    Disabled,
}

/// `--missing-controllers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Missing {
    /// An error that names the controller
    Refuse,
    /// A warning in the log
    Skip,
}

impl Missing {
    /// The variable's value; an empty one is none.
    fn from_environment(value: Option<OsString>) -> anyhow::Result<Self> {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(Self::Refuse) };
        match value.to_str() {
            Some("refuse") => Ok(Self::Refuse),
            Some("skip") => Ok(Self::Skip),
            _ => bail!("environment variable {MISSING_CONTROLLERS} is {value:?}: expected refuse or skip"),
        }
    }
}

/// What a command needs to know beside its own flags.
pub struct Context {
    /// What to do about limits whose controller the host lacks.
    pub missing_controllers: MissingControllers,
    /// `--rootless`; None is auto.
    pub rootless: Option<bool>,
    root: PathBuf,
    root_given: bool,
    storage: Option<PathBuf>,
    cgroup_manager: CgroupManager,
}

impl Context {
    /// Opens the log and settles the defaults.
    pub fn new(global: Global) -> anyhow::Result<Self> {
        let level = if global.debug { Some(Level::Debug) } else { global.log_level };
        log::install(Log::open(global.log.as_deref(), global.log_format, level)?);
        let root_given = global.root.is_some();
        let root = match global.root {
            Some(root) => absolute_root(root)?,
            None => default_root(),
        };
        let missing_controllers = match global.missing_controllers {
            Some(missing) => missing,
            None => Missing::from_environment(std::env::var_os(MISSING_CONTROLLERS))?,
        };
        let missing_controllers = match missing_controllers {
            Missing::Refuse => MissingControllers::Refuse,
            Missing::Skip => MissingControllers::Skip,
        };
        let cgroup_manager =
            if global.systemd_cgroup { CgroupManager::Systemd } else { global.cgroup_manager };
        let (rootless, storage) = (global.rootless.0, global.storage);
        Ok(Self { missing_controllers, rootless, root, root_given, storage, cgroup_manager })
    }

    /// A directory beside that of all containers' state, `ROOT-NAME`, for a state of its own.
    pub fn beside_root(&self, name: &str) -> PathBuf {
        let mut path = self.root.clone().into_os_string();
        path.push("-");
        path.push(name);
        path.into()
    }

    /// The state directory of all containers.
    pub fn store(&self) -> Store {
        Store::new(self.root.clone(), log::warning)
    }

    /// The state directory if it is there: a missing default is an empty one, a missing `--root` an error.
    pub fn existing_store(&self) -> anyhow::Result<Option<Store>> {
        match std::fs::metadata(&self.root) {
            Ok(_) => Ok(Some(self.store())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.root_given => Ok(None),
            Err(error) => Err(error).with_context(|| format!("open state directory {}", self.root.display())),
        }
    }

    /// The directory of images: absolute.
    pub fn storage(&self) -> anyhow::Result<PathBuf> {
        let given = self.storage.clone().or_else(|| variable("RCRUN_STORAGE").map(PathBuf::from));
        match given {
            Some(storage) => {
                std::path::absolute(&storage).with_context(|| format!("--storage {}", storage.display()))
            }
            None => default_storage(),
        }
    }

    /// The cgroup manager for a new container.
    pub fn cgroup_manager(&self) -> CgroupManager {
        self.cgroup_manager
    }
}

/// `--root` as runc takes it: absolute, and not the file system's own root.
fn absolute_root(root: PathBuf) -> anyhow::Result<PathBuf> {
    let absolute = if root.as_os_str().is_empty() {
        PathBuf::from("/")
    } else {
        std::path::absolute(&root).with_context(|| format!("--root {}", root.display()))?
    };
    let mut clean = PathBuf::new();
    for component in absolute.components() {
        match component {
            std::path::Component::ParentDir => drop(clean.pop()),
            other => clean.push(other),
        }
    }
    if clean.parent().is_none() {
        bail!(
            "--root {} is the root directory itself: choose a directory for the state alone",
            root.display()
        );
    }
    Ok(clean)
}

/// /run/rcrun for root, below $XDG_RUNTIME_DIR for everyone else; runc's rule.
fn default_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !dir.is_empty() && !is_host_root() => PathBuf::from(dir).join("rcrun"),
        _ => PathBuf::from("/run/rcrun"),
    }
}

/// /var/lib/rcrun for root, else where the XDG base directory specification has a user's data.
fn default_storage() -> anyhow::Result<PathBuf> {
    if is_host_root() {
        return Ok(PathBuf::from("/var/lib/rcrun"));
    }
    let data = variable("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    match data {
        Some(data) => Ok(data.join("rcrun")),
        None => bail!("neither HOME nor XDG_DATA_HOME is set: say --storage DIR"),
    }
}

/// A variable of the environment that is not empty.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Root of the machine, and not of a user namespace that somebody else owns.
pub(super) fn is_host_root() -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let everyone = "0 0 4294967295";
    let maps_everyone = std::fs::read_to_string("/proc/self/uid_map")
        .map(|map| map.split_whitespace().collect::<Vec<_>>().join(" ") == everyone)
        .unwrap_or(true);
    maps_everyone || std::env::var("USER").is_ok_and(|user| user == "root")
}

/// `--rootless`: `auto`, or a boolean as Go spells it.
fn parsed_rootless(value: &str) -> Result<Rootless, &'static str> {
    match value.to_ascii_lowercase().as_str() {
        "" | "auto" => Ok(Rootless(None)),
        "1" | "t" | "true" => Ok(Rootless(Some(true))),
        "0" | "f" | "false" => Ok(Rootless(Some(false))),
        _ => Err("expected true, false or auto"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_is_absolute_and_never_the_root() {
        assert_eq!(absolute_root("/run/x/../y".into()).unwrap(), PathBuf::from("/run/y"));
        assert!(absolute_root("state".into()).unwrap().is_absolute());
        for root in ["/", "", "/..", "/run/.."] {
            assert!(absolute_root(root.into()).is_err(), "{root:?}");
        }
    }

    #[test]
    fn the_environment_may_choose_about_missing_controllers() {
        let chosen = |value: &str| Missing::from_environment(Some(value.into()));
        assert_eq!(Missing::from_environment(None).unwrap(), Missing::Refuse);
        assert_eq!(chosen("").unwrap(), Missing::Refuse);
        assert_eq!(chosen("skip").unwrap(), Missing::Skip);
        let error = chosen("nope").unwrap_err().to_string();
        assert!(error.contains(MISSING_CONTROLLERS) && error.contains("nope"), "{error}");
    }

    #[test]
    fn rootless_takes_gos_booleans() {
        for (value, meaning) in
            [("auto", None), ("", None), ("true", Some(true)), ("T", Some(true)), ("False", Some(false))]
        {
            assert_eq!(parsed_rootless(value), Ok(Rootless(meaning)), "{value}");
        }
        assert!(parsed_rootless("maybe").is_err());
    }
}
