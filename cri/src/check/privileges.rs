//! What this process may do.

use crate::config::{Config, RestrictOomScoreAdj};
use crate::spec::HostFacts;

use super::Fact;

/// Bits of linux/capability.h.
const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_RESOURCE: u64 = 1 << 24;
/// proc_pid_oom_score_adj(5).
const LOWEST: i32 = -1000;

pub fn facts(config: &Config) -> Vec<Fact> {
    let held = rcrun::host::permitted_capabilities();
    let has = |capability: u64| held & capability != 0;
    vec![
        Fact::or_fatal("root", rustix::process::geteuid().is_root(), "it must be started as root"),
        Fact::or_fatal("CAP_SYS_ADMIN", has(SYS_ADMIN), "nothing can be mounted"),
        Fact::or_fatal("CAP_NET_ADMIN", has(NET_ADMIN), "Pods can have no network"),
        Fact::or_limited(
            "CAP_SYS_RESOURCE",
            has(SYS_RESOURCE),
            "resource limits above this process' own cannot be set",
        ),
        oom_score_adj(config.restrict_oom_score_adj, &HostFacts::read()),
    ]
}

fn oom_score_adj(restrict: RestrictOomScoreAdj, host: &HostFacts) -> Fact {
    let lowest = host.lowest_oom_score_adj;
    match lowest_oom_score_adj(restrict, host) {
        Some(lowest) => Fact::limited(
            "oom_score_adj",
            format!("lower ones than {lowest} are raised to it (restrict_oom_score_adj)"),
        ),
        None if lowest > LOWEST => Fact::limited(
            "oom_score_adj",
            format!(
                "containers with a lower one than {lowest} are refused: restrict_oom_score_adj = \"auto\" raises it"
            ),
        ),
        None => Fact::ok("oom_score_adj", ""),
    }
}

/// What lower ones are raised to; None: nothing is raised.
pub fn lowest_oom_score_adj(restrict: RestrictOomScoreAdj, host: &HostFacts) -> Option<i32> {
    let lowest = match restrict {
        RestrictOomScoreAdj::Auto => host.lowest_oom_score_adj,
        RestrictOomScoreAdj::Always => host.own_oom_score_adj,
        RestrictOomScoreAdj::Never => LOWEST,
    };
    (lowest > LOWEST).then_some(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::State;

    #[test]
    fn who_may_not_lower_oom_score_adj_raises_or_refuses_it() {
        use RestrictOomScoreAdj::{Always, Auto, Never};
        let root = HostFacts { lowest_oom_score_adj: -1000, own_oom_score_adj: -5, ..HostFacts::default() };
        let bound = HostFacts { lowest_oom_score_adj: -5, ..root.clone() };
        let raised = |restrict, host| lowest_oom_score_adj(restrict, host);
        assert_eq!([Auto, Always, Never].map(|restrict| raised(restrict, &root)), [None, Some(-5), None]);
        assert_eq!(
            [Auto, Always, Never].map(|restrict| raised(restrict, &bound)),
            [Some(-5), Some(-5), None]
        );
        assert!(oom_score_adj(Auto, &bound).note.starts_with("lower ones than -5 are raised to it"));
        assert!(
            oom_score_adj(Never, &bound).note.starts_with("containers with a lower one than -5 are refused")
        );
        assert_eq!(oom_score_adj(Never, &root).state, State::Ok);
    }
}
