//! B: a descriptor or a directory of the host that the container starts with (CVE-2024-21626).

use std::fs;

use serde_json::json;

use super::process_file;
use crate::support::{Bundle, busybox, wait_for};

/// Looks for the host from the working directory: the test's own directory is only on the host.
const LOOK: &str = "if test -e ./etc/hostname && ! test -e /etc/hostname; then echo escaped; fi; \
     if ls -d ../../../../../../../../proc/1/root/tmp/$RCRUN_TEST* ./$RCRUN_TEST* ../$RCRUN_TEST* \
     ../../$RCRUN_TEST* ../../../../../../../../tmp/$RCRUN_TEST* >/dev/null 2>&1; then echo escaped; fi; \
     for fd in /proc/self/fd/*; do if test -d $fd/; then case $(readlink $fd) in /proc/*) ;; *) \
     echo escaped through $fd: $(readlink $fd);; esac; fi; done; true";

#[track_caller]
fn assert_inside(bundle: &Bundle, outcome: &crate::support::Outcome) {
    assert!(!outcome.stdout.contains("escaped"), "{outcome}");
    let data = bundle.file("secret");
    assert_eq!(fs::read_to_string(data).expect("the host's file"), "host\n", "{outcome}");
}

#[test]
fn no_number_of_a_descriptor_as_working_directory_of_a_container_leads_outside() {
    let mut bundle = busybox!().script(LOOK);
    fs::write(bundle.file("secret"), "host\n").expect("write");
    for number in 3..=64 {
        bundle = bundle.set("/process/cwd", json!(format!("/proc/self/fd/{number}")));
        let outcome = bundle.run_or_refused();
        assert_inside(&bundle, &outcome);
        bundle.leaves_nothing();
    }
}

/// create and start have other descriptors open than run: the socket between them, for one.
#[test]
fn no_number_of_a_descriptor_as_working_directory_of_a_created_container_leads_outside() {
    let report = format!("({LOOK}; echo end) >/report/looked");
    let mut bundle = busybox!().script(&report);
    fs::write(bundle.file("secret"), "host\n").expect("write");
    let directory = bundle.file("report");
    fs::create_dir(&directory).expect("mkdir");
    bundle = bundle.bind(&directory, "/report", &["bind"]);
    for number in 3..=64 {
        bundle = bundle.set("/process/cwd", json!(format!("/proc/self/fd/{number}")));
        let mut outcome = bundle.create();
        if outcome.status.success() && bundle.start().status.success() {
            let looked = || fs::read_to_string(directory.join("looked")).ok();
            outcome.stdout = wait_for("the look", 10, || looked().filter(|text| text.ends_with("end\n")));
            fs::remove_file(directory.join("looked")).expect("rm");
        }
        assert_inside(&bundle, &outcome);
        bundle.delete_forced().success();
        bundle.leaves_nothing();
    }
}

#[test]
fn no_link_of_the_image_to_a_descriptor_leads_outside() {
    let mut bundle = busybox!().script(LOOK);
    fs::write(bundle.file("secret"), "host\n").expect("write");
    for number in 3..=24 {
        for (place, target) in [("way", ""), ("up", "/../../../..")] {
            let name = format!("{place}{number}");
            let target = format!("/proc/self/fd/{number}{target}");
            std::os::unix::fs::symlink(target, bundle.rootfs().join(&name)).expect("symlink");
            bundle = bundle.set("/process/cwd", json!(format!("/{name}")));
            assert_inside(&bundle, &bundle.run_or_refused());
        }
    }
}

#[test]
fn no_number_of_a_descriptor_as_working_directory_of_an_exec_leads_outside() {
    let bundle = busybox!().script("sleep 100");
    fs::write(bundle.file("secret"), "host\n").expect("write");
    bundle.run_detached();
    for number in 3..=64 {
        let cwd = format!("/proc/self/fd/{number}");
        assert_inside(&bundle, &bundle.exec_with(&["--cwd", &cwd], &["sh", "-c", LOOK]));
    }
    bundle.delete_forced().success();
}

#[test]
fn no_program_is_found_through_a_descriptor_of_the_host() {
    let mut bundle = busybox!();
    fs::write(bundle.file("secret"), "host\n").expect("write");
    let program = bundle.file("outside");
    fs::write(&program, "#!/bin/sh\necho escaped\n").expect("write");
    let chmod = std::process::Command::new("chmod").arg("755").arg(&program).status();
    assert!(chmod.expect("chmod").success());
    let path = program.to_str().expect("UTF-8").trim_start_matches('/').to_owned();
    for number in 3..=24 {
        let program = format!("/proc/self/fd/{number}/../../../../../../{path}");
        bundle = bundle.args([&program]);
        let outcome = bundle.run_or_refused();
        assert!(!outcome.status.success(), "{outcome}");
        assert_inside(&bundle, &outcome);
    }
}

#[test]
fn a_directory_that_the_caller_passes_on_is_no_working_directory() {
    let bundle = busybox!().script(LOOK).set("/process/cwd", json!("/proc/self/fd/3"));
    fs::write(bundle.file("secret"), "host\n").expect("write");
    bundle.write_config();
    let command = bundle.bundle_command("run", &["--preserve-fds", "1"]);
    let outcome = bundle.invocation_in_shell("exec 3</; exec \"$@\"", &command).wait();
    assert!(!outcome.status.success(), "{outcome}");
    assert_inside(&bundle, &outcome);
}

#[test]
fn a_root_file_system_named_by_a_descriptor_is_no_directory_of_the_runtimes() {
    // What the runtime has open are its state directory, the cgroup, the bundle.
    let list = "for path in /state.json /config.json /cgroup.procs /rootfs; do \
         if test -e $path; then echo escaped; fi; done";
    let mut bundle = busybox!().script(list);
    fs::write(bundle.file("secret"), "host\n").expect("write");
    for number in 3..=64 {
        bundle = bundle.set("/root/path", json!(format!("/proc/self/fd/{number}")));
        assert_inside(&bundle, &bundle.run_or_refused());
        bundle.leaves_nothing();
    }
}

#[test]
fn a_process_file_for_exec_has_no_way_outside_either() {
    let bundle = busybox!().script("sleep 100");
    fs::write(bundle.file("secret"), "host\n").expect("write");
    bundle.run_detached();
    for number in 3..=24 {
        let file = process_file(&bundle, "process.json", |process| {
            process["cwd"] = json!(format!("/proc/self/fd/{number}/."));
            process["args"] = json!(["sh", "-c", LOOK]);
        });
        let outcome = bundle.rcrun(&["exec", "--process", &file, bundle.id()]);
        assert_inside(&bundle, &outcome);
    }
    bundle.delete_forced().success();
}
