//! The server's life: open, recover, serve, reload, end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rcrun_cri::config::{self, Config};
use rcrun_cri::runtime::Runtime;
use rcrun_cri::server::{self, notify};
use rcrun_cri::{metrics, recover, streaming};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::arguments::Arguments;
use crate::logs;

/// Requests that are being worked on: two do for a kubelet.
const WORKERS: usize = 2;
/// Blocking calls at once; further ones wait. More than a node has Pods: each may wait for a CNI plugin that hangs, and the rest must
/// still be served.
const BLOCKING: usize = 512;
/// Bytes; a thread that was busy keeps what it touched of them.
const STACK: usize = 1024 * 1024;
/// A burst of Pods leaves its threads behind no longer.
const IDLE_THREAD: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT. Containers go on.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    logs::begin(&arguments.log_level, arguments.log_format)?;
    let config = read(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_stack_size(STACK)
        .thread_keep_alive(IDLE_THREAD)
        .enable_all()
        .build()
        .context("start threads")?;
    let served = runtime.block_on(serve(arguments, config));
    // What blocks may be in the middle of something long: the next start converges.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

fn read(arguments: &Arguments) -> anyhow::Result<Config> {
    let mut config = config::read(arguments.config.as_deref())?;
    if let Some(listen) = &arguments.listen {
        config.listen.clone_from(listen);
    }
    Ok(config)
}

async fn serve(arguments: &Arguments, config: Config) -> anyhow::Result<()> {
    // Before anything is there that a signal could interrupt.
    let (mut terminate, mut interrupt) =
        (listen_for(SignalKind::terminate())?, listen_for(SignalKind::interrupt())?);
    let mut hangup = listen_for(SignalKind::hangup())?;
    let runtime = Runtime::open(config)?;
    // Who connects from now on waits until everything is found again, and is not refused.
    let socket = server::listen(&runtime.config().listen)?;
    // systemd's may be another than the configuration's.
    let path = socket.local_addr().ok().and_then(|address| Some(address.as_pathname()?.to_owned()));
    let path = path.unwrap_or_else(|| runtime.config().listen.clone());
    let unfinished = recover::recover(&runtime).await.context("find again what the last process left")?;
    streaming::serve(Arc::clone(&runtime)).await.context("start the streaming server")?;
    metrics::serve(Arc::clone(&runtime)).await.context("start the metrics server")?;
    let stopped = Arc::new(tokio::sync::Notify::new());
    let stop = Arc::clone(&stopped);
    let mut server =
        tokio::spawn(server::serve(Arc::clone(&runtime), socket, async move { stop.notified().await }));
    notify::ready();
    tokio::spawn(recover::finish(Arc::clone(&runtime), unfinished));
    info!(socket = %path.display(), pods = runtime.pods.list().len(), containers = runtime.containers.list().len(), "serving");
    loop {
        tokio::select! {
            ended = &mut server => return ended.context("the server's task")?,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(arguments, &runtime),
        }
    }
    info!("stopping; containers go on");
    notify::stopping();
    stopped.notify_one();
    server.await.context("the server's task")?
}

fn listen_for(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("listen for signals")
}

/// A configuration that cannot be read changes nothing.
fn reload(arguments: &Arguments, runtime: &Runtime) {
    notify::reloading();
    match read(arguments) {
        Ok(config) => {
            for key in runtime.reconfigure(config) {
                warn!(key, "changes with the next start only");
            }
            info!("configuration read again");
        }
        Err(error) => error!("the configuration stays as it was: {}", crate::one_line(&error)),
    }
    notify::ready();
}
