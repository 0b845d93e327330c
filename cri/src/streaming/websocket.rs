//! Kubernetes' channels over WebSocket: each message begins with its channel's number.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::channel::{Activity, Connection, Incoming, LINGER, Out, PIECE, PROBE};

/// The largest message of a client.
const MESSAGE: usize = 16 << 20;
/// The channel on which a client says that another one has ended (v5).
const CLOSE: u8 = 255;

/// How messages look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Text: a digit and base64.
    pub base64: bool,
    /// Channel 255 ends another one.
    pub half_close: bool,
}

/// The connection once the handshake was answered.
pub async fn open<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(PIECE)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// Serves a connection; the channels in `read` are what the client may write to.
pub fn serve<S>(
    socket: WebSocketStream<S>,
    framing: Framing,
    read: &[u8],
    activity: Activity,
) -> (Connection, HashMap<u8, Incoming>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sink, stream) = socket.split();
    let (queue, messages) = Connection::queue();
    let (mut channels, mut incoming) = (HashMap::new(), HashMap::new());
    for channel in read {
        let (put, take) = Incoming::new();
        channels.insert(*channel, put);
        incoming.insert(*channel, take);
    }
    let reader = read_all(stream, framing, channels, activity.clone());
    let writer = write_all(sink, framing, messages, activity.clone());
    (Connection::serve(queue, reader, writer, activity), incoming)
}

/// A client's message: bytes of a channel, or its end.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Data(u8, Bytes),
    End(u8),
}

/// None where it says nothing that counts.
fn parse(message: Message, framing: Framing) -> Option<Said> {
    let bytes: Bytes = match message {
        Message::Binary(bytes) => bytes,
        Message::Text(text) => text.into(),
        _ => return None,
    };
    let (channel, rest) = (*bytes.first()?, bytes.slice(1..));
    if framing.base64 {
        return Some(Said::Data(channel.checked_sub(b'0')?, STANDARD.decode(&rest).ok()?.into()));
    }
    if framing.half_close && channel == CLOSE {
        return rest.first().map(|ended| Said::End(*ended));
    }
    Some(Said::Data(channel, rest))
}

fn message(stream: u32, data: &[u8], framing: Framing) -> Message {
    // Channels have a byte.
    let channel = stream as u8;
    if framing.base64 {
        let mut text = String::from(char::from(b'0'.wrapping_add(channel)));
        STANDARD.encode_string(data, &mut text);
        return Message::text(text);
    }
    let mut bytes = BytesMut::with_capacity(data.len() + 1);
    bytes.put_u8(channel);
    bytes.put_slice(data);
    Message::Binary(bytes.freeze())
}

async fn read_all<S>(
    mut stream: SplitStream<WebSocketStream<S>>,
    framing: Framing,
    mut channels: HashMap<u8, mpsc::Sender<Bytes>>,
    activity: Activity,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = stream.next().await {
        // The answers to our own pings would keep it alive for ever.
        if !message.is_pong() {
            activity.touch();
        }
        match parse(message, framing) {
            Some(Said::Data(channel, mut data)) => {
                let Some(queue) = channels.get(&channel) else { continue };
                while !data.is_empty() {
                    let piece = data.split_to(data.len().min(PIECE));
                    if queue.send(piece).await.is_err() {
                        // Nobody wants them any more.
                        channels.remove(&channel);
                        break;
                    }
                }
            }
            Some(Said::End(channel)) => {
                channels.remove(&channel);
            }
            None => {}
        }
    }
}

async fn write_all<S>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    framing: Framing,
    mut messages: mpsc::Receiver<Out>,
    activity: Activity,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let out = match tokio::time::timeout(PROBE, messages.recv()).await {
            Ok(Some(out)) => out,
            Ok(None) => return,
            Err(_) => match sink.send(Message::Ping(Bytes::new())).await {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let result = match out {
            Out::Data { stream, data } => sink.send(message(stream, &data, framing)).await,
            Out::Close { .. } => {
                let _ = sink.send(goodbye()).await;
                return;
            }
            // Only SPDY says so; a channel ends with its connection.
            _ => Ok(()),
        };
        if result.is_err() {
            return;
        }
        activity.touch();
    }
}

fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// The bytes that go through binary messages, whatever the messages: SPDY in a tunnel.
pub fn tunnel<S>(socket: WebSocketStream<S>) -> DuplexStream
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (near, far) = tokio::io::duplex(4 * PIECE);
    let (mut sink, mut stream) = socket.split();
    let (mut read, mut write) = tokio::io::split(far);
    tokio::spawn(async move {
        let inward = async {
            while let Some(Ok(message)) = stream.next().await {
                if let Message::Binary(bytes) = message
                    && write.write_all(&bytes).await.is_err()
                {
                    break;
                }
            }
            // The other side hears that nothing more comes.
            let _ = write.shutdown().await;
        };
        let outward = async {
            let mut buffer = BytesMut::new();
            loop {
                buffer.reserve(PIECE);
                match read.read_buf(&mut buffer).await {
                    Ok(1..) if sink.send(Message::Binary(buffer.split().freeze())).await.is_ok() => {}
                    _ => break,
                }
            }
            let _ = sink.send(goodbye()).await;
        };
        let (mut inward, mut outward) = (std::pin::pin!(inward), std::pin::pin!(outward));
        tokio::select! {
            () = &mut inward => outward.await,
            // Nobody reads any more what a client sends that does not take the goodbye.
            () = &mut outward => drop(tokio::time::timeout(LINGER, inward).await),
        }
    });
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINARY: Framing = Framing { base64: false, half_close: true };
    const TEXT: Framing = Framing { base64: true, half_close: false };

    #[test]
    fn messages_are_what_was_said() {
        let parsed = parse(Message::Binary(Bytes::from_static(b"\0abc")), BINARY);
        assert_eq!(parsed, Some(Said::Data(0, Bytes::from_static(b"abc"))));
        assert_eq!(parse(Message::Binary(Bytes::from_static(&[255, 0])), BINARY), Some(Said::End(0)));
        let parsed = parse(Message::text("4YWJj"), TEXT);
        assert_eq!(parsed, Some(Said::Data(4, Bytes::from_static(b"abc"))));
        assert_eq!(parse(message(4, b"abc", TEXT), TEXT), parsed);
        assert_eq!(parse(message(1, b"", BINARY), BINARY), Some(Said::Data(1, Bytes::new())));
    }

    #[test]
    fn messages_that_say_nothing_are_skipped() {
        assert_eq!(parse(Message::Binary(Bytes::new()), BINARY), None);
        assert_eq!(parse(Message::Binary(Bytes::from_static(&[255])), BINARY), None);
        assert_eq!(parse(Message::text("0?"), TEXT), None);
        assert_eq!(parse(Message::text("!YWJj"), TEXT), None);
        assert_eq!(parse(Message::Ping(Bytes::new()), BINARY), None);
    }
}
