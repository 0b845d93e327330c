//! Pushing: distribution specification, "Push". To the registry itself, never to a mirror.
//!
//! A blob goes whole in one PUT; to a registry that does not take it so, or that cuts the connection, in parts (PATCH),
//! each over a connection of its own. After a cut they go on where the registry says that it stands. One that does not
//! say gets the blob anew, in smaller parts.

use ureq::Body;
use ureq::ResponseExt;
use ureq::http::header::{CONNECTION, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use ureq::http::{Method, Response, StatusCode, Uri};

use crate::image::{Descriptor, Digest, Reference};

use super::Registry;
use super::answer::{header, successful};
use super::ask::{Ask, Open, Payload, Stream, Target, scope};
use super::client::{Client, again, endpoint_name};
use super::error::{Failure, Failures, RegistryError};
use super::types::Endpoint;
use super::url::{self, encode};

/// What the body of an upload is.
const OCTETS: &str = "application/octet-stream";

/// How small the parts of an upload become, unless the registry wants larger ones.
const LEAST_PART: u64 = 1 << 20;

/// How a blob got into a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// It was in another repository of the same registry.
    Mounted,
    /// It was sent.
    Uploaded,
}

/// An upload under way.
struct Upload<'a> {
    client: &'a Client,
    endpoint: &'a Endpoint,
    descriptor: &'a Descriptor,
    scopes: Vec<String>,
    location: Uri,
    /// The least length of a part that the registry wants.
    least: u64,
}

impl Registry {
    /// Pushes a blob into `reference`'s repository, unless it is there or can be mounted from `mount_from`. `open` gives
    /// its bytes from the beginning, exactly `descriptor.size`, as often as it is called.
    pub fn push_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        open: Open<'_>,
        mount_from: Option<&Reference>,
    ) -> Result<Pushed, RegistryError> {
        let client = &*self.client;
        let endpoint = client.home(reference)?;
        let from = mount_from.filter(|from| {
            from.registry() == reference.registry() && from.repository() != reference.repository()
        });
        let mut part = None;
        let pushed = client.patiently(client.transport.timeouts.tries, || {
            push_once(client, &endpoint, descriptor, open, from, &mut part)
        });
        pushed.map_err(|failure| {
            let failures = Failures(vec![(endpoint_name(&endpoint), failure)]);
            let digest = descriptor.digest.clone();
            RegistryError::PushBlob { reference: reference.clone(), digest, failures }
        })
    }

    /// Pushes a manifest or an index under `reference`'s digest or tag. What it names has to be there before.
    pub fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let client = &*self.client;
        let endpoint = client.home(reference)?;
        let tries = client.transport.timeouts.tries;
        client.patiently(tries, || push_manifest(client, &endpoint, media_type, bytes)).map_err(|failure| {
            let failures = Failures(vec![(endpoint_name(&endpoint), failure)]);
            RegistryError::PushManifest { reference: reference.clone(), failures }
        })
    }
}

fn push_manifest(
    client: &Client,
    endpoint: &Endpoint,
    media_type: &str,
    bytes: &[u8],
) -> Result<(), Failure> {
    let path = format!("manifests/{}", endpoint.reference.asked());
    let mut ask = Ask::get(&endpoint.reference, &path).by(Method::PUT);
    ask.scopes = vec![scope(&endpoint.reference, "pull,push")];
    ask.headers.push((CONTENT_TYPE, media_type.to_owned()));
    ask.payload = Payload::Bytes(bytes);
    let answer = successful(client.send(endpoint, &ask)?, "repository")?;
    let stored: Option<Digest> =
        header(answer.headers(), "docker-content-digest").and_then(|text| text.parse().ok());
    match stored {
        Some(stored) if Digest::of_with(stored.algorithm(), bytes) != stored => {
            let is = Digest::of_with(stored.algorithm(), bytes);
            Err(Failure::Digest { is, wanted: stored, announced: true })
        }
        _ => Ok(()),
    }
}

fn push_once(
    client: &Client,
    endpoint: &Endpoint,
    descriptor: &Descriptor,
    open: Open<'_>,
    from: Option<&Reference>,
    part: &mut Option<u64>,
) -> Result<Pushed, Failure> {
    let scopes = vec![scope(&endpoint.reference, "pull,push")];
    let mut ask = Ask::get(&endpoint.reference, &format!("blobs/{}", descriptor.digest)).by(Method::HEAD);
    ask.scopes.clone_from(&scopes);
    match successful(client.send(endpoint, &ask)?, "blob") {
        Ok(_) => return Ok(Pushed::Existed),
        Err(Failure::NotFound { .. }) => {}
        Err(failure) => return Err(failure),
    }
    let answer = match from.and_then(|from| mount(client, endpoint, descriptor, from)) {
        Some(answer) if answer.status() == StatusCode::CREATED => return Ok(Pushed::Mounted),
        Some(answer) => answer,
        None => successful(begin(client, endpoint, "", scopes.clone())?, "repository")?,
    };
    let least = header(answer.headers(), "oci-chunk-min-length").and_then(|text| text.parse().ok());
    let location = location(&answer)?;
    let mut upload =
        Upload { client, endpoint, descriptor, scopes, location, least: least.unwrap_or_default() };
    let stream = Stream::new(open);
    if let Some(length) = *part {
        // What fails here fails earlier or not at all with less at once.
        *part = Some((length / 2).max(LEAST_PART));
        return upload.parts(&stream, length).map(|()| Pushed::Uploaded);
    }
    match upload.whole(&stream) {
        Ok(()) => Ok(Pushed::Uploaded),
        // The next try is a new upload.
        Err(failure @ (Failure::Cut(_) | Failure::Silence { .. })) => {
            *part = Some(client.part);
            Err(failure)
        }
        Err(Failure::Status { status: 405 | 411 | 413 | 415 | 501, .. }) => {
            *part = Some(client.part);
            push_once(client, endpoint, descriptor, open, None, part)
        }
        Err(failure) => Err(failure),
    }
}

/// Begins an upload, or mounts what `query` says.
fn begin(
    client: &Client,
    endpoint: &Endpoint,
    query: &str,
    scopes: Vec<String>,
) -> Result<Response<Body>, Failure> {
    let mut ask = Ask::get(&endpoint.reference, &format!("blobs/uploads/{query}")).by(Method::POST);
    ask.scopes = scopes;
    ask.payload = Payload::Bytes(&[]);
    client.send(endpoint, &ask)
}

/// Asks for the blob of another repository. None: it must be sent, and why does not matter.
fn mount(
    client: &Client,
    endpoint: &Endpoint,
    descriptor: &Descriptor,
    from: &Reference,
) -> Option<Response<Body>> {
    let digest = descriptor.digest.to_string();
    let query = format!("?mount={}&from={}", encode(&digest), encode(from.repository()));
    let scopes = vec![scope(&endpoint.reference, "pull,push"), scope(from, "pull")];
    let answer = begin(client, endpoint, &query, scopes).ok()?;
    matches!(answer.status(), StatusCode::CREATED | StatusCode::ACCEPTED).then_some(answer)
}

/// Where an upload goes on.
fn location(answer: &Response<Body>) -> Result<Uri, Failure> {
    let location = header(answer.headers(), LOCATION.as_str()).unwrap_or_default();
    url::resolve(answer.get_uri(), location)
}

impl Upload<'_> {
    /// One request of this upload.
    fn ask<'b>(&self, method: Method, uri: Uri, payload: Payload<'b>) -> Ask<'b> {
        let mut ask = Ask::get(&self.endpoint.reference, "").by(method);
        ask.target = Target::Url(uri);
        ask.scopes.clone_from(&self.scopes);
        ask.payload = payload;
        ask
    }

    /// Where the last request of an upload goes: it names what came.
    fn end(&self) -> Result<Uri, Failure> {
        url::with_parameter(&self.location, "digest", &self.descriptor.digest.to_string())
    }

    fn whole(&self, stream: &Stream<'_>) -> Result<(), Failure> {
        let size = self.descriptor.size;
        let mut ask = self.ask(Method::PUT, self.end()?, Payload::Part { stream, from: 0, size });
        ask.headers.push((CONTENT_TYPE, OCTETS.to_owned()));
        successful(self.client.send(self.endpoint, &ask)?, "upload").map(drop)
    }

    fn parts(&mut self, stream: &Stream<'_>, length: u64) -> Result<(), Failure> {
        let size = self.descriptor.size;
        let part = length.max(self.least);
        let (mut offset, mut tried) = (0, 0);
        while offset < size {
            let length = part.min(size - offset);
            match self.part(stream, offset, length) {
                Ok(()) => (offset, tried) = (offset + length, 0),
                Err(failure) if failure.is_transient() || is_elsewhere(&failure) => {
                    tried += 1;
                    if tried >= self.client.transport.timeouts.tries {
                        return Err(again(failure, tried));
                    }
                    self.client.rest(tried, failure)?;
                    offset = self.stands_at(size)?;
                }
                Err(failure) => return Err(failure),
            }
        }
        let ask = self.ask(Method::PUT, self.end()?, Payload::Bytes(&[]));
        successful(self.client.send(self.endpoint, &ask)?, "upload").map(drop)
    }

    fn part(&mut self, stream: &Stream<'_>, from: u64, size: u64) -> Result<(), Failure> {
        let payload = Payload::Part { stream, from, size };
        let mut ask = self.ask(Method::PATCH, self.location.clone(), payload);
        ask.headers.push((CONTENT_TYPE, OCTETS.to_owned()));
        ask.headers.push((CONNECTION, "close".to_owned()));
        // No unit: the distribution specification's own form.
        ask.headers.push((CONTENT_RANGE, format!("{from}-{}", from + size - 1)));
        let answer = successful(self.client.send(self.endpoint, &ask)?, "upload")?;
        self.location = location(&answer)?;
        Ok(())
    }

    /// How many bytes the registry has.
    fn stands_at(&mut self, size: u64) -> Result<u64, Failure> {
        let ask = self.ask(Method::GET, self.location.clone(), Payload::Nothing);
        let answer = match successful(self.client.send(self.endpoint, &ask)?, "upload") {
            // Docker's registry throws away an upload that it has more of than it said the last time.
            Err(Failure::NotFound { .. }) => {
                return Err(Failure::Cut("the registry has lost the upload".to_owned()));
            }
            answer => answer?,
        };
        let range = header(answer.headers(), RANGE.as_str()).unwrap_or("0-0");
        let last = range.trim_start_matches("bytes=").split_once('-').and_then(|(_, last)| last.parse().ok());
        if answer.headers().contains_key(LOCATION) {
            self.location = location(&answer)?;
        }
        match last {
            // What an upload without any byte says, too.
            Some(0) => Ok(0),
            Some(last) if last < size => Ok(last + 1),
            _ => Err(Failure::Range { from: 0, is: super::answer::printable(range) }),
        }
    }
}

/// Does the registry stand somewhere else than we think?
fn is_elsewhere(failure: &Failure) -> bool {
    matches!(failure, Failure::Status { status: 416, .. })
}
