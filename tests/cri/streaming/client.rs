//! `streamer`, built and run.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::host::in_time;
use crate::streamer;

/// The program, or a return from the test with a SKIP line where it cannot be built.
macro_rules! skip_without_go {
    ($client:ty) => {
        match <$client>::build() {
            Ok(client) => client,
            Err(reason) => {
                // Past libtest's capture, so that it is seen.
                let line = format!("SKIP {}: {reason}\n", std::thread::current().name().unwrap_or("?"));
                return std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
            }
        }
    };
}
pub(crate) use skip_without_go;

/// The program.
#[derive(Clone)]
pub struct Client(PathBuf);

/// What came of it.
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A call of it.
pub struct Call(Command);

impl Client {
    /// Builds it.
    pub fn build() -> Result<Self, String> {
        streamer::build().map(Self)
    }

    /// Runs or joins a command.
    pub fn command(&self, protocol: &str, arguments: &[&str], url: &str) -> Call {
        self.call("command", protocol, arguments, &[url])
    }

    /// Forwards ports.
    pub fn forward(&self, protocol: &str, arguments: &[&str], url: &str, ports: &[&str]) -> Call {
        self.call("forward", protocol, arguments, &[&[url], ports].concat())
    }

    fn call(&self, what: &str, protocol: &str, flags: &[&str], rest: &[&str]) -> Call {
        let mut command = Command::new(&self.0);
        command.arg(what).args(["-protocol", protocol]).args(flags).args(rest);
        // Loopback is not reached by way of a proxy.
        command.env_remove("http_proxy").env_remove("HTTP_PROXY").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Call(command)
    }
}

impl Call {
    /// Sends `input` and waits for its end.
    pub async fn output(mut self, input: &[u8]) -> Outcome {
        let mut child = self.0.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        tokio::spawn(async move {
            let _ = stdin.write_all(&input).await;
        });
        let output = in_time(child.wait_with_output()).await.unwrap();
        Outcome {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts it and goes on; its input stays open.
    pub fn start(mut self) -> Running {
        let mut child = self.0.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, stdin, stdout }
    }
}

/// It runs.
pub struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// The next line of its output.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        in_time(self.stdout.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    /// Writes to its input until it takes no more for a second.
    pub async fn flood(&mut self) {
        let piece = vec![b'x'; 1 << 16];
        while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(1), self.stdin.write(&piece)).await {}
    }

    /// Kills it.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
