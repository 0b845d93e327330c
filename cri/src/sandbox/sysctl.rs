//! A Pod's sysctls: only those of namespaces that it has.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::AsFd as _;

use rcrun::namespaces::Kind;
use rcrun::process::sysctl::write;
use rcrun::spec::{sysctl_namespace, sysctl_path};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tonic::Status;

use crate::spec::Invalid;

/// A sysctl that may be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// As the Pod's configuration has it.
    name: String,
    path: CString,
    value: CString,
    /// The namespace that it belongs to.
    pub kind: Kind,
}

/// Checks all: each belongs to a namespace that the Pod has of its own.
pub fn check(wanted: &HashMap<String, String>, network: bool, ipc: bool) -> Result<Vec<Sysctl>, Invalid> {
    let mut sysctls =
        wanted.iter().map(|(name, value)| one(name, value, network, ipc)).collect::<Result<Vec<_>, _>>()?;
    sysctls.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sysctls)
}

fn one(name: &str, value: &str, network: bool, ipc: bool) -> Result<Sysctl, Invalid> {
    let refuse = |reason: String| Err(Invalid { field: format!("linux.sysctls[{name:?}]"), reason });
    let path = sysctl_path(name);
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refuse("not a sysctl's name".into());
    }
    let Some(kind) = sysctl_namespace(&path) else {
        return refuse("belongs to no namespace: it would change the node".into());
    };
    let owned = match kind {
        Kind::Network | Kind::Uts => network,
        Kind::Ipc => ipc,
        _ => false,
    };
    if !owned {
        return refuse(format!("would change the node: the Pod has no {} namespace of its own", kind.name()));
    }
    match (CString::new(path), CString::new(value)) {
        (Ok(path), Ok(value)) => Ok(Sysctl { name: name.into(), path, value, kind }),
        _ => refuse("contains a NUL byte".into()),
    }
}

/// Sets those that `wanted` says, in the namespaces of the calling thread.
pub fn set(sysctls: &[Sysctl], wanted: impl Fn(Kind) -> bool) -> Result<(), Status> {
    let mut directory = None;
    for sysctl in sysctls.iter().filter(|sysctl| wanted(sysctl.kind)) {
        let failed = |what: &str, errno: Errno| {
            let text = format!("sysctl {} = {:?}: {what}: {errno}", sysctl.name, sysctl.value);
            match errno {
                Errno::NOENT | Errno::INVAL | Errno::RANGE => Status::invalid_argument(text),
                _ => Status::internal(text),
            }
        };
        if directory.is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = rustix::fs::open("/proc/sys", flags, Mode::empty());
            directory = Some(opened.map_err(|errno| failed("open /proc/sys", errno))?);
        }
        write(directory.as_ref().map(|fd| fd.as_fd()), &sysctl.path, &sysctl.value)
            .map_err(|failure| failed(failure.operation, failure.errno))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, network: bool, ipc: bool) -> Result<Kind, String> {
        let wanted = HashMap::from([(name.to_owned(), "1".to_owned())]);
        check(&wanted, network, ipc).map(|found| found[0].kind).map_err(|error| error.to_string())
    }

    #[test]
    fn sysctls_of_the_pods_namespaces_are_allowed() {
        for (name, kind) in [
            ("kernel.shm_rmid_forced", Kind::Ipc),
            ("fs.mqueue.msg_max", Kind::Ipc),
            ("net.ipv4.ip_local_port_range", Kind::Network),
            ("net/ipv4/conf/eth0.1/forwarding", Kind::Network),
            ("kernel.domainname", Kind::Uts),
        ] {
            assert_eq!(checked(name, true, true), Ok(kind), "{name}");
        }
    }

    #[test]
    fn those_of_the_nodes_are_not_and_are_named() {
        let error = checked("net.core.somaxconn", false, true).unwrap_err();
        let said = "linux.sysctls[\"net.core.somaxconn\"]: would change the node: the Pod has no network namespace of its own";
        assert_eq!(error, said);
        assert!(checked("kernel.shmmax", true, false).unwrap_err().contains("no ipc namespace"));
        assert!(checked("kernel.domainname", false, true).unwrap_err().contains("no uts namespace"));
        assert!(checked("user.max_net_namespaces", true, true).unwrap_err().contains("no user namespace"));
        assert!(checked("vm.overcommit_memory", true, true).unwrap_err().contains("belongs to no namespace"));
        assert!(checked("net.ipv4/../../vm", true, true).is_err());
        assert!(checked("net..x", true, true).unwrap_err().contains("not a sysctl's name"));
    }
}
