//! Which of an indexed Job's completions are done: `1,3-5,7`, as its status says it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

use super::INDEX;

/// Indexes, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(BTreeSet<usize>);

impl Indexes {
    /// Of text, as far as it is below `end`. What is not a range is passed over.
    pub fn parse(text: &str, end: usize) -> Self {
        let mut all = BTreeSet::new();
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
                all.extend((first..=last).take_while(|index| *index < end));
            }
        }
        Self(all)
    }

    /// Adds those of Pods.
    pub fn add<'a>(&mut self, pods: impl Iterator<Item = &'a Pod>, end: usize) {
        self.0.extend(pods.filter_map(of).filter(|index| *index < end));
    }

    /// How many there are.
    pub fn count(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap_or(i32::MAX)
    }

    /// The first of `end` that are neither done nor under way.
    pub fn pending(&self, active: &[&Pod], end: usize) -> Vec<usize> {
        let active: BTreeSet<usize> = active.iter().filter_map(|pod| of(pod)).collect();
        (0..end).filter(|index| !self.0.contains(index) && !active.contains(index)).collect()
    }

    /// As text.
    pub fn text(&self) -> String {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for index in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *index => *last = *index,
                _ => ranges.push((*index, *index)),
            }
        }
        let text = |(first, last): &(usize, usize)| match last - first {
            0 => first.to_string(),
            // Kubernetes writes two as two.
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        };
        ranges.iter().map(text).collect::<Vec<_>>().join(",")
    }
}

fn of(pod: &Pod) -> Option<usize> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(Indexes::parse("1,3-5,7", 6).text(), "1,3-5");
        assert_eq!(Indexes::parse("0,1", 9).text(), "0,1");
        assert_eq!(Indexes::parse("", 9).text(), "");
        assert_eq!(Indexes::parse("x,2-y,0-99999999999", 3).text(), "0-2");
        assert_eq!(Indexes::parse("1,3", 5).pending(&[], 5), [0, 2, 4]);
    }

    proptest! {
        #[test]
        fn text_and_back(all in prop::collection::btree_set(0..40_usize, 0..30)) {
            let indexes = Indexes(all);
            prop_assert_eq!(Indexes::parse(&indexes.text(), 40), indexes);
        }
    }
}
