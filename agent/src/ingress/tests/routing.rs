use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::world::{World, ask_again, ask_on, free, ingress, service, until, until_async};

#[tokio::test]
async fn requests_reach_their_service_and_say_where_they_came_from() {
    let mut world =
        World::new(vec![ingress(&[("www.example.com", "/", "a"), ("", "/", "b")], json!(null))]).await;
    let (a, b) = (world.server("a").await, world.server("b").await);
    service("a", &[a]).into_iter().chain(service("b", &[b])).for_each(|value| world.put(value));
    until_async(async || world.get("other", "/").await.contains("b got 0")).await;
    let answer = world
        .ask("POST /x?y=1 HTTP/1.1\r\nHost: WWW.example.com:81\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
              Forwarded: for=6.6.6.6\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("a got 5 bytes\nPOST /x?y=1 HTTP/1.1\r\n"), "{answer}");
    let got = answer.to_ascii_lowercase();
    for header in [
        "\nhost: www.example.com:81\r",
        "\nx-forwarded-for: 127.0.0.1\r",
        "\nx-real-ip: 127.0.0.1\r",
        "\nx-forwarded-proto: http\r",
        "\nx-forwarded-host: www.example.com:81\r",
        &format!("\nx-forwarded-port: {}\r", world.http.port()),
    ] {
        assert!(got.contains(header), "{header:?} in {answer}");
    }
    assert!(!got.contains("6.6.6.6"), "{answer}");
}

#[tokio::test]
async fn what_cannot_be_answered_says_why_and_the_connection_goes_on() {
    let world = World::new(
        [ingress(&[("a.example.com", "/", "a")], json!(null))].into_iter().chain(service("a", &[])).collect(),
    )
    .await;
    until_async(async || world.get("a.example.com", "/").await.contains("503")).await;
    let requests = "GET / HTTP/1.1\r\nHost: b\r\n\r\n";
    let mut stream = TcpStream::connect(world.http).await.expect("it listens");
    stream.write_all(requests.as_bytes()).await.expect("it is written");
    let (mut first, expected) = (Vec::new(), "no ingress has a rule for this host and path\n");
    while !String::from_utf8_lossy(&first).ends_with(expected) {
        assert!(stream.read_buf(&mut first).await.expect("an answer") > 0);
    }
    let second =
        ask_on(&mut stream, "GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n").await;
    assert!(String::from_utf8_lossy(&first).starts_with("HTTP/1.1 404"));
    assert!(second.starts_with("HTTP/1.1 503"), "{second}");
    assert!(second.ends_with("no endpoint of service web/a:80 is ready\n"), "{second}");
    let head = world.ask("HEAD / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 404") && head.ends_with("\r\n\r\n"), "{head}");
    let old = world.ask("GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.contains(" 404 "), "{old}");
    let nameless = world.ask("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(nameless.starts_with("HTTP/1.1 400"), "{nameless}");
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over() {
    let mut world = World::new(vec![ingress(&[("", "/", "a")], json!(null))]).await;
    let alive = world.server("a").await;
    let (dead, gone) = free().await;
    service("a", &[dead, gone, alive]).into_iter().for_each(|value| world.put(value));
    until_async(async || world.get("any", "/").await.contains("200 OK")).await;
    for _ in 0..9 {
        let answer = world
            .ask("POST / HTTP/1.1\r\nHost: any\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
            .await;
        assert!(answer.contains("a got 2 bytes"), "{answer}");
    }
    service("a", &[dead]).into_iter().for_each(|value| world.put(value));
    until_async(async || world.get("any", "/").await.starts_with("HTTP/1.1 502")).await;
}

#[tokio::test]
async fn websockets_go_through() {
    let mut world = World::new(vec![ingress(&[("", "/", "a")], json!(null))]).await;
    let a = world.server("a").await;
    service("a", &[a]).into_iter().for_each(|value| world.put(value));
    until_async(async || world.get("any", "/").await.contains("200 OK")).await;
    let mut stream = TcpStream::connect(world.http).await.expect("it listens");
    let request = "GET /chat HTTP/1.1\r\nHost: any\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("it is written");
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        assert!(
            stream.read_buf(&mut received).await.expect("an answer") > 0,
            "{}",
            String::from_utf8_lossy(&received)
        );
    }
    assert!(received.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&received));
    for message in [b"one--".as_slice(), b"two--"] {
        stream.write_all(message).await.expect("it is written");
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.expect("an echo");
        assert_eq!(echo, message);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_rules_change() {
    let mut world = World::new(vec![ingress(&[("", "/", "a")], json!(null))]).await;
    let servers = [world.server("one").await, world.server("two").await, world.server("three").await];
    service("a", &servers).into_iter().for_each(|value| world.put(value));
    until_async(async || world.get("any", "/").await.contains("200 OK")).await;
    let world = Arc::new(world);
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (world, done) = (world.clone(), done.clone());
            tokio::spawn(async move {
                let mut kept = TcpStream::connect(world.http).await.expect("it listens");
                let mut count = 0;
                while !done.load(Ordering::Relaxed) {
                    // Half of them on one connection, half on a new one each.
                    let answer = match client % 2 {
                        0 => world.get("any", "/").await,
                        _ => ask_again(&mut kept, "any").await,
                    };
                    assert!(answer.contains("200 OK"), "{answer}");
                    count += 1;
                }
                count
            })
        })
        .collect();
    for turn in 0..60 {
        let endpoints = &servers[turn % 3..=turn % 3];
        service("a", endpoints).into_iter().for_each(|value| world.put(value));
        let path = if turn % 2 == 0 { "/" } else { "" };
        world.put(ingress(&[("", path, "a"), ("x", "/", "b")], json!(null)));
        tokio::task::yield_now().await;
        let name = ["one", "two", "three"][turn % 3];
        until_async(async || world.get("any", "/").await.contains(&format!("{name} got"))).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.expect("no failed request") > 0);
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_and_tried_again() {
    let (http, https) = free().await;
    let taken = TcpListener::bind(http).await.expect("it was free");
    let world = World::closed((http, https), vec![ingress(&[("", "/", "absent")], json!(null))]);
    let process = std::process::id();
    until(|| {
        let events = world.events();
        let wanted = format!("ListenFailed: cannot listen on {http}: Address already in use (os error 98) (");
        events
            .iter()
            .any(|event| event.starts_with(&wanted) && event.ends_with(&format!(", process {process})")))
    })
    .await;
    drop(taken);
    until_async(async || TcpStream::connect(http).await.is_ok()).await;
    until(|| {
        world.events().iter().any(|event| event.starts_with("ServiceNotFound: service web/absent not found"))
    })
    .await;
}
