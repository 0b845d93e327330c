//! What the kernel does with a filter, for tests: classic BPF on one call's seccomp_data.

/// A call as a filter sees it.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: u32,
    pub arch: u32,
    pub arguments: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            8 | 12 => 0,
            _ => {
                let word = (offset - 16) / 4;
                (self.arguments[word as usize / 2] >> (32 * (word % 2))) as u32
            }
        }
    }
}

/// Runs a program of (code, jt, jf, k); the result is what it returns.
pub fn run(program: &[(u16, u8, u8, u32)], call: &Call) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let (code, yes, no, constant) = program[at];
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { yes } else { no });
        match code {
            0x20 => accumulator = call.word(constant),
            0x54 => accumulator &= constant,
            0x05 => at += constant as usize,
            0x15 => jump(accumulator == constant),
            0x25 => jump(accumulator > constant),
            0x35 => jump(accumulator >= constant),
            0x45 => jump(accumulator & constant != 0),
            0x06 => return constant,
            _ => panic!("instruction {code:#x}"),
        }
    }
}
