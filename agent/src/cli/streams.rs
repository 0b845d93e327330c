//! The runtime's streaming server: channels over WebSocket, `v5.channel.k8s.io` and `v4.channel.k8s.io`.

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};

use super::client::{Error, Result};

/// Says that a channel's input has ended; in v5 only.
const END: u8 = 255;

/// One half of a connection: what is sent.
pub struct Sink {
    sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    ends: bool,
}

/// The other half: what comes.
pub struct Source(SplitStream<WebSocketStream<TcpStream>>);

/// Connects to a URL of the runtime's, with the first of these protocols that it speaks.
pub async fn connect(url: &str, protocols: &'static str) -> Result<(Sink, Source)> {
    let wrong = |why: String| Error::usage(format!("cannot stream from {url}: {why}"));
    let Some(rest) = url.strip_prefix("http://") else {
        let why =
            "only http is spoken here: set the runtime's streaming server to listen without TLS on loopback";
        return Err(wrong(why.to_owned()));
    };
    let address = rest.split('/').next().unwrap_or_default();
    let stream = TcpStream::connect(address).await.map_err(|error| wrong(error.to_string()))?;
    // Keys are single bytes.
    stream.set_nodelay(true)?;
    let mut request =
        format!("ws://{rest}").into_client_request().map_err(|error| wrong(error.to_string()))?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocols));
    let (socket, answer) = match tokio_tungstenite::client_async(request, stream).await {
        Ok(connected) => connected,
        Err(tungstenite::Error::Http(answer)) => {
            let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            return Err(wrong(format!("{} {}", answer.status(), body.trim())));
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    let agreed = answer.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|protocol| protocol.to_str().ok());
    let ends = agreed.is_some_and(|protocol| protocol.starts_with("v5."));
    let (sink, stream) = socket.split();
    Ok((Sink { sink, ends }, Source(stream)))
}

impl Sink {
    /// Sends bytes on a channel.
    pub async fn send(&mut self, channel: u8, bytes: &[u8]) -> Result<()> {
        let mut message = Vec::with_capacity(bytes.len() + 1);
        message.push(channel);
        message.extend_from_slice(bytes);
        self.sink.send(Message::Binary(message.into())).await.map_err(broken)
    }

    /// Says that nothing more comes on a channel. False: this protocol cannot say so.
    pub async fn end(&mut self, channel: u8) -> Result<bool> {
        if self.ends {
            self.sink.send(Message::Binary(vec![END, channel].into())).await.map_err(broken)?;
        }
        Ok(self.ends)
    }

    /// Ends the connection.
    pub async fn close(&mut self) {
        let _ = self.sink.close().await;
    }
}

impl Source {
    /// What comes next, and on which channel. None: the end.
    pub async fn next(&mut self) -> Result<Option<(u8, Bytes)>> {
        loop {
            let bytes = match self.0.next().await {
                None | Some(Ok(Message::Close(_))) => return Ok(None),
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Text(text))) => text.into(),
                Some(Ok(_)) => continue,
                Some(Err(
                    tungstenite::Error::ConnectionClosed
                    | tungstenite::Error::AlreadyClosed
                    | tungstenite::Error::Protocol(
                        tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
                    ),
                )) => return Ok(None),
                Some(Err(error)) => return Err(broken(error)),
            };
            if let Some(channel) = bytes.first() {
                return Ok(Some((*channel, bytes.slice(1..))));
            }
        }
    }
}

fn broken(error: tungstenite::Error) -> Error {
    Error::usage(format!("the connection to the runtime broke: {error}"))
}
