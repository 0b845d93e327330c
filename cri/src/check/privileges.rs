//! What this process may do.

use crate::config::{Config, RestrictOomScoreAdj};

use super::Fact;

/// Bits of linux/capability.h.
const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_RESOURCE: u64 = 1 << 24;

pub fn facts(config: &Config) -> Vec<Fact> {
    let held = rcrun::host::permitted_capabilities();
    let has = |capability: u64| held & capability != 0;
    let oom = match config.restrict_oom_score_adj {
        RestrictOomScoreAdj::Never => {
            "containers whose oom_score_adj is lower than this process' are refused"
        }
        _ => "an oom_score_adj lower than this process' is raised to it",
    };
    vec![
        Fact::or_fatal("root", rustix::process::geteuid().is_root(), "it must be started as root"),
        Fact::or_fatal("CAP_SYS_ADMIN", has(SYS_ADMIN), "nothing can be mounted"),
        Fact::or_fatal("CAP_NET_ADMIN", has(NET_ADMIN), "Pods can have no network"),
        Fact::or_limited(
            "CAP_SYS_RESOURCE",
            has(SYS_RESOURCE),
            &format!("{oom}; resource limits above this process' own cannot be set"),
        ),
    ]
}
