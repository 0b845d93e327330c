//! Ids, groups and capabilities, credentials(7) and capabilities(7).

use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::plan::step::{CapabilityMasks, Credentials};
use crate::sys::{During, Failure};

/// Capability numbers are below this; the kernel says EINVAL to those it does not know.
const CAPABILITIES: u32 = 64;

/// Takes root's ids in the user namespace that this process was born in or has joined.
pub fn become_namespace_root() -> Result<(), Failure> {
    set_gid(Gid::ROOT)?;
    set_uid(Uid::ROOT)
}

/// Gives the process its ids and capabilities, in the order that keeps each call permitted.
pub fn apply(credentials: &Credentials) -> Result<(), Failure> {
    if credentials.uid != 0 {
        set_keep_capabilities(true).during("prctl PR_SET_KEEPCAPS")?;
    }
    own_streams(credentials.uid)?;
    if let Some(groups) = &credentials.groups {
        match set_thread_groups(groups) {
            // A joined user namespace may deny setgroups(2), user_namespaces(7); nobody asked for a group.
            Err(Errno::PERM) if groups.is_empty() => {}
            result => result.during("setgroups")?,
        }
    }
    set_gid(Gid::from_raw(credentials.gid))?;
    set_uid(Uid::from_raw(credentials.uid))?;
    set(&credentials.capabilities)?;
    if credentials.no_new_privileges {
        set_no_new_privs(true).during("prctl PR_SET_NO_NEW_PRIVS")?;
    }
    Ok(())
}

/// Makes the user own its standard streams, as runc does: it may open /dev/stdout again then.
fn own_streams(uid: u32) -> Result<(), Failure> {
    let null = rustix::fs::makedev(1, 3);
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let Ok(stat) = rustix::fs::fstat(stream) else { continue };
        if stat.st_uid == uid || stat.st_rdev == null {
            continue;
        }
        match rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None) {
            // Not ours to give away: another user's in a user namespace, or read-only.
            Ok(()) | Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => {}
            Err(errno) => return Err(errno).during("fchown a standard stream"),
        }
    }
    Ok(())
}

fn set_gid(gid: Gid) -> Result<(), Failure> {
    set_thread_res_gid(gid, gid, gid).during("setresgid")
}

fn set_uid(uid: Uid) -> Result<(), Failure> {
    set_thread_res_uid(uid, uid, uid).during("setresuid")
}

/// Drops what is not to stay in the bounding set, as far as the kernel knows capabilities.
pub fn bound(keep: u64) -> Result<(), Failure> {
    for number in 0..CAPABILITIES {
        let bit = 1 << number;
        if keep & bit != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno).during("prctl PR_CAPBSET_DROP"),
        }
    }
    Ok(())
}

fn set(sets: &CapabilityMasks) -> Result<(), Failure> {
    set_thread_capabilities(sets)?;
    clear_ambient_capability_set().during("prctl PR_CAP_AMBIENT")?;
    for number in (0..CAPABILITIES).filter(|number| sets.ambient & (1 << number) != 0) {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        configure_capability_in_ambient_set(capability, true).during("prctl PR_CAP_AMBIENT")?;
    }
    Ok(())
}

/// capset(2) alone: the permitted, effective and inheritable sets.
pub fn set_thread_capabilities(sets: &CapabilityMasks) -> Result<(), Failure> {
    let known = |mask: u64| CapabilitySet::from_bits_retain(mask);
    set_capabilities(
        None,
        CapabilitySets {
            effective: known(sets.effective),
            permitted: known(sets.permitted),
            inheritable: known(sets.inheritable),
        },
    )
    .during("capset")
}
