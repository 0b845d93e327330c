//! A shim that was killed, and the one that takes over.

use std::os::fd::AsFd;
use std::path::Path;

use rcrun::monitor::{Event, MonitorError};
use rustix::process::{Pid, Signal, kill_process};

use crate::bundle::{Bundle, program, script, wait_for, wait_readable};

/// Kills the shim and sees it gone.
#[track_caller]
pub fn kill_shim(bundle: &Bundle) {
    let shim = bundle.shim();
    let mut watch = bundle.monitor().watch().unwrap();
    kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
    wait_readable("the shim's end", watch.as_fd());
    assert_eq!(watch.next().unwrap(), Some(Event::Ended));
    assert_eq!(bundle.exit(), None);
    // The kernel closes its descriptors one after the other.
    let gone = || matches!(bundle.monitor().watch(), Err(MonitorError::Gone { .. })).then_some(());
    wait_for("its listener's end", gone);
}

fn has(bundle: &Bundle, line: &str) {
    let line = format!("stdout F {line}");
    wait_for(&line, || bundle.log().contains(&line).then_some(()));
}

#[test]
fn a_container_outlives_its_shim_and_the_next_one_goes_on() {
    let script = "trap 'exit 9' TERM; n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done";
    let bundle = script!(script);
    let started = bundle.launch();
    has(&bundle, "line 3");
    kill_shim(&bundle);
    assert!(Path::new(&format!("/proc/{}", started.pid)).exists());
    // More is said meanwhile than may be lost.
    std::thread::sleep(std::time::Duration::from_millis(300));
    program().adopt(&bundle.settings.bundle).unwrap();
    program().adopt(&bundle.settings.bundle).unwrap();
    let seen = bundle.log().len();
    wait_for("more lines", || (bundle.log().len() > seen + 5).then_some(()));
    let mut watch = bundle.monitor().watch().unwrap();
    bundle.monitor().kill(15, false).unwrap();
    let exit = bundle.end(&mut watch);
    // Linux 6.15 still tells it; before that nobody does.
    assert!(matches!(exit.code, Some(9) | None), "{exit:?}");
    // One is the process's own start, the other that of its program.
    assert!((exit.started - started.at).abs() < 60_000_000_000, "{exit:?} {started:?}");
    let numbers: Vec<u32> =
        bundle.log().iter().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    let lost = *numbers.last().unwrap() as usize - numbers.len();
    // What the first one had read at once and not written.
    assert!(lost <= 5, "{lost} lines of {numbers:?}");
}

#[test]
fn a_container_that_ended_without_a_shim_has_an_unknown_code() {
    let bundle = script!("read end").stdin(false);
    let started = bundle.launch();
    kill_shim(&bundle);
    kill_process(Pid::from_raw(started.pid).unwrap(), Signal::KILL).unwrap();
    wait_for("its end", || (!Path::new(&format!("/proc/{}", started.pid)).exists()).then_some(()));
    program().adopt(&bundle.settings.bundle).unwrap();
    assert_eq!(bundle.exit().unwrap().code, None);
    assert!(!bundle.settings.run.exists());
}

#[test]
fn what_nobody_holds_can_be_discarded() {
    let bundle = script!("read end").stdin(false);
    let started = bundle.launch();
    kill_shim(&bundle);
    program().discard(&bundle.settings.bundle).unwrap();
    wait_for("its end", || (!Path::new(&format!("/proc/{}", started.pid)).exists()).then_some(()));
    assert!(!bundle.settings.run.exists());
    program().discard(&bundle.settings.bundle).unwrap();
}

#[test]
fn an_older_shims_settings_are_enough() {
    let bundle = script!("read end").stdin(false);
    bundle.launch();
    kill_shim(&bundle);
    let path = bundle.settings.bundle.join("shim.json");
    let mut settings: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let settings = settings.as_object_mut().unwrap();
    for newer in ["max_log_line", "loopback", "systemd_cgroup", "terminal"] {
        settings.remove(newer);
    }
    settings.insert("of_a_newer_version".into(), serde_json::json!({"any": 1}));
    std::fs::write(&path, serde_json::to_vec(&settings).unwrap()).unwrap();
    program().adopt(&bundle.settings.bundle).unwrap();
    bundle.kill();
}

#[test]
fn a_shim_that_is_killed_while_it_starts_leaves_nothing() {
    let bundle = script!("sleep 1000");
    for round in 0..15_u64 {
        let launched = std::thread::scope(|scope| {
            let launching = scope.spawn(|| bundle.try_launch());
            let shim = wait_for("a shim", || bundle.find_shim().or(launching.is_finished().then_some(0)));
            std::thread::sleep(std::time::Duration::from_micros(700 * round));
            if let Some(shim) = Pid::from_raw(shim) {
                let _ = kill_process(shim, Signal::KILL);
            }
            launching.join().unwrap()
        });
        match launched {
            // It came too late: the container runs, and is held by nobody.
            Ok(_) => program().discard(&bundle.settings.bundle).unwrap(),
            Err(MonitorError::Gone { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        let left = || bundle.leftovers();
        wait_for("nothing left", || left().is_empty().then_some(()));
        let _ = std::fs::remove_file(bundle.settings.bundle.join("shim.json"));
    }
}
