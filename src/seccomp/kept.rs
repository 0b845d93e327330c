//! A filter as it is kept between runs: bytes in, bytes out; where they lie is `src/state/cache.rs`'s matter.
//!
//! A file is its key and its body. The key is everything that the body was made from: the version of this
//! format, the machine, which rcrun compiled, the whole profile. It is compared whole, so that the file's
//! name, a hash of it, decides about nothing. Only filters of good profiles are kept: a bad one is compiled,
//! and refused, anew each time. The checksum is against a disk that lost half of a file; who may write the
//! file may do worse to rcrun's user.

use std::hash::Hasher;

use oci_spec::runtime::LinuxSeccomp;

use super::{Arch, Filter, MOST, listener};
use crate::sys::seccomp::{FLAG_NEW_LISTENER, Instruction};

/// What such a file begins with; another layout has another number.
const FORMAT: &[u8; 16] = b"rcrun seccomp 1\n";
/// Bytes of a checksum.
const SUM: usize = size_of::<u64>();
/// Bytes of flags.
const FLAGS: usize = size_of::<u32>();
/// Bytes of an instruction.
const INSTRUCTION: usize = 8;

/// What a filter is made from.
#[derive(Debug, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// The key of a profile compiled for this machine by the rcrun of this identity.
    pub fn new(seccomp: &LinuxSeccomp, compiler: &[u64]) -> Option<Self> {
        Self::for_machine(seccomp, compiler, Arch::native()?)
    }

    fn for_machine(seccomp: &LinuxSeccomp, compiler: &[u64], native: Arch) -> Option<Self> {
        let profile = serde_json::to_vec(seccomp).ok()?;
        let mut key = Vec::with_capacity(profile.len() + 80);
        key.extend(FORMAT);
        key.extend(native.audit().to_le_bytes());
        key.extend((compiler.len() as u64).to_le_bytes());
        key.extend(compiler.iter().flat_map(|number| number.to_le_bytes()));
        // No file goes on like another one's key.
        key.extend((profile.len() as u64).to_le_bytes());
        key.extend(profile);
        Some(Self(key))
    }

    /// The name of its file.
    pub fn name(&self) -> String {
        format!("{:016x}", hash(&self.0))
    }

    /// The file that keeps its filter.
    pub fn file(mut self, filter: &Filter) -> Vec<u8> {
        let mut body = Vec::with_capacity(FLAGS + INSTRUCTION * filter.program.len());
        body.extend(filter.flags.to_le_bytes());
        for instruction in &filter.program {
            body.extend(instruction.code.to_le_bytes());
            body.extend([instruction.jump_true, instruction.jump_false]);
            body.extend(instruction.constant.to_le_bytes());
        }
        self.0.extend(hash(&body).to_le_bytes());
        self.0.extend(body);
        self.0
    }

    /// The filter that a file keeps, if it is this key's and whole.
    pub fn filter(&self, file: &[u8], seccomp: &LinuxSeccomp) -> Option<Filter> {
        let (sum, body) = file.strip_prefix(self.0.as_slice())?.split_first_chunk::<SUM>()?;
        if u64::from_le_bytes(*sum) != hash(body) {
            return None;
        }
        let (flags, program) = body.split_first_chunk::<FLAGS>()?;
        let flags = u32::from_le_bytes(*flags);
        let (instructions, []) = program.as_chunks::<INSTRUCTION>() else { return None };
        if instructions.is_empty() || instructions.len() > MOST {
            return None;
        }
        let instruction =
            |&[c0, c1, jump_true, jump_false, k0, k1, k2, k3]: &[u8; INSTRUCTION]| Instruction {
                code: u16::from_le_bytes([c0, c1]),
                jump_true,
                jump_false,
                constant: u32::from_le_bytes([k0, k1, k2, k3]),
            };
        let listener = listener(seccomp, flags & FLAG_NEW_LISTENER != 0).ok()?;
        Some(Filter { program: instructions.iter().map(instruction).collect(), flags, listener })
    }
}

/// Not to be relied on against anybody. Another version of the standard library may compute another number;
/// that is another rcrun then, with keys of its own.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::compile_for;
    use super::*;

    const COMPILER: [u64; 2] = [1, 2];

    fn profile(json: Value) -> LinuxSeccomp {
        serde_json::from_value(json).unwrap()
    }

    fn plain() -> Value {
        let argument = json!({"index": 1, "value": 448, "op": "SCMP_CMP_EQ"});
        let rule = json!({"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": [argument]});
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    }

    fn key(seccomp: &LinuxSeccomp) -> Key {
        Key::for_machine(seccomp, &COMPILER, Arch::X86_64).unwrap()
    }

    fn filter_of(seccomp: &LinuxSeccomp) -> Filter {
        compile_for(seccomp, Arch::X86_64).unwrap()
    }

    #[test]
    fn a_filter_comes_back_as_it_was() {
        let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
        let notifying = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent", "listenerMetadata": "words",
            "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [rule],
        });
        // A path that nobody listens for, as no rule says so.
        let mut silent = plain();
        silent["listenerPath"] = json!("/agent");
        for seccomp in [plain(), notifying, silent].map(profile) {
            let filter = filter_of(&seccomp);
            let file = key(&seccomp).file(&filter);
            assert_eq!(key(&seccomp).filter(&file, &seccomp), Some(filter));
        }
    }

    #[test]
    fn a_filter_of_anything_else_is_not_taken() {
        let seccomp = profile(plain());
        let file = key(&seccomp).file(&filter_of(&seccomp));
        let key_for = |compiler: &[u64], arch| Key::for_machine(&seccomp, compiler, arch).unwrap();
        let others =
            [key_for(&[1, 3], Arch::X86_64), key_for(&[1], Arch::X86_64), key_for(&COMPILER, Arch::Aarch64)];
        for other in others {
            assert_eq!(other.filter(&file, &seccomp), None, "{other:?}");
            assert_ne!(other.name(), key(&seccomp).name());
        }
        for (field, value) in [
            ("/defaultAction", json!("SCMP_ACT_LOG")),
            ("/flags", json!([])),
            ("/architectures", json!(["SCMP_ARCH_X86"])),
            ("/listenerPath", json!("/agent")),
            ("/syscalls/0/names/0", json!("mkdir")),
            ("/syscalls/0/action", json!("SCMP_ACT_LOG")),
            ("/syscalls/0/errnoRet", json!(6)),
            ("/syscalls/0/args/0/index", json!(2)),
            ("/syscalls/0/args/0/value", json!(449)),
            ("/syscalls/0/args/0/valueTwo", json!(0)),
            ("/syscalls/0/args/0/op", json!("SCMP_CMP_NE")),
        ] {
            let mut changed = plain();
            match changed.pointer_mut(field) {
                Some(place) => *place = value,
                None => {
                    let (object, name) = field.rsplit_once('/').unwrap();
                    changed.pointer_mut(object).unwrap()[name] = value;
                }
            }
            let changed = profile(changed);
            assert_ne!(changed, seccomp, "{field}");
            assert_eq!(key(&changed).filter(&file, &changed), None, "{field}");
        }
    }

    #[test]
    fn what_is_not_whole_is_not_taken() {
        let seccomp = profile(plain());
        let filter = filter_of(&seccomp);
        let file = key(&seccomp).file(&filter);
        let taken = |file: &[u8]| key(&seccomp).filter(file, &seccomp);
        for length in 0..file.len() {
            assert_eq!(taken(&file[..length]), None, "{length}");
        }
        for position in 0..file.len() {
            let mut file = file.clone();
            file[position] ^= 1;
            assert_eq!(taken(&file), None, "{position}");
        }
        assert_eq!(taken(&[file.as_slice(), &[0; INSTRUCTION]].concat()), None);
    }

    #[test]
    fn no_program_is_empty_or_larger_than_the_kernel_takes() {
        let seccomp = profile(plain());
        let of_length = |length| {
            let instruction = Instruction { code: 6, jump_true: 0, jump_false: 0, constant: 0 };
            let filter = Filter { program: vec![instruction; length], flags: 0, listener: None };
            let file = key(&seccomp).file(&filter);
            key(&seccomp).filter(&file, &seccomp).map(|filter| filter.program.len())
        };
        assert_eq!([0, 1, MOST, MOST + 1].map(of_length), [None, Some(1), Some(MOST), None]);
    }
}
