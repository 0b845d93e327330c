//! Challenges, tokens, and who sees what.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const MINE: &str = "Basic bWU6aHVudGVyMg==";

fn challenge(realm: &str) -> Reply {
    let challenge = format!(r#"Bearer realm="{realm}",service="registry",scope="repository:a:pull""#);
    Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
        .with("WWW-Authenticate", challenge)
}

/// A registry that takes the tokens of `realm` that `good` likes.
fn guarded(realm: String, good: impl Fn(&str) -> bool + Send + Sync + 'static) -> Server {
    Server::start(move |seen, _| match seen.header("authorization") {
        Some(shown) if good(shown) => Reply::new(200, MANIFEST),
        _ => challenge(&realm),
    })
}

fn realm(server: &Server) -> String {
    format!("http://{}/token", server.address)
}

#[test]
fn nobody_shows_credentials_that_nobody_asked_for() {
    let server = Server::start(|_, _| Reply::new(200, MANIFEST));
    let registry = Given::insecure(&[server.address.to_string()]).password().registry();
    registry.manifest(&reference(&server, "a")).unwrap();
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn basic_is_answered_once_it_is_asked_for_and_remembered() {
    let server = Server::start(|seen, _| match seen.header("authorization") {
        Some(MINE) => Reply::new(200, MANIFEST),
        _ => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let registry = Given::insecure(&[server.address.to_string()]).password().registry();
    registry.manifest(&reference(&server, "a")).unwrap();
    registry.manifest(&reference(&server, "b")).unwrap();
    let shown: Vec<bool> = server.seen().iter().map(|seen| seen.header("authorization").is_some()).collect();
    assert_eq!(shown, [false, true, true]);
}

#[test]
fn a_missing_and_a_wrong_login_say_what_to_do() {
    let server = Server::start(|_, _| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""));
    let place = server.address.to_string();
    let anonymous = Given::insecure(&[place.as_str()]).registry().manifest(&reference(&server, "a"));
    assert!(anonymous.as_ref().unwrap_err().is_unauthorized());
    let error = line(anonymous);
    assert!(error.contains(&format!("or needs a login: rcrun login {place}")), "{error}");
    assert_eq!(server.seen().len(), 1);
    let error =
        line(Given::insecure(&[place.as_str()]).password().registry().manifest(&reference(&server, "a")));
    assert!(error.contains("the credentials from auth.json do not allow it"), "{error}");
    assert_eq!(server.seen().len(), 3);
    let error = line(
        Given::insecure(&[server.address.to_string()]).token().registry().manifest(&reference(&server, "a")),
    );
    assert!(error.contains("wants a password"), "{error}");
}

#[test]
fn an_unknown_kind_of_login_is_named() {
    let server = Server::start(|_, _| Reply::new(401, "").with("WWW-Authenticate", "Negotiate"));
    let error = line(at(&server).manifest(&reference(&server, "a")));
    assert!(error.contains("a kind of login that is not known: \"negotiate\""), "{error}");
}

#[test]
fn a_token_is_fetched_once_for_many_requests_of_a_repository() {
    let tokens = Server::start(|_, _| Reply::new(200, r#"{"token":"t","expires_in":300}"#));
    let server = guarded(realm(&tokens), |shown| shown == "Bearer t");
    let registry = Given::insecure(&[server.address.to_string()]).password().registry();
    for _ in 0..3 {
        registry.manifest(&reference(&server, "a")).unwrap();
    }
    let asked = tokens.seen();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].target, "/token?account=me&service=registry&scope=repository%3Aa%3Apull");
    assert_eq!(asked[0].header("authorization"), Some(MINE));
    assert_eq!(server.seen().len(), 4);
    // The registry itself never sees the password.
    assert!(server.seen().iter().all(|seen| seen.header("authorization") != Some(MINE)));
    registry.manifest(&reference(&server, "b")).unwrap();
    assert_eq!((tokens.seen().len(), server.seen().len()), (2, 5));
}

#[test]
fn threads_share_a_token() {
    let tokens = Server::start(|_, _| Reply::new(200, r#"{"access_token":"t"}"#));
    let server = guarded(realm(&tokens), |shown| shown == "Bearer t");
    let registry = at(&server);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| registry.manifest(&reference(&server, "a")).unwrap());
        }
    });
    assert_eq!(tokens.seen().len(), 1);
    assert_eq!(tokens.seen()[0].header("authorization"), None);
}

#[test]
fn a_token_that_expires_in_the_middle_is_renewed_once() {
    let issued = Arc::new(AtomicUsize::new(0));
    let tokens = Server::start({
        let issued = Arc::clone(&issued);
        move |_, _| Reply::new(200, format!(r#"{{"token":"t{}"}}"#, issued.fetch_add(1, Ordering::Relaxed)))
    });
    let (latest, realm) = (Arc::clone(&issued), realm(&tokens));
    let bytes = noise(10_000);
    let sent = bytes.clone();
    // The second request is refused, whatever it shows.
    let server = Server::start(move |seen, before| {
        let good = format!("Bearer t{}", latest.load(Ordering::Relaxed).wrapping_sub(1));
        match (seen.header("authorization"), seen.from()) {
            (Some(shown), 0) if shown == good => Reply { cut: Some(5000), ..Reply::new(200, sent.clone()) },
            (Some(shown), from) if shown == good && before != 2 => Reply::new(206, sent[from..].to_vec())
                .with("Content-Range", format!("bytes {from}-9999/10000")),
            _ => challenge(&realm),
        }
    });
    assert_eq!(read(at(&server).blob(&reference(&server, "a"), &layer(&bytes))).unwrap(), bytes);
    assert_eq!((tokens.seen().len(), server.seen().len()), (2, 4));
}

#[test]
fn a_token_that_is_never_good_ends_after_two() {
    let tokens = Server::start(|_, before| Reply::new(200, format!(r#"{{"token":"t{before}"}}"#)));
    let server = guarded(realm(&tokens), |_| false);
    let error = line(at(&server).manifest(&reference(&server, "a")));
    assert!(
        error.contains("does not exist, or needs a login (UNAUTHORIZED: authentication required)"),
        "{error}"
    );
    assert_eq!((tokens.seen().len(), server.seen().len()), (1, 2));
}

#[test]
fn an_identity_token_is_exchanged_by_post() {
    let tokens = Server::start(|seen, _| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let wanted = "grant_type=refresh_token&client_id=rcrun&service=registry\
            &scope=repository%3Aa%3Apull&refresh_token=hunter2";
        match seen.method == "POST" && body == wanted {
            true => Reply::new(200, r#"{"access_token":"t"}"#),
            false => Reply::new(400, r#"{"error":"invalid_grant"}"#),
        }
    });
    let server = guarded(realm(&tokens), |shown| shown == "Bearer t");
    let registry = Given::insecure(&[server.address.to_string()]).token().registry();
    registry.manifest(&reference(&server, "a")).unwrap();
    let error = line(registry.manifest(&reference(&server, "b")));
    assert!(error.contains("credentials from auth.json do not allow it (invalid_grant)"), "{error}");
}

#[test]
fn a_token_server_that_fails_is_named() {
    for (reply, words) in [
        (
            Reply::new(401, r#"{"details":"incorrect username or password"}"#),
            "from auth.json do not allow it (incorrect username",
        ),
        (Reply::new(500, ""), "HTTP status 500 (3 tries)"),
        (Reply::new(200, "{}"), "its answer has no token"),
        (Reply::new(200, "{\"token\":\"a\\nb\"}"), "its answer has no token"),
        (Reply::new(200, "<html>"), "no JSON with a token"),
        (Reply::new(200, vec![b' '; 2 << 20]), "more than 1048576 bytes"),
    ] {
        let tokens = Server::start(move |_, _| reply.clone());
        let server = guarded(realm(&tokens), |_| true);
        let registry = Given::insecure(&[server.address.to_string()]).password().registry();
        let error = line(registry.manifest(&reference(&server, "a")));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_realm_that_is_no_url_is_refused() {
    for realm in ["file:///etc/passwd", "/token", "", "http://u:p@h/"] {
        let server = guarded(realm.to_owned(), |_| false);
        let error = line(at(&server).manifest(&reference(&server, "a")));
        assert!(error.contains("cannot be followed"), "{realm}: {error}");
    }
}

#[test]
fn a_login_is_checked_with_its_own_credentials() {
    let server = Server::start(|seen, _| match seen.header("authorization") {
        Some(MINE) => Reply::new(200, "{}"),
        _ => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let place = server.address.to_string();
    let registry = Given::insecure(&[place.as_str()]).registry();
    let credentials = |password: &str| {
        let secret = Secret::Password { user: "me".to_owned(), password: password.to_owned() };
        Credentials { secret, source: "the command line".to_owned() }
    };
    registry.login(&place, credentials("hunter2")).unwrap();
    assert_eq!(server.lines(), ["GET /v2/", "GET /v2/"]);
    let error = line(registry.login(&place, credentials("wrong")));
    assert!(error.starts_with(&format!("cannot log in to {place}: ")), "{error}");
    assert!(error.contains("the command line do not allow it"), "{error}");
    assert!(line(registry.login("no host", credentials("x"))).contains("cannot log in to no host"));
}

#[test]
fn what_a_login_does_not_allow_names_it() {
    let server = Server::start(|seen, _| match seen.header("authorization") {
        None => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
        Some(_) => Reply::new(403, r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#),
    });
    let registry = Given::insecure(&[server.address.to_string()]).password().registry();
    let error = line(registry.push_manifest(&reference(&server, "a"), "application/x", MANIFEST));
    assert!(error.contains("credentials from auth.json do not allow it (DENIED: read only)"), "{error}");
}

#[test]
fn a_registrys_own_token_is_shown_to_it_and_no_token_server_is_asked() {
    for challenge in ["Basic realm=\"r\"", "Bearer realm=\"http://127.0.0.1:1/token\",service=\"s\""] {
        let server = Server::start(move |seen, _| match seen.header("authorization") {
            Some("Bearer hunter2") => Reply::new(200, MANIFEST),
            _ => Reply::new(401, "").with("WWW-Authenticate", challenge),
        });
        let mut given = Given::insecure(&[server.address.to_string()]);
        let secret = Secret::RegistryToken("hunter2".to_owned());
        given.credentials = Some(Credentials { secret, source: "the request".to_owned() });
        given.registry().manifest(&reference(&server, "a")).unwrap();
    }
}

#[test]
fn what_went_wrong_has_a_kind() {
    let kind = |reply: Reply, given: fn(Given) -> Given| {
        let server = Server::start(move |_, _| reply.clone());
        let registry = given(Given::insecure(&[server.address.to_string()])).registry();
        registry.manifest(&reference(&server, "a")).unwrap_err().kind()
    };
    let basic = |status| Reply::new(status, "").with("WWW-Authenticate", "Basic realm=\"r\"");
    assert_eq!(kind(Reply::new(404, ""), |given| given), ErrorKind::NotFound);
    assert_eq!(kind(basic(401), |given| given), ErrorKind::LoginNeeded);
    assert_eq!(kind(basic(401), Given::password), ErrorKind::LoginRefused);
    assert_eq!(kind(Reply::new(403, ""), |given| given), ErrorKind::LoginRefused);
    for status in [429, 500, 503] {
        assert_eq!(kind(Reply::new(status, ""), |given| given), ErrorKind::Unavailable);
    }
    assert_eq!(kind(Reply::new(418, ""), |given| given), ErrorKind::Other);
    // Where nobody listens, nor another test soon.
    let gone = "127.0.0.1:1";
    let registry = Given::insecure(&[gone]).registry();
    let error = registry.manifest(&format!("{gone}/a").parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
