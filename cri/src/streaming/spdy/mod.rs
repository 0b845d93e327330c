//! SPDY/3.1's framing, as far as Kubernetes' clients speak it.
//!
//! There is no flow control of streams: those clients neither keep nor grant windows. A stream whose bytes nobody takes makes
//! the others of its connection wait, as with every server of this protocol.

mod dictionary;
mod frame;
mod headers;

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{mpsc, oneshot};

use super::channel::{Activity, Connection, Incoming, Out, Outgoing, Over, PIECE, PROBE};
use frame::{Control, Header, Writer};
use headers::{Headers, Inflater};

/// Streams of a connection at a time; more are refused.
const STREAMS: usize = 2048;
/// Bytes that are written at once.
const BATCH: usize = 64 * 1024;

/// A stream that the client has opened.
#[derive(Debug)]
pub struct Stream {
    /// Its number.
    pub id: u32,
    headers: Headers,
    /// From the client.
    pub incoming: Incoming,
    /// To the client.
    pub outgoing: Outgoing,
    /// Tells when the client has reset it.
    pub over: Over,
}

impl Stream {
    /// The value of a header; its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        headers::value(&self.headers, name)
    }
}

/// Serves a connection. The streams that the client opens come from the receiver, each to be accepted or refused; without
/// the receiver they are refused.
pub fn serve<S>(io: S, activity: Activity) -> (Connection, mpsc::Receiver<Stream>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, write) = tokio::io::split(io);
    let (queue, frames) = Connection::queue();
    let (accept, accepted) = mpsc::channel(1);
    let reader = Reader {
        io: BufReader::with_capacity(PIECE, read),
        inflater: Inflater::default(),
        streams: HashMap::new(),
        last: 0,
        away: false,
        queue: queue.clone(),
        accept,
        activity: activity.clone(),
    };
    let connection =
        Connection::serve(queue, reader.run(), write_all(write, frames, activity.clone()), activity);
    (connection, accepted)
}

/// A stream as the reading side knows it.
struct Peer {
    /// None: the client has said its last byte, or nobody wants more.
    data: Option<mpsc::Sender<Bytes>>,
    /// Dropped with the stream.
    hold: oneshot::Sender<()>,
}

struct Reader<R> {
    io: BufReader<R>,
    inflater: Inflater,
    streams: HashMap<u32, Peer>,
    /// The client's last stream: numbers only grow.
    last: u32,
    /// The client has said that it opens no more.
    away: bool,
    queue: mpsc::Sender<Out>,
    accept: mpsc::Sender<Stream>,
    activity: Activity,
}

/// Why reading has ended.
enum End {
    Disconnected,
    Broken(frame::FrameError),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::Disconnected
    }
}

impl From<frame::FrameError> for End {
    fn from(error: frame::FrameError) -> Self {
        Self::Broken(error)
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    async fn run(mut self) {
        let error = loop {
            match self.frame().await {
                Ok(()) => {}
                Err(End::Disconnected) => return,
                Err(End::Broken(error)) => break error,
            }
        };
        tracing::debug!(%error, "a streaming client does not speak SPDY/3");
        self.streams.clear();
        if self.queue.send(Out::Close { failed: true }).await.is_ok() {
            self.queue.closed().await;
        }
    }

    async fn frame(&mut self) -> Result<(), End> {
        let mut header = [0; frame::HEADER];
        self.io.read_exact(&mut header).await?;
        match Header::read(header)? {
            Header::Data { stream, fin, length } => {
                self.activity.touch();
                self.data(stream, length).await?;
                if fin && let Some(peer) = self.streams.get_mut(&stream) {
                    peer.data = None;
                }
            }
            Header::Control { kind, flags, length } => {
                let mut payload = vec![0; length as usize];
                self.io.read_exact(&mut payload).await?;
                let control = Control::read(kind, flags, &payload, &mut self.inflater)?;
                self.control(control).await;
            }
        }
        Ok(())
    }

    /// Hands the bytes of a frame on; those of a stream that nobody reads are dropped.
    async fn data(&mut self, stream: u32, length: u32) -> Result<(), End> {
        let mut left = length as usize;
        while left > 0 {
            let mut piece = BytesMut::zeroed(left.min(PIECE));
            self.io.read_exact(&mut piece).await?;
            self.activity.touch();
            left -= piece.len();
            let peer = self.streams.get_mut(&stream);
            if let Some(Peer { data, .. }) = peer
                && let Some(queue) = data
                && queue.send(piece.freeze()).await.is_err()
            {
                *data = None;
            }
        }
        Ok(())
    }

    async fn control(&mut self, control: Control) {
        // The answers to our own pings would keep it alive for ever.
        if !matches!(control, Control::Ping { id } if id % 2 == 0) {
            self.activity.touch();
        }
        match control {
            Control::Open { stream, fin, headers } => self.open(stream, fin, headers).await,
            Control::Reset { stream } => {
                self.streams.remove(&stream);
            }
            Control::Ping { id } if id % 2 == 1 => {
                let _ = self.queue.send(Out::Ping { id }).await;
            }
            Control::GoAway => self.away = true,
            Control::Ping { .. } | Control::Nothing => {}
        }
    }

    async fn open(&mut self, id: u32, fin: bool, headers: Headers) {
        // Served streams whose handles were dropped are over; nothing else counts them.
        if self.streams.len() >= STREAMS {
            self.streams.retain(|_, peer| !peer.hold.is_closed());
        }
        let valid = id % 2 == 1 && id > self.last && !self.away;
        if !valid || self.streams.len() >= STREAMS {
            let _ = self.queue.send(Out::Refuse { stream: id }).await;
            return;
        }
        self.last = id;
        let (data, incoming) = Incoming::new();
        let (hold, over) = Over::new();
        self.streams.insert(id, Peer { data: (!fin).then_some(data), hold });
        let outgoing = Outgoing::new(id, self.queue.clone());
        if let Err(mpsc::error::SendError(stream)) =
            self.accept.send(Stream { id, headers, incoming, outgoing, over }).await
        {
            self.streams.remove(&id);
            stream.outgoing.refuse().await;
        }
    }
}

async fn write_all(mut io: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Out>, activity: Activity) {
    let (mut writer, mut buffer) = (Writer::default(), BytesMut::new());
    loop {
        let waited = tokio::time::timeout(PROBE, frames.recv()).await;
        let probe = waited.is_err();
        let Some(first) = waited.unwrap_or(Some(Out::Ping { id: 2 })) else { return };
        let mut next = Some(first);
        let mut last = false;
        while let Some(frame) = next {
            writer.put(&mut buffer, &frame);
            last = matches!(frame, Out::Close { .. });
            next = if last || buffer.len() >= BATCH { None } else { frames.try_recv().ok() };
        }
        if io.write_all(&buffer).await.is_err() || io.flush().await.is_err() {
            return;
        }
        if !probe {
            activity.touch();
        }
        if last {
            let _ = io.shutdown().await;
            return;
        }
        buffer.clear();
        // An idle connection keeps little.
        if buffer.capacity() > PIECE {
            buffer = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests;
