//! One step of a Pod's life, done at the runtime.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Volume};
use tonic::{Code, Status};

use super::files::{Files, hosts_file, termination_file};
use super::{Node, blocking, hook, observe, probe};
use crate::cri::{api, log_directory};
use crate::objects::Typed as _;
use crate::objects::pod::is_finished;
use crate::reconcile::observed::{ProbeKind, Sandbox};
use crate::reconcile::pod::{Outcome, PodStep};
use crate::{spec, volumes};

/// A step, and what is known of its Pod.
pub struct Job {
    /// None: the Pod has no object any more.
    pub pod: Option<Arc<Pod>>,
    /// Its uid.
    pub uid: String,
    /// For the logs' place.
    pub namespace: String,
    /// For the logs' place.
    pub name: String,
    /// The newest one.
    pub sandbox: Option<Sandbox>,
    /// Id of the image, of a Start.
    pub image: Option<String>,
    /// What to do.
    pub step: PodStep,
}

/// What takes longer waits for something, and should not keep others from starting.
const TURN: Duration = Duration::from_secs(10);
/// For the runtime to make or start a container, as kubelet has it: one that binds what is on a server may wait for that for ever.
const LONGEST_START: Duration = Duration::from_secs(120);

fn failed(reason: &str, message: impl Into<String>) -> Outcome {
    Outcome::Failed { reason: reason.into(), message: message.into() }
}

/// A request that does not wait for ever.
fn limited<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(LONGEST_START);
    request
}

/// What the runtime says of a request that was limited, to `what` a container.
fn said(what: &str, status: &Status) -> String {
    match status.code() {
        // tonic's own word for it is the first.
        Code::Cancelled | Code::DeadlineExceeded => {
            let limit = LONGEST_START.as_secs();
            format!("the runtime did not {what} it within {limit} s; it may wait for a server of its volumes")
        }
        _ => status.message().to_owned(),
    }
}

/// What is not there any more needs nothing more.
fn gone<T>(reason: &str, answer: Result<T, Status>) -> Outcome {
    match answer {
        Ok(_) => Outcome::Done,
        Err(status) if status.code() == Code::NotFound => Outcome::Done,
        Err(status) => failed(reason, status.message()),
    }
}

impl Node {
    /// Does a step. Nothing it calls waits for ever: the runtime's calls end with the runtime.
    pub async fn perform(&self, job: Job) -> Outcome {
        let starts = matches!(job.step, PodStep::RunSandbox { .. } | PodStep::Start { .. });
        // Never closed.
        let turn = if starts { self.starts.acquire().await.ok() } else { None };
        // Of many that wait for their turn none takes the memory of one that works.
        let mut step = Box::pin(self.perform_now(&job));
        if turn.is_some()
            && let Ok(outcome) = tokio::time::timeout(TURN, &mut step).await
        {
            return outcome;
        }
        drop(turn);
        step.await
    }

    async fn perform_now(&self, job: &Job) -> Outcome {
        let mut runtime = self.runtime.runtime();
        match (&job.step, job.pod.as_deref()) {
            (PodStep::StopSandbox { id }, _) => {
                let request = api::StopPodSandboxRequest { pod_sandbox_id: id.clone() };
                gone("FailedKillPod", runtime.stop_pod_sandbox(request).await)
            }
            (PodStep::RemoveSandbox { id }, _) => {
                let request = api::RemovePodSandboxRequest { pod_sandbox_id: id.clone() };
                gone("FailedKillPod", runtime.remove_pod_sandbox(request).await)
            }
            (PodStep::RemoveContainer { id, .. }, _) => {
                let request = api::RemoveContainerRequest { container_id: id.clone() };
                gone("FailedKillPod", runtime.remove_container(request).await)
            }
            (PodStep::Kill { id, grace, .. }, _) => self.end(id, *grace, job.sandbox.as_ref()).await,
            (PodStep::ReleaseVolumes, _) => self.release_volumes(job).await,
            (PodStep::TearDown, _) => self.tear_down(job).await,
            (PodStep::Stop { container, id, grace, pre_stop, .. }, pod) => {
                let pod = pod.filter(|_| *pre_stop);
                self.stop(pod, container, id, *grace, job.sandbox.as_ref()).await
            }
            (_, None) => failed("Gone", "the Pod has no object any more"),
            (PodStep::PrepareVolumes, Some(pod)) => self.prepare(pod, &job.uid).await,
            (PodStep::RunSandbox { attempt }, Some(pod)) => self.run_sandbox(pod, *attempt).await,
            (PodStep::Pull { container }, Some(pod)) => self.pull(pod, container).await,
            (PodStep::Start { container, attempt }, Some(pod)) => {
                // The largest by far.
                let done = Box::pin(self.start(pod, container, *attempt, job)).await;
                done.unwrap_or_else(|outcome| outcome)
            }
            (PodStep::PostStart { container, id }, Some(pod)) => {
                self.post_start(pod, container, id, &addresses(self, pod, job.sandbox.as_ref())).await
            }
            (PodStep::Probe { container, id, kind }, Some(pod)) => {
                self.probe(pod, container, id, *kind, &addresses(self, pod, job.sandbox.as_ref())).await
            }
        }
    }

    async fn prepare(&self, pod: &Pod, uid: &str) -> Outcome {
        let plan = match self.store.read(|objects| volumes::plan(pod, objects)) {
            Ok(plan) => plan,
            Err(error) => return failed("FailedMount", error.to_string()),
        };
        let revision = plan.revision;
        let directory = volumes::directory(&self.state, uid);
        let served = plan.served();
        let work = move || volumes::prepare(&plan, &directory).map_err(|error| error.to_string());
        match self.of_volumes(served, uid, "", work).await {
            Ok(()) => Outcome::Volumes(revision),
            Err(message) => failed("FailedMount", message),
        }
    }

    /// Work on a Pod's volumes, for one of its containers or for none. `served` is what a server may be asked for.
    async fn of_volumes<T: Send + 'static>(
        &self,
        served: Option<String>,
        uid: &str,
        container: &str,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let Some(served) = served else { return blocking::short(work).await };
        let (store, uid, directory) =
            (self.store.clone(), uid.to_owned(), volumes::directory(&self.state, uid));
        let what = format!("{uid} {container}");
        // The Pod may be over or gone by then, and what is made for it would stay.
        let late = move || {
            let is_over = |pod: &Pod| is_finished(pod);
            let pod = store.read(|objects| objects.list::<Pod>().find(|pod| pod.uid() == uid).map(is_over));
            let done = match pod {
                Some(false) => Ok(()),
                Some(true) => volumes::release(&directory),
                None => volumes::tear_down(&directory),
            };
            if let Err(error) = done {
                tracing::warn!("{error}");
            }
        };
        blocking::patient(what, &served, work, late).await
    }

    async fn run_sandbox(&self, pod: &Pod, attempt: u32) -> Outcome {
        let config = match spec::sandbox(pod, attempt, &self.settings) {
            Ok(config) => config,
            Err(error) => return failed(error.reason, error.message),
        };
        let handler = match self.store.read(|objects| spec::runtime_handler(pod, objects)) {
            Ok(handler) => handler,
            Err(error) => return failed(error.reason, error.message),
        };
        if let Err(error) = std::fs::create_dir_all(&config.log_directory) {
            return failed(
                "FailedCreatePodSandBox",
                format!("cannot make {}: {error}", config.log_directory),
            );
        }
        let mut runtime = self.runtime.runtime();
        let request = api::RunPodSandboxRequest { config: Some(config), runtime_handler: handler };
        let id = match runtime.run_pod_sandbox(request).await {
            Ok(answer) => answer.into_inner().pod_sandbox_id,
            Err(status) => return failed("FailedCreatePodSandBox", status.message()),
        };
        let request = api::PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: false };
        match runtime.pod_sandbox_status(request).await.map(|answer| answer.into_inner().status) {
            Ok(Some(status)) => Outcome::Sandbox(observe::sandbox(&status)),
            Ok(None) => failed("FailedCreatePodSandBox", format!("sandbox {id} has no status")),
            Err(status) => failed("FailedCreatePodSandBox", status.message()),
        }
    }

    async fn start(&self, pod: &Pod, name: &str, attempt: u32, job: &Job) -> Result<Outcome, Outcome> {
        const CONFIG: &str = "CreateContainerConfigError";
        let container =
            spec::container_of(pod, name).ok_or_else(|| failed(CONFIG, format!("no container {name}")))?;
        let sandbox = job.sandbox.as_ref().ok_or_else(|| failed(CONFIG, "the Pod has no sandbox"))?;
        let (handler, plan) =
            self.store.read(|objects| (spec::runtime_handler(pod, objects), volumes::plan(pod, objects)));
        let handler = handler.map_err(|error| failed(error.reason, error.message))?;
        let plan = plan.map_err(|error| failed(CONFIG, error.to_string()))?;
        let id = job.image.clone().unwrap_or_default();
        let image = self
            .image_by_id(&id, &handler)
            .await
            .map_err(|status| failed("ImageInspectError", status.message()))?;
        let image =
            image.ok_or_else(|| failed("ErrImageNeverPull", format!("image {id} is not here any more")))?;
        let addresses = addresses(self, pod, Some(sandbox));
        let env =
            self.store.read(|objects| spec::environment(pod, container, objects, &addresses, &self.settings));
        let env = env.map_err(|error| failed(error.reason, error.message))?;
        let files = Files {
            hosts: spec::hosts_file(pod, &addresses, &self.settings),
            hosts_at: hosts_file(&self.state, &job.uid),
            termination: termination_file(&self.state, &job.uid, name, attempt),
            logs: log_directory(&self.settings.logs, &job.namespace, &job.name, &job.uid).join(name),
            volumes: volumes::directory(&self.state, &job.uid),
            recursive: self
                .ranges
                .features()
                .is_some_and(|features| features.of(&handler).recursive_read_only),
        };
        let container_ = container.clone();
        let served = plan.served();
        let make = move || {
            let mounts = files.make(&container_, &plan, &env)?;
            Ok((mounts, files.hosts.is_some().then_some(files.hosts_at), files.termination))
        };
        let made = self.of_volumes(served, &job.uid, name, make).await;
        let (mut mounts, hosts_file, termination) = made.map_err(|message| failed(CONFIG, message))?;
        self.images_of_volumes(pod, &mut mounts).await?;
        let config = self.store.read(|objects| {
            let inputs = spec::ContainerInputs {
                objects,
                addresses: &addresses,
                mounts,
                image: &image,
                attempt,
                hosts_file: hosts_file.as_deref(),
                termination_file: Some(&termination),
            };
            spec::container(pod, container, &inputs, &self.settings)
        });
        let config = config.map_err(|error| failed(error.reason, error.message))?;
        Box::pin(self.create_and_start(pod, sandbox, config)).await.inspect_err(|_| self.forget_image(&id))
    }

    async fn create_and_start(
        &self,
        pod: &Pod,
        sandbox: &Sandbox,
        config: api::ContainerConfig,
    ) -> Result<Outcome, Outcome> {
        let sandbox_config = spec::sandbox(pod, sandbox.attempt, &self.settings);
        let sandbox_config = sandbox_config.map_err(|error| failed(error.reason, error.message))?;
        let name = config.metadata.as_ref().map(|metadata| metadata.name.clone()).unwrap_or_default();
        let mut runtime = self.runtime.runtime();
        let request = api::CreateContainerRequest {
            pod_sandbox_id: sandbox.id.clone(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let created = runtime.create_container(limited(request)).await;
        let id = created
            .map_err(|status| failed("CreateContainerError", said("create", &status)))?
            .into_inner()
            .container_id;
        let request = api::StartContainerRequest { container_id: id.clone() };
        let started = runtime.start_container(limited(request)).await;
        let request = api::ContainerStatusRequest { container_id: id.clone(), verbose: false };
        let status = runtime.container_status(request).await.map(|answer| answer.into_inner().status);
        match (started, status) {
            // As kubelet has it, one that could not be started has ended, if the runtime says so.
            (Err(_), Ok(Some(status))) if status.state() == api::ContainerState::ContainerExited => {
                Ok(Outcome::Container(observe::container(&status, &sandbox.id, &self.state)))
            }
            (Err(status), _) => {
                let message = observe::by_name(&said("start", &status), &id, &name);
                // Not to be found as a container that was created and never started.
                let _ = runtime.remove_container(api::RemoveContainerRequest { container_id: id }).await;
                Err(failed("RunContainerError", message))
            }
            (Ok(_), Ok(Some(status))) => {
                Ok(Outcome::Container(observe::container(&status, &sandbox.id, &self.state)))
            }
            (Ok(_), Ok(None)) => Err(failed("RunContainerError", format!("container {id} has no status"))),
            (Ok(_), Err(status)) => Err(failed("RunContainerError", status.message())),
        }
    }

    async fn post_start(&self, pod: &Pod, name: &str, id: &str, addresses: &[IpAddr]) -> Outcome {
        let container = spec::container_of(pod, name);
        let hook = container
            .and_then(|container| Some((container, container.lifecycle.as_ref()?.post_start.as_ref()?)));
        let Some((container, handler)) = hook else { return Outcome::Done };
        // As long as the container's start may take: kubelet has no limit of its own.
        let limit = Duration::from_secs(120);
        match hook::call(&self.runtime, pod, container, id, handler, addresses, limit).await {
            Ok(()) => Outcome::Done,
            Err(message) => failed("FailedPostStartHook", message),
        }
    }

    async fn probe(&self, pod: &Pod, name: &str, id: &str, kind: ProbeKind, addresses: &[IpAddr]) -> Outcome {
        let asked = spec::container_of(pod, name).and_then(|container| {
            let probe = match kind {
                ProbeKind::Startup => &container.startup_probe,
                ProbeKind::Liveness => &container.liveness_probe,
                ProbeKind::Readiness => &container.readiness_probe,
            };
            Some((container, probe.as_ref()?))
        });
        let Some((container, probe)) = asked else { return failed("Gone", "there is no such probe") };
        let start = std::time::Instant::now();
        let answer = probe::ask(&self.runtime, pod, container, id, probe, addresses).await;
        let (success, message) = match answer {
            Ok(answer) => answer,
            Err(message) => return failed("ProbeError", message),
        };
        let metadata = &pod.metadata;
        let (namespace, pod) = (metadata.namespace.as_deref(), metadata.name.as_deref());
        let (namespace, pod) = (namespace.unwrap_or_default(), pod.unwrap_or_default());
        self.counters.probe(namespace, pod, name, kind, success, start.elapsed());
        Outcome::Probe { success, message }
    }

    /// The hook's time is part of the grace, of which two seconds are left for the signal.
    async fn stop(
        &self,
        pod: Option<&Pod>,
        name: &str,
        id: &str,
        grace: Duration,
        sandbox: Option<&Sandbox>,
    ) -> Outcome {
        let start = std::time::Instant::now();
        let container = pod.and_then(|pod| Some((pod, spec::container_of(pod, name)?)));
        if let Some((pod, container)) = container
            && let Some(handler) =
                container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref())
            && !grace.is_zero()
        {
            let addresses = addresses(self, pod, sandbox);
            if let Err(message) =
                hook::call(&self.runtime, pod, container, id, handler, &addresses, grace).await
            {
                tracing::info!(container = id, "preStop hook failed: {message}");
            }
        }
        let least = if grace.is_zero() { Duration::ZERO } else { Duration::from_secs(2).min(grace) };
        self.end(id, grace.saturating_sub(start.elapsed()).max(least), sandbox).await
    }

    /// By SIGTERM, and SIGKILL after the grace; and how it ended.
    async fn end(&self, id: &str, grace: Duration, sandbox: Option<&Sandbox>) -> Outcome {
        let timeout = seconds(grace);
        let mut runtime = self.runtime.runtime();
        let request = api::StopContainerRequest { container_id: id.into(), timeout };
        let outcome = gone("FailedKillPod", runtime.stop_container(request).await);
        let (Outcome::Done, Some(sandbox)) = (&outcome, sandbox) else { return outcome };
        let request = api::ContainerStatusRequest { container_id: id.into(), verbose: false };
        match runtime.container_status(request).await.map(|answer| answer.into_inner().status) {
            Ok(Some(status)) => Outcome::Container(observe::container(&status, &sandbox.id, &self.state)),
            _ => outcome,
        }
    }

    async fn release_volumes(&self, job: &Job) -> Outcome {
        let directory = volumes::directory(&self.state, &job.uid);
        let work = move || volumes::release(&directory).map_err(|error| error.to_string());
        match self.of_volumes(may_be_served(job), &job.uid, "", work).await {
            Ok(()) => Outcome::Done,
            Err(message) => failed("FailedUnmount", message),
        }
    }

    async fn tear_down(&self, job: &Job) -> Outcome {
        let directory = volumes::directory(&self.state, &job.uid);
        let logs = log_directory(&self.settings.logs, &job.namespace, &job.name, &job.uid);
        let done = self.of_volumes(may_be_served(job), &job.uid, "", move || {
            // The directory is the last to go: by it an agent that starts again knows that there is something left.
            let of_logs = match std::fs::remove_dir_all(&logs) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(format!("cannot remove {}: {error}", logs.display()))
                }
                _ => Ok(()),
            };
            volumes::tear_down(&directory).map_err(|error| error.to_string())?;
            of_logs
        });
        match done.await {
            Ok(()) => Outcome::Done,
            Err(message) => failed("FailedUnmount", message),
        }
    }
}

/// A volume whose end may have to wait for a server.
fn may_be_served(job: &Job) -> Option<String> {
    let may_be = |volume: &&Volume| volume.nfs.is_some() || volume.persistent_volume_claim.is_some();
    let spec = job.pod.as_ref()?.spec.as_ref()?;
    spec.volumes.iter().flatten().find(may_be).map(|volume| format!("volume {}", volume.name))
}

/// As the runtime is told: one that is begun counts whole. What is left of a grace is a little less than what was given, and a container
/// that needs most of it would be killed.
fn seconds(grace: Duration) -> i64 {
    let whole = grace.as_secs().saturating_add(u64::from(grace.subsec_nanos() > 0));
    i64::try_from(whole).unwrap_or(i64::MAX)
}

/// The Pod's addresses; the node's in its network.
fn addresses(node: &Node, pod: &Pod, sandbox: Option<&Sandbox>) -> Vec<IpAddr> {
    match spec::host_network(pod) {
        true => node.settings.node.addresses.clone(),
        false => sandbox.map(|sandbox| sandbox.addresses.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_a_grace_that_is_begun_is_given_whole() {
        let given = [3000, 2999, 2001, 2000, 1, 0].map(|left| seconds(Duration::from_millis(left)));
        assert_eq!(given, [3, 3, 3, 2, 1, 0]);
        assert_eq!(seconds(Duration::MAX), i64::MAX);
    }
}
