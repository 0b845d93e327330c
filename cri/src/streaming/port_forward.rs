//! Port forwarding: pairs of streams, one for the bytes of a TCP connection into the Pod, one for what went wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::backend::Backend;
use super::channel::{Connection, Gone, Incoming, Outgoing, Over, PIECE};
use super::spdy::Stream;

/// How long half a pair may be alone.
const OPENING: Duration = Duration::from_secs(30);

/// A connection to be forwarded.
struct Pair {
    port: u16,
    incoming: Incoming,
    data: Outgoing,
    over: Over,
    error: Outgoing,
    /// Each direction ends by itself.
    half_close: bool,
}

/// Half of it.
struct Half {
    stream: Stream,
    kind: Kind,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Error,
}

/// Serves a SPDY client until it is gone.
pub async fn run<B: Backend>(
    backend: Arc<B>,
    pod: String,
    connection: Connection,
    mut accepted: mpsc::Receiver<Stream>,
) {
    let mut halves: HashMap<String, Half> = HashMap::new();
    let mut pairs = JoinSet::new();
    loop {
        let oldest = halves.values().map(|half| half.until).min();
        tokio::select! {
            stream = accepted.recv() => {
                let Some(stream) = stream else { break };
                if let Some(pair) = join(stream, &mut halves).await {
                    pairs.spawn(forward(Arc::clone(&backend), pod.clone(), pair));
                }
            }
            Some(_) = pairs.join_next() => {}
            () = tokio::time::sleep_until(oldest.unwrap_or_else(Instant::now)), if oldest.is_some() => {
                for (_, half) in halves.extract_if(|_, half| half.until <= Instant::now()) {
                    half.stream.outgoing.reset().await;
                }
            }
        }
    }
    drop(connection);
}

/// Finds the other half of a new stream.
async fn join(stream: Stream, halves: &mut HashMap<String, Half>) -> Option<Pair> {
    let kind = match stream.header("streamtype") {
        Some("data") => Some(Kind::Data),
        Some("error") => Some(Kind::Error),
        _ => None,
    };
    let port = port(&stream);
    let (Some(kind), Some(port)) = (kind, port) else {
        stream.outgoing.refuse().await;
        return None;
    };
    let request = request(&stream, kind);
    if halves.get(&request).is_some_and(|half| half.kind == kind) {
        stream.outgoing.refuse().await;
        return None;
    }
    stream.outgoing.accept().await.ok()?;
    let Some(other) = halves.remove(&request) else {
        halves.insert(request, Half { stream, kind, until: Instant::now() + OPENING });
        return None;
    };
    let (data, error, port) = match kind {
        Kind::Data => (stream, other.stream, port),
        Kind::Error => {
            let port = self::port(&other.stream)?;
            (other.stream, stream, port)
        }
    };
    let Stream { incoming, outgoing, over, .. } = data;
    Some(Pair { port, incoming, data: outgoing, over, error: error.outgoing, half_close: true })
}

fn port(stream: &Stream) -> Option<u16> {
    stream.header("port")?.parse().ok().filter(|port| *port != 0)
}

/// What a pair has in common. Old clients do not say: their streams' numbers follow each other, that of errors first.
fn request(stream: &Stream, kind: Kind) -> String {
    match (stream.header("requestid"), kind) {
        (Some(id), _) if !id.is_empty() => id.to_owned(),
        (_, Kind::Error) => stream.id.to_string(),
        (_, Kind::Data) => stream.id.saturating_sub(2).to_string(),
    }
}

/// Serves a WebSocket client of the older kind: two channels a port that the request names.
pub async fn run_channels<B: Backend>(
    backend: Arc<B>,
    pod: String,
    ports: Vec<u16>,
    connection: Connection,
    mut incoming: HashMap<u8, Incoming>,
) {
    let mut pairs = JoinSet::new();
    // Nothing ends a channel but the connection.
    let mut holds = Vec::new();
    for (port, channel) in ports.into_iter().zip((0..u8::MAX).step_by(2)) {
        let Some(incoming) = incoming.remove(&channel) else { continue };
        let (data, error) =
            (connection.outgoing(channel.into()), connection.outgoing(u32::from(channel) + 1));
        // So the client knows which channel is which port's.
        for outgoing in [&data, &error] {
            let _ = outgoing.send(port.to_le_bytes().to_vec().into()).await;
        }
        let (hold, over) = Over::new();
        holds.push(hold);
        let pair = Pair { port, incoming, data, over, error, half_close: false };
        pairs.spawn(forward(Arc::clone(&backend), pod.clone(), pair));
    }
    let all = async { while pairs.join_next().await.is_some() {} };
    tokio::select! {
        () = all => connection.close().await,
        () = connection.gone() => {}
    }
}

/// The channels of [`run_channels`] that a client may write to.
pub fn read_channels(ports: usize) -> Vec<u8> {
    (0..u8::MAX).step_by(2).take(ports).collect()
}

/// Forwards one connection to its end. A port that refuses leaves the others alone.
async fn forward<B: Backend>(backend: Arc<B>, pod: String, pair: Pair) {
    let Pair { port, incoming, data, over, error, half_close } = pair;
    let work = async {
        match backend.connect(&pod, port).await {
            Ok(socket) => {
                if copy(socket, incoming, &data, half_close).await.is_err() {
                    data.reset().await;
                }
            }
            Err(message) => {
                // In this order: clients that read what went wrong only after the bytes, and many connections at a time, block
                // themselves otherwise.
                data.reset().await;
                let _ = error.send(message.into()).await;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = over.wait() => {}
    }
    error.end().await;
}

/// Copies both ways; each one's end is passed on by itself where the protocol can say it (`half_close`), else the Pod's ends both.
async fn copy(
    socket: TcpStream,
    mut incoming: Incoming,
    data: &Outgoing,
    half_close: bool,
) -> Result<(), Gone> {
    let _ = socket.set_nodelay(true);
    let (mut read, mut write) = socket.into_split();
    let inward = async {
        while let Some(bytes) = incoming.next().await {
            // What the Pod has said before it closed is still to be read.
            if write.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    };
    let outward = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            if read.read_buf(&mut buffer).await.map_err(|_| Gone)? == 0 {
                data.end().await;
                return Ok(());
            }
            data.send(buffer.split().freeze()).await?;
        }
    };
    let inward = async {
        inward.await;
        if !half_close {
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    let (mut inward, mut outward) = (std::pin::pin!(inward), std::pin::pin!(outward));
    tokio::select! {
        result = &mut outward => match result {
            Ok(()) if half_close => inward.await,
            result => result,
        },
        Ok(()) = &mut inward => outward.await,
    }
}
