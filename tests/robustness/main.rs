//! Many containers: ten thousand one after the other, five hundred at once, creates in parallel.
//! What the host has of each kind is counted before and after; so these tests run alone and in one
//! thread, by `make test-robustness`.

#[path = "../support/mod.rs"]
mod support;

mod census;

use census::Census;
use support::{Bundle, busybox, wait_for};

/// Waits until the host has no more of anything than before, or fails with what it has.
fn as_before(before: &Census) {
    let mut last = Vec::new();
    let deadline = std::time::Instant::now() + support::seconds(60);
    loop {
        let grown = Census::take().beyond(before);
        if grown.is_empty() {
            return;
        }
        if std::time::Instant::now() > deadline {
            panic!("left behind: {grown:?} (a moment before: {last:?})");
        }
        last = grown;
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn ten_thousand_runs_leave_nothing() {
    let bundle = busybox!().args(["true"]);
    bundle.write_config();
    let command = bundle.bundle_command("run", &[]);
    // What the first ones leave in caches is no leak.
    for _ in 0..100 {
        bundle.invocation(&command).wait().success();
    }
    let before = Census::take();
    for _ in 0..10_000 {
        bundle.invocation(&command).wait().success();
    }
    bundle.leaves_nothing();
    as_before(&before);
}

#[test]
fn five_hundred_containers_live_at_once() {
    let bundle = busybox!().script("exec sleep 1000");
    bundle.write_config();
    let path = bundle.path();
    let path = path.to_str().expect("UTF-8");
    let ids: Vec<String> = (0..500).map(|n| format!("{}-{n}", bundle.id())).collect();
    let one = |id: &str| {
        bundle.rcrun(&["run", "--detach", "--bundle", path, id]).success();
    };
    one(&ids[0]);
    bundle.rcrun(&["delete", "--force", &ids[0]]).success();
    let before = Census::take();
    ids.iter().for_each(|id| one(id));
    let listed = bundle.rcrun(&["list", "--quiet"]).success();
    assert_eq!(listed.stdout.lines().count(), 500);
    for id in [&ids[0], &ids[250], &ids[499]] {
        bundle.rcrun(&["exec", id, "true"]).success();
        assert_eq!(bundle.rcrun(&["state", id]).json()["status"], "running");
    }
    for id in &ids {
        bundle.rcrun(&["delete", "--force", id]).success();
    }
    bundle.leaves_nothing();
    as_before(&before);
}

#[test]
fn sixty_four_creates_in_parallel() {
    let bundle = busybox!().script("exec sleep 1000");
    bundle.write_config();
    let path = bundle.path();
    let path = path.to_str().expect("UTF-8");
    let ids: Vec<String> = (0..64).map(|n| format!("{}-{n}", bundle.id())).collect();
    let each = |bundle: &Bundle, command: &dyn Fn(&str) -> Vec<String>| {
        let running: Vec<_> =
            ids.iter().map(|id| bundle.invocation(&command(id)).limit(60).spawn()).collect();
        for one in running {
            one.wait().success();
        }
    };
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let before = Census::take();
    each(&bundle, &|id| words(&["create", "--bundle", path, id]));
    for id in &ids {
        wait_for("the container to be created", 10, || {
            (bundle.rcrun(&["state", id]).json()["status"] == "created").then_some(())
        });
    }
    each(&bundle, &|id| words(&["start", id]));
    each(&bundle, &|id| words(&["delete", "--force", id]));
    bundle.leaves_nothing();
    as_before(&before);
}
