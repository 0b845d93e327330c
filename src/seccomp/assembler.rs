//! Classic BPF, written from its end to its beginning: where a jump leads is known when it is written.

use std::collections::HashMap;

use super::action::Action;
use crate::sys::seccomp::Instruction;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// How the accumulator is compared with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// A place in the program: the number of instructions from it to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// The longest distance of a conditional jump that is used: room for a jump to another jump.
const REACH: usize = 250;

/// A program in the making.
#[derive(Default)]
pub(super) struct Assembler {
    /// The last instruction first.
    reversed: Vec<Instruction>,
    returns: HashMap<Action, Label>,
}

impl Assembler {
    /// The program.
    pub fn finish(self) -> Vec<Instruction> {
        let mut program = self.reversed;
        program.reverse();
        program
    }

    /// `return action`, one that is near if there is one.
    pub fn returns(&mut self, action: Action) -> Label {
        if let Some(label) = self.returns.get(&action).copied().filter(|label| self.distance(*label) < REACH)
        {
            return label;
        }
        let label = self.push(RETURN, 0, 0, action.0);
        self.returns.insert(action, label);
        label
    }

    /// Loads the word at `offset` of struct seccomp_data, then goes on at `next`.
    pub fn load(&mut self, offset: u32, next: Label) -> Label {
        self.follow(next);
        self.push(LOAD, 0, 0, offset)
    }

    /// Keeps the bits of `mask`, then goes on at `next`.
    pub fn and(&mut self, mask: u32, next: Label) -> Label {
        self.follow(next);
        self.push(AND, 0, 0, mask)
    }

    /// Goes to `yes` or `no`.
    pub fn compare(&mut self, how: Compare, constant: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        // Each may move the other by one instruction, for which REACH leaves room.
        let (yes, no) = (self.near(yes), self.near(no));
        let (yes, no) = (self.distance(yes), self.distance(no));
        self.push(how as u16, yes as u8, no as u8, constant)
    }

    /// A label that leads to `label` and that a conditional jump reaches.
    fn near(&mut self, label: Label) -> Label {
        match self.distance(label) {
            near if near < REACH => label,
            far => self.push(JUMP, 0, 0, far as u32),
        }
    }

    /// Makes `next` what the following instruction falls through to.
    fn follow(&mut self, next: Label) {
        let distance = self.distance(next);
        if distance > 0 {
            self.push(JUMP, 0, 0, distance as u32);
        }
    }

    /// Instructions between the one that is written next and `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0
    }

    fn push(&mut self, code: u16, yes: u8, no: u8, constant: u32) -> Label {
        self.reversed.push(Instruction { code, jump_true: yes, jump_false: no, constant });
        Label(self.reversed.len())
    }
}
