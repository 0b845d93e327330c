//! Requests to the agent's socket: one connection each, on the thread that asks.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde_json::Value;
use tokio::net::UnixStream;

use crate::objects::{Key, Kind};

/// What is not part of a name as it stands.
const RESERVED: &AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent says so.
    #[error("Error from server ({reason}): {message}")]
    Server {
        /// Of HTTP.
        code: u16,
        /// `NotFound`.
        reason: String,
        /// One line.
        message: String,
    },
    /// Nobody listens.
    #[error("error: cannot reach the agent at {}: {source}: is it running, and do you have the right --socket?", .path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("error: the connection to the agent broke: {0}")]
    Broken(#[from] hyper::Error),
    /// What was asked for cannot be.
    #[error("error: {0}")]
    Usage(String),
    /// Standard output or a file.
    #[error("error: {0}")]
    Io(#[from] io::Error),
    /// It was said already.
    #[error("")]
    Said,
}

impl Error {
    /// Of a line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Of a `Status`.
    pub fn of_status(status: &Value) -> Self {
        let text = |name: &str| status.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = status.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        Self::Server { code: code.unwrap_or(500), reason: text("reason"), message: text("message") }
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Server { code: 404, .. })
    }
}

/// What a verb gives.
pub type Result<T> = std::result::Result<T, Error>;

/// Who asks the agent.
pub struct Client {
    socket: PathBuf,
}

/// The path of a kind's objects: of a namespace, or of all.
pub fn collection(kind: Kind, namespace: Option<&str>) -> String {
    let root = if kind.api_version().contains('/') { "/apis/" } else { "/api/" };
    let namespace = match namespace {
        Some(namespace) if kind.namespaced() => format!("/namespaces/{}", segment(namespace)),
        _ => String::new(),
    };
    format!("{root}{}{namespace}/{}", kind.api_version(), kind.plural())
}

/// The path of an object.
pub fn object(key: &Key) -> String {
    format!("{}/{}", collection(key.kind, Some(&key.namespace)), segment(&key.name))
}

/// What somebody wrote as one part of a path, whatever it is.
fn segment(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

/// A path with a query; pairs without a value are left out.
pub fn with_query<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if !value.is_empty() {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

impl Client {
    /// Of a socket, which is not touched yet.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks, and gives the answer whose body is still to come. What is no success is an error.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Response<Incoming>> {
        let unreachable = |source| Error::Unreachable { path: self.socket.clone(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "agent");
        let request = request.body(Full::new(body.into()));
        let request = request.map_err(|error| Error::usage(format!("{path}: {error}")))?;
        let response = sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        match serde_json::from_slice::<Value>(&body) {
            Ok(status) if status.get("reason").is_some() => Err(Error::of_status(&status)),
            _ => Err(Error::Server {
                code,
                reason: "Unknown".to_owned(),
                message: String::from_utf8_lossy(&body).into_owned(),
            }),
        }
    }

    /// Asks, and gives all of the answer.
    pub async fn bytes(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Bytes> {
        Ok(self.open(method, path, body).await?.into_body().collect().await?.to_bytes())
    }

    /// The same, of JSON.
    pub async fn json(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Value> {
        let bytes = self.bytes(method, path, body).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::usage(format!("the agent's answer to {path} is not JSON: {error}")))
    }

    /// An object.
    pub async fn get(&self, key: &Key) -> Result<Value> {
        self.json(Method::GET, &object(key), "").await
    }

    /// A merge patch.
    pub async fn patch(&self, key: &Key, patch: &Value) -> Result<Value> {
        self.json(Method::PATCH, &object(key), patch.to_string()).await
    }
}

/// An answer's lines, as they come.
pub struct Lines {
    body: Incoming,
    bytes: Vec<u8>,
}

impl Lines {
    /// Of an answer.
    pub fn new(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), bytes: Vec::new() }
    }

    /// The next line that is JSON. None: the answer's end.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                let value = serde_json::from_slice(&line);
                return value
                    .map(Some)
                    .map_err(|error| Error::usage(format!("a line of the agent's is not JSON: {error}")));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.bytes.extend_from_slice(&data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_part_of_a_path() {
        let path = |namespace, name| object(&Key::new(Kind::Pod, namespace, name));
        assert_eq!(path("default", "web-0.a"), "/api/v1/namespaces/default/pods/web-0.a");
        assert_eq!(
            path("a/b", "c?watch=1#\u{e4} %"),
            "/api/v1/namespaces/a%2Fb/pods/c%3Fwatch%3D1%23%C3%A4%20%25"
        );
    }
}
