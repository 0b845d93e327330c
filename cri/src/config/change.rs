//! What of the configuration may change while the server runs.

use super::Config;

impl Config {
    /// `new`, but with this one's values for keys that a running server cannot change; their names, where they differ.
    pub fn changed_to(&self, mut new: Self) -> (Self, Vec<&'static str>) {
        let mut fixed = Vec::new();
        macro_rules! keep {
            ($($name:literal $($key:ident).+),* $(,)?) => {$(
                if new.$($key).+ != self.$($key).+ {
                    fixed.push($name);
                    new.$($key).+ = self.$($key).+.clone();
                }
            )*};
        }
        keep! {
            "listen" listen,
            "state" state,
            "run" run,
            "images" images,
            "cgroup_driver" cgroup_driver,
            "metrics_address" metrics_address,
            "network.netns_dir" network.netns_dir,
            "network.bridge" network.bridge,
            "network.ipv4" network.ipv4,
            "network.ipv6" network.ipv6,
            "streaming.address" streaming.address,
            "streaming.port" streaming.port,
        }
        (new, fixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_change_stays_and_is_named() {
        let old = Config::default();
        let mut new = Config { max_log_line: 1024, state: "/elsewhere".into(), ..Config::default() };
        new.streaming.port = 10010;
        new.streaming.token_lifetime = 5;
        new.metrics_address = "127.0.0.1:9436".into();
        let (next, fixed) = old.changed_to(new);
        assert_eq!(fixed, ["state", "metrics_address", "streaming.port"]);
        assert_eq!((next.max_log_line, next.streaming.token_lifetime), (1024, 5));
        assert_eq!((next.state, next.streaming.port), (old.state.clone(), 0));
        assert!(next.metrics_address.is_empty());
    }

    #[test]
    fn the_documented_marks_are_the_fixed_keys() {
        let marked = crate::config::DEFAULT.matches("[start]").count();
        // Once in the head; ipv4 and ipv6 share one.
        assert_eq!(marked - 1, 12 - 1);
    }
}
