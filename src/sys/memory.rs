//! Giving memory back that a process does not need while it waits: a monitor waits nearly always.

use std::fs;

use rustix::event::PollFd;
use rustix::io::Errno;

/// Stack below the current frame that stays: the red zone, and the frames of the calls that give the rest back.
const KEPT_STACK: usize = 8192;
const PAGE: usize = 4096;

/// What of this process can be given back again and again.
#[derive(Debug, Default)]
pub struct Spare {
    /// Mappings of the program's own file without a page of our own in them.
    program: Vec<(usize, usize)>,
    /// Where the stack begins, at its lowest.
    stack: Option<usize>,
}

impl Spare {
    /// Reads what there is from /proc/self/smaps, proc_pid_smaps(5). For a process of one thread.
    pub fn find() -> Self {
        Self::parse(&fs::read_to_string("/proc/self/smaps").unwrap_or_default())
    }

    fn parse(smaps: &str) -> Self {
        let mut spare = Self::default();
        let mut current = None;
        for line in smaps.lines() {
            let mut words = line.split_ascii_whitespace();
            match (words.next(), words.next()) {
                (Some("Anonymous:"), Some("0")) => spare.program.extend(current.take()),
                (Some(range), Some(permissions)) if !range.ends_with(':') => {
                    let range = range_of(range);
                    let unchangeable = permissions.starts_with("r-") && line.contains('/');
                    current = range.filter(|_| unchangeable);
                    if line.ends_with("[stack]") {
                        spare.stack = range.map(|(begin, _)| begin);
                    }
                }
                _ => {}
            }
        }
        spare
    }

    /// Waits with poll(2) for one of `fds`, after giving back the heap that is free, the stack that was used once, and the pages of the program:
    /// they come back from the page cache, as they are executed again. Only what these last calls are made of is mapped meanwhile.
    #[inline(never)]
    pub fn wait(&self, fds: &mut [PollFd<'_>]) -> Result<usize, Errno> {
        let here = 0_u8;
        // SAFETY: malloc_trim(3) takes glibc's own locks and returns what nobody has allocated.
        unsafe { libc::malloc_trim(0) };
        let top = (&raw const here as usize & !(PAGE - 1)).saturating_sub(KEPT_STACK);
        if let Some(low) = self.stack.filter(|low| *low < top) {
            // SAFETY: the stack grows down; nothing that is alive is below this frame and the frames of these calls.
            unsafe { libc::syscall(libc::SYS_madvise, low, top - low, libc::MADV_DONTNEED) };
        }
        let (fds, count) = (fds.as_mut_ptr(), fds.len());
        for (begin, end) in &self.program {
            // SAFETY: a private mapping of a file, not writable and without a page of its own, has the same contents afterwards.
            unsafe { libc::syscall(libc::SYS_madvise, *begin, end - begin, libc::MADV_DONTNEED) };
        }
        let (for_ever, no_mask) = (std::ptr::null::<libc::timespec>(), std::ptr::null::<libc::sigset_t>());
        // SAFETY: a PollFd is a pollfd, and these are writable for the whole call.
        let ready = unsafe { libc::syscall(libc::SYS_ppoll, fds, count, for_ever, no_mask, 0_usize) };
        super::checked(ready).map(|ready| ready as usize)
    }
}

fn range_of(text: &str) -> Option<(usize, usize)> {
    let (begin, end) = text.split_once('-')?;
    Some((usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use rustix::event::PollFlags;

    use super::*;

    #[test]
    fn only_unchanged_parts_of_files_and_the_stack_are_spare() {
        let smaps = "00400000-00401000 r-xp 00000000 08:01 1 /a\nAnonymous:   0 kB\n\
            00500000-00501000 r--p 00000000 08:01 1 /a\nRss: 4 kB\nAnonymous:   4 kB\n\
            00600000-00601000 rw-p 00000000 08:01 1 /a\nAnonymous:   0 kB\n\
            00700000-00701000 r--p 00000000 00:00 0 [vvar]\nAnonymous:   0 kB\n\
            00800000-00802000 rw-p 00000000 00:00 0 [stack]\nAnonymous:   8 kB\n";
        let spare = Spare::parse(smaps);
        assert_eq!(spare.program, [(0x400000, 0x401000)]);
        assert_eq!(spare.stack, Some(0x800000));
    }

    #[test]
    fn the_program_goes_on() {
        // Of this thread's stack the kernel says nothing.
        let spare = Spare { stack: None, ..Spare::find() };
        for _ in 0..3 {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            rustix::io::write(&writer, b"x").unwrap();
            let mut fds = [PollFd::new(&reader, PollFlags::IN), PollFd::new(&writer, PollFlags::empty())];
            assert_eq!(spare.wait(&mut fds), Ok(1));
            assert_eq!(fds[0].revents(), PollFlags::IN);
        }
    }
}
