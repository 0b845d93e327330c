//! Chunks of bytes from one thread to the next, out of a fixed number of buffers that go back to their pool.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::error::UnpackError;

/// Bytes that several stages read; when the last has dropped them their buffer is free again.
#[derive(Clone)]
pub struct Chunk(Arc<Filled>);

struct Filled {
    buffer: Vec<u8>,
    length: usize,
    home: Sender<Vec<u8>>,
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.buffer.get(..self.0.length).unwrap_or_default()
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        // A pool that is gone needs no buffers.
        let _ = self.home.send(std::mem::take(&mut self.buffer));
    }
}

/// Buffers of one stage: what bounds how far it runs ahead of the others.
pub struct Pool {
    size: usize,
    unmade: usize,
    home: Sender<Vec<u8>>,
    back: Receiver<Vec<u8>>,
}

impl Pool {
    /// One of at most `count` buffers of `size` bytes, made when they are first needed.
    pub fn new(count: usize, size: usize) -> Self {
        let (home, back) = channel();
        Self { size, unmade: count, home, back }
    }

    /// A buffer; waits for one while all are in use.
    pub fn take(&mut self) -> Vec<u8> {
        if let Ok(buffer) = self.back.try_recv() {
            return buffer;
        }
        if self.unmade > 0 {
            self.unmade -= 1;
            return vec![0; self.size];
        }
        // The pool itself holds a sender, so this waits for a buffer and never for nobody.
        self.back.recv().unwrap_or_else(|_| vec![0; self.size])
    }

    /// The first `length` bytes of a buffer, to be sent.
    pub fn chunk(&self, buffer: Vec<u8>, length: usize) -> Chunk {
        Chunk(Arc::new(Filled { buffer, length, home: self.home.clone() }))
    }
}

enum Message {
    Data(Chunk),
    End,
}

/// Where a stage gives its chunks to: one stage or several, each of which gets all.
pub struct Outlet(Vec<Sender<Message>>);

/// Where a stage gets them from.
pub struct Inlet(Receiver<Message>);

/// A connection of one stage to `N` others.
pub fn pipe<const N: usize>() -> (Outlet, [Inlet; N]) {
    let mut senders = Vec::with_capacity(N);
    let inlets = std::array::from_fn(|_| {
        let (sender, receiver) = channel();
        senders.push(sender);
        Inlet(receiver)
    });
    (Outlet(senders), inlets)
}

impl Outlet {
    /// Hands `chunk` on; an error if one of the receivers has given up.
    pub fn send(&self, chunk: &Chunk) -> Result<(), UnpackError> {
        self.0
            .iter()
            .try_for_each(|to| to.send(Message::Data(chunk.clone())))
            .map_err(|_| UnpackError::GivenUp)
    }

    /// Says that this was all. Without it the receivers take the end for a failure.
    pub fn end(self) {
        for to in &self.0 {
            // One that has given up reports that itself.
            let _ = to.send(Message::End);
        }
    }
}

impl Inlet {
    /// The next chunk; None at the end.
    pub fn next(&self) -> Result<Option<Chunk>, UnpackError> {
        match self.0.recv() {
            Ok(Message::Data(chunk)) => Ok(Some(chunk)),
            Ok(Message::End) => Ok(None),
            Err(_) => Err(UnpackError::GivenUp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_when_all_have_read_them() {
        let mut pool = Pool::new(1, 4);
        let (outlet, [one, two]) = pipe();
        let mut buffer = pool.take();
        buffer[..2].copy_from_slice(b"ab");
        let chunk = pool.chunk(buffer, 2);
        outlet.send(&chunk).unwrap();
        drop(chunk);
        assert_eq!(&*one.next().unwrap().unwrap(), b"ab");
        assert!(pool.back.try_recv().is_err(), "the second has not read it");
        assert_eq!(&*two.next().unwrap().unwrap(), b"ab");
        assert_eq!(pool.take().len(), 4);
        outlet.end();
        assert!(one.next().unwrap().is_none());
    }

    #[test]
    fn an_end_that_nobody_announced_is_a_failure() {
        let (outlet, [inlet]) = pipe();
        drop(outlet);
        assert!(matches!(inlet.next(), Err(UnpackError::GivenUp)));
        let (outlet, [inlet]) = pipe();
        drop(inlet);
        let mut pool = Pool::new(1, 1);
        let chunk = {
            let buffer = pool.take();
            pool.chunk(buffer, 1)
        };
        assert!(matches!(outlet.send(&chunk), Err(UnpackError::GivenUp)));
    }
}
