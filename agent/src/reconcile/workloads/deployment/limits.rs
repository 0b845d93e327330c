//! How many Pods a Deployment may have, and how many of them must be available.

use k8s_openapi::api::apps::v1::DeploymentSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Of a Deployment's strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Whether its Pods end before others start: nothing is promised then.
    pub recreate: bool,
    /// Above its replicas.
    pub surge: i32,
    /// Pods that are available at any time, if they do not fail by themselves.
    pub least_available: i32,
}

impl Limits {
    /// Percentages are of the replicas: of surge rounded up, of those that may be unavailable down. One of them is 1 at least.
    pub fn of(spec: &DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(1);
        let strategy = spec.strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
            return Self { recreate: true, surge: 0, least_available: 0 };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let surge = scaled(rolling.and_then(|rolling| rolling.max_surge.as_ref()), replicas, true);
        let mut unavailable =
            scaled(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), replicas, false);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Self { recreate: false, surge, least_available: (replicas - unavailable).max(0) }
    }
}

/// A number, or a percentage of `of`. None: 25 %.
pub(in super::super) fn scaled(value: Option<&IntOrString>, of: i32, up: bool) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(number)) => return (*number).max(0),
        Some(IntOrString::String(text)) => {
            text.strip_suffix('%').and_then(|text| text.parse::<i64>().ok()).unwrap_or(0)
        }
        None => 25,
    };
    let hundredths = percent.clamp(0, 1_000_000) * i64::from(of.max(0));
    let rounded = if up { (hundredths + 99) / 100 } else { hundredths / 100 };
    i32::try_from(rounded).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(replicas: i32, surge: &str, unavailable: &str) -> (i32, i32) {
        let value =
            |text: &str| text.parse().map_or_else(|_| IntOrString::String(text.to_owned()), IntOrString::Int);
        let rolling = k8s_openapi::api::apps::v1::RollingUpdateDeployment {
            max_surge: Some(value(surge)),
            max_unavailable: Some(value(unavailable)),
        };
        let strategy = k8s_openapi::api::apps::v1::DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(rolling),
        };
        let spec = DeploymentSpec {
            replicas: Some(replicas),
            strategy: Some(strategy),
            ..DeploymentSpec::default()
        };
        let limits = Limits::of(&spec);
        (limits.surge, limits.least_available)
    }

    #[test]
    fn percentages_are_rounded_in_favour_of_availability() {
        assert_eq!(limits(3, "25%", "25%"), (1, 3));
        assert_eq!(limits(10, "25%", "25%"), (3, 8));
        assert_eq!(limits(10, "2", "100%"), (2, 0));
        assert_eq!(limits(2, "0", "5"), (0, 0));
    }

    #[test]
    fn a_rollout_can_always_move() {
        assert_eq!(limits(3, "0", "25%"), (0, 2));
        assert_eq!(limits(1, "0", "0"), (0, 0));
    }
}
