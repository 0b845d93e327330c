//! The mount itself, as mount.nfs would have it made. Each part of it may wait for the server, some of them for ever.
//!
//! NFS 4.2, 4.1 and 4.0 are tried in this order unless the options name a version; with `nfsvers=3` the kernel asks the server's
//! portmapper itself. nfs(5) has the options; those that mount.nfs alone understands are dropped or translated.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

use super::super::file_system::{FileError, make_directories, make_directory};
use super::super::mount::attach;
use super::Mount;

const PORT: u16 = 2049;
/// For a server to take a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is told to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Options {
    /// `3`, `4`, `4.1`; None: the newest that both sides know.
    version: Option<String>,
    port: Option<u16>,
    /// The others, without a value where they have none.
    others: Vec<(String, Option<String>)>,
    attributes: MountAttrFlags,
}

/// Mounts it.
pub(super) fn mount(request: &Mount) -> Result<(), String> {
    let Mount { server, path, target, .. } = request;
    let mut options = parse(&request.options)?;
    options.attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, request.read_only);
    let context = open()?;
    let (address, local) = reach(server, options.port.unwrap_or(PORT), &options)?;
    let versions: &[&str] = match &options.version {
        Some(version) if version == "4" => &["4.2", "4.1", "4.0"],
        Some(version) => &[version.as_str()],
        None => &["4.2", "4.1", "4.0"],
    };
    let source = source(address, server, path);
    let mut context = Some(context);
    let mut last = String::new();
    for version in versions {
        let opened = context.take().map_or_else(open, Ok)?;
        match configure(&opened, &source, version, address, local, &options) {
            Ok(mount) => return put(&mount, target).map_err(|error| error.to_string()),
            Err(error) => {
                last = format!("version {version}: {}", explained(error, &opened));
                // Only these say that the server, or this kernel, does not know the version.
                if !matches!(error, Errno::PROTONOSUPPORT | Errno::INVAL | Errno::OPNOTSUPP) {
                    break;
                }
            }
        }
    }
    Err(last)
}

fn put(mount: &OwnedFd, target: &Path) -> Result<(), FileError> {
    if let Some(above) = target.parent() {
        make_directories(above)?;
    }
    make_directory(target, 0o700)?;
    attach(mount, target)
}

fn open() -> Result<OwnedFd, String> {
    fsopen("nfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|error| match error {
        Errno::NODEV => "this kernel has no NFS client: load the module nfs (modprobe nfs)".into(),
        error => format!("cannot open the file system nfs: {error}"),
    })
}

fn configure(
    context: &OwnedFd,
    source: &str,
    version: &str,
    address: IpAddr,
    local: Option<IpAddr>,
    options: &Options,
) -> Result<OwnedFd, Errno> {
    fsconfig_set_string(context, "source", source)?;
    fsconfig_set_string(context, "vers", version)?;
    fsconfig_set_string(context, "addr", address.to_string())?;
    if let Some(port) = options.port {
        fsconfig_set_string(context, "port", port.to_string())?;
    }
    if let Some(local) = local.filter(|_| version.starts_with('4')) {
        fsconfig_set_string(context, "clientaddr", local.to_string())?;
    }
    for (name, value) in &options.others {
        match value {
            Some(value) => fsconfig_set_string(context, name, value)?,
            None => fsconfig_set_flag(context, name)?,
        }
    }
    fsconfig_create(context)?;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, options.attributes)
}

/// The error, with what the kernel says of it.
fn explained(error: Errno, context: &OwnedFd) -> String {
    let mut said = Vec::new();
    let mut line = [0; 512];
    while let Ok(length) = rustix::io::read(context, &mut line) {
        // `e nfs: ...`: the first letter is how bad it is.
        let text = String::from_utf8_lossy(&line[..length]).trim().to_owned();
        said.push(text.get(2..).unwrap_or_default().to_owned());
        if length == 0 || said.len() > 8 {
            break;
        }
    }
    match said.is_empty() {
        true => error.to_string(),
        false => format!("{error} ({})", said.join("; ")),
    }
}

fn source(address: IpAddr, server: &str, path: &str) -> String {
    match address {
        // A name with colons could not be told from the path.
        IpAddr::V6(_) if server.contains(':') => format!("[{}]:{path}", server.trim_matches(['[', ']'])),
        _ => format!("{server}:{path}"),
    }
}

/// The server's address that answers, and this machine's towards it. A version 3 server may have another port: it is not tried.
fn reach(server: &str, port: u16, options: &Options) -> Result<(IpAddr, Option<IpAddr>), String> {
    let addresses = resolve(server)?;
    let known = |name: &str| options.others.iter().any(|(option, _)| option == name);
    let udp = options.others.iter().any(|(name, value)| name == "proto" && value.as_deref() == Some("udp"));
    if options.version.as_deref().is_some_and(|version| version.starts_with('3'))
        && (udp || known("mountport"))
    {
        return addresses
            .first()
            .map(|address| (*address, None))
            .ok_or_else(|| "the server's name has no address".into());
    }
    let mut why = "the server's name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE) {
            Ok(stream) => return Ok((address, stream.local_addr().ok().map(|local| local.ip()))),
            Err(error) => why = format!("cannot reach the server at {address}, port {port}: {error}"),
        }
    }
    Err(why)
}

/// The addresses of a name, by this machine's /etc/hosts and /etc/resolv.conf.
fn resolve(server: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = server.trim_matches(['[', ']']).parse() {
        return Ok(vec![address]);
    }
    let failed = |error: &dyn std::fmt::Display| format!("cannot find the server's address: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let resolver = hickory_server::resolver::TokioResolver::builder_tokio()
            .and_then(|builder| builder.build())
            .map_err(|error| failed(&error))?;
        let found = resolver.lookup_ip(server).await.map_err(|error| failed(&error))?;
        Ok(found.iter().collect())
    })
}

fn parse(options: &[String]) -> Result<Options, String> {
    let mut parsed =
        Options { version: None, port: None, others: Vec::new(), attributes: MountAttrFlags::empty() };
    for option in options.iter().flat_map(|option| option.split(',')).filter(|option| !option.is_empty()) {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let wrong = || format!("mount option {option}: a value is needed that is one");
        match name {
            "vers" | "nfsvers" => {
                let version = value.filter(|value| matches!(*value, "3" | "4" | "4.0" | "4.1" | "4.2"));
                parsed.version =
                    Some(version.ok_or_else(|| format!("mount option {option}: 3, 4, 4.0 to 4.2"))?.into());
            }
            "port" => parsed.port = Some(value.and_then(|value| value.parse().ok()).ok_or_else(wrong)?),
            "addr" | "clientaddr" | "source" => {
                return Err(format!("mount option {name}: the agent sets it itself"));
            }
            // What mount.nfs does in user space, or is so anyway.
            "rw" | "bg" | "fg" | "_netdev" | "auto" | "noauto" | "user" | "nouser" | "defaults" => {}
            "retry" => {}
            "ro" => parsed.attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
            "nosuid" => parsed.attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID,
            "nodev" => parsed.attributes |= MountAttrFlags::MOUNT_ATTR_NODEV,
            "noexec" => parsed.attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "noatime" => parsed.attributes |= MountAttrFlags::MOUNT_ATTR_NOATIME,
            "nodiratime" => parsed.attributes |= MountAttrFlags::MOUNT_ATTR_NODIRATIME,
            "relatime" | "suid" | "dev" | "exec" => {}
            _ => parsed.others.push((name.into(), value.map(Into::into))),
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_apart_by_who_does_them() {
        let parsed = parse(&["nfsvers=4.1,hard".into(), "timeo=600".into(), "noatime".into()]).unwrap();
        assert_eq!(parsed.version.as_deref(), Some("4.1"));
        assert_eq!(parsed.others, [("hard".into(), None), ("timeo".into(), Some("600".into()))]);
        assert_eq!(parsed.attributes, MountAttrFlags::MOUNT_ATTR_NOATIME);
        assert!(parse(&["vers=5".into()]).is_err_and(|error| error.contains("vers=5")));
        assert!(parse(&["addr=10.0.0.1".into()]).is_err());
    }

    #[test]
    fn an_address_of_ipv6_is_put_in_brackets() {
        let v6: IpAddr = "fd00::1".parse().unwrap();
        assert_eq!(source(v6, "fd00::1", "/x"), "[fd00::1]:/x");
        assert_eq!(source(v6, "files.example", "/x"), "files.example:/x");
        assert_eq!(resolve("[fd00::1]"), Ok(vec![v6]));
    }
}
