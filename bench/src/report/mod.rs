//! What was measured, in one shape for all subcommands: written as tables, as JSON, and as a page with charts.

mod chart;
mod html;
mod json;
mod numbers;
mod output;
mod section;
mod table;

pub use output::Output;
pub use section::{Chart, Label, Row, Section, Value};

use crate::measure::{Machine, NoiseWatch, Percentiles};

/// What to do about runs that differ.
const UNSTEADY_REMEDY: &str = "runs that differ much were disturbed, by other work or a changing clock: ask for more --runs, or measure at a \
     quieter hour";

/// A whole measurement.
#[derive(Debug)]
pub struct Report {
    /// The subcommand.
    pub command: &'static str,
    /// When it began, in UTC.
    pub started_at: String,
    /// Where.
    pub machine: Machine,
    /// What was asked for, and what was found: name and value.
    pub settings: Vec<(&'static str, String)>,
    /// The results.
    pub sections: Vec<Section>,
    /// What is good to know: one line each.
    pub notes: Vec<String>,
    /// What casts doubt on it: one line each.
    pub doubts: Vec<String>,
}

/// A report in the making.
#[derive(Debug)]
pub struct Making {
    command: &'static str,
    started_at: String,
    noise: NoiseWatch,
    /// See [`Report::settings`].
    pub settings: Vec<(&'static str, String)>,
    /// See [`Report::sections`].
    pub sections: Vec<Section>,
    /// See [`Report::notes`].
    pub notes: Vec<String>,
}

impl Making {
    /// Begins: looks at the machine while it is still quiet.
    pub fn begin(command: &'static str) -> Self {
        let started_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let noise = NoiseWatch::start();
        Self { command, started_at, noise, settings: vec![], sections: vec![], notes: vec![] }
    }

    /// Adds what was asked for, or found.
    pub fn setting(&mut self, name: &'static str, value: impl ToString) {
        self.settings.push((name, value.to_string()));
    }

    /// Adds what to know of figures that were taken over loopback.
    pub fn over_loopback(&mut self) {
        self.notes.extend(self.noise.machine().about_loopback());
    }

    /// Ends: everything was measured.
    pub fn finish(self) -> Report {
        let (machine, mut doubts) = self.noise.finish();
        let unsteady: Vec<String> = self.sections.iter().filter_map(Section::doubts).collect();
        if !unsteady.is_empty() {
            doubts.extend(unsteady);
            doubts.push(UNSTEADY_REMEDY.to_owned());
        }
        Report {
            command: self.command,
            started_at: self.started_at,
            machine,
            settings: self.settings,
            sections: self.sections,
            notes: self.notes,
            doubts,
        }
    }
}

/// The percentiles that are shown, with their names.
fn shown_percentiles(percentiles: &Percentiles) -> [(&'static str, u64); 5] {
    [
        ("p50", percentiles.p50),
        ("p90", percentiles.p90),
        ("p99", percentiles.p99),
        ("p99.9", percentiles.p99_9),
        ("max", percentiles.max),
    ]
}

#[cfg(test)]
mod example;
