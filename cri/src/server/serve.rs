//! Connections to services.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tracing::warn;

use super::{ImageCalls, RuntimeCalls};
use crate::api::image_service_server::ImageServiceServer;
use crate::api::runtime_service_server::RuntimeServiceServer;
use crate::runtime::Runtime;

/// Bytes of a request: what the kubelet allows, too.
const REQUEST: usize = 16 * 1024 * 1024;
/// Bytes of an answer: ExecSync's has two streams of 16 MiB.
const ANSWER: usize = 33 * 1024 * 1024;
/// Requests in progress get this long to end, and streams that never end are cut.
const GRACE: Duration = Duration::from_secs(5);

/// Serves both services on `socket` until `stop`.
pub async fn serve(
    runtime: Arc<Runtime>,
    socket: UnixListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    socket.set_nonblocking(true).context("listen")?;
    let socket = tokio::net::UnixListener::from_std(socket).context("listen")?;
    let stopping = Arc::new(Notify::new());
    let stopped = Arc::clone(&stopping);
    let router = Server::builder()
        .add_service(
            RuntimeServiceServer::new(RuntimeCalls(Arc::clone(&runtime)))
                .max_decoding_message_size(REQUEST)
                .max_encoding_message_size(ANSWER),
        )
        .add_service(
            ImageServiceServer::new(ImageCalls(runtime))
                .max_decoding_message_size(REQUEST)
                .max_encoding_message_size(ANSWER),
        );
    let serving = router.serve_with_incoming_shutdown(connections(socket), async move {
        stop.await;
        stopped.notify_one();
    });
    tokio::select! {
        served = serving => served.context("serve"),
        () = async { stopping.notified().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

/// Without descriptors left accept(2) fails at once and again: it is tried again a little later, and those who wait are not lost.
fn connections(socket: tokio::net::UnixListener) -> ReceiverStream<std::io::Result<UnixStream>> {
    let (to, connections) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            match socket.accept().await {
                Ok((connection, _)) => {
                    if to.send(Ok(connection)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    warn!(%error, "accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    ReceiverStream::new(connections)
}
