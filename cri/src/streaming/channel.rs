//! What SPDY's streams and WebSocket's channels have in common: bytes with a number, in bounded queues.
//!
//! A connection is one task that reads (into a queue a stream) and writes (from one queue for all). Whoever is slow makes the
//! other side wait, down to TCP's window and the process' pipe: no byte is kept beside the queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The most bytes of one piece.
pub const PIECE: usize = 16 * 1024;
/// Pieces in a queue.
const QUEUE: usize = 8;
/// How long a client may take to notice that all was said.
pub const LINGER: Duration = Duration::from_secs(5);

/// How long a connection is silent before it is asked whether anybody is there. Who has closed it is not seen otherwise as long as
/// nobody takes what came before.
pub const PROBE: Duration = Duration::from_secs(10);

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// Bytes.
    Data {
        /// Of this stream.
        stream: u32,
        /// At most [`PIECE`].
        data: Bytes,
    },
    /// There are no more.
    End {
        /// On this stream.
        stream: u32,
    },
    /// A stream that the client has opened is served.
    Accept {
        /// Which.
        stream: u32,
    },
    /// It is not.
    Refuse {
        /// Which.
        stream: u32,
    },
    /// Nothing that comes or went on it counts any more.
    Reset {
        /// Which.
        stream: u32,
    },
    /// A ping of ours (even numbers), or the answer to the client's (odd ones).
    Ping {
        /// Its number.
        id: u32,
    },
    /// The last word.
    Close {
        /// Because the client broke the protocol.
        failed: bool,
    },
}

/// The client is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Bytes from the client.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<Bytes>);

impl Incoming {
    /// One, and where its bytes are put in. Dropping that is their end.
    pub fn new() -> (mpsc::Sender<Bytes>, Self) {
        let (put, take) = mpsc::channel(QUEUE);
        (put, Self(take))
    }

    /// The next bytes; None: no more will come.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }

    /// The next bytes where they are there already.
    pub fn ready(&mut self) -> Option<Bytes> {
        self.0.try_recv().ok()
    }
}

/// Bytes to the client.
#[derive(Debug)]
pub struct Outgoing {
    stream: u32,
    queue: mpsc::Sender<Out>,
}

impl Outgoing {
    /// Waits as long as the queue is full.
    pub async fn send(&self, data: Bytes) -> Result<(), Gone> {
        self.put(Out::Data { stream: self.stream, data }).await
    }

    /// Says that no more bytes come.
    pub async fn end(&self) {
        let _ = self.put(Out::End { stream: self.stream }).await;
    }

    /// Says that the stream is served.
    pub async fn accept(&self) -> Result<(), Gone> {
        self.put(Out::Accept { stream: self.stream }).await
    }

    /// Says that the stream is not served.
    pub async fn refuse(&self) {
        let _ = self.put(Out::Refuse { stream: self.stream }).await;
    }

    /// Ends the stream both ways.
    pub async fn reset(&self) {
        let _ = self.put(Out::Reset { stream: self.stream }).await;
    }

    async fn put(&self, out: Out) -> Result<(), Gone> {
        self.queue.send(out).await.map_err(|_| Gone)
    }
}

/// Tells when a stream is over: the client has reset it, or is gone.
#[derive(Debug)]
pub struct Over(oneshot::Receiver<()>);

impl Over {
    /// One, and what is dropped when that happens.
    pub fn new() -> (oneshot::Sender<()>, Self) {
        let (hold, wait) = oneshot::channel();
        (hold, Self(wait))
    }

    /// Waits for it.
    pub async fn wait(self) {
        let _ = self.0.await;
    }
}

/// A connection that is being served; dropping it cuts it.
#[derive(Debug)]
pub struct Connection {
    queue: mpsc::Sender<Out>,
    task: JoinHandle<()>,
}

impl Connection {
    /// The queue that a new connection writes from.
    pub fn queue() -> (mpsc::Sender<Out>, mpsc::Receiver<Out>) {
        mpsc::channel(QUEUE)
    }

    /// Runs both directions until the client is gone, nothing has moved for `idle`, or the last word was said and heard. `write` owns
    /// the other end of `queue`.
    pub fn serve(
        queue: mpsc::Sender<Out>,
        read: impl Future<Output = ()> + Send + 'static,
        write: impl Future<Output = ()> + Send + 'static,
        activity: Activity,
    ) -> Self {
        let both = async move {
            let mut read = std::pin::pin!(read);
            tokio::select! {
                () = &mut read => return,
                () = activity.cease() => return,
                () = write => {}
            }
            // Closing with bytes unread would make the kernel reset the connection, and the client lose what it has not read.
            let _ = tokio::time::timeout(LINGER, read).await;
        };
        Self { queue, task: tokio::spawn(both) }
    }

    /// The way to the client of a stream.
    pub fn outgoing(&self, stream: u32) -> Outgoing {
        Outgoing { stream, queue: self.queue.clone() }
    }

    /// Waits until nobody is there any more.
    pub async fn gone(&self) {
        self.queue.closed().await;
    }

    /// Says the last word and waits until the client has heard it.
    pub async fn close(mut self) {
        let _ = self.queue.send(Out::Close { failed: false }).await;
        let _ = (&mut self.task).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outgoing {
    /// The way of a stream that came over `queue`'s connection.
    pub fn new(stream: u32, queue: mpsc::Sender<Out>) -> Self {
        Self { stream, queue }
    }
}

/// When a connection has last moved a byte.
#[derive(Clone, Debug)]
pub struct Activity {
    start: Instant,
    /// Milliseconds after `start`.
    last: Arc<AtomicU64>,
    limit: Duration,
}

impl Activity {
    /// Now. `limit` zero: it may rest for ever.
    pub fn new(limit: Duration) -> Self {
        Self { start: Instant::now(), last: Arc::default(), limit }
    }

    /// It moves.
    pub fn touch(&self) {
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// Waits until it has rested for the limit.
    async fn cease(&self) {
        if self.limit.is_zero() {
            return std::future::pending().await;
        }
        loop {
            let end = self.start + Duration::from_millis(self.last.load(Ordering::Relaxed)) + self.limit;
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}
