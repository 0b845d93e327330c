//! The order in which the rules of one call are tried where several hold and their actions differ.
//!
//! It is libseccomp's, under which profiles are written and tried out: no order of the profile, but one of
//! what is compared. Rules are the paths of a tree whose nodes each compare one word of one argument; nodes
//! beside each other are tried from the highest argument to the lowest, its high word before its low one;
//! equalities before upper bounds before lower bounds; then the larger value first, of upper bounds the
//! smaller one. Two rules that begin with the same comparison share its node. Only what is left equal by
//! all this is tried in the order of the profile.

use super::action::Action;
use super::rules::{Condition, Test};

/// A rule: what must hold together, and what is done then.
pub(super) type Rule = (Vec<Condition>, Action);

/// The comparison of one word.
#[derive(Clone, Copy)]
struct Word {
    /// The higher one is tried first: argument, then whether it is the high word.
    place: (u32, bool),
    /// The higher one is tried first: of equalities, upper bounds, lower bounds.
    class: u8,
    test: Test,
    mask: u32,
    value: u32,
}

impl Word {
    fn new(condition: &Condition, high: bool) -> Self {
        let half = |word: u64| if high { (word >> 32) as u32 } else { word as u32 };
        let (class, test) = match (condition.test, condition.negated) {
            (Test::Equal | Test::Masked, _) => (3, condition.test),
            (Test::Greater | Test::GreaterOrEqual, negated) => {
                // Whatever the bound, the high word is asked first whether it is greater.
                (if negated { 2 } else { 1 }, if high { Test::Greater } else { condition.test })
            }
        };
        let (mask, value) = (half(condition.mask), half(condition.value));
        Self { place: (condition.index, high), class, test, mask, value: value & mask }
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.place, self.test, self.mask, self.value) == (other.place, other.test, other.mask, other.value)
    }

    fn is_tried_before(&self, other: &Self) -> bool {
        let key = |word: &Self| (word.place, word.class);
        match key(self) == key(other) {
            true if self.class == 2 => self.value < other.value,
            true => self.value > other.value,
            false => key(self) > key(other),
        }
    }
}

/// What follows where a comparison has come out one way.
#[derive(Default)]
struct Branch {
    /// The rule that is complete here.
    complete: Option<usize>,
    /// Comparisons of those that are longer; empty once a rule is complete, since it covers later ones.
    longer: Vec<Node>,
}

struct Node {
    word: Word,
    holds: Branch,
    fails: Branch,
}

impl Branch {
    fn add(&mut self, path: &[(Word, bool)], rule: usize) {
        if self.complete.is_some() {
            return;
        }
        let Some(((word, holds), path)) = path.split_first() else {
            self.complete = Some(rule);
            return;
        };
        let at =
            self.longer.iter().position(|node| node.word.is_same(word) || word.is_tried_before(&node.word));
        let at = at.unwrap_or(self.longer.len());
        if !self.longer.get(at).is_some_and(|node| node.word.is_same(word)) {
            let node = Node { word: *word, holds: Branch::default(), fails: Branch::default() };
            self.longer.insert(at, node);
        }
        let node = &mut self.longer[at];
        if *holds { &mut node.holds } else { &mut node.fails }.add(path, rule);
    }

    fn list(&self, order: &mut Vec<usize>) {
        for node in &self.longer {
            node.holds.list(order);
            node.fails.list(order);
        }
        order.extend(self.complete);
    }
}

/// Puts rules, given in the order of the profile, into the order in which they are tried; those that
/// others cover are left out. `narrow`: arguments are their low words alone.
pub(super) fn sort(rules: Vec<Rule>, narrow: bool) -> Vec<Rule> {
    let mut root = Branch::default();
    for (index, (conditions, _)) in rules.iter().enumerate() {
        let mut path = Vec::with_capacity(2 * conditions.len());
        for condition in conditions {
            if !narrow {
                path.push((Word::new(condition, true), true));
            }
            path.push((Word::new(condition, false), !condition.negated));
        }
        root.add(&path, index);
    }
    let mut order = Vec::with_capacity(rules.len());
    root.list(&mut order);
    let mut rules: Vec<Option<Rule>> = rules.into_iter().map(Some).collect();
    order.into_iter().filter_map(|index| rules[index].take()).collect()
}
