//! Figures side by side, with their ratios to the first.

use serde::Serialize;

use super::{Cost, Summary};

/// One contender's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Who.
    pub name: String,
    /// What it cost.
    #[serde(flatten)]
    pub summary: Summary,
    /// The median of wall time less that of `true`, in milliseconds.
    pub less_true_ms: f64,
    /// Each figure divided by the first contender's.
    pub ratios: Ratios,
}

/// How many times the first contender's figure.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ratios {
    /// Medians of wall time.
    pub wall: f64,
    /// The same less that of `true`.
    pub less_true: f64,
    /// 90th percentiles of wall time.
    pub p90: f64,
    /// 99th percentiles of wall time.
    pub p99: Option<f64>,
    /// Medians of user and system time together.
    pub processor: f64,
    /// Medians of peaks.
    pub peak: f64,
}

/// All contenders' figures.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One a contender, the first is whom the others are compared with.
    pub rows: Vec<Row>,
    /// fork, exec and wait of `true` alone.
    pub r#true: Summary,
}

impl Report {
    /// That of `contenders`, names and costs, at least one, beside those of `true`.
    pub fn new(contenders: &[(&str, &[Cost])], of_true: &[Cost]) -> Self {
        let bare = Summary::of(of_true);
        let less_true = |summary: &Summary| summary.wall_ms.median - bare.wall_ms.median;
        let summaries: Vec<(&str, Summary)> =
            contenders.iter().map(|(name, costs)| (*name, Summary::of(costs))).collect();
        let rows = summaries.iter().map(|(name, summary)| Row {
            name: (*name).to_owned(),
            summary: *summary,
            less_true_ms: less_true(summary),
            ratios: Ratios::of(summary, &summaries[0].1, bare.wall_ms.median),
        });
        Self { rows: rows.collect(), r#true: bare }
    }

    /// For people: a table and what `true` took.
    pub fn text(&self) -> String {
        let header =
            ["", "n", "wall", "p90", "p99", "less true", "user", "system", "peak"].map(str::to_owned);
        let time = |value: f64, ratio: f64| format!("{value:.2} ({ratio:.2})");
        let rows = self.rows.iter().map(|row| {
            let Row { summary, ratios, .. } = row;
            [
                row.name.clone(),
                summary.samples.to_string(),
                time(summary.wall_ms.median, ratios.wall),
                time(summary.wall_ms.p90, ratios.p90),
                summary.wall_ms.p99.zip(ratios.p99).map_or("-".into(), |(value, ratio)| time(value, ratio)),
                time(row.less_true_ms, ratios.less_true),
                format!("{:.2}", summary.user_ms),
                time(summary.system_ms, ratios.processor),
                format!("{:.1} ({:.2})", summary.peak_kib / 1024.0, ratios.peak),
            ]
        });
        let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
        format!("{}true alone: {:.2} ms\n", table(&rows), self.r#true.wall_ms.median)
    }
}

impl Ratios {
    fn of(summary: &Summary, first: &Summary, bare: f64) -> Self {
        let processor = |summary: &Summary| summary.user_ms + summary.system_ms;
        Self {
            wall: summary.wall_ms.median / first.wall_ms.median,
            less_true: (summary.wall_ms.median - bare) / (first.wall_ms.median - bare),
            p90: summary.wall_ms.p90 / first.wall_ms.p90,
            p99: summary.wall_ms.p99.zip(first.wall_ms.p99).map(|(p99, first)| p99 / first),
            processor: processor(summary) / processor(first),
            peak: summary.peak_kib / first.peak_kib,
        }
    }
}

/// Lines of `rows`: the first column begins at the left, numbers end at the right.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("  {cell:>width$}"),
        });
        let line: String = cells.collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(wall: u64, system: u64, peak: u64) -> Vec<Cost> {
        vec![Cost { wall: wall * 1_000_000, user: 500, system, peak }; 3]
    }

    #[test]
    fn ratios_are_to_the_first() {
        let (a, b, bare) = (costs(5, 500, 1024), costs(9, 2500, 3072), costs(1, 100, 512));
        let report = Report::new(&[("a", &a), ("b", &b)], &bare);
        let [first, second] = [&report.rows[0].ratios, &report.rows[1].ratios];
        assert_eq!((first.wall, first.less_true, first.peak), (1.0, 1.0, 1.0));
        assert_eq!((second.wall, second.less_true, second.processor), (1.8, 2.0, 3.0));
        assert_eq!((second.p90, second.p99, second.peak), (1.8, None, 3.0));
    }

    #[test]
    fn the_table_is_read_by_people() {
        let (a, b, bare) = (costs(5, 500, 1024), costs(9, 2500, 3072), costs(1, 100, 512));
        let text = Report::new(&[("a", &a), ("b", &b)], &bare).text();
        let expected = [
            "   n         wall          p90  p99    less true  user       system        peak",
            "a  3  5.00 (1.00)  5.00 (1.00)    -  4.00 (1.00)  0.50  0.50 (1.00)  1.0 (1.00)",
            "b  3  9.00 (1.80)  9.00 (1.80)    -  8.00 (2.00)  0.50  2.50 (3.00)  3.0 (3.00)",
            "true alone: 1.00 ms",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
