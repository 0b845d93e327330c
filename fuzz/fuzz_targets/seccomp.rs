//! A seccomp profile, from bytes to the filter: a program that the kernel takes, or an error of one line.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(profile) = rcrun::spec::parse_json("seccomp", bytes) else { return };
    match rcrun::seccomp::compile(&profile) {
        Ok(filter) => assert!((1..=4096).contains(&filter.program.len()), "{}", filter.program.len()),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.is_empty(), "{text:?}");
        }
    }
});
