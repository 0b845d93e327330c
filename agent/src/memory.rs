//! Memory of the whole process.

use std::time::Duration;

/// How often it is looked at.
const BETWEEN: Duration = Duration::from_secs(30);
/// What is resident in a busy agent, in bytes; there is nothing to win below that.
const USUAL: u64 = 32 << 20;

/// Has all threads allocate from one heap, mallopt(3) M_ARENA_MAX. glibc gives each busy thread a heap of its own, whose free
/// memory the others cannot use; the agent's threads are busy one after the other.
pub fn share_one_heap() {
    // SAFETY: mallopt takes two numbers; it is called before any thread is started. One that is refused changes nothing.
    #[expect(unsafe_code, reason = "nothing safe sets it, and the environment is for those who started us")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives back to the kernel, now and then, what a burst has left: glibc keeps what is free below what is in use.
pub async fn give_back() {
    let mut before = 0;
    loop {
        tokio::time::sleep(BETWEEN).await;
        let now = resident();
        // While it grows it is needed.
        if now > USUAL && now <= before {
            // SAFETY: malloc_trim takes the heap's own lock, and a number.
            #[expect(unsafe_code, reason = "nothing safe does it")]
            unsafe {
                libc::malloc_trim(0);
            }
        }
        before = now;
    }
}

/// Bytes of this process that are in memory; 0 where that is not known.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
