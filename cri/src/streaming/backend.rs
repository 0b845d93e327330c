//! What the streaming server needs of the rest: processes with streams, and connections into Pods.

use std::any::Any;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rcrun::monitor::Execution;
use rcrun::network::NetworkNamespace;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::spawn_blocking;
use tonic::Status;

use super::Streaming;
use super::resize::{Size, Window};
use super::terminal::Terminal;
use crate::api;
use crate::container;
use crate::runtime::Runtime;
use crate::state::{Container, Entry, Pod, PodState};

/// What is read from a process.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;
/// What is written to it.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;
/// Its exit status, or why nobody knows it.
pub type Exit = Pin<Box<dyn Future<Output = Result<i32, String>> + Send>>;

/// A process with streams, as this side has them. Dropping it leaves the process alone but for its streams' end.
pub struct Running {
    /// Its input; shut down: its end.
    pub stdin: Option<Input>,
    /// Its output, a terminal's too.
    pub stdout: Option<Output>,
    /// Its errors.
    pub stderr: Option<Output>,
    /// The client leaves it with the end of its input.
    pub leaves_with_input: bool,
    /// Its terminal's size.
    pub window: Window,
    /// Its end; None: that of its output is what counts.
    pub exit: Option<Exit>,
    /// Kept as long as it is.
    pub hold: Box<dyn Any + Send>,
}

/// Where processes and Pods are. Errors are one line for the client.
pub trait Backend: Send + Sync + 'static {
    /// Tokens.
    fn streaming(&self) -> &Streaming;

    /// How long a connection may rest; zero: for ever.
    fn idle_timeout(&self) -> Duration;

    /// Runs a process in a container; its terminal is of this size from the beginning.
    fn exec(
        &self,
        request: api::ExecRequest,
        size: Option<Size>,
    ) -> impl Future<Output = Result<Running, String>> + Send;

    /// Joins the container's streams.
    fn attach(&self, request: api::AttachRequest) -> impl Future<Output = Result<Running, String>> + Send;

    /// A connection to what listens on the Pod's loopback addresses.
    fn connect(&self, pod: &str, port: u16) -> impl Future<Output = Result<TcpStream, String>> + Send;
}

/// The containers and Pods of this runtime.
#[derive(Clone, Debug)]
pub struct Containers(pub Arc<Runtime>);

impl Backend for Containers {
    fn streaming(&self) -> &Streaming {
        &self.0.streaming
    }

    fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.0.config().streaming.idle_timeout)
    }

    async fn exec(&self, request: api::ExecRequest, size: Option<Size>) -> Result<Running, String> {
        let container = container::running(&self.0, &request.container_id).map_err(message)?;
        let id = container.get().id.clone();
        let started = if request.tty {
            self.exec_with_terminal(&container, request, size).await
        } else {
            self.exec_with_pipes(&container, request).await
        };
        started.map_err(|error| format!("exec in container {id}: {error}"))
    }

    async fn attach(&self, request: api::AttachRequest) -> Result<Running, String> {
        let container = container::running(&self.0, &request.container_id).map_err(message)?;
        let attached = self.attach_to(&container, &request).await;
        attached.map_err(|error| format!("attach to container {}: {error}", container.get().id))
    }

    async fn connect(&self, pod: &str, port: u16) -> Result<TcpStream, String> {
        let entry = self.0.pods.find(pod).map_err(|error| error.to_string())?;
        let namespace = network_of(&entry.get())?;
        let made = spawn_blocking(move || sockets(namespace.as_deref())).await;
        let sockets = made.map_err(io::Error::other).and_then(|sockets| sockets);
        let sockets = sockets.map_err(|error| format!("network of Pod sandbox {pod}: {error}"))?;
        let mut refused = None;
        for (address, socket) in sockets {
            let socket = TcpSocket::from_std_stream(socket.into());
            match socket.connect(SocketAddr::new(address, port)).await {
                Ok(stream) => return Ok(stream),
                // The first address is the one that servers listen on.
                Err(error) => drop(refused.get_or_insert(error)),
            }
        }
        let why = refused.map_or_else(|| "no address".into(), |error| error.to_string());
        Err(format!(
            "port {port} of Pod sandbox {pod}, on 127.0.0.1 and ::1: {why}; does anything listen there?"
        ))
    }
}

impl Containers {
    async fn exec_with_terminal(
        &self,
        container: &Entry<Container>,
        request: api::ExecRequest,
        size: Option<Size>,
    ) -> Result<Running, String> {
        let (_, mut execution) = self.start(container, request, size, |_| Ok(((), None))).await?;
        let master = execution.master.take().ok_or("the shim has sent no terminal")?;
        let terminal = Terminal::new(master).map_err(|error| format!("terminal: {error}"))?;
        Ok(Running {
            stdin: Some(Box::new(terminal.clone())),
            stdout: Some(Box::new(terminal.clone())),
            stderr: None,
            leaves_with_input: false,
            window: Window::Terminal(terminal),
            exit: Some(Box::pin(wait(execution))),
            hold: Box::new(()),
        })
    }

    async fn exec_with_pipes(
        &self,
        container: &Entry<Container>,
        request: api::ExecRequest,
    ) -> Result<Running, String> {
        let ((stdin, stdout, stderr), execution) = self
            .start(container, request, None, |request| {
                let stdin = input(request.stdin)?;
                let (stdout, stderr) = (output(request.stdout)?, output(request.stderr)?);
                Ok(((stdin.0, stdout.0, stderr.0), Some([stdin.1, stdout.1, stderr.1])))
            })
            .await?;
        Ok(Running {
            stdin: stdin.map(|pipe| Box::new(pipe) as Input),
            stdout: stdout.map(|pipe| Box::new(pipe) as Output),
            stderr: stderr.map(|pipe| Box::new(pipe) as Output),
            leaves_with_input: false,
            window: Window::None,
            exit: Some(Box::pin(wait(execution))),
            hold: Box::new(()),
        })
    }

    /// Makes streams and starts a process with them.
    async fn start<T: Send + 'static>(
        &self,
        container: &Entry<Container>,
        request: api::ExecRequest,
        size: Option<Size>,
        streams: impl FnOnce(&api::ExecRequest) -> io::Result<(T, Option<[OwnedFd; 3]>)>,
    ) -> Result<(T, Execution), String> {
        let (near, far) = streams(&request).map_err(|error| format!("pipe: {error}"))?;
        let place = container.live.askers.place().await;
        let (this, container) = (self.clone(), container.get());
        let monitor = container::shim(&self.0, &container.id);
        let execution = spawn_blocking(move || {
            let _place = place;
            let process = container::process(&this.0, &container, &request.cmd, request.tty);
            let mut process = process.map_err(message)?;
            if let Some(Size { width, height }) = size {
                process["consoleSize"] = serde_json::json!({"height": height, "width": width});
            }
            monitor.exec(&process, far).map_err(|error| error.to_string())
        });
        let execution = execution.await.map_err(|error| error.to_string())??;
        Ok((near, execution))
    }

    async fn attach_to(
        &self,
        container: &Entry<Container>,
        request: &api::AttachRequest,
    ) -> Result<Running, String> {
        let askers = &container.live.askers;
        let container = container.get();
        let pipes = || -> io::Result<_> {
            let stdin = if request.stdin && container.config.stdin { Some(input(true)?) } else { None };
            // There even when nobody wants it: its end is the container's.
            let stdout = output(true)?;
            let stderr = if request.stderr && !container.config.tty { Some(output(true)?) } else { None };
            Ok((stdin, stdout, stderr))
        };
        let (stdin, stdout, stderr) = pipes().map_err(|error| format!("pipe: {error}"))?;
        let (stdin, far_stdin) = stdin.unzip();
        let (stderr, far_stderr) = stderr.unzip();
        let monitor = container::shim(&self.0, &container.id);
        let window = if container.config.tty { Window::Container(monitor.clone()) } else { Window::None };
        let place = askers.place().await;
        let attach = move || {
            let _place = place;
            monitor.attach(far_stdin, Some(stdout.1), far_stderr)
        };
        let attached = spawn_blocking(attach).await;
        let attached = attached.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(Running {
            stdin: stdin.flatten().map(|pipe| Box::new(pipe) as Input),
            stdout: stdout.0.map(|pipe| Box::new(pipe) as Output),
            stderr: stderr.flatten().map(|pipe| Box::new(pipe) as Output),
            // As other runtimes have it: so clients detach. Only where the container's own input ends is its output waited for.
            leaves_with_input: container.config.tty || !container.config.stdin_once,
            window,
            exit: None,
            hold: Box::new(attached),
        })
    }
}

fn message(status: Status) -> String {
    status.message().to_owned()
}

/// A pipe into a process: our end, and its; without: /dev/null.
fn input(wanted: bool) -> io::Result<(Option<pipe::Sender>, OwnedFd)> {
    if !wanted {
        return Ok((None, std::fs::File::open("/dev/null")?.into()));
    }
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((Some(pipe::Sender::from_owned_fd(write)?), read))
}

/// A pipe out of a process: our end, and its; without: /dev/null.
fn output(wanted: bool) -> io::Result<(Option<pipe::Receiver>, OwnedFd)> {
    if !wanted {
        return Ok((None, std::fs::File::options().write(true).open("/dev/null")?.into()));
    }
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((Some(pipe::Receiver::from_owned_fd(read)?), write))
}

/// The network namespace that a Pod's ports are in; None: the host's, for a Pod that asked for that. A Pod that was stopped has none any
/// more, and who is still connected must not come to the host's ports instead.
fn network_of(pod: &Pod) -> Result<Option<PathBuf>, String> {
    let linux = pod.config.linux.as_ref();
    let options = linux.and_then(|linux| linux.security_context.as_ref()?.namespace_options.as_ref());
    let hosts = options.is_some_and(|options| options.network() == api::NamespaceMode::Node);
    match (&pod.network.namespace, hosts) {
        _ if pod.state != PodState::Ready => {
            Err(format!("Pod sandbox {} is not ready: nothing listens in it", pod.id))
        }
        (Some(namespace), _) => Ok(Some(namespace.clone())),
        (None, true) => Ok(None),
        (None, false) => Err(format!("Pod sandbox {} has no network", pod.id)),
    }
}

/// Sockets of a network namespace, one a family that it has; None: the host's.
fn sockets(namespace: Option<&std::path::Path>) -> io::Result<Vec<(IpAddr, OwnedFd)>> {
    let make = || {
        let families = [
            (AddressFamily::INET, IpAddr::V4(Ipv4Addr::LOCALHOST)),
            (AddressFamily::INET6, IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = |family| rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP));
        let made = families.map(|(family, address)| socket(family).map(|socket| (address, socket)));
        let mut sockets = Vec::new();
        let mut failed = None;
        for result in made {
            match result {
                Ok(socket) => sockets.push(socket),
                Err(errno) => failed = Some(errno),
            }
        }
        match failed {
            Some(errno) if sockets.is_empty() => Err(io::Error::from(errno)),
            _ => Ok(sockets),
        }
    };
    let Some(path) = namespace else { return make() };
    let namespace = NetworkNamespace::open(path).map_err(io::Error::other)?;
    let namespace =
        namespace.ok_or_else(|| io::Error::other(format!("{path:?} is no network namespace any more")))?;
    namespace.enter(make).map_err(io::Error::other)?
}

/// Waits for the process. Dropping this leaves it alone.
async fn wait(mut execution: Execution) -> Result<i32, String> {
    let readable = execution.as_fd().try_clone_to_owned().and_then(container::readable);
    let readable = readable.map_err(|error| format!("wait for the process: {error}"))?;
    loop {
        let mut ready = readable.readable().await.map_err(|error| error.to_string())?;
        match execution.try_wait() {
            Ok(Some(code)) => return Ok(code),
            Ok(None) => ready.clear_ready(),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{PodNetwork, SCHEMA};

    #[test]
    fn ports_of_a_pod_that_was_stopped_are_not_the_hosts() {
        let mut pod = Pod {
            schema: SCHEMA,
            id: "p0".into(),
            config: api::PodSandboxConfig::default(),
            handler: String::new(),
            created: 1,
            state: PodState::Ready,
            network: PodNetwork { namespace: Some("/run/netns/p0".into()), ..PodNetwork::default() },
            ipc: None,
            uts: None,
            init: None,
            cgroup_parent: String::new(),
        };
        assert_eq!(network_of(&pod), Ok(Some("/run/netns/p0".into())));
        pod.network = PodNetwork::default();
        assert_eq!(network_of(&pod), Err("Pod sandbox p0 has no network".into()));
        let options = api::NamespaceOption { network: api::NamespaceMode::Node.into(), ..Default::default() };
        let security =
            api::LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() };
        pod.config.linux =
            Some(api::LinuxPodSandboxConfig { security_context: Some(security), ..Default::default() });
        assert_eq!(network_of(&pod), Ok(None));
        pod.state = PodState::NotReady;
        assert!(network_of(&pod).unwrap_err().contains("is not ready"));
    }
}
