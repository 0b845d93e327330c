//! Giving memory back that only a program's start has needed.

use std::fs;

use rustix::mm::{Advice, madvise};

/// Gives back the heap that is free, and unmaps the pages of the program's own file that it has not changed: they come back from the page
/// cache, one by one, when they are executed again.
pub fn give_back() {
    // SAFETY: malloc_trim(3) takes glibc's own locks and returns what nobody has allocated.
    unsafe { libc::malloc_trim(0) };
    let Ok(maps) = fs::read_to_string("/proc/self/smaps") else { return };
    for (begin, end) in unchanged(&maps) {
        // SAFETY: a private mapping of a file without a page of our own in it has the same contents afterwards.
        let _ = unsafe { madvise(begin as *mut _, end - begin, Advice::LinuxDontNeed) };
    }
}

/// The mappings of a file, not writable, without any anonymous page: proc_pid_smaps(5).
fn unchanged(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("Anonymous:"), Some("0")) => found.extend(current.take()),
            (Some(range), Some(permissions)) if !range.ends_with(':') => {
                current = range_of(range).filter(|_| {
                    permissions.contains("r") && !permissions.contains('w') && line.contains('/')
                });
            }
            _ => {}
        }
    }
    found
}

fn range_of(text: &str) -> Option<(usize, usize)> {
    let (begin, end) = text.split_once('-')?;
    Some((usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_parts_of_files_are_given_back() {
        let smaps = "00400000-00401000 r-xp 00000000 08:01 1 /a\nAnonymous:   0 kB\n\
            00500000-00501000 r--p 00000000 08:01 1 /a\nRss: 4 kB\nAnonymous:   4 kB\n\
            00600000-00601000 rw-p 00000000 08:01 1 /a\nAnonymous:   0 kB\n\
            00700000-00701000 r--p 00000000 00:00 0 [vvar]\nAnonymous:   0 kB\n";
        assert_eq!(unchanged(smaps), [(0x400000, 0x401000)]);
    }

    #[test]
    fn the_program_goes_on() {
        give_back();
        assert!(!fs::read_to_string("/proc/self/maps").unwrap().is_empty());
    }
}
