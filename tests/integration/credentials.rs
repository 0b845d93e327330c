//! Who the process is: ids, groups, capabilities, no_new_privs.

use serde_json::{Value, json};

use crate::support::{Bundle, busybox};

/// The capability masks of /proc/self/status: inheritable, permitted, effective, bounding, ambient.
fn capabilities(bundle: &Bundle) -> [u64; 5] {
    let outcome = bundle.run().success();
    let masks: Vec<u64> = outcome
        .stdout
        .lines()
        .map(|line| {
            u64::from_str_radix(line.split_whitespace().nth(1).expect("a mask"), 16).expect("hexadecimal")
        })
        .collect();
    masks.try_into().unwrap_or_else(|_| panic!("five masks expected: {outcome}"))
}

const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_RAW: u64 = 1 << 13;
const AUDIT_WRITE: u64 = 1 << 29;

fn printing_capabilities(bundle: Bundle) -> Bundle {
    bundle.args(["grep", "^Cap", "/proc/self/status"])
}

#[test]
fn the_default_capabilities_are_three() {
    let three = KILL | NET_BIND_SERVICE | AUDIT_WRITE;
    assert_eq!(capabilities(&printing_capabilities(busybox!())), [0, three, three, three, 0]);
}

#[test]
fn each_of_the_five_sets_is_set() {
    let sets = json!({
        "bounding": ["CAP_KILL", "CAP_NET_RAW", "CAP_AUDIT_WRITE", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_KILL", "CAP_NET_RAW", "CAP_AUDIT_WRITE"],
        "inheritable": ["CAP_KILL", "CAP_NET_RAW"],
        "effective": ["CAP_KILL"],
        "ambient": ["CAP_NET_RAW"],
    });
    let bundle = printing_capabilities(busybox!()).set("/process/capabilities", sets);
    // A user of its own: at execve root's permitted and effective sets become all of the bounding set.
    let bundle = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let [inheritable, permitted, effective, bounding, ambient] = capabilities(&bundle);
    assert_eq!(inheritable, KILL | NET_RAW);
    assert_eq!(bounding, KILL | NET_RAW | AUDIT_WRITE | NET_BIND_SERVICE);
    assert_eq!(ambient, NET_RAW);
    // execve(2) of an ordinary file leaves what is ambient.
    assert_eq!((permitted, effective), (NET_RAW, NET_RAW));
}

#[test]
fn what_cannot_be_ambient_is_left_out_with_a_warning() {
    // Permitted, not inheritable; buildah asks for it.
    let bundle = printing_capabilities(busybox!()).set("/process/capabilities/ambient", json!(["CAP_KILL"]));
    let outcome = bundle.run().success().explains(&["warning", "process.capabilities.ambient", "CAP_KILL"]);
    assert!(outcome.stdout.contains("CapAmb:\t0000000000000000"), "{outcome}");
    let bundle = bundle.script("exec sleep 1000");
    bundle.run_detached();
    let process = json!({"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0},
        "capabilities": {"permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}});
    let exec =
        bundle.invocation(&["exec", "--process", "/dev/stdin", bundle.id()]).stdin(&process.to_string());
    exec.wait().success().explains(&["warning", "process.capabilities.ambient", "CAP_KILL"]);
    bundle.delete_forced().success();
}

#[test]
fn no_capabilities_at_all() {
    let none = json!({"bounding": [], "permitted": [], "inheritable": [], "effective": [], "ambient": []});
    let bundle = printing_capabilities(busybox!()).set("/process/capabilities", none);
    assert_eq!(capabilities(&bundle), [0; 5]);
}

#[test]
fn another_user_has_no_capabilities_but_the_bounding_set() {
    let bundle = printing_capabilities(busybox!()).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let three = KILL | NET_BIND_SERVICE | AUDIT_WRITE;
    assert_eq!(capabilities(&bundle), [0, 0, 0, three, 0]);
}

fn user(bundle: Bundle, user: Value) -> Bundle {
    bundle.set("/process/user", user)
}

#[test]
fn user_group_and_additional_groups_are_set() {
    let bundle = user(busybox!(), json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 1002]}));
    bundle
        .script("id -u; id -g; grep ^Groups /proc/self/status")
        .run()
        .prints("1000\n1001\nGroups:\t5 1002 ");
}

#[test]
fn no_group_of_the_caller_is_kept() {
    let bundle = busybox!().args(["grep", "^Groups", "/proc/self/status"]);
    bundle.write_config();
    let command = bundle.bundle_command("run", &[]);
    let script = "exec setpriv --groups 4,20 \"$@\"";
    bundle.invocation_in_shell(script, &command).wait().prints("Groups:\t ");
}

#[test]
fn the_umask_is_that_of_the_configuration_or_0022() {
    let outcome = |bundle: Bundle| {
        let bundle = bundle.args(["sh", "-c", "umask"]);
        bundle.write_config();
        let command = bundle.bundle_command("run", &[]);
        bundle.invocation_in_shell("umask 0011; exec \"$@\"", &command).wait()
    };
    outcome(user(busybox!(), json!({"uid": 0, "gid": 0, "umask": 0o37}))).prints("0037");
    outcome(busybox!()).prints("0022");
}

#[test]
fn no_new_privs_is_as_configured() {
    for (configured, expected) in
        [(json!(true), "NoNewPrivs:\t1"), (json!(false), "NoNewPrivs:\t0"), (Value::Null, "NoNewPrivs:\t0")]
    {
        let bundle = busybox!().edit(|config| {
            let process = config["process"].as_object_mut().expect("process");
            match configured {
                Value::Null => drop(process.remove("noNewPrivileges")),
                value => drop(process.insert("noNewPrivileges".into(), value)),
            }
        });
        bundle.args(["grep", "^NoNewPrivs", "/proc/self/status"]).run().prints(expected);
    }
}

#[test]
fn the_process_owns_its_streams() {
    // `echo >/dev/stdout` opens the file behind it again.
    let bundle = user(busybox!(), json!({"uid": 1000, "gid": 1000}));
    bundle.write_config();
    let bundle =
        bundle.script("echo out >/dev/stdout && echo err >/dev/stderr && stat -L -c %u /proc/self/fd/1");
    bundle.write_config();
    let command = bundle.bundle_command("run", &[]);
    let outcome = bundle.invocation_in_shell("\"$@\" 2>&1 | cat", &command).wait();
    // A runtime may copy the streams, each at its own pace.
    let mut lines: Vec<&str> = outcome.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["1000", "err", "out"], "{outcome}");
}

#[test]
fn home_is_set_from_the_containers_passwd() {
    busybox!().script("echo $HOME").run().prints("/root");
    user(busybox!(), json!({"uid": 1000, "gid": 1000})).script("echo $HOME").run().prints("/home/user");
    user(busybox!(), json!({"uid": 4242, "gid": 1000})).script("echo $HOME").run().prints("/");
}
