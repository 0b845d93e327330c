//! Prometheus' text format 0.0.4.

use std::fmt::Write as _;

/// Its content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics as text.
#[derive(Debug, Default)]
pub struct Text(pub String);

impl Text {
    /// A gauge with a value for each of a label's.
    pub fn gauge(&mut self, name: &str, help: &str, label: &str, values: &[(&str, usize)]) {
        self.head(name, help);
        for (value, number) in values {
            self.line(format_args!("{name}{{{label}=\"{}\"}} {number}", escaped(value)));
        }
    }

    /// A gauge with one value.
    pub fn single(&mut self, name: &str, help: &str, number: usize) {
        self.head(name, help);
        self.line(format_args!("{name} {number}"));
    }

    fn head(&mut self, name: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} gauge"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// A label's value, between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_has_its_help_its_type_and_a_line_for_each_value() {
        let mut text = Text::default();
        text.gauge("pods", "Pods by state.", "state", &[("ready", 2), ("not_ready", 0)]);
        text.single("restricted", "Is it?", 1);
        let lines = [
            "# HELP pods Pods by state.",
            "# TYPE pods gauge",
            "pods{state=\"ready\"} 2",
            "pods{state=\"not_ready\"} 0",
            "# HELP restricted Is it?",
            "# TYPE restricted gauge",
            "restricted 1",
        ];
        assert_eq!(text.0, lines.join("\n") + "\n");
    }

    #[test]
    fn a_labels_value_ends_neither_its_quotes_nor_its_line() {
        assert_eq!(escaped("a\"b\\c\nd{}"), r#"a\"b\\c\nd{}"#);
        // The backslash before the n is not that of a line's end.
        assert_eq!(escaped(r"\n"), r"\\n");
        let mut text = Text::default();
        text.gauge("info", "Of it.", "version", &[("1\n2", 1)]);
        assert_eq!(text.0.lines().last(), Some(r#"info{version="1\n2"} 1"#));
    }
}
