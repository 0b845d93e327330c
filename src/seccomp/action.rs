//! Actions, as a filter returns them: seccomp(2), SECCOMP_RET_*.

use oci_spec::runtime::LinuxSeccompAction as Named;

use crate::spec::SpecError;

/// What a filter returns: an action in the high half, its data in the low one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Action(pub u32);

impl Action {
    /// What happens to calls of an architecture that the profile does not name.
    pub const BAD_ARCH: Self = Self(0);
    /// ERRNO with ENOSYS.
    pub const NO_SUCH_CALL: Self = Self(0x0005_0000 | libc::ENOSYS as u32);
    /// NOTIFY.
    pub const NOTIFY: Self = Self(0x7fc0_0000);

    /// The action of a profile. `path` is the object that holds `action` and the errno beside it.
    pub fn of(named: Named, errno: Option<u32>, path: &str, field: &str) -> Result<Self, SpecError> {
        let takes_errno = matches!(named, Named::ScmpActErrno | Named::ScmpActTrace);
        if let Some(errno) = errno.filter(|errno| !takes_errno || *errno > 0xffff) {
            let reason = match takes_errno {
                true => format!("{errno} does not fit into 16 bits"),
                false => format!("{named} takes no errno: remove it"),
            };
            return Err(SpecError::invalid(format!("{path}.{field}"), reason));
        }
        let errno = errno.unwrap_or(libc::EPERM as u32);
        Ok(Self(match named {
            Named::ScmpActKill | Named::ScmpActKillThread => 0,
            Named::ScmpActKillProcess => 0x8000_0000,
            Named::ScmpActTrap => 0x0003_0000,
            Named::ScmpActErrno => 0x0005_0000 | errno,
            Named::ScmpActNotify => Self::NOTIFY.0,
            Named::ScmpActTrace => 0x7ff0_0000 | errno,
            Named::ScmpActLog => 0x7ffc_0000,
            Named::ScmpActAllow => 0x7fff_0000,
        }))
    }
}

/// Is this an action under which calls that the profile does not know are let through? A tracer is
/// expected to answer them itself.
pub(super) fn lets_through(named: Named) -> bool {
    matches!(named, Named::ScmpActAllow | Named::ScmpActLog | Named::ScmpActTrace)
}
