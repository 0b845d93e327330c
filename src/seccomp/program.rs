//! From a profile to its program: architecture, then a binary search for the number, then arguments.
//!
//! Calls with numbers in a row that get the same verdict are one range, so that the default profile of
//! docker and podman costs a handful of comparisons a call.

use std::collections::HashMap;

use super::action::Action;
use super::arch::{Arch, X32_BIT};
use super::assembler::{Assembler, Compare, Label};
use super::rules::{Condition, Profile, Table, Test, Verdict};
use crate::sys::seccomp::Instruction;

/// Offsets in struct seccomp_data of linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The bit of numbers that no call has.
const NEGATIVE: u32 = 0x8000_0000;

/// What a number leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target<'p> {
    Return(Action),
    Rules(&'p Verdict),
}

/// Writes the program of a profile.
pub(super) fn write(profile: &Profile) -> Vec<Instruction> {
    let mut assembler = Assembler::default();
    let table = |arch| profile.tables.iter().find(|table| table.arch == arch);
    let x32 = table(Arch::X32);
    let mut sections = Vec::new();
    for table in profile.tables.iter().filter(|table| table.arch != Arch::X32) {
        let mut ranges = ranges(profile, table);
        if table.arch == Arch::X86_64 {
            // Both say x86_64 to the kernel; the bit in the number tells which it is.
            ranges.retain(|(first, _)| *first < X32_BIT);
            match x32 {
                Some(x32) => {
                    let mut above = self::ranges(profile, x32);
                    above.retain(|(first, _)| *first >= X32_BIT);
                    if above.first().is_none_or(|(first, _)| *first != X32_BIT) {
                        above.insert(0, (X32_BIT, Target::Return(profile.default)));
                    }
                    ranges.extend(above);
                    ranges.push((NEGATIVE, Target::Return(beyond(profile, table))));
                    ranges.push((NEGATIVE | X32_BIT, Target::Return(beyond(profile, x32))));
                }
                None => {
                    let bad = Target::Return(Action::BAD_ARCH);
                    let negative =
                        if is_newer_known(profile, table) { Action::NO_SUCH_CALL } else { Action::BAD_ARCH };
                    ranges.push((X32_BIT, bad));
                    ranges.push((NEGATIVE, Target::Return(negative)));
                    ranges.push((NEGATIVE | X32_BIT, bad));
                    // No call: what a tracer puts in place of one that it has answered.
                    ranges.push((u32::MAX, Target::Return(profile.default)));
                }
            }
        }
        let body = search(&mut assembler, table.arch, profile, &merged(ranges));
        sections.push((table.arch.audit(), assembler.load(NUMBER, body)));
    }
    let mut next = assembler.returns(Action::BAD_ARCH);
    // The native one, which comes first, is asked for first.
    sections
        .sort_by_key(|(audit, _)| profile.tables.first().is_some_and(|table| table.arch.audit() == *audit));
    for (audit, section) in sections {
        next = assembler.compare(Compare::Equal, audit, section, next);
    }
    assembler.load(ARCHITECTURE, next);
    assembler.finish()
}

/// Is there a number above which calls are newer than the profile and get ENOSYS?
fn is_newer_known(profile: &Profile, table: &Table) -> bool {
    profile.enosys && table.newest.is_some()
}

/// What becomes of numbers above all that the profile names.
fn beyond(profile: &Profile, table: &Table) -> Action {
    if is_newer_known(profile, table) { Action::NO_SUCH_CALL } else { profile.default }
}

/// All numbers, as the beginnings of ranges.
fn ranges<'p>(profile: &Profile, table: &'p Table) -> Vec<(u32, Target<'p>)> {
    let default = Target::Return(profile.default);
    let mut ranges = vec![(0, default)];
    for (number, verdict) in &table.calls {
        let target = match (verdict.rules.is_empty(), verdict.otherwise) {
            (true, action) => Target::Return(action.unwrap_or(profile.default)),
            (false, _) => Target::Rules(verdict),
        };
        ranges.push((*number, target));
        ranges.push((number + 1, default));
    }
    if let Some(newest) = table.newest {
        ranges.push((newest + 1, Target::Return(beyond(profile, table))));
    }
    // Of two that begin at the same number the later one counts.
    ranges.sort_by_key(|(first, _)| *first);
    let mut last: Vec<(u32, Target<'_>)> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match last.last_mut() {
            Some(before) if before.0 == range.0 => *before = range,
            _ => last.push(range),
        }
    }
    last
}

/// Neighbours with the same target as one.
fn merged(mut ranges: Vec<(u32, Target<'_>)>) -> Vec<(u32, Target<'_>)> {
    ranges.dedup_by(|later, earlier| later.1 == earlier.1);
    ranges
}

/// The number is in the accumulator: finds its range.
fn search(assembler: &mut Assembler, arch: Arch, profile: &Profile, ranges: &[(u32, Target<'_>)]) -> Label {
    let mut blocks: HashMap<(bool, *const Verdict), Label> = HashMap::new();
    halves(assembler, arch, profile, ranges, &mut blocks)
}

fn halves(
    assembler: &mut Assembler,
    arch: Arch,
    profile: &Profile,
    ranges: &[(u32, Target<'_>)],
    blocks: &mut HashMap<(bool, *const Verdict), Label>,
) -> Label {
    match ranges {
        [] => assembler.returns(profile.default),
        [(_, Target::Return(action))] => assembler.returns(*action),
        [(first, Target::Rules(verdict))] => {
            let narrow = arch.is_32_bit() || first & X32_BIT != 0;
            let key = (narrow, std::ptr::from_ref(*verdict));
            if let Some(label) = blocks.get(&key) {
                return *label;
            }
            let label = rules(assembler, narrow, profile, verdict);
            blocks.insert(key, label);
            label
        }
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let yes = halves(assembler, arch, profile, high, blocks);
            let no = halves(assembler, arch, profile, low, blocks);
            assembler.compare(Compare::GreaterOrEqual, high[0].0, yes, no)
        }
    }
}

/// The rules of one call, the first one first.
fn rules(assembler: &mut Assembler, narrow: bool, profile: &Profile, verdict: &Verdict) -> Label {
    let mut otherwise = assembler.returns(verdict.otherwise.unwrap_or(profile.default));
    for (conditions, action) in verdict.rules.iter().rev() {
        let mut holds = assembler.returns(*action);
        for condition in conditions.iter().rev() {
            holds = self::condition(assembler, narrow, condition, holds, otherwise);
        }
        otherwise = holds;
    }
    otherwise
}

/// One comparison of 64 bits, of which BPF has 32 at a time; the high word first.
fn condition(
    assembler: &mut Assembler,
    narrow: bool,
    condition: &Condition,
    holds: Label,
    fails: Label,
) -> Label {
    let (yes, no) = if condition.negated { (fails, holds) } else { (holds, fails) };
    let low_word = ARGUMENTS + 8 * condition.index + if cfg!(target_endian = "big") { 4 } else { 0 };
    let high_word = ARGUMENTS + 8 * condition.index + if cfg!(target_endian = "big") { 0 } else { 4 };
    let (low, high) = (condition.value as u32, (condition.value >> 32) as u32);
    let (low_mask, high_mask) = (condition.mask as u32, (condition.mask >> 32) as u32);
    let mut word = |offset, mask, test, value, yes, no| {
        if mask == 0 {
            return yes;
        }
        let compared = assembler.compare(test, value, yes, no);
        let masked = if mask == u32::MAX { compared } else { assembler.and(mask, compared) };
        assembler.load(offset, masked)
    };
    let test = match condition.test {
        Test::Equal | Test::Masked => Compare::Equal,
        Test::Greater => Compare::Greater,
        Test::GreaterOrEqual => Compare::GreaterOrEqual,
    };
    let after_high = word(low_word, low_mask, test, low, yes, no);
    if narrow {
        return after_high;
    }
    match condition.test {
        Test::Equal | Test::Masked => word(high_word, high_mask, Compare::Equal, high, after_high, no),
        Test::Greater | Test::GreaterOrEqual => {
            let not_above = assembler.compare(Compare::Equal, high, after_high, no);
            let above = assembler.compare(Compare::Greater, high, yes, not_above);
            assembler.load(high_word, above)
        }
    }
}
