//! The runtime behind a CRI socket.

/// The CRI's messages and its client, generated from cri/proto/runtime.proto.
#[allow(missing_docs, clippy::all)]
pub mod api {
    tonic::include_proto!("runtime.v1");
}

use std::path::{Path, PathBuf};

use api::image_service_client::ImageServiceClient;
use api::runtime_service_client::RuntimeServiceClient;
use tonic::transport::{Channel, Endpoint};

/// Lists of many containers are long.
const LONGEST_MESSAGE: usize = 64 << 20;

/// Calls to a CRI endpoint. A copy is the same connection, which comes again by itself when it breaks.
#[derive(Clone)]
pub struct Runtime {
    channel: Channel,
}

impl Runtime {
    /// The endpoint on a socket: `unix:///run/rcrun/cri.sock` or a path. It connects with the first call.
    pub fn at(endpoint: &str) -> anyhow::Result<Self> {
        let path: PathBuf = endpoint.strip_prefix("unix://").unwrap_or(endpoint).into();
        anyhow::ensure!(
            path.is_absolute(),
            "--cri {endpoint}: a unix socket by its absolute path is needed, as unix:///run/rcrun/cri.sock"
        );
        let channel = Endpoint::try_from(format!("unix://{}", path.display()))?.connect_lazy();
        Ok(Self { channel })
    }

    /// Of Pods and containers.
    pub fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST_MESSAGE)
    }

    /// Of images.
    pub fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST_MESSAGE)
    }
}

/// Where a container's log is: below the logs' directory, as kubelet has it.
pub fn log_directory(logs: &Path, namespace: &str, pod: &str, uid: &str) -> PathBuf {
    logs.join(format!("{namespace}_{pod}_{uid}"))
}
