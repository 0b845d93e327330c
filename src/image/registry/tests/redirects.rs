//! Redirects: where they may lead, and what goes along.

use super::*;

/// A registry that wants a password and has its blobs elsewhere.
fn leading(target: impl Fn(&Seen) -> String + Send + Sync + 'static) -> Server {
    Server::start(move |seen, _| match seen.header("authorization") {
        None => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
        Some(_) => Reply::new(307, "moved").with("Location", target(seen)),
    })
}

fn blob(server: &Server, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let registry = Given::insecure(&[server.address.to_string()]).password().registry();
    read(registry.blob(&reference(server, "a"), &layer(bytes)))
}

#[test]
fn credentials_do_not_follow_to_another_host() {
    let bytes = noise(1000);
    let sent = bytes.clone();
    let storage = Server::start(move |_, _| Reply::new(200, sent.clone()));
    let target = format!("http://{}/blob?signature=s", storage.address);
    let server = leading(move |_| target.clone());
    assert_eq!(blob(&server, &bytes).unwrap(), bytes);
    let seen = storage.seen();
    assert_eq!((seen.len(), seen[0].header("authorization")), (1, None));
    assert_eq!(seen[0].target, "/blob?signature=s");
    assert!(server.seen()[1].header("authorization").is_some());
}

#[test]
fn another_name_of_the_same_host_is_another_host() {
    let bytes = noise(1000);
    let sent = bytes.clone();
    let storage = Server::start(move |_, _| Reply::new(200, sent.clone()));
    let target = format!("//{}/blob", storage.named("localhost"));
    let server = leading(move |_| target.clone());
    assert_eq!(blob(&server, &bytes).unwrap(), bytes);
    assert_eq!(storage.seen()[0].header("authorization"), None);
}

#[test]
fn credentials_follow_within_the_registry_but_do_not_come_back_to_it() {
    let bytes = noise(1000);
    let sent = bytes.clone();
    let server = Server::start(move |seen, _| match (seen.header("authorization"), seen.target.as_str()) {
        (_, "/open") => Reply::new(200, sent.clone()),
        (None, _) => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
        (Some(_), _) => Reply::new(302, "").with("Location", "/open"),
    });
    assert_eq!(blob(&server, &bytes).unwrap(), bytes);
    assert!(server.seen()[2].header("authorization").is_some());
    let home = server.address;
    let elsewhere =
        Server::start(move |_, _| Reply::new(307, "").with("Location", format!("http://{home}/open")));
    let target = format!("http://{}/", elsewhere.address);
    let first = leading(move |_| target.clone());
    assert_eq!(blob(&first, &bytes).unwrap(), bytes);
    assert_eq!(server.seen()[3].header("authorization"), None);
}

#[test]
fn a_challenge_from_elsewhere_is_not_answered() {
    let storage =
        Server::start(|_, _| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"give me\""));
    let target = format!("http://{}/blob", storage.address);
    let server = leading(move |_| target.clone());
    let error = blob(&server, b"x").unwrap_err();
    assert!(error.contains("HTTP status 401"), "{error}");
    assert_eq!(storage.seen().len(), 1);
}

#[test]
fn a_cut_goes_back_to_the_registry_for_a_new_redirect() {
    let bytes = noise(10_000);
    let sent = bytes.clone();
    let storage = Server::start(move |seen, before| match (before, seen.from()) {
        (0, _) => Reply { cut: Some(4000), ..Reply::new(200, sent.clone()) },
        (_, from) => {
            Reply::new(206, sent[from..].to_vec()).with("Content-Range", format!("bytes {from}-9999/10000"))
        }
    });
    let place = storage.address;
    let server = leading(move |seen| format!("http://{place}/{}", seen.from()));
    assert_eq!(blob(&server, &bytes).unwrap(), bytes);
    assert_eq!(storage.lines(), ["GET /0", "GET /4000"]);
}

#[test]
fn redirects_without_end_or_target_end() {
    let server = Server::start(|_, before| Reply::new(302, "").with("Location", format!("/{before}")));
    let error = blob(&server, b"x").unwrap_err();
    assert!(error.contains("more than 10 redirects"), "{error}");
    assert_eq!(server.seen().len(), 11);
    for location in ["", "file:///etc/passwd", "ftp://h/", "http://"] {
        let server = Server::start(move |_, _| Reply::new(302, "").with("Location", location));
        let error = blob(&server, b"x").unwrap_err();
        assert!(error.contains("cannot be followed"), "{location}: {error}");
    }
}

#[test]
fn a_form_with_a_secret_does_not_leave_its_host() {
    let thief = Server::start(|_, _| Reply::new(200, r#"{"access_token":"t"}"#));
    let target = format!("http://{}/", thief.address);
    let tokens = Server::start(move |_, _| Reply::new(307, "").with("Location", target.clone()));
    let realm = format!("http://{}/token", tokens.address);
    let server = Server::start(move |_, _| {
        Reply::new(401, "").with("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
    });
    let registry = Given::insecure(&[server.address.to_string()]).token().registry();
    let error = line(registry.manifest(&reference(&server, "a")));
    assert!(error.contains("does not get them"), "{error}");
    assert!(thief.seen().is_empty());
}

#[test]
fn a_password_for_the_token_server_does_not_leave_its_host() {
    let other = Server::start(|_, _| Reply::new(200, r#"{"token":"t"}"#));
    let target = format!("http://{}/", other.address);
    let tokens = Server::start(move |_, _| Reply::new(302, "").with("Location", target.clone()));
    let realm = format!("http://{}/token", tokens.address);
    let server = Server::start(move |seen, _| match seen.header("authorization") {
        Some("Bearer t") => Reply::new(200, MANIFEST),
        _ => Reply::new(401, "").with("WWW-Authenticate", format!("Bearer realm=\"{realm}\"")),
    });
    let registry = Given::insecure(&[server.address.to_string()]).password().registry();
    registry.manifest(&reference(&server, "a")).unwrap();
    assert!(tokens.seen()[0].header("authorization").is_some());
    assert_eq!(other.seen()[0].header("authorization"), None);
}

#[test]
fn a_challenge_where_an_upload_or_a_next_page_leads_is_not_answered() {
    let thief = Server::start(|seen, _| match seen.target.as_str() {
        target if target.starts_with("/token") => Reply::new(200, r#"{"token":"t"}"#),
        _ => {
            let realm = format!("http://{}/token", seen.header("host").unwrap());
            Reply::new(401, "").with("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
        }
    });
    let elsewhere = format!("http://{}/v2/a/next", thief.address);
    let server = Server::start(move |seen, _| match seen.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        "POST" => Reply::new(202, "").with("Location", &elsewhere),
        _ => Reply::new(200, r#"{"tags":["1"]}"#).with("Link", format!("<{elsewhere}>; rel=\"next\"")),
    });
    let registry = Given::insecure(&[server.address.to_string()]).password().registry();
    let error = line(registry.tags(&reference(&server, "a")));
    assert!(error.contains("HTTP status 401"), "{error}");
    let bytes = noise(100);
    let open = || -> std::io::Result<Box<dyn std::io::Read + Send>> {
        Ok(Box::new(std::io::Cursor::new(noise(100))))
    };
    let error = line(registry.push_blob(&reference(&server, "a"), &layer(&bytes), &open, None));
    assert!(error.contains("HTTP status 401"), "{error}");
    let asked = thief.lines();
    assert!(asked.iter().all(|line| !line.contains("/token")), "{asked:?}");
    assert!(thief.seen().iter().all(|seen| seen.header("authorization").is_none()));
}
