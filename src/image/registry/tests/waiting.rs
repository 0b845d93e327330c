//! Registries that are busy, down or silent, and proxies.

use std::time::Instant;

use super::*;

#[test]
fn a_busy_registry_is_waited_for_as_it_says() {
    for status in [429, 503] {
        let server = Server::start(move |_, before| match before {
            0 => Reply::new(status, "").with("Retry-After", "1"),
            _ => Reply::new(200, MANIFEST),
        });
        let begun = Instant::now();
        at(&server).manifest(&reference(&server, "a")).unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }
}

#[test]
fn a_wait_that_is_too_long_is_told_at_once() {
    let server = Server::start(|_, _| {
        Reply::new(429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull limit"}]}"#)
            .with("Retry-After", "3600")
    });
    let error = line(at(&server).manifest(&reference(&server, "a")));
    assert!(
        error.contains("too many requests (for another 3600 s) (TOOMANYREQUESTS: pull limit)"),
        "{error}"
    );
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_registry_that_recovers_is_asked_again() {
    let server = Server::start(|_, before| match before {
        0 => Reply::new(502, ""),
        1 => Reply { cut: Some(3), ..Reply::new(200, MANIFEST) },
        _ => Reply::new(200, MANIFEST),
    });
    at(&server).manifest(&reference(&server, "a")).unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn a_silent_registry_is_left_and_says_which_limit_it_was() {
    let server =
        Server::start(|_, _| Reply { silence: Some(Duration::from_secs(120)), ..Reply::new(200, "") });
    let timeouts = Timeouts { silence: Duration::from_millis(300), tries: 2, ..quick() };
    let given = Given::insecure(&[server.address.to_string()]);
    let begun = Instant::now();
    let error = line(given.registry_with(timeouts).manifest(&reference(&server, "a")));
    assert!(error.contains("no answer for 0.3 s: RCRUN_REGISTRY_SILENCE_SECONDS"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_document_that_comes_a_byte_at_a_time_is_given_up() {
    let drip = Some((1, Duration::from_millis(20)));
    let timeouts = Timeouts { slow_after: Duration::from_millis(200), tries: 2, ..quick() };
    let server = Server::start(move |_, _| Reply { drip, ..Reply::new(200, noise(100_000)) });
    let given = Given::insecure(&[server.address.to_string()]);
    let begun = Instant::now();
    let error = line(given.registry_with(timeouts).manifest(&reference(&server, "a")));
    assert!(error.contains("RCRUN_REGISTRY_SLOW_BYTES") && error.contains("(2 tries)"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_words_of_an_error_are_not_waited_for_long() {
    // The first words at once: they may be late, and then nothing more is read.
    let drip = Some((10, Duration::from_millis(100)));
    let server = Server::start(move |_, _| Reply { drip, ..Reply::new(404, "gone ".repeat(10_000)) });
    let begun = Instant::now();
    let error = line(at(&server).manifest(&reference(&server, "a")));
    assert!(error.contains("no such repository") && error.contains("(gone gone"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_registry_that_is_down_or_unknown_is_told_apart() {
    let registry = |place: &str| Given::insecure(&[place.to_owned()]).registry();
    let error = line(registry("127.0.0.1:1").manifest(&"127.0.0.1:1/a".parse().unwrap()));
    assert!(error.contains("over https: cannot connect: Connection refused"), "{error}");
    assert!(error.contains("over http: cannot connect: Connection refused"), "{error}");
    let error = line(registry("no-such-host.invalid").manifest(&"no-such-host.invalid/a".parse().unwrap()));
    assert!(error.contains("host no-such-host.invalid is not known"), "{error}");
}

#[test]
fn what_speaks_no_http_is_said_to() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = server.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        // One connection for https, one for http.
        for _ in 0..2 {
            let (mut stream, _) = server.accept().unwrap();
            std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9\r\n\r\n").unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
        }
    });
    let given = Given::insecure(&[place.to_string()]);
    let error = line(given.registry().manifest(&format!("{place}/a").parse().unwrap()));
    assert!(error.contains("it speaks no HTTP"), "{error}");
    thread.join().unwrap();
}

/// A proxy that takes every CONNECT for the address of `server`, or none.
fn proxy(server: &Server, allows: bool) -> (std::net::SocketAddr, std::thread::JoinHandle<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let target = server.address;
    let thread = std::thread::spawn(move || {
        let mut seen = String::new();
        // One tunnel for https, which fails, and one for http.
        for _ in 0..if allows { 2 } else { 1 } {
            let (client, _) = listener.accept().unwrap();
            let mut reader = std::io::BufReader::new(client);
            let mut line = String::new();
            while std::io::BufRead::read_line(&mut reader, &mut line).unwrap() > 2 {
                seen.push_str(&std::mem::take(&mut line));
            }
            let mut client = reader.into_inner();
            if !allows {
                std::io::Write::write_all(&mut client, b"HTTP/1.1 407 Authenticate\r\n\r\n").unwrap();
                break;
            }
            std::io::Write::write_all(&mut client, b"HTTP/1.1 200 Fine\r\n\r\n").unwrap();
            let mut server = std::net::TcpStream::connect(target).unwrap();
            let (mut up, mut back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut up, &mut back));
            std::thread::spawn(move || std::io::copy(&mut server, &mut client));
        }
        seen
    });
    (address, thread)
}

fn through(place: &str, proxy: std::net::SocketAddr) -> Registry {
    let given = Given::insecure(&[place.to_owned()]);
    let proxies =
        Proxies::from_variables(|name| (name == "ALL_PROXY").then(|| format!("http://who:hunter2@{proxy}")));
    Registry::with_proxies(Arc::new(given), quick(), Limits::default(), proxies)
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_with_its_password() {
    let server = Server::start(|_, _| Reply::new(200, MANIFEST));
    let (address, thread) = proxy(&server, true);
    through("r.example:5000", address).manifest(&"r.example:5000/a".parse().unwrap()).unwrap();
    let seen = thread.join().unwrap();
    assert!(seen.starts_with("CONNECT r.example:5000 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("Proxy-Authorization: Basic d2hvOmh1bnRlcjI="), "{seen}");
    assert_eq!(server.seen()[0].header("host"), Some("r.example:5000"));
    assert_eq!(server.seen()[0].header("proxy-authorization"), None);
}

#[test]
fn a_proxy_that_refuses_is_named_without_its_password() {
    let server = Server::start(|_, _| Reply::new(200, MANIFEST));
    let (address, thread) = proxy(&server, false);
    let error = line(through("r.example:5000", address).manifest(&"r.example:5000/a".parse().unwrap()));
    assert!(
        error.contains(&format!("the proxy {address} makes no connection")) && error.contains("407"),
        "{error}"
    );
    thread.join().unwrap();
}

#[test]
fn a_loopback_registry_needs_no_proxy() {
    let server = Server::start(|_, _| Reply::new(200, MANIFEST));
    let nowhere = "127.0.0.1:1".parse().unwrap();
    through(&server.address.to_string(), nowhere).manifest(&reference(&server, "a")).unwrap();
}
