//! What a kubelet asks for, as functions of a [`Node`]: each waits for the answer. Those named `try_…` give the error.

use std::time::{Duration, Instant};

use rcrun_cri::api::image_service_client::ImageServiceClient;
use rcrun_cri::api::runtime_service_client::RuntimeServiceClient;
use rcrun_cri::api::{self, ContainerConfig, ContainerState, PodSandboxConfig};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::node::{BUSYBOX, Node, SOCKET};
use crate::support;

/// A Pod that was run.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its id.
    pub id: String,
    /// What RunPodSandbox was told.
    pub config: PodSandboxConfig,
}

/// A Pod of this name with everything of its own: what a kubelet sends for one that says nothing.
pub fn pod_config(name: &str) -> PodSandboxConfig {
    let uid = format!("{name}-uid");
    let namespaces = api::NamespaceOption {
        network: api::NamespaceMode::Pod.into(),
        pid: api::NamespaceMode::Container.into(),
        ipc: api::NamespaceMode::Pod.into(),
        ..Default::default()
    };
    let security =
        api::LinuxSandboxSecurityContext { namespace_options: Some(namespaces), ..Default::default() };
    PodSandboxConfig {
        metadata: Some(api::PodSandboxMetadata {
            name: name.into(),
            uid: uid.clone(),
            namespace: "test".into(),
            attempt: 0,
        }),
        hostname: name.into(),
        log_directory: format!("/var/log/pods/test_{name}_{uid}"),
        linux: Some(api::LinuxPodSandboxConfig { security_context: Some(security), ..Default::default() }),
        ..Default::default()
    }
}

/// A container of this name that runs `command` of [`BUSYBOX`].
pub fn container_config(name: &str, command: &[&str]) -> ContainerConfig {
    let namespaces = api::NamespaceOption {
        network: api::NamespaceMode::Pod.into(),
        pid: api::NamespaceMode::Container.into(),
        ipc: api::NamespaceMode::Pod.into(),
        ..Default::default()
    };
    let security =
        api::LinuxContainerSecurityContext { namespace_options: Some(namespaces), ..Default::default() };
    ContainerConfig {
        metadata: Some(api::ContainerMetadata { name: name.into(), attempt: 0 }),
        image: Some(api::ImageSpec { image: BUSYBOX.into(), ..Default::default() }),
        command: command.iter().map(ToString::to_string).collect(),
        log_path: format!("{name}.log"),
        linux: Some(api::LinuxContainerConfig { security_context: Some(security), ..Default::default() }),
        ..Default::default()
    }
}

/// The security context of a container's configuration, to be changed.
pub fn security(config: &mut ContainerConfig) -> &mut api::LinuxContainerSecurityContext {
    let linux = config.linux.get_or_insert_with(Default::default);
    linux.security_context.get_or_insert_with(Default::default)
}

/// The resources of a container's configuration, to be changed.
pub fn resources(config: &mut ContainerConfig) -> &mut api::LinuxContainerResources {
    let linux = config.linux.get_or_insert_with(Default::default);
    linux.resources.get_or_insert_with(Default::default)
}

impl Node {
    // Connections.

    /// A connection of its own to the server.
    pub fn connect(&self) -> Channel {
        let endpoint = Endpoint::try_from(format!("unix://{}", self.path(SOCKET).display()));
        let _in = self.tokio.enter();
        endpoint.expect("an endpoint").connect_lazy()
    }

    /// RuntimeService through the connection that all calls share.
    pub fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.shared()).max_decoding_message_size(64 << 20)
    }

    /// ImageService through the same connection.
    pub fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.shared()).max_decoding_message_size(64 << 20)
    }

    fn shared(&self) -> Channel {
        self.channel().get_or_insert_with(|| self.connect()).clone()
    }

    /// Waits for `future`; a minute at most.
    #[track_caller]
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        let limited = async { tokio::time::timeout(support::seconds(60), future).await };
        self.tokio.block_on(limited).expect("no answer within a minute")
    }

    /// One call of RuntimeService.
    #[track_caller]
    pub fn call<T>(
        &self,
        call: impl AsyncFnOnce(RuntimeServiceClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Status> {
        self.wait(call(self.runtime())).map(Response::into_inner)
    }

    /// One call of ImageService.
    #[track_caller]
    pub fn image_call<T>(
        &self,
        call: impl AsyncFnOnce(ImageServiceClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Status> {
        self.wait(call(self.images())).map(Response::into_inner)
    }

    // Pods.

    /// RunPodSandbox with the default runtime handler.
    #[track_caller]
    pub fn try_run_pod(&self, config: &PodSandboxConfig) -> Result<Pod, Status> {
        self.try_run_pod_by(config, "")
    }

    /// RunPodSandbox with a runtime handler.
    #[track_caller]
    pub fn try_run_pod_by(&self, config: &PodSandboxConfig, handler: &str) -> Result<Pod, Status> {
        let request =
            api::RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: handler.into() };
        let answer = self.call(async |mut c| c.run_pod_sandbox(request).await)?;
        Ok(Pod { id: answer.pod_sandbox_id, config: config.clone() })
    }

    /// RunPodSandbox.
    #[track_caller]
    pub fn run_pod(&self, config: &PodSandboxConfig) -> Pod {
        self.try_run_pod(config).expect("RunPodSandbox")
    }

    /// RunPodSandbox of [`pod_config`].
    #[track_caller]
    pub fn pod(&self, name: &str) -> Pod {
        self.run_pod(&pod_config(name))
    }

    /// StopPodSandbox.
    #[track_caller]
    pub fn stop_pod(&self, id: &str) {
        let request = api::StopPodSandboxRequest { pod_sandbox_id: id.into() };
        self.call(async |mut c| c.stop_pod_sandbox(request).await).expect("StopPodSandbox");
    }

    /// RemovePodSandbox.
    #[track_caller]
    pub fn remove_pod(&self, id: &str) {
        let request = api::RemovePodSandboxRequest { pod_sandbox_id: id.into() };
        self.call(async |mut c| c.remove_pod_sandbox(request).await).expect("RemovePodSandbox");
    }

    /// PodSandboxStatus.
    #[track_caller]
    pub fn try_pod_status(&self, id: &str) -> Result<api::PodSandboxStatus, Status> {
        let request = api::PodSandboxStatusRequest { pod_sandbox_id: id.into(), verbose: false };
        let answer = self.call(async |mut c| c.pod_sandbox_status(request).await)?;
        Ok(answer.status.expect("a status"))
    }

    /// PodSandboxStatus.
    #[track_caller]
    pub fn pod_status(&self, id: &str) -> api::PodSandboxStatus {
        self.try_pod_status(id).expect("PodSandboxStatus")
    }

    /// ListPodSandbox, all.
    #[track_caller]
    pub fn pods(&self) -> Vec<api::PodSandbox> {
        let request = api::ListPodSandboxRequest::default();
        self.call(async |mut c| c.list_pod_sandbox(request).await).expect("ListPodSandbox").items
    }

    // Containers.

    /// CreateContainer; the id.
    #[track_caller]
    pub fn try_create(&self, pod: &Pod, config: &ContainerConfig) -> Result<String, Status> {
        let request = api::CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(config.clone()),
            sandbox_config: Some(pod.config.clone()),
        };
        Ok(self.call(async |mut c| c.create_container(request).await)?.container_id)
    }

    /// CreateContainer; the id.
    #[track_caller]
    pub fn create(&self, pod: &Pod, config: &ContainerConfig) -> String {
        self.try_create(pod, config).expect("CreateContainer")
    }

    /// StartContainer.
    #[track_caller]
    pub fn try_start(&self, id: &str) -> Result<(), Status> {
        let request = api::StartContainerRequest { container_id: id.into() };
        self.call(async |mut c| c.start_container(request).await).map(drop)
    }

    /// CreateContainer and StartContainer; the id.
    #[track_caller]
    pub fn run_container(&self, pod: &Pod, config: &ContainerConfig) -> String {
        let id = self.create(pod, config);
        self.try_start(&id).expect("StartContainer");
        id
    }

    /// A container of [`container_config`], created and started; the id.
    #[track_caller]
    pub fn container(&self, pod: &Pod, name: &str, command: &[&str]) -> String {
        self.run_container(pod, &container_config(name, command))
    }

    /// StopContainer with so many seconds of grace.
    #[track_caller]
    pub fn stop(&self, id: &str, timeout: i64) {
        let request = api::StopContainerRequest { container_id: id.into(), timeout };
        self.call(async |mut c| c.stop_container(request).await).expect("StopContainer");
    }

    /// RemoveContainer.
    #[track_caller]
    pub fn remove(&self, id: &str) {
        let request = api::RemoveContainerRequest { container_id: id.into() };
        self.call(async |mut c| c.remove_container(request).await).expect("RemoveContainer");
    }

    /// ContainerStatus.
    #[track_caller]
    pub fn try_status(&self, id: &str) -> Result<api::ContainerStatus, Status> {
        let request = api::ContainerStatusRequest { container_id: id.into(), verbose: false };
        let answer = self.call(async |mut c| c.container_status(request).await)?;
        Ok(answer.status.expect("a status"))
    }

    /// ContainerStatus.
    #[track_caller]
    pub fn status(&self, id: &str) -> api::ContainerStatus {
        self.try_status(id).expect("ContainerStatus")
    }

    /// ContainerStatus' verbose information, `info` as JSON.
    #[track_caller]
    pub fn info(&self, id: &str) -> serde_json::Value {
        let request = api::ContainerStatusRequest { container_id: id.into(), verbose: true };
        let answer = self.call(async |mut c| c.container_status(request).await).expect("ContainerStatus");
        serde_json::from_str(&answer.info["info"]).expect("JSON")
    }

    /// ListContainers, all.
    #[track_caller]
    pub fn containers(&self) -> Vec<api::Container> {
        let request = api::ListContainersRequest::default();
        self.call(async |mut c| c.list_containers(request).await).expect("ListContainers").containers
    }

    /// Waits until the container has ended; its status then.
    #[track_caller]
    pub fn exited(&self, id: &str) -> api::ContainerStatus {
        let deadline = Instant::now() + support::seconds(support::LONG);
        loop {
            let status = self.status(id);
            if status.state == i32::from(ContainerState::ContainerExited) {
                return status;
            }
            assert!(Instant::now() < deadline, "it has not ended: {status:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The container's log: each line's text, stream names and times left out.
    #[track_caller]
    pub fn output(&self, id: &str) -> String {
        let path = self.status(id).log_path;
        let text = std::fs::read_to_string(self.path(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut output = String::new();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let mut fields = line.splitn(4, ' ').skip(2);
            let (tag, text) = (fields.next().expect("a tag"), fields.next().unwrap_or_default());
            output.push_str(text);
            if tag == "F" {
                output.push('\n');
            }
        }
        output
    }

    /// Runs `command` in a container of a Pod of its own, to its end; what it wrote, and its status.
    #[track_caller]
    pub fn ran(&self, config: &ContainerConfig) -> (String, api::ContainerStatus) {
        let pod = self.pod(&format!("pod-of-{}", config.metadata.clone().unwrap_or_default().name));
        let id = self.run_container(&pod, config);
        let status = self.exited(&id);
        (self.output(&id), status)
    }

    /// ExecSync without a time limit.
    #[track_caller]
    pub fn try_exec(
        &self,
        id: &str,
        command: &[&str],
        timeout: i64,
    ) -> Result<api::ExecSyncResponse, Status> {
        let cmd = command.iter().map(ToString::to_string).collect();
        let request = api::ExecSyncRequest { container_id: id.into(), cmd, timeout };
        self.call(async |mut c| c.exec_sync(request).await)
    }

    /// ExecSync of what must exit with 0; its standard output.
    #[track_caller]
    pub fn exec(&self, id: &str, command: &[&str]) -> String {
        let answer = self.try_exec(id, command, 0).expect("ExecSync");
        assert_eq!(answer.exit_code, 0, "{}", String::from_utf8_lossy(&answer.stderr));
        String::from_utf8_lossy(&answer.stdout).into_owned()
    }
}

/// Stops and removes whatever is listed.
pub fn remove_all_pods(node: &Node) {
    for pod in node.pods() {
        node.stop_pod(&pod.id);
        node.remove_pod(&pod.id);
    }
}
