//! bpf(2) for one purpose: a device program of a cgroup, loaded and attached.
//!
//! In: finished instructions and the cgroup's directory. Out: nothing that outlives the call; the
//! kernel keeps an attached program for as long as its cgroup exists.

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::checked;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// How often BPF_PROG_LOAD is tried again when a signal has interrupted the verifier (EAGAIN).
const LOAD_ATTEMPTS: u32 = 30;

/// One instruction of eBPF, `struct bpf_insn` of linux/bpf.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    registers: u8,
    /// Jump distance in instructions, or distance of a load in bytes.
    pub offset: i16,
    /// Constant operand.
    pub constant: i32,
}

impl Instruction {
    /// An instruction of these parts; registers are numbers from 0 to 10.
    pub const fn new(code: u8, destination: u8, source: u8, offset: i16, constant: i32) -> Self {
        // The registers are two bit-fields of C in one byte: their order follows the byte order.
        let registers = if cfg!(target_endian = "little") {
            destination | source << 4
        } else {
            destination << 4 | source
        };
        Self { code, registers, offset, constant }
    }

    /// The operation code.
    pub const fn code(self) -> u8 {
        self.code
    }

    /// The number of the destination register.
    pub const fn destination(self) -> u8 {
        if cfg!(target_endian = "little") { self.registers & 0xf } else { self.registers >> 4 }
    }

    /// The number of the source register.
    pub const fn source(self) -> u8 {
        if cfg!(target_endian = "little") { self.registers >> 4 } else { self.registers & 0xf }
    }
}

/// The members of `union bpf_attr` for BPF_PROG_LOAD, as far as the first kernels with device programs had them.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The members of `union bpf_attr` for BPF_PROG_ATTACH.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE: the kernel verifies and compiles it.
///
/// Needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, in the initial user namespace.
pub fn load_device_program(instructions: &[Instruction]) -> Result<OwnedFd, Errno> {
    let attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: instructions.len().try_into().map_err(|_| Errno::TOOBIG)?,
        instructions: instructions.as_ptr().expose_provenance() as u64,
        license: c"Apache".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    let mut attempt = 1;
    loop {
        // SAFETY: `attributes` is as large as said and lives through the call; its two pointers are
        // to `instructions`, of instruction_count elements of the layout of struct bpf_insn, and to a
        // string that ends in NUL. The kernel only reads from all three.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<LoadAttributes>())
        };
        match checked(result) {
            // SAFETY: a successful BPF_PROG_LOAD returns a new descriptor (close-on-exec), which
            // nobody else owns.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
            Err(Errno::AGAIN) if attempt < LOAD_ATTEMPTS => attempt += 1,
            Err(errno) => return Err(errno),
        }
    }
}

/// Attaches a device program to a cgroup, beside those that it has: an access needs the consent of all.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let attributes = AttachAttributes {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attributes` is as large as said and lives through the call, which only reads it; both
    // descriptors are borrowed and so open.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attributes, size_of::<AttachAttributes>())
    };
    checked(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_has_the_kernels_layout() {
        assert_eq!(size_of::<Instruction>(), 8);
        let instruction = Instruction::new(0x61, 2, 1, 4, -1);
        assert_eq!((instruction.destination(), instruction.source()), (2, 1));
        #[cfg(target_endian = "little")]
        assert_eq!(instruction.registers, 0x12);
    }

    #[test]
    fn a_program_that_the_verifier_rejects_is_an_error() {
        // No exit instruction: invalid for everyone, privileged or not.
        assert!(load_device_program(&[Instruction::new(0xb7, 0, 0, 0, 1)]).is_err());
    }
}
