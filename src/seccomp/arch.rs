//! Architectures of system calls: which of them this machine's kernel can be called by.

use oci_spec::runtime::Arch as Named;

/// An architecture whose system calls have names and numbers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
}

/// The bit that tells x32's numbers from those of x86_64.
pub(super) const X32_BIT: u32 = 0x4000_0000;

impl Arch {
    /// The architecture that rcrun was built for; None where it has no table of system calls.
    pub fn native() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// What the kernel reports, AUDIT_ARCH_* of linux/audit.h: x86_64 and x32 share theirs.
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// Are arguments compared by their low 32 bits alone? As libseccomp has it, for x32 too.
    pub(super) fn is_32_bit(self) -> bool {
        matches!(self, Self::X86 | Self::X32)
    }

    /// The column of the table of numbers.
    pub(super) fn column(self) -> usize {
        self as usize
    }

    /// What is part of every number of this architecture.
    pub(super) fn number_bit(self) -> u32 {
        if self == Self::X32 { X32_BIT } else { 0 }
    }

    /// The architecture that a profile names, if a process on a machine of `native` can have it. A call
    /// of any other never comes, so that whether a filter knows it makes no difference.
    pub(super) fn of(named: Named, native: Self) -> Option<Self> {
        match (named, native) {
            (Named::ScmpArchNative, _) => Some(native),
            (Named::ScmpArchX86_64, Self::X86_64) => Some(Self::X86_64),
            (Named::ScmpArchX86, Self::X86_64) => Some(Self::X86),
            (Named::ScmpArchX32, Self::X86_64) => Some(Self::X32),
            (Named::ScmpArchAarch64, Self::Aarch64) => Some(Self::Aarch64),
            _ => None,
        }
    }
}
