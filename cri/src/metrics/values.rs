//! What is measured.

use crate::api::ContainerState;
use crate::check;
use crate::runtime::Runtime;
use crate::state::PodState;

use super::text::Text;

/// All metrics as of now. Blocks.
pub fn now(runtime: &Runtime) -> String {
    let config = runtime.config();
    let pods: Vec<PodState> = runtime.pods.list().iter().map(|pod| pod.state).collect();
    let containers: Vec<ContainerState> =
        runtime.containers.list().iter().map(|container| container.state()).collect();
    of(&pods, &containers, &check::controllers(&config), check::lowest_oom_score_adj(&config).is_some())
}

/// Every state and controller has its line, so that one that changes is seen to.
fn of(
    pods: &[PodState],
    containers: &[ContainerState],
    controllers: &[(&str, bool)],
    oom_score_adj_restricted: bool,
) -> String {
    let mut text = Text::default();
    let version = [(env!("CARGO_PKG_VERSION"), 1)];
    text.gauge("rcrun_build_info", "1, labelled with rcrun-cri's version.", "version", &version);
    let in_state = |state| pods.iter().filter(|pod| **pod == state).count();
    let states = [
        ("making", in_state(PodState::Making)),
        ("ready", in_state(PodState::Ready)),
        ("not_ready", in_state(PodState::NotReady)),
    ];
    text.gauge("rcrun_pods", "Pod sandboxes by state.", "state", &states);
    let in_state = |state| containers.iter().filter(|container| **container == state).count();
    let states = [
        ("created", in_state(ContainerState::ContainerCreated)),
        ("running", in_state(ContainerState::ContainerRunning)),
        ("exited", in_state(ContainerState::ContainerExited)),
    ];
    text.gauge("rcrun_containers", "Containers by state.", "state", &states);
    let skipped: Vec<_> = controllers.iter().map(|(name, skipped)| (*name, usize::from(*skipped))).collect();
    text.gauge(
        "rcrun_skipped_limits",
        "1 where limits are left out of containers, for the host lacks their cgroup controller.",
        "controller",
        &skipped,
    );
    text.single(
        "rcrun_oom_score_adj_restricted",
        "1 where an oom_score_adj that is too low to be set is raised.",
        usize::from(oom_score_adj_restricted),
    );
    text.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_controller_has_its_line() {
        let pods = [PodState::Ready, PodState::Ready, PodState::Making];
        let containers = [ContainerState::ContainerRunning, ContainerState::ContainerExited];
        let text = of(&pods, &containers, &[("cpu", true), ("pids", false)], true);
        let values: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            concat!("rcrun_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "rcrun_pods{state=\"making\"} 1",
            "rcrun_pods{state=\"ready\"} 2",
            "rcrun_pods{state=\"not_ready\"} 0",
            "rcrun_containers{state=\"created\"} 0",
            "rcrun_containers{state=\"running\"} 1",
            "rcrun_containers{state=\"exited\"} 1",
            "rcrun_skipped_limits{controller=\"cpu\"} 1",
            "rcrun_skipped_limits{controller=\"pids\"} 0",
            "rcrun_oom_score_adj_restricted 1",
        ];
        assert_eq!(values, expected);
        assert!(of(&[], &[], &[], false).ends_with("rcrun_oom_score_adj_restricted 0\n"));
    }
}
