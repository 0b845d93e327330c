//! Columns of text, aligned as Go's tabwriter aligns those of `runc list`.

use std::fmt::Write;

/// Narrowest column, and the space between two.
const WIDTH: usize = 12;
const GAP: usize = 3;

/// Lines of `rows`; every column but the last is as wide as its widest cell.
pub fn align<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count() + GAP).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(|column| width(column).max(WIDTH));
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths).take(N - 1) {
            let _ = write!(text, "{cell:width$}");
        }
        text.push_str(&row[N - 1]);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn columns_are_as_wide_as_runcs() {
        let rows =
            [["ID", "PID", "OWNER"], ["a-rather-long-id", "1", "root"]].map(|row| row.map(String::from));
        assert_eq!(
            align(&rows),
            "ID                 PID         OWNER\na-rather-long-id   1           root\n"
        );
    }
}
