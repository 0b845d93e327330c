//! `exec` and `attach`.

use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use hyper::Method;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::client::{self, Error, Result};
use super::plain::say;
use super::streams::{self, Sink};
use super::terminal::{self, Raw};
use super::value::Look as _;
use super::{Scope, Session, pods, target};
use crate::objects::Kind;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;

const PROTOCOLS: &str = "v5.channel.k8s.io, v4.channel.k8s.io";
/// Bytes of input at a time.
const PIECE: usize = 16 << 10;
/// How long the connection may stay when the end was told.
const LINGER: Duration = Duration::from_secs(2);

/// `exec`.
#[derive(clap::Args, Debug)]
pub struct Exec {
    #[command(flatten)]
    of: Of,
    /// What is not after "--": of no use
    #[arg(hide = true)]
    words: Vec<String>,
    /// The command, after "--"
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// `attach`.
#[derive(clap::Args, Debug)]
pub struct Attach {
    #[command(flatten)]
    of: Of,
}

#[derive(clap::Args, Debug)]
struct Of {
    /// A Pod, or "deploy/NAME" and the like for one of its Pods
    #[arg(value_name = "POD|KIND/NAME")]
    what: String,
    #[command(flatten)]
    scope: Scope,
    /// The container [default: the first]
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// On a terminal
    #[arg(short, long)]
    tty: bool,
    /// Without messages of its own
    #[arg(short, long)]
    quiet: bool,
}

impl Exec {
    pub async fn run(self, session: &mut Session<'_>) -> Result<ExitCode> {
        if let Some(word) = self.words.first() {
            return Err(Error::usage(format!("\"{word}\" is not after \"--\": it is exec POD -- COMMAND")));
        }
        if self.command.is_empty() {
            return Err(Error::usage("a command is needed: it is exec POD -- COMMAND"));
        }
        self.of.run(session, "exec", &self.command).await
    }
}

impl Attach {
    pub async fn run(self, session: &mut Session<'_>) -> Result<ExitCode> {
        self.of.run(session, "attach", &[]).await
    }
}

impl Of {
    async fn run(self, session: &mut Session<'_>, verb: &str, command: &[String]) -> Result<ExitCode> {
        let tty = self.tty && std::io::stdin().is_terminal();
        if self.tty && !tty {
            say("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        let (path, container) = self.path(session, verb, command, tty).await?;
        let answer = session.client.json(Method::POST, &path, "").await?;
        let (sink, mut source) = streams::connect(answer.text("/url"), PROTOCOLS).await?;
        if verb == "attach" && tty && !self.quiet {
            say("If you don't see a command prompt, try pressing enter.");
        }
        let raw = tty.then(Raw::set).flatten();
        let mut ended = ended(&self)?;
        let writer = tokio::spawn(write_all(sink, self.stdin, tty));
        let mut status = None;
        loop {
            let next = tokio::select! {
                next = source.next() => next?,
                () = signalled(&mut ended) => break,
                () = tokio::time::sleep(LINGER), if status.is_some() => break,
            };
            match next {
                Some((STDOUT, bytes)) => {
                    session.out.write_all(&bytes)?;
                    session.out.flush()?;
                }
                Some((STDERR, bytes)) => std::io::stderr().write_all(&bytes)?,
                Some((STATUS, bytes)) if !bytes.is_empty() => status = Some(bytes),
                Some(_) => {}
                None => break,
            }
        }
        writer.abort();
        drop(raw);
        match status {
            Some(status) => self.outcome(&status, &container),
            None if verb == "attach" => Ok(ExitCode::SUCCESS),
            None => Err(Error::usage("the runtime closed the connection before the command's end was known")),
        }
    }

    async fn path(
        &self,
        session: &Session<'_>,
        verb: &str,
        command: &[String],
        tty: bool,
    ) -> Result<(String, String)> {
        let target = target::one(std::slice::from_ref(&self.what), Some(Kind::Pod))?;
        let pods = pods::of(session, &target, self.scope.name()).await?;
        let pod = pods.first().ok_or_else(|| Error::usage("no Pod"))?;
        let names = pods::containers(pod);
        let main = pod.items("/spec/containers");
        let annotated = pod.text("/metadata/annotations/kubectl.kubernetes.io~1default-container");
        if self.container.is_none() && annotated.is_empty() && main.len() > 1 && !self.quiet {
            let first = main.first().map(|container| container.text("/name")).unwrap_or_default();
            say(format_args!("Defaulted container \"{first}\" out of: {}", names.join(", ")));
        }
        let flag = |flag: bool| if flag { "true" } else { "" };
        let container = self.container.clone().unwrap_or_default();
        let pairs = [("container", container.as_str()), ("stdin", flag(self.stdin)), ("tty", flag(tty))];
        let path = client::with_query(&format!("{}/{verb}", client::object(&pods::key(pod))), pairs);
        // Also empty words are words of the command.
        let mut words = form_urlencoded::Serializer::new(String::new());
        command.iter().for_each(|word| {
            words.append_pair("command", word);
        });
        let words = words.finish();
        let separator = if path.contains('?') { "&" } else { "?" };
        let path = if words.is_empty() { path } else { format!("{path}{separator}{words}") };
        Ok((path, container))
    }

    fn outcome(&self, status: &[u8], container: &str) -> Result<ExitCode> {
        let status: Value = serde_json::from_slice(status).unwrap_or_else(
            |_| serde_json::json!({"status": "Failure", "message": String::from_utf8_lossy(status)}),
        );
        if status.text("/status") == "Success" {
            return Ok(ExitCode::SUCCESS);
        }
        let causes = status.items("/details/causes").iter();
        let code = causes
            .filter(|cause| cause.text("/reason") == "ExitCode")
            .find_map(|cause| cause.text("/message").parse::<i32>().ok());
        match code {
            Some(code) => {
                if !self.quiet {
                    say(format_args!("command terminated with exit code {code}"));
                }
                // As a shell has it: the low eight bits.
                Ok(ExitCode::from((code & 0xff) as u8))
            }
            None => {
                let of =
                    if container.is_empty() { String::new() } else { format!(" in container {container}") };
                Err(Error::usage(format!("Internal error occurred{of}: {}", status.text("/message"))))
            }
        }
    }
}

type Signals = Vec<tokio::signal::unix::Signal>;

/// Signals that end it, so that the terminal is put back. ^C on a terminal is the container's.
fn ended(of: &Of) -> Result<Signals> {
    match of.tty {
        true => Ok(vec![signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]),
        false => Ok(Vec::new()),
    }
}

async fn signalled(signals: &mut Signals) {
    let waits = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() {
        std::future::pending::<()>().await;
    }
    futures_util::future::select_all(waits).await;
}

/// Input and sizes. In a task of its own: output is read also while the runtime takes no input.
async fn write_all(mut sink: Sink, input: bool, tty: bool) -> Result<()> {
    let mut resized = signal(SignalKind::window_change())?;
    if tty && let Some(size) = terminal::size() {
        sink.send(RESIZE, size.as_bytes()).await?;
    }
    let mut pieces = input.then(read_input);
    loop {
        tokio::select! {
            piece = next(&mut pieces) => match piece {
                Some(piece) => sink.send(STDIN, &piece).await?,
                None => {
                    pieces = None;
                    sink.end(STDIN).await?;
                }
            },
            _ = resized.recv(), if tty => {
                if let Some(size) = terminal::size() {
                    sink.send(RESIZE, size.as_bytes()).await?;
                }
            }
        }
    }
}

async fn next(pieces: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match pieces {
        Some(pieces) => pieces.recv().await,
        None => std::future::pending().await,
    }
}

fn read_input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let (mut stdin, mut piece) = (tokio::io::stdin(), vec![0; PIECE]);
        while let Ok(read @ 1..) = stdin.read(&mut piece).await {
            if sender.send(piece.get(..read).unwrap_or_default().to_vec()).await.is_err() {
                return;
            }
        }
    });
    receiver
}
