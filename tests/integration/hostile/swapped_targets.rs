//! C: targets of mounts and devices that are links, or become links while the runtime looks
//! (CVE-2019-19921, CVE-2021-30465, CVE-2023-27561).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Tries;
use crate::support::{Bundle, busybox};

/// So many exchanges of the two names, at least, while containers start.
const SWAPS: u64 = 10_000;
/// So many containers, at least.
const STARTS: usize = 20;

/// A directory of the host's that no container was given.
fn canary(bundle: &Bundle) -> PathBuf {
    let directory = bundle.file("canary");
    fs::create_dir(&directory).expect("mkdir");
    directory
}

#[track_caller]
fn assert_untouched(canary: &Path) {
    let found: Vec<_> = fs::read_dir(canary).expect("the canary").flatten().map(|e| e.path()).collect();
    assert!(found.is_empty(), "made on the host: {found:?}");
}

/// A container that exchanges two names in `directory` until it is deleted.
fn swapper(directory: &Path, one: &str, two: &str) -> Bundle {
    let bundle = Bundle::busybox().expect("a bundle").almighty().bind(directory, "/prey", &["bind"]);
    let bundle = bundle.attacker(&format!("swap=/prey/{one},/prey/{two}"));
    bundle.run_detached();
    bundle
}

/// Runs `victim` again and again while names change; what each run may print is up to `check`.
#[track_caller]
fn run_while_swapping(victim: &Bundle, swapper: &Bundle, check: impl Fn(&crate::support::Outcome)) {
    let (mut tries, mut ran) = (Tries::of(swapper), 0);
    while tries.go_on(swapper, SWAPS, STARTS, None) {
        let outcome = victim.run_or_refused();
        check(&outcome);
        ran += usize::from(outcome.status.success());
    }
    assert!(swapper.reported("swaps") >= SWAPS, "only {} swaps", swapper.reported("swaps"));
    println!("{} starts, {ran} not refused, {} swaps", tries.made, swapper.reported("swaps"));
    swapper.delete_forced().success();
}

#[test]
fn mounts_and_devices_on_names_that_change_stay_inside() {
    let victim = busybox!().writable().args(["true"]);
    let (canary, volume, data) = (canary(&victim), victim.file("volume"), victim.data());
    fs::create_dir_all(volume.join("way/below")).expect("mkdir");
    symlink(&canary, volume.join("link")).expect("symlink");
    let swapper = swapper(&volume, "way", "link");
    let victim = victim
        .bind(&volume, "/vol", &["bind"])
        .mount("/vol/way/tmpfs", "tmpfs", "tmpfs", &[])
        .bind(&data, "/vol/way/below/data", &["bind"])
        .bind(data.join("word"), "/vol/way/file", &["bind"])
        .set("/linux/devices", json!([{"path": "/vol/way/null", "type": "c", "major": 1, "minor": 3}]))
        .set("/linux/maskedPaths", json!(["/vol/way/below"]))
        .set("/linux/readonlyPaths", json!(["/vol/way"]))
        .set("/process/cwd", json!("/vol/way/cwd"));
    run_while_swapping(&victim, &swapper, |_| assert_untouched(&canary));
}

#[test]
fn a_root_file_system_whose_dev_changes_stays_inside() {
    let victim = busybox!().writable().args(["true"]);
    let canary = canary(&victim);
    symlink(&canary, victim.rootfs().join("other")).expect("symlink");
    let swapper = swapper(&victim.rootfs(), "dev", "other");
    // Without a tmpfs on it, so that the nodes are made in the image's own directory.
    let victim = victim.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| !mount["destination"].as_str().is_some_and(|d| d.starts_with("/dev")));
    });
    run_while_swapping(&victim, &swapper, |_| assert_untouched(&canary));
    let victim = victim.mount("/dev", "tmpfs", "tmpfs", &[]).mount("/dev/pts", "devpts", "devpts", &[]);
    drop(swapper);
    assert_untouched(&canary);
    victim.run_or_refused();
    assert_untouched(&canary);
}

#[test]
fn dev_proc_and_sys_as_links_stay_inside() {
    for name in ["dev", "proc", "sys", "tmp"] {
        for climbs in [false, true] {
            let bundle = busybox!().writable().mount("/tmp/x", "tmpfs", "tmpfs", &[]).args(["true"]);
            let canary = canary(&bundle);
            let target = match climbs {
                true => PathBuf::from(format!("../../../../../../../..{}", canary.display())),
                false => canary.clone(),
            };
            fs::remove_dir(bundle.rootfs().join(name)).expect("rmdir");
            symlink(target, bundle.rootfs().join(name)).expect("symlink");
            bundle.run_or_refused();
            assert_untouched(&canary);
        }
    }
}
