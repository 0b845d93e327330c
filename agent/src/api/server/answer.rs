//! Answers: JSON, text, streams, and failures as Kubernetes' `Status`.

use std::convert::Infallible;

use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::api::admission::Refusal;
use crate::objects::{Key, Kind};
use crate::store::StoreError;

type Pieces = ReceiverStream<Result<Frame<Bytes>, Infallible>>;

/// An answer.
pub type Answer = Response<Either<Full<Bytes>, StreamBody<Pieces>>>;

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of HTTP.
    pub code: u16,
    /// As Kubernetes' API says it: `NotFound`.
    pub reason: &'static str,
    /// One line.
    pub message: String,
}

impl Failure {
    /// With the reason that goes with the code.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        let reason = match code {
            400 => "BadRequest",
            403 => "Forbidden",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            408 | 504 => "Timeout",
            409 => "Conflict",
            410 => "Expired",
            413 => "RequestEntityTooLarge",
            415 => "UnsupportedMediaType",
            422 => "Invalid",
            501 => "NotImplemented",
            503 => "ServiceUnavailable",
            _ => "InternalError",
        };
        Self { code, reason, message: message.into() }
    }

    /// There is no such object: as kubectl's users know it.
    pub fn not_found(key: &Key) -> Self {
        Self::new(404, format!("{} \"{}\" not found", resource(key.kind), key.name))
    }

    /// There is one already.
    pub fn exists(key: &Key) -> Self {
        let message = format!("{} \"{}\" already exists", resource(key.kind), key.name);
        Self { reason: "AlreadyExists", ..Self::new(409, message) }
    }

    /// A path that is not there for this method.
    pub fn method(method: &Method) -> Self {
        Self::new(405, format!("the server does not allow {method} on the requested resource"))
    }

    /// As a `Status`.
    pub fn status(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "reason": self.reason, "message": self.message, "code": self.code,
        })
    }

    /// As an answer.
    pub fn answer(self) -> Answer {
        let mut answer = json(&self.status());
        *answer.status_mut() = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        answer
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let failure = Self::new(refusal.status, refusal.message);
        let exists = failure.code == 409 && failure.message.contains("already exists");
        if exists { Self { reason: "AlreadyExists", ..failure } } else { failure }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Exists(key) => Self::exists(key),
            StoreError::NotFound(key) => Self::not_found(key),
            StoreError::Conflict(_) => Self::new(409, error.to_string()),
            StoreError::Disk(_) => Self::new(500, error.to_string()),
        }
    }
}

/// A kind as messages name it: `pods`, `deployments.apps`.
pub fn resource(kind: Kind) -> String {
    match kind.api_version().split_once('/') {
        Some((group, _)) => format!("{}.{group}", kind.plural()),
        None => kind.plural().to_owned(),
    }
}

/// An answer of JSON.
pub fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(text) => of("application/json", Either::Left(Full::from(text))),
        Err(error) => Failure::new(500, error.to_string()).answer(),
    }
}

/// An answer of text.
pub fn text(text: impl Into<Bytes>) -> Answer {
    of("text/plain", Either::Left(Full::new(text.into())))
}

/// An answer that goes on as long as somebody writes and the client reads, for whom so many pieces wait.
pub fn stream(content_type: &'static str, pieces: usize) -> (Sender, Answer) {
    let (sender, receiver) = mpsc::channel(pieces);
    (Sender(sender), of(content_type, Either::Right(StreamBody::new(ReceiverStream::new(receiver)))))
}

/// The end of a stream that is written to.
pub struct Sender(mpsc::Sender<Result<Frame<Bytes>, Infallible>>);

/// The client is gone.
#[derive(Debug)]
pub struct Gone;

impl Sender {
    /// Writes, waiting for a slow client.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(Ok(Frame::data(bytes.into()))).await.map_err(|_| Gone)
    }

    /// Waits until the client is gone.
    pub async fn gone(&self) {
        self.0.closed().await;
    }
}

fn of(content_type: &'static str, body: Either<Full<Bytes>, StreamBody<Pieces>>) -> Answer {
    let mut answer = Response::new(body);
    let content_type = hyper::header::HeaderValue::from_static(content_type);
    answer.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
    answer
}
