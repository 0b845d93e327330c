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
/// NAME_MAX of the kernel.
const LONGEST_FILE_NAME: usize = 255;

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

/// Where a container's log is: below the logs' directory, as kubelet has it. The Pod's name is cut where it leaves no room in a file's.
pub fn log_directory(logs: &Path, namespace: &str, pod: &str, uid: &str) -> PathBuf {
    let room = LONGEST_FILE_NAME.saturating_sub(namespace.len() + uid.len() + 2);
    let pod = pod.get(..room).unwrap_or(pod);
    logs.join(format!("{namespace}_{pod}_{uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_logs_has_a_name_that_files_may_have() {
        let of = |pod: &str| {
            log_directory(Path::new("/logs"), "default", pod, "0d83f2ab-1f0a-4b1c-9d1a-6f0f2f1b7c11")
        };
        assert_eq!(of("web"), Path::new("/logs/default_web_0d83f2ab-1f0a-4b1c-9d1a-6f0f2f1b7c11"));
        let long = of(&"a".repeat(253));
        assert_eq!(long.file_name().map(std::ffi::OsStr::len), Some(255));
        assert!(long.display().to_string().ends_with("a_0d83f2ab-1f0a-4b1c-9d1a-6f0f2f1b7c11"));
    }
}
