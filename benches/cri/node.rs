//! A runtime's socket, and what a kubelet asks through it.

use anyhow::Context as _;
use rcrun_cri::api;
use rcrun_cri::api::image_service_client::ImageServiceClient;
use rcrun_cri::api::runtime_service_client::RuntimeServiceClient;
use tonic::transport::{Channel, Endpoint};

/// A Pod that was run.
pub struct Pod {
    id: String,
    config: api::PodSandboxConfig,
}

/// One runtime.
pub struct Node {
    /// What it is called in reports.
    pub name: String,
    /// Names of its processes.
    pub processes: Vec<String>,
    image: String,
    client: RuntimeServiceClient<Channel>,
    tokio: tokio::runtime::Runtime,
}

impl Node {
    /// The one of `NAME=SOCKET=PROCESS,...`; pulls the image.
    pub fn connect(word: &str, image: &str) -> anyhow::Result<Self> {
        let mut parts = word.splitn(3, '=');
        let (Some(name), Some(socket), Some(processes)) = (parts.next(), parts.next(), parts.next()) else {
            anyhow::bail!("{word:?} is not NAME=SOCKET=PROCESS,...")
        };
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let channel = tokio.block_on(async {
            let channel = Endpoint::try_from(format!("unix://{socket}"))?.connect().await?;
            let spec = api::ImageSpec { image: image.into(), ..Default::default() };
            let request = api::PullImageRequest { image: Some(spec), ..Default::default() };
            ImageServiceClient::new(channel.clone()).pull_image(request).await?;
            anyhow::Ok(channel)
        });
        let channel = channel.with_context(|| format!("pull {image} with {name} at {socket}"))?;
        Ok(Self {
            name: name.into(),
            processes: processes.split(',').map(str::to_owned).collect(),
            image: image.into(),
            client: RuntimeServiceClient::new(channel),
            tokio,
        })
    }

    /// RunPodSandbox with a network of its own.
    pub fn run_pod(&mut self, name: &str) -> anyhow::Result<Pod> {
        let metadata = api::PodSandboxMetadata {
            name: name.into(),
            uid: format!("{name}-uid"),
            namespace: "bench".into(),
            attempt: 0,
        };
        let security =
            api::LinuxSandboxSecurityContext { namespace_options: namespaces(), ..Default::default() };
        let config = api::PodSandboxConfig {
            metadata: Some(metadata),
            hostname: name.into(),
            log_directory: format!("/var/log/pods/{name}"),
            linux: Some(api::LinuxPodSandboxConfig {
                security_context: Some(security),
                ..Default::default()
            }),
            ..Default::default()
        };
        let request = api::RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
        let answer = self.tokio.block_on(self.client.run_pod_sandbox(request)).context("RunPodSandbox")?;
        Ok(Pod { id: answer.into_inner().pod_sandbox_id, config })
    }

    /// CreateContainer and StartContainer of one that sleeps; its id.
    pub fn run_container(&mut self, pod: &Pod, name: &str) -> anyhow::Result<String> {
        let security =
            api::LinuxContainerSecurityContext { namespace_options: namespaces(), ..Default::default() };
        let config = api::ContainerConfig {
            metadata: Some(api::ContainerMetadata { name: name.into(), attempt: 0 }),
            image: Some(api::ImageSpec { image: self.image.clone(), ..Default::default() }),
            command: vec!["sleep".into(), "100000".into()],
            log_path: format!("{name}.log"),
            linux: Some(api::LinuxContainerConfig { security_context: Some(security), ..Default::default() }),
            ..Default::default()
        };
        let request = api::CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        let answer = self.tokio.block_on(self.client.create_container(request)).context("CreateContainer")?;
        let container_id = answer.into_inner().container_id;
        let request = api::StartContainerRequest { container_id: container_id.clone() };
        self.tokio.block_on(self.client.start_container(request)).context("StartContainer")?;
        Ok(container_id)
    }

    /// ExecSync of `true`.
    pub fn exec(&mut self, container: &str) -> anyhow::Result<()> {
        let request =
            api::ExecSyncRequest { container_id: container.into(), cmd: vec!["true".into()], timeout: 10 };
        let answer = self.tokio.block_on(self.client.exec_sync(request)).context("ExecSync")?;
        anyhow::ensure!(answer.into_inner().exit_code == 0, "true has failed");
        Ok(())
    }

    /// StopPodSandbox, which kills its containers, and RemovePodSandbox.
    pub fn remove_pod(&mut self, pod: &Pod) -> anyhow::Result<()> {
        let request = api::StopPodSandboxRequest { pod_sandbox_id: pod.id.clone() };
        self.tokio.block_on(self.client.stop_pod_sandbox(request)).context("StopPodSandbox")?;
        let request = api::RemovePodSandboxRequest { pod_sandbox_id: pod.id.clone() };
        self.tokio.block_on(self.client.remove_pod_sandbox(request)).context("RemovePodSandbox")?;
        Ok(())
    }
}

/// As a kubelet has them: network and IPC are the Pod's, PIDs the container's.
fn namespaces() -> Option<api::NamespaceOption> {
    Some(api::NamespaceOption {
        network: api::NamespaceMode::Pod.into(),
        pid: api::NamespaceMode::Container.into(),
        ipc: api::NamespaceMode::Pod.into(),
        ..Default::default()
    })
}
