//! What was measured before: a rate takes two samples, and a layer is not walked each time.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rcrun::image::store::Space;

/// Of containers and Pods, by id. Nothing of it is on disk: after a restart it is measured anew.
#[derive(Debug, Default)]
pub struct Samples {
    rates: Mutex<HashMap<String, Rate>>,
    layers: Mutex<HashMap<String, Layer>>,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Nanoseconds of processor time, and when.
    sample: (u64, i64),
    /// Of the last two samples.
    nano_cores: Option<u64>,
}

/// A writable layer as it was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    pub space: Space,
    /// Nanoseconds since 1970.
    pub timestamp: i64,
    until: Instant,
}

const SECOND: i64 = 1_000_000_000;
/// What was measured is good for so long.
const FRESH: Duration = Duration::from_secs(10);
/// Measuring a layer takes at most this part of the time.
const PART: u32 = 20;

impl Samples {
    /// Processor time a second between samples of at least a second's distance; None until there are two.
    pub(super) fn nano_cores(&self, id: &str, cpu: u64, timestamp: i64) -> Option<u64> {
        let mut rates = lock(&self.rates);
        let first = Rate { sample: (cpu, timestamp), nano_cores: None };
        let rate = rates.entry(id.to_owned()).or_insert(first);
        let (before, at) = rate.sample;
        // A clock that was set back, or a cgroup that was made anew, begins anew.
        if timestamp < at || cpu < before {
            *rate = first;
        }
        if timestamp - at >= SECOND && cpu >= before {
            let nanoseconds = u128::from(timestamp.abs_diff(at));
            let nano_cores = u128::from(cpu - before) * u128::from(SECOND.unsigned_abs()) / nanoseconds;
            let nano_cores = Some(u64::try_from(nano_cores).unwrap_or(u64::MAX));
            *rate = Rate { sample: (cpu, timestamp), nano_cores };
        }
        rate.nano_cores
    }

    /// What a container has written below `upper`; one that is not there has written nothing.
    pub(super) fn layer(&self, id: &str, upper: &Path) -> Layer {
        if let Some(known) = lock(&self.layers).get(id).filter(|known| Instant::now() < known.until) {
            return *known;
        }
        let (started, timestamp) = (Instant::now(), crate::state::now());
        let space = rcrun::image::store::measure(upper).unwrap_or_default();
        let until = Instant::now() + FRESH.max(started.elapsed() * PART);
        let layer = Layer { space, timestamp, until };
        lock(&self.layers).insert(id.to_owned(), layer);
        layer
    }

    /// Forgets all others.
    pub(super) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        lock(&self.rates).retain(|id, _| is_there(id));
        lock(&self.layers).retain(|id, _| is_there(id));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_takes_two_samples_a_second_apart() {
        let samples = Samples::default();
        let rate = |cpu, seconds: f64| samples.nano_cores("c", cpu, (seconds * 1e9) as i64);
        assert_eq!(rate(0, 10.0), None);
        assert_eq!(rate(9, 10.5), None);
        assert_eq!(rate(1_000_000_000, 12.0), Some(500_000_000));
        // Too soon: the last one counts.
        assert_eq!(rate(1_900_000_000, 12.5), Some(500_000_000));
        assert_eq!(rate(3_000_000_000, 13.0), Some(2_000_000_000));
        assert_eq!(rate(5, 20.0), None);
        assert_eq!(rate(5, 19.0), None);
        assert_eq!(samples.nano_cores("other", 1, 0), None);
    }

    #[test]
    fn a_layer_is_measured_once_in_a_while_and_without_following_links() {
        let upper = tempfile::tempdir().unwrap();
        std::fs::write(upper.path().join("file"), [1; 5000]).unwrap();
        std::fs::hard_link(upper.path().join("file"), upper.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", upper.path().join("link")).unwrap();
        let samples = Samples::default();
        let Space { bytes, inodes } = samples.layer("c", upper.path()).space;
        assert_eq!(inodes, 3);
        assert!((5000..100_000).contains(&bytes), "{bytes}");
        std::fs::write(upper.path().join("new"), "x").unwrap();
        assert_eq!(samples.layer("c", upper.path()).space.inodes, 3);
        samples.retain(|id| id != "c");
        assert_eq!(samples.layer("c", upper.path()).space.inodes, 4);
        assert_eq!(samples.layer("gone", Path::new("/nonesuch")).space, Space::default());
    }
}
