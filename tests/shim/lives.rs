//! A container's life under a shim: it starts, writes, is signalled, ends.

use serde_json::json;

use crate::bundle::{Bundle, script};

#[test]
fn a_container_runs_writes_its_log_and_leaves_its_exit_code() {
    let bundle = script!("echo hello; echo oops >&2; printf tail; exit 7");
    let exit = bundle.run();
    assert_eq!(exit.code, Some(7));
    assert!(exit.started > 0 && exit.finished >= exit.started && !exit.oom_killed, "{exit:?}");
    let mut lines = bundle.log();
    lines.sort();
    assert_eq!(lines, ["stderr F oops", "stdout F hello", "stdout F tail"]);
}

#[test]
fn a_signal_is_an_exit_code_above_128() {
    let bundle = script!("sleep 1000");
    let started = bundle.launch();
    assert!(std::path::Path::new(&format!("/proc/{}", started.pid)).exists());
    assert_eq!(bundle.kill().code, Some(137));
}

#[test]
fn a_signal_can_be_handled() {
    let bundle = script!("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    bundle.launch();
    crate::bundle::wait_for("ready", || bundle.log().contains(&"stdout F ready".into()).then_some(()));
    let mut watch = bundle.monitor().watch().unwrap();
    bundle.monitor().kill(15, false).unwrap();
    assert_eq!(bundle.end(&mut watch).code, Some(3));
    assert_eq!(bundle.log(), ["stdout F ready", "stdout F bye"]);
}

#[test]
fn a_program_that_is_missing_is_an_error_and_leaves_nothing() {
    let bundle = script!("").set("/process/args", json!(["/bin/nothing-here"]));
    let error = bundle.try_launch().unwrap_err().to_string();
    assert_eq!(error, "exec \"/bin/nothing-here\": no such file or directory");
    assert!(!bundle.settings.bundle.join("shim.json").exists());
    assert!(!bundle.settings.run.exists());
}

#[test]
fn what_the_first_process_leaves_behind_ends_with_it_and_is_heard() {
    // /dev is its own.
    let left = "(trap '' HUP; while :; do echo still; : >/dev/said; sleep 0.02; done) &";
    let bundle = script!(&format!("{left} until [ -e /dev/said ]; do sleep 0.02; done; exit 4"))
        .set("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts"}, {"type": "ipc"}]));
    assert_eq!(bundle.run().code, Some(4));
    assert!(bundle.log().contains(&"stdout F still".into()));
}

#[test]
fn an_init_reaps_and_ends_when_told() {
    let mut bundle = script!("").set("/process/args", json!(["/init", "init"]));
    bundle.settings.log = None;
    bundle.config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/init", "type": "bind", "source": crate::bundle::program().path(), "options": ["bind", "ro"]
    }));
    std::fs::write(bundle.settings.bundle.join("rootfs/init"), "").unwrap();
    let started = bundle.launch();
    // Its child's child becomes its own.
    let mut process = bundle.config["process"].clone();
    process["args"] = json!(["sh", "-c", "(sleep 0.05) & exit 0"]);
    let pipes = crate::exec::pipes();
    let mut execution = bundle.monitor().exec(&process, Some(pipes.theirs)).unwrap();
    assert_eq!(crate::exec::wait(&mut execution), 0);
    let children = format!("/proc/{0}/task/{0}/children", started.pid);
    crate::bundle::wait_for("no children", || {
        std::fs::read_to_string(&children).unwrap().trim().is_empty().then_some(())
    });
    let mut watch = bundle.monitor().watch().unwrap();
    bundle.monitor().kill(15, false).unwrap();
    assert_eq!(bundle.end(&mut watch).code, Some(0));
}

#[test]
fn nobody_but_root_and_the_shims_user_is_served() {
    let bundle = script!("read end").stdin(false);
    bundle.launch();
    let socket = bundle.settings.run.join(rcrun::monitor::SOCKET);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // Let in by mistake, and asked for its credentials.
    for path in [bundle.file(""), bundle.file("run"), bundle.settings.run.clone()] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let pid = rcrun::sys::clone::spawn(Default::default(), || {
        let user = rustix::process::Uid::from_raw(1000);
        let asked = rustix::thread::set_thread_uid(user).is_ok() && bundle.monitor().kill(9, false).is_err();
        i32::from(!asked)
    })
    .unwrap();
    assert_eq!(pid.wait().unwrap().exit_status(), Some(0), "a stranger's signal was sent");
    assert!(bundle.monitor().status().is_ok());
    bundle.kill();
}

#[test]
fn a_start_that_is_told_to_end_is_an_error_and_leaves_nothing() {
    let hook = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"]}]);
    let bundle = script!("sleep 1000").set("/hooks", json!({"createRuntime": hook}));
    let launched = std::thread::scope(|scope| {
        let launching = scope.spawn(|| bundle.try_launch());
        let shim = crate::bundle::wait_for("a shim", || bundle.find_shim());
        let children = format!("/proc/{shim}/task/{shim}/children");
        let hook = |pid: &str| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep"))
        };
        crate::bundle::wait_for("the hook", || {
            std::fs::read_to_string(&children).ok()?.split_whitespace().any(hook).then_some(())
        });
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(shim).unwrap(),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        launching.join().unwrap()
    });
    let error = launched.unwrap_err().to_string();
    assert!(error.contains("interrupted"), "{error}");
}

#[test]
fn what_a_newer_client_says_beside_is_left_out_and_what_it_asks_is_refused() {
    use rcrun::monitor::{Reply, wire};
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
    use std::os::fd::AsFd;
    let bundle = script!("read end").stdin(false);
    bundle.launch();
    let ask = |request: serde_json::Value| {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let socket = socket.unwrap();
        let path = bundle.settings.run.join(rcrun::monitor::SOCKET);
        rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        wire::send(socket.as_fd(), &request, &[], SendFlags::empty()).unwrap();
        wire::receive::<Reply>(socket.as_fd(), RecvFlags::empty()).unwrap().0
    };
    assert!(matches!(
        ask(json!({"request": "status", "of_a_newer_version": [1]})),
        Reply::Status { schema: 1, .. }
    ));
    assert!(matches!(ask(json!({"request": "of_a_newer_version"})), Reply::Failed { .. }));
    assert!(matches!(ask(json!({"request": "kill", "signal": "nine"})), Reply::Failed { .. }));
    bundle.kill();
}

/// A container that gets no more than 20 MiB; Err is a reason to skip.
fn with_little_memory(script: &str) -> Result<Bundle, String> {
    let bundle = Bundle::script(script)?;
    let hierarchy = rcrun::cgroups::Hierarchy::find().unwrap();
    if !hierarchy.controllers().unwrap().contains("memory") {
        return Err("this host's cgroup2 has no memory controller".into());
    }
    let limit = json!({"memory": {"limit": 20 << 20, "swap": 20 << 20}});
    Ok(bundle.stdin(false).set("/linux/resources", limit))
}

#[test]
fn a_kill_for_lack_of_memory_is_told_and_written_down() {
    let script = "read go; dd if=/dev/zero of=/dev/null bs=200M count=1; echo survived";
    let bundle = match with_little_memory(script) {
        Ok(bundle) => bundle,
        Err(reason) => return crate::bundle::skip(&reason),
    };
    bundle.launch();
    let mut watch = bundle.monitor().watch().unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let _attached = bundle.monitor().attach(Some(reader), None, None).unwrap();
    rustix::io::write(&writer, b"go\n").unwrap();
    crate::bundle::wait_readable("the kill", &watch);
    assert_eq!(watch.next().unwrap(), Some(rcrun::monitor::Event::OutOfMemory));
    let exit = bundle.end(&mut watch);
    assert!(exit.oom_killed, "{exit:?}");
}

#[test]
fn a_kill_for_lack_of_memory_is_written_down_whenever_it_was() {
    let taken = "dd if=/dev/zero of=/dev/null bs=200M count=1; echo survived";
    let (at_once, before) =
        match (with_little_memory(taken), with_little_memory(&format!("{taken}; read end"))) {
            (Ok(at_once), Ok(before)) => (at_once, before),
            (Err(reason), _) | (_, Err(reason)) => return crate::bundle::skip(&reason),
        };
    let exit = at_once.run();
    assert!(exit.oom_killed, "{exit:?}");
    // The next shim was not there.
    before.launch();
    let survived = || before.log().contains(&"stdout F survived".into()).then_some(());
    crate::bundle::wait_for("its output", survived);
    crate::adopt::kill_shim(&before);
    crate::bundle::program().adopt(&before.settings.bundle).unwrap();
    let exit = before.kill();
    assert!(exit.oom_killed, "{exit:?}");
}

#[test]
fn an_end_is_on_disk_somewhere_when_the_bundles_disk_is_full() {
    let bundle = script!("exit 7");
    let disk = &bundle.settings.bundle;
    // A read-only bundle takes no more either; only config.json has to be there before.
    std::fs::write(disk.join("config.json"), bundle.config.to_string()).unwrap();
    std::fs::create_dir(disk.join("exit.json.new")).unwrap();
    assert_eq!(bundle.run().code, Some(7));
    assert!(!disk.join("exit.json").exists() && bundle.settings.run.join("exit.json").exists());
    crate::bundle::program().discard(disk).unwrap();
}
