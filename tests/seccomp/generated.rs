//! A thousand profiles made by chance from few names and values, so that rules meet.

use rcrun::seccomp::Arch;
use serde_json::{Value, json};

use crate::{Failure, compare};

const PROFILES: u64 = 1000;

// Lists of its own: their order is part of what a seed makes.
const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

/// On all architectures, on some, of many in one, old, new, and none.
const NAMES: [&str; 36] = [
    "read",
    "openat",
    "clone",
    "ioctl",
    "mmap",
    "personality",
    "socket",
    "bind",
    "accept",
    "accept4",
    "sendmsg",
    "recvmmsg",
    "send",
    "socketcall",
    "ipc",
    "semop",
    "semtimedop",
    "msgctl",
    "shmat",
    "shmget",
    "mmap2",
    "_llseek",
    "arch_prctl",
    "vm86",
    "chown32",
    "setns",
    "clone3",
    "openat2",
    "faccessat2",
    "execve",
    "prctl",
    "fcntl64",
    "mkdir",
    "time",
    "no_such_call",
    "utimensat",
];

/// Numbers that look like chance: the same for a seed on every machine (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    fn value(&mut self) -> u64 {
        const SMALL: [u64; 6] = [0, 1, 2, 5, 7, 0x80];
        const WORDS: [u64; 6] =
            [0xffff_ffff, 0x8000_0000, 0x1_0000_0000, 0x1_0000_0005, 0x2_0000_0007, 0xffff_ffff_0000_0000];
        match self.below(10) {
            0..6 => self.of(&SMALL),
            6..8 => self.of(&WORDS),
            8 => u64::MAX - self.below(2),
            _ => self.next(),
        }
    }

    fn arguments(&mut self) -> Vec<Value> {
        let count = self.of(&[0, 0, 1, 1, 1, 1, 2, 2, 3, 6]);
        let (mut left, mut arguments) = (vec![0, 1, 2, 3, 4, 5], Vec::new());
        for _ in 0..count {
            // Mostly the first ones, so that rules are about the same.
            let near = if self.one_in(3) { left.len() } else { left.len().min(2) };
            let at = self.below(near as u64) as usize;
            let index = if self.one_in(20) { left[at] } else { left.remove(at) };
            let mut argument = json!({"index": index, "value": self.value(), "op": self.of(&OPERATORS)});
            if argument["op"] == "SCMP_CMP_MASKED_EQ" || self.one_in(8) {
                argument["valueTwo"] = self.value().into();
            }
            arguments.push(argument);
            if left.is_empty() {
                break;
            }
        }
        arguments
    }

    fn action(&mut self, holder: &mut Value, field: &str, errno: &str, among: &[&str]) {
        let action = self.of(among);
        holder[field] = action.into();
        if matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") && !self.one_in(3) {
            // libseccomp takes no errno that the kernel does not have.
            let largest = if action == "SCMP_ACT_ERRNO" { 4094 } else { 0xffff };
            holder[errno] = self.of(&[0, 1, 2, 38, largest]).into();
        }
    }

    fn profile(&mut self) -> Value {
        let mut profile = json!({"syscalls": [], "listenerPath": "/s"});
        let defaults: Vec<&str> =
            ACTIONS.iter().copied().filter(|action| *action != "SCMP_ACT_NOTIFY").collect();
        self.action(&mut profile, "defaultAction", "defaultErrnoRet", &defaults);
        let architectures: Vec<&str> = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
            .into_iter()
            .filter(|_| !self.one_in(3))
            .collect();
        profile["architectures"] = architectures.into();
        // A few names, so that each has several rules.
        let names: Vec<&str> = (0..1 + self.below(5)).map(|_| self.of(&NAMES)).collect();
        let rules: Vec<Value> = (0..self.below(12)).map(|_| self.rule(&names)).collect();
        profile["syscalls"] = rules.into();
        profile
    }

    fn rule(&mut self, among: &[&str]) -> Value {
        let names: Vec<&str> = (0..1 + self.below(3)).map(|_| self.of(among)).collect();
        let mut rule = json!({"args": self.arguments()});
        // The call that hands over the listener cannot wait for who gets it.
        let may_wait = !names.contains(&"sendmsg");
        let actions: Vec<&str> =
            ACTIONS.iter().copied().filter(|action| may_wait || *action != "SCMP_ACT_NOTIFY").collect();
        self.action(&mut rule, "action", "errnoRet", &actions);
        rule["names"] = names.into();
        rule
    }
}

/// What comparisons came to.
#[derive(Default)]
struct Compared {
    calls: usize,
    rules: usize,
    refused: usize,
    mixed_up: usize,
}

/// Compares the profile of `seed` with its plain reading; and, less the rules with which libseccomp refuses
/// it or goes wrong, with libseccomp's filter.
fn compared(seed: u64, mut sum: Compared) -> Compared {
    let mut profile = Chance(seed).profile();
    let native = if seed.is_multiple_of(8) { Arch::Aarch64 } else { Arch::X86_64 };
    let mut with_libseccomp = false;
    loop {
        let rule = match compare(&profile, native, with_libseccomp) {
            Ok(_) if !with_libseccomp => {
                with_libseccomp = true;
                continue;
            }
            Ok(calls) => {
                sum.calls += calls;
                sum.rules += profile["syscalls"].as_array().expect("rules").len();
                return sum;
            }
            Err(Failure::Refused(rule)) => {
                sum.refused += 1;
                rule
            }
            Err(Failure::MixedUp(rule)) => {
                sum.mixed_up += 1;
                rule
            }
            Err(Failure::Differs(why)) => panic!("seed {seed}: {why}\n{profile:#}"),
        };
        profile["syscalls"].as_array_mut().expect("rules").remove(rule);
    }
}

#[test]
fn a_thousand_generated_profiles_are_libseccomps() {
    let halves = [0, 1].map(|half| {
        let seeds = (0..PROFILES).filter(move |seed| seed % 2 == half);
        std::thread::spawn(move || seeds.fold(Compared::default(), |sum, seed| compared(seed, sum)))
    });
    let [one, other] = halves.map(|half| half.join().unwrap_or_else(|why| std::panic::resume_unwind(why)));
    let (calls, rules) = (one.calls + other.calls, one.rules + other.rules);
    let (refused, mixed_up) = (one.refused + other.refused, one.mixed_up + other.mixed_up);
    eprintln!("{calls} calls of {rules} rules; left out: {refused} refused, {mixed_up} mixed up");
    assert!(calls > 1_000_000, "{calls}");
    assert!(refused + mixed_up < rules / 2, "{refused} and {mixed_up} of {rules}");
}
