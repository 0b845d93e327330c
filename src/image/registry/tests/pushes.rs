//! Pushing blobs and manifests to registries of several habits.

use std::io::{self, Read};
use std::sync::Mutex;

use super::*;

/// A registry's uploads in memory.
#[derive(Default)]
struct Store {
    upload: Vec<u8>,
    blobs: Vec<Vec<u8>>,
}

/// What a registry does otherwise than most.
#[derive(Clone, Copy, Default)]
struct Habits {
    /// Answers a whole upload with this status.
    whole: u16,
    /// Wants parts of at least so many bytes.
    least: usize,
    /// Cuts the part that comes as this one, after having stored half of it.
    cut_part: Option<usize>,
    /// Names locations without a host.
    relative: bool,
}

fn uploads(habits: Habits) -> (Server, Arc<Mutex<Store>>) {
    let store = Arc::new(Mutex::new(Store::default()));
    let parts = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start({
        let store = Arc::clone(&store);
        move |seen, _| {
            let mut store = store.lock().unwrap();
            let host = format!("http://{}", seen.header("host").unwrap());
            let host = if habits.relative { String::new() } else { host };
            let here = format!("{host}/v2/a/blobs/uploads/u?state=s");
            let stands = |store: &Store| format!("0-{}", store.upload.len().saturating_sub(1));
            match (seen.method.as_str(), seen.target.as_str()) {
                ("HEAD", target) => {
                    let there = store.blobs.iter().any(|blob| target.ends_with(digest(blob).hex()));
                    Reply::new(if there { 200 } else { 404 }, "")
                }
                ("POST", _) => {
                    store.upload.clear();
                    Reply::new(202, "").with("Location", here).with("OCI-Chunk-Min-Length", habits.least)
                }
                ("PUT", _) if !seen.body.is_empty() && habits.whole != 0 => Reply::new(habits.whole, ""),
                ("PATCH", _) => {
                    let range =
                        format!("{}-{}", store.upload.len(), store.upload.len() + seen.body.len() - 1);
                    if seen.header("content-range") != Some(&range) {
                        return Reply::new(416, "").with("Range", stands(&store)).with("Location", here);
                    }
                    let part = parts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if habits.cut_part == Some(part) {
                        store.upload.extend_from_slice(&seen.body[..seen.body.len() / 2]);
                        return Reply { silence: Some(Duration::ZERO), ..Reply::default() };
                    }
                    store.upload.extend_from_slice(&seen.body);
                    Reply::new(202, "").with("Location", here).with("Range", stands(&store))
                }
                ("GET", _) => Reply::new(204, "").with("Location", here).with("Range", stands(&store)),
                ("PUT", target) => {
                    let mut blob = std::mem::take(&mut store.upload);
                    blob.extend_from_slice(&seen.body);
                    let named = digest(&blob).to_string().replace(':', "%3A");
                    if !target.contains("state=s") || !target.ends_with(&format!("digest={named}")) {
                        return Reply::new(400, r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
                    }
                    store.blobs.push(blob);
                    Reply::new(201, "").with("Location", "/v2/a/blobs/x")
                }
                _ => Reply::new(405, ""),
            }
        }
    });
    (server, store)
}

fn opened(bytes: &[u8]) -> impl Fn() -> io::Result<Box<dyn Read + Send>> {
    let bytes = bytes.to_vec();
    move || Ok(Box::new(io::Cursor::new(bytes.clone())))
}

fn in_parts_of(server: &Server, part: u64) -> Registry {
    let mut registry = at(server);
    Arc::get_mut(&mut registry.client).unwrap().part = part;
    registry
}

#[test]
fn a_blob_is_sent_whole_once() {
    for relative in [false, true] {
        let (server, store) = uploads(Habits { relative, ..Habits::default() });
        let (registry, bytes) = (at(&server), noise(300_000));
        let push = || registry.push_blob(&reference(&server, "a"), &layer(&bytes), &opened(&bytes), None);
        assert_eq!(push().unwrap(), Pushed::Uploaded);
        assert_eq!(push().unwrap(), Pushed::Existed);
        assert_eq!(store.lock().unwrap().blobs, [bytes.as_slice()]);
        let methods: Vec<String> = server.seen().into_iter().map(|seen| seen.method).collect();
        assert_eq!(methods, ["HEAD", "POST", "PUT", "HEAD"]);
    }
}

#[test]
fn an_empty_blob_can_be_sent() {
    let (server, store) = uploads(Habits::default());
    at(&server).push_blob(&reference(&server, "a"), &layer(b""), &opened(b""), None).unwrap();
    assert_eq!(store.lock().unwrap().blobs, [b""]);
}

#[test]
fn a_registry_that_takes_no_whole_blobs_gets_parts() {
    for (whole, least, parts) in [(413, 0, 4), (405, 0, 4), (415, 50_000, 2)] {
        let (server, store) = uploads(Habits { whole, least, ..Habits::default() });
        let (registry, bytes) = (in_parts_of(&server, 30_000), noise(100_000));
        registry.push_blob(&reference(&server, "a"), &layer(&bytes), &opened(&bytes), None).unwrap();
        assert_eq!(store.lock().unwrap().blobs, [bytes]);
        assert_eq!(server.seen().iter().filter(|seen| seen.method == "PATCH").count(), parts);
    }
}

#[test]
fn a_part_that_was_cut_goes_on_where_the_registry_stands() {
    let (server, store) = uploads(Habits { whole: 413, cut_part: Some(1), ..Habits::default() });
    let (registry, bytes) = (in_parts_of(&server, 30_000), noise(100_000));
    registry.push_blob(&reference(&server, "a"), &layer(&bytes), &opened(&bytes), None).unwrap();
    assert_eq!(store.lock().unwrap().blobs, [bytes]);
    assert!(server.seen().iter().any(|seen| seen.header("content-range") == Some("45000-74999")));
}

#[test]
fn a_blob_of_a_neighbour_is_mounted_and_of_a_stranger_is_sent() {
    let server = Server::start(|seen, _| match seen.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        "POST" if seen.target.contains("from=b") => Reply::new(201, ""),
        "POST" if seen.target.contains("from=refused") => Reply::new(403, ""),
        "POST" => Reply::new(202, "").with("Location", "u"),
        _ => Reply::new(201, ""),
    });
    let (registry, bytes) = (at(&server), noise(10));
    let push = |from: &str| {
        let from: Reference = from.parse().unwrap();
        registry.push_blob(&reference(&server, "a"), &layer(&bytes), &opened(&bytes), Some(&from)).unwrap()
    };
    let place = server.address;
    assert_eq!(push(&format!("{place}/b")), Pushed::Mounted);
    let wanted = format!("/v2/a/blobs/uploads/?mount=sha256%3A{}&from=b", digest(&bytes).hex());
    assert_eq!(server.seen()[1].target, wanted);
    for from in
        [format!("{place}/c"), format!("{place}/refused"), "other.example/b".to_owned(), format!("{place}/a")]
    {
        assert_eq!(push(&from), Pushed::Uploaded);
    }
    let lines = server.lines();
    assert!(lines.iter().filter(|line| line.contains("from=")).count() == 3, "{lines:?}");
    assert!(lines.contains(&format!("PUT /v2/a/blobs/uploads/u?digest=sha256%3A{}", digest(&bytes).hex())));
}

#[test]
fn what_cannot_be_read_is_not_the_registry_s_fault() {
    let (server, store) = uploads(Habits::default());
    let registry = at(&server);
    let push =
        |open: Open<'_>| line(registry.push_blob(&reference(&server, "a"), &layer(&noise(1000)), open, None));
    let error = push(&|| Err(io::Error::other("the file is gone")));
    assert!(error.contains("cannot read what is pushed: the file is gone"), "{error}");
    let error = push(&opened(&noise(999)));
    assert!(error.contains("it ends 1 bytes too early"), "{error}");
    assert!(store.lock().unwrap().blobs.is_empty());
}

#[test]
fn a_refused_upload_says_why() {
    let (server, _) = uploads(Habits::default());
    let error = line(at(&server).push_blob(&reference(&server, "a"), &layer(b"x"), &opened(b"y"), None));
    assert!(error.contains("HTTP status 400 (DIGEST_INVALID)"), "{error}");
    let server =
        Server::start(|_, _| Reply::new(403, r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#));
    let error = line(at(&server).push_manifest(&reference(&server, "a:1"), "application/json", MANIFEST));
    assert!(error.contains("HTTP status 403 (DENIED: read only)"), "{error}");
}

#[test]
fn a_manifest_is_put_under_its_tag_or_digest() {
    let server = Server::start(|_, _| Reply::new(201, "").with("Docker-Content-Digest", digest(MANIFEST)));
    let registry = at(&server);
    registry.push_manifest(&reference(&server, "a:1"), "application/x", MANIFEST).unwrap();
    let by_digest = reference(&server, &format!("a@{}", digest(MANIFEST)));
    registry.push_manifest(&by_digest, "application/x", MANIFEST).unwrap();
    assert_eq!(
        server.lines(),
        ["PUT /v2/a/manifests/1".to_owned(), format!("PUT /v2/a/manifests/{}", digest(MANIFEST))]
    );
    let seen = &server.seen()[0];
    assert_eq!((seen.body.as_slice(), seen.header("content-type")), (MANIFEST, Some("application/x")));
    let error = line(registry.push_manifest(&reference(&server, "a:1"), "application/x", b"{}"));
    assert!(error.contains("was announced"), "{error}");
}

#[test]
fn a_push_asks_for_one_token_and_never_a_mirror() {
    let tokens = Server::start(|_, _| Reply::new(200, r#"{"token":"t"}"#));
    let realm = format!("http://{}/token", tokens.address);
    let server = Server::start(move |seen, _| match (seen.header("authorization"), seen.method.as_str()) {
        (None, _) => {
            Reply::new(401, "").with("WWW-Authenticate", format!("Bearer realm=\"{realm}\",service=r"))
        }
        (_, "HEAD") => Reply::new(404, ""),
        (_, "POST") => Reply::new(202, "").with("Location", "/u"),
        _ => Reply::new(201, ""),
    });
    let mirror = Server::start(|_, _| Reply::new(200, ""));
    let places = [&mirror, &server].map(|server| server.address.to_string());
    let registry = Given::insecure(&places).registry();
    let bytes = noise(10);
    registry.push_blob(&"r.example/a".parse().unwrap(), &layer(&bytes), &opened(&bytes), None).unwrap();
    registry.push_manifest(&"r.example/a".parse().unwrap(), "application/x", MANIFEST).unwrap();
    assert_eq!(tokens.lines(), ["GET /token?service=r&scope=repository%3Aa%3Apull%2Cpush"]);
    assert!(mirror.seen().is_empty());
}

#[test]
fn an_upload_elsewhere_goes_without_credentials() {
    let storage = Server::start(|_, _| Reply::new(201, ""));
    let there = format!("http://{}/u?signature=s", storage.address);
    let server = Server::start(move |seen, _| match (seen.header("authorization"), seen.method.as_str()) {
        (None, _) => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=r"),
        (_, "HEAD") => Reply::new(404, ""),
        _ => Reply::new(202, "").with("Location", there.clone()),
    });
    let registry = Given::insecure(&[server.address.to_string()]).password().registry();
    let bytes = noise(10);
    registry.push_blob(&reference(&server, "a"), &layer(&bytes), &opened(&bytes), None).unwrap();
    let seen = &storage.seen()[0];
    assert_eq!((seen.header("authorization"), seen.body.as_slice()), (None, bytes.as_slice()));
}

#[test]
fn an_upload_that_the_registry_lost_begins_anew() {
    let bytes = noise(5 << 20);
    let (parts, wanted) = (std::sync::atomic::AtomicUsize::new(0), bytes.len());
    let server = Server::start(move |seen, _| match seen.method.as_str() {
        "HEAD" | "GET" => Reply::new(404, ""),
        "POST" => Reply::new(202, "").with("Location", "/u"),
        "PATCH" => match parts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            1 => Reply { silence: Some(Duration::ZERO), ..Reply::default() },
            _ => Reply::new(202, "").with("Location", "/u"),
        },
        _ if seen.body.len() == wanted => Reply::new(413, ""),
        _ => Reply::new(201, ""),
    });
    let registry = in_parts_of(&server, 4 << 20);
    registry.push_blob(&reference(&server, "a"), &layer(&bytes), &opened(&bytes), None).unwrap();
    let ranges: Vec<String> =
        server.seen().iter().filter_map(|seen| seen.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges[..2], ["0-4194303", "4194304-5242879"]);
    assert_eq!(ranges[2..], ["0-2097151", "2097152-4194303", "4194304-5242879"]);
}
