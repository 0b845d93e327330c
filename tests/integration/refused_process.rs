//! Programs that cannot be executed: named in one line, nothing left.

use serde_json::json;

use crate::support::{Bundle, busybox};

/// The same words from `run` and, at the latest, from `start`.
#[track_caller]
fn refused(bundle: &Bundle, fragments: &[&str]) {
    bundle.run().refused(fragments);
    bundle.leaves_nothing();
    let created = bundle.create();
    if !created.status.success() {
        created.refused(fragments);
        return bundle.leaves_nothing();
    }
    bundle.start().refused(fragments);
    bundle.delete_forced().success();
    bundle.leaves_nothing();
}

#[test]
fn a_program_that_is_not_in_path_is_named() {
    refused(&busybox!().args(["nope"]), &["nope", "not found", "PATH"]);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    refused(&busybox!().args(["/bin/nope"]), &["/bin/nope", "no such file"]);
}

#[test]
fn a_program_without_a_path_to_look_in_is_named() {
    let bundle = busybox!().args(["nope"]);
    let marker = bundle.marker().to_owned();
    let bundle = bundle.set("/process/env", json!([format!("RCRUN_TEST={marker}")]));
    refused(&bundle, &["nope", "PATH"]);
}

#[test]
fn a_file_that_is_not_executable_is_named() {
    let bundle = busybox!().args(["/bin/data"]);
    bundle.make_program("bin/data", b"#!/bin/sh\n", 0o644);
    refused(&bundle, &["/bin/data", "permission denied"]);
    let bundle = busybox!().args(["data"]);
    bundle.make_program("bin/data", b"#!/bin/sh\n", 0o644);
    refused(&bundle, &["data", "permission denied"]);
}

#[test]
fn a_directory_is_no_program() {
    refused(&busybox!().args(["/etc"]), &["/etc", "permission denied"]);
}

#[test]
fn a_program_of_another_architecture_is_named() {
    // An ELF header for a machine that does not exist.
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    header.extend(0xfffe_u16.to_le_bytes());
    header.resize(64, 0);
    let bundle = busybox!().args(["/bin/foreign"]);
    bundle.make_program("bin/foreign", &header, 0o755);
    refused(&bundle, &["/bin/foreign", "exec format error"]);
}

#[test]
fn a_script_whose_interpreter_is_missing_is_named() {
    let bundle = busybox!().args(["/bin/script"]);
    bundle.make_program("bin/script", b"#!/bin/not-here\n", 0o755);
    refused(&bundle, &["/bin/script", "no such file"]);
}

#[test]
fn a_program_that_the_user_may_not_execute_is_named() {
    let bundle = busybox!().args(["/bin/private"]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.make_program("bin/private", b"#!/bin/sh\n", 0o700);
    refused(&bundle, &["/bin/private", "permission denied"]);
}

#[test]
fn a_working_directory_that_is_a_file_is_named() {
    let bundle = busybox!().set("/process/cwd", json!("/etc/passwd"));
    refused(&bundle, &["/etc/passwd", "not a directory"]);
}

#[test]
fn a_resource_limit_that_may_not_be_raised_is_named() {
    let capabilities = crate::support::process_status_field(std::process::id() as i32, "CapEff");
    if u64::from_str_radix(&capabilities, 16).expect("a mask") & (1 << 24) != 0 {
        return crate::support::skip("with CAP_SYS_RESOURCE any limit can be raised");
    }
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1_u64 << 40}]);
    refused(&busybox!().set("/process/rlimits", limit), &["RLIMIT_NOFILE", "operation not permitted"]);
}

#[test]
fn an_oom_score_that_may_not_be_lowered_is_named() {
    let capabilities = crate::support::process_status_field(std::process::id() as i32, "CapEff");
    if u64::from_str_radix(&capabilities, 16).expect("a mask") & (1 << 24) != 0 {
        return crate::support::skip("with CAP_SYS_RESOURCE any score can be lowered");
    }
    refused(
        &busybox!().set("/process/oomScoreAdj", json!(-1000)),
        &["oom_score_adj", "-1000", "permission denied"],
    );
}
