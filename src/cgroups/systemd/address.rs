//! Where a message bus listens: D-Bus specification, "Server addresses".

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Which systemd makes the scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// The first process of the host.
    #[default]
    System,
    /// The user's own, user@UID.service.
    User,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "systemd",
            Self::User => "the user's systemd",
        })
    }
}

/// The bus of the system where nothing else is said.
const SYSTEM: &str = "/run/dbus/system_bus_socket";

impl Manager {
    /// The sockets of its bus, in the order to try; `variable` is the environment. The error says what
    /// is missing.
    pub(super) fn sockets(
        self,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Vec<SocketAddr>, String> {
        let (name, standard) = match self {
            Self::System => ("DBUS_SYSTEM_BUS_ADDRESS", Some(PathBuf::from(SYSTEM))),
            Self::User => {
                let runtime = variable("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
                ("DBUS_SESSION_BUS_ADDRESS", runtime.map(|directory| Path::new(&directory).join("bus")))
            }
        };
        if let Some(list) = variable(name).filter(|list| !list.is_empty()) {
            let all: Vec<_> = list.as_bytes().split(|byte| *byte == b';').filter_map(socket).collect();
            return match all.is_empty() {
                true => Err(format!("{name} has no address of a unix socket")),
                false => Ok(all),
            };
        }
        let path = standard.ok_or("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")?;
        Ok(vec![SocketAddr::from_pathname(&path).map_err(|error| format!("{}: {error}", path.display()))?])
    }
}

/// `unix:path=/run/user/1000/bus,guid=...` or `unix:abstract=...`
fn socket(address: &[u8]) -> Option<SocketAddr> {
    address.strip_prefix(b"unix:")?.split(|byte| *byte == b',').find_map(|pair| {
        if let Some(path) = pair.strip_prefix(b"path=") {
            return SocketAddr::from_pathname(OsString::from_vec(unescape(path)?)).ok();
        }
        SocketAddr::from_abstract_name(unescape(pair.strip_prefix(b"abstract=")?)?).ok()
    })
}

/// `%20` is a byte.
fn unescape(value: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        let (byte, length) = match first {
            b'%' => {
                let digits = OsStr::from_bytes(after.get(..2)?).to_str()?;
                (u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?, 2)
            }
            byte => (*byte, 0),
        };
        bytes.push(byte);
        rest = &after[length..];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(manager: Manager, variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let name = |socket: &SocketAddr| match (socket.as_pathname(), socket.as_abstract_name()) {
            (Some(path), _) => path.display().to_string(),
            (_, Some(name)) => format!("@{}", String::from_utf8_lossy(name)),
            _ => String::new(),
        };
        manager.sockets(&variable).map(|all| all.iter().map(name).collect())
    }

    #[test]
    fn the_bus_is_where_the_environment_says_or_where_it_always_is() {
        assert_eq!(of(Manager::System, &[]).unwrap(), [SYSTEM]);
        let other = [("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/a%20b,guid=1;tcp:host=x;unix:abstract=c")];
        assert_eq!(of(Manager::System, &other).unwrap(), ["/a b", "@c"]);
        assert_eq!(of(Manager::User, &[("XDG_RUNTIME_DIR", "/run/user/7")]).unwrap(), ["/run/user/7/bus"]);
        let session = [("XDG_RUNTIME_DIR", "/x"), ("DBUS_SESSION_BUS_ADDRESS", "unix:guid=1,path=/y")];
        assert_eq!(of(Manager::User, &session).unwrap(), ["/y"]);
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        assert!(of(Manager::User, &[]).unwrap_err().contains("XDG_RUNTIME_DIR"));
        for bad in ["tcp:host=x", "unix:", "unix:path", "unix:path=%", "unix:path=%+1", "unix:path=%zz", "x"]
        {
            let error = of(Manager::User, &[("DBUS_SESSION_BUS_ADDRESS", bad)]).unwrap_err();
            assert!(error.contains("DBUS_SESSION_BUS_ADDRESS"), "{bad}: {error}");
        }
    }
}
