//! A streaming server whose containers are processes of this machine.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use rcrun_cri::api::{AttachRequest, ExecRequest, PortForwardRequest};
use rcrun_cri::streaming::backend::{Backend, Running};
use rcrun_cri::streaming::resize::{Size, Window};
use rcrun_cri::streaming::terminal::Terminal;
use rcrun_cri::streaming::token::Request;
use rcrun_cri::streaming::{Streaming, http};
use rustix::pty::OpenptFlags;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// The most that anything here takes.
fn patience() -> Duration {
    let factor = std::env::var("RCRUN_TEST_PATIENCE").ok().and_then(|factor| factor.parse().ok());
    Duration::from_secs(60) * factor.unwrap_or(1)
}

/// Waits, but not for ever.
pub async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(patience(), work).await.expect("in time")
}

/// Waits until something is so.
pub async fn until(mut so: impl FnMut() -> bool) {
    value(|| so().then_some(())).await;
}

/// Waits until there is a value.
pub async fn value<T>(mut get: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience();
    loop {
        if let Some(value) = get() {
            return value;
        }
        assert!(Instant::now() < end, "not so in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The same for what is so when it has not changed for half a second.
pub async fn until_slowly(mut so: impl FnMut() -> bool) {
    let end = Instant::now() + patience();
    while !so() {
        assert!(Instant::now() < end, "not so in time");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

struct Machine {
    streaming: Streaming,
    commands: Arc<AtomicUsize>,
}

/// Counts a command as long as the server has it.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Machine {
    fn run(&self, mut command: Command, tty: bool, size: Option<Size>) -> Result<(Running, Child), String> {
        let program = command.as_std().get_program().to_owned();
        let start =
            |mut command: Command| command.spawn().map_err(|error| format!("exec {program:?}: {error}"));
        self.commands.fetch_add(1, Ordering::SeqCst);
        let hold = Box::new(Counted(Arc::clone(&self.commands)));
        if !tty {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = start(command)?;
            let running = Running {
                stdin: child.stdin.take().map(|pipe| Box::new(pipe) as _),
                stdout: child.stdout.take().map(|pipe| Box::new(pipe) as _),
                stderr: child.stderr.take().map(|pipe| Box::new(pipe) as _),
                leaves_with_input: false,
                window: Window::None,
                exit: None,
                hold,
            };
            return Ok((running, child));
        }
        let master =
            rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = std::fs::File::options().read(true).write(true).open(name).unwrap();
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        let terminal = Terminal::new(master).unwrap();
        if let Some(size) = size {
            terminal.resize(size).unwrap();
        }
        let child = start(command)?;
        let running = Running {
            stdin: Some(Box::new(terminal.clone())),
            stdout: Some(Box::new(terminal.clone())),
            stderr: None,
            leaves_with_input: false,
            window: Window::Terminal(terminal),
            exit: None,
            hold,
        };
        Ok((running, child))
    }
}

impl Backend for Machine {
    fn streaming(&self) -> &Streaming {
        &self.streaming
    }

    fn idle_timeout(&self) -> Duration {
        patience()
    }

    async fn exec(&self, request: ExecRequest, size: Option<Size>) -> Result<Running, String> {
        let mut command = Command::new(&request.cmd[0]);
        command.args(&request.cmd[1..]);
        let (mut running, mut child) = self.run(command, request.tty, size)?;
        if !request.stdin {
            running.stdin = None;
        }
        running.exit = Some(Box::pin(async move {
            let status = child.wait().await.map_err(|error| error.to_string())?;
            status.code().ok_or_else(|| status.to_string())
        }));
        Ok(running)
    }

    /// The container's id is its script. One with a terminal is left with the end of input.
    async fn attach(&self, request: AttachRequest) -> Result<Running, String> {
        let mut command = Command::new("sh");
        command.args(["-c", &request.container_id]);
        let running = self.run(command, request.tty, None)?.0;
        Ok(Running { leaves_with_input: request.tty, ..running })
    }

    async fn connect(&self, _: &str, port: u16) -> Result<TcpStream, String> {
        TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())
    }
}

/// The server.
pub struct Host {
    machine: Arc<Machine>,
    address: std::net::SocketAddr,
}

impl Host {
    /// Serves as long as the test runs.
    pub async fn serve() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let machine = Machine { streaming: Streaming::default(), commands: Arc::default() };
        machine.streaming.listens(address);
        let machine = Arc::new(machine);
        tokio::spawn(http::serve(listener, Arc::clone(&machine)));
        Self { machine, address }
    }

    /// Commands that the server has.
    pub fn commands(&self) -> usize {
        self.machine.commands.load(Ordering::SeqCst)
    }

    pub fn exec(&self, request: ExecRequest) -> String {
        self.url(Request::Exec(request))
    }

    pub fn attach(&self, request: AttachRequest) -> String {
        self.url(Request::Attach(request))
    }

    pub fn port_forward(&self) -> String {
        self.url_of(PortForwardRequest::default())
    }

    pub fn url_of(&self, request: PortForwardRequest) -> String {
        self.url(Request::PortForward(request))
    }

    fn url(&self, request: Request) -> String {
        self.machine.streaming.url(request, Duration::from_secs(60)).unwrap()
    }

    /// A request without an upgrade, and all of its answer.
    pub async fn http(&self, method: &str, path: &str, headers: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        in_time(socket.read_to_string(&mut answer)).await.unwrap();
        answer
    }

    /// A WebSocket client of our own.
    pub async fn websocket(&self, url: &str, protocol: &'static str) -> Socket {
        let mut request = url.replacen("http", "ws", 1).into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
        let socket = TcpStream::connect(self.address).await.unwrap();
        Socket(tokio_tungstenite::client_async(request, socket).await.unwrap().0)
    }
}

/// A WebSocket client.
pub struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// The next message's bytes.
    pub async fn read(&mut self) -> Vec<u8> {
        in_time(self.0.next()).await.unwrap().unwrap().into_data().to_vec()
    }

    /// Sends a message.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }
}
