//! What a bystander notices while containers start: how long the mount table gets, and how long reading it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What was noticed.
#[derive(Clone, Copy, Default)]
pub struct Noticed {
    /// Most lines of /proc/self/mountinfo.
    pub mounts: usize,
    /// Longest that reading it took: it waits for whoever changes the mounts of any namespace.
    pub stall: Duration,
}

/// A thread that looks every 5 ms.
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Noticed>,
}

impl Probe {
    /// Starts to look.
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut noticed = Noticed::default();
            while !seen.load(Ordering::Relaxed) {
                let begin = Instant::now();
                let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
                noticed.stall = noticed.stall.max(begin.elapsed());
                noticed.mounts = noticed.mounts.max(text.iter().filter(|&&byte| byte == b'\n').count());
                std::thread::sleep(Duration::from_millis(5));
            }
            noticed
        });
        Self { stop, thread }
    }

    /// Stops.
    pub fn stop(self) -> Noticed {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
