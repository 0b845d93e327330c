//! What needs CAP_SYS_RESOURCE: limits above the caller's own, a lower OOM score.

use serde_json::json;

use crate::bundle;
use crate::support::Bundle;

/// More open files than the VM's processes may have; `ulimit` prints both limits.
fn raised(bundle: Bundle) -> Bundle {
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 300_000, "hard": 400_000}]);
    bundle.set("/process/rlimits", limit).script("ulimit -Sn; ulimit -Hn")
}

#[test]
fn the_vms_own_limit_is_lower() {
    let _bundle = bundle!();
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert!(own.maximum.is_some_and(|hard| hard < 300_000), "{own:?}");
}

#[test]
fn resource_limits_can_be_raised() {
    raised(bundle!()).run().prints("300000\n400000");
}

#[test]
fn resource_limits_can_be_raised_for_a_user_namespace() {
    raised(bundle!().user_namespace()).run().prints("300000\n400000");
}

#[test]
fn the_oom_score_can_be_lowered() {
    let bundle = bundle!().set("/process/oomScoreAdj", json!(-500)).args(["cat", "/proc/self/oom_score_adj"]);
    bundle.run().prints("-500");
}

#[test]
fn the_oom_score_can_be_lowered_for_a_user_namespace() {
    let bundle = bundle!().user_namespace().set("/process/oomScoreAdj", json!(-500));
    bundle.args(["cat", "/proc/self/oom_score_adj"]).run().prints("-500");
}
