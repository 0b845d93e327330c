//! The oracle of src/seccomp/: libseccomp's filter for the same profile gives every call the same verdict.
//!
//! Both programs run in an interpreter. Calls newer than the profile are rcrun's alone: ENOSYS, which runc
//! patches in before libseccomp's program.

#[path = "../../src/seccomp/interpreter.rs"]
mod interpreter;
mod libseccomp;
mod profiles;

use interpreter::{Call, run};
use rcrun::seccomp::{Arch, compile_for};
use serde_json::Value;

use crate::libseccomp::Program;

/// What the kernel reports for it, the largest number that is tried, and what its numbers begin with.
const TRIED: [(&str, u32, u32); 3] = [
    ("SCMP_ARCH_X86_64", 0xc000_003e, 0),
    ("SCMP_ARCH_X86", 0x4000_0003, 0),
    ("SCMP_ARCH_X32", 0xc000_003e, 0x4000_0000),
];

const ENOSYS: u32 = 0x0005_0026;

/// Compares the two on every number, each with the arguments that the profile's comparisons turn on.
fn compare(profile: &Value, native: Arch) -> Result<usize, String> {
    let seccomp = serde_json::from_value(profile.clone()).expect("a profile");
    let ours: Program = match compile_for(&seccomp, native) {
        Ok(filter) => {
            filter.program.iter().map(|i| (i.code, i.jump_true, i.jump_false, i.constant)).collect()
        }
        Err(error) => return Err(error.to_string()),
    };
    let native_name = if native == Arch::Aarch64 { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };
    let theirs = libseccomp::program(profile, native_name);
    let default = profile["defaultAction"].as_str().expect("an action");
    let stub = !matches!(default, "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" | "SCMP_ACT_TRACE")
        && profile["defaultErrnoRet"] != 38;
    let tried: Vec<(&str, u32, u32)> = match native {
        Arch::Aarch64 => vec![("SCMP_ARCH_AARCH64", 0xc000_00b7, 0)],
        _ => TRIED.to_vec(),
    };
    let mut calls = 0;
    for (name, audit, first) in tried {
        let listed = name == native_name
            || profile["architectures"].as_array().is_some_and(|list| list.iter().any(|arch| arch == name));
        let newest = libseccomp::newest(profile, name).filter(|_| listed && stub);
        let numbers = (first..first + 700).chain([first + 0x3fff_ffff, 0xffff_ffff, 0x8000_0000]);
        for number in numbers {
            // On x86_64 such a number is one of x32, which is tried by itself.
            if name == "SCMP_ARCH_X86_64" && number & 0x4000_0000 != 0 {
                continue;
            }
            if first != 0 && number & first == 0 {
                continue;
            }
            for arguments in profiles::arguments_for(profile, name, number) {
                let call = Call { number, arch: audit, arguments };
                let (got, mut expected) = (run(&ours, &call), run(&theirs, &call));
                let is_this_arch =
                    (number & 0x4000_0000 != 0) == (first != 0) || name != "SCMP_ARCH_X86_64" && first == 0;
                if let Some(newest) = newest
                    && number > newest
                    && is_this_arch
                {
                    expected = ENOSYS;
                }
                calls += 1;
                if got != expected {
                    return Err(format!(
                        "{name} {number} {arguments:x?}: {got:#x}, libseccomp {expected:#x}"
                    ));
                }
            }
        }
    }
    for audit in [0x4000_0028, 0xc000_00f3, 0] {
        let call = Call { number: 1, arch: audit, arguments: [0; 6] };
        if run(&ours, &call) != run(&theirs, &call) {
            return Err(format!("architecture {audit:#x}"));
        }
    }
    Ok(calls)
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
            let calls = compare(&profile, Arch::X86_64).unwrap_or_else(|why| panic!("{why}"));
            assert!(calls > 2100, "{calls} calls");
            profile["architectures"] = serde_json::json!(["SCMP_ARCH_AARCH64"]);
            compare(&profile, Arch::Aarch64).unwrap_or_else(|why| panic!("{why}"));
        }
    }
}
