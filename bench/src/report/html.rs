//! A report as a page: one file, with its style and its charts in it, that refers to nothing outside.

use super::numbers::{microseconds, number};
use super::{Report, Row, Section, chart, shown_percentiles};

const STYLE: &str = include_str!("style.css");

/// Makes text safe wherever it stands in a page.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The whole page.
pub fn write(report: &Report) -> String {
    let machine = &report.machine;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>penstock-bench {command} on {host}</title><style>{STYLE}</style></head>\n<body><main>\
         <header><p class=\"tool\">penstock-bench {version}</p><h1>{command} <span>on {host}</span></h1>\
         <p class=\"when\">{when}</p></header>\n",
        command = escape(report.command),
        host = escape(&machine.host),
        version = env!("CARGO_PKG_VERSION"),
        when = escape(&report.started_at),
    );
    if !report.doubts.is_empty() {
        page += "<section class=\"doubts\"><h2>Read with care</h2><ul>";
        page += &report.doubts.iter().map(|doubt| format!("<li>{}</li>", escape(doubt))).collect::<String>();
        page += "</ul></section>\n";
    }
    page += &report.sections.iter().map(section).collect::<String>();
    if !report.notes.is_empty() {
        page += "<section><h2>Notes</h2>";
        page += &report
            .notes
            .iter()
            .map(|note| format!("<p class=\"note\">{}</p>", escape(note)))
            .collect::<String>();
        page += "</section>\n";
    }
    page += &facts(report);
    page + "</main></body></html>\n"
}

fn section(section: &Section) -> String {
    let mut text = format!("<section><h2>{}</h2>", escape(&section.title));
    for line in [&section.about, &section.common_labels()] {
        if !line.is_empty() {
            text += &format!("<p>{}</p>", escape(line));
        }
    }
    text += "<div class=\"charts\">";
    text += &section.charts.iter().map(|kind| chart::draw(section, *kind)).collect::<String>();
    text += "</div><div class=\"wide\"><table><thead><tr>";
    let labels = section.label_columns();
    text += &labels.iter().map(|(_, title)| format!("<th>{}</th>", escape(title))).collect::<String>();
    for figure in section.figure_columns() {
        text += &format!("<th class=\"n\">{}</th>", escape(figure.title));
    }
    if section.has_latencies() {
        text += "<th class=\"n\">p50</th><th class=\"n\">p90</th><th class=\"n\">p99</th>\
                 <th class=\"n\">p99.9</th><th class=\"n\">max</th>";
    }
    let remarks = section.rows.iter().any(|row| row.remark.is_some() || !row.is_trusted());
    text += if remarks { "<th></th></tr></thead><tbody>\n" } else { "</tr></thead><tbody>\n" };
    text += &section.rows.iter().map(|row| table_row(section, &labels, row, remarks)).collect::<String>();
    text + "</tbody></table></div></section>\n"
}

fn table_row(section: &Section, labels: &[(&str, &str)], row: &Row, remarks: bool) -> String {
    let mut text = String::from("<tr>");
    for (key, _) in labels {
        let label = row.labels.iter().find(|label| label.key == *key);
        text += &format!("<td>{}</td>", label.map_or_else(String::new, |label| escape(&label.value.shown())));
    }
    for figure in section.figure_columns() {
        text += &match row.figure(figure) {
            None => "<td class=\"n\">–</td>".to_owned(),
            Some(spread) => {
                let shown = |value| number(value, figure.decimals);
                let range = if figure.judged && spread.runs.len() > 1 {
                    format!(" <small>{}–{}</small>", shown(spread.min), shown(spread.max))
                } else {
                    String::new()
                };
                format!("<td class=\"n\"><b>{}</b>{range}</td>", shown(spread.median))
            }
        };
    }
    if section.has_latencies() {
        match &row.latencies {
            Some(percentiles) => {
                for (_, value) in shown_percentiles(percentiles) {
                    text += &format!("<td class=\"n\">{}</td>", microseconds(value));
                }
            }
            None => text += "<td colspan=\"5\"></td>",
        }
    }
    if remarks {
        let doubt = if row.is_trusted() { "" } else { "<em>unsteady</em> " };
        text += &format!("<td class=\"remark\">{doubt}{}</td>", escape(row.remark.as_deref().unwrap_or("")));
    }
    text + "</tr>\n"
}

fn facts(report: &Report) -> String {
    let machine = &report.machine;
    let mut facts = vec![
        ("processors", format!("{} × {}", machine.processors, machine.processor)),
        ("memory", format!("{} MiB", machine.memory_bytes >> 20)),
        ("kernel", machine.kernel.clone()),
        ("load before", format!("{:.2}", machine.load_before)),
        ("congestion control", machine.congestion_control.clone()),
    ];
    facts.extend(report.settings.iter().cloned());
    let rows =
        facts.iter().map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(value)));
    format!("<section><h2>Machine and settings</h2><dl>{}</dl></section>\n", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn the_page_holds_everything_and_refers_to_nothing() {
        let page = write(&example::report());
        assert_eq!(page.matches("<svg").count(), 3);
        for outside in ["http://", "https://", "src=", "href=", "url(", "@import", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for inside in ["prefers-color-scheme", "width=device-width", "Read with care", "<em>unsteady</em>"] {
            assert!(page.contains(inside), "{inside}");
        }
    }

    #[test]
    fn what_is_not_ours_is_escaped() {
        let page = write(&example::report());
        assert!(page.contains("host &amp; co") && page.contains("with &lt;love&gt;"), "{page}");
        assert!(!page.contains("<love>") && !page.contains("<remark>"), "{page}");
        assert_eq!(escape("a\"b'c"), "a&quot;b&#39;c");
    }

    #[test]
    fn every_tag_that_is_opened_is_closed() {
        let page = write(&example::report());
        for tag in [
            "section", "table", "tr", "td", "th", "figure", "svg", "ul", "li", "div", "main", "text",
            "circle",
        ] {
            let opened =
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
