//! Manifests, tags, endpoints in order, and everything that is no manifest.

use super::*;

const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest() -> Reply {
    Reply::new(200, MANIFEST).with("Content-Type", format!("{TYPE}; charset=utf-8"))
}

#[test]
fn a_manifest_comes_byte_for_byte_with_its_type_and_digest() {
    let server = Server::start(|_, _| manifest());
    let fetched = at(&server).manifest(&reference(&server, "a/b:1")).unwrap();
    assert_eq!(fetched.bytes, MANIFEST);
    assert_eq!((fetched.media_type.as_str(), fetched.digest), (TYPE, digest(MANIFEST)));
    let seen = &server.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/v2/a/b/manifests/1"));
    assert!(seen.header("accept").unwrap().contains("docker.distribution.manifest.list.v2+json"));
    assert!(seen.header("user-agent").unwrap().starts_with("rcrun/"));
    assert_eq!((seen.header("authorization"), seen.header("accept-encoding")), (None, Some("identity")));
}

#[test]
fn a_wrong_digest_is_refused_be_it_asked_for_or_announced() {
    let server = Server::start(|seen, _| match seen.target.contains("sha256:") {
        true => manifest(),
        false => manifest().with("Docker-Content-Digest", digest(b"else")),
    });
    let registry = at(&server);
    let error = line(registry.manifest(&reference(&server, &format!("a@{}", digest(b"else")))));
    assert!(error.contains("was asked for") && error.contains(&digest(MANIFEST).to_string()), "{error}");
    let error = line(registry.manifest(&reference(&server, "a:1")));
    assert!(error.contains("was announced"), "{error}");
    let good = reference(&server, &format!("a:1@{}", digest(MANIFEST)));
    assert_eq!(registry.manifest(&good).unwrap().digest, digest(MANIFEST));
}

#[test]
fn an_unknown_tag_is_told_in_the_registry_s_words() {
    let server = Server::start(|_, _| {
        Reply::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
    });
    let error = at(&server).manifest(&reference(&server, "a:1")).unwrap_err();
    assert!(error.is_not_found());
    let (text, place) = (error.to_string(), server.address);
    let wanted = format!(
        "cannot get the manifest of {place}/a:1: {place}: no such repository, tag or digest (MANIFEST_UNKNOWN: manifest unknown)"
    );
    assert_eq!(text, wanted);
}

#[test]
fn what_is_no_manifest_is_named() {
    for (kind, body, words) in [
        ("text/html", "<html><title>Sign in</title>", "a web page (Sign in): is it a registry?"),
        ("text/plain", "hello", "text/plain: is it"),
        ("", "", "without a Content-Type"),
    ] {
        let server = Server::start(move |_, _| Reply::new(200, body).with("Content-Type", kind));
        let error = line(at(&server).manifest(&reference(&server, "a")));
        assert!(error.contains(words), "{error}");
    }
    let server = Server::start(|_, _| {
        let page = Reply::new(502, "<title>Bad\u{1b}[0m gateway</title>");
        page.with("Content-Type", "text/html; charset=utf-8")
    });
    let error = line(at(&server).manifest(&reference(&server, "a")));
    assert!(error.contains("HTTP status 502 (Bad [0m gateway) (3 tries)"), "{error}");
}

#[test]
fn a_manifest_without_end_stops_at_its_limit() {
    let large = Reply { chunked: true, ..Reply::new(200, vec![b'{'; 5 << 20]) };
    let server = Server::start(move |_, _| large.clone());
    let error = line(at(&server).manifest(&reference(&server, "a")));
    assert!(error.contains("RCRUN_IMAGE_MAX_MANIFEST_BYTES"), "{error}");
}

#[test]
fn an_encoding_that_was_not_asked_for_is_refused() {
    let server = Server::start(|_, _| manifest().with("Content-Encoding", "gzip"));
    let error = line(at(&server).manifest(&reference(&server, "a")));
    assert!(error.contains("encoded as \"gzip\""), "{error}");
}

#[test]
fn mirrors_are_asked_first_and_whatever_they_lack_comes_from_the_next() {
    let missing = Server::start(|_, _| Reply::new(404, ""));
    let broken = Server::start(|_, _| Reply::new(500, ""));
    let server = Server::start(|_, _| manifest());
    let down = "127.0.0.1:1".to_owned();
    let mirrors = [&missing, &broken].map(|server| server.address.to_string());
    let places = [mirrors[0].clone(), down, mirrors[1].clone(), server.address.to_string()];
    let registry = Given::insecure(&places).registry();
    assert!(registry.manifest(&"r.example/a:1".parse().unwrap()).is_ok());
    assert_eq!((missing.lines().len(), broken.lines().len(), server.lines().len()), (1, 1, 1));
    let registry = Given::insecure(&places[..3]).registry();
    let error = line(registry.manifest(&"r.example/a:1".parse().unwrap()));
    for words in [
        format!("r.example/a:1: mirror {}: no such", mirrors[0]),
        "; mirror 127.0.0.1:1: over https: cannot connect: Connection refused".to_owned(),
        format!("; {}: HTTP status 500 (3 tries)", mirrors[1]),
    ] {
        assert!(error.contains(&words), "{error}");
    }
}

#[test]
fn tags_are_read_page_by_page() {
    let server = Server::start(|seen, _| match seen.target.as_str() {
        "/v2/a/tags/list?n=1000" => Reply::new(200, r#"{"name":"a","tags":["1","2"]}"#)
            .with("Link", "</v2/a/tags/list?n=1000&last=2>; rel=\"next\""),
        "/v2/a/tags/list?n=1000&last=2" => Reply::new(200, r#"{"tags":["3"]}"#),
        "/v2/empty/tags/list?n=1000" => Reply::new(200, r#"{"tags":null}"#),
        _ => Reply::new(200, "<html>").with("Content-Type", "text/html"),
    });
    let registry = at(&server);
    assert_eq!(registry.tags(&reference(&server, "a")).unwrap(), ["1", "2", "3"]);
    assert!(registry.tags(&reference(&server, "empty")).unwrap().is_empty());
    let error = line(registry.tags(&reference(&server, "page")));
    assert!(error.contains("no list of tags but a web page"), "{error}");
}

#[test]
fn what_is_no_tag_is_not_taken_for_one() {
    for tag in ["../../b/manifests/1", "", "a b", "1@sha256:0", "--all", "\u{1b}[2J", "a/b"] {
        let server =
            Server::start(move |_, _| Reply::new(200, serde_json::json!({"tags": ["1", tag]}).to_string()));
        let error = line(at(&server).tags(&reference(&server, "a")));
        assert!(error.contains("its list of tags has") && !error.contains('\u{1b}'), "{error}");
    }
}

#[test]
fn a_list_of_tags_is_not_larger_than_anybody_needs() {
    let server = Server::start(|seen, before| {
        let tags: Vec<String> = (0..30_000).map(|tag| format!("{before}-{tag:0100}")).collect();
        Reply::new(200, serde_json::json!({ "tags": tags }).to_string())
            .with("Link", format!("<{}>; rel=\"next\"", seen.target))
    });
    let error = line(at(&server).tags(&reference(&server, "a")));
    assert!(error.contains("the list of tags has more than 16777216 bytes"), "{error}");
}

#[test]
fn a_list_of_tags_without_end_ends() {
    let server = Server::start(|seen, _| {
        Reply::new(200, "{}").with("Link", format!("<{}>; rel=\"next\"", seen.target))
    });
    let error = line(at(&server).tags(&reference(&server, "a")));
    assert!(error.contains("more than 1000 pages"), "{error}");
}
