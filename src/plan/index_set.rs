//! Sets of small numbers in the kernel's list format: CPUs of execCPUAffinity, nodes of memoryPolicy.

use std::fmt::{self, Display, Formatter};

/// The first number that is too large: no kernel is built for more CPUs (CONFIG_NR_CPUS) or nodes.
const END: usize = 8192;

/// A set of CPUs or of memory nodes as the bit mask that system calls take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSet {
    words: Vec<u64>,
}

impl IndexSet {
    /// Every number that is possible; the kernel takes those that there are.
    pub fn all() -> Self {
        Self { words: vec![u64::MAX; END / 64] }
    }

    /// Parses a list such as `0-3,7`, cpuset(7): "List format". Err is what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first, text)?, number(last, text)?);
            if first > last {
                return Err(format!("{text:?}: the range {part} ends before it begins"));
            }
            words.resize(words.len().max(last / 64 + 1), 0);
            (first..=last).for_each(|index| words[index / 64] |= 1 << (index % 64));
        }
        Ok(Self { words })
    }

    /// The bit mask, its lowest numbers first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    fn contains(&self, index: usize) -> bool {
        self.words.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }
}

fn number(text: &str, list: &str) -> Result<usize, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{list:?} is no list of numbers and ranges such as 0-3,7"));
    }
    match text.parse() {
        Ok(number) if number < END => Ok(number),
        _ => Err(format!("{list:?}: {text} is above {}", END - 1)),
    }
}

/// The list again, ranges joined: `0-3,7`.
impl Display for IndexSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (mut index, mut separator) = (0, "");
        while index < self.words.len() * 64 {
            if !self.contains(index) {
                index += 1;
                continue;
            }
            let first = index;
            while self.contains(index) {
                index += 1;
            }
            match index - 1 {
                last if last == first => write!(f, "{separator}{first}")?,
                last => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_bits_and_a_list_again() {
        for (text, words, again) in [
            ("0", vec![1], "0"),
            ("0-3,7", vec![0x8f], "0-3,7"),
            ("1,0, 2", vec![7], "0-2"),
            ("64-65", vec![0, 3], "64-65"),
            ("63,64", vec![1 << 63, 1], "63-64"),
        ] {
            let set = IndexSet::parse(text).unwrap();
            assert_eq!((set.words(), set.to_string().as_str()), (words.as_slice(), again), "{text}");
        }
        assert_eq!(IndexSet::all().to_string(), "0-8191");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", ",", "1,", "a", "-1", "1-", "3-1", "+1", "1-2-3", "8192", "99999999999999999999"] {
            assert!(IndexSet::parse(text).is_err(), "{text:?}");
        }
    }
}
