//! A report as text: tables that line up on a terminal.

use super::numbers::{microseconds, number};
use super::{Report, Section, shown_percentiles};

/// Tables with one heading each.
pub fn write(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "penstock-bench {} on {}: {} × {}, Linux {}\n",
        report.command, machine.host, machine.processors, machine.processor, machine.kernel
    );
    for (name, value) in &report.settings {
        text += &format!("{name}: {value}\n");
    }
    for section in &report.sections {
        text += &format!("\n{}\n", section.title);
        for line in [&section.about, &section.common_labels()] {
            if !line.is_empty() {
                text += &format!("{line}\n");
            }
        }
        text += &table(section);
    }
    if !report.notes.is_empty() {
        text.push('\n');
    }
    for note in &report.notes {
        text += &format!("{note}\n");
    }
    text
}

fn table(section: &Section) -> String {
    let mut heads = Vec::new();
    let ranged = |judged: bool| judged && section.has_ranges();
    let labels = section.label_columns();
    heads.extend(labels.iter().map(|(_, title)| (*title).to_owned()));
    for figure in section.figure_columns() {
        heads.push(figure.title.to_owned());
        if ranged(figure.judged) {
            heads.push("min–max".to_owned());
        }
    }
    if section.has_latencies() {
        heads.extend(["p50", "p99", "max"].map(str::to_owned));
    }
    let mut lines = vec![heads];
    lines.extend(section.rows.iter().map(|row| {
        let mut cells = Vec::new();
        for (key, _) in &labels {
            let label = row.labels.iter().find(|label| label.key == *key);
            cells.push(label.map_or_else(String::new, |label| label.value.shown()));
        }
        for figure in section.figure_columns() {
            let spread = row.figure(figure);
            cells
                .push(spread.map_or_else(|| "–".to_owned(), |spread| number(spread.median, figure.decimals)));
            if ranged(figure.judged) {
                cells.push(spread.map_or_else(String::new, |spread| {
                    format!("{}–{}", number(spread.min, figure.decimals), number(spread.max, figure.decimals))
                }));
            }
        }
        if section.has_latencies() {
            let shown = row.latencies.as_ref().map(shown_percentiles);
            cells.extend(["p50", "p99", "max"].map(|name| {
                let found = shown.and_then(|all| all.into_iter().find(|(own, _)| *own == name));
                found.map_or_else(String::new, |(_, value)| microseconds(value))
            }));
        }
        let doubt = if row.is_trusted() { "" } else { "unsteady" };
        let remark = row.remark.as_deref().unwrap_or("");
        cells
            .push([doubt, remark].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; "));
        cells
    }));
    align(&lines, labels.len())
}

/// Labels to the left, numbers to the right, what follows them as it is.
fn align(lines: &[Vec<String>], labels: usize) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut out = String::new();
        for (column, cell) in line.iter().enumerate() {
            out += "  ";
            match widths.get(column) {
                Some(width) if column < labels => out += &format!("{cell:<width$}"),
                Some(width) => out += &format!("{cell:>width$}"),
                None => out += cell,
            }
        }
        text += out.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn the_table_lines_up_and_marks_what_is_unsteady() {
        let text = write(&example::report()).replace('\u{202f}', "_");
        let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("How fast")).collect();
        assert_eq!(
            table,
            [
                "How fast",
                "with <love>",
                "  mode      in flight  MiB/s      min–max  CPU s/GiB    p50     p99      max",
                "  direct    1          2_000  1_900–2_100      0.050  50 µs   99 µs   100 µs",
                "  direct    4          3_000  2_000–3_100          –  50 µs  900 µs  12.3 ms  unsteady; a <remark>",
                "  buffered  4          1_000    990–1_010      0.600",
                "",
                "the same with fio: …",
            ]
        );
        assert!(
            text.starts_with("penstock-bench disk on host & co: 2 × Fast 9000, Linux 6.18\nsize: 1 GiB\n"),
            "{text}"
        );
    }
}
