//! Blobs over connections that end, drip, stall and lie.

use std::time::Instant;

use super::*;

/// A registry with ranges that cuts each answer after `cut` bytes.
fn cutting(bytes: Vec<u8>, cut: usize, ranges: bool) -> Server {
    Server::start(move |seen, _| {
        let from = if ranges { seen.from() } else { 0 };
        let rest = bytes[from..].to_vec();
        let whole = bytes.len();
        let cut = Some(cut).filter(|&cut| cut < rest.len());
        match from {
            0 => Reply { cut, ..Reply::new(200, rest) },
            from => Reply { cut, ..Reply::new(206, rest) }
                .with("Content-Range", format!("bytes {from}-{}/{whole}", whole - 1)),
        }
    })
}

#[test]
fn a_blob_comes_whole() {
    let bytes = noise(300_000);
    for chunked in [false, true] {
        let reply = Reply { chunked, ..Reply::new(200, bytes.clone()) };
        let server = Server::start(move |_, _| reply.clone());
        assert_eq!(read(at(&server).blob(&reference(&server, "a"), &layer(&bytes))).unwrap(), bytes);
        let wanted = format!("GET /v2/a/blobs/{}", digest(&bytes));
        assert_eq!(server.lines(), [wanted]);
    }
}

#[test]
fn an_empty_blob_is_empty() {
    let server = Server::start(|_, _| Reply::new(200, ""));
    assert_eq!(read(at(&server).blob(&reference(&server, "a"), &layer(b""))).unwrap(), b"");
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let bytes = noise(1000);
    let served = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let server = Server::start({
        let (bytes, served) = (bytes.clone(), Arc::clone(&served));
        move |_, _| {
            served.lock().unwrap().insert(std::thread::current().id());
            Reply::new(200, bytes.clone())
        }
    });
    let registry = at(&server);
    for _ in 0..3 {
        assert_eq!(read(registry.blob(&reference(&server, "a"), &layer(&bytes))).unwrap(), bytes);
    }
    assert_eq!(served.lock().unwrap().len(), 1);
}

#[test]
fn a_cut_blob_goes_on_where_it_was_cut() {
    let bytes = noise(500_000);
    let server = cutting(bytes.clone(), 60_000, true);
    assert_eq!(read(at(&server).blob(&reference(&server, "a"), &layer(&bytes))).unwrap(), bytes);
    let seen = server.seen();
    assert!(seen.len() >= 9, "{}", seen.len());
    assert!(seen[1].from() > 0 && seen[1].from() <= 60_000);
}

#[test]
fn a_server_without_ranges_is_read_again_up_to_the_cut() {
    let bytes = noise(400_000);
    let tries = std::sync::atomic::AtomicUsize::new(100_000);
    let sent = bytes.clone();
    let server = Server::start(move |_, _| {
        let cut = tries.fetch_add(150_000, std::sync::atomic::Ordering::Relaxed);
        Reply { cut: Some(cut).filter(|&cut| cut < sent.len()), ..Reply::new(200, sent.clone()) }
    });
    assert_eq!(read(at(&server).blob(&reference(&server, "a"), &layer(&bytes))).unwrap(), bytes);
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn too_many_cuts_without_progress_end_it() {
    let bytes = noise(10_000);
    let server = Server::start({
        let bytes = bytes.clone();
        move |_, before| match before {
            0 => Reply { cut: Some(5000), ..Reply::new(200, bytes.clone()) },
            _ => Reply { cut: Some(0), ..Reply::new(206, vec![0; 5000]) }
                .with("Content-Range", "bytes 5000-9999/10000"),
        }
    });
    let error = read(at(&server).blob(&reference(&server, "a"), &layer(&bytes))).unwrap_err();
    assert!(error.contains("the connection was cut") && error.contains("(3 tries)"), "{error}");
    assert!(error.contains(&digest(&bytes).to_string()), "{error}");
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_mirror_that_gives_up_in_the_middle_is_followed_by_the_next() {
    let bytes = noise(10_000);
    let mirror = Server::start({
        let bytes = bytes.clone();
        move |_, before| match before {
            0 => Reply { cut: Some(4000), ..Reply::new(200, bytes.clone()) },
            _ => Reply::new(500, ""),
        }
    });
    let server = cutting(bytes.clone(), 20_000, true);
    let places = [&mirror, &server].map(|server| server.address.to_string());
    let registry = Given::insecure(&places).registry();
    assert_eq!(read(registry.blob(&"r.example/a".parse().unwrap(), &layer(&bytes))).unwrap(), bytes);
    assert_eq!(server.seen()[0].from(), 4000);
}

#[test]
fn a_length_that_is_not_the_manifest_s_is_refused() {
    let bytes = noise(1000);
    let longer = noise(1001);
    for (reply, words) in [
        (Reply::new(200, longer.clone()), "1001 bytes, but the manifest says 1000"),
        (Reply::new(200, noise(999)), "999 bytes, but"),
        (Reply { chunked: true, ..Reply::new(200, longer) }, "more bytes than the 1000"),
    ] {
        let server = Server::start(move |_, _| reply.clone());
        let error = read(at(&server).blob(&reference(&server, "a"), &layer(&bytes))).unwrap_err();
        assert!(error.contains(words), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn another_range_than_the_one_asked_for_is_refused() {
    for range in ["bytes 0-9999/10000", "bytes 4000-9999/20000", "bytes 4000-10000/*", "", "rubbish"] {
        let bytes = noise(10_000);
        let server = Server::start({
            let bytes = bytes.clone();
            move |_, before| match before {
                0 => Reply { cut: Some(4000), ..Reply::new(200, bytes.clone()) },
                _ => Reply::new(206, vec![7; 6000]).with("Content-Range", range),
            }
        });
        let error = read(at(&server).blob(&reference(&server, "a"), &layer(&bytes))).unwrap_err();
        assert!(error.contains("a request for bytes 4000 and on"), "{error}");
    }
}

#[test]
fn silence_is_a_cut() {
    let bytes = noise(10_000);
    let server = Server::start({
        let bytes = bytes.clone();
        move |seen, _| match seen.from() {
            0 => Reply { drip: Some((6000, Duration::from_secs(120))), ..Reply::new(200, bytes.clone()) },
            from => Reply::new(206, bytes[from..].to_vec())
                .with("Content-Range", format!("bytes {from}-9999/10000")),
        }
    });
    // A busy machine is as silent now and then, before the first byte, too.
    let timeouts = Timeouts { silence: Duration::from_millis(400), tries: 10, ..quick() };
    let registry = Given::insecure(&[server.address.to_string()]).registry_with(timeouts);
    assert_eq!(read(registry.blob(&reference(&server, "a"), &layer(&bytes))).unwrap(), bytes);
    assert!(server.seen().iter().any(|seen| seen.from() > 0));
}

#[test]
fn a_registry_that_only_drips_is_left_with_a_reason() {
    let bytes = noise(10_000);
    let reply = Reply { drip: Some((10, Duration::from_millis(20))), ..Reply::new(200, bytes.clone()) };
    let server = Server::start(move |_, _| reply.clone());
    let timeouts =
        Timeouts { slow_after: Duration::from_millis(200), slow_bytes: 100_000, tries: 2, ..quick() };
    let registry = Given::insecure(&[server.address.to_string()]).registry_with(timeouts);
    let begun = Instant::now();
    let error = read(registry.blob(&reference(&server, "a"), &layer(&bytes))).unwrap_err();
    assert!(error.contains("RCRUN_REGISTRY_SLOW_BYTES") && error.contains("only "), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_reader_that_is_busy_elsewhere_is_not_a_slow_registry() {
    let bytes = noise(600_000);
    let timeouts = Timeouts { slow_after: Duration::from_millis(100), slow_bytes: 1 << 20, ..quick() };
    let asked_once = || {
        let server = cutting(bytes.clone(), usize::MAX, true);
        let registry = Given::insecure(&[server.address.to_string()]).registry_with(timeouts.clone());
        let Ok(mut blob) = registry.blob(&reference(&server, "a"), &layer(&bytes)) else { return false };
        std::thread::sleep(Duration::from_millis(300));
        let mut all = Vec::new();
        let whole = std::io::Read::read_to_end(&mut blob, &mut all).is_ok();
        assert!(!whole || all == bytes);
        whole && server.seen().len() == 1
    };
    // On a busy machine the registry may be slow in earnest.
    assert!((0..20).any(|_| asked_once()));
}

#[test]
fn a_foreign_layer_comes_from_its_url_and_no_other_does() {
    let bytes = noise(1000);
    let server = Server::start(|_, _| Reply::new(404, ""));
    let elsewhere = Server::start({
        let bytes = bytes.clone();
        move |_, _| Reply::new(200, bytes.clone())
    });
    let mut descriptor = layer(&bytes);
    descriptor.urls = vec!["file:///etc/passwd".to_owned(), format!("http://{}/layer", elsewhere.address)];
    let error = read(at(&server).blob(&reference(&server, "a"), &descriptor)).unwrap_err();
    assert!(error.contains("no such blob") && elsewhere.seen().is_empty(), "{error}");
    descriptor.media_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".to_owned();
    assert_eq!(read(at(&server).blob(&reference(&server, "a"), &descriptor)).unwrap(), bytes);
}

#[test]
fn a_stopped_registry_ends_its_readers() {
    let bytes = noise(10_000);
    let reply = Reply { drip: Some((5000, Duration::from_secs(120))), ..Reply::new(200, bytes.clone()) };
    let server = Server::start(move |_, _| reply.clone());
    let registry = at(&server);
    let blob = registry.blob(&reference(&server, "a"), &layer(&bytes));
    let begun = Instant::now();
    let reading = std::thread::spawn(move || read(blob));
    std::thread::sleep(Duration::from_millis(200));
    registry.stop();
    let error = reading.join().unwrap().unwrap_err();
    assert!(error.contains("it was stopped") && begun.elapsed() < Duration::from_secs(60), "{error}");
    assert!(line(registry.manifest(&reference(&server, "a"))).contains("it was stopped"));
}
