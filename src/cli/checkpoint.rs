//! `checkpoint` and `restore`: flags for CRIU.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use rcrun::checkpoint::{CgroupsMode, CriuOptions};
use rcrun::id::ContainerId;
use rcrun::lifecycle::{self, CreateOptions, RunOptions};
use rcrun::sys::process::take_passed;
use rustix::fs::{OFlags, fcntl_getfl};

use super::create::absolute;
use super::global::CgroupManager;
use super::{Command, Context};

/// Flags of both.
#[derive(clap::Args)]
struct CriuFlags {
    /// Directory of the image files [default: checkpoint]
    #[arg(long, value_name = "DIR")]
    image_path: Option<PathBuf>,
    /// Directory of work files and logs [default: that of the image files]
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// Take established TCP connections along
    #[arg(long)]
    tcp_established: bool,
    /// Allow connections over Unix sockets to the outside
    #[arg(long)]
    ext_unix_sk: bool,
    /// Allow a process of the caller's session, on the caller's terminal
    #[arg(long)]
    shell_job: bool,
    /// Serve memory on demand, with userfaultfd(2)
    #[arg(long)]
    lazy_pages: bool,
    /// Take file locks along
    #[arg(long)]
    file_locks: bool,
    /// What CRIU does about cgroups: soft, full, strict or ignore [default: soft]
    #[arg(long, value_name = "MODE", value_parser = cgroups_mode)]
    manage_cgroups_mode: Option<CgroupsMode>,
    /// Namespace whose contents are left out: network, which always is
    #[arg(long, value_name = "TYPE", value_parser = ["network"])]
    empty_ns: Vec<String>,
    /// Punch holes into parent images for what newer ones hold
    #[arg(long)]
    auto_dedup: bool,
}

fn cgroups_mode(mode: &str) -> Result<CgroupsMode, &'static str> {
    match mode {
        "" => Ok(CgroupsMode::Default),
        "soft" => Ok(CgroupsMode::Soft),
        "full" => Ok(CgroupsMode::Full),
        "strict" => Ok(CgroupsMode::Strict),
        "ignore" => Ok(CgroupsMode::Ignore),
        _ => Err("expected soft, full, strict or ignore"),
    }
}

impl CriuFlags {
    fn options(self) -> anyhow::Result<CriuOptions> {
        let image_path = self.image_path.filter(|path| !path.as_os_str().is_empty());
        Ok(CriuOptions {
            image_path: absolute(image_path.unwrap_or_else(|| "checkpoint".into()))?,
            work_path: self
                .work_path
                .filter(|path| !path.as_os_str().is_empty())
                .map(absolute)
                .transpose()?,
            parent_path: None,
            leave_running: false,
            tcp_established: self.tcp_established,
            tcp_skip_in_flight: false,
            link_remap: false,
            external_unix_sockets: self.ext_unix_sk,
            shell_job: self.shell_job,
            lazy_pages: self.lazy_pages,
            page_server: None,
            file_locks: self.file_locks,
            pre_dump: false,
            manage_cgroups: self.manage_cgroups_mode.unwrap_or(CgroupsMode::Default),
            auto_dedup: self.auto_dedup,
            lsm_profile: None,
            lsm_mount_context: None,
        })
    }
}

/// Flags of `checkpoint`.
#[derive(clap::Args)]
pub struct Checkpoint {
    /// Name of a running container
    id: String,
    #[command(flatten)]
    criu: CriuFlags,
    /// Images of an earlier --pre-dump that these continue, relative to --image-path
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Let the container run on
    #[arg(long)]
    leave_running: bool,
    /// Leave out TCP connections that are not established yet
    #[arg(long)]
    tcp_skip_in_flight: bool,
    /// Give deleted files that are open a name for the time being
    #[arg(long)]
    link_remap: bool,
    /// Descriptor that gets a zero byte once memory can be fetched (with --lazy-pages)
    #[arg(long, value_name = "FD", allow_negative_numbers = true, default_value_t = -1, hide_default_value = true)]
    status_fd: i32,
    /// Page server that takes the memory
    #[arg(long, value_name = "ADDRESS:PORT")]
    page_server: Option<String>,
    /// Write memory only, and let the container run on
    #[arg(long)]
    pre_dump: bool,
}

impl Command for Checkpoint {
    const NAME: &'static str = "checkpoint";
    const ABOUT: &'static str = "Write a running container to files, with criu";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        // As with runc, nobody looks at it otherwise.
        let status = if self.criu.lazy_pages { status_fd(self.status_fd)? } else { None };
        let id = ContainerId::parse(&self.id)?;
        let parent_path = self.parent_path.filter(|path| !path.as_os_str().is_empty());
        if parent_path.as_ref().is_some_and(|path| path.is_absolute()) {
            bail!("--parent-path must be relative: it is resolved in --image-path");
        }
        let page_server = self.page_server.as_deref().filter(|server| !server.is_empty());
        let options = CriuOptions {
            parent_path,
            leave_running: self.leave_running,
            tcp_skip_in_flight: self.tcp_skip_in_flight,
            link_remap: self.link_remap,
            page_server: page_server.map(address).transpose()?,
            pre_dump: self.pre_dump,
            ..self.criu.options()?
        };
        lifecycle::checkpoint(&context.store(), &id, &options, status)?;
        Ok(0)
    }
}

/// A descriptor that the caller has passed; none where negative.
fn status_fd(number: i32) -> anyhow::Result<Option<File>> {
    if number < 0 {
        return Ok(None);
    }
    let passed = take_passed(number).with_context(|| format!("--status-fd {number}: pass a descriptor"))?;
    let flags = fcntl_getfl(&passed).with_context(|| format!("--status-fd {number}"))?;
    if !flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
        bail!("--status-fd {number}: not open for writing");
    }
    Ok(Some(passed.into()))
}

/// `ADDRESS:PORT`, an IPv6 address in brackets.
fn address(text: &str) -> anyhow::Result<(String, u16)> {
    let split = text.rsplit_once(':').filter(|(address, _)| !address.is_empty());
    let (address, port) = split.with_context(|| format!("--page-server {text}: expected ADDRESS:PORT"))?;
    let port = port.parse().with_context(|| format!("--page-server {text}: port"))?;
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    Ok((bare.into(), port))
}

/// Flags of `restore`.
#[derive(clap::Args)]
pub struct Restore {
    /// Name of the new container
    id: String,
    /// Bundle: a directory that holds config.json
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    #[command(flatten)]
    criu: CriuFlags,
    /// Unix socket that receives the pseudo-terminal's master
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Return as soon as the process runs
    #[arg(short, long)]
    detach: bool,
    /// File to write the pid of the container's first process to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Leave the container's orphans to the host's init
    #[arg(long)]
    no_subreaper: bool,
    /// Taken for runc's sake: CRIU enters the root its own way
    #[arg(long)]
    no_pivot: bool,
    /// Profile of a security module to restore under
    #[arg(long, value_name = "TYPE:NAME")]
    lsm_profile: Option<String>,
    /// SELinux context of the mounts
    #[arg(long, value_name = "CONTEXT")]
    lsm_mount_context: Option<String>,
}

impl Command for Restore {
    const NAME: &'static str = "restore";
    const ABOUT: &'static str = "Bring a container back from the files of checkpoint, with criu";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let create = CreateOptions {
            bundle: absolute(self.bundle)?,
            id: ContainerId::parse(&self.id)?,
            console_socket: self.console_socket.map(absolute).transpose()?,
            pidfd_socket: None,
            pid_file: self.pid_file.map(absolute).transpose()?,
            no_pivot: self.no_pivot,
            no_new_keyring: false,
            preserve_fds: 0,
            missing_controllers: context.missing_controllers,
            no_cgroup: context.cgroup_manager() == CgroupManager::Disabled,
            systemd_cgroup: context.cgroup_manager() == CgroupManager::Systemd,
            rootless: context.rootless,
        };
        let run =
            RunOptions { detach: self.detach, no_subreaper: self.no_subreaper, ..RunOptions::default() };
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let criu = CriuOptions {
            lsm_profile: filled(self.lsm_profile),
            lsm_mount_context: filled(self.lsm_mount_context),
            ..self.criu.options()?
        };
        Ok(lifecycle::restore(&context.store(), &create, &run, &criu)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_is_an_address_and_a_port() {
        assert_eq!(address("10.0.0.1:80").unwrap(), ("10.0.0.1".to_owned(), 80));
        assert_eq!(address("[::1]:80").unwrap(), ("::1".to_owned(), 80));
        for wrong in ["", ":80", "host", "host:", "host:x", "host:99999"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn modes_of_cgroups_are_runcs() {
        assert_eq!(cgroups_mode(""), Ok(CgroupsMode::Default));
        assert_eq!(cgroups_mode("ignore"), Ok(CgroupsMode::Ignore));
        assert!(cgroups_mode("none").is_err());
    }
}
