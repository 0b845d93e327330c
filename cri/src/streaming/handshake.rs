//! Which protocol a client gets: pure, from the request's headers.

use hyper::StatusCode;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::websocket::Framing;

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// How the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// SPDY/3.1.
    Spdy {
        /// Of the protocol for commands.
        version: u8,
    },
    /// Channels over WebSocket.
    Channels {
        /// Its messages.
        framing: Framing,
        /// Of the protocol for commands.
        version: u8,
    },
    /// SPDY/3.1 inside of WebSocket's binary messages.
    Tunnel,
}

/// What is answered before the connection changes hands.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// How it goes on.
    pub transport: Transport,
    /// The answer's headers.
    pub headers: HeaderMap,
}

/// Why it does not go on.
#[derive(Clone, Debug)]
pub struct Refused {
    /// HTTP's.
    pub status: StatusCode,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// One line.
    pub message: String,
}

/// A protocol by its name.
struct Protocol {
    name: &'static str,
    transport: Transport,
}

const fn spdy(name: &'static str, version: u8) -> Protocol {
    Protocol { name, transport: Transport::Spdy { version } }
}

const fn channels(name: &'static str, version: u8, base64: bool) -> Protocol {
    let framing = Framing { base64, half_close: version >= 5 };
    Protocol { name, transport: Transport::Channels { framing, version } }
}

const SPDY_COMMANDS: &[Protocol] = &[
    spdy("v4.channel.k8s.io", 4),
    spdy("v3.channel.k8s.io", 3),
    spdy("v2.channel.k8s.io", 2),
    spdy("channel.k8s.io", 1),
];

const SPDY_PORTS: &[Protocol] = &[spdy("portforward.k8s.io", 1)];

/// The nameless ones are for clients that name none.
const WEBSOCKET_COMMANDS: &[Protocol] = &[
    channels("v5.channel.k8s.io", 5, false),
    channels("v4.channel.k8s.io", 4, false),
    channels("v4.base64.channel.k8s.io", 4, true),
    channels("channel.k8s.io", 1, false),
    channels("base64.channel.k8s.io", 1, true),
    channels("", 1, false),
];

const WEBSOCKET_PORTS: &[Protocol] = &[
    Protocol { name: "SPDY/3.1+portforward.k8s.io", transport: Transport::Tunnel },
    channels("v4.channel.k8s.io", 4, false),
    channels("v4.base64.channel.k8s.io", 4, true),
    channels("", 4, false),
];

/// Agrees on a protocol for a command, or for ports.
pub fn agree(request: &HeaderMap, ports: bool) -> Result<Agreed, Refused> {
    let says =
        |name: HeaderName, word: &str| words(request, &name).any(|said| said.eq_ignore_ascii_case(word));
    if !says(CONNECTION, "upgrade") {
        return Err(bad("it does not ask for an upgrade to SPDY/3.1 or websocket"));
    }
    if says(UPGRADE, "websocket") {
        agree_websocket(request, if ports { WEBSOCKET_PORTS } else { WEBSOCKET_COMMANDS })
    } else if says(UPGRADE, "spdy/3.1") {
        agree_spdy(request, if ports { SPDY_PORTS } else { SPDY_COMMANDS })
    } else {
        Err(bad("it asks for another upgrade than to SPDY/3.1 or websocket"))
    }
}

fn agree_spdy(request: &HeaderMap, served: &[Protocol]) -> Result<Agreed, Refused> {
    if words(request, &STREAM_PROTOCOL).next().is_none() {
        return Err(bad("it has no header X-Stream-Protocol-Version"));
    }
    let Some(protocol) = first(request, &STREAM_PROTOCOL, served) else {
        let mut refused = foreign(request, &STREAM_PROTOCOL, served);
        for protocol in served {
            refused.headers.append(ACCEPTED_PROTOCOLS, HeaderValue::from_static(protocol.name));
        }
        return Err(refused);
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol.name));
    Ok(Agreed { transport: protocol.transport, headers })
}

fn agree_websocket(request: &HeaderMap, served: &[Protocol]) -> Result<Agreed, Refused> {
    let version = request.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    if version != Some(b"13") {
        let mut refused = bad("WebSocket is served in version 13");
        refused.status = StatusCode::UPGRADE_REQUIRED;
        refused.headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(refused);
    }
    let key = request.get(SEC_WEBSOCKET_KEY).ok_or_else(|| bad("it has no header Sec-WebSocket-Key"))?;
    let named = words(request, &SEC_WEBSOCKET_PROTOCOL).next().is_some();
    let protocol = match named {
        true => first(request, &SEC_WEBSOCKET_PROTOCOL, served),
        false => served.iter().find(|protocol| protocol.name.is_empty()),
    };
    let protocol = protocol.ok_or_else(|| foreign(request, &SEC_WEBSOCKET_PROTOCOL, served))?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.map_err(|_| bad("its Sec-WebSocket-Key is none"))?);
    if !protocol.name.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol.name));
    }
    Ok(Agreed { transport: protocol.transport, headers })
}

/// The client's favourite of those that are served.
fn first<'a>(request: &HeaderMap, header: &HeaderName, served: &'a [Protocol]) -> Option<&'a Protocol> {
    words(request, header).find_map(|word| served.iter().find(|protocol| protocol.name == word))
}

/// What a header says between commas, in all its lines.
fn words<'a>(request: &'a HeaderMap, header: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = request.get_all(header).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

fn bad(why: &str) -> Refused {
    let message = format!("request cannot be served: {why}");
    Refused { status: StatusCode::BAD_REQUEST, headers: HeaderMap::new(), message }
}

fn foreign(request: &HeaderMap, header: &HeaderName, served: &[Protocol]) -> Refused {
    let asked: Vec<&str> = words(request, header).take(16).collect();
    let names = served.iter().map(|protocol| protocol.name).filter(|name| !name.is_empty());
    let served: Vec<&str> = names.collect();
    let mut refused =
        bad(&format!("it asks for protocol {}; served are {}", asked.join(", "), served.join(", ")));
    refused.status = StatusCode::FORBIDDEN;
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    const SPDY: (&str, &str) = ("upgrade", "SPDY/3.1");
    const UPGRADE: (&str, &str) = ("connection", "keep-alive, Upgrade");
    const WEBSOCKET: [(&str, &str); 4] = [
        UPGRADE,
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn spdy_clients_get_their_first_version_that_is_served() {
        let mut request = headers(&[UPGRADE, SPDY]);
        request.append(STREAM_PROTOCOL, HeaderValue::from_static("v9.channel.k8s.io, v3.channel.k8s.io"));
        request.append(STREAM_PROTOCOL, HeaderValue::from_static("channel.k8s.io"));
        let agreed = agree(&request, false).unwrap();
        assert_eq!(agreed.transport, Transport::Spdy { version: 3 });
        assert_eq!(agreed.headers[STREAM_PROTOCOL], "v3.channel.k8s.io");
        let refused = agree(&request, true).unwrap_err();
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert_eq!(refused.headers[ACCEPTED_PROTOCOLS], "portforward.k8s.io");
    }

    #[test]
    fn websocket_clients_get_channels_or_a_tunnel() {
        let mut request = headers(&WEBSOCKET);
        let agreed = agree(&request, false).unwrap();
        assert_eq!(agreed.headers[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!agreed.headers.contains_key(SEC_WEBSOCKET_PROTOCOL));
        request.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v5.channel.k8s.io"));
        let framing = Framing { base64: false, half_close: true };
        assert_eq!(agree(&request, false).unwrap().transport, Transport::Channels { framing, version: 5 });
        assert_eq!(agree(&request, true).unwrap_err().status, StatusCode::FORBIDDEN);
        request.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("SPDY/3.1+portforward.k8s.io"));
        assert_eq!(agree(&request, true).unwrap().transport, Transport::Tunnel);
    }

    #[test]
    fn requests_without_an_upgrade_are_refused() {
        let old = headers(&[UPGRADE, ("upgrade", "websocket"), ("sec-websocket-version", "8")]);
        let cases = [
            (headers(&[]), StatusCode::BAD_REQUEST),
            (headers(&[SPDY]), StatusCode::BAD_REQUEST),
            (headers(&[UPGRADE, SPDY]), StatusCode::BAD_REQUEST),
            (headers(&[UPGRADE, ("upgrade", "h2c")]), StatusCode::BAD_REQUEST),
            (old, StatusCode::UPGRADE_REQUIRED),
            (headers(&WEBSOCKET[..3]), StatusCode::BAD_REQUEST),
        ];
        for (request, status) in cases {
            assert_eq!(agree(&request, false).unwrap_err().status, status, "{request:?}");
        }
    }
}
