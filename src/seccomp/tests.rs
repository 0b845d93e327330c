use super::interpreter::{Call, run};
use super::*;
use serde_json::{Value, json};

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

fn profile(json: Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

fn message(json: Value) -> String {
    compile_for(&profile(json), Arch::X86_64).unwrap_err().to_string()
}

/// The verdict on a call of an x86_64 machine.
fn verdict(filter: &Filter, arch: Arch, number: u32, arguments: [u64; 6]) -> u32 {
    let program: Vec<_> =
        filter.program.iter().map(|i| (i.code, i.jump_true, i.jump_false, i.constant)).collect();
    run(&program, &Call { number, arch: arch.audit(), arguments })
}

fn compiled(json: Value) -> Filter {
    compile_for(&profile(json), Arch::X86_64).unwrap()
}

#[test]
fn every_action_is_returned_with_its_errno() {
    for (action, errno, expected) in [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x8000_0000),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_ERRNO", None, EPERM),
        ("SCMP_ACT_ERRNO", Some(38), ENOSYS),
        ("SCMP_ACT_ERRNO", Some(0), 0x0005_0000),
        ("SCMP_ACT_TRACE", Some(7), 0x7ff0_0007),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
        ("SCMP_ACT_NOTIFY", None, 0x7fc0_0000),
    ] {
        let mut rule = json!({"names": ["mkdir"], "action": action});
        if let Some(errno) = errno {
            rule["errnoRet"] = json!(errno);
        }
        let filter =
            compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s", "syscalls": [rule]}));
        assert_eq!(verdict(&filter, Arch::X86_64, 83, [0; 6]), expected, "{action}");
        assert_eq!(verdict(&filter, Arch::X86_64, 82, [0; 6]), ALLOW);
        assert_eq!(verdict(&filter, Arch::X86_64, 84, [0; 6]), ALLOW);
        assert_eq!(filter.listener.is_some(), action == "SCMP_ACT_NOTIFY");
    }
}

#[test]
fn calls_newer_than_the_profile_are_unknown_and_not_forbidden() {
    let rule = json!({"names": ["read", "openat2", "no_such_call"], "action": "SCMP_ACT_ALLOW"});
    let filter = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}));
    let on = |number| verdict(&filter, Arch::X86_64, number, [0; 6]);
    assert_eq!([on(0), on(1), on(437), on(438), on(9999)], [ALLOW, EPERM, ALLOW, ENOSYS, ENOSYS]);
    let filter = compiled(json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [rule]}));
    assert_eq!(verdict(&filter, Arch::X86_64, 9999, [0; 6]), 0x7ffc_0000);
}

#[test]
fn another_architecture_is_killed_unless_it_is_named() {
    let rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
    let of = |names: Value| {
        compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": names, "syscalls": [rule]}))
    };
    let filter = of(json!([]));
    assert_eq!(verdict(&filter, Arch::X86, 3, [0; 6]), 0);
    assert_eq!(verdict(&filter, Arch::X32, 0x4000_0000, [0; 6]), 0);
    let filter = of(json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_S390X"]));
    assert_eq!(verdict(&filter, Arch::X86, 3, [0; 6]), ALLOW);
    assert_eq!(verdict(&filter, Arch::X32, 0x4000_0000, [0; 6]), ALLOW);
    assert_eq!(verdict(&filter, Arch::Aarch64, 63, [0; 6]), 0);
    assert_eq!(verdict(&filter, Arch::X86_64, 0, [0; 6]), ALLOW);
}

#[test]
fn operators_compare_64_bits() {
    let value: u64 = 0x1_0000_0005;
    let near = [value - 1, value, value + 1, 5, 4, 6, 0, u64::MAX, 0x2_0000_0000, 0x2_0000_0005];
    type Model = fn(u64, u64) -> bool;
    let operators: [(&str, Model); 6] = [
        ("NE", |a, b| a != b),
        ("LT", |a, b| a < b),
        ("LE", |a, b| a <= b),
        ("EQ", |a, b| a == b),
        ("GE", |a, b| a >= b),
        ("GT", |a, b| a > b),
    ];
    for index in 0..6 {
        for (operator, model) in operators {
            let argument = json!({"index": index, "value": value, "op": format!("SCMP_CMP_{operator}")});
            let rule = json!({"names": ["mmap"], "action": "SCMP_ACT_ERRNO", "args": [argument]});
            let filter = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
            for argument in near {
                let mut arguments = [0x7777_7777_7777_7777; 6];
                arguments[index] = argument;
                let expected = if model(argument, value) { EPERM } else { ALLOW };
                assert_eq!(
                    verdict(&filter, Arch::X86_64, 9, arguments),
                    expected,
                    "{argument:#x} {operator}"
                );
            }
        }
    }
}

#[test]
fn a_masked_comparison_sees_its_bits_alone() {
    let argument = json!({"index": 0, "value": 0xff00_0000_00f0u64, "valueTwo": 0x1200_0000_0030u64,
        "op": "SCMP_CMP_MASKED_EQ"});
    let rule = json!({"names": ["clone"], "action": "SCMP_ACT_ERRNO", "args": [argument]});
    let filter = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
    let on = |argument| verdict(&filter, Arch::X86_64, 56, [argument, 0, 0, 0, 0, 0]);
    assert_eq!([on(0x1200_0000_0030), on(0x0100_1200_ffff_ff3f)], [EPERM, EPERM]);
    assert_eq!([on(0x1200_0000_0010), on(0x1300_0000_0030), on(0)], [ALLOW, ALLOW, ALLOW]);
}

#[test]
fn conditions_of_a_rule_hold_together_and_those_on_one_argument_are_alternatives() {
    let equal = |index: u32, value: u32| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let of = |arguments: Value| {
        let rule = json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": arguments});
        compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    };
    let on = |filter: &Filter, a: u64, b: u64| verdict(filter, Arch::X86_64, 41, [a, b, 0, 0, 0, 0]);
    let both = of(json!([equal(0, 1), equal(1, 2)]));
    assert_eq!([on(&both, 1, 2), on(&both, 1, 3), on(&both, 0, 2)], [EPERM, ALLOW, ALLOW]);
    let either = of(json!([equal(0, 1), equal(0, 7), equal(1, 2)]));
    assert_eq!(
        [on(&either, 1, 9), on(&either, 7, 9), on(&either, 9, 2), on(&either, 9, 9)],
        [EPERM, EPERM, EPERM, ALLOW]
    );
}

/// What a call gets where all of these rules hold: the place of the rule that counts, and the same with the
/// rules the other way round.
fn counts(arguments: [u64; 6], rules: &[Value]) -> (u32, u32) {
    let of = |order: &mut dyn Iterator<Item = usize>| {
        let rule = |at: usize| json!({"names": ["mmap"], "action": "SCMP_ACT_ERRNO", "errnoRet": at, "args": rules[at]});
        let rules: Vec<Value> = order.map(rule).collect();
        let filter = compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
        verdict(&filter, Arch::X86_64, 9, arguments) & 0xffff
    };
    (of(&mut (0..rules.len())), of(&mut (0..rules.len()).rev()))
}

#[test]
fn of_rules_that_hold_at_once_libseccomps_first_one_counts() {
    let is = |index: u32, op: &str, value: u64| json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value});
    let of = |arguments, rules: &[Value]| {
        let (forth, back) = counts(arguments, rules);
        assert_eq!(forth, back, "{rules:?}");
        forth
    };
    let five = [5; 6];
    assert_eq!(of(five, &[json!([is(0, "EQ", 5)]), json!([is(4, "GE", 0)]), json!([is(3, "EQ", 5)])]), 1);
    assert_eq!(of(five, &[json!([is(0, "GE", 5)]), json!([is(0, "LE", 5)]), json!([is(0, "EQ", 5)])]), 2);
    assert_eq!(of(five, &[json!([is(0, "GE", 5)]), json!([is(0, "LE", 5)])]), 1);
    assert_eq!(of(five, &[json!([is(0, "GT", 1)]), json!([is(0, "GE", 4)]), json!([is(0, "GT", 2)])]), 1);
    assert_eq!(of(five, &[json!([is(0, "LT", 9)]), json!([is(0, "LE", 7)]), json!([is(0, "LT", 8)])]), 1);
    assert_eq!(of(five, &[json!([is(0, "NE", 1)]), json!([is(0, "NE", 9)])]), 1);
    // A comparison in common is the same step; what comes after it decides.
    let both = |op, value| json!([is(0, "EQ", 5), is(1, op, value)]);
    assert_eq!(of(five, &[both("GE", 2), both("LE", 6), json!([is(0, "NE", 4)])]), 1);
    // What all this leaves equal goes by the profile.
    let masked = json!([{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 0xf, "valueTwo": 5}]);
    assert_eq!(counts(five, &[json!([is(0, "EQ", 5)]), masked]), (0, 1));
    assert_eq!(counts(five, &[json!([is(0, "EQ", 5)]), both("EQ", 5)]), (0, 1));
}

#[test]
fn a_mask_of_no_bits_is_no_condition() {
    let argument = |mask: u64| json!({"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": 7});
    let of = |mask| {
        let rule = |action, list| json!({"names": ["mkdir"], "action": action, "args": list});
        let never = json!([{"index": 0, "op": "SCMP_CMP_EQ", "value": 1}]);
        compiled(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
            rule("SCMP_ACT_TRAP", never), rule("SCMP_ACT_ERRNO", json!([argument(mask)]))]}))
    };
    let on = |filter: &Filter, arch, number| verdict(filter, arch, number, [1, 0, 0, 0, 0, 0]);
    assert_eq!(on(&of(0), Arch::X86_64, 83), EPERM);
    assert_eq!(on(&of(1 << 32), Arch::X86_64, 83), 0x0003_0000);
    assert_eq!(on(&of(1 << 32), Arch::X86, 39), EPERM);
}

#[test]
fn numbers_that_no_call_has_are_newer_than_the_profile() {
    let rule = json!({"names": ["openat2"], "action": "SCMP_ACT_ALLOW"});
    let of = |names: Value, action: &str| {
        let profile = json!({"defaultAction": action, "architectures": names, "syscalls": [rule]});
        [0x4000_0000, 0x8000_0000, 0xc000_0000, 0xffff_ffff]
            .map(|number| verdict(&compiled(profile.clone()), Arch::X86_64, number, [0; 6]))
    };
    // The last one is no call: what a tracer puts in place of one that it has answered.
    assert_eq!(of(json!([]), "SCMP_ACT_ERRNO"), [0, ENOSYS, 0, EPERM]);
    assert_eq!(of(json!([]), "SCMP_ACT_LOG"), [0, 0, 0, 0x7ffc_0000]);
    assert_eq!(of(json!(["SCMP_ARCH_X32"]), "SCMP_ACT_ERRNO"), [EPERM, ENOSYS, ENOSYS, ENOSYS]);
}

#[test]
fn errors_name_the_field() {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    for (profile, fragment) in [
        (
            rule(json!({"names": ["a"], "action": "SCMP_ACT_KILL", "errnoRet": 1})),
            "linux.seccomp.syscalls[0].errnoRet: ",
        ),
        (rule(json!({"names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": 65536})), "65536"),
        (rule(json!({"names": [""], "action": "SCMP_ACT_LOG"})), "linux.seccomp.syscalls[0].names: "),
        (
            rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"})),
            "linux.seccomp.listenerPath: missing",
        ),
        (rule(json!({"names": ["sendmsg"], "action": "SCMP_ACT_NOTIFY"})), "sendmsg"),
        (
            rule(json!({"names": ["a"], "action": "SCMP_ACT_LOG",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]})),
            "linux.seccomp.syscalls[0].args[0].index: 6",
        ),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "linux.seccomp.defaultAction: "),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}), "linux.seccomp.defaultErrnoRet: "),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
            "linux.seccomp.listenerMetadata: ",
        ),
    ] {
        let message = message(profile);
        assert!(message.contains(fragment), "no {fragment:?} in {message}");
    }
}

#[test]
fn a_profile_too_large_for_the_kernel_is_an_error() {
    let of = |count: u64| {
        let argument = |value: u64| json!({"index": 0, "value": value << 20, "op": "SCMP_CMP_EQ"});
        let arguments: Vec<Value> = (0..count).map(argument).collect();
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": arguments}]})
    };
    for count in [2000, 50_000] {
        let error = message(of(count));
        assert!(error.contains("or more, the kernel takes 4096"), "{error}");
    }
    compiled(of(1000));
}

#[test]
fn flags_are_bits() {
    let flags = |json: Value| compiled(json).flags;
    assert_eq!(flags(json!({"defaultAction": "SCMP_ACT_ALLOW"})), own::FLAG_SPEC_ALLOW);
    assert_eq!(flags(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": []})), 0);
    let all = json!(FLAGS);
    let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
    let notify =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": all, "listenerPath": "/s", "syscalls": [rule]});
    assert_eq!(flags(notify), 0b11_1111);
}
