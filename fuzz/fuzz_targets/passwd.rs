//! The container's /etc/passwd, whatever its bytes: a home directory is absolute and on one line.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, &str)| {
    let (uid, passwd) = input;
    for uid in [uid, 0, 1000] {
        if let Some(home) = rcrun::bundle::home_in(passwd, uid) {
            assert!(home.starts_with('/') && !home.contains(['\0', '\n']), "{home:?}");
        }
    }
});
