//! linux.seccomp: filters as the processes of a container meet them, and the agent of SCMP_ACT_NOTIFY.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Bundle, busybox, require};

/// SIGSYS.
const KILLED: i32 = 128 + 31;

fn on_mkdir(action: &str) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": action}]})
}

fn with(bundle: Bundle, profile: Value) -> Bundle {
    bundle.writable().set("/linux/seccomp", profile)
}

#[test]
fn a_call_fails_with_the_errno_of_its_rule() {
    let bundle = with(busybox!().args(["mkdir", "/tmp/new"]), on_mkdir("SCMP_ACT_ERRNO"));
    bundle.run().exits_with(1).explains(&["/tmp/new", "Operation not permitted"]);
    let bundle = bundle.set("/linux/seccomp/syscalls/0/errnoRet", json!(libc::EXDEV));
    bundle.run().exits_with(1).explains(&["Invalid cross-device link"]);
    assert!(!bundle.rootfs().join("tmp/new").exists());
}

#[test]
fn a_filter_kills_or_traps() {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        with(busybox!().args(["mkdir", "/tmp/new"]), on_mkdir(action)).run().exits_with(KILLED);
    }
}

#[test]
fn a_filter_that_logs_lets_through() {
    let bundle = with(busybox!().args(["mkdir", "/tmp/new"]), on_mkdir("SCMP_ACT_LOG"));
    bundle.run().success();
    assert!(bundle.rootfs().join("tmp/new").exists());
}

#[test]
fn without_a_tracer_a_traced_call_does_not_exist() {
    let bundle = with(busybox!().args(["mkdir", "/tmp/new"]), on_mkdir("SCMP_ACT_TRACE"));
    bundle.run().exits_with(1).explains(&["Function not implemented"]);
}

#[test]
fn arguments_are_compared() {
    let argument = json!({"index": 1, "value": 0o700, "op": "SCMP_CMP_EQ"});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": [argument]}
    ]});
    let script = "cp /bin/sh /tmp/a; chmod 755 /tmp/a && chmod 700 /tmp/a";
    let bundle = with(busybox!().script(script), profile);
    bundle.run().exits_with(1).explains(&["/tmp/a", "Operation not permitted"]);
}

#[test]
fn each_rule_of_a_call_has_its_own_errno() {
    let rule = |mode: u32, errno: i32| {
        let argument = json!({"index": 1, "value": mode, "op": "SCMP_CMP_EQ"});
        json!({"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": [argument]})
    };
    let rules = [rule(0o700, libc::EXDEV), rule(0o711, libc::ENOSPC)];
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    for (mode, message) in [("700", "Invalid cross-device link"), ("711", "No space left on device")] {
        let script = format!("cp /bin/sh /tmp/a; chmod 755 /tmp/a && chmod {mode} /tmp/a");
        with(busybox!().script(&script), profile.clone()).run().exits_with(1).explains(&["/tmp/a", message]);
    }
}

#[test]
fn a_filter_is_loaded_with_every_flag() {
    let all = ["LOG", "SPEC_ALLOW", "TSYNC", "WAIT_KILLABLE_RECV"];
    let one_by_one = all.iter().map(std::slice::from_ref);
    for flags in one_by_one.chain([&all[..], &[]]) {
        let flags: Vec<_> = flags.iter().map(|flag| format!("SECCOMP_FILTER_FLAG_{flag}")).collect();
        let script = "grep -x 'Seccomp_filters:.1' /proc/self/status && mkdir /tmp/new";
        let bundle = with(busybox!().script(script), on_mkdir("SCMP_ACT_ERRNO"));
        let run = bundle.set("/linux/seccomp/flags", json!(flags)).run();
        run.exits_with(1).explains(&["/tmp/new", "Operation not permitted"]);
    }
}

#[test]
fn a_filter_is_loaded_with_and_without_no_new_privs_and_capabilities() {
    for no_new_privileges in [true, false] {
        for uid in [0, 1000] {
            let bundle = with(busybox!(), on_mkdir("SCMP_ACT_ERRNO"))
                .set("/process/noNewPrivileges", json!(no_new_privileges))
                .set("/process/user", json!({"uid": uid, "gid": uid}))
                .args([
                    "grep",
                    "-E",
                    "^(Seccomp|Seccomp_filters|CapEff|CapPrm|NoNewPrivs):",
                    "/proc/self/status",
                ]);
            let capabilities = if uid == 0 { "0000000020000420" } else { "0000000000000000" };
            let set = i32::from(no_new_privileges);
            bundle.run().prints(&format!(
                "CapPrm:\t{capabilities}\nCapEff:\t{capabilities}\nNoNewPrivs:\t{set}\nSeccomp:\t2\nSeccomp_filters:\t1"
            ));
        }
    }
}

#[test]
fn a_user_namespaces_container_is_filtered() {
    let bundle = with(busybox!().user_namespace(), on_mkdir("SCMP_ACT_ERRNO"));
    bundle.args(["mkdir", "/tmp/new"]).run().exits_with(1).explains(&["Operation not permitted"]);
}

#[test]
fn an_unprivileged_users_container_is_filtered() {
    let bundle = require!(busybox!().rootless()).set("/linux/seccomp", on_mkdir("SCMP_ACT_ERRNO"));
    bundle.args(["mkdir", "/tmp/new"]).run().exits_with(1).explains(&["Operation not permitted"]);
}

#[test]
fn a_process_of_exec_is_filtered_like_the_first() {
    let bundle = with(busybox!().args(["sleep", "100"]), on_mkdir("SCMP_ACT_ERRNO"));
    bundle.create().success();
    bundle.exec(&["mkdir", "/tmp/new"]).exits_with(1).explains(&["Operation not permitted"]);
    bundle.start().success();
    bundle.exec(&["grep", "^Seccomp:", "/proc/self/status"]).prints("Seccomp:\t2");
    bundle.exec(&["mkdir", "/tmp/new"]).exits_with(1).explains(&["Operation not permitted"]);
    bundle.delete_forced().success();
}

#[test]
fn hooks_are_not_filtered() {
    let bundle = with(busybox!(), on_mkdir("SCMP_ACT_KILL"));
    let bundle = bundle.hook("startContainer", "mkdir /tmp/of-the-hook").args(["true"]);
    bundle.run().success();
    assert!(bundle.rootfs().join("tmp/of-the-hook").exists());
}

/// Nothing but the program's own calls: what rcrun does before execve(2) is none of the filter's.
#[test]
fn a_profile_needs_no_calls_for_the_runtimes_sake() {
    let names = [
        "execve",
        "arch_prctl",
        "brk",
        "exit_group",
        "exit",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "write",
        "prctl",
        "readlink",
        "readlinkat",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "getrandom",
        "mprotect",
        "prlimit64",
        "uname",
        "ioctl",
        "newfstatat",
        "fstat",
        "mmap",
    ];
    let profile =
        json!({"defaultAction": "SCMP_ACT_KILL", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]});
    let bundle =
        with(busybox!().args(["echo", "hello"]), profile).set("/process/noNewPrivileges", json!(true));
    bundle.run().prints("hello");
    bundle.create().success();
    bundle.start().success();
    bundle.wait_for_status("stopped");
    bundle.delete().success();
}

#[test]
fn wrong_profiles_are_refused_by_their_field() {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let argument = json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"});
    for (profile, fragments) in [
        (
            rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_FROWN"})),
            ["linux.seccomp.syscalls[0].action", "SCMP_ACT_FROWN"],
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]}),
            ["linux.seccomp.architectures[0]", "SCMP_ARCH_PDP11"],
        ),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["FAST"]}), ["linux.seccomp.flags[0]", "FAST"]),
        (
            rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"})),
            ["linux.seccomp.listenerPath", "missing"],
        ),
        (
            rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_LOG", "args": [argument]})),
            ["linux.seccomp.syscalls[0].args[0].index", "6"],
        ),
        (
            json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}),
            ["linux.seccomp.defaultErrnoRet", "takes no errno"],
        ),
    ] {
        let bundle = with(busybox!(), profile);
        bundle.run().refused(&fragments);
        bundle.leaves_nothing();
    }
}

/// docker's and podman's default, as Debian's golang-github-containers-common has it.
#[test]
fn podmans_default_profile_works() {
    let path = "/usr/share/containers/seccomp.json";
    let text = require!(fs::read(path).map_err(|_| format!("no {path}")));
    let profile = resolved(&serde_json::from_slice(&text).expect("JSON"));
    let script = "echo hello; mkdir /tmp/new && rmdir /tmp/new; ps >/dev/null; sleep 0.01; mount -t tmpfs t /tmp || echo no";
    for no_new_privileges in [true, false] {
        let bundle =
            with(busybox!(), profile.clone()).set("/process/noNewPrivileges", json!(no_new_privileges));
        let outcome = bundle.script(script).run().success();
        assert_eq!(outcome.stdout, "hello\nno\n", "{outcome}");
    }
}

/// The profile as podman gives it to a runtime: for x86_64, without a capability.
fn resolved(profile: &Value) -> Value {
    let words = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let applies = |rule: &Value| {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let arches = words(&includes["arches"]);
        (arches.is_empty() || arches.contains(&json!("amd64")))
            && words(&includes["caps"]).is_empty()
            && !words(&excludes["arches"]).contains(&json!("amd64"))
    };
    let rule = |rule: &Value| {
        let mut kept = json!({"names": rule["names"], "action": rule["action"], "args": rule["args"]});
        if let Some(errno) = rule.get("errnoRet") {
            kept["errnoRet"] = errno.clone();
        }
        kept
    };
    let rules = profile["syscalls"].as_array().expect("rules");
    json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules.iter().filter(|rule| applies(rule)).map(rule).collect::<Vec<_>>(),
    })
}
