//! Containers that mean harm, and what a server that runs for long must not gather.

use std::time::Instant;

use crate::calls::container_config;
use crate::support;

#[test]
fn a_container_that_stops_its_new_processes_can_be_stopped() {
    let node = node!();
    let pod = node.pod("web");
    let mut config = container_config("c", &["sh", "-c", "while :; do kill -STOP -1 2>/dev/null; done"]);
    crate::calls::security(&mut config).namespace_options.get_or_insert_default().pid =
        rcrun_cri::api::NamespaceMode::Container.into();
    let id = node.run_container(&pod, &config);
    // Sooner or later one of them is stopped before its program runs, and its shim waits for it.
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let request = rcrun_cri::api::ExecSyncRequest {
            container_id: id.clone(),
            cmd: vec!["true".into()],
            timeout: 0,
        };
        let mut client = rcrun_cri::api::runtime_service_client::RuntimeServiceClient::new(node.connect());
        waiting.push(node.tokio.spawn(async move { client.exec_sync(request).await }));
    }
    let before = Instant::now();
    node.stop(&id, 0);
    assert!(before.elapsed() < support::seconds(30), "{:?}", before.elapsed());
    assert_eq!(node.status(&id).exit_code, 137);
}

#[test]
fn containers_that_are_gone_leave_no_descriptors() {
    let node = node!();
    let pod = node.pod("web");
    let descriptors = || {
        let all = std::fs::read_dir(format!("/proc/{}/fd", node.server_pid())).unwrap().flatten();
        let mut all: Vec<_> = all.filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
        // Sockets and pipes come and go with requests.
        all.retain(|file| !file.to_string_lossy().starts_with("socket:["));
        all.retain(|file| !file.to_string_lossy().starts_with("pipe:["));
        all.sort();
        all
    };
    let live = || {
        let id = node.container(&pod, "c", &["sleep", "1000"]);
        node.exec(&id, &["true"]);
        node.stop(&id, 0);
        node.remove(&id);
    };
    // What is opened once is there then.
    live();
    // Work that nobody waits for may have a file open now, too: ten containers would leave more than that.
    let before = descriptors();
    (0..10).for_each(|_| live());
    let no_more = || (descriptors().len() <= before.len()).then_some(());
    support::wait_for("descriptors of containers to go", 10, no_more);
}
