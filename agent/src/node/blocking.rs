//! Work that blocks: most of it short, on the threads that there are for it; what may wait for a server on one of its own, and not
//! longer than it may.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// Longer than a mount of nfs may take.
const LONGEST: Duration = Duration::from_secs(45);

/// What still waits, by what it is for.
static WAITING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// On one of the few threads.
pub(super) async fn short<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// On a thread of its own, which is left alone when it takes too long: nothing ends a thread that the kernel holds. There is one at
/// most `of` the same thing. `who` may have to be waited for. What was done when nobody waited any more is for `late`.
pub(super) async fn patient<T: Send + 'static>(
    of: String,
    who: &str,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
    late: impl FnOnce() + Send + 'static,
) -> Result<T, String> {
    within(LONGEST, of, who, work, late).await
}

async fn within<T: Send + 'static>(
    limit: Duration,
    of: String,
    who: &str,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
    late: impl FnOnce() + Send + 'static,
) -> Result<T, String> {
    if !waiting(|waiting| waiting.insert(of.clone())) {
        return Err(format!("{who}: the kernel still waits for the server, from the last time"));
    }
    let (tell, told) = oneshot::channel();
    let entry = Entry(of);
    let thread = std::thread::Builder::new().name("patient".into());
    let spawned = thread.spawn(move || {
        let _entry = entry;
        if tell.send(work()).is_err() {
            late();
        }
    });
    spawned.map_err(|error| format!("cannot start a thread: {error}"))?;
    match tokio::time::timeout(limit, told).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err("it panicked".into()),
        Err(_) => Err(format!("{who}: the server did not answer within {} s", limit.as_secs())),
    }
}

/// One that waits, until it is dropped.
struct Entry(String);

impl Drop for Entry {
    fn drop(&mut self) {
        waiting(|waiting| waiting.remove(&self.0));
    }
}

fn waiting<T>(of: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
    of(&mut WAITING.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_waits_for_ever_is_left_alone_and_not_begun_twice() {
        let (let_go, held) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let (nothing, short) = (|| (), Duration::from_millis(1));
        let work = move || held.recv().map_err(|error| error.to_string());
        let late = move || tell.send("late").expect("a listener");
        let error = within(short, "pod".into(), "nfs", work, late).await.unwrap_err();
        assert_eq!(error, "nfs: the server did not answer within 0 s");
        let again = within(short, "pod".into(), "nfs", || Ok(()), nothing).await.unwrap_err();
        assert!(again.contains("still waits"), "{again}");
        assert_eq!(patient("another".into(), "nfs", || Ok(1), nothing).await, Ok(1));
        let_go.send(()).expect("a thread");
        assert_eq!(told.recv(), Ok("late"));
        while patient("pod".into(), "nfs", || Ok(()), nothing).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
