//! A profile read plainly: for each call its rules, and what they say of given arguments.

use std::collections::BTreeMap;
use std::ffi::CString;

use serde_json::Value;

use crate::libseccomp::{self, Comparison, action, comparison, names};

pub const NE: i32 = 1;
pub const LT: i32 = 2;
pub const LE: i32 = 3;
pub const EQ: i32 = 4;
pub const GE: i32 = 5;
pub const GT: i32 = 6;

/// A rule of one call.
#[derive(Clone, Debug)]
pub struct Rule {
    pub comparisons: Vec<Comparison>,
    pub action: u32,
    /// Its place in the profile.
    pub source: usize,
}

/// The calls that a profile has rules for on one architecture.
pub struct Calls {
    pub rules: BTreeMap<u32, Vec<Rule>>,
    /// The largest number that is named, whatever is said of it.
    pub newest: Option<u32>,
    pub narrow: bool,
    default: u32,
}

const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// 32-bit x86's own numbers of calls that socketcall(2) and ipc(2) do, too; libseccomp's interface hides
/// them. By the number with which libseccomp speaks of the call.
const DIRECT: [(i32, u32); 27] = [
    (-101, 359),
    (-102, 361),
    (-103, 362),
    (-104, 363),
    (-106, 367),
    (-107, 368),
    (-108, 360),
    (-111, 369),
    (-112, 371),
    (-113, 373),
    (-114, 366),
    (-115, 365),
    (-116, 370),
    (-117, 372),
    (-118, 364),
    (-119, 337),
    (-120, 345),
    (-202, 393),
    (-203, 394),
    (-211, 400),
    (-212, 401),
    (-213, 399),
    (-214, 402),
    (-221, 397),
    (-222, 398),
    (-223, 395),
    (-224, 396),
];

impl Calls {
    pub fn new(profile: &Value, arch: &str) -> Self {
        let default = action(&profile["defaultAction"], &profile["defaultErrnoRet"]);
        let narrow = matches!(arch, "SCMP_ARCH_X86" | "SCMP_ARCH_X32");
        let mut calls = Self { rules: BTreeMap::new(), newest: None, narrow, default };
        for (source, rule) in profile["syscalls"].as_array().expect("rules").iter().enumerate() {
            let action = action(&rule["action"], &rule["errnoRet"]);
            let parts = parts(rule);
            for name in names(rule) {
                for (number, which) in numbers(arch, &name) {
                    calls.newest = calls.newest.max(Some(number));
                    if action == default {
                        continue;
                    }
                    let list = calls.rules.entry(number).or_default();
                    list.extend(parts.iter().map(|part| {
                        let mut comparisons = part.clone();
                        if let Some(which) = which {
                            comparisons.retain(|comparison| comparison.argument != 0);
                            comparisons
                                .insert(0, Comparison { argument: 0, operator: EQ, first: which, second: 0 });
                        }
                        Rule { comparisons, action, source }
                    }));
                }
            }
        }
        calls
    }

    /// What the profile may be understood to say of a call.
    pub fn meant(&self, number: u32, arguments: &[u64; 6]) -> Vec<u32> {
        let rules = self.rules.get(&number).map(Vec::as_slice).unwrap_or_default();
        let none = |rule: &&Rule| rule.comparisons.iter().all(|comparison| is_void(comparison, self.narrow));
        if let Some(all) = rules.iter().find(none) {
            return vec![all.action];
        }
        let holds = |rule: &&Rule| rule.comparisons.iter().all(|c| holds(c, arguments, self.narrow));
        let met: Vec<u32> = rules.iter().filter(holds).map(|rule| rule.action).collect();
        if met.is_empty() { vec![self.default] } else { met }
    }
}

/// Rules with two comparisons of one argument are as many rules as comparisons, as runc has it.
pub fn parts(rule: &Value) -> Vec<Vec<Comparison>> {
    let mut comparisons: Vec<Comparison> =
        rule["args"].as_array().into_iter().flatten().map(comparison).collect();
    let mut indices: Vec<u32> = comparisons.iter().map(|c| c.argument).collect();
    indices.sort_unstable();
    if indices.windows(2).any(|pair| pair[0] == pair[1]) {
        return comparisons.into_iter().map(|comparison| vec![comparison]).collect();
    }
    comparisons.sort_by_key(|comparison| comparison.argument);
    vec![comparisons]
}

/// The numbers of a call, and the first argument that one of many needs to be this one.
fn numbers(arch: &str, name: &CString) -> Vec<(u32, Option<u64>)> {
    let number = libseccomp::number(arch, name);
    let mut numbers = Vec::new();
    match number {
        0.. => numbers.push((number as u32, None)),
        -120..=-101 if arch == "SCMP_ARCH_X86" => numbers.push((SOCKETCALL, Some((-number) as u64 % 100))),
        -224..=-201 if arch == "SCMP_ARCH_X86" => numbers.push((IPC, Some((-number) as u64 % 200))),
        _ => {}
    }
    if arch == "SCMP_ARCH_X86" {
        numbers
            .extend(DIRECT.iter().filter(|(of, _)| *of == number && number < 0).map(|(_, own)| (*own, None)));
    }
    numbers
}

/// Does it say nothing?
fn is_void(comparison: &Comparison, narrow: bool) -> bool {
    comparison.operator > GT && comparison.first & word(narrow) == 0
}

fn word(narrow: bool) -> u64 {
    if narrow { u64::from(u32::MAX) } else { u64::MAX }
}

fn holds(comparison: &Comparison, arguments: &[u64; 6], narrow: bool) -> bool {
    let word = word(narrow);
    let (argument, value) = (arguments[comparison.argument as usize] & word, comparison.first & word);
    match comparison.operator {
        NE => argument != value,
        LT => argument < value,
        LE => argument <= value,
        EQ => argument == value,
        GE => argument >= value,
        GT => argument > value,
        _ => argument & value == comparison.second & value,
    }
}

/// The place of a rule that libseccomp mixes up with one before it.
pub fn mixed_up(calls: &Calls) -> Option<usize> {
    let mixed = |earlier: &Rule, later: &Rule| {
        is_taken_for_covered(earlier, later, calls.narrow)
            || (!calls.narrow && share_a_branch(earlier, later))
    };
    calls.rules.values().find_map(|rules| {
        let later = rules.iter().enumerate();
        let mut later = later.filter(|(at, later)| rules[..*at].iter().any(|earlier| mixed(earlier, later)));
        later.next().map(|(_, rule)| rule.source)
    })
}

/// After comparisons of its own the later rule has those of the earlier one, the last of them with the
/// opposite outcome; libseccomp leaves it out as if the earlier one covered it.
fn is_taken_for_covered(earlier: &Rule, later: &Rule, narrow: bool) -> bool {
    let Some(end) = earlier.comparisons.iter().rposition(|comparison| !is_void(comparison, narrow)) else {
        return false;
    };
    let last = &earlier.comparisons[end];
    let opposite = match last.operator {
        NE => EQ,
        EQ => NE,
        LT => GE,
        GE => LT,
        LE => GT,
        GT => LE,
        _ => return false,
    };
    let (word, argument) = (word(narrow), last.argument);
    later.comparisons.iter().enumerate().any(|(at, comparison)| {
        at > end
            && later.comparisons[at - end..at] == earlier.comparisons[..end]
            && (comparison.argument, comparison.operator) == (argument, opposite)
            && comparison.first & word == last.first & word
    })
}

/// Two words of 64 bits are two nodes of libseccomp's tree; what follows the comparison of both hangs below
/// each. Where another rule has the first in common but not the second, it joins what follows the first
/// of them, which is what follows the second as well: its own second comparison is passed over.
/// And where both words are in common what follows is entered twice into one list, which may become a ring.
fn share_a_branch(one: &Rule, other: &Rule) -> bool {
    let kind = |comparison: &Comparison| match comparison.operator {
        NE => 1,
        LT | LE => 2,
        GE | GT => 3,
        _ => 0,
    };
    let counts = |comparison: &&Comparison| !is_void(comparison, false);
    let mut one_left = one.comparisons.iter().filter(counts);
    let mut other_left = other.comparisons.iter().filter(counts);
    let mut hangs_twice = false;
    loop {
        let (Some(a), Some(b)) = (one_left.next(), other_left.next()) else { return false };
        if a == b {
            hangs_twice |= kind(a) != 0;
            continue;
        }
        if hangs_twice {
            return true;
        }
        let same_word = a.argument == b.argument && kind(a) == kind(b) && a.first >> 32 == b.first >> 32;
        let longer = one_left.next().is_some() || other_left.next().is_some();
        // Of two inequalities that nothing follows the first action stays for other high words.
        let unlike = one.action != other.action && kind(a) == 1;
        return same_word && kind(a) != 0 && (longer || unlike);
    }
}
