//! `create`, and the flags that it shares with `run`.

use std::path::PathBuf;

use anyhow::Context as _;
use rcrun::id::ContainerId;
use rcrun::lifecycle::{self, CreateOptions};

use super::global::CgroupManager;
use super::{Command, Context};

/// Flags of `create` and `run`.
#[derive(Debug, clap::Args)]
pub struct CreateFlags {
    /// Unix socket that receives the pseudo-terminal's master
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the container's first process
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// File to write the pid of the container's first process to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// chroot(2) instead of pivot_root(2), for a root file system on a ramdisk
    #[arg(long)]
    no_pivot: bool,
    /// Stay in the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// Number of file descriptors to pass after stdin, stdout, stderr and $LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
}

impl CreateFlags {
    /// What the library is told. Paths become absolute: they are the caller's, not the bundle's.
    pub fn options(
        self,
        id: ContainerId,
        bundle: PathBuf,
        context: &Context,
    ) -> anyhow::Result<CreateOptions> {
        let cgroup_manager = context.cgroup_manager();
        Ok(CreateOptions {
            bundle: absolute(bundle)?,
            id,
            console_socket: self.console_socket.map(absolute).transpose()?,
            pidfd_socket: self.pidfd_socket.map(absolute).transpose()?,
            pid_file: self.pid_file.map(absolute).transpose()?,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds: self.preserve_fds,
            missing_controllers: context.missing_controllers,
            systemd_cgroup: cgroup_manager == CgroupManager::Systemd,
            no_cgroup: cgroup_manager == CgroupManager::Disabled,
            rootless: context.rootless,
        })
    }
}

/// `path` from the root on; a trailing slash and `..` stay.
pub fn absolute(path: PathBuf) -> anyhow::Result<PathBuf> {
    std::path::absolute(&path).with_context(|| format!("path {:?}", path.display()))
}

/// Flags of `create`.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// Name of the new container: letters, digits and _+-.
    id: String,
    /// Bundle: a directory that holds config.json
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    #[command(flatten)]
    flags: CreateFlags,
}

impl Command for Create {
    const NAME: &'static str = "create";
    const ABOUT: &'static str = "Create a container; its process waits for start";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let id = ContainerId::parse(&self.id)?;
        let options = self.flags.options(id, self.bundle, context)?;
        lifecycle::create(&context.store(), &options)?;
        Ok(0)
    }
}
