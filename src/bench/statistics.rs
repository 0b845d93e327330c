//! Costs in a few numbers.

use serde::Serialize;

use super::Cost;

/// From how many samples on a 99th percentile is told: twenty of them lie beyond it then.
pub const P99_SAMPLES: usize = 2000;

/// Where the values of a sample lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of them are smaller.
    pub median: f64,
    /// Nine of ten are not larger.
    pub p90: f64,
    /// 99 of 100 are not larger; only with [`P99_SAMPLES`] or more.
    pub p99: Option<f64>,
}

impl Spread {
    /// That of `values`; zeros where there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let p99 = (values.len() >= P99_SAMPLES).then(|| percentile(&values, 99));
        Self { median: median(&values), p90: percentile(&values, 90), p99 }
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => 0.0,
        (Some(upper), 0) => (sorted[middle - 1] + upper) / 2.0,
        (Some(value), _) => *value,
    }
}

/// By nearest rank: the smallest value that `percent` in a hundred do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// What something costs, in milliseconds and KiB.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many samples there were.
    pub samples: usize,
    /// From the start of a program to the return of the wait for it.
    pub wall_ms: Spread,
    /// In user mode, of the program and of what it waited for.
    pub user_ms: f64,
    /// In the kernel, the same.
    pub system_ms: f64,
    /// The largest resident set of one process among them.
    pub peak_kib: f64,
}

impl Summary {
    /// Medians, and the spread of wall time.
    pub fn of(costs: &[Cost]) -> Self {
        let values = |of: fn(&Cost) -> f64| costs.iter().map(of).collect::<Vec<f64>>();
        let middle = |of| Spread::of(values(of)).median;
        Self {
            samples: costs.len(),
            wall_ms: Spread::of(values(|cost| cost.wall as f64 / 1e6)),
            user_ms: middle(|cost| cost.user as f64 / 1e3),
            system_ms: middle(|cost| cost.system as f64 / 1e3),
            peak_kib: middle(|cost| cost.peak as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_percentiles_are_by_rank() {
        let spread = Spread::of((1..=10).rev().map(f64::from).collect());
        assert_eq!(spread, Spread { median: 5.5, p90: 9.0, p99: None });
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Spread::of(vec![7.0]), Spread { median: 7.0, p90: 7.0, p99: None });
        assert_eq!(Spread::of(Vec::new()).median, 0.0);
    }

    #[test]
    fn a_99th_percentile_needs_two_thousand_samples() {
        let upto = |count: u32| Spread::of((1..=count).map(f64::from).collect());
        assert_eq!(upto(1999).p99, None);
        assert_eq!(upto(2000).p99, Some(1980.0));
    }

    #[test]
    fn units_are_milliseconds_and_kib() {
        let cost = Cost { wall: 2_500_000, user: 1500, system: 250, peak: 1800 };
        let summary = Summary::of(&[cost, cost]);
        assert_eq!((summary.samples, summary.wall_ms.median), (2, 2.5));
        assert_eq!((summary.user_ms, summary.system_ms, summary.peak_kib), (1.5, 0.25, 1800.0));
    }
}
