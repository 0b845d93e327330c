//! rcrun as root of a user namespace of its user's, where images and containers have files of many ids.
//!
//! A user has ids of his own in /etc/subuid and /etc/subgid, which newuidmap(1) and newgidmap(1) map: himself is
//! root there, then come these. Without any, he alone is mapped, and images have no other owners. The namespace comes with a mount
//! namespace, in which overlays can be made. All of it happens before the process has a second thread.
//!
//! For root nothing is done.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{getegid, geteuid, getpid};
use rustix::thread::{UnshareFlags, set_thread_res_gid, set_thread_res_uid};
use serde_json::{Value, json};

use super::container::of_user;
use crate::host;
use crate::launch::mapping;
use crate::namespaces::Kind;
use crate::plan::Mappings;
use crate::sys::clone::{CloneArguments, spawn};
use crate::sys::process::{close_inherited, unshare};

/// Why there is no such user namespace.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RootlessError {
    #[error(
        "make a user namespace for the user {user}: {operation}: {error}: does this machine let users make them \
         (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces, \
         kernel.apparmor_restrict_unprivileged_userns)?"
    )]
    Namespace { user: u32, operation: &'static str, error: Errno },
    #[error("map the ids of the user {user}: {reason}")]
    Mapping { user: u32, reason: String },
}

/// Who rcrun was before [`enter`], and what its ids are mapped to.
#[derive(Debug)]
struct Entered {
    user: u32,
    ids: Ids,
}

static ENTERED: OnceLock<Entered> = OnceLock::new();

/// What is mapped: first id inside, first id outside, how many.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ids {
    uids: Vec<(u32, u32, u32)>,
    gids: Vec<(u32, u32, u32)>,
    mappings: Mappings,
}

/// Makes this process root of a user namespace that has all ids of its user, if it is not root already. The note
/// is for the user.
pub fn enter() -> Result<Option<String>, RootlessError> {
    let user = geteuid();
    if user.is_root() {
        return Ok(None);
    }
    let ids = Ids::of_user(user.as_raw(), getegid().as_raw());
    let failed = |operation| move |error| RootlessError::Namespace { user: user.as_raw(), operation, error };
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(failed("socketpair"))?;
    let pid = getpid().as_raw_nonzero().get();
    // Maps are written from outside of the namespace.
    let helper = spawn(CloneArguments::default(), || {
        close_inherited(ours.as_fd());
        let Ok(mut socket) = theirs.try_clone().map(std::os::unix::net::UnixStream::from) else { return 1 };
        // Whoever ends without a word has not come into the namespace.
        if socket.read_exact(&mut [0]).is_ok()
            && let Err(error) = mapping::write(pid, &ids.mappings)
        {
            let _ = socket.write_all(error.to_string().as_bytes());
        }
        0
    })
    .map_err(failed("clone3"))?;
    drop(theirs);
    let entered = unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS);
    let mut socket = std::os::unix::net::UnixStream::from(ours);
    if entered.is_ok() {
        let _ = socket.write_all(&[1]);
    }
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let mut reason = String::new();
    let _ = socket.read_to_string(&mut reason);
    let _ = helper.wait();
    entered.map_err(failed("unshare"))?;
    if !reason.is_empty() {
        return Err(RootlessError::Mapping { user: user.as_raw(), reason });
    }
    become_root().map_err(failed("setresuid"))?;
    let note = ids.note(user.as_raw());
    let _ = ENTERED.set(Entered { user: user.as_raw(), ids });
    Ok(note)
}

/// Runs `body` in a process that is root of such a user namespace, and returns its exit status: for commands that
/// stay outside themselves.
pub fn within(body: impl FnOnce() -> i32) -> Result<i32, RootlessError> {
    let user = geteuid().as_raw();
    let failed = |operation| move |error| RootlessError::Namespace { user, operation, error };
    let ids = Ids::of_user(user, getegid().as_raw());
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(failed("socketpair"))?;
    let arguments = CloneArguments { flags: Kind::User.flag(), cgroup: None };
    let child = spawn(arguments, || {
        close_inherited(ours.as_fd());
        let mut word = [0];
        match rustix::io::read(&theirs, &mut word) {
            Ok(1) if become_root().is_ok() => body(),
            _ => 255,
        }
    })
    .map_err(failed("clone3"))?;
    drop(theirs);
    let mapped = mapping::write(child.pid, &ids.mappings);
    if mapped.is_ok() {
        let _ = rustix::io::write(&ours, &[1]);
    }
    drop(ours);
    let status = child.wait().map_err(failed("waitid"))?;
    mapped.map_err(|error| RootlessError::Mapping { user, reason: error.to_string() })?;
    Ok(status.exit_status().unwrap_or(255))
}

fn become_root() -> Result<(), Errno> {
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
}

/// Whose container it is: who rcrun was before it became root of a user namespace.
pub fn user() -> u32 {
    ENTERED.get().map_or_else(|| geteuid().as_raw(), |entered| entered.user)
}

/// Is rcrun in a user namespace that does not map the ids that images usually have?
pub fn has_single_id() -> bool {
    host::in_user_namespace()
        && std::fs::read_to_string("/proc/self/gid_map").is_ok_and(|map| {
            let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
            counts.sum::<u64>() < 6
        })
}

/// A configuration as commands outside of this process's user namespace have to see it: with that namespace.
pub fn seen_from_outside(config: Vec<u8>) -> Vec<u8> {
    let Some(entered) = ENTERED.get() else { return config };
    let Ok(mut value) = serde_json::from_slice::<Value>(&config) else { return config };
    let linux = &mut value["linux"];
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.push(json!({"type": "user"}));
    }
    let list = |ids: &[(u32, u32, u32)]| -> Value {
        ids.iter()
            .map(|(inside, outside, count)| json!({"containerID": inside, "hostID": outside, "size": count}))
            .collect()
    };
    linux["uidMappings"] = list(&entered.ids.uids);
    linux["gidMappings"] = list(&entered.ids.gids);
    value.to_string().into_bytes()
}

impl Ids {
    fn of_user(uid: u32, gid: u32) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let helpers = host::find_program("newuidmap").zip(host::find_program("newgidmap"));
        let name = user_name(&read("/etc/passwd"), uid);
        let mut ids = Self::new((uid, gid), &name, &read("/etc/subuid"), &read("/etc/subgid"));
        match helpers {
            Some((uid_helper, gid_helper)) if ids.uids.len() > 1 => {
                ids.mappings.uid_helper = Some(uid_helper);
                ids.mappings.gid_helper = Some(gid_helper);
            }
            _ => ids = Self::new((uid, gid), &name, "", ""),
        }
        ids.mappings.deny_setgroups = ids.mappings.gid_helper.is_none();
        ids
    }

    fn new((uid, gid): (u32, u32), name: &str, subuid: &str, subgid: &str) -> Self {
        let more = |text: &str| {
            let by_name = of_user(text, name);
            if by_name.is_empty() { of_user(text, &uid.to_string()) } else { by_name }
        };
        let (more_uids, more_gids) = (more(subuid), more(subgid));
        let both = !more_uids.is_empty() && !more_gids.is_empty();
        let list = |own: u32, more: &[(u32, u32)]| {
            let mut list = vec![(0, own, 1)];
            for (start, end) in more.iter().filter(|_| both) {
                let next = list.last().map_or(0, |(inside, _, count)| inside + count);
                list.push((next, *start, end - start));
            }
            list
        };
        let lines = |list: &[(u32, u32, u32)]| -> String {
            list.iter().map(|(inside, outside, count)| format!("{inside} {outside} {count}\n")).collect()
        };
        let (uids, gids) = (list(uid, &more_uids), list(gid, &more_gids));
        let mappings = Mappings {
            uid: lines(&uids),
            gid: lines(&gids),
            uid_helper: None,
            gid_helper: None,
            deny_setgroups: true,
        };
        Self { uids, gids, mappings }
    }

    fn note(&self, user: u32) -> Option<String> {
        (self.uids.len() == 1).then(|| {
            format!(
                "the user {user} has a single id: files of other owners cannot be unpacked as they are (add ranges to /etc/subuid \
                 and /etc/subgid, and install newuidmap: Debian's package uidmap)"
            )
        })
    }
}

fn user_name(passwd: &str, uid: u32) -> String {
    let named = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    passwd.lines().find_map(named).unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_root_and_the_subordinate_ids_follow() {
        let ids = Ids::new((1000, 100), "u", "u:100000:65536\nu:300000:10\n", "u:200000:65536\n");
        assert_eq!(ids.mappings.uid, "0 1000 1\n1 100000 65536\n65537 300000 10\n");
        assert_eq!(ids.mappings.gid, "0 100 1\n1 200000 65536\n");
        let by_number = Ids::new((1000, 100), "u", "1000:7:8\n", "1000:7:8\n");
        assert_eq!(by_number.uids, [(0, 1000, 1), (1, 7, 8)]);
    }

    #[test]
    fn without_both_kinds_of_ids_the_user_is_alone() {
        for (subuid, subgid) in [("", ""), ("u:100000:65536\n", ""), ("", "u:100000:65536\n")] {
            let ids = Ids::new((1000, 100), "u", subuid, subgid);
            assert_eq!((ids.mappings.uid.as_str(), ids.mappings.gid.as_str()), ("0 1000 1\n", "0 100 1\n"));
            assert!(ids.note(1000).unwrap().contains("/etc/subuid"));
        }
    }
}
