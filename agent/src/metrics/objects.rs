//! Objects and their statuses, under kube-state-metrics' names.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Endpoints, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::family::{Labels, counter, gauge};
use crate::objects::{Kind, Objects, Typed, quantity};

/// Phases as they are; a Pod is in one of them.
const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];

/// A number of a workload: the metric, what it says, and where it is.
type Field<T> = (&'static str, &'static str, fn(&T) -> Option<i32>);

/// All objects at a moment.
#[derive(Debug)]
pub struct State(pub Arc<Objects>);

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let encoder = &mut encoder;
        let kinds =
            Kind::ALL.iter().map(|kind| ([("kind", kind.name())], self.0.of_kind(*kind).count() as f64));
        gauge(encoder, "rcrun_agent_objects", "Objects of each kind", kinds)?;
        self.pods(encoder)?;
        self.statuses(encoder)?;
        self.resources(encoder)?;
        self.workloads(encoder)
    }
}

impl State {
    fn pods(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let infos = self.0.list::<Pod>().map(|pod| {
            let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
            let owner = owners.iter().find(|owner| owner.controller == Some(true));
            let status = pod.status.as_ref();
            let of = text_or_empty;
            let [namespace, name] = named(pod);
            let labels = [
                namespace,
                name,
                ("uid", pod.uid()),
                ("node", of(pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()))),
                ("host_ip", of(status.and_then(|status| status.host_ip.as_ref()))),
                ("pod_ip", of(status.and_then(|status| status.pod_ip.as_ref()))),
                ("created_by_kind", owner.map_or("", |owner| owner.kind.as_str())),
                ("created_by_name", owner.map_or("", |owner| owner.name.as_str())),
            ];
            (labels, 1.0)
        });
        gauge(encoder, "kube_pod_info", "What a Pod is", infos)?;
        let phases = self.0.list::<Pod>().flat_map(|pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
            PHASES.map(|one| (with::<2, 3>(named(pod), "phase", one), f64::from(one == phase)))
        });
        gauge(encoder, "kube_pod_status_phase", "The phase that a Pod is in", phases)?;
        let ready = self.0.list::<Pod>().flat_map(|pod| {
            let status = condition(pod, "Ready");
            ["true", "false", "unknown"].map(|one| {
                (with::<2, 3>(named(pod), "condition", one), f64::from(status.eq_ignore_ascii_case(one)))
            })
        });
        gauge(encoder, "kube_pod_status_ready", "Whether a Pod serves requests", ready)
    }

    fn statuses(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let restarts = self.containers().map(|(labels, status)| (labels, f64::from(status.restart_count)));
        counter(
            encoder,
            "kube_pod_container_status_restarts",
            "How often a container was started again",
            restarts,
        )?;
        let ready = self.containers().map(|(labels, status)| (labels, f64::from(status.ready)));
        gauge(
            encoder,
            "kube_pod_container_status_ready",
            "Whether a container passes its readiness probe",
            ready,
        )?;
        let running = self.containers().map(|(labels, status)| {
            (labels, f64::from(status.state.as_ref().is_some_and(|state| state.running.is_some())))
        });
        gauge(encoder, "kube_pod_container_status_running", "Whether a container runs", running)?;
        let waiting = self.containers().filter_map(|(labels, status)| {
            let reason = status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
            Some((with::<3, 4>(labels, "reason", reason), 1.0))
        });
        gauge(
            encoder,
            "kube_pod_container_status_waiting_reason",
            "Why a container does not run yet",
            waiting,
        )?;
        let ended = self.containers().filter_map(|(labels, status)| {
            Some((with::<3, 4>(labels, "reason", terminated(status.state.as_ref()?)?), 1.0))
        });
        gauge(encoder, "kube_pod_container_status_terminated_reason", "Why a container has ended", ended)?;
        let last = self.containers().filter_map(|(labels, status)| {
            Some((with::<3, 4>(labels, "reason", terminated(status.last_state.as_ref()?)?), 1.0))
        });
        gauge(
            encoder,
            "kube_pod_container_status_last_terminated_reason",
            "Why a container ended before it was started again",
            last,
        )
    }

    fn containers(&self) -> impl Iterator<Item = (Labels<'_, 3>, &ContainerStatus)> {
        self.0.list::<Pod>().flat_map(|pod| {
            let statuses = pod.status.iter().flat_map(|status| {
                status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
            });
            statuses.map(|status| (with(named(pod), "container", status.name.as_str()), status))
        })
    }

    fn resources(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Amounts = Option<std::collections::BTreeMap<String, Quantity>>;
        let one = |pick: fn(&Container) -> Option<&Amounts>| {
            self.0.list::<Pod>().flat_map(move |pod| {
                let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
                containers.flat_map(move |container| {
                    pick(container).and_then(Option::as_ref).into_iter().flatten().filter_map(
                        move |(resource, amount)| {
                            let unit = match resource.as_str() {
                                "cpu" => "core",
                                "memory" | "ephemeral-storage" => "byte",
                                _ => "integer",
                            };
                            let labels: Labels<'_, 3> = with(named(pod), "container", &container.name);
                            let labels: Labels<'_, 4> = with(labels, "resource", resource);
                            // Amounts that people write fit a float.
                            Some((
                                with::<4, 5>(labels, "unit", unit),
                                quantity::milli(amount)? as f64 / 1000.0,
                            ))
                        },
                    )
                })
            })
        };
        let requests = one(|container| container.resources.as_ref().map(|resources| &resources.requests));
        gauge(encoder, "kube_pod_container_resource_requests", "What a container asks for", requests)?;
        let limits = one(|container| container.resources.as_ref().map(|resources| &resources.limits));
        gauge(encoder, "kube_pod_container_resource_limits", "What a container is limited to", limits)
    }

    fn workloads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let deployments: [Field<Deployment>; 5] = [
            ("kube_deployment_spec_replicas", "Wanted Pods", |of| of.spec.replicas),
            ("kube_deployment_status_replicas", "Pods that are there", |of| of.status.as_ref()?.replicas),
            ("kube_deployment_status_replicas_ready", "Ready Pods", |of| of.status.as_ref()?.ready_replicas),
            ("kube_deployment_status_replicas_available", "Pods that are ready for long enough", |of| {
                of.status.as_ref()?.available_replicas
            }),
            ("kube_deployment_status_replicas_updated", "Pods of the newest template", |of| {
                of.status.as_ref()?.updated_replicas
            }),
        ];
        self.fields(encoder, "deployment", &deployments)?;
        let sets: [Field<StatefulSet>; 2] = [
            ("kube_statefulset_replicas", "Wanted Pods", |of| of.spec.replicas),
            ("kube_statefulset_status_replicas_ready", "Ready Pods", |of| of.status.as_ref()?.ready_replicas),
        ];
        self.fields(encoder, "statefulset", &sets)?;
        let daemons: [Field<DaemonSet>; 2] = [
            ("kube_daemonset_status_desired_number_scheduled", "Wanted Pods", |of| {
                Some(of.status.as_ref()?.desired_number_scheduled)
            }),
            ("kube_daemonset_status_number_ready", "Ready Pods", |of| Some(of.status.as_ref()?.number_ready)),
        ];
        self.fields(encoder, "daemonset", &daemons)?;
        let jobs: [Field<Job>; 3] = [
            ("kube_job_status_active", "Pods that run", |of| of.status.as_ref()?.active),
            ("kube_job_status_succeeded", "Pods that succeeded", |of| of.status.as_ref()?.succeeded),
            ("kube_job_status_failed", "Pods that failed", |of| of.status.as_ref()?.failed),
        ];
        self.fields(encoder, "job_name", &jobs)?;
        let addresses = self.0.list::<Endpoints>().map(|endpoints| {
            let subsets = endpoints.subsets.as_deref().unwrap_or_default();
            let ready =
                subsets.iter().map(|subset| subset.addresses.as_ref().map_or(0, Vec::len)).sum::<usize>();
            ([("namespace", endpoints.namespace()), ("endpoint", endpoints.name())], ready as f64)
        });
        gauge(encoder, "kube_endpoint_address_available", "Ready addresses of a Service", addresses)
    }

    /// Zero where a status does not say.
    fn fields<T: Typed + 'static>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        label: &'static str,
        fields: &[Field<T>],
    ) -> fmt::Result {
        for (name, help, value) in fields {
            let samples = self.0.list::<T>().map(|object| {
                (
                    [("namespace", object.namespace()), (label, object.name())],
                    f64::from(value(object).unwrap_or(0)),
                )
            });
            gauge(encoder, name, help, samples)?;
        }
        Ok(())
    }
}

fn text_or_empty(text: Option<&String>) -> &str {
    text.map_or("", String::as_str)
}

fn named(pod: &Pod) -> Labels<'_, 2> {
    [("namespace", pod.namespace()), ("pod", pod.name())]
}

/// One label more.
fn with<'a, const N: usize, const M: usize>(
    labels: Labels<'a, N>,
    name: &'static str,
    value: &'a str,
) -> Labels<'a, M> {
    const { assert!(M == N + 1) };
    let mut all = [("", ""); M];
    all[..N].copy_from_slice(&labels);
    all[N] = (name, value);
    all
}

/// The status of one of a Pod's conditions.
fn condition<'a>(pod: &'a Pod, kind: &str) -> &'a str {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .map_or("unknown", |condition| &condition.status)
}

fn terminated(state: &ContainerState) -> Option<&str> {
    state.terminated.as_ref()?.reason.as_deref()
}
