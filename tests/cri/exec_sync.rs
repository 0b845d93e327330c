//! ExecSync.

use std::time::Instant;

use tonic::Code;

use crate::calls::container_config;
use crate::support;

#[test]
fn both_streams_and_the_exit_code_come_back() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.container(&pod, "c", &["sleep", "1000"]);
    let answer = node.try_exec(&id, &["sh", "-c", "echo out; echo err >&2; exit 5"], 0).unwrap();
    assert_eq!((answer.stdout.as_slice(), answer.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(answer.exit_code, 5);
    let killed = node.try_exec(&id, &["sh", "-c", "kill -9 $$"], 0).unwrap();
    assert_eq!(killed.exit_code, 137);
}

#[test]
fn a_command_that_takes_too_long_is_killed() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.container(&pod, "c", &["sleep", "1000"]);
    let before = Instant::now();
    let error = node.try_exec(&id, &["sleep", "4321"], 1).unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    assert!(before.elapsed() < support::seconds(50));
    let listed = node.exec(&id, &["sh", "-c", "ps | grep '[s]leep 4321' || true"]);
    assert_eq!(listed.trim(), "");
}

#[test]
fn sixteen_mib_are_kept_and_the_rest_is_thrown_away() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.container(&pod, "c", &["sleep", "1000"]);
    let answer = node.try_exec(&id, &["sh", "-c", "head -c 50000000 /dev/zero"], 0).unwrap();
    // The whole answer is as long as a kubelet takes it.
    assert_eq!((answer.stdout.len(), answer.exit_code), ((16 << 20) - 1024, 0));
}

#[test]
fn a_process_that_is_left_behind_is_not_waited_for() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.container(&pod, "c", &["sleep", "1000"]);
    let before = Instant::now();
    let answer = node.try_exec(&id, &["sh", "-c", "sleep 500 & echo done"], 0).unwrap();
    assert_eq!(answer.stdout, b"done\n");
    let noisy = node.try_exec(&id, &["sh", "-c", "yes & echo done >&2"], 0).unwrap();
    assert_eq!(noisy.stderr, b"done\n");
    assert!(before.elapsed() < support::seconds(50));
}

#[test]
fn what_cannot_be_run_is_an_error() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.container(&pod, "c", &["sleep", "1000"]);
    let error = node.try_exec(&id, &["/nope"], 0).unwrap_err();
    assert_eq!(error.code(), Code::Unknown);
    assert!(error.message().contains("/nope"), "{error}");
    assert_eq!(node.try_exec(&id, &[], 0).unwrap_err().code(), Code::InvalidArgument);
    let created = node.create(&pod, &container_config("created", &["true"]));
    assert_eq!(node.try_exec(&created, &["true"], 0).unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(node.try_exec(&"0".repeat(64), &["true"], 0).unwrap_err().code(), Code::NotFound);
    node.stop(&id, 0);
    let ended = node.try_exec(&id, &["true"], 0).unwrap_err();
    assert_eq!(ended.code(), Code::FailedPrecondition);
    assert!(ended.message().contains("exited"), "{ended}");
}

#[test]
fn a_client_that_goes_away_takes_its_command_with_it() {
    let node = node!();
    let pod = node.pod("web");
    let id = node.container(&pod, "c", &["sleep", "1000"]);
    let request = rcrun_cri::api::ExecSyncRequest {
        container_id: id.clone(),
        cmd: ["sleep", "4321"].map(str::to_owned).into(),
        timeout: 0,
    };
    let mut client = rcrun_cri::api::runtime_service_client::RuntimeServiceClient::new(node.connect());
    let task = node.tokio.spawn(async move { client.exec_sync(request).await });
    let count = || node.exec(&id, &["sh", "-c", "ps | grep -c '[s]leep 4321' || true"]).trim().to_owned();
    support::wait_for("the command", 10, || (count() == "1").then_some(()));
    task.abort();
    support::wait_for("its end", 10, || (count() == "0").then_some(()));
}
