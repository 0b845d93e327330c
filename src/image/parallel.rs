//! The same work on several things at once, until the first error.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Set when the work on one of several things has failed: the others need not be finished.
#[derive(Debug, Default)]
pub(super) struct Cancel(AtomicBool);

impl Cancel {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads until it is cancelled, which is an error.
pub(super) struct Cancellable<R> {
    /// Where the bytes come from.
    pub(super) inner: R,
    /// Asked before each read.
    pub(super) cancel: Arc<Cancel>,
}

impl<R: Read> Read for Cancellable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.cancel.is_set() {
            true => Err(io::Error::other("another transfer of the image has failed")),
            false => self.inner.read(buffer),
        }
    }
}

/// Does `work` on each of `items`, in their order, in as many as `threads` threads. The first error is the result: nothing is
/// begun after it, and what has been begun is told.
pub(super) fn for_each<T: Send, E: Send>(
    items: impl IntoIterator<Item = T>,
    threads: usize,
    work: impl Fn(T, &Arc<Cancel>) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let waiting: VecDeque<T> = items.into_iter().collect();
    let threads = threads.clamp(1, waiting.len().max(1));
    let (waiting, first_error, cancel): (_, _, Arc<Cancel>) =
        (Mutex::new(waiting), Mutex::new(None), Arc::default());
    let one_after_the_other = || {
        while let Some(item) = { lock(&waiting).pop_front() } {
            if cancel.is_set() {
                return;
            }
            if let Err(error) = work(item, &cancel) {
                // Kept before the others are told: what they say then is that they were cancelled.
                lock(&first_error).get_or_insert(error);
                cancel.set();
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(one_after_the_other);
        }
        one_after_the_other();
    });
    first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn everything_is_done_once() {
        for threads in [0, 1, 3, 100] {
            let sum = AtomicUsize::new(0);
            let add = |item: usize, _: &Arc<Cancel>| {
                sum.fetch_add(item, Ordering::Relaxed);
                Ok::<_, ()>(())
            };
            for_each(0..10, threads, add).unwrap();
            assert_eq!(sum.into_inner(), 45);
        }
    }

    #[test]
    fn the_first_error_counts_and_ends_what_is_being_read() {
        let failed = |item: usize, cancel: &Arc<Cancel>| match item {
            1 => Err("one".to_owned()),
            _ => {
                while !cancel.is_set() {
                    std::thread::yield_now();
                }
                let mut reader = Cancellable { inner: io::repeat(0), cancel: Arc::clone(cancel) };
                Err(reader.read(&mut [0]).unwrap_err().to_string())
            }
        };
        assert_eq!(for_each(0..1000, 2, failed).unwrap_err(), "one");
    }
}
