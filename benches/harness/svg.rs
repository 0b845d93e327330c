//! A picture of distributions: for each contender, how many of its samples took no longer than the time below.

use std::fmt::Write;

use serde_json::Value;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 360.0;
/// Room for the numbers and the title.
const LEFT: f64 = 50.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 130.0;
const BOTTOM: f64 = 45.0;
/// Told apart by most who see fewer colours, too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#000000", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

/// The whole file. Times are milliseconds on a logarithmic scale.
pub fn draw(title: &str, samples: &[(String, Value)]) -> String {
    let sorted: Vec<(&str, Vec<f64>)> =
        samples.iter().map(|(name, values)| (name.as_str(), numbers(values))).collect();
    let all = || sorted.iter().flat_map(|(_, values)| values.iter().copied());
    let low = all().fold(f64::INFINITY, f64::min).max(0.01);
    let high = all().fold(low * 1.1, f64::max);
    let x = |time: f64| LEFT + (WIDTH - LEFT - RIGHT) * (time.max(low) / low).ln() / (high / low).ln();
    let y = |share: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    let (left, right) = (x(low), x(high));
    for percent in [0, 25, 50, 75, 90, 100] {
        let y = y(f64::from(percent) / 100.0);
        let _ = writeln!(
            svg,
            "<path d=\"M{left:.1} {y:.1}H{right:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
            left - 5.0,
            y + 4.0
        );
    }
    for time in ticks(low, high) {
        let (x, top, bottom) = (x(time), y(1.0), y(0.0));
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {top:.1}V{bottom:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{time}</text>",
            bottom + 16.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">ms</text>",
        (left + right) / 2.0,
        HEIGHT - 10.0
    );
    for (at, (name, values)) in sorted.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let mut line = String::new();
        for (rank, &time) in values.iter().enumerate() {
            let (x, count) = (x(time), values.len() as f64);
            let before = y(rank as f64 / count);
            let _ = match rank {
                0 => write!(line, "M{x:.1} {before:.1}"),
                _ => write!(line, "H{x:.1}"),
            };
            let _ = write!(line, "V{:.1}", y((rank + 1) as f64 / count));
        }
        let row = TOP + 12.0 + 18.0 * at as f64;
        let _ = writeln!(
            svg,
            "<path d=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>\
             <text x=\"{:.1}\" y=\"{row:.1}\" fill=\"{colour}\">{}</text>",
            right + 12.0,
            escaped(name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn numbers(values: &Value) -> Vec<f64> {
    let mut numbers: Vec<f64> = values.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// 1, 2 and 5 times the powers of ten between `low` and `high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let steps = (-2..6).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
    steps.filter(|time| (low..=high).contains(time)).map(|time| (time * 100.0).round() / 100.0).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_for_each_goes_from_none_to_all() {
        let samples = [("a".to_owned(), json!([3.0, 1.0, 2.0])), ("b<".to_owned(), json!([10.0]))];
        let svg = draw("x & y", &samples);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("x &amp; y") && svg.contains(">b&lt;</text>"), "{svg}");
        // The fastest begins at the left below, and ends at the top.
        assert!(svg.contains("d=\"M50.0 315.0V"), "{svg}");
        assert_eq!(svg.matches("V40.0\" fill").count(), 2, "{svg}");
    }

    #[test]
    fn no_samples_are_an_empty_picture() {
        assert!(draw("nothing", &[]).contains("nothing"));
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.9, 60.0), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
    }
}
