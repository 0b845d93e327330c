//! A profile as data: for each architecture each call's number with what becomes of it.

use std::collections::{BTreeMap, HashSet};

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator as Operator, LinuxSyscall};

use super::action::Action;
use super::arch::Arch;
use super::order::{self, Rule};
use super::{MOST, multiplex, syscalls, too_large};
use crate::spec::SpecError;

/// One comparison of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Condition {
    /// Which argument, 0 to 5.
    pub index: u32,
    /// How. LT, LE and NE are the negations of GE, GT and EQ.
    pub test: Test,
    /// Does it hold where the test does not?
    pub negated: bool,
    /// Bits of the argument that count.
    pub mask: u64,
    /// What it is compared with.
    pub value: u64,
}

/// The comparisons that BPF has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Test {
    Equal,
    /// Some bits only; with all bits it is not the same test as Equal to the order of rules.
    Masked,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    pub fn equal(index: u32, value: u64) -> Self {
        Self { index, test: Test::Equal, negated: false, mask: u64::MAX, value }
    }

    fn of(argument: &LinuxSeccompArg) -> Self {
        let value = argument.value();
        let (test, negated, mask, value) = match argument.op() {
            Operator::ScmpCmpNe => (Test::Equal, true, u64::MAX, value),
            Operator::ScmpCmpLt => (Test::GreaterOrEqual, true, u64::MAX, value),
            Operator::ScmpCmpLe => (Test::Greater, true, u64::MAX, value),
            Operator::ScmpCmpEq => (Test::Equal, false, u64::MAX, value),
            Operator::ScmpCmpGe => (Test::GreaterOrEqual, false, u64::MAX, value),
            Operator::ScmpCmpGt => (Test::Greater, false, u64::MAX, value),
            // The first value is the mask; bits outside of it count on neither side.
            Operator::ScmpCmpMaskedEq => {
                (Test::Masked, false, value, argument.value_two().unwrap_or(0) & value)
            }
        };
        Self { index: argument.index() as u32, test, negated, mask, value }
    }
}

/// What becomes of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Verdict {
    /// Rules, tried in order: the action of the first whose conditions all hold.
    pub rules: Vec<Rule>,
    /// Where none does; None for the profile's default.
    pub otherwise: Option<Action>,
}

impl Verdict {
    /// A rule without conditions covers those with any, and the first of its kind stays. `narrow`:
    /// arguments are their low words alone.
    fn add(&mut self, conditions: &[Condition], action: Action, narrow: bool) {
        if self.otherwise.is_some() {
            return;
        }
        let counts = |condition: &Condition| match narrow {
            true => condition.mask as u32 != 0,
            false => condition.mask != 0,
        };
        let conditions: Vec<_> = conditions.iter().copied().filter(counts).collect();
        if conditions.is_empty() {
            self.rules.clear();
            self.otherwise = Some(action);
        } else {
            self.rules.push((conditions, action));
        }
    }
}

/// The calls of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub arch: Arch,
    pub calls: BTreeMap<u32, Verdict>,
    /// The largest number that the profile names, whatever it says of it.
    pub newest: Option<u32>,
}

/// A checked profile for machines of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Profile {
    pub default: Action,
    pub tables: Vec<Table>,
    /// Do calls that are newer than the profile get ENOSYS?
    pub enosys: bool,
    pub notifies: bool,
}

impl Profile {
    pub fn new(seccomp: &LinuxSeccomp, native: Arch) -> Result<Self, SpecError> {
        let default = Action::of(
            seccomp.default_action(),
            seccomp.default_errno_ret(),
            "linux.seccomp",
            "defaultErrnoRet",
        )?;
        if default == Action::NOTIFY {
            let reason =
                "SCMP_ACT_NOTIFY cannot be the default: the calls that hand over the listener would wait";
            return Err(SpecError::invalid("linux.seccomp.defaultAction", reason));
        }
        let mut arches = vec![native];
        arches.extend(seccomp.architectures().iter().flatten().filter_map(|named| Arch::of(*named, native)));
        arches.sort_unstable();
        arches.dedup();
        let mut profile = Self {
            default,
            tables: arches
                .into_iter()
                .map(|arch| Table { arch, calls: BTreeMap::new(), newest: None })
                .collect(),
            enosys: !super::action::lets_through(seccomp.default_action()),
            notifies: false,
        };
        for (index, call) in seccomp.syscalls().iter().flatten().enumerate() {
            profile.add(index, call)?;
        }
        for table in &mut profile.tables {
            let narrow = table.arch.is_32_bit();
            for verdict in table.calls.values_mut().filter(|verdict| !verdict.rules.is_empty()) {
                let mut rules = std::mem::take(&mut verdict.rules);
                let mut seen = HashSet::new();
                rules.retain(|(conditions, _)| seen.insert(conditions.clone()));
                // Each takes an instruction at least, and more than the kernel takes take long to sort.
                if rules.len() > MOST {
                    return Err(too_large(rules.len()));
                }
                verdict.rules = order::sort(rules, narrow);
            }
        }
        Ok(profile)
    }

    fn add(&mut self, index: usize, call: &LinuxSyscall) -> Result<(), SpecError> {
        let path = format!("linux.seccomp.syscalls[{index}]");
        let action = Action::of(call.action(), call.errno_ret(), &path, "errnoRet")?;
        let rules = rules(call, &path)?;
        if action == Action::NOTIFY && action != self.default {
            if call.names().iter().any(|name| name == "sendmsg") {
                let reason = "SCMP_ACT_NOTIFY cannot be for sendmsg, which hands over the listener";
                return Err(SpecError::invalid(format!("{path}.names"), reason));
            }
            self.notifies |= !call.names().is_empty();
        }
        let default = self.default;
        for name in call.names() {
            if name.is_empty() {
                return Err(SpecError::invalid(format!("{path}.names"), "an empty name"));
            }
            let (numbers, multiplexed) = (syscalls::of(name), multiplex::x86(name));
            for table in &mut self.tables {
                let narrow = table.arch.is_32_bit();
                let direct = numbers.and_then(|numbers| syscalls::number(numbers, table.arch));
                let multiplexed = multiplexed.filter(|_| table.arch == Arch::X86);
                table.newest = table.newest.max(direct).max(multiplexed.map(|(number, _)| number));
                // As libseccomp has it: a rule with the default's action says nothing.
                if action == default {
                    continue;
                }
                if let Some(number) = direct {
                    let verdict = table.calls.entry(number).or_default();
                    rules.iter().for_each(|conditions| verdict.add(conditions, action, narrow));
                }
                if let Some((number, which)) = multiplexed {
                    let verdict = table.calls.entry(number).or_default();
                    rules.iter().for_each(|conditions| {
                        verdict.add(&multiplex::conditions(which, conditions), action, narrow)
                    });
                }
            }
        }
        Ok(())
    }
}

/// The conditions of a rule. Several on one argument are alternatives, as runc has them: each is then a
/// rule of its own.
fn rules(call: &LinuxSyscall, path: &str) -> Result<Vec<Vec<Condition>>, SpecError> {
    let arguments = call.args().as_deref().unwrap_or_default();
    if let Some(at) = arguments.iter().position(|argument| argument.index() > 5) {
        let reason = format!("{} is no argument: a system call has six, 0 to 5", arguments[at].index());
        return Err(SpecError::invalid(format!("{path}.args[{at}].index"), reason));
    }
    let mut conditions: Vec<Condition> = arguments.iter().map(Condition::of).collect();
    conditions.sort_by_key(|condition| condition.index);
    let repeated = conditions.windows(2).any(|pair| pair[0].index == pair[1].index);
    Ok(match repeated {
        true => arguments.iter().map(|argument| vec![Condition::of(argument)]).collect(),
        false => vec![conditions],
    })
}
