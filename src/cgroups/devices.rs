//! Device rules of the OCI spec as a BPF program of the type BPF_PROG_TYPE_CGROUP_DEVICE.
//!
//! An access asks for some of read, write and mknod on one device. Each of them is decided by the
//! last rule that covers it, and the access is allowed if all are. So the program goes through the
//! rules from the last to the first and crosses off what a rule allows: nothing left is a yes, a
//! rule that denies something still asked for is a no. After the last instruction is a no too.
//!
//! In: `linux.resources.devices`. Out: [`Program`], pure data; attaching needs CAP_SYS_ADMIN (or
//! CAP_BPF and CAP_NET_ADMIN) in the initial user namespace.

use std::fmt;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::LimitError;
use crate::sys::bpf::Instruction;

/// Bits of an access as the kernel numbers them, BPF_DEVCG_ACC_* of linux/bpf.h.
pub(super) const MKNOD: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;
pub(super) const ALL: u8 = MKNOD | READ | WRITE;

/// BPF_DEVCG_DEV_* of linux/bpf.h.
pub(super) const BLOCK: i32 = 1;
pub(super) const CHARACTER: i32 = 2;

/// Allowed to every container, after the spec's rules, as runc has it: making any node, and using
/// null, zero, full, random, urandom, tty, ptmx, terminals, and the tun device.
const ALWAYS_ALLOWED: [Rule; 10] = [
    Rule { allow: true, kind: None, major: None, minor: None, access: MKNOD },
    Rule::character(1, 3),
    Rule::character(1, 5),
    Rule::character(1, 7),
    Rule::character(1, 8),
    Rule::character(1, 9),
    Rule::character(5, 0),
    Rule::character(5, 2),
    Rule { allow: true, kind: Some(CHARACTER), major: Some(136), minor: None, access: ALL },
    Rule::character(10, 200),
];

/// One rule: None is every kind, every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub allow: bool,
    pub kind: Option<i32>,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: u8,
}

/// `linux.resources.devices` in the spec's order, and after them what every container may use. Errors
/// name the JSON path.
pub(super) fn rules(rules: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>, LimitError> {
    let parsed = rules.iter().enumerate().map(|(index, rule)| Rule::parse(index, rule));
    parsed.chain(ALWAYS_ALLOWED.map(Ok)).collect()
}

/// A device program, ready to load.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    pub(super) instructions: Vec<Instruction>,
}

impl Program {
    /// Compiles the rules of `linux.resources.devices`, in the spec's order, and after them what
    /// every container may use. Without rules, that alone is allowed; None if everything is.
    /// Errors name the JSON path.
    pub fn build(rules: &[LinuxDeviceCgroup]) -> Result<Option<Self>, LimitError> {
        Ok(compile(&self::rules(rules)?).map(|instructions| Self { instructions }))
    }

    /// How many instructions it has.
    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    /// A program has at least an exit: never true.
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({} instructions)", self.len())
    }
}

impl Rule {
    const fn character(major: u32, minor: u32) -> Self {
        Self { allow: true, kind: Some(CHARACTER), major: Some(major), minor: Some(minor), access: ALL }
    }

    fn parse(index: usize, rule: &LinuxDeviceCgroup) -> Result<Self, LimitError> {
        let invalid = |member: &str, value: String, reason| LimitError::Value {
            field: format!("linux.resources.devices[{index}].{member}"),
            value,
            reason,
        };
        let kind = match rule.typ() {
            None | Some(LinuxDeviceType::A) => None,
            Some(LinuxDeviceType::B) => Some(BLOCK),
            Some(LinuxDeviceType::C) => Some(CHARACTER),
            Some(other) => {
                return Err(invalid(
                    "type",
                    format!("{:?}", other.as_str()),
                    "a rule is for a (all), b or c",
                ));
            }
        };
        let number = |member, value: Option<i64>| match value {
            None | Some(-1) => Ok(None),
            Some(value) => u32::try_from(value)
                .map(Some)
                .map_err(|_| invalid(member, value.to_string(), "it is no device number (-1 is any)")),
        };
        let text = rule.access().as_deref().unwrap_or_default();
        let mut access = 0;
        for letter in text.chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => return Err(invalid("access", format!("{text:?}"), "it is made of r, w and m")),
            };
        }
        if access == 0 {
            return Err(invalid("access", "empty".into(), "give some of r, w and m"));
        }
        let (major, minor) = (number("major", rule.major())?, number("minor", rule.minor())?);
        Ok(Self { allow: rule.allow(), kind, major, minor, access })
    }

    /// There is no device beyond the kernel's numbers.
    fn covers_something(&self) -> bool {
        self.major.is_none_or(|major| major <= MAJOR_MAX) && self.minor.is_none_or(|minor| minor <= MINOR_MAX)
    }

    pub(super) fn covers_everything(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }

    pub(super) fn same_devices(&self, other: &Self) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    pub(super) fn covers_devices_of(&self, other: &Self) -> bool {
        (self.kind.is_none() || self.kind == other.kind)
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }
}

/// Registers: the verdict, the context, what is read from it, and both numbers as one.
const VERDICT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ASKED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const DEVICE: u8 = 6;

/// The kernel's dev_t: 12 bits of major, 20 bits of minor. No device has larger numbers.
const MINOR_BITS: u32 = 20;
const MAJOR_MAX: u32 = 0xfff;
const MINOR_MAX: u32 = 0xf_ffff;

/// Operation codes, bpf_common.h and bpf.h of linux: class, operation, operand.
const LOAD_WORD: u8 = 0x61; // LDX | W | MEM
const MOVE: u8 = 0xb7; // ALU64 | MOV | K
const COPY_32: u8 = 0xbc; // ALU | MOV | X
const AND_32: u8 = 0x54; // ALU | AND | K
const OR_32: u8 = 0x4c; // ALU | OR | X
const SHIFT_LEFT_32: u8 = 0x64; // ALU | LSH | K
const SHIFT_RIGHT_32: u8 = 0x74; // ALU | RSH | K
const JUMP: u8 = 0x05; // JMP | JA
const JUMP_UNLESS_EQUAL_32: u8 = 0x56; // JMP32 | JNE | K
const JUMP_IF_ANY_BIT_32: u8 = 0x46; // JMP32 | JSET | K
const EXIT: u8 = 0x95; // JMP | EXIT

/// So many rules of one kind share its test: a jump reaches 32767 instructions, a rule has up to 5.
const RULES_PER_TEST: usize = 4096;

/// None if nothing is ever denied.
///
/// The verifier's time, which a container's start pays, goes by the branches: one for a run of
/// rules of the same kind, and one for each rule in it.
fn compile(rules: &[Rule]) -> Option<Vec<Instruction>> {
    let (mut list, mut denies, mut otherwise) = (Vec::with_capacity(rules.len()), false, false);
    for rule in rules.iter().rev() {
        if rule.covers_everything() {
            // It decides whatever is left; the rules before it never speak.
            otherwise = rule.allow;
            break;
        }
        if rule.covers_something() {
            denies |= !rule.allow;
            list.push(rule);
        }
    }
    if otherwise && !denies {
        return None;
    }
    // struct bpf_cgroup_dev_ctx: u32 access_type (access << 16 | kind), u32 major, u32 minor.
    let mut program = vec![
        Instruction::new(LOAD_WORD, KIND, CONTEXT, 0, 0),
        Instruction::new(COPY_32, ASKED, KIND, 0, 0),
        Instruction::new(AND_32, KIND, 0, 0, 0xffff),
        Instruction::new(SHIFT_RIGHT_32, ASKED, 0, 0, 16),
        Instruction::new(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        Instruction::new(LOAD_WORD, MINOR, CONTEXT, 8, 0),
        Instruction::new(COPY_32, DEVICE, MAJOR, 0, 0),
        Instruction::new(SHIFT_LEFT_32, DEVICE, 0, 0, MINOR_BITS as i32),
        Instruction::new(OR_32, DEVICE, MINOR, 0, 0),
    ];
    for of_one_kind in list.chunk_by(|one, next| one.kind == next.kind) {
        for run in of_one_kind.chunks(RULES_PER_TEST) {
            let body: Vec<Instruction> = run.iter().flat_map(|rule| decide(rule)).collect();
            program.extend(run[0].kind.map(|kind| unless_equal(KIND, kind, body.len())));
            program.extend(body);
        }
    }
    program.extend(answer(otherwise));
    Some(program)
}

/// A rule's numbers and what it says; its kind is tested before.
fn decide(rule: &Rule) -> Vec<Instruction> {
    let part_of_all = rule.access != ALL;
    let access = i32::from(rule.access);
    let mut verdict = Vec::with_capacity(5);
    match rule.allow {
        true if part_of_all => {
            verdict.push(Instruction::new(AND_32, ASKED, 0, 0, i32::from(ALL) & !access));
            verdict.push(unless_equal(ASKED, 0, 2));
        }
        false if part_of_all => {
            verdict.push(Instruction::new(JUMP_IF_ANY_BIT_32, ASKED, 0, 1, access));
            verdict.push(Instruction::new(JUMP, 0, 0, 2, 0));
        }
        _ => {}
    }
    verdict.extend(answer(rule.allow));
    let condition = match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => Some((DEVICE, major << MINOR_BITS | minor)),
        (Some(major), None) => Some((MAJOR, major)),
        (None, Some(minor)) => Some((MINOR, minor)),
        (None, None) => None,
    };
    if let Some((register, number)) = condition {
        verdict.insert(0, unless_equal(register, number.cast_signed(), verdict.len()));
    }
    verdict
}

fn answer(allow: bool) -> [Instruction; 2] {
    [Instruction::new(MOVE, VERDICT, 0, 0, i32::from(allow)), Instruction::new(EXIT, 0, 0, 0, 0)]
}

/// Passes over the next `distance` instructions unless the register holds `value`.
fn unless_equal(register: u8, value: i32, distance: usize) -> Instruction {
    debug_assert!(distance <= i16::MAX as usize);
    Instruction::new(JUMP_UNLESS_EQUAL_32, register, 0, distance as i16, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The few instructions that [`compile`] uses, as the kernel runs them.
    fn run(program: &[Instruction], kind: i32, asked: u8, major: u32, minor: u32) -> bool {
        let context = [u32::from(asked) << 16 | kind as u32, major, minor];
        let mut registers = [None; 7];
        registers[usize::from(CONTEXT)] = Some(0);
        let mut next = 0;
        loop {
            let at = program[next];
            let (destination, source) = (usize::from(at.destination()), usize::from(at.source()));
            let value = || registers[destination].expect("the register was written");
            let constant = at.constant as u32;
            next += 1;
            let jump = match at.code() {
                LOAD_WORD => {
                    registers[destination] = Some(context[at.offset as usize / 4]);
                    false
                }
                COPY_32 => {
                    registers[destination] = registers[source];
                    false
                }
                MOVE => {
                    registers[destination] = Some(constant);
                    false
                }
                AND_32 => {
                    registers[destination] = Some(value() & constant);
                    false
                }
                OR_32 => {
                    registers[destination] = Some(value() | registers[source].unwrap());
                    false
                }
                SHIFT_LEFT_32 => {
                    registers[destination] = Some(value() << constant);
                    false
                }
                SHIFT_RIGHT_32 => {
                    registers[destination] = Some(value() >> constant);
                    false
                }
                JUMP => true,
                JUMP_UNLESS_EQUAL_32 => value() != constant,
                JUMP_IF_ANY_BIT_32 => value() & constant != 0,
                EXIT => return registers[usize::from(VERDICT)] == Some(1),
                code => panic!("operation {code:#x}"),
            };
            if jump {
                next += at.offset as usize;
            }
        }
    }

    /// The meaning of the rules: each bit asked for is decided by the last rule that covers it.
    fn allowed(rules: &[Rule], kind: i32, asked: u8, major: u32, minor: u32) -> bool {
        [MKNOD, READ, WRITE].iter().filter(|bit| asked & **bit != 0).all(|bit| {
            let covers = |rule: &&Rule| {
                rule.kind.is_none_or(|k| k == kind)
                    && rule.major.is_none_or(|m| m == major)
                    && rule.minor.is_none_or(|m| m == minor)
                    && rule.access & bit != 0
            };
            rules.iter().rev().find(covers).is_some_and(|rule| rule.allow)
        })
    }

    fn agree(rules: &[Rule], majors: &[u32], minors: &[u32]) {
        let program = compile(rules);
        for kind in [BLOCK, CHARACTER] {
            for asked in 1..=ALL {
                for major in majors {
                    for minor in minors {
                        let expected = allowed(rules, kind, asked, *major, *minor);
                        let found = program.as_ref().is_none_or(|p| run(p, kind, asked, *major, *minor));
                        assert_eq!(found, expected, "{rules:?}: {kind} {major}:{minor} {asked:03b}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_program_means_what_its_rules_mean() {
        // Few numbers, so that rules overlap; xorshift, so that a failure can be repeated.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % below
        };
        for _ in 0..4000 {
            let rules: Vec<Rule> = (0..random(9))
                .map(|_| Rule {
                    allow: random(2) == 0,
                    kind: [None, Some(BLOCK), Some(CHARACTER)][random(3) as usize],
                    major: [None, Some(1), Some(MAJOR_MAX)][random(3) as usize],
                    minor: [None, Some(1), Some(0x1000)][random(3) as usize],
                    access: 1 + random(7) as u8,
                })
                .collect();
            agree(&rules, &[0, 1, MAJOR_MAX], &[0, 1, 0x1000, MINOR_MAX]);
        }
    }

    #[test]
    fn the_default_devices_are_allowed_and_no_others() {
        let numbers = [0, 1, 2, 3, 5, 8, 10, 136, 200];
        agree(&ALWAYS_ALLOWED, &numbers, &numbers);
        let program = Program::build(&[]).unwrap().unwrap().instructions;
        assert!(run(&program, CHARACTER, READ | WRITE, 1, 3));
        assert!(run(&program, CHARACTER, READ | WRITE, 136, 77));
        assert!(run(&program, BLOCK, MKNOD, 8, 0));
        assert!(!run(&program, BLOCK, READ, 8, 0));
        assert!(!run(&program, BLOCK, MKNOD | READ, 8, 0));
        assert!(!run(&program, CHARACTER, READ, 1, 1));
    }

    fn built(json: &str) -> Result<Option<Program>, String> {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
        Program::build(&rules).map_err(|error| error.to_string())
    }

    #[test]
    fn a_later_rule_wins_over_an_earlier_one() {
        let json = r#"[{"allow": false, "access": "rwm"},
            {"allow": true, "type": "b", "major": 8, "access": "rw"},
            {"allow": false, "type": "b", "major": 8, "minor": 1, "access": "w"}]"#;
        let program = built(json).unwrap().unwrap().instructions;
        assert!(run(&program, BLOCK, READ | WRITE, 8, 0));
        assert!(run(&program, BLOCK, READ, 8, 1));
        assert!(!run(&program, BLOCK, READ | WRITE, 8, 1));
        assert!(!run(&program, CHARACTER, READ, 8, 0));
    }

    #[test]
    fn a_privileged_container_needs_no_program() {
        assert_eq!(
            built(r#"[{"allow": false, "access": "rwm"}, {"allow": true, "access": "mrw"}]"#),
            Ok(None)
        );
        assert_eq!(
            built(r#"[{"allow": true, "type": "a", "major": -1, "minor": -1, "access": "rwm"}]"#),
            Ok(None)
        );
        assert!(
            built(r#"[{"allow": true, "access": "rwm"}, {"allow": false, "type": "c", "access": "r"}]"#)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn rules_before_one_for_everything_cost_nothing() {
        let long =
            r#"[{"allow": true, "type": "c", "major": 9, "access": "r"}, {"allow": false, "access": "rwm"}]"#;
        assert_eq!(built(long), built(r#"[{"allow": false, "access": "rwm"}]"#));
    }

    #[test]
    fn long_lists_keep_their_meaning() {
        let rules: Vec<Rule> = (0..10_000)
            .map(|n| Rule {
                allow: n % 3 == 0,
                access: 1 + (n % 7) as u8,
                ..Rule::character(n % 50, n % 300)
            })
            .collect();
        agree(&rules, &[0, 1, 7, 49], &[0, 1, 7, 249, 299]);
    }

    #[test]
    fn a_rule_for_no_possible_device_is_left_out() {
        let with =
            built(r#"[{"allow": true, "type": "c", "major": 4096, "minor": 1, "access": "rwm"}]"#).unwrap();
        assert_eq!(with, Program::build(&[]).unwrap());
    }

    #[test]
    fn a_bad_rule_is_named_by_its_path() {
        for (json, part) in [
            (r#"[{"allow": true, "access": "rx"}]"#, r#"linux.resources.devices[0].access is "rx""#),
            (
                r#"[{"allow": true, "access": "r"}, {"allow": true}]"#,
                "linux.resources.devices[1].access is empty",
            ),
            (r#"[{"allow": true, "type": "p", "access": "r"}]"#, r#"linux.resources.devices[0].type is "p""#),
            (r#"[{"allow": true, "major": -2, "access": "r"}]"#, "linux.resources.devices[0].major is -2"),
            (r#"[{"allow": true, "minor": 4294967296, "access": "r"}]"#, "linux.resources.devices[0].minor"),
        ] {
            let error = built(json).unwrap_err();
            assert!(error.starts_with(part), "{error}");
        }
    }
}
