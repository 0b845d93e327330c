use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::frame::tests::{frame, open};
use super::headers::tests::Deflater;
use super::*;

/// A client's end, and the server.
fn pair() -> (DuplexStream, Connection, mpsc::Receiver<Stream>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (connection, accepted) = serve(far, Activity::new(Duration::ZERO));
    (near, connection, accepted)
}

async fn read(client: &mut DuplexStream) -> (Header, Vec<u8>) {
    let mut header = [0; frame::HEADER];
    client.read_exact(&mut header).await.unwrap();
    let header = Header::read(header).unwrap();
    let (Header::Data { length, .. } | Header::Control { length, .. }) = header;
    let mut payload = vec![0; length as usize];
    client.read_exact(&mut payload).await.unwrap();
    (header, payload)
}

fn data(stream: u32, fin: bool, bytes: &[u8]) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    frame.extend((u32::from(fin) << 24 | bytes.len() as u32).to_be_bytes());
    frame.extend(bytes);
    frame
}

#[tokio::test]
async fn bytes_go_both_ways_and_end_one_by_one() {
    let (mut client, connection, mut accepted) = pair();
    let mut deflater = Deflater::default();
    client.write_all(&open(1, 0, &deflater.write(&[("streamType", "stdin")]))).await.unwrap();
    let mut stream = accepted.recv().await.unwrap();
    assert_eq!((stream.id, stream.header("streamtype")), (1, Some("stdin")));
    stream.outgoing.accept().await.unwrap();
    assert!(matches!(read(&mut client).await.0, Header::Control { kind: 2, .. }));
    client.write_all(&data(1, false, b"ab")).await.unwrap();
    client.write_all(&data(1, true, b"c")).await.unwrap();
    assert_eq!(stream.incoming.next().await.unwrap(), "ab");
    assert_eq!(stream.incoming.next().await.unwrap(), "c");
    assert_eq!(stream.incoming.next().await, None);
    stream.outgoing.send("xyz".into()).await.unwrap();
    stream.outgoing.end().await;
    assert_eq!(read(&mut client).await, (Header::Data { stream: 1, fin: false, length: 3 }, b"xyz".to_vec()));
    assert_eq!(read(&mut client).await.0, Header::Data { stream: 1, fin: true, length: 0 });
    let closing = tokio::spawn(connection.close());
    assert!(matches!(read(&mut client).await.0, Header::Control { kind: 7, .. }));
    drop(client);
    closing.await.unwrap();
}

#[tokio::test]
async fn pings_come_back_and_other_frames_do_nothing() {
    let (mut client, _connection, _accepted) = pair();
    client.write_all(&frame(9, 0, &[0; 8])).await.unwrap();
    client.write_all(&frame(4, 0, &[0; 4])).await.unwrap();
    client.write_all(&data(77, false, b"nobody's")).await.unwrap();
    client.write_all(&frame(6, 0, &[0, 0, 0, 2])).await.unwrap();
    client.write_all(&frame(6, 0, &[0, 0, 0, 3])).await.unwrap();
    let (header, payload) = read(&mut client).await;
    assert_eq!((header, payload), (Header::Control { kind: 6, flags: 0, length: 4 }, vec![0, 0, 0, 3]));
}

#[tokio::test]
async fn a_reset_stream_is_over() {
    let (mut client, _connection, mut accepted) = pair();
    client.write_all(&open(1, 0, &Deflater::default().write(&[]))).await.unwrap();
    let mut stream = accepted.recv().await.unwrap();
    client.write_all(&frame(3, 0, &[0, 0, 0, 1, 0, 0, 0, 5])).await.unwrap();
    stream.over.wait().await;
    assert_eq!(stream.incoming.next().await, None);
}

#[tokio::test]
async fn streams_out_of_order_and_those_that_nobody_takes_are_refused() {
    let (mut client, _connection, mut accepted) = pair();
    let mut deflater = Deflater::default();
    client.write_all(&open(3, 0, &deflater.write(&[]))).await.unwrap();
    let stream = accepted.recv().await.unwrap();
    for id in [1, 3, 4] {
        client.write_all(&open(id, 0, &deflater.write(&[]))).await.unwrap();
        let (header, payload) = read(&mut client).await;
        assert!(matches!(header, Header::Control { kind: 3, .. }), "{header:?}");
        assert_eq!(payload[..4], id.to_be_bytes());
    }
    drop(accepted);
    client.write_all(&open(5, 0, &deflater.write(&[]))).await.unwrap();
    assert_eq!(read(&mut client).await.1[..4], 5u32.to_be_bytes());
    drop(stream);
}

#[tokio::test]
async fn a_client_that_speaks_something_else_is_told_so_and_cut() {
    for wrong in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x80, 2, 0, 1, 0, 0, 0, 0], &frame(1, 0, &[9; 20])] {
        let (mut client, connection, mut accepted) = pair();
        client.write_all(wrong).await.unwrap();
        if wrong[0] & 0x80 != 0 {
            let (header, payload) = read(&mut client).await;
            assert!(matches!(header, Header::Control { kind: 7, .. }), "{header:?}");
            assert_eq!(payload[7], 1);
        } else {
            // As a frame these bytes are data of some stream, cut short.
            drop(client);
        }
        connection.gone().await;
        assert!(accepted.recv().await.is_none());
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_makes_its_client_wait() {
    let (mut client, _connection, mut accepted) = pair();
    client.write_all(&open(1, 0, &Deflater::default().write(&[]))).await.unwrap();
    let mut stream = accepted.recv().await.unwrap();
    let piece = data(1, false, &[7; 1024 * 1024]);
    let mut wait = Box::pin(client.write_all(&piece));
    tokio::time::timeout(Duration::from_millis(300), &mut wait).await.unwrap_err();
    let read = async {
        let mut count = 0;
        while count < 1024 * 1024 {
            count += stream.incoming.next().await.unwrap().len();
        }
    };
    tokio::join!(async { wait.await.unwrap() }, read);
}

#[tokio::test]
async fn a_connection_that_rests_ends() {
    let (client, far) = tokio::io::duplex(1024);
    let (connection, mut accepted) = serve(far, Activity::new(Duration::from_millis(50)));
    connection.gone().await;
    assert!(accepted.recv().await.is_none());
    drop(client);
}
