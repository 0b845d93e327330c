//! libseccomp's own filter for a profile, made the way runc makes it.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use serde_json::Value;

/// (code, jt, jf, k) of each instruction.
pub type Program = Vec<(u16, u8, u8, u32)>;

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub argument: u32,
    pub operator: c_int,
    pub first: u64,
    pub second: u64,
}

#[link(name = "seccomp")]
unsafe extern "C" {
    fn seccomp_init(default: u32) -> *mut c_void;
    fn seccomp_release(context: *mut c_void);
    fn seccomp_arch_add(context: *mut c_void, arch: u32) -> c_int;
    fn seccomp_arch_remove(context: *mut c_void, arch: u32) -> c_int;
    fn seccomp_arch_native() -> u32;
    fn seccomp_arch_resolve_name(name: *const c_char) -> u32;
    fn seccomp_rule_add_array(
        context: *mut c_void,
        action: u32,
        number: c_int,
        count: u32,
        comparisons: *const Comparison,
    ) -> c_int;
    fn seccomp_syscall_resolve_name(name: *const c_char) -> c_int;
    fn seccomp_syscall_resolve_name_arch(arch: u32, name: *const c_char) -> c_int;
    fn seccomp_attr_set(context: *mut c_void, attribute: c_int, value: u32) -> c_int;
    fn seccomp_export_bpf(context: *const c_void, fd: c_int) -> c_int;
}

const UNKNOWN: c_int = -1;

/// SCMP_FLTATR_CTL_OPTIMIZE.
const OPTIMIZE: c_int = 8;

fn arch(name: &str) -> u32 {
    let name = CString::new(name.trim_start_matches("SCMP_ARCH_").to_lowercase()).expect("no NUL");
    // SAFETY: the name ends in NUL.
    unsafe { seccomp_arch_resolve_name(name.as_ptr()) }
}

/// What a filter returns for an action.
pub fn action(name: &Value, errno: &Value) -> u32 {
    let errno = errno.as_u64().unwrap_or(1) as u32;
    match name.as_str().expect("an action") {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => 0,
        "SCMP_ACT_KILL_PROCESS" => 0x8000_0000,
        "SCMP_ACT_TRAP" => 0x0003_0000,
        "SCMP_ACT_ERRNO" => 0x0005_0000 | errno,
        "SCMP_ACT_NOTIFY" => 0x7fc0_0000,
        "SCMP_ACT_TRACE" => 0x7ff0_0000 | errno,
        "SCMP_ACT_LOG" => 0x7ffc_0000,
        "SCMP_ACT_ALLOW" => 0x7fff_0000,
        other => panic!("{other}"),
    }
}

/// An argument of a rule as libseccomp takes it.
pub fn comparison(argument: &Value) -> Comparison {
    const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let name = argument["op"].as_str().expect("op").trim_start_matches("SCMP_CMP_");
    Comparison {
        argument: argument["index"].as_u64().expect("index") as u32,
        operator: OPERATORS.iter().position(|operator| *operator == name).expect("an operator") as c_int + 1,
        first: argument["value"].as_u64().expect("value"),
        second: argument["valueTwo"].as_u64().unwrap_or(0),
    }
}

/// The names of a profile's rules.
pub fn names(rule: &Value) -> impl Iterator<Item = CString> {
    rule["names"]
        .as_array()
        .expect("names")
        .iter()
        .map(|name| CString::new(name.as_str().expect("text")).expect("no NUL"))
}

/// The number of a call; less than -1 where the architecture has none of its own.
pub fn number(name: &str, call: &CString) -> i32 {
    // SAFETY: the name ends in NUL.
    unsafe { seccomp_syscall_resolve_name_arch(arch(name), call.as_ptr()) }
}

/// The filter of a profile on a machine of `native`; or the first of its rules that libseccomp refuses, upon
/// which runc refuses the profile.
pub fn program(profile: &Value, native: &str) -> Result<Program, usize> {
    let default = action(&profile["defaultAction"], &profile["defaultErrnoRet"]);
    let native = arch(native);
    // SAFETY: every call gets a live context, names that end in NUL and arrays with their length; a file's
    // descriptor is open while it is written to.
    unsafe {
        let context = seccomp_init(default);
        assert!(!context.is_null());
        // Numbers in a tree, as runc has it from 33 calls on. In their list, which is the other way, all rules
        // of an architecture are lost where the quickest of them is for a call that it does not have.
        assert_eq!(seccomp_attr_set(context, OPTIMIZE, 2), 0);
        if native != seccomp_arch_native() {
            assert_eq!(seccomp_arch_add(context, native), 0);
            assert_eq!(seccomp_arch_remove(context, seccomp_arch_native()), 0);
        }
        for name in profile["architectures"].as_array().into_iter().flatten() {
            seccomp_arch_add(context, arch(name.as_str().expect("text")));
        }
        for (index, rule) in profile["syscalls"].as_array().expect("rules").iter().enumerate() {
            let action = action(&rule["action"], &rule["errnoRet"]);
            if action == default {
                continue;
            }
            for name in names(rule) {
                let number = seccomp_syscall_resolve_name(name.as_ptr());
                if number == UNKNOWN {
                    continue;
                }
                for part in crate::model::parts(rule) {
                    match seccomp_rule_add_array(context, action, number, part.len() as u32, part.as_ptr()) {
                        0 => {}
                        error if error == -libc::EEXIST => {
                            seccomp_release(context);
                            return Err(index);
                        }
                        error => panic!("{name:?}: {error}"),
                    }
                }
            }
        }
        let mut file = tempfile::tempfile().expect("a file");
        assert_eq!(seccomp_export_bpf(context, file.as_raw_fd()), 0);
        seccomp_release(context);
        file.rewind().expect("seek");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("read");
        let half = |b: &[u8]| u16::from_ne_bytes([b[0], b[1]]);
        let word = |b: &[u8]| u32::from_ne_bytes([b[4], b[5], b[6], b[7]]);
        Ok(bytes.chunks_exact(8).map(|b| (half(b), b[2], b[3], word(b))).collect())
    }
}
