use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::{LONG, World, ask_on, ingress, service, until_async};
use crate::ingress::connection::LONGEST_HEAD;

async fn world() -> World {
    let mut world = World::new(vec![ingress(&[("", "/", "a")], json!(null))]).await;
    let a = world.server("a").await;
    service("a", &[a]).into_iter().for_each(|value| world.put(value));
    until_async(async || world.get("any", "/").await.contains("200 OK")).await;
    world
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let world = world().await;
    let fits = format!(
        "GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\nX-Long: {}\r\n\r\n",
        "x".repeat(LONGEST_HEAD / 2)
    );
    assert!(world.ask(&fits).await.starts_with("HTTP/1.1 200 OK"));
    let mut stream = TcpStream::connect(world.http).await.expect("it listens");
    let too_long = format!("GET / HTTP/1.1\r\nHost: any\r\nX-Long: {}", "x".repeat(LONGEST_HEAD + 1));
    let answer = ask_on(&mut stream, &too_long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    // A body is no header.
    let body = "x".repeat(4 * LONGEST_HEAD);
    let answer = world
        .ask(&format!(
            "POST / HTTP/1.1\r\nHost: any\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert!(answer.contains(&format!("a got {} bytes", body.len())), "{}", &answer[..answer.len().min(200)]);
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let world = world().await;
    for odd in [
        "\0\0\0\0\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\nConnection: close\r\n\r\n0\r\n\r\n",
    ] {
        let answer = world.ask(odd).await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 400");
        // Of two lengths the chunks hold, and the other is not passed on.
        let one_length =
            answer.contains("a got 0 bytes") && !answer.to_ascii_lowercase().contains("content-length: 5");
        assert!(refused || one_length, "{odd:?}: {answer}");
    }
    assert!(world.get("any", "/").await.contains("200 OK"));
}

#[tokio::test]
async fn slow_clients_end_and_hold_up_nobody() {
    let world = world().await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(world.http).await.expect("it listens");
        stream.write_all(b"GET / HTTP/1.1\r\nHo").await.expect("it is written");
        slow.push(stream);
    }
    assert!(world.get("any", "/").await.contains("200 OK"));
}

#[tokio::test]
async fn a_head_has_to_come_in_time() {
    let (listener, server) = super::super::listen::short(Duration::from_millis(300)).await;
    let address = listener.local_addr().expect("its address");
    let accepting = tokio::spawn(server.accept(listener, None));
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let dribble = async {
        // Each byte comes well before a timeout of reads.
        while stream.write_all(b"x").await.is_ok() {
            tokio::select! {
                read = stream.read_u8() => if read.is_err() { return },
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    };
    tokio::time::timeout(LONG, dribble).await.expect("it ends in time");
    accepting.abort();
}
