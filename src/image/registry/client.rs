//! From a request to its answer: scheme, login, redirects, tries, endpoints.
//!
//! Invariants: credentials go to the host that asked for them and to its token server, never further; a redirect to
//! another host, or from https to http, goes without.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::Body;
use ureq::http::header::{AUTHORIZATION, HeaderValue, LOCATION};
use ureq::http::{Method, Request, Response, StatusCode, Uri};

use crate::image::limits::Limits;
use crate::image::reference::DOCKER_IO;
use crate::image::{Reference, ReferenceError};
use crate::sys;

use super::answer::{header, words};
use super::ask::{Ask, Payload, Target};
use super::challenge::Challenge;
use super::error::{Failure, Failures, RegistryError};
use super::login::{Logins, Proof};
use super::transport::{Party, Sent, Transport};
use super::types::{Directory, Endpoint};
use super::url::{self, Origin};

/// How many redirects are followed.
const MOST_REDIRECTS: usize = 10;

/// How large the parts of an upload are.
const PART: u64 = 32 << 20;

/// What all requests share.
pub(super) struct Client {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) transport: Transport,
    pub(super) limits: Limits,
    pub(super) logins: Logins,
    /// The parts of an upload that is not taken whole, in bytes.
    pub(super) part: u64,
    /// What insecure registries speak, once known.
    schemes: Mutex<HashMap<String, &'static str>>,
}

/// An answer, and whether the registry itself gave it: an upload, a next page or a redirect may lead to another host.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    at_home: bool,
}

/// Where a request begins, and whose TLS and redirects it has.
pub(super) struct Start<'a> {
    pub(super) registry: &'a str,
    pub(super) insecure: bool,
    /// The registry's own origin: only that sees the client certificate.
    pub(super) home: Option<Origin>,
    pub(super) uri: Uri,
}

impl Client {
    pub(super) fn new(directory: Arc<dyn Directory>, transport: Transport, limits: Limits) -> Self {
        let (logins, schemes) = (Logins::default(), Mutex::default());
        Self { directory, transport, limits, logins, part: PART, schemes }
    }

    /// Sends `ask` to `endpoint` and answers its challenge. Any status but 401 is an answer.
    pub(super) fn send(&self, endpoint: &Endpoint, ask: &Ask<'_>) -> Result<Response<Body>, Failure> {
        if !endpoint.insecure {
            return self.send_over("https", endpoint, ask);
        }
        let registry = endpoint.reference.registry();
        let schemes = || self.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = schemes().get(registry).copied();
        if let Some(scheme) = known {
            return self.send_over(scheme, endpoint, ask);
        }
        let mut result = self.send_over("https", endpoint, ask);
        let mut scheme = "https";
        if let Err(https) = &mut result
            && https.is_without_answer()
        {
            let https = Box::new(std::mem::replace(https, Failure::NoTls));
            scheme = "http";
            result = self.send_over(scheme, endpoint, ask).map_err(|http| match (&*https, &http) {
                // The same twice.
                (Failure::Resolve { .. }, Failure::Resolve { .. }) => http,
                _ if http.is_without_answer() => Failure::BothSchemes { https, http: Box::new(http) },
                _ => http,
            });
        }
        let answered = match &result {
            Ok(_) => true,
            Err(failure) => matches!(failure, Failure::Unauthorized { .. } | Failure::Challenge(_)),
        };
        if answered {
            schemes().insert(registry.to_owned(), scheme);
        }
        result
    }

    fn send_over(&self, scheme: &str, endpoint: &Endpoint, ask: &Ask<'_>) -> Result<Response<Body>, Failure> {
        let registry = endpoint.reference.registry();
        let host = if registry == DOCKER_IO { "registry-1.docker.io" } else { registry };
        let root = url::absolute(&format!("{scheme}://{host}/"))?;
        let uri = match &ask.target {
            Target::Path(path) => url::resolve(&root, path)?,
            Target::Url(uri) => uri.clone(),
        };
        let home = Origin::of(&root);
        downgrade(&root, &uri, endpoint.insecure)?;
        let start = Start { registry, insecure: endpoint.insecure, home: Some(home.clone()), uri };
        let mut proof = self.logins.known(self, endpoint, &home, &ask.scopes)?;
        for last in [false, true] {
            let answer = self.follow(&start, ask, proof.as_ref())?;
            let forbidden = answer.response.status() == StatusCode::FORBIDDEN && proof.is_some();
            let unauthorized = answer.response.status() == StatusCode::UNAUTHORIZED;
            if !answer.at_home || !(forbidden || unauthorized) {
                return Ok(answer.response);
            }
            let challenge = Challenge::best(answer.response.headers());
            let said = words(answer.response);
            let refused = |proof: Option<&Proof>| Failure::Unauthorized {
                registry: registry.to_owned(),
                login: proof.and_then(|proof| proof.login.clone()),
                words: said.clone(),
            };
            match challenge {
                _ if forbidden => return Err(refused(proof.as_ref())),
                Err(kinds) if !kinds.is_empty() => return Err(Failure::Challenge(kinds)),
                Ok(challenge) if !last => {
                    let old = proof.take();
                    proof = self.logins.challenged(self, endpoint, &home, &ask.scopes, challenge, &old)?;
                    // The same once more would be refused once more.
                    if proof.is_none() || proof == old {
                        return Err(refused(old.as_ref()));
                    }
                }
                _ => return Err(refused(proof.as_ref())),
            }
        }
        Err(Failure::Protocol("it asks for a login again and again".to_owned()))
    }

    /// Sends `ask` from `start` on, follows redirects, and shows `proof` only where it belongs.
    pub(super) fn follow(
        &self,
        start: &Start<'_>,
        ask: &Ask<'_>,
        proof: Option<&Proof>,
    ) -> Result<Answer, Failure> {
        let mut uri = start.uri.clone();
        let mut proof = proof;
        for _ in 0..=MOST_REDIRECTS {
            let origin = Origin::of(&uri);
            proof = proof.filter(|proof| proof.origin == origin);
            let response = self.exchange(start, &uri, ask, proof)?;
            if !is_redirect(&response, &ask.method) {
                return Ok(Answer { at_home: start.home == Some(origin), response });
            }
            let location = header(response.headers(), LOCATION.as_str()).unwrap_or_default();
            let next = url::resolve(&uri, location)?;
            downgrade(&uri, &next, start.insecure || ask.verified)?;
            if ask.secret && Origin::of(&next) != origin {
                return Err(Failure::Elsewhere(next.host().unwrap_or_default().to_owned()));
            }
            uri = next;
        }
        Err(Failure::Redirects(MOST_REDIRECTS))
    }

    fn exchange(
        &self,
        start: &Start<'_>,
        uri: &Uri,
        ask: &Ask<'_>,
        proof: Option<&Proof>,
    ) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder().method(ask.method.clone()).uri(uri.clone());
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if let Some(proof) = proof {
            request = request.header(AUTHORIZATION, proof.header.clone());
        }
        let bad = |error: ureq::http::Error| Failure::Protocol(error.to_string());
        let itself = Some(Origin::of(uri)) == start.home;
        let party = Party { registry: start.registry.to_owned(), insecure: start.insecure, itself };
        match &ask.payload {
            Payload::Nothing => {
                self.transport.exchange(&party, request.body(()).map_err(bad)?, Sent::Nothing)
            }
            Payload::Bytes(bytes) => {
                self.transport.exchange(&party, request.body(()).map_err(bad)?, Sent::Bytes(bytes))
            }
            Payload::Part { stream, from, size } => stream.part(*from, *size, |reader| {
                let length = HeaderValue::from(*size);
                let request = request.header(ureq::http::header::CONTENT_LENGTH, length).body(());
                self.transport.exchange(&party, request.map_err(bad)?, Sent::Stream(reader, *size))
            }),
        }
    }

    /// Tries `work` until it succeeds, fails for good, or has failed `tries` times.
    pub(super) fn patiently<T>(
        &self,
        tries: u32,
        mut work: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        for tried in 1.. {
            let failure = match work() {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            if !failure.is_transient() {
                return Err(failure);
            }
            if tried >= tries {
                return Err(again(failure, tried));
            }
            self.rest(tried, failure)?;
        }
        Err(Failure::Stopped)
    }

    /// The pause after try number `tried`, which ended in `failure`: given back if the registry wants a longer one.
    pub(super) fn rest(&self, tried: u32, failure: Failure) -> Result<(), Failure> {
        let timeouts = &self.transport.timeouts;
        let most = timeouts.pause_most;
        let own = timeouts.pause.saturating_mul(1 << tried.saturating_sub(1).min(16)).min(most);
        match failure.wait() {
            Some(wait) if wait > most => Err(failure),
            Some(wait) => self.transport.pause(wait.max(own)),
            None => self.transport.pause(jittered(own)),
        }
    }

    /// Where `reference` may be had.
    pub(super) fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, RegistryError> {
        let found = self.directory.endpoints(reference);
        let endpoints =
            found.map_err(|source| RegistryError::Directory { reference: reference.clone(), source })?;
        match endpoints.is_empty() {
            true => Err(RegistryError::Nowhere { reference: reference.clone() }),
            false => Ok(endpoints),
        }
    }

    /// Where `reference` is pushed to.
    pub(super) fn home(&self, reference: &Reference) -> Result<Endpoint, RegistryError> {
        let found = self.directory.home(reference);
        found.map_err(|source| RegistryError::Directory { reference: reference.clone(), source })
    }

    /// Asks one endpoint after the other. Only the last one is asked several times.
    pub(super) fn first<T>(
        &self,
        endpoints: &[Endpoint],
        mut work: impl FnMut(&Endpoint) -> Result<T, Failure>,
    ) -> Result<T, Failures> {
        let mut failures = Vec::new();
        for (at, endpoint) in endpoints.iter().enumerate() {
            let is_last = at + 1 == endpoints.len();
            let tries = if is_last { self.transport.timeouts.tries } else { 1 };
            match self.patiently(tries, || work(endpoint)) {
                Ok(done) => return Ok(done),
                Err(failure) => failures.push((endpoint_name(endpoint), failure)),
            }
        }
        Err(Failures(failures))
    }
}

/// What people know an endpoint by.
pub(super) fn endpoint_name(endpoint: &Endpoint) -> String {
    let registry = endpoint.reference.registry();
    match endpoint.mirror {
        true => format!("mirror {registry}"),
        false => registry.to_owned(),
    }
}

/// A name below `registry`, for what is asked of it as a whole.
pub(super) fn any_reference(registry: &str) -> Result<Reference, ReferenceError> {
    format!("{registry}/any").parse()
}

/// The last failure, and how many there were.
pub(super) fn again(last: Failure, tries: u32) -> Failure {
    match tries {
        0 | 1 => last,
        tries => Failure::Again { last: Box::new(last), tries },
    }
}

/// Between half and all of it: many that were cut at once do not come back at once.
fn jittered(time: Duration) -> Duration {
    let mut random = [0];
    sys::random(&mut random);
    time.mul_f64(0.5 + f64::from(random[0]) / 512.0)
}

fn is_redirect(response: &Response<Body>, method: &Method) -> bool {
    match response.status().as_u16() {
        307 | 308 => true,
        301..=303 => method == Method::GET || method == Method::HEAD,
        _ => false,
    }
}

/// Refuses the way from https to http, unless it does not matter.
fn downgrade(from: &Uri, to: &Uri, allowed: bool) -> Result<(), Failure> {
    let down = from.scheme_str() == Some("https") && to.scheme_str() == Some("http");
    match down && !allowed {
        true => Err(Failure::Downgrade(to.host().unwrap_or_default().to_owned())),
        false => Ok(()),
    }
}
