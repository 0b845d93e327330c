//! The log: rotation, long lines, a disk that is full.

use std::path::Path;
use std::process::Command;

use rcrun::monitor::Reply;

use crate::bundle::{log_lines, script, skip, wait_for};

#[test]
fn rotation_loses_no_line_and_tears_none() {
    let bundle = script!("seq 1 300000");
    bundle.launch();
    let log = bundle.settings.log.clone().unwrap();
    let Ok(mut watch) = bundle.monitor().watch() else { return };
    let mut number = 0;
    while bundle.exit().is_none() {
        let old = bundle.file(&format!("old.{number}"));
        if std::fs::rename(&log, &old).is_ok() {
            number += 1;
            // It may end meanwhile.
            let _ = bundle.monitor().reopen_log();
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(bundle.end(&mut watch).code, Some(0));
    let old = (0..number).map(|number| bundle.file(&format!("old.{number}")));
    let lines: Vec<String> = old.chain([log]).flat_map(|path| log_lines(&path)).collect();
    assert_eq!(lines.len(), 300_000, "in {number} rotated files and one");
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("stdout F {}", index + 1));
    }
}

#[test]
fn long_lines_are_cut_into_parts() {
    let mut bundle = script!("printf '%s\\n' 0123456789abcdef; printf 01234567; echo");
    bundle.settings.max_log_line = 10;
    assert_eq!(bundle.run().code, Some(0));
    assert_eq!(bundle.log(), ["stdout P 0123456789", "stdout F abcdef", "stdout F 01234567"]);
}

#[test]
fn a_missing_log_is_none() {
    let mut bundle = script!("seq 1 100000");
    bundle.settings.log = None;
    assert_eq!(bundle.run().code, Some(0));
}

#[test]
fn a_log_that_cannot_be_opened_is_named_and_nothing_starts() {
    let mut bundle = script!("true");
    bundle.settings.log = Some("/proc/nowhere/0.log".into());
    let error = bundle.try_launch().unwrap_err().to_string();
    assert_eq!(
        error,
        "shim: open log \"/proc/nowhere/0.log\": No such file or directory (os error 2)"
            .replace(" (os error 2)", "")
    );
}

/// In a mount namespace of this thread's own, so that no other test sees it.
#[test]
fn a_full_disk_costs_lines_and_not_the_container() {
    let mut bundle = script!("seq 1 100000; read go; echo again; read end").stdin(false);
    let disk = bundle.file("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&disk).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return skip("no tmpfs can be mounted");
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        bundle.settings.log = Some(disk.join("0.log"));
        bundle.launch();
        let lost = || match bundle.monitor().status().unwrap() {
            Reply::Status { lost_lines, .. } => lost_lines,
            other => panic!("{other:?}"),
        };
        let lines = || bundle.log().len() as u64;
        wait_for("all lines written or lost", || (lost() + lines() == 100_000).then_some(()));
        assert!(lost() > 90_000);
        let kept = bundle.log();
        for (index, line) in kept.iter().enumerate() {
            assert_eq!(*line, format!("stdout F {}", index + 1));
        }
        // Rotation makes room.
        std::fs::remove_file(disk.join("0.log")).unwrap();
        bundle.monitor().reopen_log().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let _attached = bundle.monitor().attach(Some(reader), None, None).unwrap();
        rustix::io::write(&writer, b"go\n").unwrap();
        wait_for("a new line", || (bundle.log() == ["stdout F again"]).then_some(()));
        bundle.kill();
    }));
    unmount(&disk);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

fn unmount(path: &Path) {
    let _ = rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH);
}
