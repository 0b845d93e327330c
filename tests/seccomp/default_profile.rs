//! rcrun's own profile, that of images' containers, beside podman's of 2022: both are docker's in the main.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use rcrun::seccomp::{Arch, compile_for, default_profile};
use serde_json::{Value, json};

use crate::interpreter::{Call, run};
use crate::libseccomp::{self, Program};
use crate::model::Calls;
use crate::{TRIED, arguments, profiles, same};

/// docker's default capabilities.
const USUAL: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

const NATIVE: &str = "SCMP_ARCH_X86_64";

/// Calls that ours allows and podman's does not, and the other way round, with the usual capabilities.
const DIFFERENCES: [(&str, &[&str]); 2] = [
    (
        "ours",
        &[
            // Calls since then.
            "cachestat",
            "fchmodat2",
            "futex_requeue",
            "futex_wait",
            "futex_waitv",
            "futex_wake",
            // docker allows it, podman does not.
            "io_pgetevents",
            "map_shadow_stack",
            // docker allows it, podman does not.
            "vmsplice",
        ],
    ),
    (
        "podman's",
        &[
            // For docker these take CAP_SYS_ADMIN; podman leaves them to the kernel's own checks.
            "clone",
            "clone3",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            // CAP_SYS_NICE.
            "get_mempolicy",
            // For docker never: what it does is the whole machine's.
            "keyctl",
            "mbind",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            // CAP_SYS_PTRACE.
            "pidfd_getfd",
            "pivot_root",
            // CAP_SYS_BOOT.
            "reboot",
            "set_mempolicy",
            "setns",
            // AF_VSOCK.
            "socket",
            "syslog",
            "umount2",
            "unshare",
        ],
    ),
];

fn native_only(mut profile: Value) -> Value {
    profile["architectures"] = json!([NATIVE]);
    profile
}

fn program(profile: &Value) -> Program {
    let filter = compile_for(&serde_json::from_value(profile.clone()).unwrap(), Arch::X86_64).unwrap();
    filter.program.iter().map(|i| (i.code, i.jump_true, i.jump_false, i.constant)).collect()
}

/// The names of both profiles by their numbers.
fn names(profiles: [&Value; 2]) -> BTreeMap<u32, String> {
    let rules = profiles.into_iter().flat_map(|profile| profile["syscalls"].as_array().unwrap());
    let all = rules.flat_map(|rule| rule["names"].as_array().unwrap()).map(|name| name.as_str().unwrap());
    let numbered = |name: &str| {
        let number = libseccomp::number(NATIVE, &CString::new(name).unwrap());
        u32::try_from(number).ok().map(|number| (number, name.to_owned()))
    };
    all.filter_map(numbered).collect()
}

#[test]
fn libseccomp_makes_the_same_of_rcruns_own_profile() {
    for capabilities in [&USUAL[..], &["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF"], &[]] {
        let mut profile = default_profile(capabilities);
        // Newer calls than it knows: what is ENOSYS begins elsewhere with them.
        let known = |name: &Value| {
            let name = CString::new(name.as_str().unwrap()).unwrap();
            TRIED.iter().any(|(arch, ..)| libseccomp::number(arch, &name) != -1)
        };
        for rule in profile["syscalls"].as_array_mut().unwrap() {
            rule["names"].as_array_mut().unwrap().retain(known);
        }
        assert!(same(&profile, Arch::X86_64) > 3000);
    }
}

#[test]
fn it_differs_from_podmans_where_it_is_meant_to() {
    let path = "/usr/share/containers/seccomp.json";
    let Ok(text) = std::fs::read(path) else {
        eprintln!("SKIP it_differs_from_podmans_where_it_is_meant_to: no {path}");
        return;
    };
    let theirs = profiles::resolved(&serde_json::from_slice(&text).expect("JSON"), &USUAL);
    let (ours, theirs) = (native_only(default_profile(&USUAL)), native_only(theirs));
    let programs = [program(&ours), program(&theirs)];
    let rules = [Calls::new(&ours, NATIVE), Calls::new(&theirs, NATIVE)];
    let mut differing: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (number, name) in names([&ours, &theirs]) {
        let of_number = |calls: &Calls| calls.rules.get(&number).cloned().unwrap_or_default();
        let both: Vec<_> = rules.iter().flat_map(of_number).collect();
        for arguments in arguments::telling(&both, false) {
            let call = Call { number, arch: 0xc000_003e, arguments };
            let [ours, theirs] =
                [&programs[0], &programs[1]].map(|program| run(program, &call) == 0x7fff_0000);
            if ours != theirs {
                differing.entry(if ours { "ours" } else { "podman's" }).or_default().insert(name.clone());
            }
        }
    }
    for (allowed_by, expected) in DIFFERENCES {
        let found: Vec<String> = differing.remove(allowed_by).into_iter().flatten().collect();
        assert_eq!(found, expected, "allowed by {allowed_by} alone");
    }
}
