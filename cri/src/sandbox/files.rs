//! Files of the Pod that its containers see: /etc/hostname, /etc/hosts, /etc/resolv.conf, /dev/shm.
//!
//! A container's root can write to the first three as much as it likes: they are on the disk, beside the Pod's record, and not below
//! /run, which it could fill for the whole node.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::mount::{MountFlags, mount};
use tonic::Status;

use super::check::Wishes;
use super::resolv_conf;
use crate::api::NamespaceMode;
use crate::runtime::Runtime;
use crate::spec::PodFiles;
use crate::state::Pod;

const HOSTNAME: &str = "hostname";
const HOSTS: &str = "hosts";
const RESOLV_CONF: &str = "resolv.conf";
/// The Pod's /dev/shm.
pub const SHM: &str = "shm";

/// As large as other runtimes make it.
const SHM_SIZE: u64 = 64 << 20;

/// Where the Pod's files are on the host.
pub fn files(runtime: &Runtime, pod: &Pod) -> PodFiles {
    let state = runtime.paths.pod_state(&pod.id);
    let shm = if has_own_ipc(pod) { runtime.paths.pod_run(&pod.id).join(SHM) } else { "/dev/shm".into() };
    PodFiles {
        hostname: Some(state.join(HOSTNAME)),
        resolv_conf: Some(state.join(RESOLV_CONF)),
        hosts: Some(state.join(HOSTS)),
        shm: Some(shm),
        volumes: Default::default(),
    }
}

fn has_own_ipc(pod: &Pod) -> bool {
    let linux = pod.config.linux.as_ref();
    let options = linux.and_then(|linux| linux.security_context.as_ref()?.namespace_options.as_ref());
    options.is_none_or(|options| options.ipc() == NamespaceMode::Pod)
}

/// Makes what needs no network: the Pod's volatile directory `run`, its files in `state` but `hosts`, its /dev/shm, its logs' directory.
pub fn make(run: &Path, state: &Path, pod: &Pod, wishes: &Wishes) -> Result<(), Status> {
    directory(run, 0o700)?;
    if !pod.config.log_directory.is_empty() {
        directory(Path::new(&pod.config.log_directory), 0o755)?;
    }
    write(&state.join(HOSTNAME), &format!("{}\n", wishes.hostname))?;
    let resolv_conf = match resolv_conf::text(pod.config.dns_config.as_ref()) {
        Some(text) => text,
        None => hosts_own("/etc/resolv.conf")?,
    };
    write(&state.join(RESOLV_CONF), &resolv_conf)?;
    if wishes.ipc {
        shm(&run.join(SHM))?;
    }
    Ok(())
}

/// `/etc/hosts`: without it `localhost` is no name in many images. The kubelet mounts its own over it.
pub fn hosts(state: &Path, wishes: &Wishes, addresses: &[IpAddr]) -> Result<(), Status> {
    let text = if wishes.network {
        let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
        for address in addresses {
            text += &format!("{address}\t{}\n", wishes.hostname);
        }
        text
    } else {
        hosts_own("/etc/hosts")?
    };
    write(&state.join(HOSTS), &text)
}

fn shm(target: &Path) -> Result<(), Status> {
    directory(target, 0o1777)?;
    let options = format!("mode=1777,size={SHM_SIZE}");
    let options = std::ffi::CString::new(options).unwrap_or_default();
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("shm", target, "tmpfs", flags, Some(options.as_c_str()))
        .map_err(|errno| Status::internal(format!("mount a tmpfs at {}: {errno}", target.display())))
}

fn directory(path: &Path, mode: u32) -> Result<(), Status> {
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|error| failed("make the directory", path, &error))
}

/// The content is public to whoever is in the container, whatever this process' umask is.
fn write(path: &Path, text: &str) -> Result<(), Status> {
    let written =
        fs::write(path, text).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o644)));
    written.map_err(|error| failed("write", path, &error))
}

fn hosts_own(path: &str) -> Result<String, Status> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed("read", Path::new(path), &error)),
    }
}

fn failed(operation: &str, path: &Path, error: &std::io::Error) -> Status {
    let text = format!("{operation} {}: {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Status::resource_exhausted(text),
        _ => Status::internal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_knows_localhost_and_itself() {
        let directory = tempfile::tempdir().unwrap();
        let wishes = Wishes {
            network: true,
            ipc: true,
            hostname: "web".into(),
            sysctls: Vec::new(),
            cgroup_parent: String::new(),
        };
        hosts(directory.path(), &wishes, &["10.88.0.2".parse().unwrap()]).unwrap();
        let text = fs::read_to_string(directory.path().join(HOSTS)).unwrap();
        assert!(text.contains("127.0.0.1\tlocalhost\n") && text.ends_with("10.88.0.2\tweb\n"), "{text}");
    }
}
