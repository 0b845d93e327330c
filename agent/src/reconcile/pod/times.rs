//! How long things wait. Times are kubelet's.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::super::observed::{Backoff, Failure};

/// First and longest wait in seconds, doubled in between.
#[derive(Clone, Copy)]
pub(super) struct Retry(i64, i64);

/// Of images.
pub(super) const PULL_RETRY: Retry = Retry(10, 300);
/// Of containers that could not be created.
pub(super) const START_RETRY: Retry = Retry(10, 10);
/// Of volumes and sandboxes.
pub(super) const SETUP_RETRY: Retry = Retry(1, 30);
/// Of stops and removals.
pub(super) const END_RETRY: Retry = Retry(1, 60);

/// Restarts of a container: the first comes at once, then these.
const CRASH_RETRY: Retry = Retry(10, 300);
/// A container that ran for so long starts anew.
const STABLE_SECONDS: i64 = 600;

/// `seconds` after `at`, at most the end of time.
pub(super) fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// `seconds` after something that was remembered. What is still to come was so before the clock was set back, and nobody knows how long ago
/// it was: that is over now, rather than waited for until the clock is there again.
pub(super) fn due(at: Timestamp, seconds: i64, now: Timestamp) -> Timestamp {
    if at > now { now } else { after(at, seconds) }
}

/// The wait after the `count`th failure in a row.
pub(super) fn wait(count: u32, Retry(first, longest): Retry) -> i64 {
    let doubled = first.checked_shl(count.saturating_sub(1).min(30)).unwrap_or(longest);
    doubled.min(longest)
}

/// When what failed is tried again.
pub(super) fn retry_at(failure: &Failure, retry: Retry, now: Timestamp) -> Timestamp {
    due(failure.at, wait(failure.count, retry), now)
}

/// When a container that ended at `finished` may start again. None: at once.
pub(super) fn restart_at(
    backoff: Option<&Backoff>,
    finished: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let backoff = backoff.filter(|backoff| !is_stable(backoff, finished))?;
    Some(due(finished, backoff.seconds.into(), now))
}

/// The wait after the next end of a container that is started now, after an end at `finished`.
pub(super) fn next_backoff(before: Option<&Backoff>, finished: Timestamp, now: Timestamp) -> Backoff {
    let Retry(first, longest) = CRASH_RETRY;
    let seconds = match before.filter(|backoff| !is_stable(backoff, finished)) {
        Some(backoff) => (i64::from(backoff.seconds) * 2).min(longest),
        None => first,
    };
    Backoff { seconds: u32::try_from(seconds).unwrap_or(300), at: now }
}

fn is_stable(backoff: &Backoff, finished: Timestamp) -> bool {
    finished.duration_since(backoff.at) > SignedDuration::from_secs(STABLE_SECONDS)
}

/// As kubelet writes it: `10s`, `1m20s`, `5m0s`.
pub(super) fn words(seconds: u32) -> String {
    match seconds / 60 {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{}s", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(count: u32) -> Failure {
        Failure { reason: String::new(), message: String::new(), at: Timestamp::UNIX_EPOCH, count }
    }

    #[test]
    fn failures_wait_longer_and_longer_up_to_a_limit() {
        let at = |count| retry_at(&failed(count), PULL_RETRY, Timestamp::UNIX_EPOCH).as_second();
        let waits: Vec<_> = (1..=8).map(at).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(wait(u32::MAX, PULL_RETRY), 300);
        assert_eq!(wait(7, START_RETRY), 10);
    }

    #[test]
    fn the_first_restart_is_at_once_and_a_long_run_begins_anew() {
        let at = |seconds| after(Timestamp::UNIX_EPOCH, seconds);
        let restart_at = |backoff, finished| restart_at(backoff, finished, finished);
        assert_eq!(restart_at(None, at(5)), None);
        let mut backoff = next_backoff(None, at(5), at(5));
        let mut seen = vec![backoff.seconds];
        for _ in 0..6 {
            backoff = next_backoff(Some(&backoff), at(5), at(5));
            seen.push(backoff.seconds);
        }
        assert_eq!(seen, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(restart_at(Some(&backoff), at(10)), Some(at(310)));
        assert_eq!(restart_at(Some(&backoff), at(605)), Some(at(905)));
        assert_eq!(restart_at(Some(&backoff), at(606)), None);
        assert_eq!(next_backoff(Some(&backoff), at(606), at(606)).seconds, 10);
    }

    #[test]
    fn a_clock_that_is_set_back_is_not_waited_for() {
        let at = |seconds| after(Timestamp::UNIX_EPOCH, seconds);
        let failed = Failure { at: at(3600), ..failed(1) };
        assert_eq!(retry_at(&failed, PULL_RETRY, at(3605)), at(3610));
        assert_eq!(retry_at(&failed, PULL_RETRY, at(5)), at(5));
        let backoff = next_backoff(None, at(3600), at(3600));
        assert_eq!(restart_at(Some(&backoff), at(3601), at(3602)), Some(at(3611)));
        assert_eq!(restart_at(Some(&backoff), at(3601), at(5)), Some(at(5)));
    }

    #[test]
    fn times_are_written_as_kubelet_writes_them() {
        assert_eq!([10, 80, 300].map(words), ["10s", "1m20s", "5m0s"]);
    }

    #[test]
    fn nothing_overflows() {
        assert_eq!(after(Timestamp::MAX, i64::MAX), Timestamp::MAX);
    }
}
