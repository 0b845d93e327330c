//! Many containers at the same time and one after the other.

use crate::support::{busybox, cgroup_mount, wait_for};

#[test]
fn eight_runs_of_one_bundle_at_the_same_time() {
    let bundle = busybox!().script("echo $$; sleep 0.3; exit 4");
    bundle.write_config();
    let path = bundle.path();
    let path = path.to_str().expect("UTF-8");
    let running: Vec<_> = (0..8)
        .map(|n| bundle.invocation(&["run", "--bundle", path, &format!("{}-{n}", bundle.id())]).spawn())
        .collect();
    for one in running {
        let outcome = one.wait().exits_with(4);
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("1\n", ""));
    }
    bundle.leaves_nothing();
}

#[test]
fn eight_creates_of_one_id_make_one_container() {
    let bundle = busybox!().script("sleep 100");
    bundle.write_config();
    let command = bundle.bundle_command("create", &[]);
    let running: Vec<_> = (0..8).map(|_| bundle.invocation(&command).spawn()).collect();
    let outcomes: Vec<_> = running.into_iter().map(|one| one.wait()).collect();
    let (made, refused): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|outcome| outcome.status.success());
    assert_eq!(made.len(), 1);
    for outcome in refused {
        outcome.refused(&[bundle.id(), "in use"]);
    }
    assert_eq!(bundle.status(), "created");
    bundle.start().success();
    assert_eq!(bundle.status(), "running");
    bundle.delete_forced().success();
}

#[test]
fn two_hundred_runs_leave_nothing() {
    let bundle = busybox!().args(["true"]);
    let cgroup = cgroup_mount().expect("cgroup2");
    let dying = || {
        let text = std::fs::read_to_string(cgroup.join("cgroup.stat")).expect("cgroup.stat");
        let line =
            text.lines().find_map(|line| line.strip_prefix("nr_dying_descendants ")).expect("a number");
        line.parse::<u64>().expect("a number")
    };
    bundle.write_config();
    let command = bundle.bundle_command("run", &[]);
    let before = dying();
    for _ in 0..200 {
        let outcome = bundle.invocation(&command).wait().success();
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    }
    bundle.leaves_nothing();
    // Removed cgroups must not stay in the kernel, pinned by programs or descriptors. Other tests
    // run at the same time and leave a few for a moment; what this machine has had before is not ours.
    wait_for("dying cgroups to go", 30, || (dying() < before + 100).then_some(()));
}

#[test]
fn a_delete_while_the_container_starts_wins_or_waits() {
    for _ in 0..10 {
        let bundle = busybox!().script("sleep 100");
        bundle.create().success();
        let start = bundle.invocation(&["start", bundle.id()]).spawn();
        let delete = bundle.invocation(&["delete", "--force", bundle.id()]).spawn();
        // Either may come first; what counts is that nothing hangs and nothing is left.
        start.wait();
        delete.wait().success();
        bundle.leaves_nothing();
    }
}
