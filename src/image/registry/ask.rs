//! One request as data: it can be made again, after a redirect, a challenge or a cut.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use ureq::http::header::HeaderName;
use ureq::http::{Method, Uri};

use crate::image::Reference;

use super::error::Failure;

/// What is asked of a registry.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) payload: Payload<'a>,
    /// What a token must allow: `repository:NAME:pull`.
    pub(super) scopes: Vec<String>,
    /// Is the answer checked against a digest that came over a safe way? Then the way of the answer need not be.
    pub(super) verified: bool,
    /// Is there a secret in the payload? Then it does not leave its host.
    pub(super) secret: bool,
}

/// Where a request goes.
pub(super) enum Target {
    /// A path in the registry, from its root on.
    Path(String),
    /// Where the registry said: the location of an upload, the next page of a list.
    Url(Uri),
}

/// What is sent with it.
pub(super) enum Payload<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// `size` bytes of a stream from `from` on.
    Part {
        stream: &'a Stream<'a>,
        from: u64,
        size: u64,
    },
}

impl Ask<'_> {
    /// GET of a path below a repository.
    pub(super) fn get(reference: &Reference, path: &str) -> Self {
        Self {
            method: Method::GET,
            target: Target::Path(format!("/v2/{}/{path}", reference.repository())),
            headers: Vec::new(),
            payload: Payload::Nothing,
            scopes: vec![scope(reference, "pull")],
            verified: false,
            secret: false,
        }
    }

    /// The same with another method.
    pub(super) fn by(mut self, method: Method) -> Self {
        self.method = method;
        self
    }
}

/// What a token has to allow: the distribution project's scope.md.
pub(super) fn scope(reference: &Reference, actions: &str) -> String {
    format!("repository:{}:{actions}", reference.repository())
}

/// Opens what is pushed, from its beginning, each time that it is called.
pub type Open<'a> = &'a dyn Fn() -> io::Result<Box<dyn Read + Send>>;

/// What is pushed in parts: read once from one end to the other, unless a part must be sent again.
pub(super) struct Stream<'a> {
    open: Open<'a>,
    current: Mutex<Option<(u64, Box<dyn Read + Send>)>>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(open: Open<'a>) -> Self {
        Self { open, current: Mutex::new(None) }
    }

    /// Gives `read` a reader that stands at `from`; it takes `size` bytes of it, or fails.
    pub(super) fn part<T>(
        &self,
        from: u64,
        size: u64,
        read: impl FnOnce(&mut dyn Read) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reader = match current.take() {
            Some((at, reader)) if at == from => reader,
            _ => self.open_at(from).map_err(|error| Failure::Payload(error.to_string()))?,
        };
        let mut counted = Counted { reader: &mut reader, read: 0 };
        let result = read(&mut counted)?;
        if counted.read == size {
            *current = Some((from + size, reader));
        }
        Ok(result)
    }

    fn open_at(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut reader = (self.open)()?;
        let skipped = io::copy(&mut reader.by_ref().take(from), &mut io::sink())?;
        match skipped == from {
            true => Ok(reader),
            false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than before")),
        }
    }
}

struct Counted<'a> {
    reader: &'a mut dyn Read,
    read: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}
