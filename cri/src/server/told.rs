//! A line of the log for each request: what was asked, of which Pod and container, how long it took, and how it ended.
//!
//! Nothing of a request but names gets there: commands and variables may hold secrets, and PullImage does.

use std::time::Instant;

use tonic::{Code, Response, Status};
use tracing::{debug, error};

use crate::api;
use crate::runtime::Runtime;

/// Whom a request is about, as people know them; empty where it is about nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// `NAMESPACE/NAME` of the Pod.
    pub pod: String,
    /// The container's name, or an image's.
    pub object: String,
}

/// Requests that name somebody.
pub trait About {
    /// Whom.
    fn subject(&self, _runtime: &Runtime) -> Subject {
        Subject::default()
    }
}

/// A request in progress.
#[derive(Debug)]
pub struct Told {
    method: &'static str,
    subject: Subject,
    begin: Instant,
}

impl Told {
    /// Begins now.
    pub fn begin(method: &'static str, runtime: &Runtime, request: &impl About) -> Self {
        Self { method, subject: request.subject(runtime), begin: Instant::now() }
    }

    /// Ends with this answer, and passes it on.
    pub fn end<T>(self, answer: Result<T, Status>) -> Result<Response<T>, Status> {
        let Self { method, subject: Subject { pod, object }, begin } = self;
        let milliseconds = begin.elapsed().as_secs_f64() * 1000.0;
        match &answer {
            Ok(_) => debug!(method, pod, object, milliseconds, "ok"),
            // A kubelet asks so whether something is gone.
            Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => {
                debug!(method, pod, object, milliseconds, code = ?status.code(), "{}", status.message());
            }
            Err(status) => {
                error!(method, pod, object, milliseconds, code = ?status.code(), "{}", status.message());
            }
        }
        answer.map(Response::new)
    }
}

fn pod_named(metadata: Option<&api::PodSandboxMetadata>) -> String {
    metadata.map(|metadata| format!("{}/{}", metadata.namespace, metadata.name)).unwrap_or_default()
}

fn pod(runtime: &Runtime, id: &str) -> Subject {
    let pod = runtime.pods.find(id).map(|entry| pod_named(entry.get().config.metadata.as_ref()));
    Subject { pod: pod.unwrap_or_default(), object: String::new() }
}

fn container(runtime: &Runtime, id: &str) -> Subject {
    let Ok(entry) = runtime.containers.find(id) else { return Subject::default() };
    let record = entry.get();
    let name = record.config.metadata.as_ref().map(|metadata| metadata.name.clone());
    Subject { object: name.unwrap_or_default(), ..pod(runtime, &record.pod) }
}

fn image(image: Option<&api::ImageSpec>) -> Subject {
    Subject { object: image.map(|image| image.image.clone()).unwrap_or_default(), ..Subject::default() }
}

macro_rules! about {
    ($of:ident: $field:ident: $($request:ident),* $(,)?) => {$(
        impl About for api::$request {
            fn subject(&self, runtime: &Runtime) -> Subject {
                $of(runtime, &self.$field)
            }
        }
    )*};
    (image: $($request:ident),* $(,)?) => {$(
        impl About for api::$request {
            fn subject(&self, _: &Runtime) -> Subject {
                image(self.image.as_ref())
            }
        }
    )*};
    (nobody: $($request:ident),* $(,)?) => {$(
        impl About for api::$request {}
    )*};
}

about! {
    pod: pod_sandbox_id:
    StopPodSandboxRequest, RemovePodSandboxRequest, PodSandboxStatusRequest, PodSandboxStatsRequest, PortForwardRequest,
    UpdatePodSandboxResourcesRequest,
}
about! {
    container: container_id:
    StartContainerRequest, StopContainerRequest, RemoveContainerRequest, ContainerStatusRequest, ContainerStatsRequest,
    UpdateContainerResourcesRequest, ExecSyncRequest, ExecRequest, AttachRequest, ReopenContainerLogRequest,
}
about! { image: ImageStatusRequest, PullImageRequest, RemoveImageRequest }
about! {
    nobody:
    VersionRequest, StatusRequest, RuntimeConfigRequest, UpdateRuntimeConfigRequest, ListPodSandboxRequest,
    ListContainersRequest, StreamContainersRequest, ListContainerStatsRequest, StreamContainerStatsRequest,
    ListPodSandboxStatsRequest, StreamPodSandboxStatsRequest, ListImagesRequest, StreamImagesRequest, ImageFsInfoRequest,
}

impl About for api::RunPodSandboxRequest {
    fn subject(&self, _: &Runtime) -> Subject {
        let metadata = self.config.as_ref().and_then(|config| config.metadata.as_ref());
        Subject { pod: pod_named(metadata), object: String::new() }
    }
}

impl About for api::CreateContainerRequest {
    fn subject(&self, runtime: &Runtime) -> Subject {
        let metadata = self.config.as_ref().and_then(|config| config.metadata.as_ref());
        let name = metadata.map(|metadata| metadata.name.clone()).unwrap_or_default();
        Subject { object: name, ..pod(runtime, &self.pod_sandbox_id) }
    }
}
