//! Does each comparison of a program see one word of a call, whichever way it is reached?

use crate::libseccomp::Program;

/// What is in the accumulator: the offset of a word and the bits that are left of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Unreached,
    Loaded(u32, u32),
    Uncertain,
}

impl Word {
    fn or(&mut self, other: Self) {
        *self = match *self {
            Self::Unreached => other,
            same if same == other => same,
            _ => Self::Uncertain,
        };
    }
}

/// Jumps of classic BPF lead forward only, so that one pass tells.
pub fn are_certain(program: &Program) -> bool {
    let mut before = vec![Word::Unreached; program.len()];
    if let Some(first) = before.first_mut() {
        *first = Word::Uncertain;
    }
    for (at, (code, yes, no, constant)) in program.iter().copied().enumerate() {
        let word = before[at];
        let mut reach = |distance: usize, word| before[at + 1 + distance].or(word);
        match (code, word) {
            (_, Word::Unreached) | (0x06, _) => {}
            (0x20, _) => reach(0, Word::Loaded(constant, u32::MAX)),
            (0x54, Word::Loaded(offset, mask)) => reach(0, Word::Loaded(offset, mask & constant)),
            (0x05, _) => reach(constant as usize, word),
            (0x15 | 0x25 | 0x35, Word::Loaded(..)) => {
                reach(yes.into(), word);
                reach(no.into(), word);
            }
            _ => return false,
        }
    }
    true
}

#[test]
fn words_of_two_ways_are_told() {
    let (load, compare, end) = (|offset| (0x20, 0, 0, offset), |yes, no| (0x15, yes, no, 1), (0x06, 0, 0, 0));
    assert!(are_certain(&vec![load(16), compare(0, 1), compare(0, 0), end]));
    assert!(!are_certain(&vec![load(16), compare(0, 1), load(24), compare(0, 0), end]));
    assert!(are_certain(&vec![load(16), compare(0, 1), load(24), load(32), compare(0, 0), end]));
}
