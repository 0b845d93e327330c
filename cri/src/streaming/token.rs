//! Tokens: what a URL of ours is good for, once and for a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::api;

/// Tokens at a time; each one that is not used is there for its lifetime.
const LIMIT: usize = 1000;

/// What a URL was given out for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// `/exec/…`.
    Exec(api::ExecRequest),
    /// `/attach/…`.
    Attach(api::AttachRequest),
    /// `/portforward/…`.
    PortForward(api::PortForwardRequest),
}

impl Request {
    /// The first part of its path.
    pub fn path(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Attach(_) => "attach",
            Self::PortForward(_) => "portforward",
        }
    }
}

/// There are too many already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{LIMIT} streaming URLs wait to be used; try again when they have expired, {0:?} after they were given out"
)]
pub struct Exhausted(Duration);

/// All tokens that were given out and not used.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<String, (Request, Instant)>>);

impl Tokens {
    /// A token for a request: 128 random bits, as nothing else protects what it is good for.
    pub fn issue(&self, request: Request, lifetime: Duration, now: Instant) -> Result<String, Exhausted> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= LIMIT {
            all.retain(|_, (_, end)| *end > now);
        }
        if all.len() >= LIMIT {
            return Err(Exhausted(lifetime));
        }
        let mut bytes = [0; 16];
        rcrun::sys::random(&mut bytes);
        let token = URL_SAFE_NO_PAD.encode(bytes);
        all.insert(token.clone(), (request, now + lifetime));
        Ok(token)
    }

    /// What a token is good for; it is not any more, whatever comes of it.
    pub fn redeem(&self, token: &str, now: Instant) -> Option<Request> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (request, end) = all.remove(token)?;
        (end > now).then_some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);

    fn request(id: &str) -> Request {
        Request::Attach(api::AttachRequest { container_id: id.into(), ..Default::default() })
    }

    #[test]
    fn a_token_is_good_once() {
        let (tokens, now) = (Tokens::default(), Instant::now());
        let token = tokens.issue(request("a"), LIFETIME, now).unwrap();
        let other = tokens.issue(request("b"), LIFETIME, now).unwrap();
        assert_ne!(token, other);
        assert!(
            token.len() >= 22
                && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
        assert_eq!(tokens.redeem(&token, now), Some(request("a")));
        assert_eq!(tokens.redeem(&token, now), None);
        assert_eq!(tokens.redeem(&other, now), Some(request("b")));
        assert_eq!(tokens.redeem("", now), None);
    }

    #[test]
    fn a_token_expires() {
        let (tokens, now) = (Tokens::default(), Instant::now());
        let token = tokens.issue(request("a"), LIFETIME, now).unwrap();
        assert_eq!(tokens.redeem(&token, now + LIFETIME), None);
    }

    #[test]
    fn a_thousand_wait_at_most_and_expired_ones_make_room() {
        let (tokens, now) = (Tokens::default(), Instant::now());
        for _ in 0..LIMIT {
            tokens.issue(request("a"), LIFETIME, now).unwrap();
        }
        let error = tokens.issue(request("a"), LIFETIME, now).unwrap_err();
        assert!(error.to_string().starts_with("1000 streaming URLs wait"), "{error}");
        tokens.issue(request("a"), LIFETIME, now + LIFETIME).unwrap();
    }
}
