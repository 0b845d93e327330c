//! Text in levels and columns, as describing needs it.

use serde_json::Value;

use super::super::plain::lines_of;
use super::super::value::Look as _;

/// Between columns.
const GAP: usize = 2;

/// Lines whose cells are aligned when all are there: a cell is as wide as the widest one of the lines around it that have one there.
#[derive(Default)]
pub struct Text {
    lines: Vec<Vec<String>>,
}

impl Text {
    /// `Name:  value`, indented by levels of two.
    pub fn field(&mut self, level: usize, name: &str, value: impl AsRef<str>) {
        self.lines.push(vec![format!("{}{name}:", "  ".repeat(level)), value.as_ref().to_owned()]);
    }

    /// The same, unless it is empty.
    pub fn optional(&mut self, level: usize, name: &str, value: impl AsRef<str>) {
        if !value.as_ref().is_empty() {
            self.field(level, name, value);
        }
    }

    /// A value of its own, below a field.
    pub fn under(&mut self, level: usize, value: impl AsRef<str>) {
        self.lines.push(vec!["  ".repeat(level), value.as_ref().to_owned()]);
    }

    /// A line without columns.
    pub fn line(&mut self, level: usize, text: impl AsRef<str>) {
        self.lines.push(vec![format!("{}{}", "  ".repeat(level), text.as_ref())]);
    }

    /// Columns.
    pub fn row(&mut self, level: usize, cells: &[&str]) {
        let mut row: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
        if let Some(first) = row.first_mut() {
            first.insert_str(0, &"  ".repeat(level));
        }
        self.lines.push(row);
    }

    /// `Labels:  a=b`, one a line.
    pub fn pairs(&mut self, name: &str, object: &Value, pointer: &str) {
        let pairs: Vec<String> = object
            .fields(pointer)
            .into_iter()
            .map(|(name, value)| {
                let separator = if pointer.ends_with("/annotations") { ": " } else { "=" };
                format!("{name}{separator}{}", value.as_str().unwrap_or_default())
            })
            .collect();
        self.list(0, name, &pairs);
    }

    /// A field with several values, one a line.
    pub fn list(&mut self, level: usize, name: &str, values: &[String]) {
        let Some((first, rest)) = values.split_first() else {
            return self.field(level, name, "<none>");
        };
        self.field(level, name, first);
        rest.iter().for_each(|value| self.under(level, value));
    }

    /// All of it.
    pub fn finish(self) -> String {
        let widths = widths(&self.lines);
        let mut text = String::new();
        for (cells, widths) in self.lines.iter().zip(widths) {
            let mut line = String::new();
            for (at, cell) in cells.iter().enumerate() {
                // A value of many lines stays below itself.
                let (before, below) = (
                    line.chars().count(),
                    lines_of(cell.trim_end())
                        .replace('\n', &format!("\n{}", " ".repeat(line.chars().count()))),
                );
                line.push_str(&below);
                if at + 1 < cells.len() {
                    let width = widths.get(at).copied().unwrap_or_default();
                    let have = line.chars().count() - before;
                    line.extend(std::iter::repeat_n(' ', width.saturating_sub(have)));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The widths of all cells but the last of each line.
fn widths(lines: &[Vec<String>]) -> Vec<Vec<usize>> {
    let mut widths: Vec<Vec<usize>> =
        lines.iter().map(|cells| vec![0; cells.len().saturating_sub(1)]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            // Neighbours that have this column are one block.
            let mut end = start;
            let has = |at: usize| lines.get(at).is_some_and(|cells| cells.len() > column + 1);
            while has(end) {
                end += 1;
            }
            let block = lines.get(start..end).unwrap_or_default();
            let cells = block.iter().filter_map(|cells| cells.get(column));
            let width = cells.map(|cell| cell.chars().count()).max().unwrap_or(0) + GAP;
            for line in widths.get_mut(start..end).unwrap_or_default() {
                if let Some(cell) = line.get_mut(column) {
                    *cell = width;
                }
            }
            start = end + 1;
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_by_themselves() {
        let mut text = Text::default();
        text.field(0, "Name", "web");
        text.field(0, "Namespace", "default");
        text.line(0, "Containers:");
        text.field(1, "Image", "a\nb");
        text.row(1, &["Type", "Reason", "Message"]);
        text.row(1, &["Normal", "Started", "x"]);
        assert_eq!(
            text.finish(),
            "Name:       web\nNamespace:  default\nContainers:\n  Image:  a\n          b\n  Type    Reason   Message\n  Normal  Started  x\n"
        );
    }
}
