//! Blobs: distribution specification, "Pulling blobs", as a reader that survives cuts.
//!
//! Invariants: exactly the descriptor's size comes out, or an error; nothing is hashed here. A connection that is cut,
//! silent or too slow is made anew where it ended (RFC 9110, section 14); after too many tries without progress the next
//! endpoint is asked, and after the last one the descriptor's own `urls`.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use ureq::http::{Response, StatusCode, Uri};
use ureq::{Body, BodyReader};

use crate::image::{Descriptor, Reference};

use super::Registry;
use super::answer::{header, not_encoded, printable, successful};
use super::ask::Ask;
use super::client::{Client, Start, again, endpoint_name};
use super::error::{Failure, Failures, RegistryError};
use super::pace::Pace;
use super::types::Endpoint;
use super::url;

/// Bytes since the last cut that count as progress.
const PROGRESS: u64 = 1024;

/// A blob on its way. Dropping it ends the connection.
pub struct Blob {
    client: Arc<Client>,
    reference: Reference,
    descriptor: Descriptor,
    /// What is asked, in this order.
    sources: Vec<Source>,
    /// Which of them is being asked.
    current: usize,
    /// Where the next byte belongs.
    offset: u64,
    body: Option<BodyReader<'static>>,
    /// Failures in a row without progress.
    tried: u32,
    /// `offset` when the connection was made.
    since: u64,
    pace: Pace,
    failures: Vec<(String, Failure)>,
}

/// Who may have it.
enum Source {
    Endpoint(Endpoint),
    /// Of a foreign layer's descriptor: anybody, who gets neither credentials nor a client certificate.
    Url(Uri),
}

impl Registry {
    /// Gets a blob of `reference`'s repository. The first bytes are there when this returns.
    pub fn blob(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Blob, RegistryError> {
        let endpoints = self.client.endpoints(reference)?;
        // Any other layer belongs into the registry, and nobody is asked for it because a manifest says so.
        let foreign = ["nondistributable", "foreign"].iter().any(|word| descriptor.media_type.contains(word));
        let urls = descriptor
            .urls
            .iter()
            .filter(|_| foreign)
            .filter_map(|text| url::absolute(text).ok())
            .map(Source::Url);
        let mut blob = Blob {
            client: Arc::clone(&self.client),
            reference: reference.clone(),
            descriptor: descriptor.clone(),
            sources: endpoints.into_iter().map(Source::Endpoint).chain(urls).collect(),
            current: 0,
            offset: 0,
            body: None,
            tried: 0,
            since: 0,
            pace: Pace::default(),
            failures: Vec::new(),
        };
        blob.connect()?;
        Ok(blob)
    }
}

impl Blob {
    /// How many of the descriptor's bytes have come.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Makes a connection that stands at `offset`, by as many tries and sources as it takes.
    fn connect(&mut self) -> Result<(), RegistryError> {
        while self.body.is_none() {
            match self.open() {
                Ok(body) => {
                    self.body = Some(body);
                    self.since = self.offset;
                    self.pace = Pace::default();
                    if self.offset == self.descriptor.size {
                        self.finish()?;
                        break;
                    }
                }
                Err(failure) => self.failed(failure)?,
            }
        }
        Ok(())
    }

    /// Asks the current source once.
    fn open(&self) -> Result<BodyReader<'static>, Failure> {
        let Some(source) = self.sources.get(self.current) else { return Err(Failure::Stopped) };
        let answer = match source {
            Source::Endpoint(endpoint) => {
                let mut ask = Ask::get(&endpoint.reference, &format!("blobs/{}", self.descriptor.digest));
                self.complete(&mut ask);
                self.client.send(endpoint, &ask)?
            }
            Source::Url(uri) => {
                let mut ask = Ask::get(&self.reference, "");
                self.complete(&mut ask);
                let registry = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
                let start = Start { registry, insecure: false, home: None, uri: uri.clone() };
                self.client.follow(&start, &ask, None)?.response
            }
        };
        self.accept(successful(answer, "blob")?)
    }

    fn complete(&self, ask: &mut Ask<'_>) {
        ask.verified = true;
        if self.offset > 0 {
            ask.headers.push((RANGE, format!("bytes={}-", self.offset)));
        }
    }

    /// Takes an answer that fits the descriptor, and brings it to `offset`.
    fn accept(&self, answer: Response<Body>) -> Result<BodyReader<'static>, Failure> {
        not_encoded(answer.headers())?;
        let size = self.descriptor.size;
        let length: Option<u64> =
            header(answer.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        let mut skip = 0;
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            let range = header(answer.headers(), CONTENT_RANGE.as_str()).unwrap_or("no Content-Range");
            if !range_fits(range, self.offset, size) {
                return Err(Failure::Range { from: self.offset, is: printable(range) });
            }
        } else {
            if let Some(is) = length
                && is != size
            {
                return Err(Failure::Length { is, wanted: size });
            }
            skip = self.offset;
        }
        let mut body = answer.into_body().into_with_config().limit(u64::MAX).reader();
        let skipped = io::copy(&mut body.by_ref().take(skip), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == skip => Ok(body),
            Ok(_) => Err(Failure::Cut("it ends before where it was cut the last time".to_owned())),
            Err(error) => Err(self.client.transport.explain_read(error)),
        }
    }

    /// Counts a failure: waits before the next try, goes to the next source, or gives up.
    fn failed(&mut self, failure: Failure) -> Result<(), RegistryError> {
        self.body = None;
        if !matches!(failure, Failure::Slow { .. }) && self.offset - self.since >= PROGRESS {
            self.tried = 0;
        }
        self.since = self.offset;
        self.tried += 1;
        let is_last = self.current + 1 >= self.sources.len();
        // One that has a substitute and has given nothing yet is asked once.
        let tries = if is_last || self.offset > 0 { self.client.transport.timeouts.tries } else { 1 };
        let failure = if failure.is_transient() && self.tried < tries {
            match self.client.rest(self.tried, failure) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            }
        } else {
            failure
        };
        self.failures.push((self.source_name(), again(failure, self.tried)));
        self.current += 1;
        self.tried = 0;
        match is_last {
            false => Ok(()),
            true => Err(self.error()),
        }
    }

    fn error(&mut self) -> RegistryError {
        let failures = Failures(std::mem::take(&mut self.failures));
        let digest = self.descriptor.digest.clone();
        RegistryError::Blob { reference: self.reference.clone(), digest, failures }
    }

    /// All has come: nothing may follow. A connection that ends here any other way has done its duty.
    fn finish(&mut self) -> Result<(), RegistryError> {
        let more = self.body.take().is_some_and(|mut body| matches!(body.read(&mut [0]), Ok(1..)));
        match more {
            false => Ok(()),
            true => Err(self.give_up(Failure::Longer(self.descriptor.size))),
        }
    }

    /// The error that ends it: none of the sources is asked again.
    fn give_up(&mut self, failure: Failure) -> RegistryError {
        self.failures.push((self.source_name(), failure));
        self.current = self.sources.len();
        self.error()
    }

    fn source_name(&self) -> String {
        match self.sources.get(self.current) {
            Some(Source::Endpoint(endpoint)) => endpoint_name(endpoint),
            Some(Source::Url(uri)) => uri.host().unwrap_or_default().to_owned(),
            None => self.reference.registry().to_owned(),
        }
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.descriptor.size;
        if self.current >= self.sources.len() {
            return Err(io::Error::other(self.give_up(Failure::Stopped)));
        }
        if buffer.is_empty() || self.offset == size {
            return Ok(0);
        }
        loop {
            self.connect().map_err(io::Error::other)?;
            let Some(body) = &mut self.body else { return Ok(0) };
            let most = usize::try_from(size - self.offset).unwrap_or(usize::MAX).min(buffer.len());
            let started = Instant::now();
            match body.read(&mut buffer[..most]) {
                Ok(0) => {
                    let why = format!("after {} of {size} bytes", self.offset);
                    self.failed(Failure::Cut(why)).map_err(io::Error::other)?;
                }
                Ok(read) => {
                    self.offset += read as u64;
                    if self.offset == size {
                        self.finish().map_err(io::Error::other)?;
                    } else if let Some(slow) =
                        self.pace.count(&self.client.transport.timeouts, read, started.elapsed())
                    {
                        self.failed(slow).map_err(io::Error::other)?;
                    }
                    return Ok(read);
                }
                Err(error) => {
                    let failure = self.client.transport.explain_read(error);
                    self.failed(failure).map_err(io::Error::other)?;
                }
            }
        }
    }
}

/// `bytes FIRST-LAST/TOTAL`, TOTAL perhaps `*`.
fn range_fits(range: &str, offset: u64, size: u64) -> bool {
    let parsed = || {
        let (range, total) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let total: Option<u64> = if total == "*" { None } else { Some(total.parse().ok()?) };
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, total))
    };
    parsed().is_some_and(|(first, last, total)| {
        first == offset && last >= first && last < size && total.is_none_or(|total| total == size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_must_be_the_one_asked_for_of_the_same_whole() {
        for (range, fits) in [
            ("bytes 5-9/10", true),
            ("bytes 5-9/*", true),
            ("bytes 5-7/10", true),
            ("bytes 4-9/10", false),
            ("bytes 5-9/11", false),
            ("bytes 5-10/*", false),
            ("bytes 5-4/10", false),
            ("bytes */10", false),
            ("5-9/10", false),
            ("no Content-Range", false),
        ] {
            assert_eq!(range_fits(range, 5, 10), fits, "{range}");
        }
    }
}
