//! Answers to challenges: Basic, and Bearer tokens by the distribution project's token.md and oauth.md.
//!
//! Credentials are looked up only after a challenge and kept for the life of the client, as tokens are until they expire.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::Method;
use ureq::http::header::{CONTENT_TYPE, HeaderValue};

use super::answer::{read_body, successful, words};
use super::ask::{Ask, Payload, Target};
use super::challenge::Challenge;
use super::client::{Client, Start};
use super::error::{Failure, Words};
use super::types::{Credentials, Endpoint, Secret};
use super::url::{self, Origin, encode};

/// The longest answer of a token server, in bytes.
const MOST_OF_A_TOKEN: u64 = 1 << 20;
/// How long a token lasts that does not say it: token.md.
const LIFETIME: Duration = Duration::from_secs(60);

/// An Authorization header, and for whom.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proof {
    /// The only host that may see it.
    pub(super) origin: Origin,
    /// What it sees.
    pub(super) header: HeaderValue,
    /// Where the credentials behind it are from; None if it proves nobody.
    pub(super) login: Option<String>,
}

/// What is known of logins so far.
#[derive(Default)]
pub(super) struct Logins {
    /// By registry, and what was asked for: a challenge may name a scope of its own.
    challenges: Mutex<HashMap<(String, String), Challenge>>,
    /// By registry and repository.
    credentials: Mutex<HashMap<(String, String), Option<Credentials>>>,
    tokens: Mutex<HashMap<Wanted, (Proof, Instant)>>,
}

/// What a token is for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Wanted {
    registry: String,
    repository: String,
    realm: String,
    service: Option<String>,
    scopes: Vec<String>,
}

/// token.md's and oauth.md's answer in one.
#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Logins {
    /// The proof for a registry whose challenge is known.
    pub(super) fn known(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        home: &Origin,
        scopes: &[String],
    ) -> Result<Option<Proof>, Failure> {
        let registry = endpoint.reference.registry();
        let challenge = {
            let challenges = lock(&self.challenges);
            let known = |scopes: String| challenges.get(&(registry.to_owned(), scopes)).cloned();
            known(scopes.join(" ")).or_else(|| known(String::new()))
        };
        challenge.map_or(Ok(None), |challenge| self.prove(client, endpoint, home, scopes, &challenge))
    }

    /// The proof after a challenge, which refused `old` if that was shown.
    pub(super) fn challenged(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        home: &Origin,
        scopes: &[String],
        challenge: Challenge,
        old: &Option<Proof>,
    ) -> Result<Option<Proof>, Failure> {
        // Another thread may have got a new one by now.
        lock(&self.tokens).retain(|_, (proof, _)| Some(&*proof) != old.as_ref());
        let registry = endpoint.reference.registry().to_owned();
        let general = match &challenge {
            Challenge::Basic => Challenge::Basic,
            Challenge::Bearer { realm, service, .. } => {
                Challenge::Bearer { realm: realm.clone(), service: service.clone(), scope: None }
            }
        };
        let proof = self.prove(client, endpoint, home, scopes, &challenge);
        let mut challenges = lock(&self.challenges);
        challenges.insert((registry.clone(), String::new()), general);
        challenges.insert((registry, scopes.join(" ")), challenge);
        proof
    }

    fn prove(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        home: &Origin,
        scopes: &[String],
        challenge: &Challenge,
    ) -> Result<Option<Proof>, Failure> {
        let credentials = self.credentials(client, endpoint)?;
        if let Some(Credentials { secret: Secret::RegistryToken(token), source }) = credentials {
            let header = sensitive(format!("Bearer {token}")).ok_or_else(|| unusable(&source))?;
            return Ok(Some(Proof { origin: home.clone(), header, login: Some(source) }));
        }
        match challenge {
            Challenge::Basic => match credentials {
                None => Ok(None),
                Some(Credentials { secret: Secret::Password { user, password }, source }) => {
                    let header = basic(&user, &password, &source)?;
                    Ok(Some(Proof { origin: home.clone(), header, login: Some(source) }))
                }
                Some(Credentials { source, .. }) => Err(refused(
                    endpoint,
                    Some(source),
                    Words("they are a token, but it wants a password".into()),
                )),
            },
            Challenge::Bearer { realm, service, scope } => {
                let mut scopes = scopes.to_vec();
                scopes.extend(scope.clone().filter(|scope| !scopes.contains(scope)));
                let (registry, repository) = place(endpoint);
                let wanted =
                    Wanted { registry, repository, realm: realm.clone(), service: service.clone(), scopes };
                self.token(client, endpoint, home, wanted).map(Some)
            }
        }
    }

    /// A token that is still good, or a new one. One thread at a time: those that want the same get the same.
    fn token(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        home: &Origin,
        wanted: Wanted,
    ) -> Result<Proof, Failure> {
        let mut tokens = lock(&self.tokens);
        if let Some((proof, until)) = tokens.get(&wanted)
            && Instant::now() < *until
        {
            return Ok(proof.clone());
        }
        let credentials = self.credentials(client, endpoint)?;
        let asked = Instant::now();
        let answer = self.ask_for_token(client, endpoint, home, &wanted, credentials.as_ref())?;
        let login = credentials.map(|credentials| credentials.source);
        let server = || server(&wanted.realm);
        let nonsense = || Failure::Token {
            server: server(),
            why: Box::new(Failure::Protocol("its answer has no token".to_owned())),
        };
        let text =
            answer.token.or(answer.access_token).filter(|token| !token.is_empty()).ok_or_else(nonsense)?;
        let header = sensitive(format!("Bearer {text}")).ok_or_else(nonsense)?;
        let proof = Proof { origin: home.clone(), header, login };
        let lifetime = answer.expires_in.filter(|&seconds| seconds > 0).map_or(LIFETIME, Duration::from_secs);
        // A little earlier than it expires: the way to the registry takes time, too. Never later than a day.
        let until = asked + lifetime.mul_f64(0.9).min(Duration::from_secs(86_400));
        tokens.insert(wanted, (proof.clone(), until));
        Ok(proof)
    }

    fn ask_for_token(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        home: &Origin,
        wanted: &Wanted,
        credentials: Option<&Credentials>,
    ) -> Result<TokenAnswer, Failure> {
        let server = server(&wanted.realm);
        let failed = |why: Failure| Failure::Token { server: server.clone(), why: Box::new(why) };
        let realm = url::absolute(&wanted.realm)?;
        if realm.scheme_str() != Some("https") && !endpoint.insecure {
            return Err(Failure::TokenInClear(server));
        }
        let (mut proof, mut form) = (None, None);
        match credentials {
            // A registry's token asks no token server.
            None | Some(Credentials { secret: Secret::RegistryToken(_), .. }) => {}
            Some(Credentials { secret: Secret::Password { user, password }, source }) => {
                let header = basic(user, password, source)?;
                proof = Some(Proof { origin: Origin::of(&realm), header, login: Some(source.clone()) });
            }
            Some(Credentials { secret: Secret::IdentityToken(token), .. }) => {
                form = Some(refresh_form(wanted, token));
            }
        }
        let ask = match &form {
            None => token_query(realm.clone(), wanted, credentials)?,
            Some(form) => token_form(realm.clone(), form),
        };
        let uri = match &ask.target {
            Target::Url(uri) => uri.clone(),
            Target::Path(_) => realm,
        };
        let start =
            Start { registry: &wanted.registry, insecure: endpoint.insecure, home: Some(home.clone()), uri };
        let answer = client.follow(&start, &ask, proof.as_ref()).map_err(failed)?.response;
        // oauth.md: 400 with invalid_grant for a refresh token that is no longer good.
        if matches!(answer.status().as_u16(), 401 | 403) || (form.is_some() && answer.status() == 400) {
            let login = credentials.map(|credentials| credentials.source.clone());
            return Err(refused(endpoint, login, words(answer)));
        }
        let answer = successful(answer, "token server").map_err(failed)?;
        let body =
            read_body(&client.transport, answer, "the token", MOST_OF_A_TOKEN, None).map_err(failed)?;
        serde_json::from_slice(&body)
            .map_err(|_| failed(Failure::Protocol("its answer is no JSON with a token".to_owned())))
    }

    fn credentials(&self, client: &Client, endpoint: &Endpoint) -> Result<Option<Credentials>, Failure> {
        let place = place(endpoint);
        // Under the lock: a credential helper is a program, which is run once.
        let mut known = lock(&self.credentials);
        if let Some(credentials) = known.get(&place) {
            return Ok(credentials.clone());
        }
        let found = client.directory.credentials(&place.0, &place.1).map_err(Failure::Settings)?;
        known.insert(place, found.clone());
        Ok(found)
    }
}

/// GET with everything in the query; `account` is who asks.
fn token_query(
    realm: ureq::http::Uri,
    wanted: &Wanted,
    credentials: Option<&Credentials>,
) -> Result<Ask<'static>, Failure> {
    let mut uri = realm;
    if let Some(Credentials { secret: Secret::Password { user, .. }, .. }) = credentials {
        uri = url::with_parameter(&uri, "account", user)?;
    }
    if let Some(service) = &wanted.service {
        uri = url::with_parameter(&uri, "service", service)?;
    }
    for scope in &wanted.scopes {
        uri = url::with_parameter(&uri, "scope", scope)?;
    }
    Ok(token_ask(Method::GET, uri, Payload::Nothing))
}

/// POST of a form, which has the secret in its body.
fn token_form(realm: ureq::http::Uri, form: &str) -> Ask<'_> {
    let mut ask = token_ask(Method::POST, realm, Payload::Bytes(form.as_bytes()));
    ask.secret = true;
    ask.headers.push((CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()));
    ask
}

fn token_ask(method: Method, uri: ureq::http::Uri, payload: Payload<'_>) -> Ask<'_> {
    let (headers, scopes) = (Vec::new(), Vec::new());
    Ask { method, target: Target::Url(uri), headers, payload, scopes, verified: false, secret: false }
}

fn refresh_form(wanted: &Wanted, token: &str) -> String {
    let service = wanted.service.as_deref().unwrap_or_default();
    format!(
        "grant_type=refresh_token&client_id=rcrun&service={}&scope={}&refresh_token={}",
        encode(service),
        encode(&wanted.scopes.join(" ")),
        encode(token)
    )
}

fn basic(user: &str, password: &str, source: &str) -> Result<HeaderValue, Failure> {
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    sensitive(text).ok_or_else(|| unusable(source))
}

fn unusable(source: &str) -> Failure {
    Failure::Settings(format!("the credentials from {source} are unusable").into())
}

/// A header's value that nobody prints.
fn sensitive(text: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn refused(endpoint: &Endpoint, login: Option<String>, words: Words) -> Failure {
    Failure::Unauthorized { registry: endpoint.reference.registry().to_owned(), login, words }
}

fn place(endpoint: &Endpoint) -> (String, String) {
    (endpoint.reference.registry().to_owned(), endpoint.reference.repository().to_owned())
}

/// A realm's host, for people.
fn server(realm: &str) -> String {
    match realm.parse::<ureq::http::Uri>() {
        Ok(uri) => format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default()),
        Err(_) => "of the challenge".to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
