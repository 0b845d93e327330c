//! Memory of the whole process.

/// Has all threads allocate from one heap, mallopt(3) M_ARENA_MAX. glibc gives each busy thread a heap of its own, whose free
/// memory the others cannot use; the agent's threads are busy one after the other.
pub fn share_one_heap() {
    // SAFETY: mallopt takes two numbers; it is called before any thread is started. One that is refused changes nothing.
    #[expect(unsafe_code, reason = "nothing safe sets it, and the environment is for those who started us")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
