//! The program that rcrun makes of the default rules: everything is denied but what every container may use.

use rcrun::sys::bpf::Instruction;

const fn load(to: u8, offset: i16) -> Instruction {
    Instruction::new(0x61, to, 1, offset, 0)
}

const fn copy(to: u8, from: u8) -> Instruction {
    Instruction::new(0xbc, to, from, 0, 0)
}

const fn or(to: u8, from: u8) -> Instruction {
    Instruction::new(0x4c, to, from, 0, 0)
}

const fn and(to: u8, constant: i32) -> Instruction {
    Instruction::new(0x54, to, 0, 0, constant)
}

const fn shift_left(to: u8, by: i32) -> Instruction {
    Instruction::new(0x64, to, 0, 0, by)
}

const fn shift_right(to: u8, by: i32) -> Instruction {
    Instruction::new(0x74, to, 0, 0, by)
}

const fn skip_unless_equal(register: u8, constant: i32, distance: i16) -> Instruction {
    Instruction::new(0x56, register, 0, distance, constant)
}

const fn result(value: i32) -> Instruction {
    Instruction::new(0xb7, 0, 0, 0, value)
}

const EXIT: Instruction = Instruction::new(0x95, 0, 0, 0, 0);

const fn device(major: i32, minor: i32) -> Instruction {
    skip_unless_equal(6, major << 20 | minor, 2)
}

/// Registers: 2 kind, 3 access, 4 major, 5 minor, 6 both numbers.
pub const INSTRUCTIONS: [Instruction; 43] = [
    load(2, 0),
    copy(3, 2),
    and(2, 0xffff),
    shift_right(3, 16),
    load(4, 4),
    load(5, 8),
    copy(6, 4),
    shift_left(6, 20),
    or(6, 5),
    // Character devices.
    skip_unless_equal(2, 2, 27),
    device(10, 200),
    result(1),
    EXIT,
    skip_unless_equal(4, 136, 2),
    result(1),
    EXIT,
    device(5, 2),
    result(1),
    EXIT,
    device(5, 0),
    result(1),
    EXIT,
    device(1, 9),
    result(1),
    EXIT,
    device(1, 8),
    result(1),
    EXIT,
    device(1, 7),
    result(1),
    EXIT,
    device(1, 5),
    result(1),
    EXIT,
    device(1, 3),
    result(1),
    EXIT,
    // mknod of anything, without reading or writing.
    and(3, 6),
    skip_unless_equal(3, 0, 2),
    result(1),
    EXIT,
    result(0),
    EXIT,
];
