//! Manifests and lists of tags: distribution specification, "Pulling manifests" and "Listing Tags".

use serde::Deserialize;
use ureq::http::header::{ACCEPT, LINK};
use ureq::http::{Response, Uri};
use ureq::{Body, ResponseExt};

use crate::image::manifest::ACCEPTED;
use crate::image::reference::is_tag;
use crate::image::{Digest, Reference};

use super::Registry;
use super::answer::{header, media_type, printable, read_body, successful, title};
use super::ask::{Ask, Target};
use super::client::Client;
use super::error::{Failure, RegistryError, Words};
use super::types::Endpoint;
use super::url;

/// Which limit a manifest's length has.
const CURE: Option<&str> = Some("RCRUN_IMAGE_MAX_MANIFEST_BYTES");
/// How many pages of tags are read, and how many tags are asked for in each.
const MOST_PAGES: usize = 1000;
const TAGS_OF_A_PAGE: usize = 1000;
/// Bytes of all pages together.
const MOST_OF_ALL_PAGES: u64 = 16 << 20;

/// A manifest or an index as a registry has it, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What it is.
    pub bytes: Vec<u8>,
    /// What the registry calls it, without parameters; empty if it did not say.
    pub media_type: String,
    /// Of the bytes: computed here, and the one asked for if there was one.
    pub digest: Digest,
}

impl Registry {
    /// Gets the manifest or index of `reference`: by its digest, which is then verified, else by its tag, else `latest`.
    pub fn manifest(&self, reference: &Reference) -> Result<Fetched, RegistryError> {
        let client = &*self.client;
        let endpoints = client.endpoints(reference)?;
        client
            .first(&endpoints, |endpoint| manifest(client, endpoint))
            .map_err(|failures| RegistryError::Manifest { reference: reference.clone(), failures })
    }

    /// All tags of a repository, in the registry's order.
    pub fn tags(&self, reference: &Reference) -> Result<Vec<String>, RegistryError> {
        let client = &*self.client;
        let endpoints = client.endpoints(reference)?;
        client
            .first(&endpoints, |endpoint| tags(client, endpoint))
            .map_err(|failures| RegistryError::Tags { reference: reference.clone(), failures })
    }
}

fn manifest(client: &Client, endpoint: &Endpoint) -> Result<Fetched, Failure> {
    let wanted = endpoint.reference.digest();
    let mut ask = Ask::get(&endpoint.reference, &format!("manifests/{}", endpoint.reference.asked()));
    ask.headers.push((ACCEPT, ACCEPTED.join(", ")));
    ask.verified = wanted.is_some();
    let answer = successful(client.send(endpoint, &ask)?, "repository, tag or digest")?;
    let announced = header(answer.headers(), "docker-content-digest").and_then(|text| text.parse().ok());
    let media_type = media_type(answer.headers());
    let most = client.limits.manifest_bytes;
    let bytes = read_body(&client.transport, answer, "the manifest", most, CURE)?;
    // JSON is what matters: some servers call it text/plain.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(nonsense("manifest", media_type, &bytes));
    }
    let digest = verified(&bytes, wanted, announced)?;
    Ok(Fetched { bytes, media_type, digest })
}

/// The digest of `bytes`, which is the one asked for and the one announced, as far as there are such.
fn verified(bytes: &[u8], wanted: Option<&Digest>, announced: Option<Digest>) -> Result<Digest, Failure> {
    for (expected, is_announced) in [(wanted, false), (announced.as_ref(), true)] {
        let Some(expected) = expected else { continue };
        let is = Digest::of_with(expected.algorithm(), bytes);
        if is != *expected {
            return Err(Failure::Digest { is, wanted: expected.clone(), announced: is_announced });
        }
    }
    Ok(wanted.cloned().unwrap_or_else(|| Digest::of(bytes)))
}

/// Something that is no JSON: a web page, or whatever it says it is.
pub(super) fn nonsense(what: &'static str, media_type: String, bytes: &[u8]) -> Failure {
    let title = Words(title(bytes).unwrap_or_default());
    let kind = match media_type.as_str() {
        "" => "something without a Content-Type".to_owned(),
        "text/html" => "a web page".to_owned(),
        other => printable(other),
    };
    Failure::Nonsense { what, kind, title }
}

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

fn tags(client: &Client, endpoint: &Endpoint) -> Result<Vec<String>, Failure> {
    let mut ask = Ask::get(&endpoint.reference, &format!("tags/list?n={TAGS_OF_A_PAGE}"));
    let (mut tags, mut bytes) = (Vec::new(), 0);
    for _ in 0..MOST_PAGES {
        let answer = successful(client.send(endpoint, &ask)?, "repository")?;
        let next = next_page(&answer)?;
        let kind = media_type(answer.headers());
        let body =
            read_body(&client.transport, answer, "the list of tags", client.limits.manifest_bytes, CURE)?;
        bytes += body.len() as u64;
        if bytes > MOST_OF_ALL_PAGES {
            return Err(Failure::TooLarge { what: "the list of tags", most: MOST_OF_ALL_PAGES, cure: None });
        }
        let page: TagList =
            serde_json::from_slice(&body).map_err(|_| nonsense("list of tags", kind, &body))?;
        for tag in page.tags.unwrap_or_default() {
            match is_tag(&tag) {
                true => tags.push(tag),
                false => return Err(Failure::Tag(printable(&tag))),
            }
        }
        match next {
            Some(next) => ask.target = Target::Url(next),
            None => return Ok(tags),
        }
    }
    Err(Failure::Protocol(format!("its list of tags has more than {MOST_PAGES} pages")))
}

/// `Link: <URL>; rel="next"`: RFC 8288.
fn next_page(answer: &Response<Body>) -> Result<Option<Uri>, Failure> {
    let Some(link) = header(answer.headers(), LINK.as_str()) else { return Ok(None) };
    let target = link.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match target {
        Some((target, rest)) if rest.contains("next") => url::resolve(answer.get_uri(), target).map(Some),
        _ => Ok(None),
    }
}
