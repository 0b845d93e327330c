//! `--userns auto`: ids that no other running container has.
//!
//! Taken from the ranges of the user `rcrun`, or else `containers`, in /etc/subuid and /etc/subgid where both have
//! the same, as podman's are; without any, from 1879048192 to 2147352575, which systemd's "Users, Groups, UIDs and
//! GIDs on systemd Systems" lists as unused.

use super::ContainerError;
use crate::image::store::{IdRange, Store};

/// How many ids a container has.
const COUNT: u32 = 65536;
/// The range of a machine that says nothing.
const BUILT_IN: (u32, u32) = (1_879_048_192, 2_147_352_576);
/// Whose ranges they are.
const USERS: [&str; 2] = ["rcrun", "containers"];

/// The first range that no container of `store` has. The caller holds the lock of all that take
/// one, until its own container's record is written.
pub(super) fn free(store: &Store) -> Result<IdRange, ContainerError> {
    if crate::host::in_user_namespace() {
        return Err(ContainerError::Ids(
            "--userns auto is for root of the machine: here the containers are in a user namespace already"
                .into(),
        ));
    }
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let ranges = ranges(&read("/etc/subuid"), &read("/etc/subgid"))?;
    first_free(&ranges, &store.taken_ids()).ok_or_else(|| {
        let places: u32 = ranges.iter().map(|(start, end)| (end - start) / COUNT).sum();
        ContainerError::Ids(format!(
            "--userns auto: all {places} ranges of {COUNT} ids are taken: delete containers, or give the user rcrun \
             more ids in /etc/subuid and /etc/subgid"
        ))
    })
}

/// Starts and ends of what may be taken.
fn ranges(subuid: &str, subgid: &str) -> Result<Vec<(u32, u32)>, ContainerError> {
    for user in USERS {
        let (uids, gids) = (of_user(subuid, user), of_user(subgid, user));
        if uids.is_empty() && gids.is_empty() {
            continue;
        }
        let both: Vec<_> = uids.iter().filter(|range| gids.contains(range)).copied().collect();
        if both.iter().all(|(start, end)| end - start < COUNT) {
            return Err(ContainerError::Ids(format!(
                "--userns auto: /etc/subuid and /etc/subgid have no range of {COUNT} ids or more in common for the \
                 user {user}"
            )));
        }
        return Ok(both);
    }
    Ok(vec![BUILT_IN])
}

/// The ranges of `user`: subuid(5).
pub(crate) fn of_user(text: &str, user: &str) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let named = fields.next() == Some(user);
        let start: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        let end = start.checked_add(count)?;
        (named && count > 0).then_some((start, end))
    };
    text.lines().filter_map(range).collect()
}

fn first_free(ranges: &[(u32, u32)], taken: &[IdRange]) -> Option<IdRange> {
    let overlaps = |first: u32| {
        let (start, end) = (u64::from(first), u64::from(first) + u64::from(COUNT));
        taken.iter().any(|range| {
            let (from, to) = (u64::from(range.first), u64::from(range.first) + u64::from(range.count));
            start < to && from < end
        })
    };
    let starts = ranges.iter().flat_map(|(start, end)| {
        let count = (end - start) / COUNT;
        (0..count).map(move |number| start + number * COUNT)
    });
    starts.into_iter().find(|first| !overlaps(*first)).map(|first| IdRange { first, count: COUNT })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_user_or_built_in() {
        let files = "root:1:65536\nrcrun:100000:131072\ncontainers:900000:65536\n";
        assert_eq!(ranges(files, files).unwrap(), [(100_000, 231_072)]);
        assert_eq!(ranges("containers:5:70000\n", "containers:5:70000\n").unwrap(), [(5, 70_005)]);
        assert_eq!(ranges("x:1:2\n", "").unwrap(), [BUILT_IN]);
        let error = ranges("rcrun:1:65536\n", "rcrun:2:65536\n").unwrap_err().to_string();
        assert!(error.contains("no range of 65536"), "{error}");
        assert_eq!(of_user("u:4294967295:2\nu:x:1\nu:1\nu:7:1\n", "u"), [(7, 8)]);
    }

    #[test]
    fn a_range_is_nobody_elses() {
        let range = |first| IdRange { first, count: COUNT };
        let ranges = [(100_000, 100_000 + 3 * COUNT)];
        assert_eq!(first_free(&ranges, &[]), Some(range(100_000)));
        assert_eq!(first_free(&ranges, &[range(100_000)]), Some(range(165_536)));
        assert_eq!(first_free(&ranges, &[range(100_001)]), Some(range(100_000 + 2 * COUNT)));
        let all = [range(100_000), range(165_536), range(231_072)];
        assert_eq!(first_free(&ranges, &all), None);
    }
}
