//! The flags that `checkpoint` and `restore` share, and CRIU's options of them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::CriuError;
use super::client::in_path;
pub use super::rpc::CgroupsMode;
use super::rpc::{NetworkLock, Options, PageServer};
use crate::spec::Spec;

/// The annotation that names a configuration file of CRIU's for one container.
const CONFIG_ANNOTATION: &str = "org.criu.config";
/// That file where there is no such annotation; one that is not there is no error for CRIU.
const CONFIG_FILE: &str = "/etc/criu/runc.conf";
/// CRIU's level of "debug".
const LOG_LEVEL: i32 = 4;

/// Names and meanings are runc's. Paths are absolute.
#[derive(Clone, Debug)]
pub struct CriuOptions {
    /// The directory of the images.
    pub image_path: PathBuf,
    /// The directory of logs and statistics; None: that of the images.
    pub work_path: Option<PathBuf>,
    /// The images that this dump continues, relative to `image_path`.
    pub parent_path: Option<PathBuf>,
    /// Let the container run on.
    pub leave_running: bool,
    /// Take established TCP connections along.
    pub tcp_established: bool,
    /// Leave TCP connections out that are not established yet.
    pub tcp_skip_in_flight: bool,
    /// Give deleted files a name for the time being.
    pub link_remap: bool,
    /// Allow connections over Unix sockets to the outside.
    pub external_unix_sockets: bool,
    /// The process is of a session of the caller's.
    pub shell_job: bool,
    /// Serve memory on demand.
    pub lazy_pages: bool,
    /// Where memory goes: address and port.
    pub page_server: Option<(String, u16)>,
    /// Take file locks along.
    pub file_locks: bool,
    /// Write memory only, and let the container run on.
    pub pre_dump: bool,
    /// What CRIU does about cgroups.
    pub manage_cgroups: CgroupsMode,
    /// Punch holes into parent images.
    pub auto_dedup: bool,
    /// `TYPE:NAME`.
    pub lsm_profile: Option<String>,
    /// SELinux' context of mounts.
    pub lsm_mount_context: Option<String>,
}

impl CriuOptions {
    /// What CRIU is told for both commands. The directories must stay open until it has answered.
    pub fn to_criu(&self, directories: &Directories, spec: &Spec) -> Options {
        Options {
            images_dir_fd: directories.images.as_raw_fd(),
            work_dir_fd: directories.work.as_ref().map(|work| work.as_raw_fd()),
            log_level: Some(LOG_LEVEL),
            log_file: Some(directories.log_name.into()),
            manage_cgroups: Some(true),
            manage_cgroups_mode: Some(self.manage_cgroups.into()),
            notify_scripts: Some(true),
            shell_job: Some(self.shell_job),
            ext_unix_sk: Some(self.external_unix_sockets),
            tcp_established: Some(self.tcp_established),
            file_locks: Some(self.file_locks),
            // Whoever made the network sets it up again, in the hooks or before.
            empty_ns: Some(libc::CLONE_NEWNET as u32),
            orphan_pts_master: Some(true),
            auto_dedup: Some(self.auto_dedup),
            lazy_pages: Some(self.lazy_pages),
            page_server: self.page_server.as_ref().map(|(address, port)| PageServer {
                address: Some(address.clone()),
                port: Some((*port).into()),
            }),
            config_file: config_file(spec),
            network_lock: network_lock(),
            ..Options::default()
        }
    }
}

/// CRIU calls iptables-restore(8) unless told otherwise; without that program it can do by itself.
fn network_lock() -> Option<i32> {
    in_path("iptables-restore").is_none().then_some(NetworkLock::Nftables.into())
}

/// The annotation's file; none where it is empty.
fn config_file(spec: &Spec) -> Option<String> {
    let annotated = spec.annotations().as_ref().and_then(|all| all.get(CONFIG_ANNOTATION));
    Some(annotated.map_or(CONFIG_FILE, String::as_str)).filter(|file| !file.is_empty()).map(str::to_owned)
}

/// The mode of the directories that are made. A restored process looks for images with the credentials
/// of its user namespace's root, which may not enter a private one; the files are private in both.
pub const PRIVATE: u32 = 0o700;
/// The same for a container with a user namespace.
pub const SEARCHABLE: u32 = 0o711;

/// The directories of CRIU's files, open.
#[derive(Debug)]
pub struct Directories {
    /// The images.
    pub images: OwnedFd,
    /// Logs, where they are elsewhere.
    pub work: Option<OwnedFd>,
    /// Where its log is.
    pub log: PathBuf,
    image_path: PathBuf,
    log_name: &'static str,
}

impl Directories {
    /// Opens them; the images' one is made if `make` has its mode.
    pub fn open(options: &CriuOptions, log_name: &'static str, make: Option<u32>) -> Result<Self, CriuError> {
        let images = open("--image-path", &options.image_path, make)?;
        if let Some(parent) = &options.parent_path {
            // CRIU would go on without it.
            open("--parent-path", &options.image_path.join(parent), None)?;
        }
        let work =
            options.work_path.as_deref().map(|path| open("--work-path", path, Some(PRIVATE))).transpose()?;
        let log = options.work_path.as_ref().unwrap_or(&options.image_path).join(log_name);
        // A log of an earlier call must not be taken for this one's.
        let _ = std::fs::remove_file(&log);
        Ok(Self { images, work, log, image_path: options.image_path.clone(), log_name })
    }

    pub(super) fn image_path(&self) -> &Path {
        &self.image_path
    }

    pub(super) fn work_path(&self) -> &Path {
        self.log.parent().unwrap_or(&self.image_path)
    }

    /// The same directories, opened in another mount namespace.
    pub(super) fn replace(&mut self, [images, work]: [OwnedFd; 2]) {
        self.images = images;
        self.work = Some(work);
    }
}

fn open(what: &'static str, path: &Path, make: Option<u32>) -> Result<OwnedFd, CriuError> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |error: std::io::Error| CriuError::Directory { what, path: path.into(), error };
    if let Some(mode) = make {
        std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed)?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(annotations: &str) -> Spec {
        serde_json::from_str(&format!(r#"{{"ociVersion": "1.0.0", "annotations": {annotations}}}"#)).unwrap()
    }

    #[test]
    fn an_annotation_names_crius_configuration_or_forbids_it() {
        assert_eq!(config_file(&spec("{}")).as_deref(), Some(CONFIG_FILE));
        assert_eq!(config_file(&spec(r#"{"org.criu.config": "/x"}"#)).as_deref(), Some("/x"));
        assert_eq!(config_file(&spec(r#"{"org.criu.config": ""}"#)), None);
    }
}
