//! Facts of the machine that Pods' messages depend on and that do not change while it runs. Each is read once.

use std::path::Path;
use std::sync::LazyLock;

/// Bytes of memory.
pub fn memory() -> i64 {
    static MEMORY: LazyLock<i64> = LazyLock::new(|| {
        let info = rustix::system::sysinfo();
        let bytes = u128::from(info.totalram as u64) * u128::from(info.mem_unit);
        i64::try_from(bytes).unwrap_or(i64::MAX)
    });
    *MEMORY
}

/// Processors that are online.
pub fn cpus() -> i64 {
    static CPUS: LazyLock<i64> = LazyLock::new(|| {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
        i64::try_from(ids(&online).len()).unwrap_or(1).max(1)
    });
    *CPUS
}

/// Directories that tell how busy each processor was, and with it what others do: masked where they are.
pub fn thermal_throttle() -> &'static [String] {
    static PATHS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
        let paths =
            ids(&possible).into_iter().map(|id| format!("/sys/devices/system/cpu/cpu{id}/thermal_throttle"));
        paths.filter(|path| Path::new(path).exists()).collect()
    });
    &PATHS
}

/// Of the kernel's lists: `0-3,8`.
fn ids(list: &str) -> Vec<u32> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(ids("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(ids("0"), [0]);
        assert!(ids("").is_empty());
        assert!(memory() > 1 << 20 && cpus() > 0);
    }
}
