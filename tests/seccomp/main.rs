//! The oracle of src/seccomp/: libseccomp's filter for the same profile gives every call the same verdict.
//!
//! Both programs run in an interpreter. Calls newer than the profile are rcrun's alone: ENOSYS, which runc
//! patches in before libseccomp's program.

mod arguments;
mod default_profile;
mod generated;
#[path = "../../src/seccomp/interpreter.rs"]
mod interpreter;
mod libseccomp;
mod model;
mod profiles;
mod words;

use interpreter::{Call, run};
use rcrun::seccomp::{Arch, compile_for};
use serde_json::Value;

use crate::libseccomp::Program;
use crate::model::Calls;

/// What the kernel reports for it, and what its numbers begin with.
const TRIED: [(&str, u32, u32); 3] = [
    ("SCMP_ARCH_X86_64", 0xc000_003e, 0),
    ("SCMP_ARCH_X86", 0x4000_0003, 0),
    ("SCMP_ARCH_X32", 0xc000_003e, X32),
];

/// The bit of x32's numbers.
const X32: u32 = 0x4000_0000;

/// Larger than all numbers of calls that there are.
const LAST: u32 = 600;

const ENOSYS: u32 = 0x0005_0026;

/// Why a filter of libseccomp cannot be held against ours.
enum Failure {
    /// It has none: it refuses this rule, upon which runc refuses the profile.
    Refused(usize),
    /// It mixes up this rule with one before it: what it does is not what any of them says. Either two ways of
    /// its tree become one, or a comparison is reached with another word than its own in the accumulator.
    MixedUp(usize),
    Differs(String),
}

/// What a profile is compared on: architectures that a machine of this kind can have.
fn tried(native: Arch) -> &'static [(&'static str, u32, u32)] {
    match native {
        Arch::Aarch64 => &[("SCMP_ARCH_AARCH64", 0xc000_00b7, 0)],
        _ => &TRIED,
    }
}

/// Compares our filter with the plain reading of the profile, and with libseccomp's filter, on every number,
/// each with the arguments that the profile's comparisons turn on. The result is the number of calls.
fn compare(profile: &Value, native: Arch, with_libseccomp: bool) -> Result<usize, Failure> {
    let tried = tried(native);
    let native_name = tried[0].0;
    let of_arch: Vec<Calls> = tried.iter().map(|(name, ..)| Calls::new(profile, name)).collect();
    let theirs = match with_libseccomp {
        true => {
            if let Some(rule) = of_arch.iter().find_map(model::mixed_up) {
                return Err(Failure::MixedUp(rule));
            }
            let program = libseccomp::program(profile, native_name).map_err(Failure::Refused)?;
            if !words::are_certain(&program) {
                let last = profile["syscalls"].as_array().expect("rules").len() - 1;
                return Err(Failure::MixedUp(last));
            }
            Some(program)
        }
        false => None,
    };
    let seccomp = serde_json::from_value(profile.clone()).expect("a profile");
    let filter = compile_for(&seccomp, native).map_err(|error| Failure::Differs(error.to_string()))?;
    let ours: Program =
        filter.program.iter().map(|i| (i.code, i.jump_true, i.jump_false, i.constant)).collect();
    let default = profile["defaultAction"].as_str().expect("an action");
    let stub = !matches!(default, "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" | "SCMP_ACT_TRACE");
    let mut compared = 0;
    for (calls, (name, audit, first)) in of_arch.iter().zip(tried.iter().copied()) {
        let listed = name == native_name
            || profile["architectures"].as_array().is_some_and(|list| list.iter().any(|arch| arch == name));
        let newest = calls.newest.filter(|_| listed && stub);
        let beyond = [first + 0x3fff_ffff, 0x8000_0000 | first, 0x8000_0001 | first, 0xffff_ffff];
        for number in (first..first + LAST).chain(beyond) {
            // x32's numbers are tried by themselves.
            if audit == 0xc000_003e && number & X32 != first {
                continue;
            }
            let rules = calls.rules.get(&number).filter(|_| listed).map(Vec::as_slice).unwrap_or_default();
            for arguments in arguments::telling(rules, calls.narrow) {
                let call = Call { number, arch: audit, arguments };
                let got = run(&ours, &call);
                let newer = newest.is_some_and(|newest| number > newest);
                let meant = match (newer, rules) {
                    (true, _) => vec![ENOSYS],
                    (_, []) => vec![got],
                    _ => calls.meant(number, &arguments),
                };
                let expected = match &theirs {
                    Some(theirs) if !newer => run(theirs, &call),
                    _ => got,
                };
                if got != expected || !meant.contains(&got) {
                    return Err(Failure::Differs(format!(
                        "{name} {number} {arguments:x?}: {got:#x}, the profile says {meant:x?}, libseccomp \
                         {expected:#x}; {rules:x?}"
                    )));
                }
                compared += 1;
            }
        }
    }
    for audit in [0x4000_0028, 0xc000_00f3, 0] {
        let call = Call { number: 1, arch: audit, arguments: [0; 6] };
        if run(&ours, &call) != theirs.as_ref().map_or(0, |theirs| run(theirs, &call)) {
            return Err(Failure::Differs(format!("architecture {audit:#x}")));
        }
    }
    Ok(compared)
}

/// Compares ours with libseccomp's; panics where they differ.
fn same(profile: &Value, native: Arch) -> usize {
    match compare(profile, native, true) {
        Ok(calls) => calls,
        Err(Failure::Refused(rule)) => panic!("libseccomp refuses syscalls[{rule}]"),
        Err(Failure::MixedUp(rule)) => panic!("libseccomp mixes up syscalls[{rule}]"),
        Err(Failure::Differs(why)) => panic!("{why}"),
    }
}

#[test]
fn podmans_default_profile_is_libseccomps() {
    let path = "/usr/share/containers/seccomp.json";
    let Ok(text) = std::fs::read(path) else {
        eprintln!("SKIP podmans_default_profile_is_libseccomps: no {path}");
        return;
    };
    let profile = serde_json::from_slice(&text).expect("JSON");
    for capabilities in [&[][..], &["CAP_SYS_ADMIN", "CAP_AUDIT_WRITE", "CAP_SYS_CHROOT"]] {
        for errno in [Value::Null, 1.into()] {
            let mut profile = profiles::resolved(&profile, capabilities);
            if !errno.is_null() {
                profile["defaultErrnoRet"] = errno;
            }
            let calls = same(&profile, Arch::X86_64);
            assert!(calls > 3000, "{calls} calls");
            profile["architectures"] = serde_json::json!(["SCMP_ARCH_AARCH64"]);
            same(&profile, Arch::Aarch64);
        }
    }
}

/// Why rules are left out of the comparison: a verdict of libseccomp that the profile does not give.
#[test]
fn libseccomp_goes_wrong_where_it_is_not_compared() {
    let compared = |index: u32, op: &str, value: u64| serde_json::json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value});
    let (at_most, other) = (compared(1, "LE", 7), compared(2, "NE", 0));
    let cases = [
        ("the word", vec![vec![at_most, other], vec![compared(1, "GE", 7)]], [0, 7, 0]),
        (
            "the branch",
            vec![
                vec![compared(0, "LE", 5), compared(1, "EQ", 1)],
                vec![compared(0, "LE", 7), compared(1, "EQ", 2)],
            ],
            [6, 1, 0],
        ),
        (
            "the cover",
            vec![vec![compared(1, "EQ", 1)], vec![compared(0, "LE", 5), compared(1, "NE", 1)]],
            [0, 0, 0],
        ),
    ];
    for (what, rules, [a, b, c]) in cases {
        let rules: Vec<Value> = rules
            .iter()
            .zip(["SCMP_ACT_ERRNO", "SCMP_ACT_TRAP"])
            .map(|(rule, action)| serde_json::json!({"names": ["mkdir"], "action": action, "args": rule}))
            .collect();
        let profile = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules,
            "architectures": ["SCMP_ARCH_X86"]});
        assert!(matches!(compare(&profile, Arch::X86_64, true), Err(Failure::MixedUp(1))), "{what}");
        let program = libseccomp::program(&profile, "SCMP_ARCH_X86_64").expect("a filter");
        let wrong = [("SCMP_ARCH_X86_64", 0xc000_003e, 83), ("SCMP_ARCH_X86", 0x4000_0003, 39)].map(
            |(name, arch, number)| {
                let arguments = [a, b, c, 0, 0, 0];
                let meant = Calls::new(&profile, name).meant(number, &arguments);
                !meant.contains(&run(&program, &Call { number, arch, arguments }))
            },
        );
        assert!(wrong.contains(&true), "libseccomp has mended it, so compare it: {what}");
    }
}
