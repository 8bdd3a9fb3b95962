//! A report for machines: one JSON object. Keys say the unit; figures have all their runs.

use serde_json::{Map, Value as Json, json};

use super::{Report, Row, Section, Value};

/// The whole report.
pub fn write(report: &Report) -> Json {
    json!({
        "command": report.command,
        "version": env!("CARGO_PKG_VERSION"),
        "optimised": !cfg!(debug_assertions),
        "started_at": report.started_at,
        "machine": report.machine,
        "settings": report.settings.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>(),
        "sections": report.sections.iter().map(section).collect::<Vec<_>>(),
        "notes": report.notes,
        "doubts": report.doubts,
    })
}

fn section(section: &Section) -> Json {
    json!({
        "name": section.name,
        "title": section.title,
        "about": section.about,
        "rows": section.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn row(row: &Row) -> Json {
    let case = row.labels.iter().map(|label| {
        let value = match &label.value {
            Value::Text(text) => json!(text),
            Value::Count(number) | Value::Bytes(number) => json!(number),
        };
        (label.key.to_owned(), value)
    });
    let figures = row.figures.iter().map(|(figure, spread)| (figure.key.to_owned(), json!(spread)));
    json!({
        "case": case.collect::<Map<_, _>>(),
        "figures": figures.collect::<Map<_, _>>(),
        "latency_microseconds": row.latencies,
        "trusted": row.is_trusted(),
        "remark": row.remark,
    })
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn every_row_is_there_with_its_case_its_runs_and_its_doubt() {
        let json = write(&example::report());
        let rows = &json["sections"][0]["rows"];
        assert_eq!(rows[0]["case"], json!({"mode": "direct", "depth": 1}));
        assert_eq!(rows[0]["figures"]["mib_per_second"]["median"], 2000.0);
        assert_eq!(rows[0]["figures"]["mib_per_second"]["runs"], json!([2000.0, 1900.0, 2100.0]));
        assert_eq!(rows[0]["latency_microseconds"]["p99"], 99);
        assert_eq!((&rows[0]["trusted"], &rows[1]["trusted"]), (&json!(true), &json!(false)));
        assert_eq!(rows[2]["latency_microseconds"], Json::Null);
        assert_eq!(json["settings"], json!({"size": "1 GiB"}));
        assert_eq!(json["doubts"].as_array().map(Vec::len), Some(1));
    }
}
