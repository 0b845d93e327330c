//! The arguments of a call that tell two filters apart.

use crate::libseccomp::Comparison;
use crate::model::{GE, GT, LE, LT, NE, Rule};

/// Arguments that find each side of every comparison in the rules of one call, with the rest of its rule
/// holding, and those with which two rules hold at once.
pub fn telling(rules: &[Rule], narrow: bool) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6], [u64::MAX; 6]];
    for rule in rules {
        for base in [[0; 6], [u64::MAX; 6]] {
            all.push(meeting(rule, base));
        }
        let meets = meeting(rule, [0; 6]);
        for comparison in &rule.comparisons {
            for value in around(comparison, narrow) {
                let mut arguments = meets;
                arguments[comparison.argument as usize] = value;
                all.push(arguments);
            }
        }
        all.extend(rules.iter().map(|other| meeting(other, meets)));
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// `arguments`, changed so that the comparisons of a rule hold, where they can.
fn meeting(rule: &Rule, mut arguments: [u64; 6]) -> [u64; 6] {
    for comparison in &rule.comparisons {
        let argument = &mut arguments[comparison.argument as usize];
        let value = comparison.first;
        *argument = match comparison.operator {
            NE if *argument != value => *argument,
            LE if *argument <= value => *argument,
            GE if *argument >= value => *argument,
            NE | LT => value.wrapping_sub(1),
            GT => value.wrapping_add(1),
            _ if comparison.operator > GT => *argument & !value | comparison.second & value,
            _ => value,
        };
    }
    arguments
}

/// Values around a comparison: one less, one more, bits of a mask flipped, each word alone.
fn around(comparison: &Comparison, narrow: bool) -> Vec<u64> {
    let mut values = vec![0, u64::MAX];
    let masked = comparison.operator > GT;
    let bases = if masked { [comparison.first, comparison.second] } else { [comparison.first; 2] };
    for base in &bases[..1 + usize::from(masked)] {
        values.extend([*base, base.wrapping_sub(1), base.wrapping_add(1)]);
        values.extend([
            base & 0xffff_ffff,
            base & !0xffff_ffff,
            base ^ (1 << 32),
            base ^ (1 << 63),
            base ^ (1 << 31),
        ]);
        values.extend([base.wrapping_add(1 << 32), base.wrapping_sub(1 << 32), base.rotate_left(32)]);
    }
    if masked {
        let bits = if narrow { 32 } else { 64 };
        let flipped = |bit: &u32| comparison.first & (1 << bit) != 0;
        values.extend((0..bits).filter(flipped).map(|bit| comparison.second ^ (1 << bit)));
    }
    values
}
