//! Exec and attach: the streams that the client has opened, and a process' streams, joined until both have ended.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

use super::backend::{Backend, Running};
use super::channel::{Connection, Incoming, Outgoing, PIECE};
use super::outcome::Outcome;
use super::resize::Sizes;
use super::spdy;
use crate::api;

/// How long a client may take to open the streams that it has asked for.
const OPENING: Duration = Duration::from_secs(30);
/// How long the output of an exec may rest after its process has ended and others keep it open. What the process itself has written
/// is there by then.
const REST: Duration = Duration::from_secs(1);

/// WebSocket's channels.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// What is to be run or joined.
#[derive(Clone, Debug)]
pub enum Command {
    /// A process.
    Exec(api::ExecRequest),
    /// The container's own.
    Attach(api::AttachRequest),
}

/// The streams of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Input.
    pub stdin: bool,
    /// Output.
    pub stdout: bool,
    /// Errors.
    pub stderr: bool,
    /// A terminal, with sizes.
    pub tty: bool,
}

impl Command {
    /// What it was asked for with.
    pub fn wants(&self) -> Wants {
        let (stdin, stdout, stderr, tty) = match self {
            Self::Exec(request) => (request.stdin, request.stdout, request.stderr, request.tty),
            Self::Attach(request) => (request.stdin, request.stdout, request.stderr, request.tty),
        };
        Wants { stdin, stdout, stderr, tty }
    }
}

/// A client's streams.
#[derive(Debug)]
pub struct Streams {
    stdin: Option<Incoming>,
    stdout: Option<Outgoing>,
    stderr: Option<Outgoing>,
    resize: Option<Incoming>,
    error: Outgoing,
    /// The protocol's version.
    version: u8,
}

impl Streams {
    /// Waits until a SPDY client has opened all that it wants; others are refused.
    pub async fn gather(
        mut accepted: mpsc::Receiver<spdy::Stream>,
        wants: Wants,
        version: u8,
    ) -> Option<Self> {
        let mut expected = vec!["error"];
        expected.extend(wants.stdin.then_some("stdin"));
        expected.extend(wants.stdout.then_some("stdout"));
        expected.extend(wants.stderr.then_some("stderr"));
        expected.extend((wants.tty && version >= 3).then_some("resize"));
        let mut streams: HashMap<&str, spdy::Stream> = HashMap::new();
        let gather = async {
            while !expected.is_empty() {
                let stream = accepted.recv().await?;
                let kind = stream.header("streamtype").unwrap_or_default();
                match expected.iter().position(|expected| *expected == kind) {
                    Some(at) => {
                        stream.outgoing.accept().await.ok()?;
                        streams.insert(expected.swap_remove(at), stream);
                    }
                    None => stream.outgoing.refuse().await,
                }
            }
            Some(())
        };
        tokio::time::timeout(OPENING, gather).await.ok()??;
        let mut take = |kind| streams.remove(kind);
        Some(Self {
            stdin: take("stdin").map(|stream| stream.incoming),
            stdout: take("stdout").map(|stream| stream.outgoing),
            stderr: take("stderr").map(|stream| stream.outgoing),
            resize: take("resize").map(|stream| stream.incoming),
            error: take("error")?.outgoing,
            version,
        })
    }

    /// Channels that a WebSocket client may write to.
    pub fn read_channels(wants: Wants) -> Vec<u8> {
        let stdin = wants.stdin.then_some(STDIN);
        stdin.into_iter().chain(wants.tty.then_some(RESIZE)).collect()
    }

    /// A WebSocket client's streams, which are there from the beginning.
    pub async fn of_channels(
        connection: &Connection,
        mut incoming: HashMap<u8, Incoming>,
        wants: Wants,
        version: u8,
    ) -> Self {
        let outgoing = |wanted: bool, channel: u8| wanted.then(|| connection.outgoing(channel.into()));
        let streams = Self {
            stdin: incoming.remove(&STDIN),
            stdout: outgoing(wants.stdout, STDOUT),
            stderr: outgoing(wants.stderr, STDERR),
            resize: incoming.remove(&RESIZE),
            error: connection.outgoing(ERROR.into()),
            version,
        };
        // Clients learn from an empty message that the connection is served.
        let first = streams.stdout.as_ref().or(streams.stderr.as_ref()).unwrap_or(&streams.error);
        let _ = first.send(Bytes::new()).await;
        streams
    }
}

/// Runs a command to its end, or until the client is gone.
pub async fn run(backend: &impl Backend, command: Command, connection: Connection, streams: Streams) {
    let Streams { stdin, stdout, stderr, resize, error, version } = streams;
    let mut sizes = resize.map(Sizes::new);
    let work = async {
        let running = match (command, &mut sizes) {
            (Command::Exec(request), Some(sizes)) => backend.exec(request, sizes.first().await).await,
            (Command::Exec(request), None) => backend.exec(request, None).await,
            (Command::Attach(request), _) => backend.attach(request).await,
        };
        match running {
            Ok(running) => relay(running, stdin, stdout, stderr, sizes).await,
            Err(message) => Outcome::Failed(message),
        }
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = connection.gone() => return,
    };
    let said = if version >= 4 { outcome.status() } else { outcome.line().into() };
    if !said.is_empty() {
        let _ = error.send(said).await;
    }
    error.end().await;
    connection.close().await;
}

async fn relay(
    running: Running,
    stdin: Option<Incoming>,
    stdout: Option<Outgoing>,
    stderr: Option<Outgoing>,
    sizes: Option<Sizes>,
) -> Outcome {
    let (end, ended) = watch::channel(false);
    let input = async {
        if let (Some(from), Some(to)) = (stdin, running.stdin) {
            let all = copy_in(from, to).await;
            return all && running.leaves_with_input;
        }
        false
    };
    let window = async {
        if let Some(sizes) = sizes {
            sizes.follow(running.window).await;
        }
    };
    let exit = async {
        let Some(exit) = running.exit else { return Outcome::Success };
        let outcome = exit.await;
        let _ = end.send(true);
        match outcome {
            Ok(0) => Outcome::Success,
            Ok(code) => Outcome::Exit(code),
            Err(message) => Outcome::Failed(message),
        }
    };
    let output = async {
        let outputs = async {
            tokio::join!(
                copy_out(running.stdout, stdout, ended.clone()),
                copy_out(running.stderr, stderr, ended.clone())
            )
        };
        tokio::join!(exit, outputs).0
    };
    // Else input ends nothing: the process says when it has enough.
    let leave = async {
        if !input.await {
            std::future::pending::<()>().await;
        }
    };
    let window = async {
        window.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = output => outcome,
        () = leave => Outcome::Success,
        () = window => Outcome::Success,
    }
}

/// Copies to the client's last byte: true; false: nobody wants more.
async fn copy_in(mut from: Incoming, mut to: impl AsyncWrite + Unpin) -> bool {
    while let Some(bytes) = from.next().await {
        if to.write_all(&bytes).await.is_err() {
            return false;
        }
    }
    let _ = to.shutdown().await;
    true
}

/// Copies until there is no more: its end, or rest after the process' own.
async fn copy_out(
    from: Option<impl AsyncRead + Unpin>,
    to: Option<Outgoing>,
    mut ended: watch::Receiver<bool>,
) {
    if let Some(mut from) = from {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            let read = tokio::select! {
                biased;
                read = from.read_buf(&mut buffer) => read,
                () = rest(&mut ended) => break,
            };
            if !matches!(read, Ok(1..)) {
                break;
            }
            let bytes = buffer.split().freeze();
            if let Some(to) = &to
                && to.send(bytes).await.is_err()
            {
                break;
            }
        }
    }
    if let Some(to) = to {
        to.end().await;
    }
}

async fn rest(ended: &mut watch::Receiver<bool>) {
    // An attach has no process to end.
    if ended.wait_for(|ended| *ended).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(REST).await;
}
