//! Charts as inline SVG: no scripts, no fonts, no sizes but the reader's.
//!
//! Horizontal places are percentages and texts keep their size, so that a chart is as readable on a phone as on a
//! wall; colours are classes, so that the page decides about light and dark.

use super::html::escape;
use super::numbers::{microseconds, number};
use super::{Chart, Row, Section, shown_percentiles};

/// Height of a bar with its text.
const BAR_STEP: usize = 44;
/// Height of the plot of a line chart, and what stands above and below it.
const PLOT_HEIGHT: f64 = 180.0;
const PLOT_TOP: f64 = 22.0;
const PLOT_BOTTOM: f64 = 24.0;
/// Where the first and the last place of a line chart are, in percent of its width.
const FIRST_PERCENT: f64 = 13.0;
const LAST_PERCENT: f64 = 94.0;
/// Lines of a grid.
const GRID_LINES: u32 = 4;
/// Colours that the page has; further lines have them again, dashed.
const COLOURS: usize = 6;

/// The class of a line, by its number.
fn class_of(number: usize) -> String {
    let dashed = if number / COLOURS % 2 == 1 { " dashed" } else { "" };
    format!("c{}{dashed}", number % COLOURS)
}

/// One chart of a section, with its caption.
pub fn draw(section: &Section, chart: Chart) -> String {
    match chart {
        Chart::Bars(figure) => {
            let drawn = section.rows.iter().filter_map(|row| {
                let spread = row.figure(figure)?;
                let name = section.name_of(row, None);
                let range = (spread.runs.len() > 1).then_some((spread.min, spread.max));
                Some((name, spread.median, range, number(spread.median, figure.decimals)))
            });
            caption(figure.title, &bars(&drawn.collect::<Vec<_>>()), "")
        }
        Chart::Lines { figure, along } => {
            let places = places(section, along);
            let mut lines: Vec<Line> = Vec::new();
            for row in &section.rows {
                let (Some(spread), Some(place)) = (row.figure(figure), place_of(&places, row, along)) else {
                    continue;
                };
                let name = section.name_of(row, Some(along));
                let point = (place, spread.median, number(spread.median, figure.decimals));
                match lines.iter_mut().find(|line| line.name == name) {
                    Some(line) => line.points.push(point),
                    None => lines.push(Line { name, points: vec![point] }),
                }
            }
            let title = section.rows.iter().flat_map(|row| &row.labels).find(|label| label.key == along);
            let title =
                title.map_or_else(String::new, |label| format!("{} by {}", figure.title, label.title));
            let shown = |value: f64| number(value, figure.decimals);
            caption(&title, &lines_chart(&places, &lines, false, &shown), &legend(&lines))
        }
        Chart::Latencies => {
            let mut places = Vec::new();
            let mut lines = Vec::new();
            for row in &section.rows {
                let Some(percentiles) = &row.latencies else { continue };
                let shown = shown_percentiles(percentiles);
                places = shown.iter().map(|(name, _)| (*name).to_owned()).collect();
                let points = shown.iter().enumerate();
                let points = points.map(|(place, (_, value))| (place, *value as f64, microseconds(*value)));
                lines.push(Line { name: section.name_of(row, None), points: points.collect() });
            }
            let shown = |value: f64| microseconds(value as u64);
            caption("Latency", &lines_chart(&places, &lines, true, &shown), &legend(&lines))
        }
    }
}

/// A line of a chart: place, value and the value's text for each point.
struct Line {
    name: String,
    points: Vec<(usize, f64, String)>,
}

fn places(section: &Section, along: &str) -> Vec<String> {
    let mut places = Vec::new();
    for label in section.rows.iter().flat_map(|row| &row.labels).filter(|label| label.key == along) {
        let shown = label.value.shown();
        if !places.contains(&shown) {
            places.push(shown);
        }
    }
    places
}

fn place_of(places: &[String], row: &Row, along: &str) -> Option<usize> {
    let label = row.labels.iter().find(|label| label.key == along)?;
    let shown = label.value.shown();
    places.iter().position(|place| *place == shown)
}

fn caption(title: &str, svg: &str, legend: &str) -> String {
    format!("<figure><figcaption>{}</figcaption>{svg}{legend}</figure>\n", escape(title))
}

fn legend(lines: &[Line]) -> String {
    if lines.iter().all(|line| line.name.is_empty()) {
        return String::new();
    }
    let entries = lines
        .iter()
        .enumerate()
        .map(|(place, line)| format!("<li><i class=\"{}\"></i>{}</li>", class_of(place), escape(&line.name)));
    format!("<ul class=\"legend\">{}</ul>", entries.collect::<String>())
}

/// A bar's name, value, range and text.
type Bar = (String, f64, Option<(f64, f64)>, String);

fn bars(bars: &[Bar]) -> String {
    let most = bars.iter().map(|(_, value, range, _)| range.map_or(*value, |range| range.1.max(*value)));
    let most = most.fold(0.0, f64::max);
    let percent = |value: f64| if most > 0.0 { value / most * 100.0 } else { 0.0 };
    let mut svg = format!("<svg width=\"100%\" height=\"{}\" role=\"img\">", bars.len() * BAR_STEP);
    for (place, (name, value, range, text)) in bars.iter().enumerate() {
        let top = place * BAR_STEP;
        svg += &format!(
            "<text x=\"0\" y=\"{0}\">{1}</text><text x=\"100%\" y=\"{0}\" class=\"value\">{2}</text>\
             <rect x=\"0\" y=\"{3}\" width=\"100%\" height=\"14\" rx=\"3\" class=\"track\"/>\
             <rect x=\"0\" y=\"{3}\" width=\"{4:.2}%\" height=\"14\" rx=\"3\" class=\"bar\"/>",
            top + 14,
            escape(name),
            escape(text),
            top + 20,
            percent(*value),
        );
        if let Some((min, max)) = range {
            svg += &format!(
                "<line x1=\"{:.2}%\" x2=\"{:.2}%\" y1=\"{2}\" y2=\"{2}\" class=\"range\"/>",
                percent(*min),
                percent(*max),
                top + 27
            );
        }
    }
    svg + "</svg>"
}

fn lines_chart(
    places: &[String],
    lines: &[Line],
    logarithmic: bool,
    shown: &dyn Fn(f64) -> String,
) -> String {
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let most = values().fold(0.0, f64::max);
    let least = if logarithmic { values().fold(most, f64::min).max(1.0) } else { 0.0 };
    let share = |value: f64| {
        let (value, least, most) = if logarithmic {
            (value.max(1.0).ln(), least.ln(), most.max(1.0).ln())
        } else {
            (value, least, most)
        };
        if most > least { ((value - least) / (most - least)).clamp(0.0, 1.0) } else { 0.5 }
    };
    let value_at = |share: f64| {
        if logarithmic { least * (most.max(1.0) / least).powf(share) } else { most * share }
    };
    let x = |place: usize| {
        let steps = places.len().saturating_sub(1).max(1) as f64;
        FIRST_PERCENT + (LAST_PERCENT - FIRST_PERCENT) * place as f64 / steps
    };
    let y = |share: f64| PLOT_TOP + PLOT_HEIGHT * (1.0 - share);
    let height = PLOT_TOP + PLOT_HEIGHT + PLOT_BOTTOM;
    let mut svg = format!("<svg width=\"100%\" height=\"{height:.0}\" role=\"img\">");
    for step in 0..=GRID_LINES {
        let share = f64::from(step) / f64::from(GRID_LINES);
        svg += &format!(
            "<line x1=\"0\" x2=\"100%\" y1=\"{0:.1}\" y2=\"{0:.1}\" class=\"grid\"/>\
             <text x=\"0\" y=\"{1:.1}\" class=\"axis\">{2}</text>",
            y(share),
            y(share) - 4.0,
            escape(&shown(value_at(share)))
        );
    }
    for (place, name) in places.iter().enumerate() {
        let middle = x(place);
        svg += &format!(
            "<text x=\"{middle:.2}%\" y=\"{:.1}\" class=\"axis middle\">{}</text>",
            height - 6.0,
            escape(name)
        );
    }
    for (colour, line) in lines.iter().enumerate() {
        let class = class_of(colour);
        for pair in line.points.windows(2) {
            svg += &format!(
                "<line x1=\"{:.2}%\" y1=\"{:.1}\" x2=\"{:.2}%\" y2=\"{:.1}\" class=\"line {class}\"/>",
                x(pair[0].0),
                y(share(pair[0].1)),
                x(pair[1].0),
                y(share(pair[1].1))
            );
        }
        for (place, value, text) in &line.points {
            svg += &format!(
                "<circle cx=\"{:.2}%\" cy=\"{:.1}\" r=\"4\" class=\"dot {class}\"><title>{}</title></circle>",
                x(*place),
                y(share(*value)),
                escape(text)
            );
        }
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_of_the_longest() {
        let report = example::report();
        let svg = draw(&report.sections[0], report.sections[0].charts[0]);
        // 3000, with runs up to 3100, is the longest.
        assert!(svg.contains(&format!("width=\"{:.2}%\"", 2000.0 / 3100.0 * 100.0)), "{svg}");
        assert!(svg.contains("class=\"range\""), "{svg}");
    }

    #[test]
    fn rows_that_differ_in_the_axis_alone_are_one_line() {
        let report = example::report();
        let svg = draw(&report.sections[0], report.sections[0].charts[1]);
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
        assert_eq!(svg.matches("class=\"line").count(), 1, "{svg}");
        assert_eq!(svg.matches("<li>").count(), 2, "{svg}");
        assert!(svg.contains("MiB/s by in flight"), "{svg}");
    }

    #[test]
    fn latencies_are_drawn_for_the_rows_that_have_them() {
        let report = example::report();
        let svg = draw(&report.sections[0], report.sections[0].charts[2]);
        assert_eq!(svg.matches("<circle").count(), 10, "{svg}");
        assert!(svg.contains("12.3 ms"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_drawn_without_nonsense() {
        let section =
            Section { name: "n", title: "t".into(), about: String::new(), charts: vec![], rows: vec![] };
        for chart in &example::report().sections[0].charts {
            let svg = draw(&section, *chart);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
