//! K: sysctls and annotations that reach beyond the container's namespaces.

use std::fs;

use serde_json::{Value, json};

use super::text;
use crate::support::{Bundle, busybox};

/// Runs with one sysctl that would give `file` another value, and asserts that it keeps its own.
/// The value is the present one: where the attack works, nothing is broken, but the write is seen
/// as a success of the runtime.
#[track_caller]
fn assert_refused(bundle: Bundle, key: &str) {
    let file = format!("/proc/sys/{}", key.replace('.', "/"));
    let value = fs::read_to_string(&file).unwrap_or_else(|_| "1".into()).trim().replace('\t', " ");
    let mut sysctl = serde_json::Map::new();
    sysctl.insert(key.into(), json!(value));
    let bundle = bundle.set("/linux/sysctl", Value::Object(sysctl));
    let outcome = bundle.run_or_refused();
    assert!(!outcome.status.success(), "{key}: {outcome}");
    bundle.leaves_nothing();
}

#[test]
fn no_sysctl_of_the_host_is_written() {
    for key in [
        "kernel.core_pattern",
        "kernel.modprobe",
        "kernel.panic",
        "kernel.sysrq",
        "kernel.pid_max",
        "vm.overcommit_memory",
        "vm.drop_caches",
        "fs.file-max",
        "fs.suid_dumpable",
        "fs.protected_symlinks",
        "debug.exception-trace",
        "dev.cdrom.autoclose",
        "kernel.hotplug",
        "abi.vsyscall32",
    ] {
        assert_refused(busybox!(), key);
    }
}

#[test]
fn no_spelling_of_a_sysctl_reaches_the_host() {
    for key in [
        "net/../kernel/core_pattern",
        "net.ipv4/../../kernel/core_pattern",
        "net/ipv4/../../kernel/panic",
        "/kernel/panic",
        "kernel//panic",
        "net",
        "net/",
        "net..ipv4",
        "fs.mqueue",
        "kernel.shm_rmid_forced/../panic",
        "kernel/shmmax/../panic",
        "net/./../vm/overcommit_memory",
        "kernel.msgmax\u{0}",
        "../sys/kernel/panic",
        "fs/mqueue/../file-max",
        "user/../kernel/panic",
        "KERNEL.panic",
        "kernel.msg*",
        "",
    ] {
        let before = text("/proc/sys/kernel/panic");
        assert_refused(busybox!(), key);
        assert_eq!(text("/proc/sys/kernel/panic"), before);
    }
}

#[test]
fn a_sysctl_of_a_namespace_that_the_host_shares_is_refused() {
    assert_refused(busybox!().without_namespace("network"), "net.ipv4.ip_forward");
    assert_refused(busybox!().without_namespace("ipc"), "kernel.shmmax");
    assert_refused(busybox!().without_namespace("uts").set("/hostname", json!("")), "kernel.hostname");
}

/// The host's own namespace named by a path is no less the host's.
#[test]
fn a_namespace_that_is_the_hosts_by_its_path_is_the_hosts() {
    let own = |kind: &str| format!("/proc/{}/ns/{kind}", std::process::id());
    assert_refused(busybox!().namespace("network", Some(&own("net"))), "net.ipv4.ip_forward");
    assert_refused(busybox!().namespace("ipc", Some(&own("ipc"))), "kernel.shmmax");
}

#[test]
fn the_host_keeps_its_name() {
    // In a UTS namespace of the test's own, which is the host's for the runtime.
    let outcome = |bundle: Bundle| {
        bundle.write_config();
        let script = "exec unshare --uts sh -c 'hostname before; \"$@\"; echo name $(hostname)' sh \"$@\"";
        let command = bundle.bundle_command("run", &[]);
        bundle.invocation_in_shell(script, &command).wait()
    };
    let bundle = busybox!().set("/hostname", json!("evil")).without_namespace("uts");
    let shared = outcome(bundle);
    assert!(shared.stdout.ends_with("name before\n"), "{shared}");
    let bundle = busybox!().set("/hostname", json!("evil")).namespace("uts", Some("/proc/self/ns/uts"));
    let joined = outcome(bundle);
    assert!(joined.stdout.ends_with("name before\n"), "{joined}");
}

/// Annotations come from images too: whatever one of them means to some runtime, it must open no
/// file of the host, run nothing and change nothing of what the configuration says.
#[test]
fn annotations_do_nothing() {
    let bundle = busybox!().script("id -G; grep ^Seccomp: /proc/self/status; grep -c . /proc/self/mounts");
    let expected = bundle.run().success().stdout;
    let (out, err) = (bundle.file("hook.out"), bundle.file("hook.err"));
    let receiver = bundle.file("receiver");
    let annotations = json!({
        "run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err, "run.oci.pidfd_receiver": receiver,
        "run.oci.keep_original_groups": "1", "run.oci.seccomp.receiver": receiver,
        "run.oci.seccomp_bpf_file": "/etc/shadow", "run.oci.seccomp_fail_unknown_syscall": "1",
        "run.oci.seccomp.plugins": "/evil.so", "run.oci.handler": "krun", "run.oci.delegate-cgroup": "/x",
        "run.oci.mount_context_type": "rootcontext", "run.oci.systemd.subgroup": "x",
        "run.oci.systemd.force_cgroup_v1": "/sys/fs/cgroup", "run.oci.timens_offset": "/etc/shadow",
        "module.wasm.image/variant": "compat", "io.kubernetes.cri.container-type": "sandbox",
        "org.systemd.property.ExecStop": "['/bin/touch','/evil']", "io.katacontainers.config.hypervisor.path": "/bin/sh",
        "org.criu.config": "/etc/shadow", "run.oci.criu.config": "/etc/shadow",
    });
    let bundle = bundle.set("/annotations", annotations).hook("createRuntime", "echo out; echo err >&2");
    let outcome = bundle.run();
    assert_eq!(outcome.stdout.replace("out\n", ""), expected, "{outcome}");
    for file in [out, err, receiver] {
        assert!(!file.exists(), "{} was made", file.display());
    }
}
