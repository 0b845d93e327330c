//! What happens during a pull, a push, a load or a save, told as it happens. Whoever listens decides what people see.

use std::io::{self, Read};
use std::sync::Arc;

use super::digest::Digest;
use super::manifest::Descriptor;

/// One thing that happened; from any thread.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A name led to the manifest of this digest.
    Resolved {
        /// The full name.
        name: &'a str,
        /// Of the manifest, or of the index.
        digest: &'a Digest,
    },
    /// How far a layer or another blob is.
    Blob(&'a Descriptor, Progress),
}

/// How far a blob is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its turn comes later.
    Waiting,
    /// So many of its bytes went over the network.
    Transferred(u64),
    /// The other side has it already, and nothing is transferred.
    Present,
    /// All of it was transferred, and unpacked if that is what becomes of it.
    Done,
}

/// Gets the events.
pub type Listener = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// Tells the listener how much of a blob has been read.
pub(super) struct Watched<R> {
    inner: R,
    blob: Descriptor,
    listener: Listener,
    done: u64,
}

impl<R> Watched<R> {
    pub(super) fn new(inner: R, blob: &Descriptor, listener: &Listener) -> Self {
        Self { inner, blob: blob.clone(), listener: Arc::clone(listener), done: 0 }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.done += read as u64;
        (self.listener)(Event::Blob(&self.blob, Progress::Transferred(self.done)));
        Ok(read)
    }
}
