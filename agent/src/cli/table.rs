//! Columns of text.

use super::plain::line_of;

/// Between columns.
const GAP: usize = 3;
/// Of a column with its gap.
const NARROWEST: usize = 6;

/// Rows under headings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Of the columns.
    pub headings: Vec<String>,
    /// Each as long as the headings.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows.
    pub fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(|heading| (*heading).to_owned()).collect(), rows: Vec::new() }
    }

    /// One column more, at the front.
    pub fn prepend(&mut self, heading: &str, cells: impl IntoIterator<Item = String>) {
        self.headings.insert(0, heading.to_owned());
        for (row, cell) in self.rows.iter_mut().zip(cells) {
            row.insert(0, cell);
        }
    }

    /// One column more, at the end.
    pub fn append(&mut self, heading: &str, cells: impl IntoIterator<Item = String>) {
        self.headings.push(heading.to_owned());
        for (row, cell) in self.rows.iter_mut().zip(cells) {
            row.push(cell);
        }
    }

    /// As text. `widths` remembers the columns' widths, so that rows of a later text stand below those of this one.
    pub fn text(&self, headings: bool, widths: &mut Vec<usize>) -> String {
        let lines = || {
            let lines = headings.then_some(&self.headings).into_iter().chain(&self.rows);
            lines.map(|line| line.iter().map(|cell| line_of(cell)))
        };
        widths.resize(self.headings.len(), NARROWEST);
        for line in lines() {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count() + GAP);
            }
        }
        let mut text = String::new();
        for line in lines() {
            for (at, (cell, width)) in line.zip(widths.iter()).enumerate() {
                text.push_str(&cell);
                if at + 1 < widths.len() {
                    text.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(&["NAME", "AGE"]);
        table.rows.push(vec!["web".into(), "5s".into()]);
        table.rows.push(vec!["a-longer-name".into(), "5m".into()]);
        let mut widths = Vec::new();
        assert_eq!(
            table.text(true, &mut widths),
            "NAME            AGE\nweb             5s\na-longer-name   5m\n"
        );
        table.rows.truncate(1);
        assert_eq!(table.text(false, &mut widths), "web             5s\n");
        assert_eq!(table.text(false, &mut Vec::new()), "web   5s\n");
    }
}
