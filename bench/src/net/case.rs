//! The cases of `penstock-bench net`.

use std::fmt;

use super::options::Run;
use crate::report::Label;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    /// From here to the server
    Send,
    /// From the server to here
    Receive,
}

/// How bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// From a buffer, as what was read and verified
    Copy,
    /// From a buffer, without a copy where the network card can: tried once on each connection, as the pool does it
    ZeroCopy,
    /// From the page cache without a copy, as files that are read again
    Sendfile,
}

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Which way.
    pub direction: Direction,
    /// How the sender sends.
    pub method: Method,
    /// Connections.
    pub streams: u32,
    /// Packets from here carry a flow label; `None`: it is not asked for.
    pub labelled: Option<bool>,
}

impl Case {
    /// Everything that was asked for, combined.
    pub fn all(options: &Run) -> Vec<Case> {
        let mut cases = Vec::new();
        for direction in &options.direction {
            for method in &options.method {
                for streams in &options.streams {
                    let (direction, method, streams) = (*direction, *method, streams.0);
                    let case = Case { direction, method, streams, labelled: None };
                    match options.scitag {
                        None => cases.push(case),
                        // In turn, so that both meet the same machine.
                        Some(_) => cases.extend([false, true].map(|on| Case { labelled: Some(on), ..case })),
                    }
                }
            }
        }
        cases
    }

    /// What it is, for a report.
    pub fn labels(&self) -> Vec<Label> {
        let direction = match self.direction {
            Direction::Send => "send",
            Direction::Receive => "receive",
        };
        let method = match self.method {
            Method::Copy => "copy",
            Method::ZeroCopy => "zero-copy",
            Method::Sendfile => "sendfile",
        };
        let mut labels = vec![
            Label::text("direction", "direction", direction),
            Label::text("method", "sent by", method),
            Label::count("streams", "streams", self.streams),
        ];
        if let Some(labelled) = self.labelled {
            labels.push(Label::text("labelled", "flow label", if labelled { "yes" } else { "no" }));
        }
        labels
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.labels().iter().map(|label| label.value.shown()).collect();
        write!(f, "{} streams", words.join(", "))
    }
}
