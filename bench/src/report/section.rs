//! A table of a report: rows of cases, each with its figures, and the charts that show them.

use crate::arguments::show_byte_size;
use crate::measure::{Figure, Measurement, Percentiles, Spread};

/// Rows that can be compared with each other.
#[derive(Debug)]
pub struct Section {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its heading.
    pub title: String,
    /// What holds for all rows; may be empty.
    pub about: String,
    /// What is drawn of it.
    pub charts: Vec<Chart>,
    /// The cases.
    pub rows: Vec<Row>,
}

/// How a figure is drawn.
#[derive(Debug, Clone, Copy)]
pub enum Chart {
    /// A bar for each row.
    Bars(&'static Figure),
    /// A line over the label of that key; rows that share the others are one line.
    Lines {
        /// What is drawn.
        figure: &'static Figure,
        /// The key of the label that is the horizontal axis.
        along: &'static str,
    },
    /// The latencies' percentiles, a line for each row.
    Latencies,
}

/// One case.
#[derive(Debug)]
pub struct Row {
    /// What it is, by the columns of its section.
    pub labels: Vec<Label>,
    /// What was measured.
    pub figures: Vec<(&'static Figure, Spread)>,
    /// Percentiles of its operations.
    pub latencies: Option<Percentiles>,
    /// What else is to be said.
    pub remark: Option<String>,
}

/// One thing that tells a case from others.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// In JSON, with the unit at its end.
    pub key: &'static str,
    /// In tables.
    pub title: &'static str,
    /// Its value.
    pub value: Value,
}

/// A label's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A word.
    Text(String),
    /// A number.
    Count(u64),
    /// A number of bytes.
    Bytes(u64),
}

impl Value {
    /// For people.
    pub fn shown(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Count(number) => number.to_string(),
            Value::Bytes(bytes) => show_byte_size(*bytes),
        }
    }
}

impl Label {
    /// In words that stand alone: a number says of what.
    fn named(&self) -> String {
        match &self.value {
            Value::Count(1) => format!("1 {}", self.title.strip_suffix('s').unwrap_or(self.title)),
            Value::Count(number) => format!("{number} {}", self.title),
            Value::Text(_) | Value::Bytes(_) => self.value.shown(),
        }
    }

    /// A word.
    pub fn text(key: &'static str, title: &'static str, value: impl ToString) -> Self {
        Self { key, title, value: Value::Text(value.to_string()) }
    }

    /// A number.
    pub fn count(key: &'static str, title: &'static str, value: impl Into<u64>) -> Self {
        Self { key, title, value: Value::Count(value.into()) }
    }

    /// A number of bytes.
    pub fn bytes(key: &'static str, title: &'static str, value: u64) -> Self {
        Self { key, title, value: Value::Bytes(value) }
    }
}

impl Row {
    /// A case and what its runs gave.
    pub fn new(labels: Vec<Label>, measurement: Measurement) -> Self {
        let latencies = measurement.latencies.and_then(|latencies| latencies.percentiles());
        Self { labels, figures: measurement.figures, latencies, remark: measurement.remark }
    }

    /// The spread of a figure.
    pub fn figure(&self, figure: &Figure) -> Option<&Spread> {
        self.figures.iter().find(|(own, _)| *own == figure).map(|(_, spread)| spread)
    }

    /// Whether the runs agree.
    pub fn is_trusted(&self) -> bool {
        self.untrusted().is_none()
    }

    fn untrusted(&self) -> Option<&(&'static Figure, Spread)> {
        self.figures.iter().find(|(figure, spread)| figure.judged && !spread.is_trusted())
    }
}

impl Section {
    /// The columns of the labels that tell rows apart: key and title.
    pub fn label_columns(&self) -> Vec<(&'static str, &'static str)> {
        let mut columns = Vec::new();
        for label in self.rows.iter().flat_map(|row| &row.labels) {
            if !columns.contains(&(label.key, label.title)) && self.varies(label.key) {
                columns.push((label.key, label.title));
            }
        }
        columns
    }

    /// What else holds for all rows: the labels that are the same everywhere, in words.
    pub fn common_labels(&self) -> String {
        let labels = self.rows.first().map(|row| row.labels.iter()).into_iter().flatten();
        let same = labels.filter(|label| !self.varies(label.key));
        same.map(|label| format!("{}: {}", label.title, label.value.shown())).collect::<Vec<_>>().join(", ")
    }

    /// The labels of a row that tell it from others, in words, without that of one key.
    pub fn name_of(&self, row: &Row, without: Option<&str>) -> String {
        let labels = row.labels.iter().filter(|label| Some(label.key) != without && self.varies(label.key));
        labels.map(Label::named).collect::<Vec<_>>().join(", ")
    }

    /// Whether rows differ in a label. A row alone differs in all of them.
    fn varies(&self, key: &str) -> bool {
        let mut values = self.rows.iter().map(|row| row.labels.iter().find(|label| label.key == key));
        let first = values.next();
        self.rows.len() == 1 || values.any(|value| Some(value) != first)
    }

    /// The figures' columns.
    pub fn figure_columns(&self) -> Vec<&'static Figure> {
        let mut columns: Vec<&'static Figure> = Vec::new();
        for (figure, _) in self.rows.iter().flat_map(|row| &row.figures) {
            if !columns.contains(figure) {
                columns.push(figure);
            }
        }
        columns
    }

    /// Whether there are several runs, whose range is worth telling.
    pub fn has_ranges(&self) -> bool {
        self.rows.iter().flat_map(|row| &row.figures).any(|(_, spread)| spread.runs.len() > 1)
    }

    /// Whether latencies were taken.
    pub fn has_latencies(&self) -> bool {
        self.rows.iter().any(|row| row.latencies.is_some())
    }

    /// One line when some of its rows cannot be believed.
    pub fn doubts(&self) -> Option<String> {
        let unsteady: Vec<(&Row, &Spread, &Figure)> = self
            .rows
            .iter()
            .filter_map(|row| row.untrusted().map(|(figure, spread)| (row, spread, *figure)))
            .collect();
        let (row, spread, figure) =
            unsteady.iter().max_by(|one, other| one.1.width().total_cmp(&other.1.width()))?;
        Some(format!(
            "{}: {} of {} rows are unsteady, nothing can be concluded from them (worst: {}, runs differ by {:.0} % in {})",
            self.title,
            unsteady.len(),
            self.rows.len(),
            self.name_of(row, None),
            spread.width() * 100.0,
            figure.title
        ))
    }
}
