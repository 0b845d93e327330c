//! How host names are looked up: glibc's name service switch, nsswitch.conf(5).

use std::sync::Once;

unsafe extern "C" {
    /// glibc's, declared in <nss.h>: nsswitch.conf's line for one database, from now on, in this process.
    fn __nss_configure_lookup(database: *const libc::c_char, services: *const libc::c_char) -> libc::c_int;
}

/// Restricts host names to /etc/hosts and DNS, which are built into glibc. Any other service of nsswitch.conf would
/// be loaded from a shared library, which a static binary must not do. To be called before the first lookup.
pub fn files_and_dns_only() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: both strings are static and end in NUL; glibc takes its own lock. It fails for unknown databases
        // only, and "hosts" is known.
        unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
    });
}
